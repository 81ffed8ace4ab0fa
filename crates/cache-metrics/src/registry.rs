//! Which caches are exported.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Snapshot, Source, Vocabulary, vocabulary::VOCABULARIES};

/// The caches whose figures are exported. A clone is another handle to the same set.
///
/// Nothing is counted here, and nothing global is installed: each export takes a snapshot of the counters that the caches
/// keep anyway. The caches are held weakly; one whose last handle is gone is not exported any more.
///
/// Two caches of one name are shown apart: the second one as `name#2`, and so on, in the order in which they were added. A
/// name is free again when its cache is gone. A cache that is there already is not added again.
///
/// ```
/// use cache_core::Stats;
/// use cache_metrics::{Registry, Snapshot, Source};
///
/// # let cache = std::sync::Arc::new(Stats::default());
/// # let weak = std::sync::Arc::downgrade(&cache);
/// # let source = Source::new(&"pages".into(), move || Some(Snapshot::from(*weak.upgrade()?)));
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
    caches: Mutex<Vec<Registered>>,
    with_micrometer: bool,
    #[cfg(feature = "metrics")]
    recorded: Mutex<crate::recorder::Recorded>,
}

#[derive(Clone)]
struct Registered {
    shown_as: Arc<str>,
    source: Source,
}

/// The counters of one cache at one moment, under the name that it is exported by.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Collected {
    /// The value of [`CACHE_NAME`](crate::names::CACHE_NAME). While the cache lives it is always the same `Arc`.
    pub name: Arc<str>,
    /// The counters.
    pub snapshot: Snapshot,
}

impl Registry {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty set, whose caches are exported under the names that Micrometer gives to caches as well: see
    /// [`micrometer`](crate::micrometer).
    pub fn with_micrometer_names() -> Self {
        Self { inner: Arc::new(Inner { with_micrometer: true, ..Inner::default() }) }
    }

    /// Exports `cache` from now on, until it is gone: a reference to a cache, or any [`Source`].
    pub fn add(&self, cache: impl Into<Source>) {
        let source = cache.into();
        // Frees the names of those that are gone.
        self.collect();
        let mut caches = self.caches();
        if !caches.iter().any(|other| other.source.is_same(&source)) {
            let shown_as = free_name(&caches, source.name());
            caches.push(Registered { shown_as, source });
        }
    }

    /// A snapshot of each cache that is not gone, in the order in which they were added.
    pub fn collect(&self) -> Vec<Collected> {
        let caches = self.caches().clone();
        // The code of a source runs under no lock.
        let mut collected = Vec::with_capacity(caches.len());
        let mut gone = Vec::new();
        for Registered { shown_as, source } in caches {
            match source.snapshot() {
                Some(snapshot) => collected.push(Collected { name: shown_as, snapshot }),
                None => gone.push(shown_as),
            }
        }
        if !gone.is_empty() {
            let is_live = |cache: &Registered| !gone.iter().any(|name| Arc::ptr_eq(name, &cache.shown_as));
            let mut caches = self.caches();
            let (live, dead): (Vec<_>, Vec<_>) = mem::take(&mut *caches).into_iter().partition(is_live);
            *caches = live;
            drop(caches);
            // Each may be the last handle of what its source holds.
            drop(dead);
        }
        collected
    }

    /// The names that the caches are exported under.
    pub fn vocabularies(&self) -> &'static [Vocabulary] {
        if self.inner.with_micrometer { &VOCABULARIES } else { &VOCABULARIES[..1] }
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn recorded(&self) -> MutexGuard<'_, crate::recorder::Recorded> {
        self.inner.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn caches(&self) -> MutexGuard<'_, Vec<Registered>> {
        self.inner.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.caches().iter().map(|cache| Arc::clone(&cache.shown_as)).collect();
        f.debug_tuple("Registry").field(&names).finish()
    }
}

/// `name`, or the first of `name#2`, `name#3`, … that no other cache has.
fn free_name(caches: &[Registered], name: &str) -> Arc<str> {
    let is_free = |name: &str| !caches.iter().any(|cache| &*cache.shown_as == name);
    if is_free(name) {
        return name.into();
    }
    let numbered = (2..).map(|n| format!("{name}#{n}")).find(|name| is_free(name));
    numbered.unwrap_or_default().into()
}
