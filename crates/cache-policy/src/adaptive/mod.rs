//! The default: recency or density, whichever would have had more hits lately.
//!
//! No single eviction order is good everywhere. LRU is best where popularity drifts and gets no
//! hits from a loop larger than the cache; policies that keep proven entries behave the other way
//! round. So two ways of ranking are built in, and a pair of *miniature* caches shows which of them
//! is better now.
//!
//! **Recency** is LRU. **Density** is LIRS [1] with a price for room. In LIRS a new entry stays in
//! a small *window*, and moves to *main*, which has the rest, only if it is used again clearly
//! sooner than the worst entry of main was; that one then goes back to the window. A loop fills
//! main with entries that all return equally soon, so main stays as it is and gets hits; one-hit
//! wonders pass through the window. The stack and ghosts of LIRS are a [history](history::History)
//! of evicted keys here, with the moment of their last use: the stack serves only to compare two
//! moments. Moments count inserts, so that a hit writes no shared counter.
//!
//! The window has at most a tenth of the cache. Each entry that leaves it unused shrinks it, by the
//! cost of its stay relative to that of main's worst entry, and each that is used there grows it:
//! in a loop, main gets nearly everything.
//!
//! The worst entry is the one with the greatest `age * weight / uses`: the rank of LRU-SP [2, 3],
//! which equals that of LIRS if all weights and uses are the same. It is the cost of an entry since
//! its last use, in bytes times age, per use that it has shown to be worth; hit density [4] is the
//! inverse. This separates frequency from chance, and keeps only those large objects that bring as
//! many hits a byte as small ones: it saves more requests than GreedyDual-Size-Frequency [5], and
//! hardly fewer bytes than LRU. As in [2], entries are in lists by the power of two of their
//! `weight / uses`; the oldest of each is the worst, so that the ends of some lists are compared
//! instead of all entries. Uses count up to three, so that formerly popular entries leave soon.
//!
//! **The miniatures** [6] are two caches of a sample of the keys, one for each way, without bodies.
//! A sample by hash [7] behaves like the whole if the cache is scaled down like the sample, so
//! their size is that of the cached part of the sampled keys. They see every request for a sampled
//! key, hits through a small lossy buffer. Changing the way is cheap, since both use the same data
//! of an entry, and only the order in which lists are visited changes. This is the choice of the
//! better of two experts [8], which is never far behind either.
//!
//! All shards of a cache keep one score in their [contest](contest::Contest), a sum of the hits by
//! which one way leads [9], so that all shards notice a change as soon as a single cache would, and
//! the miniatures of each shard can be small: some 64 entries, or up to 512 in a cache of one
//! shard. Shards of some dozen entries are sampled completely.
//!
//! 1. S. Jiang, X. Zhang: LIRS: an efficient low inter-reference recency set replacement policy.
//!    SIGMETRICS 2002.
//! 2. C. Aggarwal, J. Wolf, P. Yu: Caching on the World Wide Web. IEEE TKDE 11(1), 1999.
//! 3. K. Cheng, Y. Kambayashi: LRU-SP: a size-adjusted and popularity-aware LRU replacement
//!    algorithm for web caching. COMPSAC 2000.
//! 4. N. Beckmann, H. Chen, A. Cidon: LHD: improving cache hit rate by maximizing hit density. NSDI
//!    2018.
//! 5. L. Cherkasova: Improving WWW proxies performance with Greedy-Dual-Size-Frequency caching
//!    policy. HP Labs, 1998.
//! 6. C. Waldspurger, T. Saemundsson, I. Ahmad, N. Park: Cache modeling and optimization using
//!    miniature simulations. USENIX ATC 2017.
//! 7. C. Waldspurger, N. Park, A. Garthwaite, I. Ahmad: Efficient MRC construction with SHARDS.
//!    FAST 2015.
//! 8. R. Subramanian, Y. Smaragdakis, G. Loh: Adaptive caches: effective shaping of cache behavior
//!    to workloads. MICRO 2006.
//! 9. E. Page: Continuous inspection schemes. Biometrika 41(1/2), 1954.

mod contest;
mod history;
mod miniature;
mod note;
mod ranking;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use cache_core::{
    Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, Moment, RemovalCause, Slot,
};

use self::{
    contest::Contest,
    miniature::Miniature,
    note::Weight,
    ranking::{Price, Ranking, Tally, Way},
};
use crate::{objective::Objective, structures::ghosts::fingerprint};

/// Ranks by recency or by density of uses, whichever would have had more hits lately. The default,
/// for workloads that are unknown or change.
///
/// It follows LRU where popularity drifts, keeps its share of a loop that does not fit, lets scans
/// pass, and weighs objects by their size (see [`Objective`]). On none of the traces it was
/// measured with is it far behind the best policy. If one policy is known to be the best, use that
/// one. When the workload changes, it switches once the other ranking would have had more hits, by
/// a fraction of the number of entries; for workloads that change faster, it may be some points
/// behind.
///
/// All shards that are made from one value decide together. An entry is rejected only if it would
/// be the next one to evict. Ignores deadlines: wrap it in [`Ttl`](crate::Ttl) to evict expired
/// entries first.
///
/// A hit takes a few relaxed loads and at most one store, and two more for a sampled key. Inserts
/// and evictions are O(1), amortised over the hits: an entry that was hit is queued again when it
/// reaches the end of its list. Some 28 bytes an entry, 8 of them for evicted keys, and some 8 KiB
/// a shard for the miniature caches, or 40 KiB if there is only one shard.
///
/// ```
/// use cache_policy::{Adaptive, MemoryBackend, Objective};
///
/// let policy = Adaptive::new().optimize_for(Objective::ByteHitRatio);
/// let backend = MemoryBackend::builder(policy).max_capacity(64 << 20).build()?;
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Adaptive {
    objective: Objective,
    limits: Limits,
    ranking: Ranking,
    density: Miniature,
    recency: Miniature,
    /// A key is sampled if its fingerprint begins with this number of zero bits.
    sample_bits: u32,
    /// The cached entries of sampled keys.
    sampled: Tally,
    /// An entry was evicted since the miniatures saw a request.
    is_full: bool,
    /// Shared by all shards of a cache.
    contest: Contest,
    /// Sampled hits that the miniatures have not seen, as hash and weight. Hits are lost while it
    /// is full.
    unseen: [AtomicU64; UNSEEN_MAX],
    n_unseen: AtomicU32,
}

impl Adaptive {
    /// Returns an empty policy to build a backend with.
    pub fn new() -> Self {
        Self::with(Objective::default(), Limits::new(u64::MAX, u64::MAX))
    }

    /// Sets what the policy optimizes. Default: [`Objective::HitRatio`].
    #[must_use]
    pub fn optimize_for(self, objective: Objective) -> Self {
        Self::with(objective, self.limits)
    }

    fn with(objective: Objective, limits: Limits) -> Self {
        let price = if limits.weight == u64::MAX { Price::Entry } else { price_by(objective) };
        Self {
            objective,
            limits,
            ranking: Ranking::new(Way::Density, price),
            density: Miniature::new(Way::Density, price),
            recency: Miniature::new(Way::Recency, price),
            sample_bits: 0,
            sampled: Tally::default(),
            is_full: false,
            contest: Contest::default(),
            unseen: [const { AtomicU64::new(0) }; UNSEEN_MAX],
            n_unseen: AtomicU32::new(0),
        }
    }

    #[inline]
    fn is_sampled(&self, hash: u32) -> bool {
        hash.leading_zeros() >= self.sample_bits
    }

    fn see_hits(&mut self) {
        let n = std::mem::take(self.n_unseen.get_mut()) as usize;
        for at in 0..n.min(UNSEEN_MAX) {
            let (hash, weight) = unpacked(*self.unseen[at].get_mut());
            // The sample may have shrunk since.
            if self.is_sampled(hash) {
                self.see(hash, weight);
            }
        }
    }

    /// Shows the miniatures a request for a sampled key.
    fn see(&mut self, hash: u32, weight: Weight) {
        if std::mem::take(&mut self.is_full) {
            self.fit_miniatures();
        }
        let in_density = self.density.access(hash, weight);
        let in_recency = self.recency.access(hash, weight);
        if in_density != in_recency {
            let saved = match self.objective {
                Objective::HitRatio => 1.0,
                Objective::ByteHitRatio => {
                    weight.get() as f32 / self.recency.weight_mean().max(1.0)
                }
            };
            self.contest.count(if in_density { saved } else { -saved }, self.recency.entries());
        }
        self.ranking.set_way(self.contest.way());
        self.fit_sample();
    }

    /// Halves the sample when the miniatures are too large.
    fn fit_sample(&mut self) {
        let entries = self.density.entries().max(self.recency.entries());
        let held = self.ranking.entries();
        if entries > miniature_max(held, self.contest.n_shards()) {
            self.set_sample(self.sample_bits + 1);
            let bits = self.sample_bits;
            for miniature in [&mut self.density, &mut self.recency] {
                miniature.retain(|hash| hash.leading_zeros() >= bits);
            }
        }
    }

    fn set_sample(&mut self, bits: u32) {
        self.sample_bits = bits;
        self.sampled = self.ranking.count(|hash| hash.leading_zeros() >= bits);
    }

    /// Sets the miniatures' limits to the cached part of the sample, now that the cache is full.
    /// Not to the sample's share of the limits: a loop would seem to fit if few of its keys happen
    /// to be sampled.
    fn fit_miniatures(&mut self) {
        let (held, weight) = (self.ranking.entries(), self.ranking.weight());
        if self.sample_bits > 0 && held >> self.sample_bits < miniature_min(held) / 2 {
            self.set_sample(self.sample_bits - 1);
        }
        let is_full_of_bytes = u128::from(weight) * u128::from(self.limits.entries)
            >= held as u128 * u128::from(self.limits.weight);
        let (price, weight_max, entries_max) = if is_full_of_bytes {
            (price_by(self.objective), self.sampled.weight, u64::MAX)
        } else {
            (Price::Entry, u64::MAX, self.sampled.entries as u64)
        };
        self.ranking.set_price(price);
        self.density.set_limits(price, weight_max, entries_max);
        self.recency.set_limits(price, weight_max, entries_max);
    }
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new()
    }
}

impl EvictionPolicy for Adaptive {
    fn for_shard(&self, limits: &Limits) -> Self {
        Self { contest: self.contest.clone(), ..Self::with(self.objective, *limits) }
    }

    fn on_insert(&mut self, slot: Slot, cost: &EntryInfo) {
        let (hash, weight) = (fingerprint(cost.hash), Weight::new(cost.weight));
        self.see_hits();
        if self.is_sampled(hash) {
            self.see(hash, weight);
            // The sample may have shrunk just now.
            if self.is_sampled(hash) {
                self.sampled.add(weight);
            }
        }
        self.ranking.insert(slot, hash, weight);
    }

    /// The miniatures do not see a restored entry: there was no request for it.
    fn on_restore(&mut self, slot: Slot, cost: &EntryInfo) {
        let (hash, weight) = (fingerprint(cost.hash), Weight::new(cost.weight));
        if self.is_sampled(hash) {
            self.sampled.add(weight);
        }
        self.ranking.restore(slot, hash, weight);
    }

    fn on_update(&mut self, slot: Slot, cost: &EntryInfo) {
        let weight = Weight::new(cost.weight);
        if let Some((_, old)) =
            self.ranking.reweigh(slot, weight).filter(|(hash, _)| self.is_sampled(*hash))
        {
            self.sampled.subtract(old);
            self.sampled.add(weight);
        }
    }

    #[inline]
    fn on_hit(&self, slot: Slot) {
        let Some((hash, weight)) = self.ranking.hit(slot) else { return };
        if self.is_sampled(hash) {
            let n = self.n_unseen.load(Ordering::Relaxed);
            if let Some(place) = self.unseen.get(n as usize) {
                // Of two simultaneous hits one may be lost.
                place.store(packed(hash, weight), Ordering::Relaxed);
                self.n_unseen.store(n + 1, Ordering::Relaxed);
            }
        }
    }

    fn on_remove(&mut self, slot: Slot, why: RemovalCause) {
        let was_evicted = matches!(why, RemovalCause::Evicted | RemovalCause::Rejected);
        let left =
            self.ranking.remove(slot, was_evicted).filter(|(hash, _)| self.is_sampled(*hash));
        if let Some((hash, weight)) = left {
            self.sampled.subtract(weight);
            if !was_evicted {
                self.density.remove(hash);
                self.recency.remove(hash);
            }
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
        self.is_full = true;
        self.ranking.victim()
    }
}

/// Returns the maximum size of a miniature of a shard with `held` entries, one of `n_shards`.
fn miniature_max(held: usize, n_shards: usize) -> usize {
    (held / 8).min(MINIATURES_MAX / n_shards).max(miniature_min(held))
}

/// Returns the size down to which a miniature of a shard with `held` entries is not reduced.
fn miniature_min(held: usize) -> usize {
    (held / 2).clamp(MINIATURE_MIN / 2, MINIATURE_MIN)
}

/// Returns the price of room in a cache that is limited by bytes.
fn price_by(objective: Objective) -> Price {
    match objective {
        Objective::HitRatio => Price::Byte,
        Objective::ByteHitRatio => Price::ByteSaved,
    }
}

fn packed(hash: u32, weight: Weight) -> u64 {
    u64::from(weight.bits()) << 32 | u64::from(hash)
}

#[expect(clippy::cast_possible_truncation, reason = "two fields are taken apart")]
fn unpacked(bits: u64) -> (u32, Weight) {
    (bits as u32, Weight::from_bits((bits >> 32) as u16))
}

/// The maximum of the miniatures' entries over all shards: fewer tell less, more cost more.
const MINIATURES_MAX: usize = 512;
/// The size up to which a miniature may be more than an eighth of its shard, but at most half.
const MINIATURE_MIN: usize = 64;
/// More than the hits between two inserts where nine in ten requests are hits and all keys are
/// sampled.
const UNSEEN_MAX: usize = 64;
