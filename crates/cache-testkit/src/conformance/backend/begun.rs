//! Look-ups and inserts that are under way while others come to their end.

use std::{sync::Arc, time::Duration};

use cache_core::{Entry, Freshness, Key, ReadThrough, Status};

use super::{
    probe::{Call, Probe, Shown, entry, validated},
    suite::Suite,
    walk::Crowd,
};
use crate::{
    MemoryOrigin,
    conformance::{Broken, Fault, Outcome, bounds::settle, chain},
};

/// *After `remove(key)`, `clear()`, `close()` or `insert(new)` has returned, no look-up that begins
/// later shows* an entry that was inserted before: not even if another look-up was under way, and
/// moves the entry that it has found into another tier when it goes on.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_look_up_under_way_brings_nothing_back(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("a_look_up_under_way_brings_nothing_back", looked_up).await
}

async fn looked_up(suite: &Suite) -> Result<(), Fault> {
    for what in [Change::Remove, Change::Clear, Change::Close, Change::Insert] {
        // In the first tier, and pushed out of it by others.
        for part in [0, 2, 4] {
            for polls in (0..=POLLS_MAX).flat_map(|n| [(n, false), (n, true)]) {
                let backend = suite.open().await?;
                backend.hold(&validated("a", "old", 100, 5, None)).await?;
                Crowd::of(&backend)?.come(&backend, part).await?;
                if interrupted(&backend, what, polls).await?.is_none() {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// A change that is made while a look-up is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Remove,
    Clear,
    Close,
    Insert,
}

async fn interrupted(
    backend: &Probe,
    what: Change,
    polls: (usize, bool),
) -> Result<Option<()>, Fault> {
    let new = entry("a", "new", 100);
    let call = match what {
        Change::Remove => Call::Remove("a").to_string(),
        Change::Clear => Call::Clear.to_string(),
        Change::Close => "`close()`".to_owned(),
        Change::Insert => Call::Insert(&new).to_string(),
    };
    let change = async {
        match what {
            Change::Remove => backend.remove("a").await.map(|_| ()),
            Change::Clear => backend.clear().await,
            Change::Close => backend.close().await,
            Change::Insert => backend.insert(&new).await.map(|_| ()),
        }
    };
    let done = backend.interrupt_get("a", polls, change).await?;
    settle().await;
    let allowed = Some(&new).filter(|_| what == Change::Insert && done.is_some());
    if done.is_some() {
        let after = format!(
            "after a look-up of the key had been polled {} times, {call} had come to its end, and \
                then the look-up",
            polls.0
        );
        // An entry that outlives the process may be read back.
        let is_read_back = |shown: &Entry| {
            what == Change::Close && backend.can.outlives && shown.validated_at().is_none()
        };
        if !backend.look_up("a").await?.is_some_and(|shown| is_read_back(&shown)) {
            backend.shows_nothing_but("a", allowed, after).await?;
        }
    }
    Ok(done)
}

/// *After `insert(new)` has returned, no look-up that begins later shows an earlier entry of that
/// key*: not even if many inserts of other keys are under way, behind which it may have to queue.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn an_entry_replaced_in_a_burst_is_not_shown(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("an_entry_replaced_in_a_burst_is_not_shown", burst).await
}

async fn burst(suite: &Suite) -> Result<(), Fault> {
    for removes in [false, true] {
        for n_polls in 0..=POLLS_MAX {
            let backend = suite.open().await?;
            let (old, new) = (entry("a", "old", 100), entry("a", "new", 100));
            let others: Vec<_> =
                (0..BURST).map(|n| entry(&format!("burst/{n}"), "burst", 100)).collect();
            let replaced = async {
                backend.insert(&old).await?;
                backend.insert(&new).await?;
                if removes {
                    backend.remove("a").await?;
                }
                Ok(())
            };
            let is_begun =
                backend.interrupt_inserts(&others, (n_polls, false), replaced).await?.is_some();
            settle().await;
            let allowed = Some(&new).filter(|_| is_begun && !removes);
            let after = format!(
                "after {BURST} inserts of other keys had been polled {n_polls} times, an entry \
                    had been inserted and \
                 {}, and the {BURST} had come to their end",
                if removes { "replaced and removed" } else { "replaced" }
            );
            backend.shows_nothing_but("a", allowed, after).await?;
            if !is_begun {
                break;
            }
        }
    }
    Ok(())
}

/// What is inserted after a `clear()` is held as ever: read through a [`ReadThrough`], an object
/// that is read again after a clear is served without a request from then on, or, from a medium
/// that outlives the process, after one that brings no body.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn what_is_read_after_a_clear_is_served_again(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("what_is_read_after_a_clear_is_served_again", read_again).await
}

async fn read_again(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    let (cache, key) = read_through(&backend)?;
    let wanted = if suite.can.outlives {
        &[Status::Fresh, Status::Revalidated][..]
    } else {
        &[Status::Fresh][..]
    };
    for round in 0..3 {
        let first = read(&cache, &key).await?;
        if first != Status::Fetched && backend.can.holds() && round > 0 {
            return Err(format!(
                "after `ReadThrough::clear`, a read is answered as `{first:?}`; expected \
                    `Fetched`: what was held \
                 before the clear is still shown"
            ));
        }
        let again = read(&cache, &key).await?;
        if backend.can.holds() && !wanted.contains(&again) {
            return Err(format!(
                "after {round} calls of `ReadThrough::clear` and a read, the next read of the \
                    same object is answered as \
                 `{again:?}`; expected {wanted:?}"
            ));
        }
        cache
            .clear()
            .await
            .map_err(|error| failed(suite, "clear", &error))
            .or_else(|fault| fault.map_or(Ok(()), Err))?;
    }
    Ok(())
}

/// *After `close()` has returned nothing is shown*, but for what outlives the process, without a
/// stamp: of a [`ReadThrough`] that is closed, no entry is served by a new one over the same
/// backend.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn what_a_closed_cache_held_is_not_shown(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("what_a_closed_cache_held_is_not_shown", closed).await
}

async fn closed(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    for part in [0, 2, 4] {
        let (cache, key) = read_through(&backend)?;
        read(&cache, &key).await?;
        Crowd::of(&backend)?.come(&backend, part).await?;
        match cache.close().await {
            Ok(()) => {
                let after = "after `ReadThrough::close` had returned";
                let shown = backend.look_up(key.as_str()).await?;
                // It may be read back if it outlives the process.
                let is_read_back =
                    |shown: &Entry| suite.can.outlives && shown.validated_at().is_none();
                if let Some(shown) = shown.filter(|shown| !is_read_back(shown)) {
                    backend.shows_nothing_but(key.as_str(), None, after).await?;
                    return Err(format!("{after}, a look-up shows {}", Shown(Some(&shown))));
                }
            }
            Err(error) => failed(suite, "close", &error).map_or(Ok(()), Err)?,
        }
        let (cache, key) = read_through(&backend)?;
        let first = read(&cache, &key).await?;
        if first != Status::Fetched && backend.can.holds() {
            return Err(format!(
                "after `ReadThrough::close`, a new cache over the same backend answers its first \
                    read as `{first:?}`; \
                 expected `Fetched`"
            ));
        }
        backend.clear().await?;
    }
    Ok(())
}

fn read_through(backend: &Probe) -> Result<(ReadThrough<MemoryOrigin>, Key), Fault> {
    let (origin, key) = (MemoryOrigin::new(), Key::parse("a/b").expect("it is canonical"));
    origin.write(key.as_str(), "body");
    let cache = ReadThrough::builder(Arc::new(origin), Arc::clone(&backend.backend)).build();
    let cache =
        cache.map_err(|error| format!("no cache could be built over it: {}", chain(&error)))?;
    Ok((cache, key))
}

/// How a read was answered that may rely on what is held for an hour.
async fn read(cache: &ReadThrough<MemoryOrigin>, key: &Key) -> Result<Status, Fault> {
    let hour = Freshness::max_age(Duration::from_secs(3600));
    let served = cache.get(key.as_str(), Some(&hour)).await;
    let served =
        served.map_err(|error| format!("a read through the cache failed: {}", chain(&error)))?;
    if served.entry.body() != "body" {
        return Err(format!("a read through the cache brought {}", Shown(Some(&served.entry))));
    }
    Ok(served.status)
}

/// `None`, if the backend has declared that it may fail.
fn failed(suite: &Suite, call: &str, error: &cache_core::Error) -> Option<Fault> {
    (!suite.can.fails).then(|| format!("`ReadThrough::{call}` failed: {}", chain(error)))
}

/// More awaits than a look-up of two tiers has.
const POLLS_MAX: usize = 8;
const BURST: usize = 30;
