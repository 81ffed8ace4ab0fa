//! Which caches are exported.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    CacheSnapshot, MetricsSource,
    caches::{Caches, Id},
};

/// The caches whose figures are exported. A clone is another handle to the same set.
///
/// Nothing is counted here, and nothing global is installed: each export takes a snapshot of the
/// counters that the caches keep anyway. The caches are held weakly; one whose last handle is gone
/// is not exported any more, and what it has counted since the last export is not seen.
///
/// Two caches of one name are shown apart: the second one as `name#2`, and so on, in the order in
/// which they were added. A name is free again when its cache is gone, and whoever gets it goes on
/// with the totals, which never fall, as if it was the same. (Of names that are not used again the
/// last 256 are remembered. With more than 8 caches of one name, a dropped one may keep its number
/// until the next export.) A cache that is there already is not added again. Two registries know
/// nothing of each other: what both export goes under one name to one recorder or provider.
///
/// ```
/// use cache_core::Stats;
/// use cache_metrics::{MetricsSource, Registry, Snapshot};
///
/// # let cache = std::sync::Arc::new(Stats::default());
/// # let weak = std::sync::Arc::downgrade(&cache);
/// # let source = MetricsSource::new(&"pages".into(), move || Some(Snapshot::from(*weak.upgrade()?)));
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
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Exports `cache` from now on, until it is dropped: a reference to a cache, or any
    /// [`MetricsSource`].
    ///
    /// Looks for dropped caches among a few of those that are there, and forgets them, so that the
    /// registry stays small without exports too.
    pub fn add(&self, cache: impl Into<MetricsSource>) {
        let source = cache.into();
        if self.caches().has(&source) {
            return;
        }
        // Where there was one, there may be more. Each is found once.
        while self.remove_some_dropped(source.name()) {}
        self.caches().add(source);
    }

    /// Exports `new` in the place of `old`, as when a program reads its configuration anew and
    /// builds a cache of the same name: `new` has the name that `old` was exported by, without a
    /// `#2`, and goes on with its totals, though `old` may live on for readers that it has. What
    /// `old` counts from now on is not exported.
    ///
    /// If the two were built with different names, `old` is removed and `new` is added. If `old` is
    /// not in the registry, `new` is added; if they are one cache, nothing changes.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use cache_core::Stats;
    /// use cache_metrics::{MetricsSource, Registry, Snapshot};
    ///
    /// // In the place of two caches that are called `pages`.
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
        // The code of a source runs under no lock.
        let last = old.snapshot();
        self.caches().replace(&old, last, new);
    }

    /// A snapshot of each cache that is not gone, in the order in which they were added.
    pub fn collect(&self) -> Vec<CacheSnapshot> {
        self.collect_and(|_, _| ()).0
    }

    /// A snapshot of each cache, as [`collect`](Self::collect) takes it, and at the same time the
    /// totals under all other names that are known: of those that are free, and of caches that were
    /// added meanwhile.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn collect_with_others(&self) -> (Vec<CacheSnapshot>, Vec<CacheSnapshot>) {
        self.collect_and(Caches::totals_of_others)
    }

    /// `and` is called under the lock under which the snapshots became totals. It gets the number
    /// that the first cache has for which there is none.
    fn collect_and<T>(&self, and: impl FnOnce(&Caches, Id) -> T) -> (Vec<CacheSnapshot>, T) {
        let (sources, next_id) = self.caches().sources();
        // The code of a source runs under no lock.
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
        // Each may be the last handle of what it holds.
        drop(sources);
        (collected, others)
    }

    /// Whether `name` is, or was lately, the name of a cache.
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

    /// Looks at a few caches, namesakes of a new one first, and removes those that were dropped.
    /// Whether there were any.
    fn remove_some_dropped(&self, name: &str) -> bool {
        let suspects = self.caches().suspects(name);
        // The code of a source runs under no lock, and may be dropped with the last handle of it.
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
