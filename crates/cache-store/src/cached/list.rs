//! Lists are the store's own. The cache takes note of each page before its objects are passed on:
//! it renews the heads of the versions that are shown, and marks the others and those of objects
//! that are left out.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use cache_core::{Key, ListScope, ListedObject, ObservedList, Validator};
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use object_store::{ListResult, ObjectMeta, Result, path::Path};

use super::{
    request_counters::Op,
    shared::Shared,
    upstream::{Request, Upstream},
    version::{PREFIX, key_of, prefix_of, size_of},
};
use crate::lists::{ListKind, PAGE, StorePage, StorePages, shown_by_list};

/// Lists as the wrapped store does, and takes note of each page as it comes. An object is passed on
/// after its page was taken note of. The list is called for when it is first polled.
pub(super) fn list(
    shared: &Arc<Shared>,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let lister = Lister {
        shared: Arc::clone(shared),
        scope: scope_of(prefix).ordered(shared.list_kind.is_ordered).after(offset.map(key_of)),
        prefix: prefix.cloned(),
        offset: offset.cloned(),
        pages: None,
        list: None,
        objects: Vec::new().into_iter(),
        error: None,
        has_failed: false,
        has_ended: false,
    };
    stream::unfold(lister, Lister::next).boxed()
}

/// Lists one level as the wrapped store does, and takes note of it.
pub(super) async fn list_with_delimiter(
    shared: &Arc<Shared>,
    prefix: Option<&Path>,
) -> Result<ListResult> {
    let scope = scope_of(prefix).shallow(true);
    let mut list = shared.heads.observe_list(scope.clone());
    let request = Request::send(&shared.upstream, Op::List, prefix.unwrap_or(&Path::ROOT));
    let listed = request.answer(shared.upstream.store.list_with_delimiter(prefix)).await?;
    let folders: Vec<_> =
        listed.common_prefixes.iter().filter_map(|path| Key::parse(&key_of(path)).ok()).collect();
    list.page(&shared.shown(listed.objects.iter(), &scope.prefix), &folders).await;
    list.end().await;
    Ok(listed)
}

/// Returns the heads that a list of `prefix` covers.
fn scope_of(prefix: Option<&Path>) -> ListScope {
    ListScope::new(match prefix {
        // With a slash: the object `a/b` is not below the prefix `a/b`.
        // mutant: list_scope
        Some(prefix) if !prefix.as_ref().is_empty() => prefix_of(&format!("{prefix}/")),
        _ => PREFIX.to_owned(),
    })
}

/// A list that is passed on.
struct Lister {
    shared: Arc<Shared>,
    scope: ListScope,
    prefix: Option<Path>,
    offset: Option<Path>,
    /// `None` before the first poll.
    pages: Option<StorePages>,
    /// The same list as the heads take note of it; `None` before the first poll and after the end.
    list: Option<ObservedList<dyn Validator>>,
    /// The objects of the page that are still to be passed on, and then the error behind them.
    objects: vec::IntoIter<ObjectMeta>,
    error: Option<object_store::Error>,
    has_failed: bool,
    has_ended: bool,
}

impl Lister {
    async fn next(mut self) -> Option<(Result<ObjectMeta>, Self)> {
        loop {
            if let Some(object) = self.objects.next() {
                return Some((Ok(object), self));
            }
            if let Some(error) = self.error.take() {
                return Some((Err(error), self));
            }
            if self.has_ended {
                return None;
            }
            self.page().await;
        }
    }

    /// Waits for the next page, and takes note of it.
    async fn page(&mut self) {
        let Self { shared, scope, prefix, offset, .. } = self;
        let is_first = self.list.is_none();
        let list = self.list.get_or_insert_with(|| shared.heads.observe_list(scope.clone()));
        // The moment is that before the poll that sends the request.
        // mutant: request_before_poll
        list.request_page();
        let pages = self.pages.get_or_insert_with(|| {
            // After the list of the heads has begun: the store in memory lists at once.
            let store = &shared.upstream.store;
            let listed = match offset {
                Some(offset) => store.list_with_offset(prefix.as_ref(), offset),
                None => store.list(prefix.as_ref()),
            };
            let listed = counted(shared, listed, prefix.clone().unwrap_or(Path::ROOT));
            StorePages::new(listed.boxed(), shared.list_kind)
        });
        let page = pages.next().await;
        // A page that was requested earlier is of an earlier moment.
        // mutant: page_requested_earlier
        if !is_first && !page.is_requested_when_polled {
            list.revoke_request();
        }
        // A listed object with another tag has changed.
        // mutant: observes_list
        list.page(&shared.shown(page.without_markers(), &scope.prefix), &[]).await;
        let StorePage { objects, end, .. } = page;
        self.objects = objects.into_iter();
        match end {
            None => {}
            Some(Err(error)) => (self.error, self.has_failed) = (Some(error), true),
            Some(Ok(())) => {
                self.has_ended = true;
                // After an error, an object that was not shown may be there.
                // mutant: ends_whole_lists
                if let Some(list) = self.list.take().filter(|_| !self.has_failed) {
                    list.end().await;
                }
            }
        }
    }
}

impl Shared {
    /// Returns what a list shows of the heads below `prefix`.
    fn shown<'a>(
        &self,
        objects: impl Iterator<Item = &'a ObjectMeta>,
        prefix: &str,
    ) -> Vec<ListedObject> {
        let strength = self.validator.strength();
        let shown = |object: &ObjectMeta| {
            let key = Key::parse(&key_of(&object.location)).ok()?;
            // The marker of the folder itself is called as the object of that name is.
            // mutant: marker_of_prefix
            let is_below = key.as_str().starts_with(prefix);
            is_below.then(|| ListedObject::new(key, shown_by_list(object, strength, size_of)))
        };
        objects.filter_map(shown).collect()
    }
}

/// The same list; each request for a page of it is counted, from the first poll on until something
/// comes, or nothing.
fn counted(
    shared: &Arc<Shared>,
    listed: BoxStream<'static, Result<ObjectMeta>>,
    prefix: Path,
) -> impl Stream<Item = Result<ObjectMeta>> + Send + 'static {
    let ListKind { is_on_demand, .. } = shared.list_kind;
    Pages {
        listed,
        upstream: Arc::clone(&shared.upstream),
        prefix,
        request: None,
        n_listed: None,
        page: if is_on_demand { 1 } else { PAGE },
    }
}

/// A list, page by page as far as that can be seen: a store's client requests the next page when
/// the last one has been read, and then there is nothing for a while.
struct Pages {
    listed: BoxStream<'static, Result<ObjectMeta>>,
    upstream: Arc<Upstream>,
    prefix: Path,
    /// The one for the page that is waited for.
    request: Option<Request>,
    /// How many objects came since the last request; `None` before the first.
    n_listed: Option<usize>,
    /// After this number of objects, waiting tells of a request.
    page: usize,
}

impl Stream for Pages {
    type Item = Result<ObjectMeta>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.n_listed.is_none() {
            self.send();
        }
        match self.listed.poll_next_unpin(context) {
            Poll::Ready(item) => {
                if let Some(request) = self.request.take() {
                    request.end(item.as_ref().and_then(|item| item.as_ref().err()));
                }
                self.n_listed = self.n_listed.map(|n| n + 1);
                Poll::Ready(item)
            }
            Poll::Pending => {
                // A list of an unknown store may also wait for another reason, with every object.
                if self.n_listed >= Some(self.page) {
                    self.send();
                }
                Poll::Pending
            }
        }
    }
}

impl Pages {
    fn send(&mut self) {
        self.request = Some(Request::send(&self.upstream, Op::List, &self.prefix));
        self.n_listed = Some(0);
    }
}
