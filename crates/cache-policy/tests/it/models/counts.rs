//! The policies that count.

use std::collections::HashMap;

use cache_core::{Limits, RemovalCause};
use cache_policy::{Gdsf, Objective, WTinyLfu};
use proptest::prelude::*;

use super::{Key, Model, Queue, compare, script, script_of};

proptest! {
    #[test]
    fn gdsf_evicts_the_lowest_priority(script in script(6)) {
        compare(&Gdsf::new(), &mut GdsfModel::new(|weight| 1.0 / weight as f64), &script)?;
    }

    #[test]
    fn gdsf_that_saves_bytes_is_lfu_with_ageing(script in script(6)) {
        let bytes = Gdsf::new().optimize_for(Objective::ByteHitRatio);
        compare(&bytes, &mut GdsfModel::new(|_| 1.0), &script)?;
    }

    #[test]
    fn w_tiny_lfu_is_that_of_the_paper_with_exact_counts(script in script_of(6, 12, 0..1200)) {
        compare(&WTinyLfu::new(), &mut WTinyLfuModel::new(script.limits), &script)?;
    }
}

/// Figure 1 of HPL-98-69.
struct GdsfModel {
    /// Cost over size.
    worth: fn(u64) -> f64,
    clock: f64,
    held: HashMap<Key, Object>,
}

struct Object {
    worth: f64,
    frequency: u32,
    priority: f64,
}

impl GdsfModel {
    fn new(worth: fn(u64) -> f64) -> Self {
        Self { worth, clock: 0.0, held: HashMap::new() }
    }
}

impl Model for GdsfModel {
    fn arrive(&mut self, key: Key, weight: u64) {
        let worth = (self.worth)(weight);
        self.held.insert(key, Object { worth, frequency: 1, priority: self.clock + worth });
    }
    fn update(&mut self, key: Key, weight: u64) {
        if let Some(object) = self.held.get_mut(&key) {
            object.worth = (self.worth)(weight);
        }
    }
    fn hit(&mut self, key: Key) {
        if let Some(object) = self.held.get_mut(&key) {
            object.frequency += 1;
            // Never lower, where a larger entry came under the key.
            let earned = self.clock + f64::from(object.frequency) * object.worth;
            object.priority = object.priority.max(earned);
        }
    }
    fn victims(&mut self) -> Vec<Key> {
        let lowest = self.held.values().map(|object| object.priority).fold(f64::INFINITY, f64::min);
        // Roundings add up in both.
        let is_lowest = |object: &Object| object.priority < lowest + 0.002;
        self.held.iter().filter(|(_, object)| is_lowest(object)).map(|(key, _)| *key).collect()
    }
    fn leave(&mut self, key: Key, why: RemovalCause) {
        let object = self.held.remove(&key).expect("it was held");
        if why != RemovalCause::Removed {
            self.clock = self.clock.max(object.priority);
        }
    }
}

/// Window, probation, protected; counts of all keys, exact up to 15, halved after ten uses an
/// entry.
struct WTinyLfuModel {
    limits: Limits,
    window: Queue,
    probation: Queue,
    protected: Queue,
    newcomer: Option<(Key, u64)>,
    counts: HashMap<Key, u64>,
    counted: u64,
    entries_max: u64,
    /// Uses that are not counted yet.
    pending: HashMap<Key, u64>,
    window_share: f64,
    step: f64,
    hits: u64,
    misses: u64,
    hit_ratio: f64,
}

impl WTinyLfuModel {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            window: Queue::default(),
            probation: Queue::default(),
            protected: Queue::default(),
            newcomer: None,
            counts: HashMap::new(),
            counted: 0,
            entries_max: 16,
            pending: HashMap::new(),
            window_share: 0.01,
            step: 0.0625,
            hits: 0,
            misses: 0,
            hit_ratio: 0.0,
        }
    }

    fn count(&mut self, key: Key) {
        let count = self.counts.entry(key).or_default();
        if *count < 15 {
            *count += 1;
            self.counted += 1;
        }
        if self.counted >= 10 * self.entries_max {
            self.counts.values_mut().for_each(|count| *count /= 2);
            self.counted /= 2;
        }
    }

    /// Whether there were pending uses.
    fn count_pending(&mut self, key: Key) -> bool {
        let n = self.pending.remove(&key).unwrap_or(0).min(15);
        (0..n).for_each(|_| self.count(key));
        n > 0
    }

    fn entries(&self) -> u64 {
        self.window.len() + self.probation.len() + self.protected.len()
    }

    fn weight(&self) -> u64 {
        self.window.weight() + self.probation.weight() + self.protected.weight()
    }

    fn is_by_weight(&self) -> bool {
        self.weight() * self.limits.entries >= self.entries() * self.limits.weight
    }

    fn share(&self, queue: &Queue) -> f64 {
        if self.is_by_weight() {
            queue.weight() as f64 / self.weight().max(1) as f64
        } else {
            queue.len() as f64 / self.entries().max(1) as f64
        }
    }

    fn climb(&mut self) {
        let requests = self.hits + self.misses;
        if requests >= 10 * (self.entries() + 1) {
            let hit_ratio = self.hits as f64 / requests as f64;
            let change = hit_ratio - self.hit_ratio;
            if change < 0.0 {
                self.step = -self.step;
            }
            self.step =
                if change.abs() >= 0.05 { self.step.signum() * 0.0625 } else { self.step * 0.98 };
            self.window_share = (self.window_share + self.step).clamp(0.01, 0.8);
            (self.hit_ratio, self.hits, self.misses) = (hit_ratio, 0, 0);
        }
    }

    fn candidate(&mut self) -> Option<Key> {
        while self.share(&self.window) > self.window_share {
            let key = self.window.first()?;
            if !self.count_pending(key) {
                return Some(key);
            }
            self.window.rotate();
        }
        let (key, weight) = self.newcomer?;
        let mean = self.weight() as f64 / self.entries().max(1) as f64;
        let allowance = mean.max(self.weight() as f64 * self.window_share);
        (self.is_by_weight() && weight as f64 > allowance).then_some(key)
    }

    fn main_victim(&mut self) -> Option<Key> {
        while let Some(key) = self.probation.first() {
            if !self.count_pending(key) {
                return Some(key);
            }
            let (_, weight) = self.probation.pop()?;
            self.protected.push(key, weight);
            while self.share(&self.protected) > 0.8 * (1.0 - self.window_share) {
                let Some(demoted) = self.protected.first() else { break };
                if self.count_pending(demoted) {
                    self.protected.rotate();
                } else {
                    let (key, weight) = self.protected.pop()?;
                    self.probation.push(key, weight);
                }
            }
        }
        while let Some(key) = self.protected.first() {
            if !self.count_pending(key) {
                return Some(key);
            }
            self.protected.rotate();
        }
        None
    }

    fn settle_newcomer(&mut self) {
        let Some((key, weight)) = self.newcomer.take() else { return };
        for _ in 0..2 {
            if self.share(&self.window) > self.window_share
                && let Some((key, weight)) = self.window.pop()
            {
                self.probation.push(key, weight);
            }
        }
        self.window.push(key, weight);
    }
}

impl Model for WTinyLfuModel {
    fn arrive(&mut self, key: Key, weight: u64) {
        self.newcomer = Some((key, weight));
        self.entries_max = self.entries_max.max(self.entries() + 1);
        self.count(key);
        self.misses += 1;
        self.climb();
    }
    fn settle(&mut self, _key: Key, _weight: u64) {
        self.settle_newcomer();
    }
    fn update(&mut self, key: Key, weight: u64) {
        for queue in [&mut self.window, &mut self.probation, &mut self.protected] {
            queue.set_weight(key, weight);
        }
    }
    fn hit(&mut self, key: Key) {
        *self.pending.entry(key).or_default() += 1;
        self.hits += 1;
    }
    fn victims(&mut self) -> Vec<Key> {
        let Some(candidate) = self.candidate() else {
            let victim = self.main_victim().or(self.window.first());
            return victim.or(self.newcomer.map(|(key, _)| key)).into_iter().collect();
        };
        let Some(victim) = self.main_victim() else { return vec![candidate] };
        let count = |key| self.counts.get(&key).copied().unwrap_or(0);
        if count(candidate) <= count(victim) {
            return vec![candidate];
        }
        let newcomer = self.newcomer.take_if(|(key, _)| *key == candidate);
        if let Some((key, weight)) = newcomer.or_else(|| self.window.pop()) {
            self.probation.push(key, weight);
        }
        vec![victim]
    }
    fn leave(&mut self, key: Key, _why: RemovalCause) {
        if self.newcomer.take_if(|(newcomer, _)| *newcomer == key).is_none() {
            self.count_pending(key);
            self.window.remove(key);
            self.probation.remove(key);
            self.protected.remove(key);
        }
        self.pending.remove(&key);
    }
}
