//! Reads each key in a loop.

use std::sync::Arc;

use bus_nodes::{Command, Fault, Line, Listens, Read, Reader, Setup, clock};
use cache_facade::{BusStats, Freshness, ObjectCache};
use futures_util::future::join_all;
use tokio::{sync::mpsc::UnboundedReceiver, time::sleep};

use crate::{faulty::Deaf, say, say_stats};

pub(crate) async fn run(
    setup: &Setup,
    role: &Reader,
    mut commands: UnboundedReceiver<Command>,
) -> Result<(), String> {
    let mut bus = crate::bus(setup, role.buffer)?;
    if role.fault == Some(Fault::Deaf) {
        bus = Arc::new(Deaf::default());
    }
    let freshness = match role.fault {
        Some(Fault::Immutable) => Freshness::immutable(),
        _ => Freshness::until_notified(role.fallback)
            .when_disconnected(Freshness::max_age(role.disconnected)),
    };
    let cache = crate::cache(setup, bus)?.freshness(freshness).build();
    let cache = cache.map_err(|error| error.to_string())?;
    let loops = setup.keys.iter().map(|key| async {
        loop {
            read(&cache, key).await;
            sleep(role.pause).await;
        }
    });
    tokio::select! {
        // It takes no commands: they end with its input.
        _ = async { while commands.recv().await.is_some() {} } => {}
        _ = join_all::<_>(loops) => {}
    }
    say_stats(cache.bus_stats());
    Ok(())
}

async fn read(cache: &ObjectCache, key: &str) {
    let stats = || cache.bus_stats().unwrap_or_default();
    let before = stats();
    let began = clock::now();
    let got = cache.get(key).await;
    let ended = clock::now();
    let listens = listens(&before, &stats());
    let (value, status) = match &got {
        Ok(object) => {
            let text = str::from_utf8(object.bytes()).ok();
            let Some(value) = text.and_then(|text| text.parse().ok()) else {
                return say(&Line::Failed(format!("{key} has a body that is no number")));
            };
            (value, format!("{:?}", object.status()))
        }
        Err(error) if error.is_not_found() => (0, "NotFound".to_owned()),
        Err(error) => return say(&Line::Failed(format!("get {key}: {error}"))),
    };
    say(&Line::Read(Read { key: key.to_owned(), value, began, ended, status, listens }));
}

fn listens(before: &BusStats, after: &BusStats) -> Listens {
    match (before.is_listening, after.is_listening) {
        (true, true) if before.listens == after.listens => Listens::Yes,
        // A cache begins to listen by a message.
        (false, false) if before.received == after.received => Listens::No,
        _ => Listens::Changed,
    }
}
