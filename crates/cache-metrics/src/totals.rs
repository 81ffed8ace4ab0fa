//! Totals that never decrease, even if their caches are dropped and rebuilt.

use std::time::Duration;

use cache_core::{BusStats, Histogram, Outcomes};

use crate::{BlockStats, Snapshot};

impl Snapshot {
    /// Returns the totals of this cache and the earlier ones; gauges are those of this cache.
    pub(crate) fn after(self, before: Self) -> Self {
        let add = Combine {
            number: u64::saturating_add,
            outcomes: |a, b| a + b,
            times: |a, b| a + b,
            duration: Duration::saturating_add,
        };
        Self {
            stats: self.stats + before.stats,
            blocks: add.blocks(self.blocks, before.blocks),
            tier: self.tier.map(|tier| before.tier.map_or(tier, |before| tier + before)),
            bus: add.bus(self.bus, before.bus),
        }
    }

    /// Returns the totals, none of them lower than in `earlier`.
    pub(crate) fn at_least(self, earlier: Self) -> Self {
        let max = Combine {
            number: u64::max,
            outcomes: Outcomes::at_least,
            times: Histogram::at_least,
            duration: Duration::max,
        };
        Self {
            stats: self.stats.at_least(earlier.stats),
            blocks: max.blocks(self.blocks, earlier.blocks),
            tier: self.tier.map(|tier| earlier.tier.map_or(tier, |earlier| tier.at_least(earlier))),
            bus: max.bus(self.bus, earlier.bus),
        }
    }
}

/// The operations that combine two snapshots.
struct Combine {
    number: fn(u64, u64) -> u64,
    outcomes: fn(Outcomes, Outcomes) -> Outcomes,
    times: fn(Histogram, Histogram) -> Histogram,
    duration: fn(Duration, Duration) -> Duration,
}

impl Combine {
    fn blocks(&self, one: Option<BlockStats>, other: Option<BlockStats>) -> Option<BlockStats> {
        let one = one?;
        let Some(other) = other else { return Some(one) };
        Some(BlockStats {
            bypass: (self.number)(one.bypass, other.bypass),
            not_modified: (self.number)(one.not_modified, other.not_modified),
            precondition_failed: (self.number)(one.precondition_failed, other.precondition_failed),
            not_cached: (self.number)(one.not_cached, other.not_cached),
            cancelled: (self.number)(one.cancelled, other.cancelled),
            hit: (self.number)(one.hit, other.hit),
            from_disk: (self.number)(one.from_disk, other.from_disk),
            missed: (self.number)(one.missed, other.missed),
            requests: (self.outcomes)(one.requests, other.requests),
            request_times: (self.times)(one.request_times, other.request_times),
            bypass_requests: (self.outcomes)(one.bypass_requests, other.bypass_requests),
            bypass_times: (self.times)(one.bypass_times, other.bypass_times),
            copies: (self.outcomes)(one.copies, other.copies),
            copy_times: (self.times)(one.copy_times, other.copy_times),
            renames: (self.outcomes)(one.renames, other.renames),
            rename_times: (self.times)(one.rename_times, other.rename_times),
            multiparts: (self.outcomes)(one.multiparts, other.multiparts),
            multipart_times: (self.times)(one.multipart_times, other.multipart_times),
            passed_through: (self.number)(one.passed_through, other.passed_through),
            restarts: (self.number)(one.restarts, other.restarts),
        })
    }

    /// [`BusStats`] can grow: a test finds a total that is not combined.
    fn bus(&self, one: Option<BusStats>, other: Option<BusStats>) -> Option<BusStats> {
        let mut bus = one?;
        let Some(other) = other else { return Some(bus) };
        let numbers = [
            (&mut bus.announced, other.announced),
            (&mut bus.announce_errors, other.announce_errors),
            (&mut bus.overflows, other.overflows),
            (&mut bus.heartbeats_sent, other.heartbeats_sent),
            (&mut bus.received, other.received),
            (&mut bus.heartbeats, other.heartbeats),
            (&mut bus.own, other.own),
            (&mut bus.marked, other.marked),
            (&mut bus.unmarked, other.unmarked),
            (&mut bus.other_namespace, other.other_namespace),
            (&mut bus.unreadable, other.unreadable),
            (&mut bus.same_node, other.same_node),
            (&mut bus.sequence_gaps, other.sequence_gaps),
            (&mut bus.slow_listener_gaps, other.slow_listener_gaps),
            (&mut bus.format_gaps, other.format_gaps),
            (&mut bus.disconnects, other.disconnects),
            (&mut bus.listens, other.listens),
        ];
        for (one, other) in numbers {
            *one = (self.number)(*one, other);
        }
        bus.disconnected_for = (self.duration)(bus.disconnected_for, other.disconnected_for);
        Some(bus)
    }
}
