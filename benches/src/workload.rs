//! The same requests for every subject: path-like keys of 40 bytes with Zipf popularity, in an
//! order that depends on a seed alone.

use std::sync::Arc;

use cache_core::Key;
use cache_testkit::{Random, Zipf};

/// Keys, and the order in which they are requested. A clone is a handle.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    keys: Arc<[String]>,
    order: Arc<[u32]>,
}

impl Workload {
    /// `n_requests` for `n_keys` keys, the one of rank r with a weight of 1/r^0.99. Ranks are dealt
    /// to the keys at random. `n_keys` must not be zero.
    pub(crate) fn zipf(n_keys: usize, n_requests: usize) -> Self {
        Self::zipf_dealt_anew(n_keys, n_requests, n_requests)
    }

    /// The same, but the ranks are dealt anew every `spell` requests. In a table with a random hash
    /// key, the cost of finding the few most popular keys is chance; this averages it over many.
    pub(crate) fn zipf_dealt_anew(n_keys: usize, n_requests: usize, spell: usize) -> Self {
        let random = Random::new(n_keys as u64);
        let zipf = Zipf::new(n_keys, EXPONENT);
        let mut key_of_rank: Vec<u32> = (0..).take(n_keys).collect();
        let mut order = Vec::with_capacity(n_requests);
        for number in 0..n_requests {
            if number % spell == 0 {
                // Fisher-Yates.
                (1..n_keys).rev().for_each(|i| key_of_rank.swap(i, random.index(i + 1)));
            }
            order.push(key_of_rank[zipf.sample(&random)]);
        }
        Self { keys: keys(n_keys), order: order.into() }
    }

    /// Each of `n_keys` keys once, and then from the start again.
    pub(crate) fn cycle(n_keys: usize) -> Self {
        Self { keys: keys(n_keys), order: (0..).take(n_keys).collect() }
    }

    /// All keys.
    pub(crate) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The indices of the next `n` keys to request, beginning with request number `start`; the
    /// first follows the last.
    pub(crate) fn requests(&self, start: u64, n: u64) -> impl Iterator<Item = usize> + '_ {
        let len = self.order.len() as u64;
        let from = usize::try_from(start % len).unwrap_or_default();
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        self.order.iter().cycle().skip(from).take(n).map(|number| *number as usize)
    }

    /// The next `n` keys for one thread: each thread begins at another place.
    pub(crate) fn of_thread(&self, thread: usize, n: u64) -> impl Iterator<Item = &str> + '_ {
        let start = thread as u64 * (self.order.len() as u64 / THREADS_MAX);
        self.requests(start, n).map(|number| &*self.keys[number])
    }
}

/// The key with this number: 40 bytes, like a path.
pub(crate) fn key(number: u64) -> String {
    format!("tenants/{:04}/tables/{:016x}.bin", number % 100, number)
}

/// The same, parsed.
pub(crate) fn parsed(key: &str) -> Key {
    Key::parse(key).expect("keys are canonical")
}

fn keys(n: usize) -> Arc<[String]> {
    (0..n as u64).map(key).collect()
}

const EXPONENT: f64 = 0.99;

/// With more threads than this, some begin at the same place.
const THREADS_MAX: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_40_bytes_and_its_own_text() {
        assert_eq!(key(0).len(), 40);
        assert_eq!(key(u64::MAX).len(), 40);
        assert_ne!(key(1), key(101));
    }

    #[test]
    fn requests_have_the_shares_of_their_ranks() {
        let (n_keys, n_requests) = (1000, 200_000);
        let workload = Workload::zipf(n_keys, n_requests);
        let mut times = vec![0_u32; n_keys];
        workload.requests(0, n_requests as u64).for_each(|number| times[number] += 1);
        times.sort_unstable_by(|a, b| b.cmp(a));
        let sum: f64 = (1..=n_keys).map(|rank| (rank as f64).powf(-0.99)).sum();
        for rank in [1, 2, 10] {
            let expected = n_requests as f64 / (rank as f64).powf(0.99) / sum;
            let seen = f64::from(times[rank - 1]);
            assert!((seen / expected - 1.0).abs() < 0.05, "rank {rank}: {seen} of {expected}");
        }
    }

    #[test]
    fn the_same_workload_is_made_each_time() {
        let (one, two) = (Workload::zipf(100, 1000), Workload::zipf(100, 1000));
        assert!(one.requests(0, 1000).eq(two.requests(0, 1000)));
    }

    #[test]
    fn ranks_are_dealt_anew_after_each_spell() {
        let most_popular = |workload: &Workload, start| {
            let mut times = [0; 100];
            workload.requests(start, 1000).for_each(|number| times[number] += 1);
            (0..100).max_by_key(|number| times[*number])
        };
        let firsts =
            |workload: &Workload| [0, 1000, 2000].map(|start| most_popular(workload, start));
        let [first, second, third] = firsts(&Workload::zipf_dealt_anew(100, 3000, 1000));
        assert!(first != second && second != third);
        let [first, second, third] = firsts(&Workload::zipf(100, 3000));
        assert!(first == second && second == third);
    }

    #[test]
    fn requests_go_round() {
        let workload = Workload::cycle(3);
        let numbers: Vec<_> = workload.requests(4, 5).collect();
        assert_eq!(numbers, [1, 2, 0, 1, 2]);
    }

    #[test]
    fn each_thread_begins_elsewhere() {
        let workload = Workload::cycle(160);
        let first = |thread| workload.of_thread(thread, 1).next().map(ToOwned::to_owned);
        assert_eq!([first(0), first(1), first(15)], [0, 10, 150].map(|n| Some(key(n))));
    }
}
