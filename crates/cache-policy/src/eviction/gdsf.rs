//! GreedyDual-Size with frequency.
//!
//! Where objects differ in size, a large one must be read more often than a small one to stay. An
//! entry has the priority `H = L + uses * cost / size` [1, 2]: the uses since its insert, the cost
//! of a miss, and its size in bytes, on top of a baseline `L`, the priority of the last evicted
//! entry. The lowest priority is evicted. As `L` only grows, old uses count less and less against
//! new ones: entries age without a clock.
//!
//! The cost of a miss is a choice. With equal costs ([`Objective::HitRatio`]) the policy saves
//! requests: its hit ratio is the best known for a policy of this size, at the expense of large
//! objects and of bytes. If a miss costs the object's size ([`Objective::ByteHitRatio`]), sizes
//! cancel out, and `H = L + uses` is LFU with dynamic ageing [3].
//!
//! Differences from the papers:
//!
//! * Priorities are whole multiples of a unit: one use of an object as large as the shard is worth
//!   4,096 of them (fewer in shards above 1 GiB). `L` is rounded down by less than one each time it
//!   rises, and the value of the uses is a 32-bit float, exact to one part in 8 million. So two
//!   priorities compare correctly if they differ by more units than there were evictions between
//!   them. Ties are broken arbitrarily. (`ByteHitRatio` is exact below 16 million uses.)
//! * The papers keep a heap of all entries, in which each hit moves one. As priorities only grow,
//!   it is enough to keep some of the lowest in a heap, and a hit moves nothing.
//! * A new entry competes with its first use. If its priority is the lowest, it is rejected, and
//!   `L` rises to it as with any eviction: a key that is requested again and again is admitted.
//! * A hit computes `H` from the current `L` without a lock; two simultaneous hits on one entry may
//!   count as one.
//! * Replacing an entry with a larger one does not lower the priority of its key.
//!
//! *When*: sizes differ by more than a small factor: web, CDN, anything with thumbnails and videos.
//! *When not*: equal sizes, where it is a plain LFU with ageing; or misses of large objects are the
//! expensive ones.
//!
//! *Cost*: a hit takes 5 loads, 2 stores and a multiplication, some 30 instructions. Inserts and
//! evictions are O(log n) amortised: one eviction for every quarter of the entries (fewer in large
//! shards) reads all priorities, some 2 ns each. 20 bytes an entry.
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

/// Evicts the entry with the fewest uses for its size, where old uses count less: GDSF.
///
/// May reject a large entry. Ignores deadlines: wrap it in [`Ttl`](crate::Ttl) to evict expired
/// entries first.
///
/// ```
/// use cache_policy::{Gdsf, MemoryBackend, Objective};
///
/// let policy = Gdsf::new().optimize_for(Objective::ByteHitRatio);
/// let backend = MemoryBackend::builder(policy).max_capacity(64 << 20).build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Gdsf {
    objective: Objective,
    /// The value of one use of an object of one byte, in units.
    unit_bytes: f32,
    /// `L`.
    baseline: u64,
    order: Lowest,
    /// By slot.
    objects: Vec<Object>,
}

#[derive(Debug)]
struct Object {
    /// `H`; `Lowest::FREE` for a free slot.
    priority: AtomicU64,
    uses: AtomicU32,
    /// The value of one use, in units.
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

    #[expect(clippy::cast_precision_loss, reason = "see the module")]
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
        reason = "see the module; the product is not negative, and the cast to i64 is cheaper"
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
    #[expect(clippy::cast_precision_loss, reason = "see the module")]
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

    /// The priority changes with the next use.
    fn on_update(&mut self, slot: Slot, cost: &EntryInfo) {
        self.objects[slot.index()].worth = self.worth(cost.weight);
    }

    fn on_hit(&self, slot: Slot) {
        if let Some(object) = self.objects.get(slot.index()) {
            let uses = object.uses.load(Ordering::Relaxed).saturating_add(1);
            object.uses.store(uses, Ordering::Relaxed);
            // The entry may have been replaced by a larger one; priorities never fall.
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

/// The value of one use of an object as large as the shard, in units.
const UNITS_AT_LEAST: f32 = 4096.0;
/// The limit for shards of 1 GiB and more, so that `L` has room to rise: with objects of 100 bytes,
/// for 50 million turnovers of the cache.
const UNIT_BYTES_MAX: f32 = (1_u64 << 42) as f32;
