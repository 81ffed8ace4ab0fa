//! The caches of a registry with their names, and the totals of names that are free again. Each
//! call takes logarithmic time in the number of caches.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{CacheSnapshot, MetricsSource, Snapshot};

/// The number of an addition; later ones are higher.
pub(crate) type Id = u64;

#[derive(Default)]
pub(crate) struct Caches {
    /// In the order in which they were added.
    live: BTreeMap<Id, Box<Registered>>,
    next_id: Id,
    by_shown_name: HashMap<Arc<str>, Id>,
    by_source: HashMap<usize, Id>,
    /// By the name that the caches were built with.
    by_name: HashMap<Box<str>, Namesakes>,
    /// Where the next check for dropped caches among all begins.
    next_suspect: Id,
    /// Free names with their totals, in the order in which they became free.
    former: BTreeMap<Id, (Arc<str>, Box<Snapshot>)>,
    by_former_name: HashMap<Arc<str>, Id>,
}

struct Registered {
    shown_as: Arc<str>,
    source: MetricsSource,
    /// The totals of the earlier caches with the name.
    before: Snapshot,
    /// The last exported snapshot.
    last: Snapshot,
}

/// The caches that were built with the same name.
#[derive(Default)]
struct Namesakes {
    live: BTreeSet<Id>,
    numbers: Numbers,
    /// Where the next check for dropped caches among them begins.
    next_suspect: Id,
}

/// The numbers that distinguish namesakes, from 1 on. A free number is either in `free` and below
/// `end`, or at least `end`; not all of the latter are free.
struct Numbers {
    free: BTreeSet<u64>,
    end: u64,
}

impl Caches {
    /// Adds a cache, unless it is already registered.
    pub(crate) fn add(&mut self, source: MetricsSource) {
        if self.has(&source) {
            return;
        }
        let id = self.next_id();
        let shown_as = self.free_name(source.name());
        let before = self.take_former(&shown_as).unwrap_or_default();
        self.by_shown_name.insert(Arc::clone(&shown_as), id);
        self.by_source.insert(source.address(), id);
        self.by_name.entry(source.name().into()).or_default().live.insert(id);
        self.live
            .insert(id, Box::new(Registered { shown_as, source, before: *before, last: *before }));
    }

    /// Replaces `old`, whose last snapshot is `last`, by `new`; if both were built with the same
    /// name, under the exported name of `old`. The caller keeps another handle of `old`.
    pub(crate) fn replace(
        &mut self,
        old: &MetricsSource,
        last: Option<Snapshot>,
        new: MetricsSource,
    ) {
        let is_other = old.address() != new.address();
        let Some(id) = self.by_source.get(&old.address()).copied().filter(|_| is_other) else {
            return self.add(new);
        };
        if let Some(last) = last {
            self.export(id, last);
        }
        if old.name() != new.name() || self.has(&new) {
            self.remove(id);
            return self.add(new);
        }
        let Some(mut cache) = self.live.remove(&id) else { return };
        // A new number: a snapshot of `old` that arrives later must not count for `new`.
        let id_of_new = self.next_id();
        self.by_source.remove(&old.address());
        self.by_source.insert(new.address(), id_of_new);
        self.by_shown_name.insert(Arc::clone(&cache.shown_as), id_of_new);
        if let Some(namesakes) = self.by_name.get_mut(new.name()) {
            namesakes.live.remove(&id);
            namesakes.live.insert(id_of_new);
        }
        (cache.source, cache.before) = (new, cache.last);
        self.live.insert(id_of_new, cache);
    }

    pub(crate) fn has(&self, source: &MetricsSource) -> bool {
        self.by_source.contains_key(&source.address())
    }

    /// Returns all caches, in the order of their addition, and the number of the next one.
    pub(crate) fn sources(&self) -> (Vec<(Id, MetricsSource)>, Id) {
        (self.live.iter().map(|(id, cache)| (*id, cache.source.clone())).collect(), self.next_id)
    }

    /// Returns the exported totals of the cache `id` after `snapshot`; `None` if it was removed.
    pub(crate) fn export(&mut self, id: Id, snapshot: Snapshot) -> Option<CacheSnapshot> {
        let cache = self.live.get_mut(&id)?;
        // An older snapshot may arrive later.
        cache.last = snapshot.after(cache.before).at_least(cache.last);
        Some(CacheSnapshot { name: Arc::clone(&cache.shown_as), snapshot: cache.last })
    }

    /// Returns a few caches that may have been dropped, different ones with each call: some built
    /// with `name`, and some of all once there are many, so that names that are never used again
    /// are also freed without a collection.
    pub(crate) fn suspects(&mut self, name: &str) -> Vec<(Id, MetricsSource)> {
        let mut ids = Vec::new();
        if let Some(namesakes) = self.by_name.get_mut(name) {
            let (earlier, later) = (
                namesakes.live.range(..namesakes.next_suspect),
                namesakes.live.range(namesakes.next_suspect..),
            );
            ids.extend(later.chain(earlier).take(SUSPECT_NAMESAKES));
            namesakes.next_suspect = ids.last().map_or(0, |last| last + 1);
        }
        if self.live.len() > SUSPECTED_FROM {
            let (earlier, later) =
                (self.live.range(..self.next_suspect), self.live.range(self.next_suspect..));
            let n_namesakes = ids.len();
            ids.extend(later.chain(earlier).map(|(id, _)| *id).take(SUSPECTS));
            self.next_suspect = ids[n_namesakes..].last().map_or(0, |last| last + 1);
        }
        ids.iter().filter_map(|id| Some((*id, self.live.get(id)?.source.clone()))).collect()
    }

    /// Removes the cache `id`, which was dropped: frees its name, and remembers its totals. The
    /// caller keeps another handle of the source, so that it is not dropped under the lock.
    pub(crate) fn remove(&mut self, id: Id) {
        let Some(cache) = self.live.remove(&id) else { return };
        let Registered { shown_as, source, last, .. } = *cache;
        self.by_shown_name.remove(&shown_as);
        self.by_source.remove(&source.address());
        // `a#2` may be the second cache called `a`, or the first one called `a#2`.
        self.release(&shown_as, 1);
        if let Some((name, number)) = shown_as.rsplit_once('#')
            && let Ok(number) = number.parse()
        {
            self.release(name, number);
        }
        if let Some(namesakes) = self.by_name.get_mut(source.name()) {
            namesakes.live.remove(&id);
            if namesakes.live.is_empty() {
                self.by_name.remove(source.name());
            }
        }
        if self.former.len() == FORMER_MAX
            && let Some((_, (name, _))) = self.former.pop_first()
        {
            self.by_former_name.remove(&name);
        }
        let id = self.next_id();
        self.by_former_name.insert(Arc::clone(&shown_as), id);
        self.former.insert(id, (shown_as, Box::new(last)));
    }

    /// Returns the totals of all known names except for those of the caches before `next_id`: the
    /// free names, and those of caches that were added since.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn totals_of_others(&self, next_id: Id) -> Vec<CacheSnapshot> {
        let added = self.live.range(next_id..).map(|(_, cache)| (&cache.shown_as, &cache.last));
        let former = self.former.values().map(|(name, totals)| (name, &**totals));
        let others = added.chain(former);
        others
            .map(|(name, snapshot)| CacheSnapshot { name: Arc::clone(name), snapshot: *snapshot })
            .collect()
    }

    /// Returns whether `name` is the name of a cache, or a free one that is remembered.
    #[cfg(any(feature = "metrics", feature = "opentelemetry"))]
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.by_shown_name.contains_key(name) || self.by_former_name.contains_key(name)
    }

    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.live.values().map(|cache| Arc::clone(&cache.shown_as)).collect()
    }

    /// Returns `name`, or the first of `name#2`, `name#3`, … that no other cache has.
    fn free_name(&mut self, name: &str) -> Arc<str> {
        let numbers = &mut self.by_name.entry(name.into()).or_default().numbers;
        loop {
            let shown_as = match numbers.take() {
                1 => name.into(),
                number => Arc::from(format!("{name}#{number}")),
            };
            // Another cache may have been built with that name.
            if !self.by_shown_name.contains_key(&shown_as) {
                return shown_as;
            }
        }
    }

    fn release(&mut self, name: &str, number: u64) {
        if let Some(namesakes) = self.by_name.get_mut(name) {
            namesakes.numbers.release(number);
        }
    }

    fn take_former(&mut self, name: &str) -> Option<Box<Snapshot>> {
        let id = self.by_former_name.remove(name)?;
        self.former.remove(&id).map(|(_, totals)| totals)
    }

    fn next_id(&mut self) -> Id {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

impl Numbers {
    /// Takes the lowest number that may be free.
    fn take(&mut self) -> u64 {
        self.free.pop_first().unwrap_or_else(|| {
            self.end += 1;
            self.end - 1
        })
    }

    fn release(&mut self, number: u64) {
        if !(1..self.end).contains(&number) {
            return;
        }
        self.free.insert(number);
        // Keeps the set as small as possible.
        while self.free.remove(&(self.end - 1)) {
            self.end -= 1;
        }
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self { free: BTreeSet::new(), end: 1 }
    }
}

/// The number of free names that are remembered with their totals.
const FORMER_MAX: usize = 256;

/// The number of namesakes that adding a cache checks. Up to this many, a name is free as soon as
/// its cache is dropped.
const SUSPECT_NAMESAKES: usize = 8;

/// The number of other caches that adding one checks. As each call adds one cache, there are never
/// many more dropped caches than live ones.
const SUSPECTS: usize = 2;

/// The number of caches up to which those of other names are not checked.
const SUSPECTED_FROM: usize = 64;
