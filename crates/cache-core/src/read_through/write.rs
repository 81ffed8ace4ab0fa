//! Writes and invalidations, which raise fences. Each fences its key at its begin and at its end.
//! It runs in a task of its own, so that no backend call is dropped half-way; the caller holds a
//! guard that fences at once if it goes away. An [`OpenWrite`] outlives its task: the caller holds
//! the rest of it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    epochs::Epochs,
    key_state::KeySnapshot,
    key_table::KeyGuard,
    parked::spawn_parked,
    request::{Outcome, Request},
    shared::Shared,
    sweep,
    task_tracker::{TaskToken, runtime},
    timer::{within, within_elsewhere},
    trace::{Cause, in_caller_span},
};
use crate::{
    Attributes, Entry, Error, ErrorKind, Key, Moment, Origin, PutOptions, Result, Storability,
    Validator, Version,
    epoch::Epoch,
    stats::{Count, Op},
    sync::caught,
};

/// An open write of one object by other means than [`Origin::put`] and [`Origin::delete`]: a
/// multipart upload, a copy, one request for many objects. Made by
/// [`ReadThrough::open_write`](super::ReadThrough::open_write).
///
/// While it is open, nothing of the key is cached. Dropping it ends the write, also where the write
/// failed, panicked, or its future was dropped half-way; reads that begin after that get the
/// response to a request that was sent after it. Dropping it needs no runtime. A closed cache does
/// not wait for it.
#[must_use = "the write is over when this is dropped"]
pub struct OpenWrite<V: ?Sized>(Write<V>);

impl<V: ?Sized> OpenWrite<V> {
    /// Returns the key that is written.
    pub fn key(&self) -> &Key {
        &self.0.tracked.key
    }

    /// Ends the write, which has taken effect. On the [bus](crate::ChangeBus), if there is one, it
    /// is announced with the ETag of the new version; `None` if the object was deleted, or if the
    /// ETag is not known. A write that is dropped is announced as one that may have taken effect.
    ///
    /// Waits as long as `announce_within` allows; a dropped future has ended the write.
    pub async fn succeeded(self, e_tag: Option<&str>) {
        let Self(write) = self;
        let shared = Arc::clone(&write.shared);
        let announced = write.end(Some(e_tag));
        wait_for_announcement(&shared, announced).await;
    }

    /// Ends the write, which has surely not taken effect. It is not announced.
    pub fn refused(self) {
        self.0.end(None);
    }
}

impl<V: ?Sized> fmt::Debug for OpenWrite<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenWrite").field(self.key()).finish()
    }
}

pub(super) async fn open<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &str,
) -> Result<OpenWrite<V>> {
    run(shared, key, |mut write, _| async move {
        write.is_announced = true;
        // Runs under the fence that the open write holds until its end.
        // mutant: open_write_drops
        write.drop_held(Count::InvalidatedByWrite).await;
        // If the caller is gone, it ends with the task.
        Ok(OpenWrite(write))
    })
    .await?
    .ok_or_else(|| shared.about(key, not_driven(shared)))
}

pub(super) async fn put<O: Origin + ?Sized>(
    shared: &Arc<Shared<O>>,
    key: &str,
    body: Bytes,
    options: PutOptions,
) -> Result<Version> {
    let (version, announced) = run(shared, key, |mut write, cancelled| async move {
        write.is_announced = true;
        // Runs under the fence of the put, so no older response is published during it.
        // mutant: put_drops
        write.drop_held(Count::InvalidatedByWrite).await;
        let (shared, key) = (Arc::clone(&write.shared), write.tracked.key.clone());
        let sent_at = shared.clock.now();
        let attributes = options.attributes.clone();
        let put = async { shared.origin.put_with(&key, body.clone(), options).await };
        let version = match send(&shared, Op::Put, &key, cancelled, sent_at, put).await {
            Ok(version) => version,
            Err(error) => return Err(write.failed(error)),
        };
        let entry = caught(async { Ok(shared.origin.entry_of_put(&key, body, &version)) }).await;
        if let Ok(entry) = entry {
            let entry = with_attributes(entry, &key, attributes);
            // Another writer may replace the object before the response comes: age counts from
            // sending.
            // mutant: put_validated_at_sending
            write.publish(entry, sent_at).await;
        }
        // Other caches may read as soon as they hear of it: after the origin has acknowledged it.
        // mutant: announces_after_ack
        let announced = write.end(Some(version.e_tag.as_deref()));
        Ok((version, announced))
    })
    .await?
    .ok_or_else(|| shared.about(key, not_driven(shared)))?;
    wait_for_announcement(shared, announced).await;
    Ok(version)
}

/// Returns the same entry with the attributes that were put: the response to a put does not have
/// them, and a later 304 would validate the entry without them.
fn with_attributes(entry: Entry, key: &Key, attributes: Attributes) -> Entry {
    if attributes.is_empty() {
        return entry;
    }
    let builder = Entry::builder(key, entry.body().clone()).version(entry.version());
    builder.storability(entry.storability()).attributes(attributes).build()
}

pub(super) async fn delete<O: Origin + ?Sized>(shared: &Arc<Shared<O>>, key: &str) -> Result<()> {
    let announced = run(shared, key, |mut write, cancelled| async move {
        write.is_announced = true;
        // Runs under the fence of the delete, so no older response is published during it.
        // mutant: delete_drops
        write.drop_held(Count::InvalidatedByWrite).await;
        let (shared, key) = (Arc::clone(&write.shared), write.tracked.key.clone());
        let sent_at = shared.clock.now();
        let delete = async { shared.origin.delete(&key).await };
        match send(&shared, Op::Delete, &key, cancelled, sent_at, delete).await {
            Ok(()) => Ok(write.end(Some(None))),
            Err(error) => Err(write.failed(error)),
        }
    })
    .await?
    .ok_or_else(|| shared.about(key, not_driven(shared)))?;
    wait_for_announcement(shared, announced).await;
    Ok(())
}

/// Waits until the change of a write was announced, as long as the settings allow.
async fn wait_for_announcement<V: ?Sized>(
    shared: &Shared<V>,
    announced: Option<oneshot::Receiver<bool>>,
) {
    let limit = shared.bus.as_ref().and_then(|bus| bus.announce_within);
    if let Some((limit, announced)) = limit.zip(announced) {
        within(limit, announced).await;
    }
}

pub(super) async fn invalidate<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &str,
) -> Result<()> {
    run(shared, key, |mut write, _| async move {
        // Runs under the fence, so a request already in flight cannot bring the entry back.
        // mutant: invalidate_drops
        write.drop_held(Count::InvalidatedByApi).await;
        Ok(())
    })
    .await?;
    Ok(())
}

/// Removes an entry after a response has shown that it must not be served.
pub(super) async fn drop_gone<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &str,
) -> Result<()> {
    run(shared, key, |mut write, _| async move {
        write.drop_held(Count::InvalidatedNotFound).await;
        Ok(())
    })
    .await?;
    Ok(())
}

pub(super) async fn expire<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &str,
) -> Result<()> {
    run(shared, key, |mut write, _| async move {
        // Runs under the fence, so a request already in flight cannot lift the mark.
        // mutant: expire_marks
        write.mark_held().await;
        Ok(())
    })
    .await?;
    Ok(())
}

/// Voids everything at once, then frees the memory in a task. Requests sent before the end are void
/// then: see [`WholeFence`].
///
/// The removed entries are counted under `cause`, and once: not if the backend cannot be called,
/// and not by each of several clears that overlap.
pub(super) async fn clear<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    token: TaskToken,
    cause: Count,
) -> Result<()> {
    let task = Arc::clone(shared);
    void_whole(shared, token, async move {
        let is_counting = task.clearing.try_lock();
        let clear = async {
            // Read after everything is void, so that no entry is stored meanwhile that readers are
            // served.
            let n_copies = task.n_copies();
            task.backend.clear().await.map(|()| n_copies)
        };
        let cleared = task.backend_call(clear).await;
        // Of two clears that overlap only one counts, or each copy is counted twice.
        // mutant: one_clear_counts
        if let (Ok(n_copies), Ok(_)) = (&cleared, is_counting) {
            task.counters.add(cause, *n_copies);
        }
        cleared.map(|_| ())
    })
    .await
}

/// Voids everything at once, then closes the backend in a task.
pub(super) async fn close<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    token: TaskToken,
) -> Result<()> {
    let task = Arc::clone(shared);
    // In an async block, so that a panic is caught also where the call itself does the work.
    let close = async move { task.backend_call(async { task.backend.close().await }).await };
    void_whole(shared, token, close).await
}

async fn void_whole<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    token: TaskToken,
    call: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<()> {
    // A clear fences at its begin and its end: a flight of either side may publish in between.
    // mutant: clear_fences
    shared.epochs.void_all();
    let _end = WholeFence(&shared.epochs);
    let (done, answer) = oneshot::channel();
    let call = async move {
        // If the caller went away, the receiver is gone too.
        let _ = done.send(call.await);
    };
    let runtime = runtime()?;
    token.spawn(&runtime, in_caller_span(call));
    match answered(shared, &runtime, answer).await {
        Some(ended) => ended.unwrap_or_else(|_| Err(lost())),
        None => Err(not_driven(shared)),
    }
}

/// The fence at the end of a `clear`, when it returns or its caller goes away.
struct WholeFence<'a>(&'a Epochs);

impl Drop for WholeFence<'_> {
    fn drop(&mut self) {
        self.0.void_all();
    }
}

/// Runs `body` in a task, between the two fences of a write of `key`: the second is raised when
/// `body` drops the write, by its end at the latest, unless it hands the write to the caller.
///
/// `None` if the task is on a runtime other than its caller's and is not driven: the write is
/// fenced and the cached entry void, as if the caller had gone away.
async fn run<V, T, F, B>(shared: &Arc<Shared<V>>, key: &str, body: F) -> Result<Option<T>>
where
    V: Validator + ?Sized,
    T: Send + 'static,
    F: FnOnce(Write<V>, CancelSignal) -> B + Send + 'static,
    B: Future<Output = Result<T>> + Send + 'static,
{
    let token = shared.tasks.enter()?;
    let runtime = runtime()?;
    sweep::ensure(shared, &runtime);
    let write = Write::begin(shared, key)?;
    let (alive, cancelled) = oneshot::channel();
    let mut caller = CallerGuard {
        shared: Arc::clone(shared),
        tracked: write.tracked.clone(),
        cleared: Arc::clone(&write.cleared),
        ended: false,
        _alive: alive,
    };
    let (done, answer) = oneshot::channel();
    let task = async move {
        // The fence at the end is raised before the caller learns of it.
        let _ = done.send(caught(body(write, cancelled)).await);
    };
    token.spawn(&runtime, in_caller_span(task));
    // If the task was lost with its runtime, or is not driven, the caller's guard fences and voids.
    let Some(result) = answered(shared, &runtime, answer).await else { return Ok(None) };
    let result = result.map_err(|_| shared.about(key, lost()))?;
    caller.ended = true;
    result.map(Some).map_err(|error| shared.about(key, error))
}

/// Returns the result of a task of `runtime`. `None` if it does not come in time while the caller
/// is polled on another runtime.
async fn answered<V: ?Sized, T>(
    shared: &Shared<V>,
    runtime: &Handle,
    answer: oneshot::Receiver<T>,
) -> Option<Result<T, oneshot::error::RecvError>> {
    within_elsewhere(shared.settings.close_limit(), runtime.id(), answer).await
}

/// An open write: only itself may publish an entry of its key.
struct Write<V: ?Sized> {
    shared: Arc<Shared<V>>,
    tracked: KeyGuard,
    snapshot: WriteSnapshot,
    /// The old entry is removed or marked, and no new one is being stored.
    cleared: Arc<AtomicBool>,
    // Set while the backend changes, so a dropped write can tell whether a remove was cut off.
    // mutant: write_fields
    /// The backend is being changed.
    backend_dirty: bool,
    /// It writes to the origin, and other caches are told.
    is_announced: bool,
    /// The fence at the end is raised.
    has_ended: bool,
}

/// The state that a put must find unchanged at its end to publish.
struct WriteSnapshot {
    /// No flight was running, and no other write open.
    clean: bool,
    stamp: KeySnapshot,
    epoch: Epoch,
}

/// Resolves when the caller goes away.
type CancelSignal = oneshot::Receiver<std::convert::Infallible>;

impl<V: ?Sized> Write<V> {
    /// Raises the fence at the begin.
    fn begin(shared: &Arc<Shared<V>>, key: &str) -> Result<Self> {
        let tracked = shared.table.enter(key).map_err(|error| shared.about(key, error))?;
        let mut state = tracked.lock();
        // A flight that began before the write may carry the old version: it must not publish.
        // mutant: write_begin
        state.fence();
        state.writes += 1;
        let snapshot = WriteSnapshot {
            // A put's entry is stored only if no flight or other write overlapped it.
            // mutant: put_is_alone
            clean: state.current.is_none() && state.writes == 1,
            stamp: state.stamp(),
            epoch: shared.epochs.latest(),
        };
        // A parked flight may hold the backend lock.
        let parked = state.request_handoff();
        drop(state);
        spawn_parked(parked);
        // The fence is up from here on; the drop of this value takes it down.
        // mutant: write_new
        Ok(Self {
            shared: Arc::clone(shared),
            tracked,
            snapshot,
            cleared: Arc::default(),
            backend_dirty: false,
            is_announced: false,
            has_ended: false,
        })
    }

    /// Ends the write: raises the fence at the end, and then announces the new version, if it has
    /// taken effect.
    fn end(mut self, e_tag: Option<Option<&str>>) -> Option<oneshot::Receiver<bool>> {
        self.fence();
        e_tag.and_then(|e_tag| self.shared.written(&self.tracked.key, e_tag))
    }

    /// Ends the write, which has failed with `error`.
    fn failed(self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::PermissionDenied
            | ErrorKind::Unauthenticated
            | ErrorKind::InvalidKey
            | ErrorKind::Unsupported => drop(self.end(None)),
            // It may have taken effect. A delete whose answer was lost is repeated, and then there
            // is no object.
            // mutant: announces_unknown
            _ => drop(self.end(Some(None))),
        }
        error
    }

    /// Raises the fence at the end.
    fn fence(&mut self) {
        self.has_ended = true;
        if self.backend_dirty {
            // A backend call was dropped half-way, or panicked: the cached entry is in doubt.
            self.shared.epochs.void_key(self.tracked.key.as_str());
        }
        let mut state = self.tracked.lock();
        // A flight begun during the write may have read the old version: it must not publish.
        // mutant: write_end
        state.fence();
        state.writes -= 1;
    }

    /// Removes the cached entry, and counts it under `cause`.
    async fn drop_held(&mut self, cause: Count) {
        match self.tracked.lock_backend(self.shared.settings.backend_lock_limit()).await {
            Some(_turn) => {
                self.backend_dirty = true;
                let dropped = self.shared.drop_held(&self.tracked.key).await;
                self.shared.count_dropped(dropped, cause);
                self.backend_dirty = false;
            }
            None => self.shared.epochs.void_key(self.tracked.key.as_str()),
        }
        self.cleared.store(true, Ordering::Release);
    }

    /// Marks the cached entry: it has to be revalidated before it is next served.
    async fn mark_held(&mut self) {
        let (shared, key) = (&self.shared, self.tracked.key.as_str());
        let Some(_turn) = self.tracked.lock_backend(shared.settings.backend_lock_limit()).await
        else {
            shared.epochs.void_key(key);
            self.cleared.store(true, Ordering::Release);
            return;
        };
        if let Ok(Some(shown)) = shared.peek(key)
            && !shared.is_own(&shown)
        {
            // Another cache's entry. One that is not at hand may be marked: that costs a request.
            self.cleared.store(true, Ordering::Release);
            return;
        }
        // Before the mark, so that no list lifts it.
        // mutant: notes_marked_stale
        shared.marks.note(key, shared.clock.now());
        // Not by a handle that was looked up: one that is evicted, or on its way from one tier to
        // another, would lose the mark.
        // mutant: marks_every_tier
        if shared.backend_call(async { shared.backend.mark_stale(key).await }).await.is_err() {
            // There may be an entry all the same, and it cannot be marked.
            shared.epochs.void_key(key);
        }
        self.cleared.store(true, Ordering::Release);
    }

    /// Stores the entry of a put, unless anything else happened to the key since the begin.
    async fn publish(&mut self, entry: crate::Entry, sent_at: Moment) {
        if entry.storability() == Storability::NoStore {
            self.shared.count(Count::NoValidator);
            return;
        }
        if entry.key() != self.tracked.key.as_str() {
            // The origin made an entry for another key, which this write does not fence.
            self.shared.count_rejected(self.tracked.key.as_str(), entry.body().len(), None);
            return;
        }
        let entry = entry.unstamped();
        let Some(_turn) =
            self.tracked.lock_backend(self.shared.settings.backend_lock_limit()).await
        else {
            return;
        };
        // Before the check: a caller that goes away later finds that an entry is being stored.
        self.cleared.store(false, Ordering::Release);
        if !self.is_uncontended() {
            self.cleared.store(true, Ordering::Release);
            return;
        }
        let (shared, key) = (&self.shared, &self.tracked.key);
        entry.give_to(shared.settings.identity);
        entry.publish(sent_at, shared.time_to_live(key.as_str()), self.snapshot.epoch);
        self.backend_dirty = true;
        shared.keep(key, entry).await;
        self.backend_dirty = false;
    }

    /// Returns whether during the whole write no flight was running or started, and nothing else
    /// was written or voided: each of these changes the snapshot. Under the backend lock.
    fn is_uncontended(&self) -> bool {
        self.snapshot.clean
            // A write or flight in between means the order at the store is unknown.
            // mutant: put_was_alone
            && self.tracked.lock().stamp() == self.snapshot.stamp
            && !self.shared.epochs.voids(self.tracked.key.as_str(), self.snapshot.epoch)
    }
}

impl<V: ?Sized> Drop for Write<V> {
    /// Raises the fence at the end. A write whose outcome is not known is announced.
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.fence();
        // It may have taken effect.
        // mutant: dropped_is_announced
        if self.is_announced {
            drop(self.shared.written(&self.tracked.key, None));
        }
    }
}

/// The caller of a write. If it goes away before the end, it fences at once: no later read is
/// served an entry that was cached or requested before.
struct CallerGuard<V: ?Sized> {
    shared: Arc<Shared<V>>,
    tracked: KeyGuard,
    cleared: Arc<AtomicBool>,
    ended: bool,
    /// Dropped with the caller, which tells the task.
    _alive: oneshot::Sender<std::convert::Infallible>,
}

impl<V: ?Sized> Drop for CallerGuard<V> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // A dropped write may still reach the store, and its remove may not have run.
        // mutant: dropped_write
        self.tracked.lock().fence();
        if !self.cleared.load(Ordering::Acquire) {
            // The task has yet to remove the entry, or stores one of a write whose outcome is not
            // reported.
            self.shared.epochs.void_key(self.tracked.key.as_str());
        }
    }
}

/// Sends `write`, and drops it when the caller goes away.
async fn send<V: ?Sized, T>(
    shared: &Arc<Shared<V>>,
    op: Op,
    key: &Key,
    cancelled: CancelSignal,
    sent_at: Moment,
    write: impl Future<Output = Result<T>>,
) -> Result<T> {
    let request = async {
        // Counted at its first poll, when it is made.
        let request = Request::send(shared, op, key.as_str(), sent_at, &Cause::caller());
        let answer = request.answer(write).await;
        request.end(Outcome::of_write(&answer), || 0);
        answer
    };
    tokio::select! {
        biased;
        _ = cancelled => {
            Err(Error::new(ErrorKind::Other, "the caller dropped the write; its outcome is \
                unknown"))
        }
        answer = request => answer,
    }
}

fn not_driven<V: ?Sized>(shared: &Shared<V>) -> Error {
    let limit = shared.settings.origin_timeout;
    let message = format!(
        "the runtime that the call began on has not run it for {limit:?} (origin_timeout); \
         its outcome is unknown"
    );
    Error::new(ErrorKind::Timeout, message)
}

fn lost() -> Error {
    Error::new(ErrorKind::Other, "the runtime of the call was shut down; its outcome is unknown")
}
