//! GreedyDual-Size with frequency.
//!
//! Where objects have sizes, one that is large must earn its place more often than one that is
//! small. An entry has the priority `H = L + uses * cost / size` [1, 2]: uses since it came, what a
//! miss costs, and its size in bytes, over a baseline `L`, which is the priority of the last that
//! left. The lowest leaves. Since `L` only grows, what was used long ago is worth less and less
//! against what is used now: this is its ageing, and needs no clock.
//!
//! What a miss costs is a choice. If each costs the same ([`Gdsf::new`]), requests are saved: the
//! hit ratio is the best known for a policy so small, at the price of large objects and of bytes.
//! If it costs its size ([`Objective::ByteHitRatio`]), sizes cancel out, and `H = L + uses` is LFU with
//! dynamic ageing [3].
//!
//! What differs from the papers:
//!
//! * Priorities are whole multiples of a unit: one use of an object as large as the whole shard is
//!   worth 4,096 of them (fewer in shards above 1 GiB). `L` is rounded down by less than one each
//!   time that it rises, and the worth of uses is a 32-bit float, good to one part in 8 million. So
//!   two priorities are compared rightly if they differ by more units than entries have left
//!   between the two. Among equals, any leaves. (`ByteHitRatio` is exact below 16 million uses.)
//! * The papers have a heap of all entries, in which each hit moves one. As priorities only grow,
//!   it is enough to keep some of the lowest in one, and a hit moves nothing.
//! * A newcomer competes with its first use; if its priority is the lowest, it is refused, and `L`
//!   rises to it, as it does for all that leave: what is asked for again and again gets in.
//! * A hit sets `H` from the `L` of its time, as it should, without a lock; two hits on one entry
//!   at the same moment may count as one.
//! * A new entry under a key that is held, if it is larger, does not lower the priority that the
//!   key has.
//!
//! *When*: objects whose sizes differ by more than a few times: web, CDN, anything with thumbnails
//! and videos. *When not*: equal sizes, where it is a plain LFU with ageing; if large objects are
//! the ones whose misses hurt.
//!
//! *Cost*: a hit 5 loads, 2 stores and a multiplication, some 30 instructions; inserts and
//! evictions O(log n) amortised. One eviction for a quarter of the entries, in large shards for
//! less, reads the priorities of all, some 2 ns each. 20 bytes an entry.
//!
//! [1] P. Cao, S. Irani: Cost-aware WWW proxy caching algorithms. USITS 1997. [2] L. Cherkasova:
//! Improving WWW proxies performance with Greedy-Dual-Size-Frequency caching policy. HP
//! Laboratories report HPL-98-69, 1998. [3] M. Arlitt, L. Cherkasova, J. Dilley, R. Friedrich, T.
//! Jin: Evaluating content management techniques for Web proxy caches. SIGMETRICS PER 27, 2000.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};

use crate::{
    objective::Objective,
    structures::{by_slot::reach, lowest::Lowest},
};

/// Evicts the entry whose uses, for its size, are worth the least; what was used long ago is worth
/// less: GDSF.
///
/// May refuse a newcomer that is large. Knows no deadlines: wrap it in [`Ttl`](crate::Ttl) to have
/// expired entries found.
///
/// ```
/// use cache_policy::{Gdsf, MemoryBackend};
///
/// let backend = MemoryBackend::builder(Gdsf::new()).max_capacity(64 << 20).build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Gdsf {
    objective: Objective,
    /// What one use of an object of one byte is worth, in units.
    unit_bytes: f32,
    /// `L`.
    baseline: u64,
    order: Lowest,
    /// By slot.
    objects: Vec<Object>,
}

#[derive(Debug)]
struct Object {
    /// `H`; of a free slot, `Lowest::FREE`.
    priority: AtomicU64,
    uses: AtomicU32,
    /// What one use is worth, in units.
    worth: f32,
}

impl Gdsf {
    /// Returns an empty policy to build a backend with. It optimizes the hit ratio: a miss costs
    /// the same for every object.
    pub fn new() -> Self {
        Self::with(Objective::default(), UNIT_BYTES_MAX)
    }

    /// Sets what the policy optimizes. Under [`Objective::ByteHitRatio`] a miss costs the size of
    /// the object. Default: [`Objective::HitRatio`].
    #[must_use]
    pub fn optimize_for(self, objective: Objective) -> Self {
        Self::with(objective, self.unit_bytes)
    }

    fn with(objective: Objective, unit_bytes: f32) -> Self {
        Self { objective, unit_bytes, baseline: 0, order: Lowest::default(), objects: Vec::new() }
    }

    #[expect(clippy::cast_precision_loss, reason = "as the essay says")]
    fn worth(&self, weight: u64) -> f32 {
        match self.objective {
            Objective::HitRatio => self.unit_bytes / weight.max(1) as f32,
            Objective::ByteHitRatio => 1.0,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as the essay says; the product is not negative, and a signed number is cheaper to make of it"
    )]
    fn priority(&self, uses: u32, worth: f32) -> u64 {
        self.baseline.saturating_add((uses as f32 * worth) as i64 as u64).min(Lowest::FREE - 1)
    }
}

impl Object {
    fn free() -> Self {
        Self { priority: AtomicU64::new(Lowest::FREE), uses: AtomicU32::new(0), worth: 0.0 }
    }
}

impl Default for Gdsf {
    fn default() -> Self {
        Self::new()
    }
}

impl EvictionPolicy for Gdsf {
    #[expect(clippy::cast_precision_loss, reason = "as the essay says")]
    fn for_shard(&self, limits: &Limits) -> Self {
        let unit_bytes = (limits.weight as f32 * UNITS_AT_LEAST).min(UNIT_BYTES_MAX);
        Self::with(self.objective, unit_bytes)
    }

    fn on_insert(&mut self, slot: Slot, cost: &EntryInfo) {
        reach(&mut self.objects, slot.index(), Object::free);
        let worth = self.worth(cost.weight);
        let priority = self.priority(1, worth);
        self.objects[slot.index()] = Object { priority: priority.into(), uses: 1.into(), worth };
        self.order.insert(slot, priority, self.objects.len());
    }

    /// Its priority stays until it is used.
    fn on_update(&mut self, slot: Slot, cost: &EntryInfo) {
        self.objects[slot.index()].worth = self.worth(cost.weight);
    }

    fn on_hit(&self, slot: Slot) {
        if let Some(object) = self.objects.get(slot.index()) {
            let uses = object.uses.load(Ordering::Relaxed).saturating_add(1);
            object.uses.store(uses, Ordering::Relaxed);
            // A larger entry may have come under its key; ranks never fall.
            let earned =
                self.priority(uses, object.worth).max(object.priority.load(Ordering::Relaxed));
            object.priority.store(earned, Ordering::Relaxed);
        }
    }

    fn on_remove(&mut self, slot: Slot, _why: RemovalCause) {
        if let Some(object) = self.objects.get_mut(slot.index()) {
            *object = Object::free();
        }
    }

    fn victim(
        &mut self,
        _now: Moment,
        pressure: EvictionReason,
        _held: &dyn Deadlines,
    ) -> Option<Slot> {
        if pressure == EvictionReason::Expired {
            return None;
        }
        let objects = &self.objects;
        let priority = |slot: Slot| objects[slot.index()].priority.load(Ordering::Relaxed);
        let (lowest, slot) = self.order.first(objects.len(), priority)?;
        self.baseline = lowest;
        Some(slot)
    }
}

/// What one use of an object as large as the shard is worth.
const UNITS_AT_LEAST: f32 = 4096.0;
/// For shards of 1 GiB and more, so that `L` has room to rise: to objects of 100 bytes, 50 million
/// turnovers of the cache.
const UNIT_BYTES_MAX: f32 = (1_u64 << 42) as f32;
