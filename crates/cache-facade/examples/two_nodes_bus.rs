//! Two nodes share one bucket and a change bus: a read needs no request until the object changes.
//!
//! The bus is one within this process. `cache-bus-redis` and `cache-bus-nats` are buses between
//! processes; the rest of the program stays the same.

use std::{error::Error, sync::Arc, time::Duration};

use cache_facade::{
    BusStats, Freshness, Memory, Namespace, ObjectCache, Status,
    object_store::{ObjectStore, memory::InMemory},
};
use cache_testkit::LocalBus;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let bus = LocalBus::new();
    let node = |name, number| {
        ObjectCache::builder(Arc::clone(&bucket))
            .name(name)
            .backend(Memory::new().max_entries(5000))
            // The same for all caches of one store.
            .namespace(Namespace::named("example bucket"))
            .bus(Arc::new(bus.node(number)))
            // At most this old, whatever happens to the bus.
            .freshness(Freshness::until_notified(Duration::from_secs(600)))
            .build()
    };
    let (a, b) = (node("A", 0)?, node("B", 1)?);
    for node in [&a, &b] {
        // A program need not wait: until the bus is there, each read is revalidated.
        until(node, |bus| bus.is_listening).await;
    }

    a.put(KEY, r#"{"version": 1}"#).await?;
    read(&b, Status::Fetched, "B had never seen it").await?;
    for _ in 0..1000 {
        let object = b.get(KEY).await?;
        assert_eq!(object.status(), Status::Fresh);
    }
    println!("B reads it 1,000 times more: {} requests so far", b.stats().origin.requests());
    assert_eq!(b.stats().origin.requests(), 1);

    let mut changes = b.changes(KEY);
    a.put(KEY, r#"{"version": 2}"#).await?;
    changes.changed().await;
    read(&b, Status::Refetched, "A's message arrived: one request").await?;
    read(&b, Status::Fresh, "no request until the next message").await?;

    // Without the bus nothing is served that the store has not confirmed for this read.
    bus.cut_all();
    until(&b, |bus| !bus.is_listening).await;
    a.put(KEY, r#"{"version": 3}"#).await?;
    read(&b, Status::Refetched, "the bus is cut: each read costs a request").await?;
    read(&b, Status::Revalidated, "and none is older than the store").await?;

    bus.heal();
    // A's first heartbeat shows B that it has missed a change.
    until(&b, |bus| bus.is_listening && bus.sequence_gaps > 0).await;
    read(&b, Status::Revalidated, "once more after the gap").await?;
    read(&b, Status::Fresh, "no request until the next message").await?;

    for node in [&a, &b] {
        let bus = node.bus_stats().ok_or("each node has a bus")?;
        println!(
            "{}: {} changes announced, {} heard that marked an entry, {} times disconnected",
            node.name(),
            bus.announced,
            bus.marked,
            bus.disconnects,
        );
    }
    Ok(())
}

/// Waits until `condition` holds of the node's bus.
async fn until(node: &ObjectCache, condition: impl Fn(&BusStats) -> bool) {
    while node.bus_stats().is_some_and(|bus| !condition(&bus)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn read(node: &ObjectCache, expected: Status, why: &str) -> Result<(), Box<dyn Error>> {
    let object = node.get(KEY).await?;
    let body = str::from_utf8(object.bytes())?;
    println!("{} reads {body} ({:?}: {why})", node.name(), object.status());
    assert_eq!(object.status(), expected);
    Ok(())
}

const KEY: &str = "object-cache-example/data.json";
