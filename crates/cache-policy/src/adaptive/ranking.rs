//! The order of eviction, in either of two ways.

use std::{
    mem,
    sync::atomic::{AtomicU32, Ordering},
};

use cache_core::Slot;

use super::{
    history::History,
    note::{Seen, Weight},
};
use crate::structures::{by_slot::reach, list::Lists};

/// A way of ranking. Both use the same data of an entry, so a cache can change its way at any
/// moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By the time since the last use: LRU.
    Recency,
    /// By that time and the number of uses, after a trial in a small window: LIRS, where each use
    /// lengthens the time that an entry may wait for the next one.
    Density,
}

/// The room that an entry takes, and the value of a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Price {
    /// Room and value are one.
    Entry,
    /// Room is the number of bytes, the value of a hit is one.
    Byte,
    /// Room and value are the number of bytes.
    ByteSaved,
}

/// Entries by slot, in the order of eviction.
///
/// An entry is in the *window* or in *main*, and there in one of 32 lists, so that within a list
/// the order of time is nearly that of rank: the worst entry of a region is at the end of one of
/// its lists. A hit only marks its entry. When the mark is found at the end of a list, the entry is
/// queued again where it belongs.
#[derive(Debug)]
pub(super) struct Ranking {
    way: Way,
    price: Price,
    /// Counts inserts: the unit of every age.
    clock: AtomicU32,
    nodes: Vec<Node>,
    lists: Lists<N_LISTS>,
    /// Bit `n` is set if list `n` has entries, or had some when it was last visited.
    occupied: u64,
    window: Tally,
    main: Tally,
    /// The window's share of the cache.
    window_share: f32,
    /// When main's worst entry was last determined, and its rank then.
    main_ranked: (u32, f32),
    history: History,
}

/// The data of an entry.
#[derive(Debug)]
struct Node {
    /// [`Seen`].
    seen: AtomicU32,
    hash: u32,
    weight: Weight,
    /// Its list, or `NO_LIST`.
    list: u8,
}

/// A number of entries and their weight.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) entries: usize,
    pub(super) weight: u64,
}

impl Tally {
    pub(super) fn add(&mut self, weight: Weight) {
        self.entries += 1;
        self.weight += weight.get();
    }

    pub(super) fn subtract(&mut self, weight: Weight) {
        self.entries -= 1;
        self.weight -= weight.get();
    }
}

/// A region, as the number of its first list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Region {
    Window = 0,
    Main = 32,
}

/// An end of a list. The entry at the back is evicted first.
#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

impl Node {
    fn absent() -> Self {
        Self { seen: AtomicU32::new(0), hash: 0, weight: Weight::default(), list: NO_LIST }
    }
}

impl Ranking {
    pub(super) fn new(way: Way, price: Price) -> Self {
        Self {
            way,
            price,
            clock: AtomicU32::new(0),
            nodes: Vec::new(),
            lists: Lists::new(),
            occupied: 0,
            window: Tally::default(),
            main: Tally::default(),
            window_share: WINDOW_MAX,
            main_ranked: (0, f32::INFINITY),
            history: History::default(),
        }
    }

    pub(super) fn set_way(&mut self, way: Way) {
        self.way = way;
    }

    pub(super) fn set_price(&mut self, price: Price) {
        self.price = price;
    }

    pub(super) fn entries(&self) -> usize {
        self.window.entries + self.main.entries
    }

    pub(super) fn weight(&self) -> u64 {
        self.window.weight + self.main.weight
    }

    pub(super) fn hash(&self, slot: Slot) -> Option<u32> {
        self.nodes.get(slot.index()).map(|node| node.hash)
    }

    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.nodes.get(slot.index()).is_some_and(|node| node.list != NO_LIST)
    }

    pub(super) fn insert(&mut self, slot: Slot, hash: u32, weight: Weight) {
        let now = self.tick();
        let past = self.history.take(hash, now);
        let seen = Seen::new(now, past.map_or(1, |past| past.uses() + 1));
        reach(&mut self.nodes, slot.index(), Node::absent);
        self.unlink(slot);
        self.nodes[slot.index()] =
            Node { seen: AtomicU32::new(seen.bits()), hash, weight, list: NO_LIST };
        let is_proven = self.way == Way::Density
            && (self.main_has_room(weight)
                || past.is_some_and(|past| self.is_proven(seen, weight, past)));
        self.push(if is_proven { Region::Main } else { Region::Window }, slot);
        self.fill_main();
    }

    /// Restores an evicted entry as it was, among the next to be evicted. No time passes, and this
    /// is not a use.
    pub(super) fn restore(&mut self, slot: Slot, hash: u32, weight: Weight) {
        let now = *self.clock.get_mut();
        let seen = self.history.take(hash, now).unwrap_or(Seen::new(now, 1)).unmarked();
        reach(&mut self.nodes, slot.index(), Node::absent);
        self.unlink(slot);
        self.nodes[slot.index()] =
            Node { seen: AtomicU32::new(seen.bits()), hash, weight, list: NO_LIST };
        let is_for_main = self.way == Way::Density && self.main_has_room(weight);
        self.push_at(if is_for_main { Region::Main } else { Region::Window }, slot, End::Back);
    }

    /// Counts a hit of `slot`. Returns its hash and weight.
    #[inline]
    pub(super) fn hit(&self, slot: Slot) -> Option<(u32, Weight)> {
        let node = self.nodes.get(slot.index())?;
        let seen = node.seen.load(Ordering::Relaxed);
        let hit = Seen::from_bits(seen).hit(self.clock.load(Ordering::Relaxed)).bits();
        // An entry that is hit all the time is only read, and its cache line stays shared.
        if hit != seen {
            node.seen.store(hit, Ordering::Relaxed);
        }
        Some((node.hash, node.weight))
    }

    /// Changes the weight. Returns the hash and the old weight.
    pub(super) fn reweigh(&mut self, slot: Slot, weight: Weight) -> Option<(u32, Weight)> {
        let node = self.nodes.get_mut(slot.index()).filter(|node| node.list != NO_LIST)?;
        let old = mem::replace(&mut node.weight, weight);
        let (hash, list) = (node.hash, node.list);
        let tally = self.tally(list);
        tally.weight = tally.weight - old.get() + weight.get();
        Some((hash, old))
    }

    /// Removes an entry, and remembers it if it `was_evicted`. Returns its hash and weight.
    pub(super) fn remove(&mut self, slot: Slot, was_evicted: bool) -> Option<(u32, Weight)> {
        let n_entries = self.entries();
        if !self.unlink(slot) {
            return None;
        }
        let Node { hash, weight, .. } = self.nodes[slot.index()];
        if was_evicted {
            let seen = self.seen(slot);
            self.history.push(hash, seen, n_entries, *self.clock.get_mut());
        }
        Some((hash, weight))
    }

    /// Returns the entries and the weight of the keys whose hash `is_counted`.
    pub(super) fn count(&self, is_counted: impl Fn(u32) -> bool) -> Tally {
        let mut counted = Tally::default();
        for node in self.nodes.iter().filter(|node| node.list != NO_LIST && is_counted(node.hash)) {
            counted.add(node.weight);
        }
        counted
    }

    /// Returns the victim; some slot if any is in use.
    pub(super) fn victim(&mut self) -> Option<Slot> {
        match self.way {
            Way::Recency => self.worst_of_all(),
            Way::Density => self.least_dense(),
        }
    }

    fn worst_of_all(&mut self) -> Option<Slot> {
        let window = self.worst(Region::Window, 0.0);
        match (window, self.worst(Region::Main, 0.0)) {
            (Some(window), Some(main)) if self.rank(window) < self.rank(main) => Some(main),
            (window, main) => window.or(main),
        }
    }

    fn least_dense(&mut self) -> Option<Slot> {
        loop {
            if self.room(self.main) > self.main_share()
                && let Some(slot) = self.worst(Region::Main, 0.0)
            {
                self.push(Region::Window, slot);
                continue;
            }
            let limit = self.main_rank();
            let window = self.worst(Region::Window, limit);
            let share = self.main_share();
            if self.room(self.main) > share {
                continue;
            }
            if self.room(self.window) > 2 * (self.room_of_all() - share) {
                // The way has just changed, and most entries are in the window.
                return self.worst_of_all();
            }
            if let Some(slot) = window {
                self.fit_window(-self.rank(slot) / limit);
            }
            // The window may have been emptied just now.
            return window.or_else(|| self.worst(Region::Main, 0.0));
        }
    }

    /// Returns the rank of main's worst entry, possibly an earlier one: it changes slowly.
    fn main_rank(&mut self) -> f32 {
        let (now, interval) = (*self.clock.get_mut(), self.entries() / 128);
        let (at, rank) = self.main_ranked;
        if now.wrapping_sub(at) as usize <= interval {
            return rank;
        }
        let rank = self.worst(Region::Main, 0.0).map_or(f32::INFINITY, |slot| self.rank(slot));
        self.main_ranked = (now, rank);
        rank
    }

    /// Shrinks the window for each entry that leaves it unused, by its cost in terms of main's
    /// worst, and grows it for each that was used. An entry that costs as much as main's worst came
    /// from there, and is ignored.
    fn fit_window(&mut self, by: f32) {
        if by > -1.0 {
            let entries = self.entries().max(1) as f32;
            let least = WINDOW_MIN.max(WINDOW_ENTRIES_MIN / entries).min(WINDOW_MAX);
            self.window_share =
                (self.window_share + by * WINDOW_STEP / entries).clamp(least, WINDOW_MAX);
        }
    }

    /// Returns the room of a region, in the unit of the price.
    fn room(&self, region: Tally) -> u64 {
        match self.price {
            Price::Entry => region.entries as u64,
            Price::Byte | Price::ByteSaved => region.weight,
        }
    }

    fn room_of_all(&self) -> u64 {
        self.room(self.window) + self.room(self.main)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a share need not be exact")]
    fn main_share(&self) -> u64 {
        let all = self.room_of_all();
        all - (all as f32 * self.window_share) as u64
    }

    fn main_has_room(&self, weight: Weight) -> bool {
        self.room(Tally { entries: 1, weight: weight.get() }) + self.room(self.main)
            <= self.main_share()
    }

    /// Returns whether an entry last seen in the `past` came back clearly sooner than the worst of
    /// main. In a loop all come back equally soon, and main would lose the entries it needs next.
    fn is_proven(&mut self, seen: Seen, weight: Weight, past: Seen) -> bool {
        seen.age(past) * self.cost(seen, weight) * MARGIN < self.main_rank()
    }

    /// Moves the window's surplus to main while main has room: up to two entries for each insert.
    fn fill_main(&mut self) {
        for _ in 0..2 {
            if self.way == Way::Recency || self.room(self.main) >= self.main_share() {
                return;
            }
            let Some(slot) = self.worst(Region::Window, 0.0) else { return };
            if !self.main_has_room(self.nodes[slot.index()].weight) {
                return;
            }
            self.push(Region::Main, slot);
        }
    }

    /// Returns the worst entry at the ends of the region's lists. Entries that were hit are queued
    /// again: in main, if they rank better than `limit`.
    fn worst(&mut self, region: Region, limit: f32) -> Option<Slot> {
        let first = region as u32;
        let (mut worst, mut rank_max) = (None, -1.0);
        let mut lists = self.occupied >> first & u64::from(u32::MAX);
        while lists != 0 {
            let list = lists.trailing_zeros() + first;
            lists &= lists - 1;
            while let Some(slot) = self.lists.back(list as usize) {
                let (seen, rank) = (self.seen(slot), self.rank(slot));
                if !seen.is_hit() {
                    if rank > rank_max {
                        (worst, rank_max) = (Some(slot), rank);
                    }
                    break;
                }
                *self.nodes[slot.index()].seen.get_mut() = seen.unmarked().bits();
                if region == Region::Window && limit > 0.0 {
                    self.fit_window(WINDOW_GAIN);
                }
                if rank < limit {
                    self.push(Region::Main, slot);
                } else {
                    // It may be the end of a list that was already visited.
                    lists |= 1 << (self.push(region, slot) - first);
                }
            }
            if self.lists.is_empty(list as usize) {
                self.occupied &= !(1 << list);
            }
        }
        worst
    }

    /// Returns the rank: the greater, the sooner the entry is evicted.
    fn rank(&self, slot: Slot) -> f32 {
        let (seen, weight) = (self.seen(slot), self.nodes[slot.index()].weight);
        let age = Seen::new(self.clock.load(Ordering::Relaxed), 0).age(seen) + 1.0;
        match self.way {
            Way::Recency => age,
            Way::Density => age * self.cost(seen, weight),
        }
    }

    /// Returns the room that a use costs.
    fn cost(&self, seen: Seen, weight: Weight) -> f32 {
        let price = match self.price {
            Price::Entry | Price::ByteSaved => 1.0,
            Price::Byte => weight.get() as f32,
        };
        price / seen.uses() as f32
    }

    fn seen(&self, slot: Slot) -> Seen {
        Seen::from_bits(self.nodes[slot.index()].seen.load(Ordering::Relaxed))
    }

    /// Returns the list of a region in which the rank of `slot` grows about as fast as that of its
    /// neighbours.
    fn list_of(&self, slot: Slot) -> u32 {
        let seen = self.seen(slot);
        match self.way {
            // By the moment of use, since marked entries are queued late. Cached entries were used
            // within as many inserts as there are entries: 16 lists.
            Way::Recency => {
                let span = u32::try_from(self.entries() / 16).unwrap_or(u32::MAX).max(1);
                seen.tick() / span % LISTS_A_REGION
            }
            // By the power of two nearest to the cost; with 3 uses a byte costs a third.
            Way::Density => {
                let cost = self.cost(seen, self.nodes[slot.index()].weight)
                    * 2.0
                    * std::f32::consts::SQRT_2;
                exponent(cost.max(1.0)).min(LISTS_A_REGION - 1)
            }
        }
    }

    /// Moves `slot` to the front of its list in `region`. Returns the list.
    fn push(&mut self, region: Region, slot: Slot) -> u32 {
        self.push_at(region, slot, End::Front)
    }

    fn push_at(&mut self, region: Region, slot: Slot, end: End) -> u32 {
        self.unlink(slot);
        let list = region as u32 + self.list_of(slot);
        self.occupied |= 1 << list;
        match end {
            End::Front => self.lists.push_front(list as usize, slot),
            End::Back => self.lists.push_back(list as usize, slot),
        }
        let node = &mut self.nodes[slot.index()];
        node.list = u8::try_from(list).unwrap_or(NO_LIST);
        let (number, weight) = (node.list, node.weight);
        self.tally(number).add(weight);
        list
    }

    /// Removes `slot` from its list. Returns whether it was in one.
    fn unlink(&mut self, slot: Slot) -> bool {
        let Some(node) = self.nodes.get_mut(slot.index()).filter(|node| node.list != NO_LIST)
        else {
            return false;
        };
        let (list, weight) = (mem::replace(&mut node.list, NO_LIST), node.weight);
        self.tally(list).subtract(weight);
        self.lists.remove(slot)
    }

    fn tally(&mut self, list: u8) -> &mut Tally {
        if u32::from(list) < Region::Main as u32 { &mut self.window } else { &mut self.main }
    }

    /// Advances the clock. Before it would overflow, all moments are moved back: one pass over the
    /// entries for every 268 million inserts.
    fn tick(&mut self) -> u32 {
        let clock = self.clock.get_mut();
        *clock += 1;
        if *clock == Seen::TICK_MAX {
            *clock -= Seen::REBASE;
            for node in &mut self.nodes {
                let seen = node.seen.get_mut();
                *seen = Seen::from_bits(*seen).rebased().bits();
            }
        }
        *self.clock.get_mut()
    }
}

/// Returns the greatest `n` with 2^n at most `x`, for an `x` of at least one.
fn exponent(x: f32) -> u32 {
    const EXPONENT_OF_ONE: u32 = 127;
    (x.to_bits() >> (f32::MANTISSA_DIGITS - 1)).saturating_sub(EXPONENT_OF_ONE)
}

const LISTS_A_REGION: u32 = 32;
const N_LISTS: usize = 64;
const NO_LIST: u8 = u8::MAX;
/// The factor by which a returning key must have been away for less than main's worst.
const MARGIN: f32 = 1.1;
/// The window's maximum share: a tenth, as the small queue of S3-FIFO. A larger one loses hits
/// where second uses come late, a smaller one where they come soon.
const WINDOW_MAX: f32 = 0.1;
/// The window's minimum share, which it has in a loop.
const WINDOW_MIN: f32 = 0.02;
/// The window's minimum of entries: with none, each new entry would have to displace one of main.
const WINDOW_ENTRIES_MIN: f32 = 2.0;
/// The change of the window's share when as many entries have left it as are cached.
const WINDOW_STEP: f32 = 0.2;
/// The weight of one use in the window: the loss of this many entries at the cost of main's worst.
const WINDOW_GAIN: f32 = 3.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against LRU as one would write it down, with moments that count inserts: of those used
        /// at one moment, either may leave.
        #[test]
        fn by_recency_the_one_used_the_longest_ago_leaves(
            capacity in 1usize..=16,
            keys in prop::collection::vec((0u32..24, 0u32..24).prop_map(|(a, b)| a.min(b)), 0..400),
        ) {
            let mut ranking = Ranking::new(Way::Recency, Price::Entry);
            let (mut model, mut now) = (Vec::<(u32, u32)>::new(), 0);
            for key in keys {
                if let Some((_, used)) = model.iter_mut().find(|(held, _)| *held == key) {
                    *used = now;
                    ranking.hit(Slot::new(key));
                    continue;
                }
                now += 1;
                model.push((key, now));
                ranking.insert(Slot::new(key), key, Weight::new(1));
                if model.len() > capacity {
                    let victim = ranking.victim().map(Slot::number);
                    let at = model.iter().position(|(held, _)| Some(*held) == victim);
                    prop_assert!(at.is_some(), "{victim:?} is not held");
                    let (key, used) = model.swap_remove(at.unwrap_or_default());
                    let oldest = model.iter().map(|(_, used)| *used).min();
                    prop_assert!(oldest.is_none_or(|oldest| used <= oldest), "{used}, not \
                        {oldest:?}");
                    prop_assert_eq!(ranking.remove(Slot::new(key), true).map(|(hash, _)| hash), Some(key));
                }
            }
        }
    }
}
