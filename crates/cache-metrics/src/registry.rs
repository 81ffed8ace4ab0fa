//! Which caches are exported.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Snapshot, Source, Vocabulary, vocabulary::VOCABULARIES};

/// The caches whose figures are exported. A clone is another handle to the same set.
///
/// Nothing is counted here, and nothing global is installed: each export takes a snapshot of the counters that the caches
/// keep anyway. The caches are held weakly; one whose last handle is gone is not exported any more, and what it has counted
/// since the last export is not seen.
///
/// Two caches of one name are shown apart: the second one as `name#2`, and so on, in the order in which they were added. A
/// name is free again when its cache is gone, and whoever gets it goes on with the totals, which never fall, as if it was
/// the same. (Of names that are not used again the last 256 are remembered.) A cache that is there already is not added
/// again. Two registries know nothing of each other: what both export goes under one name to one recorder or provider.
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
    caches: Mutex<Caches>,
    with_micrometer: bool,
    #[cfg(feature = "metrics")]
    recorded: Mutex<crate::recorder::Recorded>,
}

#[derive(Default)]
struct Caches {
    /// In the order in which they were added.
    live: Vec<Registered>,
    /// Names that are free again, and the totals under them.
    gone: VecDeque<(Arc<str>, Snapshot)>,
}

struct Registered {
    shown_as: Arc<str>,
    source: Source,
    /// The totals of those who had the name before.
    before: Snapshot,
    /// What was last exported.
    last: Snapshot,
}

/// The counters of one cache at one moment, under the name that it is exported by.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Collected {
    /// The value of [`CACHE_NAME`](crate::names::CACHE_NAME). No other cache that lives has it.
    pub name: Arc<str>,
    /// The counters, with those of the caches before it that had the name.
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
        self.forget_gone_of(source.name());
        let mut caches = self.caches();
        if !caches.live.iter().any(|other| other.source.is_same(&source)) {
            let shown_as = caches.free_name(source.name());
            let before = caches.take_gone(&shown_as).unwrap_or_default();
            caches.live.push(Registered { shown_as, source, before, last: before });
        }
    }

    /// A snapshot of each cache that is not gone, in the order in which they were added.
    pub fn collect(&self) -> Vec<Collected> {
        let sources: Vec<_> = self
            .caches()
            .live
            .iter()
            .map(|cache| (Arc::clone(&cache.shown_as), cache.source.clone()))
            .collect();
        // The code of a source runs under no lock.
        let snapshots: Vec<_> =
            sources.iter().map(|(name, source)| (Arc::clone(name), source.snapshot())).collect();
        let mut caches = self.caches();
        let mut collected = Vec::with_capacity(snapshots.len());
        let mut live = 0;
        for (name, snapshot) in snapshots {
            // Others may have gone meanwhile. The order stays.
            let rest = caches.live.get(live..).unwrap_or_default();
            let Some(ahead) = rest.iter().position(|cache| Arc::ptr_eq(&cache.shown_as, &name)) else {
                continue;
            };
            live += ahead;
            let Some(snapshot) = snapshot else {
                caches.bury(live);
                continue;
            };
            let cache = &mut caches.live[live];
            // An older snapshot may come later.
            cache.last = snapshot.after(cache.before).at_least(cache.last);
            collected.push(Collected { name, snapshot: cache.last });
            live += 1;
        }
        drop(caches);
        // Each may be the last handle of what it holds.
        drop(sources);
        collected
    }

    /// The names that the caches are exported under.
    pub fn vocabularies(&self) -> &'static [Vocabulary] {
        if self.inner.with_micrometer { &VOCABULARIES } else { &VOCABULARIES[..1] }
    }

    /// Whether `name` is, or was lately, the name of a cache.
    #[cfg(any(feature = "metrics", feature = "opentelemetry"))]
    pub(crate) fn knows(&self, name: &str) -> bool {
        let caches = self.caches();
        caches.is_live(name) || caches.gone.iter().any(|(gone, _)| &**gone == name)
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn recorded(&self) -> MutexGuard<'_, crate::recorder::Recorded> {
        self.inner.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees the names that begin with `name`, of those that are gone.
    fn forget_gone_of(&self, name: &str) {
        let is_alike = |cache: &&Registered| cache.source.name() == name;
        let alike: Vec<_> =
            self.caches().live.iter().filter(is_alike).map(|cache| cache.source.clone()).collect();
        for source in alike.iter().filter(|source| source.snapshot().is_none()) {
            let mut caches = self.caches();
            if let Some(at) = caches.live.iter().position(|cache| cache.source.is_same(source)) {
                caches.bury(at);
            }
        }
    }

    fn caches(&self) -> MutexGuard<'_, Caches> {
        self.inner.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caches {
    fn is_live(&self, name: &str) -> bool {
        self.live.iter().any(|cache| &*cache.shown_as == name)
    }

    /// `name`, or the first of `name#2`, `name#3`, … that no other cache has.
    fn free_name(&self, name: &str) -> Arc<str> {
        if !self.is_live(name) {
            return name.into();
        }
        let numbered = (2..).map(|n| format!("{name}#{n}")).find(|name| !self.is_live(name));
        numbered.unwrap_or_default().into()
    }

    /// The cache at `at` is gone. Whoever calls has another handle of its source.
    fn bury(&mut self, at: usize) {
        let Registered { shown_as, last, .. } = self.live.remove(at);
        if self.gone.len() == GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.push_back((shown_as, last));
    }

    fn take_gone(&mut self, name: &str) -> Option<Snapshot> {
        let at = self.gone.iter().position(|(gone, _)| &**gone == name)?;
        self.gone.remove(at).map(|(_, totals)| totals)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.caches().live.iter().map(|cache| Arc::clone(&cache.shown_as)).collect();
        f.debug_tuple("Registry").field(&names).finish()
    }
}

/// How many names that are free are remembered with their totals.
const GONE_MAX: usize = 256;
