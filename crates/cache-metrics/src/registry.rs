//! The set of exported caches.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    CacheSnapshot, MetricsSource,
    caches::{Caches, Id},
};

/// The caches whose metrics are exported. A clone is another handle to the same set.
///
/// The registry counts nothing and installs nothing global: each export takes a snapshot of the
/// counters that the caches keep anyway. It keeps weak handles. A dropped cache is no longer
/// exported, and its counts since the last export are lost.
///
/// Names are unique within a registry: the second cache with the same name is exported as `name#2`,
/// and so on, in the order in which they were added. When a cache is dropped, its name can be used
/// again; the next cache with that name continues the totals, which never decrease. (The totals of
/// the last 256 unused names are remembered. With more than 8 caches of one name, a dropped one may
/// keep its number until the next export.) Adding a cache twice has no effect. Registries are
/// independent: two that export to the same recorder or provider must not have the same names.
///
/// ```
/// use cache_core::Stats;
/// use cache_metrics::{MetricsSource, Registry, Snapshot};
///
/// # let cache = std::sync::Arc::new(Stats::default());
/// # let weak = std::sync::Arc::downgrade(&cache);
/// # let snapshot = move || Some(Snapshot::from(*weak.upgrade()?));
/// # let source = MetricsSource::new(&"pages".into(), snapshot);
/// let registry = Registry::new();
/// registry.add(source); // Or `&cache`.
/// assert_eq!(registry.collect()[0].name.as_ref(), "pages");
/// # drop(cache);
/// assert!(registry.collect().is_empty());
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    caches: Mutex<Caches>,
    #[cfg(feature = "metrics")]
    recorder_cursors: Mutex<crate::recorder_cursors::RecorderCursors>,
}

impl Registry {
    /// Returns an empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a cache, which is exported until it is dropped. `cache` is a reference to a cache, or
    /// any [`MetricsSource`].
    ///
    /// Each call also checks a few of the registered caches and removes dropped ones, so that the
    /// registry stays small even if it is never exported.
    pub fn add(&self, cache: impl Into<MetricsSource>) {
        let source = cache.into();
        if self.caches().has(&source) {
            return;
        }
        // Where one was dropped, there may be more. Each is found once.
        while self.remove_some_dropped(source.name()) {}
        self.caches().add(source);
    }

    /// Replaces `old` by `new`, for example when a program reloads its configuration and builds a
    /// cache of the same name. `new` is exported under the name of `old`, without a `#2`, and
    /// continues its totals. `old` may live on for its readers, but is no longer exported.
    ///
    /// If the two were built with different names, `old` is removed and `new` is added. If `old` is
    /// not in the registry, `new` is added. If both are the same cache, nothing changes.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use cache_core::Stats;
    /// use cache_metrics::{MetricsSource, Registry, Snapshot};
    ///
    /// // Stands for two caches that are both called `pages`.
    /// let cache = |fresh| {
    ///     let mut stats = Stats::default();
    ///     stats.fresh = fresh;
    ///     MetricsSource::new(&Arc::from("pages"), move || Some(Snapshot::from(stats)))
    /// };
    /// let (old, new) = (cache(7), cache(2));
    /// let registry = Registry::new();
    /// registry.add(old.clone());
    /// registry.replace(old, new);
    /// let exported = registry.collect();
    /// assert_eq!((exported.len(), exported[0].name.as_ref()), (1, "pages"));
    /// assert_eq!(exported[0].snapshot.stats.fresh, 9);
    /// ```
    pub fn replace(&self, old: impl Into<MetricsSource>, new: impl Into<MetricsSource>) {
        let (old, new) = (old.into(), new.into());
        // The code of a source runs without a lock.
        let last = old.snapshot();
        self.caches().replace(&old, last, new);
    }

    /// Takes a snapshot of each cache that has not been dropped, in the order of their addition.
    pub fn collect(&self) -> Vec<CacheSnapshot> {
        self.collect_and(|_, _| ()).0
    }

    /// Takes the snapshots of [`collect`](Self::collect), and at the same time the totals of all
    /// other known names: those of dropped caches, and of caches that were added meanwhile.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn collect_with_others(&self) -> (Vec<CacheSnapshot>, Vec<CacheSnapshot>) {
        self.collect_and(Caches::totals_of_others)
    }

    /// Calls `and` under the lock that turned the snapshots into totals, with the number of the
    /// first cache that has no snapshot.
    fn collect_and<T>(&self, and: impl FnOnce(&Caches, Id) -> T) -> (Vec<CacheSnapshot>, T) {
        let (sources, next_id) = self.caches().sources();
        // The code of a source runs without a lock.
        let snapshots: Vec<_> =
            sources.iter().map(|(id, source)| (*id, source.snapshot())).collect();
        let mut caches = self.caches();
        let mut collected = Vec::with_capacity(snapshots.len());
        for (id, snapshot) in snapshots {
            match snapshot {
                Some(snapshot) => collected.extend(caches.export(id, snapshot)),
                None => caches.remove(id),
            }
        }
        let others = and(&caches, next_id);
        drop(caches);
        // Each may hold the last handle of what it captured.
        drop(sources);
        (collected, others)
    }

    /// Returns whether `name` is, or was lately, the name of a cache.
    #[cfg(any(feature = "metrics", feature = "opentelemetry"))]
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.caches().knows(name)
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn recorder_cursors(
        &self,
    ) -> MutexGuard<'_, crate::recorder_cursors::RecorderCursors> {
        self.inner.recorder_cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks a few caches, those with the name of a new one first, and removes dropped ones.
    /// Returns whether there were any.
    fn remove_some_dropped(&self, name: &str) -> bool {
        let suspects = self.caches().suspects(name);
        // The code of a source runs without a lock, and may be dropped with its last handle.
        let dropped: Vec<_> =
            suspects.iter().filter(|(_, source)| source.snapshot().is_none()).collect();
        let mut caches = self.caches();
        dropped.iter().for_each(|(id, _)| caches.remove(*id));
        !dropped.is_empty()
    }

    fn caches(&self) -> MutexGuard<'_, Caches> {
        self.inner.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.caches().names()).finish()
    }
}
