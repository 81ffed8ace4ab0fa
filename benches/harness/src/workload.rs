//! The same requests for every subject: path-like keys of 40 bytes, popular as in Zipf's law [1], in an order that
//! depends on a seed alone. The generator is SplitMix64 [2]: enough for a workload, and a few lines.
//!
//! [1] Breslau et al., "Web Caching and Zipf-like Distributions", INFOCOM 1999.
//! [2] Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.

use std::sync::Arc;

/// Keys, and the order in which they are asked for. A clone is a handle.
#[derive(Debug, Clone)]
pub struct Workload {
    keys: Arc<[String]>,
    order: Arc<[u32]>,
}

impl Workload {
    /// `n_requests` for `n_keys` keys, the one of rank r with a weight of 1/r^0.99. Ranks are dealt to the keys at
    /// random. `n_keys` must not be zero.
    pub fn zipf(n_keys: usize, n_requests: usize) -> Self {
        Self::zipf_dealt_anew(n_keys, n_requests, n_requests)
    }

    /// The same, but the ranks are dealt anew every `spell` requests. In a table that is hashed with a random key, it is
    /// chance how easily the few most popular keys are found; this has many keys take their turn.
    pub fn zipf_dealt_anew(n_keys: usize, n_requests: usize, spell: usize) -> Self {
        let mut random = Random::new(n_keys as u64);
        let zipf = Zipf::new(n_keys, EXPONENT);
        let mut key_of_rank: Vec<u32> = (0..).take(n_keys).collect();
        let mut order = Vec::with_capacity(n_requests);
        for number in 0..n_requests {
            if number % spell == 0 {
                random.shuffle(&mut key_of_rank);
            }
            order.push(key_of_rank[zipf.rank(random.unit())]);
        }
        Self { keys: keys(n_keys), order: order.into() }
    }

    /// Each of `n_keys` keys once, and then from the start again.
    pub fn cycle(n_keys: usize) -> Self {
        Self { keys: keys(n_keys), order: (0..).take(n_keys).collect() }
    }

    /// All keys.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The numbers of the next `n` keys to ask for, from the `start`th request on; the first follows the last.
    pub fn requests(&self, start: u64, n: u64) -> impl Iterator<Item = usize> + '_ {
        let len = self.order.len() as u64;
        let from = usize::try_from(start % len).unwrap_or_default();
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        self.order.iter().cycle().skip(from).take(n).map(|number| *number as usize)
    }

    /// The same as keys, for the thread numbered `thread`: each begins elsewhere.
    pub fn of_thread(&self, thread: usize, n: u64) -> impl Iterator<Item = &str> + '_ {
        let start = thread as u64 * (self.order.len() as u64 / THREADS_MAX);
        self.requests(start, n).map(|number| &*self.keys[number])
    }
}

/// Ranks as in Zipf's law.
#[derive(Debug, Clone)]
pub struct Zipf {
    /// The share of the ranks up to each.
    cumulated: Vec<f64>,
}

impl Zipf {
    /// Rank r of `n`, counted from one, has a weight of 1/r^`exponent`.
    pub fn new(n: usize, exponent: f64) -> Self {
        let mut cumulated: Vec<f64> = Vec::with_capacity(n);
        let mut sum = 0.0;
        for rank in 1..=n {
            sum += (rank as f64).powf(-exponent);
            cumulated.push(sum);
        }
        cumulated.iter_mut().for_each(|share| *share /= sum);
        Self { cumulated }
    }

    /// The rank, counted from zero, at `share` of all: a number from zero up to, but not, one.
    pub fn rank(&self, share: f64) -> usize {
        self.cumulated.partition_point(|upto| *upto <= share).min(self.cumulated.len().saturating_sub(1))
    }
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number from zero up to, but not, one.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Puts `all` into an order, each with the same chance (Fisher-Yates).
    fn shuffle<T>(&mut self, all: &mut [T]) {
        for i in (1..all.len()).rev() {
            all.swap(i, self.below(i + 1));
        }
    }

    /// A number below `n`, which must not be zero. The bias of the remainder is below one in 2^32 for any `n` here.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.bits() % n as u64).unwrap_or_default()
    }
}

/// The key with this number: 40 bytes, like a path.
pub fn key(number: u64) -> String {
    format!("tenants/{:04}/tables/{:016x}.bin", number % 100, number)
}

fn keys(n: usize) -> Arc<[String]> {
    (0..n as u64).map(key).collect()
}

const EXPONENT: f64 = 0.99;

/// More threads than this begin where others did.
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
    fn the_generator_is_splitmix64() {
        let mut random = Random::new(1_234_567);
        // The first numbers that the reference implementation gives for this seed.
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn ranks_have_zipfs_shares() {
        let zipf = Zipf::new(4, 1.0);
        // Weights 1, 1/2, 1/3, 1/4 of a sum of 25/12: shares 0.48, 0.24, 0.16, 0.12.
        for (share, rank) in
            [(0.0, 0), (0.479, 0), (0.481, 1), (0.719, 1), (0.721, 2), (0.879, 2), (0.881, 3)]
        {
            assert_eq!(zipf.rank(share), rank, "at {share}");
        }
        assert_eq!(zipf.rank(1.0), 3);
    }

    #[test]
    fn what_is_drawn_has_the_shares_of_its_ranks() {
        let (n_keys, n_requests) = (1000, 200_000);
        let workload = Workload::zipf(n_keys, n_requests);
        let mut times = vec![0_u32; n_keys];
        workload.requests(0, n_requests as u64).for_each(|number| times[number] += 1);
        times.sort_unstable_by(|a, b| b.cmp(a));
        let sum: f64 = (1..=n_keys).map(|rank| (rank as f64).powf(-0.99)).sum();
        for rank in [1, 2, 10] {
            let expected = n_requests as f64 / (rank as f64).powf(0.99) / sum;
            let drawn = f64::from(times[rank - 1]);
            assert!((drawn / expected - 1.0).abs() < 0.05, "rank {rank}: {drawn} of {expected}");
        }
    }

    #[test]
    fn the_same_workload_is_made_each_time() {
        let (one, two) = (Workload::zipf(100, 1000), Workload::zipf(100, 1000));
        assert!(one.requests(0, 1000).eq(two.requests(0, 1000)));
    }

    #[test]
    fn ranks_are_dealt_anew_when_that_is_asked_for() {
        let most_asked_for = |workload: &Workload, start| {
            let mut times = [0; 100];
            workload.requests(start, 1000).for_each(|number| times[number] += 1);
            (0..100).max_by_key(|number| times[*number])
        };
        let firsts = |workload: &Workload| [0, 1000, 2000].map(|start| most_asked_for(workload, start));
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
        assert_eq!((first(0), first(1), first(15)), (Some(key(0)), Some(key(10)), Some(key(150))));
    }
}
