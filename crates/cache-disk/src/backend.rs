//! The backend of a cache with a disk tier.

use std::{
    fmt, io,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Admission, Backend, Entry, Error, ErrorKind, LowerTier, Moment, Rejection, Result, TierContext,
    TierState, TierStats, Usage, within,
};

use crate::{
    engine::Engine,
    files::Files,
    health::Phase,
    settings::{Checked, DiskTier},
    writer::Writer,
};

/// A memory backend with a tier on disk below it.
///
/// `get_now` and `peek` show the entries in memory; `get` reads from disk and puts the entry into
/// memory.
/// An insert never waits for the disk, except under a pinned prefix, where it waits for room in the
/// queue. Entries of the same process come back from disk as fresh as they were; those of an
/// earlier one have no stamp, and are revalidated before they are served. While the tier is
/// starting, or off after an error, it shows nothing and the cache works without it.
///
/// `memory` has to allow calls that change one key at the same time; the backends of `cache-policy`
/// do. If it does not tell what it evicts ([`Backend::on_eviction`]),
/// [`DiskAdmission::OnReuse`](crate::DiskAdmission::OnReuse) is the same as `Always`.
///
/// [`usage`](Backend::usage) is memory's; [`lower_tier`](Backend::lower_tier) has the tier's.
///
/// When it is dropped without [`close`](Backend::close), the entries that wait to be written
/// are written, but not those that only memory has. Dropping waits for that, for up to 2 s.
pub struct TieredBackend<M> {
    memory: M,
    engine: Arc<Engine>,
    /// Memory tells what it evicts.
    memory_tells: bool,
    looks_at_use: bool,
    has_thread: bool,
    closing: tokio::sync::Mutex<()>,
}

impl<M: Backend> TieredBackend<M> {
    /// Opens the tier's directory, and puts the tier under `memory`. Entries that earlier
    /// processes have written are found in the background.
    ///
    /// # Errors
    ///
    /// `Config` if a setting is wrong, or the directory cannot be used: it cannot be made or
    /// written, is in use by another cache, is not private, or was written by a newer release.
    pub fn new(memory: M, tier: &DiskTier, context: TierContext) -> Result<Self> {
        let path = tier.path();
        let settings = tier.clone().check()?;
        let files = tier.open_directory()?;
        let (mut backend, writer) = Self::with_files(memory, settings, context, files)?;
        let thread = thread::Builder::new().name("cache-disk".into());
        thread.spawn(move || writer.run()).map_err(|error| {
            Error::new(
                ErrorKind::Config,
                format!("the thread that writes to {path:?} cannot start"),
            )
            .with_source(error)
        })?;
        backend.has_thread = true;
        Ok(backend)
    }

    pub(crate) fn with_files(
        memory: M,
        settings: Checked,
        context: TierContext,
        files: Arc<dyn Files>,
    ) -> Result<(Self, Writer)> {
        let looks_at_use = settings.rules.look_at_use();
        let unreadable = |error: io::Error| {
            Error::new(ErrorKind::Config, "the disk tier's directory cannot be read")
                .with_source(error)
        };
        let engine = Arc::new(Engine::new(files, settings, context).map_err(unreadable)?);
        let listener = Arc::clone(&engine);
        let memory_tells = memory.on_eviction(Arc::new(move |entry| listener.push_evicted(entry)));
        let writer = Writer::new(Arc::clone(&engine));
        let closing = tokio::sync::Mutex::default();
        let has_thread = false;
        let backend = Self { memory, engine, memory_tells, looks_at_use, has_thread, closing };
        Ok((backend, writer))
    }

    /// Returns the memory backend.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Returns the state of the tier.
    pub fn state(&self) -> TierState {
        self.engine.health.state()
    }

    fn is_open(&self) -> bool {
        self.engine.health.phase() < Phase::Closing
    }

    fn stored(&self, entry: &Entry, in_memory: Admission) -> Admission {
        if !in_memory.is_stored() && self.engine.evicted(entry) {
            return Admission::stored();
        }
        in_memory
    }

    /// Waits until there is room to write `entry`, if it is pinned. Returns whether there is.
    async fn wait_for_room(&self, entry: &Entry) -> bool {
        if !self.engine.is_pinned(entry) {
            return true;
        }
        let room = async {
            loop {
                let notified = self.engine.index.live.room.notified();
                if self.engine.has_room_for(entry) {
                    return;
                }
                notified.await;
            }
        };
        // A disk that hangs must not hang the caller.
        within(ROOM_LIMIT, room).await.is_some()
    }
}

#[async_trait]
impl<M: Backend> Backend for TieredBackend<M> {
    #[inline]
    fn get_now(&self, key: &str) -> Option<Entry> {
        let entry = self.memory.get_now(key)?;
        if self.looks_at_use {
            entry.note_use();
        }
        Some(entry)
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        self.memory.peek(key)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let found = self.engine.get(key, &self.memory, self.memory_tells).await;
        self.engine.settle_evicted();
        Ok(found)
    }

    fn insert_now(&self, entry: Entry) -> Result<Admission, Entry> {
        if !self.is_open() {
            return Err(entry);
        }
        if self.engine.is_pinned(&entry) && !self.engine.has_room_for(&entry) {
            return Err(entry);
        }
        // The index first: an older record is not promoted from here on.
        // mutant: disk_index_first
        self.engine.store(&entry, self.memory_tells, true);
        let admission = self.memory.insert_now(entry.clone());
        self.engine.settle_evicted();
        match admission {
            Ok(admission) => Ok(self.stored(&entry, admission)),
            Err(entry) => {
                // It is not stored, so no look-up shows it.
                self.engine.forget(self.engine.hash(entry.key()));
                Err(entry)
            }
        }
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        let had_room = self.wait_for_room(&entry).await;
        if !self.is_open() {
            self.remove(entry.key()).await?;
            return Ok(Admission::rejected(Rejection::Unavailable));
        }
        self.engine.store(&entry, self.memory_tells, had_room);
        let admission = self.memory.insert(entry.clone()).await;
        self.engine.settle_evicted();
        Ok(self.stored(&entry, admission?))
    }

    fn contains(&self, key: &str) -> Option<bool> {
        match self.memory.contains(key) {
            Some(true) => Some(true),
            _ if self.engine.contains(key) => Some(true),
            in_memory => in_memory,
        }
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        let was_on_disk = self.engine.forget(self.engine.hash(key));
        let was_in_memory = self.memory.remove(key).await;
        self.engine.settle_evicted();
        Ok(was_in_memory? || was_on_disk)
    }

    async fn mark_stale(&self, key: &str) -> Result<()> {
        self.engine.mark_stale(key, &self.memory);
        Ok(())
    }

    fn renewed(&self, entry: &Entry) {
        self.engine.renewed(entry, &self.memory);
    }

    async fn clear(&self) -> Result<()> {
        self.engine.clear();
        let cleared = self.memory.clear().await;
        self.engine.settle_evicted();
        cleared
    }

    async fn close(&self) -> Result<()> {
        // Nothing is stored or promoted from here on.
        self.engine.health.advance(Phase::Closing);
        // A concurrent call would end the writer while this one still queues entries.
        let closing = self.closing.lock().await;
        let closed = self.memory.close().await;
        self.write_evicted().await;
        drop(closing);
        self.engine.end_writer();
        let ended = async {
            loop {
                let notified = self.engine.ended.notified();
                if self.engine.has_ended() {
                    return;
                }
                notified.await;
            }
        };
        if within(CLOSE_LIMIT, ended).await.is_none() {
            let what = "the disk does not answer: entries that wait to be written may be lost";
            return Err(Error::new(ErrorKind::Backend, what));
        }
        closed
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        self.engine.sweep(now);
        let swept = self.memory.sweep(now).await;
        self.engine.settle_evicted();
        swept
    }

    fn usage(&self) -> Usage {
        self.memory.usage()
    }

    fn negative_entries(&self) -> u64 {
        self.memory.negative_entries()
    }

    fn lower_tier(&self) -> Option<TierStats> {
        Some(self.engine.stats())
    }
}

impl<M: Backend> TieredBackend<M> {
    /// Queues the entries that memory had when it was closed, as fast as they are written.
    async fn write_evicted(&self) {
        while let Some(entry) = self.engine.next_evicted() {
            let room = async {
                loop {
                    let notified = self.engine.index.live.room.notified();
                    let is_empty = self.engine.index.live.waiting.load(Ordering::Relaxed) == 0;
                    let is_off = self.engine.health.off_until().is_some();
                    if is_empty || is_off || self.engine.has_room_beside(&entry) {
                        return;
                    }
                    notified.await;
                }
            };
            if within(CLOSE_LIMIT, room).await.is_none() {
                return;
            }
            self.engine.evicted(&entry);
        }
    }
}

impl<M> Drop for TieredBackend<M> {
    fn drop(&mut self) {
        self.engine.end_writer();
        if self.has_thread {
            self.engine.wait_for_end(DROP_LIMIT);
        }
    }
}

impl<M: Backend> fmt::Debug for TieredBackend<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TieredBackend")
            .field("memory", &self.memory.usage())
            .field("tier", &self.engine.stats())
            .finish_non_exhaustive()
    }
}

impl DiskTier {
    /// Opens the tier under `memory`, over files of another kind than those of the directory, and
    /// without a thread: the caller runs the [`Writer`]. For tests.
    ///
    /// # Errors
    ///
    /// `Config` for a wrong setting.
    pub fn open_with<M: Backend>(
        self,
        memory: M,
        context: TierContext,
        files: Arc<dyn Files>,
    ) -> Result<(TieredBackend<M>, Writer)> {
        TieredBackend::with_files(memory, self.check()?, context, files)
    }
}

impl LowerTier for DiskTier {
    fn under(
        self: Box<Self>,
        memory: Arc<dyn Backend>,
        context: TierContext,
    ) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(TieredBackend::new(memory, &self, context)?))
    }
}

/// How long a pinned entry waits for room in the queue.
const ROOM_LIMIT: Duration = Duration::from_secs(10);
/// How long `close` waits for the disk.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);
const DROP_LIMIT: Duration = Duration::from_secs(2);
