//! When heartbeats are sent.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use cache_core::{
    Announcement, BusEvent, Change, ChangeBus, Key, Namespace, ReadThrough, ReadThroughBuilder,
    Result,
};
use cache_testkit::{FaultyOrigin, LocalBus, MapBackend, MemoryOrigin, TokioClock};
use futures_util::{FutureExt as _, StreamExt as _, stream::BoxStream};
use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};

use crate::support::{KEY, secs};

fn cache(bus: impl ChangeBus) -> ReadThroughBuilder<FaultyOrigin<MemoryOrigin>> {
    ReadThrough::builder(Arc::new(FaultyOrigin::in_memory()), Arc::new(MapBackend::new()))
        .namespace(Namespace::named("s3://bucket"))
        .bus(Arc::new(bus))
}

/// Waits for the next change or heartbeat. `LIMIT`: it is not sent at all.
async fn next(events: &mut BoxStream<'static, BusEvent>) -> Change {
    loop {
        let event = timeout(LIMIT, events.next()).await.expect("a message").unwrap();
        if let BusEvent::Message(message) = event {
            return message.change;
        }
    }
}

const LIMIT: Duration = secs(20);

/// No request wakes the task that sends them. In real time, and so for one second: a paused clock
/// stands still between two polls of a timer, which hides some faults.
#[test]
fn a_cache_that_is_not_used_sends_heartbeats() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let bus = LocalBus::new();
        let mut events = bus.listen();
        let cache = cache(bus.clone()).build().unwrap();
        for _ in 0..2 {
            let change = next(&mut events).await;
            assert!(matches!(change, Change::Heartbeat { .. }), "{change:?}");
        }
        assert!(cache.bus_stats().unwrap().is_listening);
    });
}

/// Takes as long as the interval of the heartbeats for each message.
struct SlowBus(LocalBus);

#[async_trait]
impl ChangeBus for SlowBus {
    async fn announce(&self, message: &Announcement) -> Result<()> {
        sleep(secs(1)).await;
        self.0.announce(message).await
    }

    fn listen(&self) -> BoxStream<'static, BusEvent> {
        self.0.listen()
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_do_not_hold_back_changes_on_a_slow_bus_nor_changes_heartbeats() {
    let bus = LocalBus::new();
    let mut events = bus.listen();
    let cache = cache(SlowBus(bus)).clock(Arc::new(TokioClock::new())).build().unwrap();
    for _ in 0..10 {
        let change = Change::Key { key: Key::parse(KEY).unwrap(), e_tag: None };
        // It would wait until it is sent.
        assert!(cache.announce(change).now_or_never().is_none());
    }
    let mut kinds = Vec::new();
    for _ in 0..20 {
        kinds.push(matches!(next(&mut events).await, Change::Heartbeat { .. }));
    }
    assert_eq!(kinds.iter().filter(|is_heartbeat| !**is_heartbeat).count(), 10, "{kinds:?}");
    assert!(kinds.windows(2).all(|kinds| kinds[0] || kinds[1]), "{kinds:?}");
}
