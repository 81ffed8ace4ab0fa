//! Stamps of entries that leave memory and come back: marks and renewals.

use cache_core::{Entry, Moment};

use super::{
    probe::{Probe, Shown, is_alike, validated},
    suite::Suite,
    walk::Crowd,
};
use crate::conformance::{Broken, Fault, Outcome, bounds::settle};

/// `mark_stale` *marks the entry in every tier*: an entry that is shown after it is revalidated
/// before it is served, also if it was not in memory, if a look-up was moving it from one tier to
/// another, and if it has left memory and come back since.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_mark_is_never_lost(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("a_mark_is_never_lost", marked).await
}

async fn marked(suite: &Suite) -> Result<(), Fault> {
    for part in PARTS {
        let backend = suite.open().await?;
        let mut crowd = Crowd::of(&backend)?;
        for round in 0..2 {
            // The second time after it was evicted, shown again, and marked in memory.
            backend.hold(&validated("a", &format!("{round}"), 100, 5, None)).await?;
            crowd.come(&backend, part).await?;
            if round > 0 {
                backend.look_up("a").await?;
            }
            backend.mark_stale("a").await?;
            let after = "after `mark_stale(\"a\")`";
            is_marked(&backend, &mut crowd, after).await?;
        }
        for polls in (0..=POLLS_MAX).flat_map(|n| [(n, false), (n, true)]) {
            let backend = suite.open().await?;
            let mut crowd = Crowd::of(&backend)?;
            backend.hold(&validated("a", "1", 100, 5, None)).await?;
            crowd.come(&backend, part).await?;
            let done = backend.interrupt_get("a", polls, backend.mark_stale("a")).await?;
            settle().await;
            if done.is_none() {
                break;
            }
            let after = format!(
                "after a look-up had been polled {} times, `mark_stale(\"a\")` had returned, and \
                 then the look-up",
                polls.0
            );
            is_marked(&backend, &mut crowd, &after).await?;
        }
    }
    Ok(())
}

/// Looks several times, and lets other keys come in between.
async fn is_marked(backend: &Probe, crowd: &mut Crowd, after: &str) -> Result<(), Fault> {
    for what in ["", ", and inserts of other keys,", ", and more of them,"] {
        if !what.is_empty() {
            crowd.come(backend, 1).await?;
        }
        for _ in 0..2 {
            let shown = backend.look_up("a").await?;
            if let Some(entry) = shown.filter(|entry| !entry.must_revalidate()) {
                return Err(format!(
                    "{after}{what} a look-up shows {} as validated at {:?} and not marked; \
                     expected `must_revalidate()`",
                    Shown(Some(&entry)),
                    entry.validated_at()
                ));
            }
        }
    }
    Ok(())
}

/// An entry that comes back with a stamp has the one *that the last `insert`, `mark_stale` or
/// `renewed` left*: it was never validated later than that, and a renewal through a handle that was
/// evicted since counts too. It may come back without a stamp.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_stamp_is_as_the_last_call_left_it(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("a_stamp_is_as_the_last_call_left_it", stamped).await
}

async fn stamped(suite: &Suite) -> Result<(), Fault> {
    for (first, second) in PARTS.into_iter().flat_map(|first| PARTS.map(|second| (first, second))) {
        let backend = suite.open().await?;
        let mut crowd = Crowd::of(&backend)?;
        backend.hold(&validated("a", "1", 100, 5, Some(1000))).await?;
        crowd.come(&backend, first).await?;
        has_stamp(&backend, 5, "after `insert`").await?;
        for (at, marks) in [(50, false), (60, true), (70, false)] {
            let Some(handle) = backend.look_up("a").await? else { break };
            if marks {
                backend.mark_stale("a").await?;
            }
            // The handle may leave memory before the response is there.
            crowd.come(&backend, second).await?;
            handle.renew_from(&validated("a", "1", 100, at, Some(1000)));
            backend.renewed(&handle)?;
            let after = format!("after a handle was renewed at +{at}ns, and `renewed` was called");
            has_stamp(&backend, at, &after).await?;
            crowd.come(&backend, first).await?;
            has_stamp(&backend, at, &format!("{after}, and other keys were inserted")).await?;
        }
    }
    Ok(())
}

async fn has_stamp(backend: &Probe, at: u64, after: &str) -> Result<(), Fault> {
    let Some(shown) = backend.look_up("a").await? else { return Ok(()) };
    let (expected, found) = (Moment::from_nanos(at), shown.validated_at());
    if found.is_none() || (found == Some(expected) && !shown.must_revalidate()) {
        return Ok(());
    }
    let marked = if shown.must_revalidate() { " and marked" } else { "" };
    Err(format!(
        "{after}, a look-up shows {} as validated at {found:?}{marked}; expected {expected:?} and \
         not marked, or no stamp",
        Shown(Some(&shown))
    ))
}

/// `renewed` renews the stamp *of the same version* alone: not of an entry that has replaced it.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_renewal_of_a_replaced_entry_renews_nothing(
    suite: &Suite,
) -> Result<Outcome, Broken> {
    suite.kept("a_renewal_of_a_replaced_entry_renews_nothing", replaced).await
}

async fn replaced(suite: &Suite) -> Result<(), Fault> {
    for part in PARTS {
        let backend = suite.open().await?;
        let mut crowd = Crowd::of(&backend)?;
        let old = validated("a", "old", 100, 5, None);
        backend.hold(&old).await?;
        let handle = backend.look_up("a").await?.unwrap_or(old);
        let new = validated("a", "new", 100, 10, None);
        backend.hold(&new).await?;
        crowd.come(&backend, part).await?;
        backend.mark_stale("a").await?;
        handle.renew_from(&validated("a", "old", 100, 50, None));
        backend.renewed(&handle)?;
        let after = "after `renewed` of the entry that it had replaced";
        let shown = backend.look_up("a").await?;
        if let Some(entry) = shown.filter(|entry| !is_as_left(entry, &new)) {
            return Err(format!(
                "{after}, a look-up shows {} as validated at {:?}, and `must_revalidate()` is {}; \
                 expected the newer entry, marked and validated no later than at {:?}",
                Shown(Some(&entry)),
                entry.validated_at(),
                entry.must_revalidate(),
                new.validated_at()
            ));
        }
    }
    Ok(())
}

fn is_as_left(shown: &Entry, new: &Entry) -> bool {
    is_alike(shown, new) && shown.must_revalidate() && shown.validated_at() <= new.validated_at()
}

/// Eighths of a crowd, which takes the whole room twice.
const PARTS: [u64; 4] = [0, 1, 2, 4];
/// More awaits than a look-up of two tiers has.
const POLLS_MAX: usize = 8;
