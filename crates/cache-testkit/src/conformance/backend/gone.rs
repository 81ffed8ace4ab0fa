//! What look-ups must not show any more.

use cache_core::Admission;

use super::{
    probe::{Call, Inserting, Removing, entry},
    suite::Suite,
    walk::Crowd,
};
use crate::conformance::{Broken, Fault, Outcome, bounds::settle};

/// *After `remove(key)` has returned, no look-up that begins later shows an entry whose `insert`
/// returned before the call, in any tier*; it says whether there was one, and leaves other keys
/// alone.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_removed_entry_is_not_shown(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("a_removed_entry_is_not_shown", removed).await
}

async fn removed(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    let other = entry("b", "other", 100);
    backend.hold(&other).await?;
    for round in 0..ROUNDS {
        let held = entry("a", &format!("{round}"), 100);
        let is_held = backend.hold(&held).await?;
        let was_held = backend.remove("a").await?;
        backend
            .shows_nothing_but("a", None, format!("after {} had returned", Removing("a")))
            .await?;
        if is_held && !was_held && backend.can.holds() {
            return Err(format!(
                "{} said that there was no entry, after {}",
                Removing("a"),
                Inserting(&held)
            ));
        }
        if backend.remove("a").await? {
            return Err(format!(
                "{} said that there was an entry, when it had just been removed",
                Removing("a")
            ));
        }
    }
    backend.shows(&other, format!("after {}", Removing("a"))).await?;
    let mut crowd = Crowd::of(&backend)?;
    for (part, looks) in PARTS.into_iter().flat_map(|part| [(part, false), (part, true)]) {
        backend.insert(&entry("a", &format!("crowded-{part}"), 100)).await?;
        // From one tier into the next; and back into the first, where the other keeps it.
        crowd.come(&backend, part).await?;
        if looks {
            backend.look_up("a").await?;
        }
        backend.remove("a").await?;
        let after = format!(
            "when other keys had taken some of the room, and {} had returned",
            Removing("a")
        );
        backend.shows_nothing_but("a", None, after).await?;
    }
    Ok(())
}

/// *After `clear()` has returned, no look-up that begins later shows an entry whose `insert`
/// returned before the call, in any tier*; what is inserted later is shown.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn after_a_clear_nothing_is_shown(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("after_a_clear_nothing_is_shown", cleared).await
}

async fn cleared(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    let mut crowd = Crowd::of(&backend)?;
    for round in 0..PARTS.len() {
        let held: Vec<_> =
            (0..20).map(|n| entry(&format!("k/{n}"), &format!("{round}-{n}"), 100)).collect();
        for held in &held {
            backend.hold(held).await?;
            backend
                .shows(held, format!("after {round} calls of `clear()` and {}", Inserting(held)))
                .await?;
        }
        if round > 0 {
            // Some into other tiers, and some out of them.
            crowd.come(&backend, PARTS[round - 1]).await?;
        }
        backend.clear().await?;
        settle().await;
        for held in &held {
            backend.shows_nothing_but(held.key(), None, "after `clear()` had returned").await?;
        }
    }
    Ok(())
}

/// *After `insert(new)` has returned, whatever it returned, no look-up that begins later shows an
/// earlier entry of that key.*
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_replaced_entry_is_not_shown(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("a_replaced_entry_is_not_shown", replaced).await
}

async fn replaced(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    for round in 0..ROUNDS {
        // Larger, smaller, and just as large.
        let held = entry("a", &format!("{round}"), [100, 3000, 10, 10][round % 4]);
        // Not removed after an error: the promise is the insert's own.
        let admission = backend.insert_alone(&held).await?;
        let after = format!("after {} had returned {admission:?}", Inserting(&held));
        match admission {
            Some(Admission::Stored) => backend.shows(&held, &after).await?,
            Some(_) => backend.shows_nothing_but("a", None, &after).await?,
            None => backend.shows_nothing_but("a", Some(&held), &after).await?,
        }
    }
    Ok(())
}

/// *After `insert(new)` has returned, whatever it returned*: an entry larger than the whole backend
/// is refused as too large, and the earlier one of its key is gone all the same. Left out where
/// `usage` tells no capacity, or more than 16 MiB.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_refused_entry_drops_the_earlier_one(suite: &Suite) -> Result<Outcome, Broken> {
    suite.checked("a_refused_entry_drops_the_earlier_one", refused).await
}

async fn refused(suite: &Suite) -> Result<Outcome, Fault> {
    let backend = suite.open().await?;
    let Some(capacity) = backend.small_capacity()? else {
        return Ok(Outcome::LeftOut("there is no capacity, or one of more than 16 MiB"));
    };
    for round in 0..8 {
        let held = entry("a", &format!("held-{round}"), 100);
        let bare = entry("a", &format!("large-{round}"), 0);
        // One byte too much.
        let size =
            usize::try_from(capacity + 1 - bare.weight().min(capacity)).expect("it is small");
        let large = entry("a", &format!("large-{round}"), size);
        backend.hold(&held).await?;
        let admission = backend.insert_alone(&large).await?;
        let after = format!("after {} had returned {admission:?}", Inserting(&large));
        // A lower tier may have room for it.
        let is_stored = admission == Some(Admission::Stored);
        if is_stored && backend.can.counts_one_tier {
            backend.shows(&large, &after).await?;
            continue;
        }
        if is_stored {
            return Err(format!(
                "{after}, though it weighs {} bytes, of {capacity} in all",
                large.weight()
            ));
        }
        backend.shows_nothing_but("a", None, &after).await?;
    }
    Ok(Outcome::Kept)
}

/// *Evicting from an upper tier never uncovers an older entry in a lower one*, nor does it bring
/// back what was removed.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn an_evicted_entry_uncovers_no_older_one(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("an_evicted_entry_uncovers_no_older_one", uncovered).await
}

async fn uncovered(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    let mut crowd = Crowd::of(&backend)?;
    for (first, second) in PARTS.into_iter().flat_map(|first| PARTS.map(|second| (first, second))) {
        let tag = |age| format!("{age}-{first}-{second}");
        let (old, new) = (entry("a", &tag("old"), 100), entry("a", &tag("new"), 100));
        backend.insert(&old).await?;
        crowd.come(&backend, first).await?;
        backend.insert(&new).await?;
        crowd.come(&backend, second).await?;
        let after =
            "after an entry had been replaced, and other keys had taken room before and since";
        backend.shows_nothing_but("a", Some(&new), after).await?;
        backend.remove("a").await?;
        crowd.come(&backend, second).await?;
        let after = "after an entry had been replaced and removed, and other keys had taken room \
            in between and since";
        backend.shows_nothing_but("a", None, after).await?;
    }
    Ok(())
}

/// *A dropped future has no later effect*: what it has not done when it is dropped, it does not do
/// behind the back of the next call. *A future that was never polled has no effect*: of `insert`,
/// `remove`, `clear` and `get`.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_dropped_future_has_no_later_effect(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("a_dropped_future_has_no_later_effect", dropped).await
}

async fn dropped(suite: &Suite) -> Result<(), Fault> {
    for n_polls in 0..6 {
        let backend = suite.open().await?;
        let late = entry("a", "late", 100);
        backend.hold(&entry("a", "old", 100)).await?;
        backend.abandon(Call::Insert(&late), n_polls).await?;
        backend.remove("a").await?;
        settle().await;
        let after = |call: Call<'_>, next: &str| {
            format!(
                "after {call} had been polled {n_polls} times and dropped, and {next} had returned"
            )
        };
        backend.shows_nothing_but("a", None, after(Call::Insert(&late), "`remove`")).await?;

        let new = entry("a", "new", 100);
        for call in [Call::Insert(&late), Call::Remove("a"), Call::Clear, Call::Get("a")] {
            backend.hold(&entry("a", "old", 100)).await?;
            backend.abandon(call, n_polls).await?;
            let is_held = backend.hold(&new).await?;
            settle().await;
            let allowed = is_held.then_some(&new);
            let after = after(call, "`insert` of a new entry");
            backend.shows_nothing_but("a", allowed, &after).await?;
            if is_held {
                backend.shows(&new, &after).await?;
            }
        }
    }
    let late = entry("a", "late", 100);
    for call in [Call::Insert(&late), Call::Remove("a"), Call::Clear, Call::Get("a")] {
        let backend = suite.open().await?;
        let held = entry("a", "held", 100);
        if backend.hold(&held).await? {
            backend.abandon(call, 0).await?;
            settle().await;
            backend
                .shows(&held, format!("after {call} had been dropped without being polled"))
                .await?;
        }
    }
    Ok(())
}

/// So many that a backend which fails now and then does so in each way that it has.
const ROUNDS: usize = 64;

/// Eighths of a crowd, which takes the whole room twice: what a tier is of a backend, nobody knows.
const PARTS: [u64; 6] = [1, 2, 3, 4, 6, 8];
