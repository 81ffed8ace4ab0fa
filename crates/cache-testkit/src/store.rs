//! An object store that records, waits and fails.

mod fault;
mod record;
#[cfg(test)]
mod tests;

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart, memory::InMemory, path::Path,
};

use self::fault::Plan;
pub use self::{
    fault::{BodyFault, Failure, Fault, TagFault},
    record::{Operation, Outcome, Request},
};
use crate::{
    faults::Faults,
    log::{Line, Log, Ticket},
};

/// An [`ObjectStore`] around another one that records every request, and does to it what its
/// [`Fault`]s say: holds it, fails it, loses its answer, or edits its answer.
///
/// Without faults it behaves as the store it wraps, and shows itself (`Display`) as that store, so
/// that code that goes by the kind of its store treats it the same. A clone is another handle of
/// the same record and faults.
///
/// Each location of a `delete_stream` is a request of its own, made one after the other.
///
/// ```
/// use cache_testkit::{Failure, Fault, FaultyStore, Operation};
/// use object_store::{ObjectStoreExt, path::Path};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = FaultyStore::in_memory();
/// let path = Path::from("a");
/// store.put(&path, "body".into()).await?;
///
/// // The second get fails, the third is held until the test lets it go.
/// store.fault(Fault::error(Failure::Unavailable).on(Operation::Get).once());
/// assert!(store.get(&path).await.is_err());
///
/// store.fault(Fault::hold().on(Operation::Get).once());
/// let held = tokio::spawn({
///     let (store, path) = (store.clone(), path.clone());
///     async move { store.get(&path).await?.bytes().await }
/// });
/// store.wait_until_held(1).await;
/// store.release_all();
/// assert_eq!(held.await??, "body");
///
/// assert_eq!((store.count(), store.gets(), store.body_bytes()), (3, 2, 4));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    log: Log<Request>,
    faults: Arc<Faults<Fault>>,
}

impl FaultyStore {
    /// Wraps `inner`. Nothing is recorded yet and there are no faults.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, log: Log::default(), faults: Arc::default() }
    }

    /// Wraps a new store in memory.
    pub fn in_memory() -> Self {
        Self::new(Arc::new(InMemory::new()))
    }

    /// The wrapped store: what is done to it directly is neither recorded nor faulted, as if
    /// another node did it.
    pub fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.inner
    }

    /// Every request since the start or the last [`reset`](Self::reset), in the order in which they
    /// came.
    pub fn requests(&self) -> Vec<Request> {
        self.log.read(<[Request]>::to_vec)
    }

    /// How many requests there are in the record.
    pub fn count(&self) -> usize {
        self.log.read(<[Request]>::len)
    }

    /// How many of them are [`Operation::Get`].
    pub fn gets(&self) -> usize {
        let is_get = |request: &&Request| request.operation == Operation::Get;
        self.log.read(|requests| requests.iter().filter(is_get).count())
    }

    /// The bytes of object bodies that were given out for the requests in the record.
    pub fn body_bytes(&self) -> u64 {
        self.log.read(|requests| requests.iter().map(|request| request.bytes_delivered).sum())
    }

    /// Empties the record. Requests under way are not recorded any further. Faults and held
    /// requests stay.
    pub fn reset(&self) {
        self.log.reset();
    }

    /// Adds a fault.
    ///
    /// For each request the faults are looked at in the order in which they were added. All that
    /// match a request count, but for these: what comes after an error, a hang or a panic is not
    /// looked at; and of two faults that hold the request at the same point, or edit the same part
    /// of its answer, only the first counts. A fault that does not count is not used up. So a
    /// script is a fault with [`Fault::once`] for each step.
    pub fn fault(&self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Takes every fault away and releases what is held. Requests that hang go on hanging.
    pub fn heal(&self) {
        self.faults.heal();
    }

    /// Waits until at least `n` requests are held (see [`Fault::hold`]) at the same time.
    pub async fn wait_until_held(&self, n: usize) {
        self.faults.wait_until_held(n).await;
    }

    /// Lets the `n` requests go that have been held longest, or all if there are fewer. Holds that
    /// were asked for go on holding later requests.
    pub fn release(&self, n: usize) {
        self.faults.release(n);
    }

    /// Takes every hold away and lets all requests go that are held.
    pub fn release_all(&self) {
        self.faults.release_all();
    }

    /// Records the request and does to it what comes before the wrapped store is asked.
    async fn begin(&self, request: Request) -> Result<(Ticket<Request>, Plan)> {
        let plan = Plan::new(&self.faults, &request);
        let mut ticket = self.log.open(request);
        if plan.hold_early {
            self.faults.hold(plan.since).await;
        }
        if let Some(end) = &plan.end_early {
            let error = end.happen(ticket.request()).await;
            ticket.close(|request| request.outcome = Outcome::Failed(Failure::of(&error)));
            return Err(error);
        }
        ticket.line().update(|request| request.reached_store = true);
        Ok((ticket, plan))
    }

    /// Does to the request what comes after the wrapped store has answered.
    async fn end<T>(
        &self,
        mut ticket: Ticket<Request>,
        plan: &Plan,
        mut answer: Result<T>,
    ) -> Result<T> {
        if plan.hold_late {
            self.faults.hold(plan.since).await;
        }
        if let Some(end) = &plan.end_late {
            answer = Err(end.happen(ticket.request()).await);
        }
        let outcome = match &answer {
            Ok(_) => Outcome::Answered,
            Err(error) => Outcome::Failed(Failure::of(error)),
        };
        ticket.close(|request| request.outcome = outcome);
        answer
    }

    async fn get_edited(
        &self,
        location: &Path,
        options: GetOptions,
        plan: &Plan,
    ) -> Result<GetResult> {
        if !plan.edits_meta() {
            return self.inner.get_opts(location, options).await;
        }
        // The wrapped store knows nothing of the edited tag and date: the conditions are judged
        // here.
        let bare = GetOptions {
            if_match: None,
            if_none_match: None,
            if_modified_since: None,
            if_unmodified_since: None,
            ..options.clone()
        };
        let mut answer = self.inner.get_opts(location, bare).await?;
        plan.edit_meta(&mut answer.meta);
        if options.if_none_match.is_some() && options.if_none_match == answer.meta.e_tag {
            // `check_preconditions` takes a comma in a tag for the end of it.
            return Err(Failure::NotModified.error(location));
        }
        options.check_preconditions(&answer.meta)?;
        Ok(answer)
    }

    async fn delete_one(&self, location: Path) -> Result<Path> {
        let (ticket, plan) = self.begin(Request::new(Operation::Delete, &location)).await?;
        let answer = self.inner.delete(&location).await;
        self.end(ticket, &plan, answer).await?;
        Ok(location)
    }

    fn list_recorded(
        &self,
        prefix: Option<&Path>,
        list: impl FnOnce(&dyn ObjectStore, Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>>
        + Send
        + 'static,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        stream::once(async move {
            let request = Request::new(Operation::List, prefix.as_ref().unwrap_or(&Path::ROOT));
            let (ticket, plan) = store.begin(request).await?;
            let items = list(&store.inner, prefix.as_ref());
            store.end(ticket, &plan, Ok(items)).await
        })
        .try_flatten()
        .boxed()
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore")
            .field("inner", &self.inner)
            .field("requests", &self.count())
            .field("faults", &self.faults.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (ticket, plan) = self.begin(Request::put(location, &payload, &options)).await?;
        let answer = self.inner.put_opts(location, payload, options).await;
        let answer = answer.map(|result| plan.edit_put(result));
        self.end(ticket, &plan, answer).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (ticket, plan) = self.begin(Request::new(Operation::StartMultipart, location)).await?;
        let answer = self.inner.put_multipart_opts(location, options).await;
        let upload = self.end(ticket, &plan, answer).await?;
        Ok(Box::new(FaultyUpload { store: self.clone(), location: location.clone(), upload }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let (ticket, plan) = self.begin(Request::get(location, &options)).await?;
        let answer = self.get_edited(location, options, &plan).await;
        let line = ticket.line().clone();
        let answer = self.end(ticket, &plan, answer).await?;
        if head {
            return Ok(answer);
        }
        let GetResult { range, meta, attributes, extensions, .. } = &answer;
        let (range, meta) = (range.clone(), meta.clone());
        let (attributes, extensions) = (attributes.clone(), extensions.clone());
        if plan.body.is_none() && !matches!(answer.payload, GetResultPayload::Stream(_)) {
            delivered(&line, range.end - range.start);
            return Ok(answer);
        }
        let chunks = match &plan.body {
            Some(fault) => fault.edit(answer.into_stream()),
            None => answer.into_stream(),
        };
        let chunks = chunks.inspect_ok(move |chunk| delivered(&line, chunk.len() as u64)).boxed();
        Ok(GetResult {
            payload: GetResultPayload::Stream(chunks),
            meta,
            range,
            attributes,
            extensions,
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (ticket, plan) = self.begin(Request::new(Operation::GetRanges, location)).await?;
        let answer = self.inner.get_ranges(location, ranges).await;
        let line = ticket.line().clone();
        let answer = self.end(ticket, &plan, answer).await?;
        delivered(&line, answer.iter().map(|part| part.len() as u64).sum());
        Ok(answer)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move { store.delete_one(location?).await }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_recorded(prefix, |inner, prefix| inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let offset = offset.clone();
        self.list_recorded(prefix, move |inner, prefix| inner.list_with_offset(prefix, &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let request = Request::new(Operation::ListWithDelimiter, prefix.unwrap_or(&Path::ROOT));
        let (ticket, plan) = self.begin(request).await?;
        let answer = self.inner.list_with_delimiter(prefix).await;
        self.end(ticket, &plan, answer).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (ticket, plan) = self.begin(Request::new(Operation::Copy, from).to(to)).await?;
        let answer = self.inner.copy_opts(from, to, options).await;
        self.end(ticket, &plan, answer).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (ticket, plan) = self.begin(Request::new(Operation::Rename, from).to(to)).await?;
        let answer = self.inner.rename_opts(from, to, options).await;
        self.end(ticket, &plan, answer).await
    }
}

/// A multipart upload whose every step is a request of the store.
#[derive(Debug)]
struct FaultyUpload {
    store: FaultyStore,
    location: Path,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let store = self.store.clone();
        let request = Request::new(Operation::PutPart, &self.location).with_body(&data);
        // The place of a part is that of its call; the part itself is sent when its future is
        // polled.
        let part = self.upload.put_part(data);
        Box::pin(async move {
            let (ticket, plan) = store.begin(request).await?;
            let answer = part.await;
            store.end(ticket, &plan, answer).await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let request = Request::new(Operation::CompleteMultipart, &self.location);
        let (ticket, plan) = self.store.begin(request).await?;
        let answer = self.upload.complete().await;
        let answer = answer.map(|result| plan.edit_put(result));
        self.store.end(ticket, &plan, answer).await
    }

    async fn abort(&mut self) -> Result<()> {
        let request = Request::new(Operation::AbortMultipart, &self.location);
        let (ticket, plan) = self.store.begin(request).await?;
        let answer = self.upload.abort().await;
        self.store.end(ticket, &plan, answer).await
    }
}

/// Counts what was given out of a body, also after the answer.
fn delivered(line: &Line<Request>, bytes: u64) {
    line.update(|request| request.bytes_delivered += bytes);
}
