//! The plainest origin.

use std::{
    collections::BTreeMap,
    ops::Bound,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Entry, Error, ErrorKind, Key, ListPage, ListedObject, Listing, Observation, Origin,
    PutCondition, Result, Validation, Validator, Version,
};
use futures_util::{Stream, StreamExt as _};

/// An origin over a map, which answers at once: one request, one answer, each version with an ETag
/// of its own.
///
/// Its lists are in order and in pages of 1,000 objects, each requested when the stream is polled
/// for it. A list without objects has one page. The methods change order and size.
///
/// [`FaultyOrigin`](crate::FaultyOrigin) around it records, holds and spoils its requests.
#[derive(Debug)]
pub struct MemoryOrigin {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<String, (Bytes, String)>,
    written: u64,
    page_size: usize,
    is_ordered: bool,
}

impl MemoryOrigin {
    /// An empty origin.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes an object as another node would: unseen by any cache. Its ETag.
    pub fn write(&self, key: &str, body: impl Into<Bytes>) -> String {
        self.lock().write(key, body.into())
    }

    /// Deletes an object as another node would.
    pub fn erase(&self, key: &str) {
        self.lock().objects.remove(key);
    }

    /// Sets how many objects a page of a list has. Default: 1,000. Zero is taken for one.
    pub fn set_page_size(&self, n: usize) {
        self.lock().page_size = n.max(1);
    }

    /// Sets whether lists that begin from now on are in the order of their keys. Default: true. If
    /// not, they are in the opposite order.
    pub fn list_in_order(&self, is_ordered: bool) {
        self.lock().is_ordered = is_ordered;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Default for MemoryOrigin {
    fn default() -> Self {
        let state =
            State { objects: BTreeMap::new(), written: 0, page_size: 1000, is_ordered: true };
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

#[async_trait]
impl Validator for MemoryOrigin {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let sent = held.and_then(Entry::e_tag);
        Ok(match self.lock().objects.get(key.as_str()) {
            None => Validation::NotFound,
            Some((_, e_tag)) if Some(e_tag.as_str()) == sent => Validation::NotModified,
            Some((body, e_tag)) => Validation::Modified(
                Entry::builder(key, body.clone()).e_tag(e_tag.as_str()).build(),
            ),
        })
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> Listing {
        let is_ordered = self.lock().is_ordered;
        let pages = Pages {
            state: Arc::clone(&self.state),
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
            is_ordered,
            last: None,
            has_ended: false,
        };
        Listing::new(pages.boxed()).ordered(is_ordered)
    }
}

/// A list, each page of which is of the moment at which it is polled for.
struct Pages {
    state: Arc<Mutex<State>>,
    prefix: String,
    after: Option<String>,
    is_ordered: bool,
    /// The last key of the page before.
    last: Option<String>,
    has_ended: bool,
}

impl Pages {
    fn page(&mut self) -> ListPage {
        let state = lock(&self.state);
        let last = self.last.as_deref();
        // In order, all keys before the last one are behind this page.
        let begin = match last.filter(|_| self.is_ordered).max(self.after.as_deref()) {
            Some(after) if after >= self.prefix.as_str() => Bound::Excluded(after),
            _ => Bound::Included(self.prefix.as_str()),
        };
        let keys = state.objects.range::<str, _>((begin, Bound::Unbounded));
        let listed = keys.take_while(|(key, _)| key.starts_with(&self.prefix));
        let n_wanted = state.page_size.saturating_add(1);
        let mut listed: Vec<_> = match self.is_ordered {
            true => listed.take(n_wanted).collect(),
            false => {
                listed.take_while(|(key, _)| last.is_none_or(|last| key.as_str() < last)).collect()
            }
        };
        if !self.is_ordered {
            listed.reverse();
        }
        self.has_ended = listed.len() < n_wanted;
        listed.truncate(state.page_size);
        self.last = listed.last().map(|(key, _)| (*key).clone()).or(self.last.take());
        let objects = listed.into_iter().filter_map(|(key, (body, e_tag))| {
            let size = body.len() as u64;
            let version = Version::default().with_e_tag(Some(e_tag.clone())).with_size(size);
            // An object whose path is no key is left out.
            Some(ListedObject::new(Key::parse(key).ok()?, Observation::Version(version)))
        });
        ListPage::new(objects.collect()).requested_when_polled(true)
    }
}

impl Stream for Pages {
    type Item = Result<ListPage>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(if self.has_ended { None } else { Some(Ok(self.page())) })
    }

    /// As in the answers of a store, a page tells whether it is the last one.
    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.has_ended { (0, Some(0)) } else { (1, None) }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Origin for MemoryOrigin {
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version> {
        let mut state = self.lock();
        let current = state.objects.get(key.as_str()).map(|(_, e_tag)| e_tag);
        let holds = match &condition {
            PutCondition::Absent => current.is_none(),
            PutCondition::Matches(version) => {
                current.is_some() && current == version.e_tag.as_ref()
            }
            _ => true,
        };
        if !holds {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                "the object is at another version",
            ));
        }
        let size = body.len() as u64;
        let e_tag = state.write(key.as_str(), body);
        Ok(Version::default().with_e_tag(Some(e_tag)).with_size(size))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.erase(key.as_str());
        Ok(())
    }
}

impl State {
    fn write(&mut self, key: &str, body: Bytes) -> String {
        self.written += 1;
        let e_tag = format!("\"{}\"", self.written);
        self.objects.insert(key.to_owned(), (body, e_tag.clone()));
        e_tag
    }
}
