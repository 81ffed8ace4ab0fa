//! Reads of many objects by their keys: see
//! [`ReadThrough::get_many`](super::ReadThrough::get_many).
//!
//! A page of a list that begins just before a cached object validates at least that one, for one
//! request, as a request of its own would. It also validates all that follow on the page. How many
//! those are is known only afterwards, so pages are tried, and after each that was not worth its
//! request, more keys are left to requests of their own before the next.
//!
//! Of keys that such a page leaves out, the wanted ones are requested by themselves, and no result
//! of the call depends on the others. So the index of keys is not needed, and nothing is marked
//! that the page does not show.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream, stream::BoxStream};

use super::{
    observe::{ListRequest, Sighting, observe},
    prefix::{OriginPages, get_since},
    served::Served,
    shared::Shared,
};
use crate::{Entry, Key, ListPage, ListedObject, Result, Storability, Validator, tag};

pub(super) fn get<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    mut keys: Vec<Box<str>>,
    parallel: usize,
) -> BoxStream<'static, Result<Served>> {
    keys.sort_unstable();
    keys.dedup();
    let shared = Arc::clone(shared);
    let begin = async move {
        // An entry that was validated after this is as new as the call requires.
        let begun = shared.clock.now();
        let plan = Plan::new(Arc::clone(&shared), keys);
        let keys = stream::unfold(plan, |mut plan| async {
            let keys = plan.next().await?;
            Some((stream::iter(keys), plan))
        });
        let read = move |key: Box<str>| {
            let shared = Arc::clone(&shared);
            async move { get_since(&shared, &key, begun).await }
        };
        keys.flatten().map(read).buffered(parallel.max(1))
    };
    stream::once(begin).flatten().boxed()
}

/// The keys that have not been read yet, in order.
struct Plan<V: ?Sized> {
    shared: Arc<Shared<V>>,
    keys: Vec<Box<str>>,
    /// The places in `keys` of those whose entries a list may renew, the first one last.
    cached: Vec<usize>,
    /// How many keys have been returned.
    n_returned: usize,
    /// How many cached keys are left to requests of their own after the next page that is not
    /// worth its request.
    n_skipped: usize,
    /// How many cached keys ahead the next list reaches.
    reach: usize,
    is_listed: bool,
}

impl<V: Validator + ?Sized> Plan<V> {
    fn new(shared: Arc<Shared<V>>, keys: Vec<Box<str>>) -> Self {
        let is_cached = |place: &usize| shared.is_renewable(&keys[*place]);
        let cached: Vec<_> = (0..keys.len()).rev().filter(is_cached).collect();
        Self { shared, keys, cached, n_returned: 0, n_skipped: 1, reach: 1, is_listed: true }
    }

    /// Returns the next keys, which may be read now; `None` if there are no more.
    async fn next(&mut self) -> Option<Vec<Box<str>>> {
        if self.n_returned == self.keys.len() {
            return None;
        }
        // One page for one key saves nothing.
        if !self.is_listed || self.cached.len() < 2 {
            return Some(self.take(self.keys.len()));
        }
        let n_before = self.cached.len();
        match self.list().await {
            Ok(had_room) if n_before - self.cached.len() >= 2 => {
                self.n_skipped = 1;
                if had_room {
                    self.reach = self.reach.saturating_mul(8);
                }
            }
            Ok(_) => {
                // Otherwise each of many keys that are far apart would cost a page.
                // mutant: skips_sparse
                self.cached.truncate(self.cached.len().saturating_sub(self.n_skipped));
                self.n_skipped = self.n_skipped.saturating_mul(2);
            }
            // The objects are read by themselves, and tell whether the origin fails them too.
            Err(()) => self.is_listed = false,
        }
        let end = self.cached.last().copied().unwrap_or(self.keys.len());
        Some(self.take(end))
    }

    fn take(&mut self, end: usize) -> Vec<Box<str>> {
        let begin = std::mem::replace(&mut self.n_returned, end);
        self.keys[begin..end].iter().map(|key| key.as_ref().into()).collect()
    }

    /// Requests one page, from just before the next cached key, and takes the keys of its range off
    /// `cached`. Returns whether those were all that are below the prefix of the list.
    async fn list(&mut self) -> Result<bool, ()> {
        let shared = &self.shared;
        let n = self.cached.len();
        let first: &str = &self.keys[self.cached[n - 1]];
        let other: &str = &self.keys[self.cached[n.saturating_sub(1 + self.reach)]];
        let folder = common_folder(first, other);
        let before = just_before(first, folder);
        let mut pages = OriginPages::new(&**shared, folder, before.as_deref());
        if !pages.is_ordered {
            return Err(());
        }
        // In this order: marks that are younger than the request are noted.
        let guard = shared.marks.begin_list();
        let request = ListRequest::now(shared, guard.list());
        let page = pages.next(shared, request.sent_at).await.map_err(drop)?;
        let heard_at = shared.clock.now();
        let ListPage { objects, .. } = page.unwrap_or_default();
        let keys = || objects.iter().map(|object| object.key.as_str());
        // A page out of order shows no range.
        if !keys().is_sorted_by(|one, other| one < other)
            || before
                .as_deref()
                .is_some_and(|before| keys().next().is_some_and(|key| key <= before))
        {
            return Err(());
        }
        for ListedObject { key, shown } in &objects {
            observe(shared, key.as_str(), shown, Sighting::listed(heard_at, request)).await;
        }
        let last = objects.last().map(|object| object.key.as_str());
        while let Some(place) = self.cached.last() {
            let key = &self.keys[*place];
            if !key.starts_with(folder) {
                return Ok(true);
            }
            // A later key may be on the next page.
            if last.is_none_or(|last| &**key > last) {
                return Ok(false);
            }
            self.cached.pop();
        }
        Ok(true)
    }
}

impl<V: ?Sized> Shared<V> {
    /// Returns whether a list may renew the entry of `key`, if there is one.
    fn is_renewable(&self, key: &str) -> bool {
        let is_renewable = |entry: &Entry| {
            self.is_own(entry)
                && !entry.is_negative()
                && entry.storability() == Storability::Revalidatable
                && entry.e_tag().is_some_and(|e_tag| !tag::is_weak(e_tag))
                && !self.epochs.is_void(entry)
        };
        match self.peek(key) {
            Ok(Some(entry)) => is_renewable(&entry),
            // It may be in a lower tier.
            Ok(None) => self.has_lower_tier && !self.has_none(key),
            Err(_) => false,
        }
    }
}

/// Returns the longest prefix of both that ends with a slash, or is empty.
fn common_folder<'a>(one: &'a str, other: &str) -> &'a str {
    let pairs = one.char_indices().zip(other.chars());
    let same = pairs.take_while(|((_, one), other)| one == other);
    let slash = same.filter(|((_, one), _)| *one == '/').last();
    slash.map_or("", |((at, _), _)| &one[..=at])
}

/// Returns a key in `folder` that comes before `key`, with few keys between them; `None` if there
/// is none of a simple form.
fn just_before(key: &str, folder: &str) -> Option<String> {
    let last = key.chars().next_back()?;
    let rest = &key[..key.len() - last.len_utf8()];
    let lower = u32::from(last).checked_sub(1).and_then(char::from_u32);
    let lowered = lower.map(|lower| format!("{rest}{lower}"));
    let candidates = [lowered, Some(rest.to_owned())].into_iter().flatten();
    let is_key = |text: &String| text.len() > folder.len() && Key::parse(text).is_ok();
    candidates.filter(|text| text.starts_with(folder)).find(is_key)
}
