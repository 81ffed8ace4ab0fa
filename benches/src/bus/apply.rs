//! Messages that a listener hears and applies.

use std::sync::Arc;

use cache_core::{Announcement, Change, ChangeBus, Freshness, Key, ReadThrough, Result};
use cache_policy::{Lru, MemoryBackend};
use cache_testkit::MemoryOrigin;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Size;
use crate::clock::{CpuTime, Stopwatch};

pub(super) async fn measure(name: &str, bus: &Arc<dyn ChangeBus>, size: Size) -> Result<()> {
    let origin = Arc::new(MemoryOrigin::new());
    // Half of the messages are of cached objects.
    let keys: Vec<_> = (0..2000).map(|n| format!("a/prefix/and/a/name-{n:04}.json")).collect();
    for key in &keys[..1000] {
        origin.write(key, "some bytes of a body");
    }
    let backend = Arc::new(MemoryBackend::builder(Lru::new()).max_capacity(1 << 26).build()?);
    let cache = ReadThrough::builder(origin, backend)
        .bus(Arc::clone(bus))
        .namespace(super::namespace())
        .build()?;
    let stats = || cache.bus_stats().expect("it has a bus");
    while !stats().is_listening {
        tokio::task::yield_now().await;
    }
    for key in &keys[..1000] {
        cache.get(key, Some(&Freshness::strong())).await?;
    }
    let before = stats();
    let (watch, cpu) = (Stopwatch::start(), CpuTime::Process.now());
    let messages = (1..=size.messages).map(|seq| {
        let key = Key::parse(&keys[seq % keys.len()])?;
        let change = Change::Key { key, e_tag: Some("\"6805f2cfc46c0f04\"".into()) };
        Ok(Announcement { namespace: super::namespace(), node: 7, seq: seq as u64, change })
    });
    let announced = stream::iter(messages.collect::<Result<Vec<_>>>()?)
        .map(|message| async move { bus.announce(&message).await })
        .buffered(64);
    let announced = announced.try_collect::<()>();
    let heard = async {
        while stats().received - before.received < size.messages as u64 {
            if stats().slow_listener_gaps > before.slow_listener_gaps {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let (sent, ()) = futures_util::future::join(announced, heard).await;
    sent?;
    let (took, cpu) = (watch.elapsed(), CpuTime::Process.now().saturating_sub(cpu));
    let after = stats();
    let received = after.received - before.received;
    println!(
        "apply, {name}: {received} of {} messages, {} marked; {:.0} a second, {:.2} us of CPU each \
            (sender and server's client included)",
        size.messages,
        after.marked - before.marked,
        received as f64 / took.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / received.max(1) as f64
    );
    Ok(())
}
