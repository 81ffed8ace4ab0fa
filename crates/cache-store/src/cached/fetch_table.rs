//! Which answers of the store are on their way, so that readers of the same bytes make one request.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use cache_core::{Entry, Observation, ReadThrough, Validator, WeakReadThrough};
use futures_util::FutureExt;
use object_store::{Extensions, GetOptions, GetResult, Result, path::Path};

use super::{
    blocks::{Blocks, CachedBlock, LookUp},
    budget::{Budget, Permit},
    by_path::ByPath,
    fetch::{Fetch, FetchContext, FetchReader, Queue},
    request_counters::Op,
    upstream::{Request, Sent, Upstream},
    version::{ObjectVersion, key_of},
};
use crate::error::{is_about_form, is_about_range, is_past_end};

/// Starts and joins fetches.
pub(super) struct FetchTable {
    pub(super) upstream: Arc<Upstream>,
    pub(super) blocks: Arc<Blocks>,
    pub(super) budget: Arc<Budget>,
    /// What all fetches share.
    pub(super) context: Arc<FetchContext>,
    /// Blocks that the backend was waited for by one who wanted to know whether they are there: the
    /// reader that is to come takes them from here, so that the backend is not waited for twice.
    seen: Mutex<VecDeque<Seen>>,
    /// How many bytes that are not needed one request may bring between those that are.
    pub(super) coalesce_gap: u64,
    /// The cache of heads, whose `max_in_flight` also limits requests for blocks. Weak, because it
    /// owns this table.
    heads: OnceLock<WeakReadThrough<dyn Validator>>,
}

/// The settings of fetches.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_in_flight_bytes: u64,
    pub(super) coalesce_gap: u64,
}

struct Seen {
    location: Path,
    e_tag: Option<Box<str>>,
    start: u64,
    block: CachedBlock,
    _permit: Permit,
}

/// How a reader asks the store.
#[derive(Clone, Default)]
pub(super) struct RequestMode {
    /// It wants the object from the first byte to the last, so a store without ranges may be asked
    /// for that.
    pub(super) is_whole: bool,
    /// The caller's own, for the store.
    pub(super) extensions: Extensions,
    /// FetchContext of others failed it: it makes its own request.
    pub(super) is_alone: bool,
    /// Blocks before this offset that are not at hand count as missing, whatever the index of the
    /// backend says: what it has there could not be read, or is of another version.
    pub(super) mistrusted_to: u64,
}

/// Where bytes are to be had.
pub(super) enum Found {
    /// In this block, which is held.
    Cached(CachedBlock),
    /// From this fetch: one that another reader had begun, or a new one.
    InFlight { fetch: FetchReader, joined: bool },
}

impl FetchTable {
    pub(super) fn new(upstream: Arc<Upstream>, blocks: Arc<Blocks>, limits: Limits) -> Self {
        let Limits { max_in_flight_bytes, coalesce_gap } = limits;
        let (budget, seen) = (Arc::new(Budget::new(max_in_flight_bytes)), Mutex::default());
        let context = Arc::new(FetchContext {
            upstream: Arc::clone(&upstream),
            blocks: Arc::clone(&blocks),
            budget: Arc::clone(&budget),
            table: ByPath::new(),
        });
        Self { upstream, blocks, budget, context, seen, coalesce_gap, heads: OnceLock::new() }
    }

    /// From now on requests for blocks count under the limit of `heads`.
    pub(super) fn limit_by(&self, heads: &ReadThrough<dyn Validator>) {
        let _ = self.heads.set(heads.downgrade());
    }

    /// Waits until one more request may be sent. It is never waited for by one that has a permit: a
    /// request for a head has come to its end before blocks are asked for, and one for blocks needs
    /// no other.
    fn queue(self: &Arc<Self>) -> Queue {
        let fetch_table = Arc::clone(self);
        async move {
            match fetch_table.heads.get().and_then(WeakReadThrough::upgrade) {
                // Requests for blocks count towards max_in_flight.
                // mutant: block_permit
                Some(heads) => heads.request_permit().await.map(Some),
                // Who goes on reading when the cache is gone is the only one.
                None => Ok(None),
            }
        }
        .boxed()
    }

    /// An answer of the store has shown this of the object whose head is at `key`.
    pub(super) async fn hear(&self, key: &str, shown: Observation) {
        if let Some(heads) = self.heads.get().and_then(WeakReadThrough::upgrade) {
            heads.observe(key, shown).await;
        }
    }

    /// The span of `wanted` that one request has to bring: from the first block that is neither
    /// cached nor in flight to the end of the last such block. `None` if there is none.
    ///
    /// Looks at `SPAN_LOOKED_AT_MAX` blocks from the front, and at as many from the back. Blocks
    /// between the two count as missing. If all at the front are there, those behind them are left
    /// to the reader: it will see. A backend is waited for `WAITS_MAX` blocks at most.
    pub(super) async fn missing(
        &self,
        snapshot: &ObjectVersion,
        wanted: Range<u64>,
    ) -> Option<Range<u64>> {
        let (blocks, size) = (&self.blocks, snapshot.size);
        let (mut start, mut n_looked_at) = (blocks.start_of(wanted.start), 0);
        let mut n_waits = WAITS_MAX;
        while start < wanted.end {
            start = match self.joinable(snapshot, start) {
                Some(fetch) => fetch.range().end,
                None => match self.sees(snapshot, start, &mut n_waits).await {
                    Some(true) => blocks.end_of(start, size),
                    Some(false) => break,
                    None => return None,
                },
            };
            n_looked_at += 1;
            if n_looked_at == SPAN_LOOKED_AT_MAX {
                return None;
            }
        }
        if start >= wanted.end {
            return None;
        }
        let mut last = blocks.start_of(wanted.end - 1);
        for _ in 0..SPAN_LOOKED_AT_MAX {
            if last <= start
                || self.joinable(snapshot, last).is_none()
                    && self.sees(snapshot, last, &mut n_waits).await != Some(true)
            {
                break;
            }
            last = blocks.start_of(last - 1);
        }
        Some(start..blocks.end_of(last, size))
    }

    /// A fetch that will bring the byte of `snapshot` at `offset`.
    pub(super) fn joinable(&self, snapshot: &ObjectVersion, offset: u64) -> Option<FetchReader> {
        let fetch_table = self.context.table.of(&snapshot.location);
        fetch_table
            .iter()
            .find(|fetch| fetch.can_serve(snapshot, offset))
            .map(|fetch| fetch.join_at(offset))
    }

    /// Forgets the bytes of the object at `location`: the blocks that are cached, and those to come
    /// of fetch_table that there are. `head` is the one that is cached.
    pub(super) async fn invalidate(&self, location: &Path, head: Option<Entry>) {
        self.context.table.of(location).iter().for_each(|fetch| fetch.void());
        self.forget_seen(Some(location));
        let size = head.and_then(|head| ObjectVersion::of(location, head)).map(|head| head.size);
        // A damaged block has a valid tag, so an invalidation must remove the blocks too.
        // mutant: removes_blocks
        Arc::clone(&self.blocks).remove_all(location, size).await;
    }

    /// Whether the block of `snapshot` that begins at `start` is cached, for a reader that is about
    /// to look itself. `None`, if the backend would have to be waited for once more than `n_waits`.
    pub(super) async fn sees(
        &self,
        snapshot: &ObjectVersion,
        start: u64,
        n_waits: &mut usize,
    ) -> Option<bool> {
        // Nothing is looked up here that the reader will look up again.
        if let Some(is_cached) = self.blocks.is_cached(snapshot, start) {
            return Some(is_cached);
        }
        *n_waits = n_waits.checked_sub(1)?;
        let LookUp::Found(block) = self.blocks.waited_for(snapshot, start).await else {
            return Some(false);
        };
        if let Some(_permit) = self.budget.pinned(block.len()) {
            let (location, e_tag) = (snapshot.location.clone(), snapshot.e_tag().map(Box::from));
            let mut seen = self.seen();
            seen.push_back(Seen { location, e_tag, start, block, _permit });
            if seen.len() > SEEN_MAX {
                seen.pop_front();
            }
        }
        Some(true)
    }

    /// Looks up the block of `snapshot` that begins at `start` and is not at hand; takes it from
    /// where [`sees`](Self::sees) has left it, if it has.
    pub(super) async fn waited_for(&self, snapshot: &ObjectVersion, start: u64) -> LookUp {
        let seen = {
            let mut seen = self.seen();
            let is_it = |seen: &Seen| {
                (seen.start, &seen.location, seen.e_tag.as_deref())
                    == (start, &snapshot.location, snapshot.e_tag())
            };
            let at = seen.iter().position(is_it);
            at.and_then(|at| seen.remove(at))
        };
        match seen {
            Some(seen) if seen.block.len() == self.blocks.end_of(start, snapshot.size) - start => {
                LookUp::Found(seen.block)
            }
            _ => self.blocks.waited_for(snapshot, start).await,
        }
    }

    /// Forgets such blocks: of one object, or all.
    pub(super) fn forget_seen(&self, location: Option<&Path>) {
        self.seen().retain(|seen| location.is_some_and(|location| seen.location != *location));
    }

    fn seen(&self) -> MutexGuard<'_, VecDeque<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a fetch that can serve the first byte of `range`, or starts one for `range`, whose
    /// request is sent when it is first polled. Returns the block instead if it was stored since
    /// the caller read `n_landed`, before its own lookup.
    pub(super) async fn join_or_begin(
        self: &Arc<Self>,
        snapshot: &Arc<ObjectVersion>,
        range: Range<u64>,
        n_landed: u64,
        mode: &RequestMode,
    ) -> Found {
        let start = range.start;
        let (queue, sent) = (self.queue(), Sent::default());
        let request = Arc::clone(self)
            .ask(Arc::clone(snapshot), range.clone(), mode.clone(), sent.clone())
            .boxed();
        let new = Arc::new(Fetch::of_request(
            &self.context,
            Arc::clone(snapshot),
            range,
            queue,
            sent,
            request,
        ));
        // Readers of the same blocks share one request.
        // mutant: joins_fetch
        if let Some(fetch) = self.join_or_add(&new, start, mode.is_alone) {
            return Found::InFlight { fetch, joined: true };
        }
        let came = match self.blocks.at_hand(snapshot, start) {
            LookUp::Absent if self.blocks.n_landed() != n_landed => {
                self.blocks.waited_for(snapshot, start).await
            }
            came => came,
        };
        match came.block() {
            Some(block) => Found::Cached(block),
            None => Found::InFlight { fetch: new.join(), joined: false },
        }
    }

    /// Asks the store for `range`; where it does not take the question in this form, in a plainer
    /// one. The answer's tag tells whether it is of the version.
    async fn ask(
        self: Arc<Self>,
        snapshot: Arc<ObjectVersion>,
        range: Range<u64>,
        mode: RequestMode,
        sent: Sent,
    ) -> Result<GetResult> {
        let question = || GetOptions { extensions: mode.extensions.clone(), ..GetOptions::new() };
        let ranged = || question().with_range(Some(range.clone()));
        let mut form = Form::Pinned;
        loop {
            let options = match form {
                // If-Match keeps blocks of two versions out of one body.
                // mutant: if_match
                Form::Pinned => ranged().with_if_match(snapshot.e_tag()),
                Form::Ranged => ranged(),
                Form::Whole => question(),
            };
            let request = Request::send(&self.upstream, Op::Blocks, &snapshot.location);
            let answer = sent
                .answer(request, self.upstream.store.get_opts(&snapshot.location, options))
                .await;
            let plainer =
                answer.as_ref().err().and_then(|error| form.plainer(error, mode.is_whole));
            if let Some(plainer) = plainer {
                form = plainer;
                continue;
            }
            // The reader begins anew. If the store fails then, no stale copy may cover that.
            if let Err(object_store::Error::NotFound { .. }) = answer {
                self.hear(&key_of(&snapshot.location), Observation::Absent).await;
            }
            return answer;
        }
    }

    /// Returns a reader of a fetch that will bring the byte at `offset`, or else lets others join
    /// `new`.
    fn join_or_add(&self, new: &Arc<Fetch>, offset: u64, is_alone: bool) -> Option<FetchReader> {
        self.context.table.join_or_add(&new.snapshot.location, new, |fetch| {
            (!is_alone && fetch.can_serve(&new.snapshot, offset)).then(|| fetch.join_at(offset))
        })
    }
}

/// How a range of a known version is asked for.
#[derive(Clone, Copy)]
enum Form {
    /// With `If-Match`.
    Pinned,
    /// Without.
    Ranged,
    /// The whole object, of which the rest is passed over.
    Whole,
}

impl Form {
    /// The next form to try after `error`, if it may have been about this one. The whole object is
    /// asked for only on behalf of a reader that wants it whole: to others it might come to a
    /// multiple of what they want.
    fn plainer(self, error: &object_store::Error, is_whole: bool) -> Option<Self> {
        if !is_about_form(error) || is_past_end(error) {
            return None;
        }
        match self {
            Self::Pinned if !is_about_range(error) => Some(Self::Ranged),
            // A store that refuses ranges can still send the whole object.
            // mutant: whole_fallback
            Self::Pinned | Self::Ranged if is_whole => Some(Self::Whole),
            _ => None,
        }
    }
}

/// How many blocks are remembered that the backend was waited for.
const SEEN_MAX: usize = 64;

/// How many blocks the backend is waited for, to see what is missing.
const WAITS_MAX: usize = 8;

/// How many blocks are looked at from each end of a span, for what is missing of it.
const SPAN_LOOKED_AT_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use cache_core::{Namespace, SystemClock};
    use cache_testkit::MapBackend;
    use object_store::memory::InMemory;

    use super::*;
    use crate::cached::stats::Counters;

    /// Blocks of 5 bytes of an object of `size` bytes, of which those that begin at `cached` are
    /// cached.
    async fn fetch_table(
        size: u64,
        cached: impl IntoIterator<Item = u64>,
    ) -> (Arc<FetchTable>, Arc<ObjectVersion>) {
        let location = Path::from("a");
        let key = cache_core::Key::parse(&key_of(&location)).unwrap();
        let head = Entry::builder(&key, Bytes::copy_from_slice(&size.to_le_bytes()))
            .e_tag("\"1\"")
            .build();
        let snapshot = Arc::new(ObjectVersion::of(&location, head).unwrap());
        let counters = Arc::new(Counters::default());
        let blocks = Arc::new(Blocks::new(
            Arc::new(MapBackend::new()),
            Namespace::unique(),
            5,
            Arc::clone(&counters),
        ));
        for start in cached {
            let len = usize::try_from(blocks.end_of(start, size) - start).unwrap();
            let entry = blocks.entry_of(&snapshot, start, Bytes::from(vec![0; len])).unwrap();
            Arc::clone(&blocks).keep(entry).await;
        }
        let limits = Limits { max_in_flight_bytes: 1 << 20, coalesce_gap: 0 };
        let upstream = Arc::new(Upstream {
            cache: "a".into(),
            store: Arc::new(InMemory::new()),
            clock: Arc::new(SystemClock::new()),
            timeout: Duration::from_secs(1),
            counters,
        });
        (Arc::new(FetchTable::new(upstream, blocks, limits)), snapshot)
    }

    #[tokio::test]
    async fn the_missing_span_goes_from_the_first_missing_block_to_the_last() {
        let (fetch_table, snapshot) = fetch_table(33, [0, 15, 30]).await;
        for (wanted, missing) in [
            (0..33, Some(5..30)),
            (6..33, Some(5..30)),
            (12..13, Some(10..15)),
            (12..32, Some(10..30)),
            (15..20, None),
            (31..33, None),
            (4..4, None),
        ] {
            assert_eq!(fetch_table.missing(&snapshot, wanted.clone()).await, missing, "{wanted:?}");
        }
    }

    #[tokio::test]
    async fn a_block_in_flight_is_not_missing() {
        let (fetch_table, snapshot) = fetch_table(20, []).await;
        drop(fetch_table.join_or_begin(&snapshot, 0..5, 0, &RequestMode::default()).await);
        assert_eq!(fetch_table.missing(&snapshot, 0..20).await, Some(0..20));
        let found = fetch_table.join_or_begin(&snapshot, 0..5, 0, &RequestMode::default()).await;
        assert_eq!(fetch_table.missing(&snapshot, 0..20).await, Some(5..20));
        drop(found);
        // However far it is behind the beginning.
        let (fetch_table, snapshot) = self::fetch_table(100, [0]).await;
        let _found = fetch_table.join_or_begin(&snapshot, 5..100, 0, &RequestMode::default()).await;
        assert_eq!(fetch_table.missing(&snapshot, 0..100).await, None);
    }

    #[tokio::test]
    async fn no_more_blocks_are_looked_at_than_the_limit() {
        let n = SPAN_LOOKED_AT_MAX as u64;
        let size = 5 * (3 * n);
        // All at the front: what is behind them is not looked at.
        let (fetch_table, snapshot) = fetch_table(size, (0..n).map(|block| block * 5)).await;
        assert_eq!(fetch_table.missing(&snapshot, 0..size).await, None);
        assert_eq!(fetch_table.missing(&snapshot, 5..size).await, Some(5 * n..size));
    }
}
