//! Window TinyLFU.
//!
//! A new entry enters a small *window*. At the old end of the window it becomes a candidate for the
//! *main* part, and is compared with the victim there: the one that was requested more often lately
//! stays [1]. Frequencies come from a sketch, 8 bytes an entry, which also counts keys that are not
//! cached and halves its counts now and then. The main part is segmented: an entry that is used
//! there moves from *probation* to *protected*, four fifths of it; entries that leave protected are
//! on probation again. A key that is requested once cannot displace a popular one, so scans pass
//! through; a large window, on the other hand, suits popularity that changes. So the window's size
//! is set by hill climbing [2]: after ten requests an entry it moves by a step. If the hit ratio
//! rose, the next step goes the same way, otherwise the other way; steps get smaller, and large
//! again when the hit ratio has changed by 5 points.
//!
//! Differences from the papers and from Caffeine, their reference:
//!
//! * A hit only counts, in a byte of its slot. The uses reach the sketch, and give the entry
//!   another turn or its promotion, when it comes to the old end of its segment. So segments are in
//!   the order of CLOCK, not of LRU, and the sketch learns of at most 15 uses at a time. Two
//!   entries that are compared have no uses outstanding.
//! * The window is between 1 and 80 % of the cached bytes, or of the entries where `max_entries` is
//!   the nearer limit. A new entry is not part of it while room is made, unless it is larger than
//!   the window and than the mean entry: then it is compared at once, and may be rejected.
//! * On a tie the cached entry stays. Caffeine admits some candidates at random, against chosen
//!   keys that collide; here keys are hashed with a random key of the process.
//!
//! *When*: skewed demand that changes slowly, databases, search, scans and loops among other
//! requests. *When not*: popularity that changes faster than the window can climb; very small
//! caches. Sizes are ignored: see [`Gdsf`](crate::Gdsf).
//!
//! *Cost*: a hit takes two loads and at most two stores (one of them to a counter of the shard). An
//! insert is O(1), and O(n) for halving the sketch after 10 n uses; an eviction is O(1) amortised.
//! 18 bytes an entry, and 8 to 16 for the sketch.
//!
//! [1] G. Einziger, R. Friedman, B. Manes: TinyLFU: a highly efficient cache admission policy. ACM
//! ToS 13, 2017. [2] G. Einziger, O. Eytan, R. Friedman, B. Manes: Adaptive software cache
//! management. Middleware 2018.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};

use crate::structures::{
    by_slot::reach, ghosts::fingerprint, hits::Hits, list::Lists, load::Loads, sketch::Sketch,
};

/// Keeps the most frequently requested entries, and compares each new one with the victim it would
/// displace: W-TinyLFU, with a window that adapts itself.
///
/// Rejects an entry only if it is larger than the window and requested less often than others.
/// Ignores deadlines: wrap it in [`Ttl`](crate::Ttl) to evict expired entries first.
///
/// ```
/// use cache_policy::{MemoryBackend, WTinyLfu};
///
/// let backend = MemoryBackend::builder(WTinyLfu::new()).max_entries(10_000).build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug)]
pub struct WTinyLfu {
    /// Oldest first.
    segments: Lists<3>,
    loads: Loads<3>,
    /// The segment of each slot.
    places: Vec<Segment>,
    fingerprints: Vec<u32>,
    /// Uses that are not in the sketch yet.
    uses: Hits<15>,
    sketch: Sketch,
    climb: Climb,
    /// The last insert, which is not in the window yet.
    newcomer: Option<Slot>,
}

/// A part of the cache whose oldest entry leaves first.
#[derive(Debug, Clone, Copy)]
enum Segment {
    Window,
    Probation,
    Protected,
}
use Segment::{Probation, Protected, Window};

/// Finds the window's share by hill climbing.
#[derive(Debug)]
struct Climb {
    window_share: f64,
    step: f64,
    /// Of the previous period.
    hit_ratio: f64,
    /// In this period.
    hits: AtomicU64,
    misses: u64,
}

impl WTinyLfu {
    /// Returns an empty policy to build a backend with.
    pub fn new() -> Self {
        Self::with_loads(Loads::default())
    }

    fn with_loads(loads: Loads<3>) -> Self {
        Self {
            segments: Lists::new(),
            loads,
            places: Vec::new(),
            fingerprints: Vec::new(),
            uses: Hits::default(),
            sketch: Sketch::new(),
            climb: Climb::new(),
            newcomer: None,
        }
    }

    /// Moves the last insert, for which room has been made, into the window. If the window is still
    /// too large, no room was needed or its share has shrunk: its two oldest entries go on
    /// probation without a comparison, one more than was added.
    fn settle(&mut self) {
        let Some(slot) = self.newcomer.take() else { return };
        for _ in 0..2 {
            if self.loads.share(Window as usize) > self.climb.window_share
                && let Some(oldest) = self.first(Window)
            {
                self.move_to(Probation, oldest);
            }
        }
        self.push(Window, slot);
    }

    /// Returns the entry to compare: the oldest of a window that is too large, or a new entry that
    /// is too large itself.
    fn candidate(&mut self) -> Option<Slot> {
        while self.loads.share(Window as usize) > self.climb.window_share {
            let slot = self.first(Window)?;
            if !self.hear_of(slot) {
                return Some(slot);
            }
            self.move_to(Window, slot);
        }
        self.newcomer
            .filter(|&slot| self.loads.is_heavier_than_share(slot, self.climb.window_share))
    }

    /// Returns the victim of the main part.
    fn main_victim(&mut self) -> Option<Slot> {
        while let Some(slot) = self.first(Probation) {
            if !self.hear_of(slot) {
                return Some(slot);
            }
            self.move_to(Protected, slot);
            self.shrink_protected();
        }
        while let Some(slot) = self.first(Protected) {
            if !self.hear_of(slot) {
                return Some(slot);
            }
            self.move_to(Protected, slot);
        }
        None
    }

    fn shrink_protected(&mut self) {
        let most = PROTECTED_SHARE * (1.0 - self.climb.window_share);
        while self.loads.share(Protected as usize) > most
            && let Some(slot) = self.first(Protected)
        {
            let segment = if self.hear_of(slot) { Protected } else { Probation };
            self.move_to(segment, slot);
        }
    }

    /// Adds the uses of `slot` to the sketch. Returns whether there were any.
    fn hear_of(&mut self, slot: Slot) -> bool {
        let n = self.uses.take(slot);
        (0..n).for_each(|_| self.sketch.add(self.fingerprints[slot.index()]));
        n > 0
    }

    fn frequency(&self, slot: Slot) -> u8 {
        self.sketch.estimate(self.fingerprints[slot.index()])
    }

    fn first(&self, segment: Segment) -> Option<Slot> {
        self.segments.front(segment as usize)
    }

    fn move_to(&mut self, segment: Segment, slot: Slot) {
        self.loads.subtract(self.places[slot.index()] as usize, slot);
        self.push(segment, slot);
    }

    fn push(&mut self, segment: Segment, slot: Slot) {
        self.places[slot.index()] = segment;
        self.loads.add(segment as usize, slot);
        self.segments.push_back(segment as usize, slot);
    }
}

impl Default for WTinyLfu {
    fn default() -> Self {
        Self::new()
    }
}

impl EvictionPolicy for WTinyLfu {
    fn for_shard(&self, limits: &Limits) -> Self {
        Self::with_loads(Loads::new(*limits))
    }

    fn on_insert(&mut self, slot: Slot, cost: &EntryInfo) {
        self.settle();
        reach(&mut self.places, slot.index(), || Window);
        reach(&mut self.fingerprints, slot.index(), || 0);
        let key = fingerprint(cost.hash);
        self.fingerprints[slot.index()] = key;
        self.loads.weigh(slot, cost.weight);
        self.uses.begin(slot);
        self.newcomer = Some(slot);
        let entries = self.loads.entries() + 1;
        self.sketch.fit(entries);
        self.sketch.add(key);
        self.climb.miss(entries);
    }

    fn on_update(&mut self, slot: Slot, cost: &EntryInfo) {
        self.settle();
        let segment = self.places[slot.index()] as usize;
        self.loads.subtract(segment, slot);
        self.loads.weigh(slot, cost.weight);
        self.loads.add(segment, slot);
    }

    fn on_hit(&self, slot: Slot) {
        self.uses.note(slot);
        self.climb.hit();
    }

    fn on_remove(&mut self, slot: Slot, why: RemovalCause) {
        if why == RemovalCause::Removed {
            self.settle();
        }
        if self.newcomer == Some(slot) {
            self.newcomer = None;
            return;
        }
        self.hear_of(slot);
        self.loads.subtract(self.places[slot.index()] as usize, slot);
        self.segments.remove(slot);
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
        let Some(candidate) = self.candidate() else {
            return self.main_victim().or(self.first(Window)).or(self.newcomer);
        };
        let Some(victim) = self.main_victim() else { return Some(candidate) };
        if self.frequency(candidate) <= self.frequency(victim) {
            return Some(candidate);
        }
        if self.newcomer == Some(candidate) {
            self.newcomer = None;
            self.push(Probation, candidate);
        } else {
            self.move_to(Probation, candidate);
        }
        Some(victim)
    }
}

impl Climb {
    fn new() -> Self {
        Self {
            window_share: WINDOW_SHARE_MIN,
            step: STEP,
            hit_ratio: 0.0,
            hits: AtomicU64::new(0),
            misses: 0,
        }
    }

    /// Without a locked instruction: hits at the same moment may count as one.
    fn hit(&self) {
        self.hits.store(self.hits.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "a ratio need not be exact")]
    fn miss(&mut self, entries: usize) {
        self.misses += 1;
        let hits = *self.hits.get_mut();
        let requests = hits + self.misses;
        if requests < REQUESTS_AN_ENTRY * entries as u64 {
            return;
        }
        let hit_ratio = hits as f64 / requests as f64;
        let change = hit_ratio - self.hit_ratio;
        let direction = self.step.signum() * if change < 0.0 { -1.0 } else { 1.0 };
        self.step =
            direction * if change.abs() >= RESTART { STEP } else { self.step.abs() * STEP_DECAY };
        self.window_share =
            (self.window_share + self.step).clamp(WINDOW_SHARE_MIN, WINDOW_SHARE_MAX);
        (self.hit_ratio, self.misses) = (hit_ratio, 0);
        *self.hits.get_mut() = 0;
    }
}

/// Of the main part.
const PROTECTED_SHARE: f64 = 0.8;
const WINDOW_SHARE_MIN: f64 = 0.01;
const WINDOW_SHARE_MAX: f64 = 0.8;
/// Of all entries.
const STEP: f64 = 0.0625;
const STEP_DECAY: f64 = 0.98;
/// A change of the hit ratio after which steps are large again.
const RESTART: f64 = 0.05;
/// In a period.
const REQUESTS_AN_ENTRY: u64 = 10;
