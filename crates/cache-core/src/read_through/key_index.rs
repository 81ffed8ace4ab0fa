//! The keys of cached entries in order, under the prefixes that were listed.
//!
//! A list shows that an object is missing by leaving it out. To find the entries that it leaves
//! out, their keys are kept here. A key is noted before its entry is stored or renewed, and removed
//! by a list that finds no entry of it, so the index may have keys without an entry. The other way
//! round, an entry without a note is under the soft floor that the first list of its prefix has
//! raised, or of an earlier process: it is renewed before it is next served. Under prefixes that
//! were never listed there is no cost but one read of a flag.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::sync::{Mutex, lock};

#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    is_used: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Keys below these are noted. None begins with another.
    prefixes: Vec<Box<str>>,
    /// Each key with the number of its last note.
    keys: BTreeMap<Box<str>, u64>,
    n_notes: u64,
    generation: Generation,
}

/// How often the index was emptied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Generation(u64);

impl KeyIndex {
    /// Has the keys below `prefix` noted from now on. If they were not noted before, calls `mark`
    /// with the prefix below which they were not: `prefix`, or a shorter one if too many prefixes
    /// are told apart. Returns the generation for [`range`](Self::range).
    pub(super) fn cover(&self, prefix: &str, mark: impl FnOnce(&str)) -> Generation {
        let mut inner = lock(&self.inner);
        if inner.covers(prefix) {
            return inner.generation;
        }
        let mut new: Box<str> = prefix.into();
        loop {
            inner.prefixes.retain(|narrower| !narrower.starts_with(&*new));
            inner.prefixes.push(new.clone());
            if inner.prefixes.len() <= PREFIXES_MAX {
                break;
            }
            // A shorter prefix takes the place of the new one and of at least one other.
            new = inner.widened(&new);
        }
        // Before the mark: an entry that is stored later is noted.
        self.is_used.store(true, Ordering::SeqCst);
        // Under the lock: another list of the prefix finds it covered, and the mark put.
        mark(&new);
        inner.generation
    }

    /// Notes `key`, whose entry is about to be stored or renewed. `n_entries` returns how many are
    /// stored. Returns whether the key was noted before.
    pub(super) fn note(&self, key: &str, n_entries: impl Fn() -> u64) -> bool {
        if !self.is_used.load(Ordering::SeqCst) {
            return false;
        }
        let is_full = {
            let mut inner = lock(&self.inner);
            if !inner.covers(key) {
                return false;
            }
            inner.n_notes += 1;
            let n = inner.n_notes;
            if let Some(noted) = inner.keys.get_mut(key) {
                *noted = n;
                return true;
            }
            inner.keys.insert(key.into(), n);
            inner.keys.len() >= KEYS_MIN && inner.keys.len().is_multiple_of(KEYS_MIN)
        };
        if is_full && self.len() as u64 > n_entries().saturating_mul(2) {
            self.forget();
        }
        false
    }

    /// Returns the keys below `prefix`, after `after` and up to `last`, with the numbers of their
    /// notes; `None` if the index was emptied since `generation`.
    pub(super) fn range(
        &self,
        prefix: &str,
        after: Option<&str>,
        last: Option<&str>,
        generation: Generation,
    ) -> Option<Vec<(Box<str>, u64)>> {
        let inner = lock(&self.inner);
        if inner.generation != generation {
            return None;
        }
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let to = last.map_or(Bound::Unbounded, Bound::Included);
        let is_empty = match (from, last) {
            (Bound::Excluded(from), Some(last)) => from >= last,
            (Bound::Included(from), Some(last)) => from > last,
            _ => false,
        };
        if is_empty {
            return Some(Vec::new());
        }
        let keys = inner.keys.range::<str, _>((from, to));
        let keys = keys.take_while(|(key, _)| key.starts_with(prefix));
        Some(keys.map(|(key, n)| (key.clone(), *n)).collect())
    }

    /// Removes `key` unless it was noted again since note `n`. The caller has seen, in this order,
    /// that no call changes the key and that there is no entry.
    pub(super) fn remove(&self, key: &str, n: u64) {
        let mut inner = lock(&self.inner);
        // A note in between announces an entry.
        if inner.keys.get(key) == Some(&n) {
            inner.keys.remove(key);
        }
    }

    /// Forgets all keys and prefixes: most of the entries have left the cache. The next list of a
    /// prefix starts again.
    fn forget(&self) {
        let mut inner = lock(&self.inner);
        // A list that began before knows no longer which keys it leaves out.
        // mutant: index_generation
        let generation = Generation(inner.generation.0 + 1);
        *inner = Inner { generation, ..Inner::default() };
    }

    fn len(&self) -> usize {
        lock(&self.inner).keys.len()
    }
}

impl Inner {
    fn covers(&self, key: &str) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(&**prefix))
    }

    /// Returns the longest prefix that `new` has in common with another one.
    fn widened(&self, new: &str) -> Box<str> {
        let others = self.prefixes.iter().filter(|other| &***other != new);
        let shared = others.map(|other| {
            let pairs = new.chars().zip(other.chars()).take_while(|(one, other)| one == other);
            pairs.map(|(one, _)| one.len_utf8()).sum::<usize>()
        });
        new[..shared.max().unwrap_or_default()].into()
    }
}

const PREFIXES_MAX: usize = 64;
/// With fewer keys, entries without a note are not counted.
const KEYS_MIN: usize = 64 * 1024;

#[cfg(all(test, not(object_cache_loom)))]
mod tests {
    use super::*;

    fn keys(
        index: &KeyIndex,
        prefix: &str,
        after: Option<&str>,
        last: Option<&str>,
    ) -> Vec<String> {
        range(index, prefix, after, last).into_iter().map(|(key, _)| key.into()).collect()
    }

    fn range(
        index: &KeyIndex,
        prefix: &str,
        after: Option<&str>,
        last: Option<&str>,
    ) -> Vec<(Box<str>, u64)> {
        let generation = lock(&index.inner).generation;
        index.range(prefix, after, last, generation).expect("the generation was not changed")
    }

    fn note(index: &KeyIndex, key: &str) -> bool {
        index.note(key, || 0)
    }

    fn cover(index: &KeyIndex, prefix: &str) -> Option<String> {
        let mut marked = None;
        index.cover(prefix, |prefix| marked = Some(prefix.to_owned()));
        marked
    }

    #[test]
    fn keys_are_noted_below_prefixes_that_are_covered() {
        let index = KeyIndex::default();
        note(&index, "a/0");
        assert_eq!(cover(&index, "a/").as_deref(), Some("a/"));
        assert_eq!(cover(&index, "a/b/"), None);
        for key in ["a/3", "a/1", "a/b/2", "b/1", "a"] {
            note(&index, key);
        }
        assert_eq!(keys(&index, "a/", None, None), ["a/1", "a/3", "a/b/2"]);
        assert_eq!(keys(&index, "a/", Some("a/1"), Some("a/3")), ["a/3"]);
        assert_eq!(keys(&index, "a/b", Some("a"), None), ["a/b/2"]);
        for (after, last) in [("a/3", "a/3"), ("a/4", "a/3"), ("b", "a/9")] {
            assert!(keys(&index, "a/", Some(after), Some(last)).is_empty());
        }
        assert_eq!(cover(&index, "").as_deref(), Some(""));
        note(&index, "b/1");
        assert_eq!(keys(&index, "", None, Some("a/1")), ["a/1"]);
        assert_eq!(keys(&index, "b", None, None), ["b/1"]);
        assert_eq!(keys(&index, "b/1", None, Some("b/1")), ["b/1"]);
    }

    #[test]
    fn a_key_that_is_noted_again_is_not_removed() {
        let index = KeyIndex::default();
        cover(&index, "");
        assert!(!note(&index, "a"));
        let [(key, n)] = &range(&index, "", None, None)[..] else { panic!("one key") };
        assert!(note(&index, "a"));
        index.remove(key, *n);
        assert_eq!(keys(&index, "", None, None), ["a"]);
        let n = range(&index, "", None, None)[0].1;
        index.remove(key, n);
        assert!(keys(&index, "", None, None).is_empty());
    }

    #[test]
    fn prefixes_too_many_are_widened() {
        let index = KeyIndex::default();
        for n in 0..PREFIXES_MAX {
            assert_eq!(cover(&index, &format!("{n:02}/x")).as_deref(), Some(&*format!("{n:02}/x")));
        }
        assert_eq!(cover(&index, "63/y").as_deref(), Some("63/"));
        assert_eq!(cover(&index, "63/z"), None);
        assert_eq!(cover(&index, "ü").as_deref(), Some(""));
        assert_eq!(cover(&index, "any"), None);
        assert_eq!(lock(&index.inner).prefixes.len(), 1);
    }

    #[test]
    fn keys_without_entries_do_not_grow_without_end() {
        let index = KeyIndex::default();
        let generation = index.cover("", |_| {});
        for n in 0..2 * KEYS_MIN {
            index.note(&n.to_string(), || n as u64);
        }
        assert_eq!(index.len(), 2 * KEYS_MIN);
        for n in 0..KEYS_MIN {
            index.note(&format!("x{n}"), || 5);
        }
        assert_eq!(index.range("", None, None, generation), None);
        assert_eq!(cover(&index, "a").as_deref(), Some("a"), "forgotten");
    }
}
