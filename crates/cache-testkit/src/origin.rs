//! Origins: one in memory, and one around another that records, waits and fails.

mod fault;
mod memory;
mod record;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Entry, Error, ErrorKind, Key, ListPage, ListedObject, Listing, Origin, PutCondition,
    PutOptions, Result, Storability, Validation, Validator, Version,
};
use futures_util::{
    Stream as _, StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::time::sleep;

use self::fault::{Plan, rebuilt};
pub use self::{
    fault::{OriginFault, PageFault},
    memory::MemoryOrigin,
    record::{OriginOperation, OriginOutcome, OriginRequest},
};
use crate::{
    faults::Faults,
    log::{Log, Ticket},
};

/// An origin or a validator around another one that records every request, and does to it what its
/// [`OriginFault`]s say: delays it, holds it, fails it, loses its answer, edits its answer, or does
/// something else first.
///
/// Without faults it behaves as the one it wraps. That may be any: [`MemoryOrigin`], an
/// `Arc<dyn Origin>`, or cache-store's `EtagValidator`, and so any object store. A store can also
/// be spoiled below its validator, with [`FaultyStore`](crate::FaultyStore) and `S3Server`: there
/// an answer has a length that its body may not have, and a 409 is not a 412.
///
/// ```
/// use std::{future::ready, sync::Arc};
///
/// use cache_core::{ErrorKind, Freshness, ReadThrough};
/// use cache_testkit::{FaultyOrigin, MapBackend, OriginFault, OriginOperation};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let origin = Arc::new(FaultyOrigin::in_memory());
/// origin.inner().write("a", "old");
/// let cache = ReadThrough::builder(Arc::clone(&origin), Arc::new(MapBackend::new())).build()?;
/// let strong = Freshness::strong();
///
/// // The first request fails. Just before the second, somebody else replaces the object.
/// origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
/// let memory = Arc::clone(origin.inner());
/// let replace = move |_: &_| {
///     memory.write("a", "new");
///     ready(())
/// };
/// origin.fault(OriginFault::meanwhile(replace).once());
/// assert!(cache.get("a", Some(&strong)).await.is_err());
/// assert_eq!(cache.get("a", Some(&strong)).await?.entry.body(), "new");
///
/// // The third is held until the test lets it go.
/// origin.fault(OriginFault::hold().on(OriginOperation::Validate).once());
/// let reader = tokio::spawn(async move { cache.get("a", Some(&strong)).await });
/// origin.wait_until_held(1).await;
/// assert!(!origin.requests()[2].reached_origin);
/// origin.release_all();
/// assert_eq!(reader.await??.entry.body(), "new");
/// # Ok(())
/// # }
/// ```
pub struct FaultyOrigin<O: ?Sized> {
    requests: Requests,
    inner: Arc<O>,
}

/// The requests so far, and the faults of those to come. A clone is another handle.
#[derive(Clone, Default)]
struct Requests {
    log: Log<OriginRequest>,
    faults: Arc<Faults<OriginFault>>,
}

impl FaultyOrigin<MemoryOrigin> {
    /// Wraps a new origin in memory.
    pub fn in_memory() -> Self {
        Self::new(Arc::new(MemoryOrigin::new()))
    }
}

impl<O: ?Sized> FaultyOrigin<O> {
    /// Wraps `inner`. Nothing is recorded yet and there are no faults.
    pub fn new(inner: Arc<O>) -> Self {
        Self { requests: Requests::default(), inner }
    }

    /// The wrapped origin: what is done to it directly is neither recorded nor spoiled, as if
    /// another node did it.
    pub fn inner(&self) -> &Arc<O> {
        &self.inner
    }

    /// Every request since the start or the last [`reset`](Self::reset), in the order in which they
    /// came.
    pub fn requests(&self) -> Vec<OriginRequest> {
        self.requests.log.read(<[OriginRequest]>::to_vec)
    }

    /// How many requests there are in the record.
    pub fn count(&self) -> usize {
        self.requests.log.read(<[OriginRequest]>::len)
    }

    /// Empties the record. Requests under way are not recorded any further. Faults and held
    /// requests stay.
    pub fn reset(&self) {
        self.requests.log.reset();
    }

    /// Adds a fault.
    ///
    /// For each request the faults are looked at in the order in which they were added, and happen
    /// in that order. All that match a request count, but for these: what comes after an error, a
    /// hang, a panic or a lingering write is not looked at; and of two faults with the same
    /// constructor at the same point of a request only the first counts. A fault that does not
    /// count is not used up. So a script is a fault with [`OriginFault::once`] for each step.
    pub fn fault(&self, fault: OriginFault) {
        self.requests.faults.add(fault);
    }

    /// Takes every fault away and releases what is held. Requests that hang go on hanging.
    pub fn heal(&self) {
        self.requests.faults.heal();
    }

    /// Waits until at least `n` requests are held (see [`OriginFault::hold`]) at the same time.
    pub async fn wait_until_held(&self, n: usize) {
        self.requests.faults.wait_until_held(n).await;
    }

    /// Lets the `n` requests go that have been held longest, or all if there are fewer. Holds that
    /// were asked for go on holding later requests.
    pub fn release(&self, n: usize) {
        self.requests.faults.release(n);
    }

    /// Takes every hold away and lets all requests go that are held.
    pub fn release_all(&self) {
        self.requests.faults.release_all();
    }
}

impl Requests {
    /// Records the request and does to it what comes before the wrapped origin is asked.
    async fn begin(&self, request: OriginRequest) -> Result<(Ticket<OriginRequest>, Plan)> {
        let plan = Plan::new(&self.faults, &request);
        let mut ticket = self.log.open(request);
        if let Err(error) = plan.happen(EARLY, ticket.request(), &self.faults).await {
            ticket.close(|request| request.outcome = OriginOutcome::Failed(error.kind()));
            return Err(error);
        }
        if plan.linger().is_none() {
            ticket.line().update(|request| request.reached_origin = true);
        }
        Ok((ticket, plan))
    }

    /// Does to the request what comes after the wrapped origin has answered.
    async fn end<T>(
        &self,
        mut ticket: Ticket<OriginRequest>,
        plan: &Plan,
        answer: Result<T>,
        outcome: impl FnOnce(&T) -> OriginOutcome,
    ) -> Result<T> {
        let answer = plan.happen(LATE, ticket.request(), &self.faults).await.and(answer);
        let outcome = match &answer {
            Ok(answer) => outcome(answer),
            Err(error) => OriginOutcome::Failed(error.kind()),
        };
        ticket.close(|request| request.outcome = outcome);
        answer
    }
}

impl<O: Origin + ?Sized> FaultyOrigin<O> {
    /// Has `write` carried out, now or later, and its answer.
    async fn carry_out<T, F>(
        &self,
        ticket: &Ticket<OriginRequest>,
        plan: &Plan,
        write: impl FnOnce(Arc<O>) -> F + Send + 'static,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let inner = Arc::clone(&self.inner);
        let Some(delay) = plan.linger() else { return write(inner).await };
        let line = ticket.line().clone();
        tokio::spawn(async move {
            sleep(delay).await;
            line.update(|request| request.reached_origin = true);
            // Nobody waits for the answer.
            let _ = write(inner).await;
        });
        Err(Error::new(ErrorKind::Timeout, "injected fault: the origin is slow"))
    }
}

impl<O: ?Sized> fmt::Debug for FaultyOrigin<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyOrigin")
            .field("requests", &self.count())
            .field("faults", &self.requests.faults.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<O: Validator + ?Sized> Validator for FaultyOrigin<O> {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let (ticket, plan) = self.requests.begin(OriginRequest::validate(key, held)).await?;
        // The wrapped origin knows nothing of an edited tag: what is held is compared here.
        let known = held.filter(|_| plan.tag().is_none());
        let answer = match self.inner.validate(key, known).await {
            Ok(Validation::Modified(entry)) => {
                plan.edit(key, held.and_then(Entry::e_tag), entry).await
            }
            answer => answer,
        };
        self.requests
            .end(ticket, &plan, answer, |answer| match answer {
                Validation::NotModified => OriginOutcome::Unchanged,
                Validation::Modified(entry) => OriginOutcome::Changed(entry.body().len() as u64),
                _ => OriginOutcome::Gone,
            })
            .await
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> Listing {
        let Listing { pages, is_ordered, .. } = self.inner.list(prefix, after);
        let requests = self.requests.clone();
        let list = FaultyList { requests, prefix: prefix.into(), pages, n_pages: 0, last: vec![] };
        Listing::new(stream::unfold(Some(list), FaultyList::next).boxed()).ordered(is_ordered)
    }
}

/// A list of the wrapped origin, each page of which is a request of its own.
struct FaultyList {
    requests: Requests,
    prefix: String,
    pages: BoxStream<'static, Result<ListPage>>,
    n_pages: usize,
    /// The objects of the page before, as the wrapped origin listed them.
    last: Vec<ListedObject>,
}

impl FaultyList {
    async fn next(list: Option<Self>) -> Option<(Result<ListPage>, Option<Self>)> {
        let mut list = list?;
        // The page before was the last one, and the wrapped origin says so: no request.
        if list.pages.size_hint().1 == Some(0) {
            return None;
        }
        match list.page().await {
            Ok(page) => Some((Ok(page?), Some(list))),
            Err(error) => Some((Err(error), None)),
        }
    }

    async fn page(&mut self) -> Result<Option<ListPage>> {
        let request = OriginRequest::list(&self.prefix, self.n_pages);
        let (ticket, plan) = self.requests.begin(request).await?;
        self.n_pages += 1;
        let mut page = self.pages.next().await.transpose();
        if let Ok(Some(page)) = &mut page {
            let objects = page.objects.clone();
            *page = plan.edit_page(std::mem::take(page), &self.last);
            self.last = objects;
        }
        let n_objects =
            |page: &Option<ListPage>| page.as_ref().map_or(0, |page| page.objects.len());
        self.requests.end(ticket, &plan, page, |page| OriginOutcome::Listed(n_objects(page))).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<O: Origin + ?Sized> Origin for FaultyOrigin<O> {
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version> {
        self.put_with(key, body, condition.into()).await
    }

    async fn put_with(&self, key: &Key, body: Bytes, options: PutOptions) -> Result<Version> {
        let (ticket, plan) =
            self.requests.begin(OriginRequest::put(key, &body, &options.condition)).await?;
        let put = key.clone();
        let write = |inner: Arc<O>| async move { inner.put_with(&put, body, options).await };
        let answer = self.carry_out(&ticket, &plan, write).await;
        let answer = answer.map(|version| plan.edit_version(version));
        self.requests.end(ticket, &plan, answer, |_| OriginOutcome::Done).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let (ticket, plan) = self.requests.begin(OriginRequest::delete(key)).await?;
        let deleted = key.clone();
        let write = |inner: Arc<O>| async move { inner.delete(&deleted).await };
        let answer = self.carry_out(&ticket, &plan, write).await;
        self.requests.end(ticket, &plan, answer, |_| OriginOutcome::Done).await
    }

    fn entry_of_put(&self, key: &Key, body: Bytes, version: &Version) -> Entry {
        let entry = self.inner.entry_of_put(key, body, version);
        let is_weak = version.e_tag.as_deref().is_some_and(|tag| tag.starts_with("W/"));
        if is_weak && entry.storability() == Storability::Revalidatable {
            // The tag may be a fault's: the wrapped origin never gives such a one.
            return rebuilt(&entry, key, entry.body().clone(), version.clone());
        }
        entry
    }
}

const EARLY: bool = false;

const LATE: bool = true;
