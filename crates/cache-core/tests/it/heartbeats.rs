//! Heartbeats in real time. A paused clock stands still between two polls of a timer, which hides
//! some faults.

use std::{sync::Arc, time::Duration};

use cache_core::{BusEvent, Change, ChangeBus as _, Namespace, ReadThrough};
use cache_testkit::{FaultyOrigin, LocalBus, MapBackend};
use futures_util::StreamExt as _;
use tokio::{runtime::Builder, time::timeout};

/// No request wakes the task that sends them.
#[test]
fn a_cache_that_is_not_used_sends_heartbeats() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let bus = Arc::new(LocalBus::new());
        let mut events = bus.listen();
        let (origin, backend) = (Arc::new(FaultyOrigin::in_memory()), Arc::new(MapBackend::new()));
        let cache = ReadThrough::builder(origin, backend)
            .namespace(Namespace::named("s3://bucket"))
            .bus(bus.clone())
            .build()
            .unwrap();
        let mut beats = 0;
        let two = async {
            while beats < 2 {
                if let BusEvent::Message(message) = events.next().await.unwrap()
                    && matches!(message.change, Change::Heartbeat { .. })
                {
                    beats += 1;
                }
            }
        };
        // They take one second.
        timeout(Duration::from_secs(20), two).await.expect("two heartbeats");
        assert!(cache.bus_stats().unwrap().is_listening);
    });
}
