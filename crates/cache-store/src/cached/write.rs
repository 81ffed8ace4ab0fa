//! Writes: what is held of an object is forgotten before the store is asked to write it, and
//! nothing of it is kept until the outcome is there, or will not be known.
//!
//! The head alone needs that: blocks are of a version. Nothing of what is written is kept, so what
//! the store makes of it (a tag, attributes) need not be guessed. The request is the caller's to
//! poll and to drop, as without a cache.

use std::{
    collections::{HashMap, hash_map::Entry as Place},
    fmt, mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use cache_core::{ErrorKind, OpenWrite, Validator};
use futures_util::{FutureExt, Stream, StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, MultipartUpload, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart, path::Path,
};

use super::{
    error::store_error,
    request_counters::{Op, Outcome},
    shared::Shared,
    upstream::Request,
    version::key_of,
};

pub(super) async fn put(
    shared: &Shared,
    location: &Path,
    payload: PutPayload,
    options: PutOptions,
) -> Result<PutResult> {
    // No read after the put may return an older version.
    // mutant: put_fence
    let write = open(shared, location).await?;
    let request = Request::send(&shared.upstream, Op::Put, location);
    let put = request.answer(shared.upstream.store.put_opts(location, payload, options)).await;
    end(write, &put, |put| put.e_tag.as_deref()).await;
    put
}

pub(super) async fn start_multipart(
    shared: &Arc<Shared>,
    location: &Path,
    options: PutMultipartOptions,
) -> Result<Box<dyn MultipartUpload>> {
    let write = open(shared, location).await?;
    let request = Request::send(&shared.upstream, Op::Multipart, location);
    let upload =
        request.answer(shared.upstream.store.put_multipart_opts(location, options)).await?;
    // It is announced when it is completed.
    if let Some(write) = write {
        write.refused();
    }
    let (shared, location) = (Arc::clone(shared), location.clone());
    Ok(Box::new(Upload { shared, location, upload }))
}

pub(super) async fn copy(
    shared: &Shared,
    from: &Path,
    to: &Path,
    options: CopyOptions,
) -> Result<()> {
    // No read of the target after the copy may return an older version.
    // mutant: copy_fence
    let write = open(shared, to).await?;
    let request = Request::send(&shared.upstream, Op::Copy, to);
    let copied = request.answer(shared.upstream.store.copy_opts(from, to, options)).await;
    if let Err(error) = &copied {
        // It may be about `to`, of which nothing is cached now.
        // An error about the source tells that its cached copy may be out of date.
        // mutant: copy_source_error
        shared.hear_error(from, error).await;
    }
    end(write, &copied, |()| None).await;
    copied
}

pub(super) async fn rename(
    shared: &Shared,
    from: &Path,
    to: &Path,
    options: RenameOptions,
) -> Result<()> {
    // A rename changes both of its locations.
    // mutant: rename_fences
    let (from_write, to_write) = (open(shared, from).await?, open(shared, to).await?);
    let request = Request::send(&shared.upstream, Op::Rename, to);
    let renamed = request.answer(shared.upstream.store.rename_opts(from, to, options)).await;
    // A rename that has failed may have copied the object.
    if renamed.is_ok() {
        end(from_write, &renamed, |()| None).await;
        end(to_write, &renamed, |()| None).await;
    }
    renamed
}

pub(super) fn delete_stream(
    shared: &Arc<Shared>,
    locations: BoxStream<'static, Result<Path>>,
) -> BoxStream<'static, Result<Path>> {
    let writes = Arc::new(Writes::default());
    let opened = {
        let (shared, writes) = (Arc::clone(shared), Arc::clone(&writes));
        locations.then(move |location| {
            let (shared, writes) = (Arc::clone(&shared), Arc::clone(&writes));
            async move {
                let opened = match location {
                    // Each location is fenced before its deletion is sent.
                    // mutant: delete_stream_fence
                    Ok(location) => open(&shared, &location).await.map(|write| (location, write)),
                    Err(error) => Err(error),
                };
                let (location, write) = opened.inspect_err(|_| writes.expect_error())?;
                let request = Request::send(&shared.upstream, Op::Delete, &location);
                // The fence is held until the deletion is reported, not only until it is sent.
                // mutant: delete_stream_end
                writes.add(&location, Deletion { request: Some(request), _write: write });
                Ok(location)
            }
        })
    };
    let deleted = Some(shared.upstream.store.delete_stream(opened.boxed()));
    Deletes { deleted, errors: Vec::new(), writes }.boxed()
}

/// Opens a write of the object at `location`. `None` if nothing can be held of it: its path is no
/// key, or the cache was closed.
async fn open(shared: &Shared, location: &Path) -> Result<Option<OpenWrite<dyn Validator>>> {
    match shared.heads.open_write(&key_of(location)).await {
        Ok(write) => Ok(Some(write)),
        Err(error) if matches!(error.kind(), ErrorKind::InvalidKey | ErrorKind::Closed) => Ok(None),
        Err(error) => Err(store_error(location, error)),
    }
}

/// Ends `write`, and announces it unless it has surely not taken effect.
async fn end<T>(
    write: Option<OpenWrite<dyn Validator>>,
    result: &Result<T>,
    e_tag: impl FnOnce(&T) -> Option<&str>,
) {
    let Some(write) = write else { return };
    match result {
        Ok(done) => write.succeeded(e_tag(done)).await,
        Err(
            Error::NotFound { .. }
            | Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::NotSupported { .. }
            | Error::NotImplemented { .. }
            | Error::InvalidPath { .. },
        ) => write.refused(),
        // A request that is repeated after a lost answer fails on the first one's effect.
        Err(_) => drop(write),
    }
}

/// An upload in parts. The object is written when that is begun, for all that is known of the
/// store, and when it is completed or aborted; in between it is read as ever.
struct Upload {
    shared: Arc<Shared>,
    location: Path,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (upstream, location) = (Arc::clone(&self.shared.upstream), self.location.clone());
        let part = self.upload.put_part(data);
        async move { Request::send(&upstream, Op::Multipart, &location).answer(part).await }.boxed()
    }

    // The completion replaces the object, so it is fenced like a put.
    // mutant: complete_fence
    async fn complete(&mut self) -> Result<PutResult> {
        let write = open(&self.shared, &self.location).await?;
        let request = Request::send(&self.shared.upstream, Op::Multipart, &self.location);
        let completed = request.answer(self.upload.complete()).await;
        end(write, &completed, |put| put.e_tag.as_deref()).await;
        completed
    }

    async fn abort(&mut self) -> Result<()> {
        // It may come after a `complete` whose outcome is open.
        let _write = open(&self.shared, &self.location).await?;
        let request = Request::send(&self.shared.upstream, Op::Multipart, &self.location);
        request.answer(self.upload.abort()).await
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("store", &format_args!("{}", self.shared.upstream.store))
            .field("location", &self.location)
            .field("upload", &self.upload)
            .finish_non_exhaustive()
    }
}

/// What a `delete_stream` returns. Each location that went in is a write, which ends when its
/// deletion is reported; an error does not say whose it is, so the writes of those that failed end
/// with the stream.
struct Deletes {
    /// `None` when it has ended.
    deleted: Option<BoxStream<'static, Result<Path>>>,
    /// What came of those that failed, where it is not known whose error it was.
    errors: Vec<Outcome>,
    writes: Arc<Writes>,
}

/// What went in.
#[derive(Default)]
struct Writes {
    /// The deletions that are open; several of one location, if it went in several times.
    open: Mutex<HashMap<Path, Vec<Deletion>>>,
    /// How many errors went in, in the place of a location: they come out, and are no deletion's.
    n_errors: AtomicUsize,
}

/// A location that was handed to the store.
struct Deletion {
    /// `None` if it has failed.
    request: Option<Request>,
    _write: Option<OpenWrite<dyn Validator>>,
}

impl Stream for Deletes {
    type Item = Result<Path>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(deleted) = &mut self.deleted else { return Poll::Ready(None) };
        let result = ready!(deleted.poll_next_unpin(context));
        match &result {
            Some(Ok(location)) => self.writes.end_one(location),
            Some(Err(error)) => {
                let unknown = self.writes.fail_one(error);
                self.errors.extend(unknown);
            }
            None => self.end(),
        }
        Poll::Ready(result)
    }
}

impl Deletes {
    /// The requests first, while their writes are open.
    fn end(&mut self) {
        self.deleted = None;
        self.writes.end_all(mem::take(&mut self.errors));
    }
}

impl Drop for Deletes {
    fn drop(&mut self) {
        self.end();
    }
}

impl Writes {
    fn add(&self, location: &Path, deletion: Deletion) {
        self.lock().entry(location.clone()).or_default().push(deletion);
    }

    fn end_one(&self, location: &Path) {
        let mut writes = self.lock();
        let Place::Occupied(mut open) = writes.entry(location.clone()) else { return };
        let ended = open.get_mut().pop();
        if open.get().is_empty() {
            open.remove();
        }
        drop(writes);
        if let Some(Deletion { request: Some(request), _write }) = ended {
            request.end(None);
        }
    }

    /// Here comes an error that the store will hand on.
    fn expect_error(&self) {
        self.n_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// One has failed. If it is not the only one that it can be, its outcome.
    fn fail_one(&self, error: &Error) -> Option<Outcome> {
        let is_handed_on =
            self.n_errors.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if is_handed_on.is_ok() {
            return None;
        }
        let mut writes = self.lock();
        let mut open = writes.values_mut().flatten().filter(|deletion| deletion.request.is_some());
        let (Some(only), None) = (open.next(), open.next()) else {
            return Some(Outcome::of(error));
        };
        let request = only.request.take();
        drop(writes);
        if let Some(request) = request {
            request.end(Some(error));
        }
        None
    }

    /// An error does not say whose it is: for the figures, anybody's.
    fn end_all(&self, errors: Vec<Outcome>) {
        let ended = mem::take(&mut *self.lock());
        let mut errors = errors.into_iter();
        for Deletion { request, _write } in ended.into_values().flatten() {
            let Some(request) = request else { continue };
            if let Some(outcome) = errors.next() {
                request.end_as(outcome);
            }
        }
    }

    /// No write ends under this lock: it may be the last handle to the cache.
    fn lock(&self) -> MutexGuard<'_, HashMap<Path, Vec<Deletion>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
