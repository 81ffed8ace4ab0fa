//! Lists of the store, which show what is current of many objects by one request.
//!
//! The rules, each of which a model needs (`docs/invariants.md`, I-36 and I-37):
//!
//! 1. A renewal counts from the moment before its page's request was sent. It lifts a mark that is
//!    older than that, and renews nothing that was validated later.
//! 2. An entry of another version is marked, unless its request was sent after the page's answer
//!    came.
//! 3. A page shows each key of its range. An entry that it leaves out is marked, and a flight or
//!    an open write of such a key is fenced.
//! 4. Whatever a page shows of a key, cached or not: a flight whose request was sent before the
//!    answer came takes no more readers, and publishes only if its response has the version that
//!    was shown. An open write of the key publishes nothing.

use std::{collections::HashSet, fmt, hash::BuildHasher, sync::Arc};

use futures_util::{StreamExt as _, stream};

use super::{
    key_index::Generation,
    marks::{KeyRange, ListGuard},
    observe::{ListRequest, Observed, Sighting, observe},
    shared::Shared,
};
use crate::{Key, ListedObject, Moment, Observation, Validator};

/// The part of the keys that a list covers, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListScope {
    /// All keys that begin with it, byte for byte.
    pub prefix: String,
    /// Only keys behind this one, in the order of their bytes.
    pub after: Option<String>,
    /// The store lists keys in the order of their bytes, so that each page shows all keys between
    /// the last one of the page before and its own last one. Otherwise a key is known to be missing
    /// when the list has ended.
    pub is_ordered: bool,
    /// Only keys without another `/` behind the prefix, and the others as common prefixes.
    pub is_shallow: bool,
}

impl ListScope {
    /// Returns the scope of a list of all keys that begin with `prefix`, in any order.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }

    /// Sets that the store lists keys in the order of their bytes. Default: false.
    #[must_use]
    pub fn ordered(mut self, is_ordered: bool) -> Self {
        self.is_ordered = is_ordered;
        self
    }

    /// Sets that only keys behind `key` are listed. Default: `None`.
    #[must_use]
    pub fn after(mut self, key: impl Into<Option<String>>) -> Self {
        self.after = key.into();
        self
    }

    /// Sets that keys with another `/` behind the prefix are shown as common prefixes. Default:
    /// false.
    #[must_use]
    pub fn shallow(mut self, is_shallow: bool) -> Self {
        self.is_shallow = is_shallow;
        self
    }
}

/// A list under way, whose pages the cache takes note of. Made by
/// [`ReadThrough::observe_list`](super::ReadThrough::observe_list).
///
/// Dropped before its [`end`](Self::end), it has taken note of the pages that it was given.
pub struct ObservedList<V: ?Sized> {
    shared: Arc<Shared<V>>,
    scope: ListScope,
    request: ListRequest,
    /// The request before, if the last one may turn out not to have been sent.
    request_before: ListRequest,
    /// The hashes of the keys that were shown since `last`.
    shown: HashSet<u64, foldhash::quality::RandomState>,
    /// The last key of the pages before, on a store that lists in order.
    last: Option<Box<str>>,
    /// The store does not list in order, although it should.
    is_out_of_order: bool,
    /// That of the index of keys when the list began.
    generation: Generation,
    guard: ListGuard,
}

/// Begins a list, whose first request is sent after this has returned.
pub(super) fn begin<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    scope: ListScope,
) -> ObservedList<V> {
    let guard = shared.marks.begin_list();
    let generation = shared.key_index.cover(&scope.prefix, |prefix| {
        // An entry that was stored before may be one that the list leaves out. The list lifts the
        // mark of each that it shows.
        // mutant: marks_unindexed
        if shared.n_entries() > 0 || shared.table.len() > 0 {
            shared.epochs.mark_stale_prefix(prefix);
        }
    });
    let request = ListRequest::now(shared, guard.list());
    ObservedList {
        shared: Arc::clone(shared),
        last: scope.after.as_deref().map(Into::into),
        scope,
        request,
        request_before: request,
        shown: HashSet::default(),
        is_out_of_order: false,
        generation,
        guard,
    }
}

impl<V: Validator + ?Sized> ObservedList<V> {
    /// Returns the moment before the request for the current page was sent.
    pub fn sent_at(&self) -> Moment {
        self.request.sent_at
    }

    /// Takes note that the request for the next page is about to be sent. To be called only where
    /// that is known; otherwise all pages count as requested with the first. Where a poll shows
    /// whether it has sent a request, call it before the poll, and
    /// [`revoke_request`](Self::revoke_request) after one that has not.
    pub fn request_page(&mut self) {
        self.request_before = self.request;
        self.request = ListRequest::now(&self.shared, self.guard.list());
    }

    /// Takes the last [`request_page`](Self::request_page) back: what comes next is of the page
    /// before. Does nothing if it was taken back already.
    pub fn revoke_request(&mut self) {
        self.request = self.request_before;
    }

    /// Takes note of a page as soon as it has come: of its objects, and of its common prefixes,
    /// without the slash at their end, if the list is shallow. No read that begins after this has
    /// returned is served an entry that is older than the page shows.
    ///
    /// A dropped future may have taken note of a part of the page; the rest counts as not shown.
    pub async fn page(&mut self, objects: &[ListedObject], common_prefixes: &[Key]) {
        let heard_at = self.shared.clock.now();
        let (shared, request) = (&self.shared, self.request);
        let mut last: Option<&str> = None;
        for ListedObject { key, shown } in objects {
            let key = key.as_str();
            self.shown.insert(hash(&self.shown, key));
            // A page that does not follow the one before shows no range.
            // mutant: list_order
            let before = last.or(self.last.as_deref());
            if self.scope.is_ordered && before.is_some_and(|before| before >= key) {
                self.is_out_of_order = true;
            }
            last = Some(key);
            observe(shared, key, shown, Sighting::listed(heard_at, request)).await;
        }
        for prefix in common_prefixes {
            // With its slash: an object of the same name may be missing.
            // mutant: common_prefix
            self.shown.insert(hash(&self.shown, &format!("{prefix}/")));
        }
        let last: Option<Box<str>> = last.map(Into::into);
        // Absence within the range of a page is known at once only where lists are in order.
        // mutant: page_range
        if let Some(last) = last
            && self.scope.is_ordered
            && !self.scope.is_shallow
            && !self.is_out_of_order
        {
            self.leave_out(Some(&last), heard_at).await;
            self.shown.clear();
            self.last = Some(last);
        }
    }

    /// Takes note that the list has ended, and that all of its pages were given to
    /// [`page`](Self::page): the keys that it has not shown are missing.
    ///
    /// A dropped future may have taken note of a part of them.
    pub async fn end(self) {
        let heard_at = self.shared.clock.now();
        if self.is_out_of_order {
            // Some of the keys that were shown are not known any more.
            // mutant: marks_out_of_order
            self.shared.epochs.mark_stale_prefix(&self.scope.prefix);
            return;
        }
        self.leave_out(None, heard_at).await;
    }

    /// Takes note of the keys behind `self.last`, up to `last`, that were not shown.
    async fn leave_out(&self, last: Option<&str>, heard_at: Moment) {
        let (shared, scope) = (&self.shared, &self.scope);
        let after = self.last.as_deref();
        let is_left_out = |key: &str| {
            let shown_as = if scope.is_shallow { shallow(key, &scope.prefix) } else { key };
            !self.shown.contains(&hash(&self.shown, shown_as))
        };
        let sighting = Sighting::hint(heard_at);
        let range = KeyRange { prefix: &scope.prefix, after, last };
        // Before the look at the index: another list notes a key before it renews its entry.
        // mutant: notes_left_out
        self.guard.note_left_out(range, heard_at);
        // A key with a flight may have no entry yet.
        // mutant: fences_left_out
        let mut in_flight = shared.table.keys(|key| range.contains(key) && is_left_out(key));
        // So that a simulation repeats to the letter: the table has its own order in each process.
        in_flight.sort_unstable();
        for key in in_flight {
            observe(shared, key.as_str(), &Observation::Absent, sighting).await;
        }
        let Some(cached) = shared.key_index.range(&scope.prefix, after, last, self.generation)
        else {
            // The index was emptied meanwhile.
            shared.epochs.mark_stale_prefix(&scope.prefix);
            return;
        };
        let left_out = cached.into_iter().filter(|(key, _)| is_left_out(key));
        // Those on disk are read together.
        let mut observed = stream::iter(left_out)
            .map(|(key, n)| async move {
                // In this order: a call that is about to store an entry is in the table.
                let has_calls = shared.table.find(&key).is_some();
                let observed = observe(shared, &key, &Observation::Absent, sighting).await;
                if !has_calls && observed == Observed::NoEntry {
                    shared.key_index.remove(&key, n);
                }
            })
            .buffer_unordered(PARALLEL);
        while observed.next().await.is_some() {}
    }
}

impl<V: ?Sized> fmt::Debug for ObservedList<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedList")
            .field("scope", &self.scope)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// The part of `key`, which begins with `prefix`, that a shallow list shows: a common prefix with
/// its slash.
fn shallow<'a>(key: &'a str, prefix: &str) -> &'a str {
    // The slash that the prefix ends with is none.
    let rest = &key[prefix.len()..];
    rest.find('/').map_or(key, |at| &key[..=prefix.len() + at])
}

fn hash(of: &HashSet<u64, foldhash::quality::RandomState>, key: &str) -> u64 {
    of.hasher().hash_one(key.as_bytes())
}

/// How many entries are looked up at a time.
const PARALLEL: usize = 16;
