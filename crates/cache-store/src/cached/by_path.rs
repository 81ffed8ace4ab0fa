//! The fetches in flight, by path, so that readers of the same bytes share one request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use object_store::path::Path;

/// Weak handles to the fetches of each object. A fetch is removed when its last reader drops it.
pub(super) struct ByPath<F> {
    by_path: Mutex<HashMap<Path, Vec<Weak<F>>>>,
}

impl<F> ByPath<F> {
    pub(super) fn new() -> Self {
        Self { by_path: Mutex::default() }
    }

    /// Returns the fetches of the object at `location`.
    pub(super) fn of(&self, location: &Path) -> Vec<Arc<F>> {
        let by_path = self.lock();
        // Each may be the last handle of its fetch, whose drop takes the lock: so they are dropped
        // after it.
        by_path.get(location).into_iter().flatten().filter_map(Weak::upgrade).collect()
    }

    /// Lets others join `fetch`.
    pub(super) fn add(&self, location: &Path, fetch: &Arc<F>) {
        self.lock().entry(location.clone()).or_default().push(Arc::downgrade(fetch));
    }

    /// Returns what `join` makes of the first fetch that it accepts, or else adds `new`.
    pub(super) fn join_or_add<T>(
        &self,
        location: &Path,
        new: &Arc<F>,
        join: impl Fn(&Arc<F>) -> Option<T>,
    ) -> Option<T> {
        let mut by_path = self.lock();
        let fetches = by_path.entry(location.clone()).or_default();
        let others: Vec<_> = fetches.iter().filter_map(Weak::upgrade).collect();
        let found = others.iter().find_map(join);
        if found.is_none() {
            fetches.push(Arc::downgrade(new));
        }
        // Each of the others may be the last handle of its fetch, whose drop takes the lock.
        drop(by_path);
        found
    }

    /// Removes the fetches of the object at `location` that have no readers left.
    pub(super) fn remove_unused(&self, location: &Path) {
        let mut by_path = self.lock();
        if let Some(fetches) = by_path.get_mut(location) {
            fetches.retain(|fetch| fetch.strong_count() > 0);
            if fetches.is_empty() {
                by_path.remove(location);
            }
        }
    }

    /// Returns the number of objects that have a fetch in flight.
    pub(super) fn n_objects(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Path, Vec<Weak<F>>>> {
        self.by_path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
