//! The optimum: hits of a cache that knows the future.
//!
//! *By entries* it is Belady's optimum \[1\], exactly: of the cached objects and the new one, the
//! one whose next request is the furthest away is evicted, and one without a next request is not
//! cached at all. No policy has more hits, with or without admission.
//!
//! *By bytes* the optimum is NP-hard. PFOO-L \[2\] is used instead: a hit needs room for the size
//! of the object from the request before it; the cheapest of these intervals, by size times length,
//! are taken first, each if it fits at every moment. A cache could follow this schedule. On real
//! traces it is a few percent below the optimum in object hits, so it is no strict bound; for
//! *byte* hits, which it does not maximize, it is no bound at all.
//!
//! \[1\] L. A. Belady: A study of replacement algorithms for a virtual-storage computer. IBM
//! Systems Journal, 1966.
//! \[2\] D. S. Berger, N. Beckmann, M. Harchol-Balter: Practical bounds on optimal caching with
//! variable object sizes. SIGMETRICS, 2018.

use std::collections::BTreeSet;

use crate::{
    row::Count,
    setting::{Setting, Unit},
    trace::Trace,
};

/// Replays `trace` through the optimum; see the [module](self).
pub(crate) fn replay(trace: &Trace, setting: Setting) -> Count {
    let next = next_requests(trace);
    let is_hit = match setting.unit {
        Unit::Entries => belady(trace, &next, setting.capacity),
        Unit::Bytes => pfoo_lower(trace, &next, setting.capacity),
    };
    let mut count = Count::default();
    for (request, is_hit) in trace.requests().zip(is_hit) {
        count.add(request.size, is_hit);
    }
    count
}

/// For each request, the number of the next one for the same object; `NEVER` if there is none.
fn next_requests(trace: &Trace) -> Vec<u32> {
    let mut upcoming = vec![NEVER; usize::try_from(trace.n_distinct()).unwrap_or(0)];
    let mut next = vec![NEVER; trace.len()];
    for (i, &object) in trace.objects().iter().enumerate().rev() {
        let upcoming = &mut upcoming[object as usize];
        next[i] = *upcoming;
        *upcoming = u32::try_from(i).unwrap_or(NEVER);
    }
    next
}

const NEVER: u32 = u32::MAX;

fn belady(trace: &Trace, next: &[u32], capacity: u64) -> Vec<bool> {
    let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
    // The cached objects by their next requests, which name them.
    let mut held = BTreeSet::new();
    let step = |(i, &next): (usize, &u32)| {
        let is_hit = u32::try_from(i).is_ok_and(|i| held.remove(&i));
        if next != NEVER {
            held.insert(next);
            if held.len() > capacity {
                held.pop_last();
            }
        }
        is_hit
    };
    debug_assert_eq!(next.len(), trace.len());
    next.iter().enumerate().map(step).collect()
}

fn pfoo_lower(trace: &Trace, next: &[u32], capacity: u64) -> Vec<bool> {
    let mut intervals: Vec<_> = (0..trace.len())
        .filter(|&i| next[i] != NEVER)
        .map(|from| Interval { from, to: next[from] as usize, size: trace.size(from) })
        .collect();
    intervals.sort_by_key(|interval| (interval.cost(), interval.from));
    let mut occupied = Occupied::new(trace.len());
    let mut is_hit = vec![false; trace.len()];
    for Interval { from, to, size } in intervals {
        // The object is cached from its request up to the next one, which may already use its room.
        if size <= capacity && occupied.most(from, to) <= capacity - size {
            occupied.add(from, to, size);
            is_hit[to] = true;
        }
    }
    is_hit
}

#[derive(Debug, Clone, Copy)]
struct Interval {
    from: usize,
    to: usize,
    size: u64,
}

impl Interval {
    fn cost(self) -> u128 {
        (self.to - self.from) as u128 * u128::from(self.size)
    }
}

/// How much is occupied at each moment: a segment tree of maxima, with what is added to a whole
/// range kept at its top. No moment is ever over the capacity, so nothing overflows.
#[derive(Debug)]
struct Occupied {
    /// Of each node: the most within it, and what was added to all of it. Node 1 is the root.
    nodes: Vec<(u64, u64)>,
    n_leaves: usize,
}

impl Occupied {
    fn new(n_moments: usize) -> Self {
        let n_leaves = n_moments.next_power_of_two();
        Self { nodes: vec![(0, 0); 2 * n_leaves], n_leaves }
    }

    /// The most at any moment of `from..to`, which is not empty.
    fn most(&self, from: usize, to: usize) -> u64 {
        self.most_in(1, 0, self.n_leaves, from, to)
    }

    fn most_in(&self, node: usize, low: usize, high: usize, from: usize, to: usize) -> u64 {
        if to <= low || high <= from {
            return 0;
        }
        let (most, added) = self.nodes[node];
        if from <= low && high <= to {
            return most;
        }
        let middle = usize::midpoint(low, high);
        let left = self.most_in(2 * node, low, middle, from, to);
        added + left.max(self.most_in(2 * node + 1, middle, high, from, to))
    }

    fn add(&mut self, from: usize, to: usize, size: u64) {
        self.add_in(1, 0, self.n_leaves, from, to, size);
    }

    fn add_in(&mut self, node: usize, low: usize, high: usize, from: usize, to: usize, size: u64) {
        if to <= low || high <= from {
            return;
        }
        if from <= low && high <= to {
            let (most, added) = &mut self.nodes[node];
            (*most, *added) = (*most + size, *added + size);
            return;
        }
        let middle = usize::midpoint(low, high);
        self.add_in(2 * node, low, middle, from, to, size);
        self.add_in(2 * node + 1, middle, high, from, to, size);
        let most = self.nodes[2 * node].0.max(self.nodes[2 * node + 1].0);
        self.nodes[node].0 = self.nodes[node].1 + most;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::trace::TraceBuilder;

    fn trace(requests: &[(u8, u64)]) -> Trace {
        let mut builder = TraceBuilder::new("t");
        for &(key, size) in requests {
            assert!(builder.push(&[key], size));
        }
        builder.build()
    }

    fn hits(requests: &[(u8, u64)], unit: Unit, capacity: u64) -> u64 {
        let setting = Setting { unit, capacity, expected_entries: 1 };
        replay(&trace(requests), setting).hits
    }

    /// The most hits of any cache: tries all there is to keep after each request.
    fn most_hits(requests: &[(u8, u64)], unit: Unit, capacity: u64) -> u64 {
        fn from(rest: &[(u8, u64)], held: &[(u8, u64)], capacity: u64) -> u64 {
            let Some((&request, rest)) = rest.split_first() else { return 0 };
            let is_hit = held.iter().any(|(key, _)| *key == request.0);
            let mut all = held.to_vec();
            if !is_hit {
                all.push(request);
            }
            let kept = (0..1_u32 << all.len()).map(|chosen| {
                let is_chosen = |(i, _): &(usize, &(u8, u64))| chosen & (1 << i) != 0;
                all.iter().enumerate().filter(is_chosen).map(|(_, held)| *held).collect::<Vec<_>>()
            });
            let fits =
                |kept: &Vec<(u8, u64)>| kept.iter().map(|(_, size)| size).sum::<u64>() <= capacity;
            let most = kept.filter(fits).map(|kept| from(rest, &kept, capacity)).max().unwrap_or(0);
            u64::from(is_hit) + most
        }
        let weighed: Vec<_> =
            requests.iter().map(|&(key, size)| (key, unit.weight(size))).collect();
        from(&weighed, &[], capacity)
    }

    #[test]
    fn the_example_of_the_paper_of_lru() {
        // 1 2 3 1 2 3 … over two places: LRU has no hit, the optimum keeps one object for good.
        let requests: Vec<_> = [1, 2, 3].into_iter().cycle().take(12).map(|key| (key, 1)).collect();
        assert_eq!(hits(&requests, Unit::Entries, 2), most_hits(&requests, Unit::Entries, 2));
        assert_eq!(hits(&requests, Unit::Entries, 3), 9);
        assert_eq!(hits(&requests, Unit::Entries, 1), 3);
    }

    #[test]
    fn an_object_larger_than_the_capacity_is_never_a_hit() {
        assert_eq!(hits(&[(1, 9), (1, 9), (2, 1), (2, 1)], Unit::Bytes, 8), 1);
    }

    /// Sizes of objects that do not change.
    fn sized() -> impl Strategy<Value = Vec<(u8, u64)>> {
        (vec(0_u8..4, 1..9), vec(1_u64..5, 4)).prop_map(|(keys, sizes)| {
            keys.iter().map(|&key| (key, sizes[usize::from(key)])).collect()
        })
    }

    proptest! {
        #[test]
        fn by_entries_it_is_the_optimum(requests in sized(), capacity in 1_u64..4) {
            prop_assert_eq!(
                hits(&requests, Unit::Entries, capacity),
                most_hits(&requests, Unit::Entries, capacity)
            );
        }

        #[test]
        fn by_bytes_it_can_be_done(requests in sized(), capacity in 1_u64..10) {
            prop_assert!(
                hits(&requests, Unit::Bytes, capacity) <= most_hits(&requests, Unit::Bytes, capacity)
            );
        }

        #[test]
        fn by_bytes_of_one_size_it_is_near(keys in vec(0_u8..5, 1..9), capacity in 1_u64..4) {
            let requests: Vec<_> = keys.iter().map(|&key| (key, 1)).collect();
            let (near, best) =
                (hits(&requests, Unit::Bytes, capacity), most_hits(&requests, Unit::Bytes, capacity));
            prop_assert!(near <= best && near + 1 >= best, "{near} of {best}");
        }

        #[test]
        fn occupied_agrees_with_an_array(changes in vec((0_usize..20, 1_usize..20, 0_u64..9), 0..30)) {
            let mut tree = Occupied::new(20);
            let mut array = [0_u64; 20];
            for (from, len, size) in changes {
                let to = (from + len).min(20);
                prop_assert_eq!(tree.most(from, to), array[from..to].iter().copied().max().unwrap_or(0));
                tree.add(from, to, size);
                array[from..to].iter_mut().for_each(|at| *at += size);
            }
        }
    }
}
