//! Limits, counts and deadlines.

use std::{sync::Arc, time::Duration};

use cache_core::{Clock as _, Entry, Freshness, Moment, ReadThrough, Status};

use super::{
    probe::{Probe, entry, validated},
    suite::Suite,
    walk::{Crowd, Walk},
};
use crate::{
    ManualClock, MemoryOrigin,
    conformance::{Broken, Fault, Outcome, chain},
};

/// `sweep` *drops what has expired at `now`*, and nothing else: not what expires later, never, or
/// was never validated for; not the next entry of a key whose last one has expired; not one that
/// was renewed since it was inserted, which the backend is not told of: deadlines are asked of the
/// entry.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_sweep_spares_what_has_not_expired(suite: &Suite) -> Result<Outcome, Broken> {
    let spares = async |suite: &Suite| {
        spared(suite).await?;
        renewed(suite).await
    };
    suite.kept("a_sweep_spares_what_has_not_expired", spares).await
}

async fn spared(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    let always = [validated("for-ever", "1", 10, 5, None), entry("unvalidated", "2", 10)];
    let later =
        [validated("later", "3", 10, 5, Some(100)), validated("again", "4", 10, 50, Some(50))];
    backend.hold(&validated("again", "0", 10, 5, Some(50))).await?;
    for held in always.iter().chain(&later) {
        backend.hold(held).await?;
    }
    for (now, spared) in [
        (54, [&always[..], &later].concat()),
        (60, [&always[..], &later].concat()),
        (u64::MAX, always.to_vec()),
    ] {
        let now = Moment::from_nanos(now);
        backend.sweep(now).await?;
        for held in &spared {
            let deadline = held.expires_at();
            backend
                .shows(
                    held,
                    format!(
                        "after `sweep({now:?})`, which {} does not expire before ({deadline:?})",
                        held.key()
                    ),
                )
                .await?;
        }
    }
    Ok(())
}

async fn renewed(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    let (origin, clock) = (Arc::new(MemoryOrigin::new()), Arc::new(ManualClock::new()));
    origin.write("a", "body");
    let cache = ReadThrough::builder(origin, Arc::clone(&backend.backend))
        .time_to_live(Some(Duration::from_secs(100)))
        .clock(clock.clone())
        .build()
        .expect("the settings are good");
    for _ in 0..2 {
        let read = suite
            .calls
            .answered("a read through the backend", || cache.get("a", Some(&STRONG)))
            .await?;
        let served =
            read.map_err(|error| format!("a read through the backend failed: {}", chain(&error)))?;
        if served.status == Status::Revalidated {
            // 90 seconds old, and renewed.
            break;
        }
        clock.advance(Duration::from_secs(90));
    }
    let Some(shown) =
        backend.look_up("a").await?.filter(|shown| shown.validated_at() == Some(clock.now()))
    else {
        // It was not held, or is read back from a medium, without a stamp.
        return Ok(());
    };
    clock.advance(Duration::from_secs(60));
    let now = clock.now();
    backend.sweep(now).await?;
    let after = format!(
        "after `sweep({now:?})` of an entry that would have expired at +100s, was renewed at {:?} \
            and expires at {:?}",
        shown.validated_at(),
        shown.expires_at()
    );
    backend.shows(&shown, after).await
}

/// `sweep` drops all that *has expired at `now`*, and counts it as expired. Left out unless
/// declared.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_sweep_drops_what_has_expired(suite: &Suite) -> Result<Outcome, Broken> {
    if !suite.can.sweeps {
        return Ok(Outcome::LeftOut("a sweep need not find anything here"));
    }
    suite.kept("a_sweep_drops_what_has_expired", swept).await
}

async fn swept(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    let held: Vec<Entry> =
        (0..20).map(|n| validated(&format!("k/{n}"), "1", 10, n, Some(50))).collect();
    let mut n_held = 0;
    for held in &held {
        n_held += u64::from(backend.hold(held).await?);
    }
    for n in [4, 19] {
        let now = Moment::from_nanos(n + 50);
        backend.sweep(now).await?;
        for held in held.iter().filter(|held| held.expires_at().is_some_and(|at| at <= now)) {
            let after = format!(
                "after `sweep({now:?})` of an entry that expires at {:?}",
                held.expires_at()
            );
            backend.shows_nothing_but(held.key(), None, after).await?;
        }
    }
    let expired = backend.usage()?.expired;
    if expired != n_held && backend.can.is_counting() {
        return Err(format!(
            "{n_held} entries have expired and were swept, and `usage` says {expired}"
        ));
    }
    Ok(())
}

/// The limits hold *after each call*: what `usage` says is held is at most the capacity that it
/// tells, and at most as many entries as were declared. Left out where there is neither limit, or
/// only a capacity of more than 16 MiB.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn the_limits_hold_after_each_call(suite: &Suite) -> Result<Outcome, Broken> {
    suite.checked("the_limits_hold_after_each_call", limits).await
}

async fn limits(suite: &Suite) -> Result<Outcome, Fault> {
    if suite.can.max_entries.is_none() && suite.open().await?.small_capacity()?.is_none() {
        return Ok(Outcome::LeftOut("there is no limit, or one of more than 16 MiB"));
    }
    let backend = suite.open().await?;
    Crowd::of_small(&backend).come_watched(&backend).await?;
    let backend = suite.open().await?;
    Crowd::of(&backend)?.come_watched(&backend).await?;
    for seed in SEEDS {
        let mut walk = Walk::new(suite, seed).await?;
        for _ in 0..STEPS {
            walk.step().await?;
            walk.probe.is_within_limits(&walk.after())?;
        }
    }
    Ok(Outcome::Kept)
}

impl Probe {
    pub(super) fn is_within_limits(&self, after: &str) -> Result<(), Fault> {
        let usage = self.usage()?;
        for (what, held, limit) in [
            ("bytes", usage.bytes, usage.capacity_bytes),
            ("entries", usage.entries, self.can.max_entries),
        ] {
            if let Some(limit) = limit.filter(|limit| held > *limit) {
                return Err(format!(
                    "{after} `usage` says that {held} {what} are held; the limit is {limit}"
                ));
            }
        }
        Ok(())
    }
}

/// `usage` says *how full the backend is*: as many entries as look-ups of all keys show, and the
/// sum of their weights. And what is shown is always what was inserted last under its key.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn usage_counts_what_is_shown(suite: &Suite) -> Result<Outcome, Broken> {
    if suite.can.forgets {
        return Ok(Outcome::LeftOut("entries leave uncounted here"));
    }
    if suite.can.counts_one_tier {
        return Ok(Outcome::LeftOut("usage counts one tier here"));
    }
    suite.kept("usage_counts_what_is_shown", counts).await
}

async fn counts(suite: &Suite) -> Result<(), Fault> {
    for seed in SEEDS {
        let mut walk = Walk::new(suite, seed).await?;
        for n in 0..STEPS {
            walk.step().await?;
            if n % 5 == 0 {
                counted(&walk).await?;
            }
        }
    }
    Ok(())
}

async fn counted(walk: &Walk) -> Result<(), Fault> {
    let (entries, bytes) = walk.recount().await?;
    let usage = walk.usage()?;
    if (usage.entries, usage.bytes) != (entries, bytes) {
        return Err(format!(
            "{} look-ups of all keys show {entries} entries that weigh {bytes} bytes, and `usage` \
                says {} and {}",
            walk.after(),
            usage.entries,
            usage.bytes
        ));
    }
    Ok(())
}

/// `usage` counts *running totals of what has left*: who came is held, or was replaced, removed or
/// cleared, or is counted once as evicted, expired or refused. Left out for a backend that fails,
/// or forgets.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn whoever_left_is_counted_once(suite: &Suite) -> Result<Outcome, Broken> {
    if !suite.can.is_counting() {
        return Ok(Outcome::LeftOut(
            "entries that leave by a failure, or to a lower tier, are not counted",
        ));
    }
    suite.kept("whoever_left_is_counted_once", totals).await
}

async fn totals(suite: &Suite) -> Result<(), Fault> {
    for seed in SEEDS {
        let mut walk = Walk::new(suite, seed).await?;
        for _ in 0..STEPS {
            walk.step().await?;
            let usage = walk.usage()?;
            let (arrived, left) = (walk.n_arrived, walk.n_left);
            let counted = [usage.entries, left, usage.evicted, usage.expired, usage.rejected];
            if u128::from(arrived) != counted.into_iter().map(u128::from).sum() {
                return Err(format!(
                    "{} {arrived} entries have come and {left} were replaced, removed or cleared; \
                        expected the \
                     others among those that `usage` counts as held, evicted, expired or refused, \
                     and it says {usage:?}",
                    walk.after()
                ));
            }
        }
    }
    Ok(())
}

impl super::capabilities::Capabilities {
    /// Whether the totals can be exact.
    fn is_counting(&self) -> bool {
        !(self.fails || self.forgets || self.counts_one_tier)
    }
}

static STRONG: Freshness = Freshness::strong();
const SEEDS: std::ops::Range<u64> = 0..4;
const STEPS: usize = 200;
