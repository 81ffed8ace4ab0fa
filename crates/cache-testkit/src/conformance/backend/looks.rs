//! Looks that are no use, what is stored at once, and what a close leaves.

use cache_core::{Admission, Entry, Storability};

use super::{
    probe::{Inserting, Probe, Shown, difference, entry, validated},
    shown::stamped_entries,
    suite::Suite,
    walk::Crowd,
};
use crate::conformance::{Broken, Fault, Outcome, Short};

/// *`peek` counts no use*, and neither does `contains`: `usage` stays as it is, and an entry that
/// only they look at is evicted like one that nobody reads. Left out where a use does not keep an
/// entry either.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_peek_counts_no_use(suite: &Suite) -> Result<Outcome, Broken> {
    suite.checked("a_peek_counts_no_use", uses).await
}

async fn uses(suite: &Suite) -> Result<Outcome, Fault> {
    let backend = suite.open().await?;
    backend.hold(&entry("a", "1", 100)).await?;
    let before = backend.usage()?;
    for key in ["a", "missing"] {
        backend.peek(key)?;
        backend.contains(key)?;
    }
    let after = backend.usage()?;
    if after != before && !backend.can.forgets {
        return Err(format!(
            "`peek` and `contains` changed `usage` from {before:?} to {after:?}; expected no change"
        ));
    }
    if backend.can.max_entries.is_none() && backend.small_capacity()?.is_none() {
        return Ok(Outcome::LeftOut("there is no limit, or one of more than 16 MiB"));
    }
    if survived(suite, Look::No).await? > 0 || survived(suite, Look::Use).await? < N_TRIED {
        return Ok(Outcome::LeftOut("a use does not decide here which entry is evicted"));
    }
    for (name, look) in [("peek", Look::Peek), ("contains", Look::Contains)] {
        if survived(suite, look).await? == N_TRIED {
            return Err(format!(
                "an entry at which `{name}` looked after each of many inserts was not evicted; \
                    without a \
                 look it is, so `{name}` counts as a use"
            ));
        }
    }
    Ok(Outcome::Kept)
}

/// How an entry is looked at while others come.
#[derive(Debug, Clone, Copy)]
enum Look {
    No,
    Use,
    Peek,
    Contains,
}

/// Of [`N_TRIED`] entries, each in a backend of its own, how many were not evicted by others that
/// take the whole room twice. Several, since a backend may choose at random.
async fn survived(suite: &Suite, look: Look) -> Result<u64, Fault> {
    let mut n_survived = 0;
    for _ in 0..N_TRIED {
        let backend = suite.open().await?;
        backend.hold(&entry("a", "1", 100)).await?;
        let mut crowd = Crowd::of(&backend)?;
        while crowd.come_next(&backend).await? {
            match look {
                Look::No => {}
                Look::Use => drop(backend.look_up("a").await?),
                Look::Peek => drop(backend.peek("a")?),
                Look::Contains => {
                    let _ = backend.contains("a")?;
                }
            }
        }
        n_survived += u64::from(backend.look_up("a").await?.is_some());
    }
    Ok(n_survived)
}

/// `peek` *otherwise shows what `get_now` would*: the same entry, or nothing.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_peek_shows_what_is_at_hand(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("a_peek_shows_what_is_at_hand", peeked).await
}

async fn peeked(suite: &Suite) -> Result<(), Fault> {
    in_all_states(suite, async |backend, after| {
        let (peeked, shown) = (backend.peek("a")?, backend.get_now("a")?);
        let is_right = match (&peeked, &shown) {
            (Some(peeked), Some(shown)) => peeked.is_same(shown),
            (None, None) => true,
            _ => backend.can.forgets,
        };
        if is_right {
            return Ok(());
        }
        Err(format!(
            "{after}, `peek(\"a\")` shows {}, and `get_now(\"a\")` {}; expected the same",
            Shown(peeked.as_ref()),
            Shown(shown.as_ref())
        ))
    })
    .await
}

/// *`contains` agrees with the look-ups, or returns `None`*. Left out where it always does.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn contains_agrees_with_look_ups(suite: &Suite) -> Result<Outcome, Broken> {
    suite.checked("contains_agrees_with_look_ups", agrees).await
}

async fn agrees(suite: &Suite) -> Result<Outcome, Fault> {
    let mut is_told = false;
    in_all_states(suite, async |backend, after| {
        let Some(said) = backend.contains("a")? else { return Ok(()) };
        is_told = true;
        let shown = backend.look_up("a").await?;
        // What it has may be lost before it is shown, by a failure or by choice.
        let may_differ = said && (backend.can.fails || backend.can.forgets);
        if said == shown.is_some() || may_differ {
            return Ok(());
        }
        Err(format!(
            "{after}, `contains(\"a\")` returns {said}, and a look-up shows {}",
            Shown(shown.as_ref())
        ))
    })
    .await?;
    Ok(if is_told { Outcome::Kept } else { Outcome::LeftOut("it has no index in memory") })
}

/// Calls `look` after each change that a key can go through.
async fn in_all_states(
    suite: &Suite,
    mut look: impl AsyncFnMut(&Probe, &str) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let backend = suite.open().await?;
    let mut crowd = Crowd::of(&backend)?;
    look(&backend, "before anything was inserted").await?;
    // Each way in which the suite inserts.
    for round in ["first", "second"] {
        backend.hold(&entry("a", &format!("{round}-old"), 100)).await?;
        look(&backend, "after an `insert`").await?;
        backend.hold(&entry("a", &format!("{round}-new"), 100)).await?;
        look(&backend, "after the entry was replaced").await?;
        for _ in 0..4 {
            crowd.come(&backend, 2).await?;
            look(&backend, "after inserts of other keys").await?;
        }
        backend.insert(&entry("a", &format!("{round}-again"), 100)).await?;
        backend.remove("a").await?;
        look(&backend, "after a `remove`").await?;
        backend.insert(&entry("a", &format!("{round}-last"), 100)).await?;
        backend.clear().await?;
        look(&backend, "after a `clear`").await?;
    }
    Ok(())
}

/// `insert_now` *stores at once*, and shows no earlier entry of the key from then on, *or hands the
/// entry back*, which `insert` then takes. Left out where it hands every entry back.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn what_is_stored_at_once_is_shown(suite: &Suite) -> Result<Outcome, Broken> {
    suite.checked("what_is_stored_at_once_is_shown", at_once).await
}

async fn at_once(suite: &Suite) -> Result<Outcome, Fault> {
    let backend = suite.open().await?;
    let (mut crowd, mut is_taken) = (Crowd::of(&backend)?, false);
    for round in 0..8 {
        backend.hold(&entry("a", &format!("old-{round}"), 100)).await?;
        crowd.come(&backend, round % 4).await?;
        let new = entry("a", &format!("new-{round}"), 100);
        let after = format!("after `insert_now` of {}", Shown(Some(&new)));
        match backend.insert_now(&new)? {
            Ok(Admission::Stored) => {
                is_taken = true;
                backend.shows_nothing_but("a", Some(&new), &after).await?;
                backend.shows(&new, &after).await?;
            }
            Ok(_) => {
                is_taken = true;
                backend.shows_nothing_but("a", None, &after).await?;
            }
            Err(_) => {
                backend.insert_later(&new).await?;
                let after = format!("{after}, which handed it back, and `insert` of it");
                backend.shows_nothing_but("a", Some(&new), after).await?;
            }
        }
    }
    Ok(if is_taken { Outcome::Kept } else { Outcome::LeftOut("it stores nothing at once") })
}

/// *After `close()` has returned, no look-up shows an entry* that was inserted before; only one
/// that outlives the process may be shown, *as it is read back, without a stamp*. And such a
/// backend keeps its entries: opened again, it shows them.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_closed_backend_shows_no_stamp(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("a_closed_backend_shows_no_stamp", closed).await
}

async fn closed(suite: &Suite) -> Result<(), Fault> {
    let number = suite.number();
    let backend = suite.open_at(number).await?;
    let mut entries: Vec<_> = ["x", "y", "z"].map(|key| validated(key, "1", 100, 5, None)).into();
    entries.extend(stamped_entries());
    let mut held = Vec::new();
    for entry in &entries {
        if backend.hold(entry).await? {
            held.push(entry);
        }
    }
    if suite.can.outlives {
        // Some out of memory, whose stamps are elsewhere then; there is room for all of them.
        Crowd::of_small(&backend).come(&backend, 1).await?;
        backend.mark_stale("x").await?;
    }
    for n_closed in 1..3 {
        backend.close().await?;
        for entry in &entries {
            let shown = backend.look_up(entry.key()).await?;
            comes_back(
                &backend,
                entry,
                shown.as_ref(),
                &format!("after {n_closed} calls of `close`"),
            )?;
        }
    }
    drop(backend);
    if !suite.can.outlives {
        return Ok(());
    }
    let again = suite.open_at(number).await?;
    for entry in held {
        let after = "when the backend had been closed and opened again";
        let shown = again.look_up(entry.key()).await?;
        comes_back(&again, entry, shown.as_ref(), after)?;
        // An entry that cannot be revalidated is of no use to a later process.
        let is_needed = entry.storability() == Storability::Revalidatable;
        if shown.is_none() && again.can.holds() && is_needed {
            let what = Inserting(entry);
            return Err(format!(
                "{after}, nothing is shown of what {what} stored: `close` lost it"
            ));
        }
    }
    Ok(())
}

/// Expects nothing, or what may be read back of `entry`.
fn comes_back(
    backend: &Probe,
    entry: &Entry,
    shown: Option<&Entry>,
    after: &str,
) -> Result<(), Fault> {
    let Some(shown) = shown else { return Ok(()) };
    let key = Short(entry.key());
    if !backend.can.outlives {
        return Err(format!(
            "{after}, a look-up of {key} shows {}; expected nothing",
            Shown(Some(shown))
        ));
    }
    if let Some(difference) = difference(shown, entry) {
        return Err(format!("{after}, {key} comes back with {difference}"));
    }
    match shown.validated_at() {
        Some(at) => Err(format!(
            "{after}, {} is shown as validated at {at:?}; expected `validated_at()` to be `None`",
            Shown(Some(shown))
        )),
        None => Ok(()),
    }
}

/// So that a backend which evicts at random does not agree with a rule each time.
const N_TRIED: u64 = 6;
