//! Window TinyLFU.
//!
//! A newcomer enters a small *window*. When it has reached the window's old end, it is a candidate
//! for the *main* part, and is weighed against the one that would leave there: whichever was asked
//! for more often of late stays [1]. How often is known from a sketch, 8 bytes an entry, which
//! counts keys that are not held as well and halves its counts now and then. The main part is
//! segmented: what is used there moves from *probation* to *protected*, four fifths of it; what
//! falls out of protected is on probation again. A key asked for once has no chance against one
//! that is asked for often, so scans pass through; a large window, on the other hand, is what suits
//! a popularity that changes. So the size of the window climbs [2]: after ten requests an entry it
//! is moved by a step; if the hit ratio rose, the next step goes the same way, else the other way;
//! steps get smaller, and large again when the hit ratio has changed by 5 points.
//!
//! What differs from the papers and from Caffeine, their reference:
//!
//! * A hit only counts, in a byte of its slot. The uses reach the sketch, and give their entry
//!   another turn or its promotion, when it comes up at the old end of its segment; so segments are
//!   in the order of CLOCK, not of LRU, and the sketch learns of at most 15 uses at a time. Two
//!   entries that are weighed have none outstanding.
//! * The window is between 1 and 80 % of what is held, by bytes, or by entries where `max_entries`
//!   is the nearer limit. The newcomer is not part of it while room is made for it, unless it is
//!   larger than the window and than the mean entry: then it is weighed at once, and may be
//!   refused.
//! * Equals: the one that is there stays. Caffeine lets some warm candidates in at random, against
//!   chosen keys that collide; keys are hashed with a random key of the process here.
//!
//! *When*: skewed demand that changes slowly, databases, search, scans and loops among other
//! requests. *When not*: a popularity that changes faster than the window can climb; very small
//! caches. Sizes are not weighed: see [`Gdsf`](crate::Gdsf).
//!
//! *Cost*: a hit two loads and at most two stores (one store goes to a counter of the shard); an
//! insert O(1), and O(n) for halving the sketch after 10 n uses; an eviction O(1) amortised. 18
//! bytes an entry, and 8 to 16 for the sketch.
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

/// Keeps what is asked for often, and weighs each newcomer against the one that would have to
/// leave: W-TinyLFU, with a window that adapts itself.
///
/// Refuses a newcomer only if it is larger than the window and asked for less often than others.
/// Knows no deadlines: wrap it in [`Ttl`](crate::Ttl) to have expired entries found.
///
/// ```
/// use cache_policy::{MemoryBackend, WTinyLfu};
///
/// let backend = MemoryBackend::builder(WTinyLfu::new()).max_entries(10_000).build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug)]
pub struct WTinyLfu {
    /// The oldest first.
    segments: Lists<3>,
    loads: Loads<3>,
    /// The segment of each slot.
    places: Vec<Segment>,
    fingerprints: Vec<u32>,
    /// Uses that the sketch has not heard of.
    uses: Hits<15>,
    sketch: Sketch,
    climb: Climb,
    /// The last to come, not in the window yet.
    newcomer: Option<Slot>,
}

/// The oldest of it leaves first.
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
    /// Of the period before.
    hit_ratio: f64,
    /// In this period.
    hits: AtomicU64,
    misses: u64,
}

impl WTinyLfu {
    /// An empty one, to build a backend with.
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

    /// Room was made for the newcomer: it joins the window. If the window is too large even so, no
    /// room was needed, or its share has climbed down: its oldest go on probation without being
    /// weighed, one more than comes.
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

    /// Who is to be weighed: the oldest of a window that is too large, or a newcomer that is.
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

    /// Who would leave the main part.
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

    /// Tells the sketch of the uses of `slot`. Whether there were any.
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
/// Of what is held.
const STEP: f64 = 0.0625;
const STEP_DECAY: f64 = 0.98;
/// A change of the hit ratio after which steps are large again.
const RESTART: f64 = 0.05;
/// In a period.
const REQUESTS_AN_ENTRY: u64 = 10;
