//! Lists of the wrapped store, page by page, for the validator and for `CachedStore`.
//!
//! object_store yields one object at a time and does not tell where a page ends. Its clients of S3,
//! GCS and Azure send the request for a page when the stream is polled behind the last object of
//! the page before (`stream_paginated`, `try_flatten`), so what a poll returns at once is of a page
//! that has come, and a poll that has to wait has sent a request. That is known of these clients
//! alone: a store of another kind may read ahead, and all of its pages count as requested with the
//! first.

use std::sync::Arc;

use cache_core::{Entry, Observation};
use futures_util::{StreamExt, future::poll_immediate, stream::BoxStream};
use object_store::{ObjectMeta, ObjectStore, Result, path::Path};

use crate::{ValidatorStrength, tag, version::version_of};

/// How a store lists, as far as its kind tells. A wrapper hides the kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ListKind {
    /// It sends the request for a page when it is polled for it.
    pub(crate) is_on_demand: bool,
    /// It lists in the order of the paths' bytes.
    pub(crate) is_ordered: bool,
    /// It skips what lies before an offset without listing it.
    pub(crate) has_offsets: bool,
}

impl ListKind {
    /// Returns that of `store`, by its `Display`.
    pub(crate) fn of(store: &dyn ObjectStore) -> Self {
        let shown = store.to_string();
        let inside = |name: &str| shown.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(bucket) = inside("AmazonS3") {
            // Directory buckets, and access points to them, list in no order.
            // mutant: directory_buckets
            let is_ordered = !bucket.ends_with("--x-s3") && !bucket.ends_with("--xa-s3");
            Self { is_on_demand: true, is_ordered, has_offsets: is_ordered }
        } else if inside("GoogleCloudStorage").is_some() {
            Self { is_on_demand: true, is_ordered: true, has_offsets: true }
        } else if shown.starts_with("MicrosoftAzure {") {
            // An account with a hierarchical namespace lists folder by folder, `a/b` before `a-b`,
            // and its offsets cover one folder; the client does not tell.
            Self { is_on_demand: true, ..Self::default() }
        } else if shown == "InMemory" {
            // The whole list is taken when it is called for.
            Self { is_ordered: true, has_offsets: true, ..Self::default() }
        } else if inside("LocalFileSystem").is_some() {
            Self { has_offsets: true, ..Self::default() }
        } else {
            Self::default()
        }
    }
}

/// A list, page by page.
pub(crate) struct StorePages {
    listed: BoxStream<'static, Result<ObjectMeta>>,
    kind: ListKind,
    /// A poll has had to wait, and so has sent the request for the next page.
    is_requested: bool,
    /// The last path, of an ordered list.
    last: Option<Path>,
}

/// Objects that were received together.
pub(crate) struct StorePage {
    pub(crate) objects: Vec<ObjectMeta>,
    /// Which of them are the markers of folders, in order, as far as that can be told.
    markers: Vec<usize>,
    /// The request for it was sent while it was waited for, not earlier.
    pub(crate) is_requested_when_polled: bool,
    /// The list has ended behind it, or failed; `None` if more may follow.
    pub(crate) end: Option<Result<()>>,
}

impl StorePages {
    /// Returns the pages of `listed`, a list that was not polled yet.
    pub(crate) fn new(listed: BoxStream<'static, Result<ObjectMeta>>, kind: ListKind) -> Self {
        // The first page is waited for as if it were the next one.
        Self { listed, kind, is_requested: false, last: None }
    }

    /// Waits for the next page, which has at most [`PAGE`] objects. Not to be called after the list
    /// has ended.
    ///
    /// A dropped future loses what has come of the page.
    pub(crate) async fn next(&mut self) -> StorePage {
        let was_requested = std::mem::take(&mut self.is_requested);
        let (mut item, has_waited) = match poll_immediate(self.listed.next()).await {
            Some(item) => (item, false),
            None => (self.listed.next().await, true),
        };
        // An object that is there at once is of the page before, which was requested earlier.
        // mutant: requested_when_polled
        let is_requested_when_polled = self.kind.is_on_demand && has_waited && !was_requested;
        let (mut objects, mut markers) = (Vec::<ObjectMeta>::new(), Vec::new());
        // The last object that is no marker.
        let mut last_at: Option<usize> = None;
        let end = loop {
            match item {
                None => break Some(Ok(())),
                Some(Err(error)) => break Some(Err(error)),
                Some(Ok(object)) => {
                    let last = last_at.map(|at| &objects[at].location).or(self.last.as_ref());
                    if self.kind.is_ordered && is_marker(&object, last) {
                        markers.push(objects.len());
                    } else {
                        last_at = Some(objects.len());
                    }
                    objects.push(object);
                }
            }
            // Another poll would request the next page before it is wanted.
            // mutant: whole_pages
            if objects.len() == PAGE {
                break None;
            }
            match poll_immediate(self.listed.next()).await {
                Some(next) => item = next,
                None => {
                    self.is_requested = true;
                    break None;
                }
            }
        };
        if let Some(at) = last_at {
            self.last = Some(objects[at].location.clone());
        }
        StorePage { objects, markers, is_requested_when_polled, end }
    }
}

impl StorePage {
    /// Returns the objects without the markers.
    pub(crate) fn without_markers(&self) -> impl Iterator<Item = &ObjectMeta> {
        let objects = self.objects.iter().enumerate();
        objects.filter(|(at, _)| self.markers.binary_search(at).is_err()).map(|(_, object)| object)
    }
}

/// Returns whether `object`, which follows the one at `last` in an ordered list, is the marker of a
/// folder: an object `a/b/`, which object_store calls `a/b`. It comes where `a/b/` belongs.
fn is_marker(object: &ObjectMeta, last: Option<&Path>) -> bool {
    last.filter(|last| object.location <= **last).is_some_and(|last| {
        // mutant: markers
        object.size == 0 && last.as_ref() < &*format!("{}/", object.location)
    })
}

/// Returns what a list shows of `object`. `size_of` returns the size of the object of an entry.
pub(crate) fn shown_by_list(
    object: &ObjectMeta,
    strength: ValidatorStrength,
    size_of: fn(&Entry) -> Option<u64>,
) -> Observation {
    let mut version = version_of(object);
    if let Some(e_tag) = &mut version.e_tag {
        // A tag that counts as weak renews nothing, also where weak validators are accepted.
        // mutant: lists_weak
        if strength == ValidatorStrength::Weak && !tag::is_weak(e_tag) {
            e_tag.insert_str(0, "W/");
        }
        return Observation::Version(version);
    }
    let (date, size) = (version.last_modified, object.size);
    // There are stores whose lists have no tags, and some no dates.
    Observation::Condition(Arc::new(move |entry: &Entry| {
        size_of(entry) == Some(size)
            && entry.last_modified().zip(date).is_none_or(|(at, date)| tag::is_same_date(at, date))
    }))
}

/// As many objects as a page of S3 or GCS has. Those of Azure have five times as many.
pub(crate) const PAGE: usize = 1000;
