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
    /// Blocks that are at hand, from that of the next byte on.
    held: VecDeque<Bytes>,
    /// For what is not.
    fill: Option<FillUse>,
    /// What came with the head, if it begins behind the next byte: kept until the reader is there.
    ahead: Option<FillUse>,
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
        let (fill, ahead) = match fill {
            Some(fill) if !fill.covers(range.start) => (None, Some(fill)),
            fill => (fill, None),
        };
        let (asked_at, held) = (fill.is_some().then_some(range.start), VecDeque::new());
        Self { shared: Arc::clone(shared), snapshot, status, left: range, held, fill, ahead, asked_at }
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
                    fill.opened().await?;
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
                Step::Broken(broken) => return Err(broken),
            }
        }
        Ok(None)
    }

    /// What is wanted of a held block that has the next byte.
    fn slice(&mut self, block: &Bytes) -> Bytes {
        let from = self.left.start - self.shared.blocks().start_of(self.left.start);
        let len = (block.len() as u64 - from).min(self.left.end - self.left.start);
        self.left.start += len;
        self.status.meter().from_cache.fetch_add(len, Ordering::Relaxed);
        self.shared.blocks().counters.add(Count::BytesFromCache, len);
        block.slice(index(from)..index(from + len))
    }

    /// What is wanted of bytes that came, the first of which is the next one.
    fn cut(&mut self, mut bytes: Bytes) -> Bytes {
        bytes.truncate(index(self.left.end - self.left.start));
        self.left.start += bytes.len() as u64;
        self.status.meter().from_origin.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        bytes
    }

    async fn find(&mut self, offset: u64) -> Found {
        let mut found = self.shared.fills.find(&self.snapshot, offset..self.left.end).await;
        if let Found::Coming { fill, joined: joined @ true } = &mut found {
            match self.ahead.take_if(|ahead| ahead.is_same(fill)) {
                Some(_) => *joined = false,
                None => self.status.meter().coalesced.store(true, Ordering::Relaxed),
            }
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
            Broken::Failed(error) => self.shared.block_error(location, error).await,
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
