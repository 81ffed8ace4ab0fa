//! Several callers at once.

use std::task::Poll;

use cache_core::{Admission, Moment, Result};
use futures_util::future::BoxFuture;
use tokio::task::{JoinSet, yield_now};

use super::{
    probe::{Inserting, Probe, Removing, entry},
    suite::Suite,
};
use crate::{
    conformance::{Broken, Fault, Outcome, bounds::poll_once},
    random::Random,
};

/// `get_now` and `peek` *must not block*: they return while other calls are half-way, whether or
/// not anybody polls them.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn peek_does_not_block(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("peek_does_not_block", peeks).await
}

async fn peeks(suite: &Suite) -> Result<(), Fault> {
    for n_polls in 1..5 {
        let probe = suite.open().await?;
        let backend = probe.inner();
        let calls: [(&str, BoxFuture<'_, Result<()>>); 6] = [
            ("insert", Box::pin(async { backend.insert(entry("a", "1", 100)).await.map(drop) })),
            ("get", Box::pin(async { backend.get("a").await.map(drop) })),
            (
                "insert of another entry",
                Box::pin(async { backend.insert(entry("a", "2", 100)).await.map(drop) }),
            ),
            ("sweep", Box::pin(async { backend.sweep(Moment::from_nanos(5)).await })),
            ("remove", Box::pin(async { backend.remove("a").await.map(drop) })),
            ("clear", Box::pin(async { backend.clear().await })),
        ];
        for (name, mut call) in calls {
            let mut result = None;
            for _ in 0..n_polls {
                match suite.calls.returned(format!("`{name}`"), || poll_once(call.as_mut()))? {
                    Poll::Ready(returned) => {
                        result = Some(returned);
                        break;
                    }
                    Poll::Pending => yield_now().await,
                }
            }
            let during = format!("while `{name}` is half-way (polled {n_polls} times),");
            for key in ["a", "other"] {
                let get_now = format!("`get_now`, {during}");
                suite.calls.returned(get_now, || drop(backend.get_now(key)))?;
                suite.calls.returned(format!("`peek`, {during}"), || drop(backend.peek(key)))?;
                let contains = format!("`contains`, {during}");
                let _ = suite.calls.returned(contains, || backend.contains(key))?;
            }
            if result.is_none() {
                // What it returns is another rule's affair.
                let _ = suite.calls.answered(format!("`{name}`"), || call).await?;
            }
        }
    }
    Ok(())
}

/// *The calls of one key that change it come one after the other; calls for different keys,
/// look-ups, `clear`, `sweep` and `usage` come at any time*: each task finds what it inserted under
/// its own keys, or nothing, and nothing of what it removed; and when all have come to rest, the
/// limits hold and `usage` counts what is shown.
///
/// On a runtime with several threads the tasks run at once, on any other they take turns wherever
/// the backend waits.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn many_tasks_at_once_find_their_own(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("many_tasks_at_once_find_their_own", many).await
}

async fn many(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    let size_max = backend.small_capacity()?.map_or(3000, |capacity| capacity / 16).max(1);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(changes(backend.clone(), task, size_max));
    }
    tasks.spawn(disturbs(backend.clone()));
    let mut checked = Ok(());
    while let Some(ended) = tasks.join_next().await {
        // A task that panicked does so in a rule: calls are caught.
        let ended = ended.unwrap_or_else(|error| Err(format!("a task ended: {error}")));
        checked = checked.and(ended);
    }
    checked?;
    let after = "after many tasks had come to rest,";
    backend.is_within_limits(after)?;
    let (mut entries, mut bytes) = (0, 0);
    for key in (0..TASKS).flat_map(|task| (0..KEYS).map(move |n| key(task, n))) {
        if let Some(shown) = backend.look_up(&key).await? {
            (entries, bytes) = (entries + 1, bytes + shown.weight());
        }
    }
    let usage = backend.usage()?;
    let is_exact = !backend.can.forgets && !backend.can.counts_one_tier;
    if (usage.entries, usage.bytes) != (entries, bytes) && is_exact {
        return Err(format!(
            "{after} look-ups of all keys show {entries} entries that weigh {bytes} bytes, and \
                `usage` says {} and {}",
            usage.entries, usage.bytes
        ));
    }
    Ok(())
}

async fn changes(backend: Probe, task: u64, size_max: u64) -> Result<(), Fault> {
    let random = Random::new(task);
    for step in 0..STEPS {
        let own = key(task, random.below(KEYS));
        match random.below(6) {
            0..3 => {
                let size = usize::try_from(random.below(size_max)).expect("it is small");
                let held = entry(&own, &format!("{task}-{step}"), size);
                let admission = backend.insert(&held).await?;
                yield_now().await;
                let after = format!(
                    "while others were busy with other keys, after {} had returned",
                    Inserting(&held)
                );
                let is_held = admission == Some(Admission::Stored);
                backend.shows_nothing_but(&own, is_held.then_some(&held), after).await?;
            }
            3 => {
                backend.remove(&own).await?;
                yield_now().await;
                let after = format!(
                    "while others were busy with other keys, after {} had returned",
                    Removing(&own)
                );
                backend.shows_nothing_but(&own, None, after).await?;
            }
            _ => {
                backend.look_up(&key(random.below(TASKS), random.below(KEYS))).await?;
                yield_now().await;
            }
        }
    }
    Ok(())
}

async fn disturbs(backend: Probe) -> Result<(), Fault> {
    for step in 0..STEPS {
        backend.usage()?;
        backend.sweep(Moment::from_nanos(step)).await?;
        yield_now().await;
        if step % 32 == 0 {
            backend.clear().await?;
        }
    }
    Ok(())
}

fn key(task: u64, n: u64) -> String {
    format!("{task}/{n}")
}

const TASKS: u64 = 4;
const KEYS: u64 = 10;
const STEPS: u64 = 200;
