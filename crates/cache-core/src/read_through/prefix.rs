//! Reads of many objects for one list.

use std::{mem, sync::Arc};

use futures_util::{
    StreamExt as _, future,
    future::poll_immediate,
    stream,
    stream::{BoxStream, Stream},
};

use super::{
    list::{ListScope, ObservedList},
    read,
    request::{Outcome, Request},
    served::{Served, Status},
    shared::Shared,
    trace::Cause,
};
use crate::{
    Error, ErrorKind, Freshness, ListPage, ListedObject, Listing, Moment, Result, Validator,
    stats::Op, sync::caught,
};

/// A page of a list that the cache has taken note of. An item of
/// [`ReadThrough::list`](super::ReadThrough::list).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListedPage {
    /// Its objects, in the order of the origin.
    pub objects: Vec<ListedObject>,
    /// The moment before the request for it was sent.
    pub sent_at: Moment,
}

/// The pages of a list below `prefix`, behind `after`, and whether its keys are in order.
pub(super) struct Pages {
    pub(super) pages: BoxStream<'static, Result<ListedPage>>,
    pub(super) is_ordered: bool,
}

/// Lists and takes note of each page. Requests nothing before it is polled.
pub(super) fn list<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    prefix: &str,
    after: Option<&str>,
) -> Pages {
    let pages = OriginPages::new(shared, prefix, after);
    let is_ordered = pages.is_ordered;
    let scope = ListScope::new(prefix).ordered(is_ordered).after(after.map(str::to_owned));
    let lister = Lister { shared: Arc::clone(shared), scope, pages, list: None };
    Pages { pages: stream::unfold(Some(lister), Lister::next).boxed(), is_ordered }
}

/// Requests the pages of a list, one after the other.
struct Lister<V: ?Sized> {
    shared: Arc<Shared<V>>,
    scope: ListScope,
    pages: OriginPages,
    /// `None` before the first request.
    list: Option<ObservedList<V>>,
}

impl<V: Validator + ?Sized> Lister<V> {
    /// Returns the next page, and what is left; `None` at the end. An error is the last item.
    async fn next(lister: Option<Self>) -> Option<(Result<ListedPage>, Option<Self>)> {
        let mut lister = lister?;
        let shared = Arc::clone(&lister.shared);
        if let Err(error) = shared.tasks.check_open() {
            return Some((Err(error), None));
        }
        let is_first = lister.list.is_none();
        let mut list = match lister.list.take() {
            None => super::list::begin(&shared, lister.scope.clone()),
            Some(mut list) => {
                list.request_page();
                list
            }
        };
        let page = match lister.pages.next(&shared, list.sent_at()).await {
            Ok(Some(page)) => page,
            Ok(None) => {
                list.end().await;
                return None;
            }
            Err(error) => return Some((Err(error), None)),
        };
        let ListPage { objects, is_requested_when_polled } = page;
        // A page that was requested ahead is of an earlier moment.
        // mutant: page_sent_at
        if !is_first && !is_requested_when_polled {
            list.revoke_request();
        }
        list.page(&objects, &[]).await;
        let page = ListedPage { objects, sent_at: list.sent_at() };
        lister.list = Some(list);
        Some((Ok(page), Some(lister)))
    }
}

/// The pages of a list below a prefix, as the origin gives them.
pub(super) struct OriginPages {
    pub(super) prefix: Box<str>,
    pages: BoxStream<'static, Result<ListPage>>,
    pub(super) is_ordered: bool,
    is_first: bool,
}

impl OriginPages {
    /// Lists behind `after`. Requests nothing.
    pub(super) fn new<V: Validator + ?Sized>(
        shared: &Shared<V>,
        prefix: &str,
        after: Option<&str>,
    ) -> Self {
        let listing = match shared.settings.key_prefix.is_empty() {
            true => shared.origin.list(prefix, after),
            // Its keys are not those of the origin.
            false => Listing::unsupported(),
        };
        let Listing { pages, is_ordered } = listing;
        Self { prefix: prefix.into(), pages, is_ordered, is_first: true }
    }

    /// Returns the next page; `None` at the end. Counts a request, unless the page is there without
    /// one.
    pub(super) async fn next<V: Validator + ?Sized>(
        &mut self,
        shared: &Arc<Shared<V>>,
        sent_at: Moment,
    ) -> Result<Option<ListPage>> {
        let at_once = caught(async { Ok(poll_immediate(self.pages.next()).await) }).await;
        // A panic is an answer like another one.
        let at_once = at_once.unwrap_or_else(|panic| Some(Some(Err(panic))));
        let is_first = mem::replace(&mut self.is_first, false);
        let is_requested = match &at_once {
            None => true,
            Some(Some(Ok(page))) => is_first || page.is_requested_when_polled,
            Some(Some(Err(_))) => true,
            Some(None) => is_first,
        };
        let answer = if is_requested {
            let request = Request::send(shared, Op::List, &self.prefix, sent_at, &Cause::caller());
            let answer = request
                .answer(async {
                    match at_once {
                        Some(page) => page.transpose(),
                        None => self.pages.next().await.transpose(),
                    }
                })
                .await;
            request.end(Outcome::of_write(&answer), || 0);
            answer
        } else {
            at_once.flatten().transpose()
        };
        let mut page = answer?;
        if let Some(page) = &mut page {
            page.objects.retain(|object| object.key.as_str().starts_with(&*self.prefix));
        }
        Ok(page)
    }
}

/// Reads all objects below `prefix`: see
/// [`ReadThrough::get_prefix`](super::ReadThrough::get_prefix).
pub(super) fn get<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    prefix: &str,
    parallel: usize,
) -> BoxStream<'static, Result<Served>> {
    let (shared, prefix) = (Arc::clone(shared), prefix.to_owned());
    let begin = async move {
        // An entry that was validated after this is as new as the call requires.
        let begun = shared.clock.now();
        let Pages { pages, is_ordered } = list(&shared, &prefix, None);
        let objects = match is_ordered {
            true => in_order(pages).boxed(),
            false => sorted(pages).await,
        };
        let read = move |object: Result<ListedObject>| {
            let shared = Arc::clone(&shared);
            async move {
                match get_since(&shared, object?.key.as_str(), begun).await {
                    // It was deleted after it was listed.
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                    read => read.map(Some),
                }
            }
        };
        let read = objects.map(read).buffered(parallel.max(1));
        read.filter_map(|read| future::ready(read.transpose()))
    };
    stream::once(begin).flatten().boxed()
}

/// See [`ReadThrough::get_since`](super::ReadThrough::get_since).
pub(super) async fn get_since<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &str,
    since: Moment,
) -> Result<Served> {
    match get_if_validated_since(shared, key, since).await {
        Some(served) => served,
        None => read::get(shared, key, Some(&Freshness::strong()), None).await,
    }
}

/// See [`ReadThrough::get_if_validated_since`](super::ReadThrough::get_if_validated_since).
pub(super) async fn get_if_validated_since<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &str,
    since: Moment,
) -> Option<Result<Served>> {
    let looked_up = shared.look_up(key).await;
    let cached = looked_up.entry.filter(|entry| {
        !entry.is_negative()
            && !entry.must_revalidate()
            // An entry that was validated before the call may be older than the call allows.
            // mutant: validated_since
            && entry.validated_at().is_some_and(|at| at >= since)
            && shared.is_valid(entry)
    });
    let entry = cached?;
    if let Err(error) = shared.tasks.check_open() {
        return Some(Err(error));
    }
    let (now, _) = shared.clock.coarse_bounds();
    let validated_at = entry.validated_at();
    let read = Ok(Served::new(entry, Status::RevalidatedByList, looked_up.tier, validated_at, now));
    shared.count_read(&read);
    Some(read)
}

/// The objects of an ordered list; an error if they are not in order, as each is to come once.
fn in_order(
    pages: BoxStream<'static, Result<ListedPage>>,
) -> impl Stream<Item = Result<ListedObject>> + Send {
    let mut last = None;
    let objects = pages.flat_map(|page| {
        let (objects, error) = match page {
            Ok(page) => (page.objects, None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        stream::iter(objects.into_iter().map(Ok).chain(error))
    });
    let checked = objects.map(move |object: Result<ListedObject>| {
        let object = object?;
        if last.as_ref().is_some_and(|last| *last >= object.key) {
            return Err(out_of_order().with_key(&object.key));
        }
        last = Some(object.key.clone());
        Ok(object)
    });
    until_error(checked)
}

/// The objects of a list in any order, sorted, each once. Requests all pages first.
async fn sorted(
    mut pages: BoxStream<'static, Result<ListedPage>>,
) -> BoxStream<'static, Result<ListedObject>> {
    let mut objects = Vec::new();
    let mut error = None;
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) => objects.extend(page.objects),
            Err(failed) => error = Some(Err(failed)),
        }
    }
    objects.sort_unstable_by(|one: &ListedObject, other| one.key.cmp(&other.key));
    objects.dedup_by(|one, other| one.key == other.key);
    stream::iter(objects.into_iter().map(Ok).chain(error)).boxed()
}

/// The items up to the first error.
fn until_error<T>(items: impl Stream<Item = Result<T>>) -> impl Stream<Item = Result<T>> {
    let mut has_failed = false;
    items.take_while(move |item| {
        let goes_on = !mem::replace(&mut has_failed, item.is_err());
        future::ready(goes_on)
    })
}

fn out_of_order() -> Error {
    let message = "the store lists its objects out of order, or one of them twice, although its \
        kind lists in order; read the objects by their keys";
    Error::new(ErrorKind::Other, message)
}
