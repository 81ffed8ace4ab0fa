//! The marks that were put on entries while a list is under way.
//!
//! A list may lift a mark that is older than its request, never a younger one: a younger mark says
//! that the entry may have changed after the list was read. An entry has one bit for its mark, and
//! no room for a moment. So while lists are under way, and only then, each mark is noted here
//! first.

use std::{collections::HashMap, sync::Arc};

use crate::{
    Moment,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
        lock,
    },
};

#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Lists under way.
    lists: AtomicUsize,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Of each key the moment of its latest mark.
    keys: HashMap<Box<str>, Moment>,
    /// When the last mark came that there was no room for.
    lost_at: Option<Moment>,
}

/// A list under way: marks are noted until it is dropped.
#[derive(Debug)]
pub(super) struct ListGuard(Arc<Marks>);

impl Marks {
    /// Has marks noted from now on. The clock is read for the list's first request after this.
    pub(super) fn begin_list(self: &Arc<Self>) -> ListGuard {
        self.lists.fetch_add(1, Ordering::SeqCst);
        ListGuard(Arc::clone(self))
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
}

impl Drop for ListGuard {
    fn drop(&mut self) {
        let mut noted = lock(&self.0.noted);
        // Under the lock: a list that begins meanwhile sends its request after this.
        if self.0.lists.fetch_sub(1, Ordering::SeqCst) == 1 {
            *noted = Noted::default();
        }
    }
}

/// Beyond so many marks, no mark is lifted that may be one of the others.
const KEYS_MAX: usize = 16 * 1024;

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
