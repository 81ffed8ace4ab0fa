//! The latest event of each key, of a bounded number of keys.

use std::collections::HashMap;

use cache_core::Key;

/// How many keys are remembered, unless it is set.
pub(crate) const KEYS: usize = 16_384;

/// Values of the keys that were set last: of half the capacity at least, of all of it at most.
#[derive(Debug)]
pub(crate) struct Memory<V> {
    /// Once it has half the capacity, it takes the place of `old`.
    young: HashMap<Key, V>,
    old: HashMap<Key, V>,
    capacity: usize,
}

impl<V> Memory<V> {
    pub(crate) fn new() -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), capacity: KEYS }
    }

    /// Zero remembers nothing.
    pub(crate) fn set_capacity(&mut self, keys: usize) {
        *self = Self { capacity: keys, ..Self::new() };
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub(crate) fn set(&mut self, key: Key, value: V) {
        if self.capacity == 0 {
            return;
        }
        if self.young.len() >= (self.capacity / 2).max(1) && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
            if self.capacity == 1 {
                self.old.clear();
            }
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        Key::parse(&format!("key/{n}")).unwrap()
    }

    fn len(memory: &Memory<usize>) -> usize {
        memory.young.len() + memory.old.len()
    }

    #[test]
    fn the_latest_half_is_remembered_and_never_more_than_all() {
        for capacity in [1, 2, 7, 100] {
            let mut memory = Memory::new();
            memory.set_capacity(capacity);
            for n in 0..1000 {
                memory.set(key(n), n);
                assert!(len(&memory) <= capacity, "{capacity}: {}", len(&memory));
                for latest in (n + 1).saturating_sub((capacity / 2).max(1))..=n {
                    assert_eq!(memory.get(&key(latest)), Some(&latest), "{capacity}");
                }
            }
        }
    }

    #[test]
    fn a_key_that_is_set_again_has_one_value() {
        let mut memory = Memory::new();
        memory.set_capacity(4);
        for n in 0..100 {
            memory.set(key(0), n);
            memory.set(key(n % 3), n);
            assert_eq!(memory.get(&key(n % 3)), Some(&n));
            assert!(len(&memory) <= 4);
        }
    }

    #[test]
    fn zero_remembers_nothing() {
        let mut memory = Memory::new();
        memory.set_capacity(0);
        memory.set(key(0), 0);
        assert_eq!(memory.get(&key(0)), None);
    }
}
