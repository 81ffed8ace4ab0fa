//! The marks that were put on entries while a list is under way.
//!
//! A list may lift a mark that is older than its request, never a younger one: a younger mark says
//! that the entry may have changed after the list was read. An entry has one bit for its mark, and
//! no room for a moment. So while lists are under way, and only then, each mark is noted here
//! first.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    Moment,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        lock,
    },
};

#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Lists under way.
    lists: AtomicUsize,
    n_begun: AtomicU64,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Of each key the moment of its latest mark.
    keys: HashMap<Box<str>, Moment>,
    /// When the last mark was put that there was no room for.
    lost_at: Option<Moment>,
    /// The keys that lists have left out, for entries that none of these could find.
    left_out: VecDeque<LeftOut>,
}

/// A range of keys, those that are below `prefix`, after `after` and up to `last`.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyRange<'a> {
    pub(super) prefix: &'a str,
    pub(super) after: Option<&'a str>,
    pub(super) last: Option<&'a str>,
}

#[derive(Debug)]
struct LeftOut {
    list: u64,
    heard_at: Moment,
    prefix: Box<str>,
    after: Option<Box<str>>,
    last: Option<Box<str>>,
}

/// A list under way: marks are noted until it is dropped.
#[derive(Debug)]
pub(super) struct ListGuard {
    marks: Arc<Marks>,
    list: u64,
}

impl Marks {
    /// Has marks noted from now on. The clock is read for the list's first request after this.
    pub(super) fn begin_list(self: &Arc<Self>) -> ListGuard {
        self.lists.fetch_add(1, Ordering::SeqCst);
        ListGuard { marks: Arc::clone(self), list: self.n_begun.fetch_add(1, Ordering::Relaxed) }
    }

    /// Notes that the entry of `key` is about to be marked, for a reason that was known at `now`.
    pub(super) fn note(&self, key: &str, now: Moment) {
        if self.lists.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut noted = lock(&self.noted);
        if let Some(at) = noted.keys.get_mut(key) {
            *at = now.max(*at);
        } else if noted.keys.len() < KEYS_MAX {
            noted.keys.insert(key.into(), now);
        } else {
            noted.lost_at = Some(now);
        }
    }

    /// Keeps marks from being noted, and so from being put on entries, while the guard lives.
    pub(super) fn lock(&self) -> MutexGuard<'_, Noted> {
        lock(&self.noted)
    }
}

impl Noted {
    /// Returns whether the entry of `key` may have been marked at `sent_at` or later.
    pub(super) fn has_younger(&self, key: &str, sent_at: Moment) -> bool {
        // A mark of the same moment may be the younger one.
        // mutant: younger_mark
        self.keys.get(key).is_some_and(|at| *at >= sent_at)
            || self.lost_at.is_some_and(|at| at >= sent_at)
    }

    /// Returns whether another list than `list` may have left `key` out at `sent_at` or later. That
    /// list has not found an entry whose key was not in the index yet.
    pub(super) fn is_left_out(&self, key: &str, sent_at: Moment, list: u64) -> bool {
        let is_younger = |other: &LeftOut| other.list != list && other.heard_at >= sent_at;
        self.left_out.iter().any(|other| is_younger(other) && other.range().contains(key))
    }
}

impl KeyRange<'_> {
    pub(super) fn contains(&self, key: &str) -> bool {
        key.starts_with(self.prefix)
            && self.after.is_none_or(|after| key > after)
            && self.last.is_none_or(|last| key <= last)
    }
}

impl LeftOut {
    fn range(&self) -> KeyRange<'_> {
        let (after, last) = (self.after.as_deref(), self.last.as_deref());
        KeyRange { prefix: &self.prefix, after, last }
    }
}

impl ListGuard {
    /// Returns the number of the list.
    pub(super) fn list(&self) -> u64 {
        self.list
    }

    /// Notes that the keys of `range` are about to be marked that the list was known at `heard_at`
    /// not to show, as far as they are noted in the index.
    pub(super) fn note_left_out(&self, range: KeyRange<'_>, heard_at: Moment) {
        // Another list that begins after this sends its request later.
        if self.marks.lists.load(Ordering::SeqCst) < 2 {
            return;
        }
        let mut noted = lock(&self.marks.noted);
        if noted.left_out.len() >= LEFT_OUT_MAX
            && let Some(oldest) = noted.left_out.pop_front()
        {
            noted.lost_at = noted.lost_at.max(Some(oldest.heard_at));
        }
        noted.left_out.push_back(LeftOut {
            list: self.list,
            heard_at,
            prefix: range.prefix.into(),
            after: range.after.map(Into::into),
            last: range.last.map(Into::into),
        });
    }
}

impl Drop for ListGuard {
    fn drop(&mut self) {
        let mut noted = lock(&self.marks.noted);
        // Under the lock: a list that begins meanwhile sends its request after this.
        if self.marks.lists.fetch_sub(1, Ordering::SeqCst) == 1 {
            *noted = Noted::default();
        }
    }
}

/// Beyond this number of marks, no mark is lifted that may be one of the others.
const KEYS_MAX: usize = 16 * 1024;
/// Beyond this number of pages, those that were noted first are taken for marks of any key.
const LEFT_OUT_MAX: usize = 256;

#[cfg(all(test, not(object_cache_loom)))]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Moment {
        Moment::from_nanos(nanos)
    }

    #[test]
    fn marks_are_noted_while_a_list_is_under_way() {
        let marks = Arc::new(Marks::default());
        marks.note("a", at(5));
        let list = marks.begin_list();
        assert!(!marks.lock().has_younger("a", at(5)));
        marks.note("a", at(7));
        marks.note("a", at(6));
        let other = marks.begin_list();
        drop(list);
        assert!(marks.lock().has_younger("a", at(7)) && !marks.lock().has_younger("a", at(8)));
        assert!(!marks.lock().has_younger("b", at(5)));
        drop(other);
        assert!(!marks.lock().has_younger("a", at(5)));
    }

    #[test]
    fn keys_left_out_by_another_list_are_known_by_their_range() {
        let marks = Arc::new(Marks::default());
        let list = marks.begin_list();
        let range = KeyRange { prefix: "a/", after: Some("a/1"), last: Some("a/5") };
        list.note_left_out(range, at(5));
        let other = marks.begin_list();
        let is_left_out = |key, sent_at, list: &ListGuard| {
            marks.lock().is_left_out(key, at(sent_at), list.list())
        };
        assert!(!is_left_out("a/3", 5, &other), "it began later");
        list.note_left_out(range, at(7));
        for (key, sent_at, expected) in
            [("a/3", 7, true), ("a/5", 2, true), ("a/3", 8, false), ("a/1", 7, false)]
        {
            assert_eq!(is_left_out(key, sent_at, &other), expected, "{key} {sent_at}");
        }
        assert!(!is_left_out("a/6", 7, &other) && !is_left_out("b/3", 7, &other));
        assert!(!is_left_out("a/3", 7, &list), "its own");
        for n in 0..2 * LEFT_OUT_MAX as u64 {
            list.note_left_out(KeyRange { prefix: "b/", after: None, last: None }, at(n));
        }
        assert_eq!(marks.lock().left_out.len(), LEFT_OUT_MAX);
        assert!(marks.lock().has_younger("a/3", at(7)));
    }

    #[test]
    fn a_mark_without_room_may_be_that_of_any_key() {
        let marks = Arc::new(Marks::default());
        let _list = marks.begin_list();
        for n in 0..KEYS_MAX {
            marks.note(&n.to_string(), at(1));
        }
        assert!(!marks.lock().has_younger("other", at(1)));
        marks.note("more", at(9));
        assert!(marks.lock().has_younger("other", at(9)));
        assert!(!marks.lock().has_younger("other", at(10)));
    }
}
