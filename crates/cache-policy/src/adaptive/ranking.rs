//! Who is worth keeping, in either of two ways.

use std::{
    mem,
    sync::atomic::{AtomicU32, Ordering},
};

use cache_core::Slot;

use super::{
    history::History,
    note::{Seen, Weight},
};
use crate::{by_slot::reach, list::Lists};

/// A way of ranking. What is kept of an entry is the same in both, so a cache can change its way at any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By the time since the last use: LRU.
    Recency,
    /// By that time and the uses, after a trial in a small window: LIRS, where a use more lengthens the time that an
    /// entry may wait for the next.
    Density,
}

/// What room costs an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Price {
    /// As much as any other.
    Entry,
    /// Its weight.
    Byte,
}

/// Entries by slot, in order of worth.
///
/// An entry is in the *window* or in *main*, and there in one of 32 lists, so that within a list the order of time is
/// nearly that of rank: the worst of a region is among the ends of its lists. A hit only marks its entry. When the
/// mark is found at the end of a list, the entry is queued again where it belongs.
#[derive(Debug)]
pub(super) struct Ranking {
    way: Way,
    price: Price,
    /// Counts inserts: the unit of every age.
    clock: AtomicU32,
    nodes: Vec<Node>,
    lists: Lists<N_LISTS>,
    /// Bit `n` is set if list `n` has entries, or had some when it was last looked at.
    occupied: u64,
    window: Tally,
    main: Tally,
    history: History,
}

/// What is kept of an entry.
#[derive(Debug)]
struct Node {
    /// [`Seen`].
    seen: AtomicU32,
    hash: u32,
    weight: Weight,
    /// Its list, or `NO_LIST`.
    list: u8,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    entries: usize,
    weight: u64,
}

/// By the number of its first list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Region {
    Window = 0,
    Main = 32,
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
        self.nodes[slot.index()] = Node { seen: AtomicU32::new(seen.bits()), hash, weight, list: NO_LIST };
        let is_proven = self.way == Way::Density
            && (self.main_has_room(weight) || past.is_some_and(|past| self.is_proven(seen, weight, past)));
        self.push(if is_proven { Region::Main } else { Region::Window }, slot);
        self.fill_main();
    }

    /// A hit of `slot`, and by what it is known.
    #[inline]
    pub(super) fn hit(&self, slot: Slot) -> Option<(u32, Weight)> {
        let node = self.nodes.get(slot.index())?;
        let seen = node.seen.load(Ordering::Relaxed);
        let hit = Seen::from_bits(seen).hit(self.clock.load(Ordering::Relaxed)).bits();
        // What is hit all the time is only read, and its cache line stays with every core.
        if hit != seen {
            node.seen.store(hit, Ordering::Relaxed);
        }
        Some((node.hash, node.weight))
    }

    pub(super) fn reweigh(&mut self, slot: Slot, weight: Weight) {
        let Some(node) = self.nodes.get_mut(slot.index()).filter(|node| node.list != NO_LIST) else { return };
        let old = mem::replace(&mut node.weight, weight);
        let list = node.list;
        let tally = self.tally(list);
        tally.weight = tally.weight - old.get() + weight.get();
    }

    /// It has left; it is remembered if it `was_evicted`.
    pub(super) fn remove(&mut self, slot: Slot, was_evicted: bool) {
        let n_entries = self.entries();
        if self.unlink(slot) && was_evicted {
            let (hash, seen) = (self.nodes[slot.index()].hash, self.seen(slot));
            self.history.push(hash, seen, n_entries, *self.clock.get_mut());
        }
    }

    /// The one to leave; some slot if any is in use.
    pub(super) fn victim(&mut self) -> Option<Slot> {
        loop {
            let main = self.worst(Region::Main, 0.0);
            if self.way == Way::Recency {
                let window = self.worst(Region::Window, 0.0);
                return self.worse(window, main);
            }
            if let Some(slot) = main.filter(|_| self.main.weight > self.main_share()) {
                self.push(Region::Window, slot);
                continue;
            }
            let limit = main.map_or(f32::INFINITY, |slot| self.rank(slot));
            let window = self.worst(Region::Window, limit);
            if self.main.weight > self.main_share() {
                continue;
            }
            let window_share = self.weight() - self.main_share();
            if self.window.weight > 2 * window_share {
                // The way has just changed, and most of what is held is in the window.
                return self.worse(window, main);
            }
            // The window may have been emptied just now.
            return window.or_else(|| self.worst(Region::Main, 0.0));
        }
    }

    fn main_share(&self) -> u64 {
        self.weight() - self.weight() / WINDOW_PART
    }

    fn main_has_room(&self, weight: Weight) -> bool {
        self.main.weight + weight.get() <= self.main_share()
    }

    /// Whether one that was seen in the `past` came back before the worst of main would have left.
    fn is_proven(&mut self, seen: Seen, weight: Weight, past: Seen) -> bool {
        let returned_after = seen.age(past);
        self.worst(Region::Main, 0.0)
            .is_some_and(|worst| returned_after * self.cost(seen, weight) < self.rank(worst))
    }

    /// What is in the window beyond its share goes to main while main has room: two for each insert.
    fn fill_main(&mut self) {
        for _ in 0..2 {
            if self.way == Way::Recency || self.main.weight >= self.main_share() {
                return;
            }
            let Some(slot) = self.worst(Region::Window, 0.0) else { return };
            if !self.main_has_room(self.nodes[slot.index()].weight) {
                return;
            }
            self.push(Region::Main, slot);
        }
    }

    /// The worst at the ends of the region's lists. What was hit is queued again: in main, if it ranks better than
    /// `limit`.
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
                self.push(if rank < limit { Region::Main } else { region }, slot);
            }
            if self.lists.is_empty(list as usize) {
                self.occupied &= !(1 << list);
            }
        }
        worst
    }

    fn worse(&self, a: Option<Slot>, b: Option<Slot>) -> Option<Slot> {
        match (a, b) {
            (Some(a), Some(b)) if self.rank(a) < self.rank(b) => Some(b),
            _ => a.or(b),
        }
    }

    /// The greater, the sooner it is to leave.
    fn rank(&self, slot: Slot) -> f32 {
        let (seen, weight) = (self.seen(slot), self.nodes[slot.index()].weight);
        let age = Seen::new(self.clock.load(Ordering::Relaxed), 0).age(seen) + 1.0;
        match self.way {
            Way::Recency => age,
            Way::Density => age * self.cost(seen, weight),
        }
    }

    /// The room that is paid for a use.
    fn cost(&self, seen: Seen, weight: Weight) -> f32 {
        let price = match self.price {
            Price::Entry => 1.0,
            Price::Byte => weight.get() as f32,
        };
        price / seen.uses() as f32
    }

    fn seen(&self, slot: Slot) -> Seen {
        Seen::from_bits(self.nodes[slot.index()].seen.load(Ordering::Relaxed))
    }

    /// The list of a region in which the rank of `slot` grows with time about as that of its neighbours.
    fn list_of(&self, slot: Slot) -> u32 {
        let seen = self.seen(slot);
        match self.way {
            // By the moment of use, since what was marked is queued late. What is held was used within as many
            // inserts as there are entries: 16 lists.
            Way::Recency => {
                let span = u32::try_from(self.entries() / 16).unwrap_or(u32::MAX).max(1);
                seen.tick() / span % LISTS_A_REGION
            }
            // By the power of two that is nearest to the cost; 15 uses of a byte cost a sixteenth.
            Way::Density => {
                let cost = self.cost(seen, self.nodes[slot.index()].weight) * 16.0 * std::f32::consts::SQRT_2;
                exponent(cost.max(1.0)).min(LISTS_A_REGION - 1)
            }
        }
    }

    /// Moves `slot` to the front of its list in `region`, from wherever it is.
    fn push(&mut self, region: Region, slot: Slot) {
        self.unlink(slot);
        let list = region as u32 + self.list_of(slot);
        self.occupied |= 1 << list;
        self.lists.push_front(list as usize, slot);
        let node = &mut self.nodes[slot.index()];
        node.list = u8::try_from(list).unwrap_or(NO_LIST);
        let (list, weight) = (node.list, node.weight.get());
        let tally = self.tally(list);
        tally.entries += 1;
        tally.weight += weight;
    }

    /// Takes `slot` out of its list. Whether it was in one.
    fn unlink(&mut self, slot: Slot) -> bool {
        let Some(node) = self.nodes.get_mut(slot.index()).filter(|node| node.list != NO_LIST) else {
            return false;
        };
        let (list, weight) = (mem::replace(&mut node.list, NO_LIST), node.weight.get());
        let tally = self.tally(list);
        tally.entries -= 1;
        tally.weight -= weight;
        self.lists.remove(slot)
    }

    fn tally(&mut self, list: u8) -> &mut Tally {
        if u32::from(list) < Region::Main as u32 { &mut self.window } else { &mut self.main }
    }

    /// The next tick. Before the clock would overflow, all moments are moved back: a pass over the entries for
    /// every 67 million inserts.
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

/// The greatest `n` with two to the power of `n` at most `x`, for an `x` of at least one.
fn exponent(x: f32) -> u32 {
    const EXPONENT_OF_ONE: u32 = 127;
    (x.to_bits() >> (f32::MANTISSA_DIGITS - 1)).saturating_sub(EXPONENT_OF_ONE)
}

const LISTS_A_REGION: u32 = 32;
const N_LISTS: usize = 64;
const NO_LIST: u8 = u8::MAX;
/// The window's share is the whole over this: the tenth that S3-FIFO gives to its small queue, too. More costs hits on
/// loops, less costs hits where what is used twice is used soon.
const WINDOW_PART: u64 = 10;
