//! The policies made of queues.

use std::collections::{HashMap, HashSet, VecDeque};

use cache_core::{Limits, RemovalCause};
use cache_policy::{Lru, S3Fifo, Sieve};
use proptest::prelude::*;

use super::{Key, Model, Queue, compare, script};

proptest! {
    #[test]
    fn lru_evicts_the_least_recently_used(script in script(6)) {
        compare(&Lru::new(), &mut LruModel::default(), &script)?;
    }

    #[test]
    fn sieve_is_that_of_the_paper(script in script(6)) {
        compare(&Sieve::new(), &mut SieveModel::default(), &script)?;
    }

    #[test]
    fn s3_fifo_is_that_of_the_paper(script in script(6)) {
        compare(&S3Fifo::new(), &mut S3FifoModel::new(script.limits), &script)?;
    }
}

#[derive(Default)]
struct LruModel(Queue);

impl Model for LruModel {
    fn settle(&mut self, key: Key, weight: u64) {
        self.0.push(key, weight);
    }
    fn hit(&mut self, key: Key) {
        if let Some(weight) = self.0.remove(key) {
            self.0.push(key, weight);
        }
    }
    fn victims(&mut self) -> Vec<Key> {
        self.0.first().into_iter().collect()
    }
    fn leave(&mut self, key: Key, _why: RemovalCause) {
        self.0.remove(key);
    }
}

/// Algorithm 1 of the paper. The head of its queue is the back of this one.
#[derive(Default)]
struct SieveModel {
    queue: Queue,
    visited: HashSet<Key>,
    hand: Option<Key>,
}

impl SieveModel {
    /// The next one towards the head; none behind the head.
    fn towards_head(&self, key: Key) -> Option<Key> {
        let at = self.queue.position(key)?;
        self.queue.0.get(at + 1).map(|(key, _)| *key)
    }
}

impl Model for SieveModel {
    fn settle(&mut self, key: Key, weight: u64) {
        self.visited.remove(&key);
        self.queue.push(key, weight);
    }
    fn hit(&mut self, key: Key) {
        self.visited.insert(key);
    }
    fn victims(&mut self) -> Vec<Key> {
        let tail = self.queue.first();
        let mut object = self.hand.or(tail);
        while let Some(key) = object
            && self.visited.remove(&key)
        {
            object = self.towards_head(key).or(tail);
        }
        self.hand = object;
        object.into_iter().collect()
    }
    fn leave(&mut self, key: Key, _why: RemovalCause) {
        if self.hand == Some(key) {
            self.hand = self.towards_head(key);
        }
        self.queue.remove(key);
    }
}

/// Algorithm 1 of the paper, `EVICT` in its prose: the small queue's turn is while it has a tenth
/// or more.
struct S3FifoModel {
    limits: Limits,
    small: Queue,
    main: Queue,
    /// The newest first.
    ghost: VecDeque<Key>,
    freq: HashMap<Key, u8>,
}

impl S3FifoModel {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            small: Queue::default(),
            main: Queue::default(),
            ghost: VecDeque::new(),
            freq: HashMap::new(),
        }
    }

    fn is_small_full(&self) -> bool {
        let (weight, entries) =
            (self.small.weight() + self.main.weight(), self.small.len() + self.main.len());
        if weight * self.limits.entries >= entries * self.limits.weight {
            self.small.weight() * 10 >= weight
        } else {
            self.small.len() * 10 >= entries
        }
    }
}

impl Model for S3FifoModel {
    fn settle(&mut self, key: Key, weight: u64) {
        let was_ghost = self.ghost.contains(&key);
        self.ghost.retain(|held| *held != key);
        if was_ghost { &mut self.main } else { &mut self.small }.push(key, weight);
        self.freq.insert(key, 0);
    }
    fn update(&mut self, key: Key, weight: u64) {
        self.small.set_weight(key, weight);
        self.main.set_weight(key, weight);
    }
    fn hit(&mut self, key: Key) {
        let freq = self.freq.entry(key).or_default();
        *freq = 3.min(*freq + 1);
    }
    fn victims(&mut self) -> Vec<Key> {
        loop {
            if self.small.len() > 0 && self.is_small_full() {
                let (key, weight) = self.small.0[0];
                if self.freq[&key] <= 1 {
                    return vec![key];
                }
                self.small.pop();
                self.freq.insert(key, 0);
                self.main.push(key, weight);
            } else {
                let (key, weight) = self.main.0[0];
                if self.freq[&key] == 0 {
                    return vec![key];
                }
                self.main.pop();
                self.freq.insert(key, self.freq[&key] - 1);
                self.main.push(key, weight);
            }
        }
    }
    fn leave(&mut self, key: Key, why: RemovalCause) {
        let held = self.small.len() + self.main.len();
        if self.small.remove(key).is_some() && why == RemovalCause::Evicted {
            self.ghost.push_front(key);
            self.ghost.truncate(usize::try_from(held * 9 / 10).expect("it is small"));
        }
        self.main.remove(key);
    }
}
