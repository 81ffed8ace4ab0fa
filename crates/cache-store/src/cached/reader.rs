//! One reader of one version of an object.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use cache_core::{Error, ErrorKind};
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::Result;

use super::{
    Shared,
    fill::{Broken, FillUse, Step},
    fills::Found,
    head,
    read::store_error,
    snapshot::Snapshot,
    stats::Count,
    status::CacheStatus,
};

/// Reads a range, block by block: what is held from there, the rest from a fill.
pub(super) struct Reader {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    status: CacheStatus,
    left: Range<u64>,
    /// Somebody reads: what it finds, and does not, counts. Else it is read ahead of time.
    is_read: bool,
    /// Blocks that begin before this were counted.
    counted_to: u64,
    /// Blocks that are at hand, from that of the next byte on.
    held: VecDeque<Bytes>,
    /// For what is not.
    fill: Option<FillUse>,
    /// From where on the store was asked for this reader's sake, before anything was given out.
    asked_at: Option<u64>,
}

impl Reader {
    /// A reader of `range`, which is not empty.
    pub(super) fn new(
        shared: &Arc<Shared>,
        snapshot: Arc<Snapshot>,
        range: Range<u64>,
        status: CacheStatus,
        fill: Option<FillUse>,
    ) -> Self {
        let (asked_at, held) = (fill.is_some().then_some(range.start), VecDeque::new());
        let (shared, counted_to) = (Arc::clone(shared), shared.blocks().start_of(range.start));
        Self { shared, snapshot, status, left: range, is_read: true, counted_to, held, fill, asked_at }
    }

    pub(super) fn asked_at(&self) -> Option<u64> {
        self.asked_at
    }

    /// Sees to it that the first block, or the answer that will bring it, is there; and that the answer is, if it can be
    /// seen that one is needed soon: as long as nothing was given out, the reader may begin anew on another version.
    pub(super) async fn prepare(&mut self) -> Result<(), Broken> {
        let mut next = self.left.start;
        while self.fill.is_none() && next < self.left.end && self.held.len() < PREPARED_MAX {
            match self.find(next).await {
                Found::Held(block) => self.held.push_back(block),
                Found::Coming { fill, joined } => {
                    if let Err(broken) = fill.opened().await {
                        self.miss(&broken, next);
                        return Err(broken);
                    }
                    self.asked_at = Some(next).filter(|_| !joined);
                    self.fill = Some(fill);
                }
            }
            next = self.shared.blocks().end_of(next, self.snapshot.size);
        }
        Ok(())
    }

    /// Sees to it that every block is at hand, without a request. Whether they are.
    pub(super) async fn is_all_held(&mut self) -> bool {
        let mut next = self.left.start;
        while next < self.left.end {
            let Some(block) = self.look_up(next).await else { return false };
            self.held.push_back(block);
            next = self.shared.blocks().end_of(next, self.snapshot.size);
        }
        true
    }

    /// What is read.
    pub(super) fn into_stream(mut self) -> BoxStream<'static, Result<Bytes>> {
        let is_last = self.left.end <= self.shared.blocks().end_of(self.left.start, self.snapshot.size);
        if is_last && let Some(block) = self.held.pop_front() {
            let bytes = self.slice(&block);
            return stream::iter([Ok(bytes)]).boxed();
        }
        let next = |mut reader: Self| async move {
            match reader.next().await {
                Ok(Some(bytes)) => Ok(Some((bytes, reader))),
                Ok(None) => Ok(None),
                Err(broken) => Err(reader.error(broken).await),
            }
        };
        stream::try_unfold(self, next).boxed()
    }

    /// Reads everything into the cache, no faster than the backend takes it: a caller's read does not wait for that, and
    /// of what it reads not all may be kept. If the backend is silent for `origin_timeout`, it is not waited for any more.
    pub(super) async fn read_in(mut self) -> Result<()> {
        self.is_read = false;
        let mut is_kept = true;
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(broken) => return Err(self.error(broken).await),
            }
            if is_kept && let Some(fill) = &self.fill {
                is_kept = fill.can_keep().await;
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        while !self.left.is_empty() {
            if let Some(block) = self.held.pop_front() {
                return Ok(Some(self.slice(&block)));
            }
            let Some(fill) = &self.fill else {
                match self.find(self.left.start).await {
                    Found::Held(block) => self.held.push_back(block),
                    Found::Coming { fill, .. } => self.fill = Some(fill),
                }
                continue;
            };
            match fill.bytes(self.left.start).await {
                Step::Bytes(bytes) => return Ok(Some(self.cut(bytes))),
                Step::Elsewhere => self.fill = None,
                Step::Broken(broken) => {
                    self.miss(&broken, self.left.start);
                    return Err(broken);
                }
            }
        }
        Ok(None)
    }

    /// What is wanted of a held block that has the next byte.
    fn slice(&mut self, block: &Bytes) -> Bytes {
        let from = self.left.start - self.shared.blocks().start_of(self.left.start);
        let len = (block.len() as u64 - from).min(self.left.end - self.left.start);
        self.status.meter().from_cache.fetch_add(len, Ordering::Relaxed);
        self.count(len, Count::BlocksHit);
        if self.is_read {
            self.shared.blocks().counters.add(Count::BytesFromCache, len);
        }
        self.left.start += len;
        block.slice(index(from)..index(from + len))
    }

    /// What is wanted of bytes that came, the first of which is the next one.
    fn cut(&mut self, mut bytes: Bytes) -> Bytes {
        bytes.truncate(index(self.left.end - self.left.start));
        let len = bytes.len() as u64;
        self.status.meter().from_origin.fetch_add(len, Ordering::Relaxed);
        self.count(len, Count::BlocksMissed);
        self.left.start += len;
        bytes
    }

    /// Counts the blocks that the next `len` bytes are of, each when its first byte is given out.
    fn count(&mut self, len: u64, count: Count) {
        let (blocks, new) =
            (self.shared.blocks(), self.counted_to.max(self.left.start)..self.left.start + len);
        if self.is_read && !new.is_empty() {
            self.counted_to = blocks.end_of(new.end - 1, u64::MAX);
            blocks.counters.add(count, blocks.n_in(&new));
        }
    }

    /// The block with the byte at `offset` is needed, and does not come. Of another version, it is not needed.
    fn miss(&self, broken: &Broken, offset: u64) {
        if self.is_read && offset >= self.counted_to && !matches!(broken, Broken::Replaced) {
            self.shared.blocks().counters.add(Count::BlocksMissed, 1);
        }
    }

    async fn find(&self, offset: u64) -> Found {
        let found = self.shared.fills.find(&self.snapshot, offset..self.left.end).await;
        if let Found::Coming { joined: true, .. } = found {
            self.status.meter().coalesced.store(true, Ordering::Relaxed);
        }
        found
    }

    async fn look_up(&self, offset: u64) -> Option<Bytes> {
        let blocks = self.shared.blocks();
        blocks.look_up(&self.snapshot, blocks.start_of(offset)).await
    }

    /// The error for a caller who has got some of the body already, or at least its head.
    async fn error(&self, broken: Broken) -> object_store::Error {
        let location = &self.snapshot.location;
        match broken {
            Broken::Failed(error) | Broken::Refused(error) => self.shared.block_error(location, error).await,
            Broken::Replaced => {
                // The next reader is to see the version that is there.
                let _ = self.shared.heads.expire(&head::key_of(location)).await;
                store_error(location, replaced())
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.left.is_empty()
            && let Some(fill) = self.fill.take()
        {
            fill.finish(self.left.end);
        }
    }
}

/// The error for an object that was replaced while it was read.
pub(super) fn replaced() -> Error {
    Error::new(ErrorKind::PreconditionFailed, "the object was replaced while it was read: read it again")
}

/// An index into what is in memory.
pub(super) fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// How many blocks a reader looks at before its caller gets an answer.
const PREPARED_MAX: usize = 4;
