//! Several ranges of one object, all of one version.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use cache_core::Error;
use futures_util::{
    StreamExt,
    future::{self, poll_immediate},
    stream::{self, BoxStream},
};
use object_store::{GetOptions, GetRange, Result, path::Path};

use super::{
    blocks::{Blocks, CachedBlock, LookUp},
    error::{STORE, replaced, store_error},
    fetch::{FetchError, FetchReader, Step},
    fetch_table::{FetchTable, Found, RequestMode},
    head::Answer,
    read::{RESTARTS_MAX, Unknown},
    request_counters::Op,
    shared::Shared,
    stats::Count,
    status::CacheStatus,
    upstream::Request,
    version::{ObjectVersion, key_of},
};
use crate::body::{LENGTH, index, part_of, torn};

/// What was read, and how.
type Read = (Vec<Bytes>, CacheStatus);

pub(super) async fn get(
    shared: &Arc<Shared>,
    location: &Path,
    ranges: &[Range<u64>],
) -> Result<Read> {
    // Stores differ here too: some panic.
    // A reversed range is an error here, before any request is made for the others.
    // mutant: reversed_range
    for range in ranges.iter().filter(|range| range.start > range.end) {
        if let Err(source) = GetRange::Bounded(range.clone()).is_valid() {
            return Err(object_store::Error::Generic { store: STORE, source: source.into() });
        }
    }
    if ranges.is_empty() {
        return bypassed(pass_through(shared, location, ranges).await);
    }
    let first = shared.first_of(ranges);
    let wanted = GetOptions {
        // Of what has no byte, the head alone.
        head: first.is_none(),
        range: first.clone().map(GetRange::Bounded),
        ..GetOptions::new()
    };
    for _ in 0..RESTARTS_MAX {
        let know = shared.resolve_head(location, None, &wanted);
        // Joined below, if that is still the version.
        let (known, _ahead) = shared.with_far_ones(know, location, ranges, first.as_ref()).await;
        let known = match known {
            Ok(known) => known,
            Err(Unknown::ForTheStore) => {
                return bypassed(pass_through(shared, location, ranges).await);
            }
            Err(Unknown::Failed(error)) => return Err(store_error(location, error)),
        };
        let (snapshot, status) = (&known.snapshot, CacheStatus::new(&known.served));
        let is_within = ranges.iter().all(|range| range.end <= snapshot.size);
        let Some(first) = first.clone().filter(|_| is_within) else {
            match pass_odd(shared, location, ranges, snapshot.size).await? {
                Some(parts) => return bypassed(Ok(parts)),
                None => shared.restart(location).await,
            }
            continue;
        };
        if !snapshot.is_pinned() {
            return match known.answer {
                Some(answer) if answer.has(&(first.start..first.end.min(snapshot.size))) => {
                    // The first response is used, so an uncacheable object is not requested twice.
                    // mutant: reads_once
                    let read = read_once(shared, location, ranges, first, answer, &status).await;
                    read.map(|read| (read, status))
                }
                _ => bypassed(pass_through(shared, location, ranges).await),
            };
        }
        match read(shared, snapshot, ranges, &status).await {
            Ok(read) => return Ok((read, status)),
            Err(FetchError::Failed(error)) => {
                return Err(shared.block_error(location, error).await);
            }
            // The caller's own request may be answered.
            Err(FetchError::Refused(_)) => {
                return bypassed(pass_through(shared, location, ranges).await);
            }
            Err(FetchError::Replaced) => shared.restart(location).await,
        }
    }
    // The store's own answers to several ranges may be of several versions.
    Err(store_error(location, replaced()))
}

impl Shared {
    /// What is wanted of the first request: the range that comes first, with those whose blocks are
    /// near to its own. `None` if one of them is empty.
    fn first_of(&self, ranges: &[Range<u64>]) -> Option<Range<u64>> {
        if ranges.iter().any(Range::is_empty) {
            return None;
        }
        let mut sorted: Vec<_> = ranges.iter().collect();
        sorted.sort_unstable_by_key(|range| range.start);
        let mut first = (*sorted.first()?).clone();
        for range in sorted {
            let end = self.blocks().end_of(first.end - 1, u64::MAX);
            if self.blocks().start_of(range.start)
                > end.saturating_add(self.fetch_table.coalesce_gap)
            {
                break;
            }
            first.end = first.end.max(range.end);
        }
        Some(first)
    }
}

fn bypassed(read: Result<Vec<Bytes>>) -> Result<Read> {
    read.map(|read| (read, CacheStatus::bypass()))
}

impl Shared {
    /// What `know` says; and if it takes a request to say it, the requests for ranges behind
    /// `first` that are missing are sent meanwhile, for the version that is cached. They have
    /// `If-Match`, so each is as good as a validation.
    async fn with_far_ones<T>(
        &self,
        know: impl Future<Output = T>,
        location: &Path,
        ranges: &[Range<u64>],
        first: Option<&Range<u64>>,
    ) -> (T, Vec<FetchReader>) {
        let mut know = pin!(know);
        if let Some(known) = poll_immediate(&mut know).await {
            return (known, Vec::new());
        }
        // Distant ranges are requested together with the head and cost no extra round trip.
        // mutant: far_ranges_first
        let far = self.begin_far_ones(location, ranges, first).await;
        let opened = future::join_all(far.iter().map(FetchReader::opened));
        // To their end: each may keep others from sending theirs until it is answered.
        let (known, _) = future::join(know, opened).await;
        (known, far)
    }

    async fn begin_far_ones(
        &self,
        location: &Path,
        ranges: &[Range<u64>],
        first: Option<&Range<u64>>,
    ) -> Vec<FetchReader> {
        let (blocks, mut far) = (self.blocks(), Vec::new());
        let Some(first) = first else { return far };
        let cached = blocks.shown(&key_of(location)).await;
        let snapshot = cached
            .filter(|head| blocks.is_own(head))
            .and_then(|head| ObjectVersion::of(location, head));
        let Some(snapshot) = snapshot.filter(ObjectVersion::is_pinned).map(Arc::new) else {
            return far;
        };
        if ranges.iter().any(|range| range.end > snapshot.size) {
            return far;
        }
        let n_landed = blocks.n_landed();
        let wanted = Parts::new(self, &snapshot, ranges).blocks();
        let (mut runs, mut n_waits) = (Vec::new(), 2 * self.parallel);
        for start in wanted.into_iter().filter(|start| *start >= first.end) {
            let sees = self.fetch_table.sees(&snapshot, start, &mut n_waits).await;
            if sees.is_none() {
                break;
            }
            if sees == Some(false) {
                self.add_to_runs(&mut runs, start..blocks.end_of(start, snapshot.size));
            }
            if runs.len() == self.parallel {
                break;
            }
        }
        // One of those that may be sent at a time is the one for the head.
        for run in runs.into_iter().take(self.parallel - 1) {
            let begun = self
                .fetch_table
                .join_or_begin(&snapshot, run, n_landed, &RequestMode::default())
                .await;
            if let Found::InFlight { fetch, .. } = begun {
                far.push(fetch);
            }
        }
        far
    }

    /// Adds a missing block, which is behind all runs: to the last one, if that is near.
    fn add_to_runs(&self, runs: &mut Vec<Range<u64>>, block: Range<u64>) {
        match runs.last_mut() {
            Some(run) if block.start - run.end <= self.fetch_table.coalesce_gap => {
                run.end = block.end;
            }
            _ => runs.push(block),
        }
    }
}

async fn pass_through(
    shared: &Shared,
    location: &Path,
    ranges: &[Range<u64>],
) -> Result<Vec<Bytes>> {
    shared.upstream.counters.add(Count::PassedThrough, 1);
    let request = Request::send(&shared.upstream, Op::Bypass, location);
    let parts = request.ranges(shared.upstream.store.get_ranges(location, ranges)).await;
    shared.hear_ranges(location, ranges, &parts).await;
    parts
}

/// The store's own answer to ranges of which one is empty, or ends behind the object of `size`
/// bytes: stores differ in what they say to these. Some panic, or make room for all that is asked
/// for, so the store is given none that begins behind the object together with others, and none
/// that ends more than one byte behind it. `None`, if that byte is there: the object has grown, and
/// the answer may be cut short.
async fn pass_odd(
    shared: &Shared,
    location: &Path,
    ranges: &[Range<u64>],
    size: u64,
) -> Result<Option<Vec<Bytes>>> {
    let mut parts = vec![Bytes::new(); ranges.len()];
    let (mut places, mut clamped) = (Vec::new(), Vec::new());
    for (place, range) in ranges.iter().enumerate() {
        let limit = size.max(range.start).saturating_add(1);
        let range = range.start..range.end.min(limit);
        if range.start <= size {
            places.push(place);
            clamped.push(range);
        } else if pass_through(shared, location, &[range])
            .await?
            .iter()
            .any(|part| !part.is_empty())
        {
            return Ok(None);
        }
    }
    if !clamped.is_empty() {
        for (place, part) in places.into_iter().zip(pass_through(shared, location, &clamped).await?)
        {
            parts[place] = part;
        }
    }
    let has_grown = |(range, part): (&Range<u64>, &Bytes)| {
        !part.is_empty() && range.start.saturating_add(part.len() as u64) > size
    };
    Ok((!ranges.iter().zip(&parts).any(has_grown)).then_some(parts))
}

async fn read(
    shared: &Arc<Shared>,
    snapshot: &Arc<ObjectVersion>,
    ranges: &[Range<u64>],
    status: &CacheStatus,
) -> Result<Vec<Bytes>, FetchError> {
    let blocks = shared.blocks();
    let mut parts = Parts::new(shared, snapshot, ranges);
    let (mut missing, mut runs) = (HashSet::new(), Vec::<Range<u64>>::new());
    let n_landed = blocks.n_landed();
    let wanted = parts.blocks();
    let n_wanted = wanted.len();
    // Several reads of a disk at once take little longer than one.
    let room = shared.fetch_table.budget.pinned(blocks.bytes_of(READS_MAX as u64));
    let n_reads = if room.is_some() { READS_MAX } else { 1 };
    let mistrusts_stored = AtomicBool::new(false);
    let look_ups =
        wanted.into_iter().map(|start| look_up(shared, snapshot, start, &mistrusts_stored));
    let mut look_ups = stream::iter(look_ups).buffered(n_reads);
    while let Some((start, block)) = look_ups.next().await {
        if let Some(block) = block {
            parts.add_block(start, &block, status);
            continue;
        }
        missing.insert(start);
        shared.add_to_runs(&mut runs, start..blocks.end_of(start, snapshot.size));
    }
    drop((look_ups, room));
    let runs = runs
        .into_iter()
        .map(|run| Run::new(&shared.fetch_table, snapshot, run, n_landed).into_stream());
    let mut fetched = stream::iter(runs).flatten_unordered(shared.parallel);
    let mut n_missed = missing.len();
    while let Some(got) = fetched.next().await {
        let got = got.inspect_err(|broken| {
            // Of another version, they are not needed.
            if !matches!(broken, FetchError::Replaced) {
                count_blocks(blocks, n_wanted - n_missed, n_missed);
                blocks.counters.add(Count::BlocksFromDisk, parts.n_from_disk);
            }
        });
        match got? {
            Got::Bytes(at, bytes) if missing.contains(&blocks.start_of(at)) => {
                parts.add(at, &bytes, status);
            }
            // A hole, part of which may be wanted: it is cached.
            Got::Bytes(..) => {}
            Got::Block(start, block) if missing.contains(&start) => {
                // What came of it before is cut already.
                parts.cut_off(start);
                parts.add_block(start, &block, status);
                n_missed -= 1;
            }
            Got::Block(..) => {}
        }
    }
    count_blocks(blocks, n_wanted - n_missed, n_missed);
    blocks.counters.add(Count::BlocksFromDisk, parts.n_from_disk);
    parts.joined().map_err(FetchError::Failed)
}

/// Looks up the block that begins at `start`, and returns it with that offset. Once a block in a
/// lower tier was of another version, those that are there are not read any more: the object was
/// replaced since.
async fn look_up(
    shared: &Shared,
    snapshot: &ObjectVersion,
    start: u64,
    mistrusts_stored: &AtomicBool,
) -> (u64, Option<CachedBlock>) {
    let blocks = shared.blocks();
    let at_hand = blocks.at_hand(snapshot, start);
    let LookUp::Absent = at_hand else { return (start, at_hand.block()) };
    let is_stored = blocks.is_stored(snapshot, start) == Some(true);
    if is_stored && mistrusts_stored.load(Ordering::Relaxed) {
        return (start, None);
    }
    let found = shared.fetch_table.waited_for(snapshot, start).await;
    if let LookUp::Other = found {
        mistrusts_stored.store(true, Ordering::Relaxed);
    }
    (start, found.block())
}

/// Each block counts once, also if it has bytes of several ranges.
fn count_blocks(blocks: &Blocks, n_hit: usize, n_missed: usize) {
    blocks.counters.add(Count::BlocksHit, n_hit as u64);
    blocks.counters.add(Count::BlocksMissed, n_missed as u64);
}

/// Missing blocks that one request is to bring, unless others bring some.
struct Run {
    fetch_table: Arc<FetchTable>,
    snapshot: Arc<ObjectVersion>,
    left: Range<u64>,
    /// How many blocks had landed before the look-ups.
    n_landed: u64,
    /// With whether it is another reader's.
    fetch: Option<(FetchReader, bool)>,
    mode: RequestMode,
}

/// What came of a run.
enum Got {
    /// Bytes from the store, which begin at an offset. They do not go beyond a block.
    Bytes(u64, Bytes),
    /// A block that was cached meanwhile.
    Block(u64, CachedBlock),
}

impl Run {
    fn new(
        fetch_table: &Arc<FetchTable>,
        snapshot: &Arc<ObjectVersion>,
        left: Range<u64>,
        n_landed: u64,
    ) -> Self {
        let (fetch_table, snapshot) = (Arc::clone(fetch_table), Arc::clone(snapshot));
        Self { fetch_table, snapshot, left, n_landed, fetch: None, mode: RequestMode::default() }
    }

    fn into_stream(self) -> BoxStream<'static, Result<Got, FetchError>> {
        let next = |mut run: Self| async move { Ok(run.next().await?.map(|got| (got, run))) };
        stream::try_unfold(self, next).boxed()
    }

    async fn next(&mut self) -> Result<Option<Got>, FetchError> {
        while !self.left.is_empty() {
            let at = self.left.start;
            let Some((fetch, is_joined)) = &self.fetch else {
                if let Some(block) = self.begin().await {
                    return Ok(Some(block));
                }
                continue;
            };
            match fetch.bytes(self.left.clone()).await {
                Step::Bytes(bytes) => {
                    self.left.start += bytes.len() as u64;
                    return Ok(Some(Got::Bytes(at, bytes)));
                }
                Step::NotHere => self.fetch = None,
                // Another reader's request failed: this one makes its own from where it stands.
                // mutant: joined_ranges
                Step::Failed(broken) if *is_joined && broken.is_of_its_request() => {
                    self.fetch = None;
                    self.mode.is_alone = true;
                }
                Step::Failed(broken) => return Err(broken),
            }
        }
        Ok(None)
    }

    /// Finds a fetch for what is left, or the next block.
    async fn begin(&mut self) -> Option<Got> {
        let blocks = &self.fetch_table.blocks;
        let start = blocks.start_of(self.left.start);
        let range = start..self.left.end;
        match self.fetch_table.join_or_begin(&self.snapshot, range, self.n_landed, &self.mode).await
        {
            Found::Cached(block) => {
                self.left.start = blocks.end_of(start, self.snapshot.size);
                Some(Got::Block(start, block))
            }
            Found::InFlight { fetch, joined } => {
                self.fetch = Some((fetch, joined));
                self.mode.is_alone = false;
                None
            }
        }
    }
}

/// Of a version that cannot be asked for again: the ranges within `first` from `answer`, which was
/// asked for them, and the others from the store, whose own answers may be of several versions too.
async fn read_once(
    shared: &Shared,
    location: &Path,
    ranges: &[Range<u64>],
    first: Range<u64>,
    answer: Answer,
    status: &CacheStatus,
) -> Result<Vec<Bytes>> {
    // What is not in `first` begins behind it.
    let (near, far): (Vec<_>, Vec<_>) =
        ranges.iter().cloned().partition(|range| range.start < first.end);
    let near = async {
        let parts = parts_of_answer(shared, &answer, &near, first.end, status).await;
        parts.map_err(|error| store_error(location, error))
    };
    let far = async {
        match far.is_empty() {
            true => Ok(Vec::new()),
            false => {
                let request = Request::send(&shared.upstream, Op::Bypass, location);
                let far = request.ranges(shared.upstream.store.get_ranges(location, &far)).await;
                let came = far.iter().flatten().map(|part| part.len() as u64).sum();
                status.meter().from_origin.fetch_add(came, Ordering::Relaxed);
                far
            }
        }
    };
    let (near, far) = future::try_join(near, far).await?;
    let (mut near, mut far) = (near.into_iter(), far.into_iter());
    let part = |range: &Range<u64>| match range.start < first.end {
        true => near.next(),
        false => far.next(),
    };
    Ok(ranges.iter().filter_map(part).collect())
}

/// `ranges`, of which none ends behind `end`, from an answer that has them.
async fn parts_of_answer(
    shared: &Shared,
    answer: &Answer,
    ranges: &[Range<u64>],
    end: u64,
    status: &CacheStatus,
) -> Result<Vec<Bytes>, Error> {
    let mut parts = Parts::new(shared, &answer.snapshot, ranges);
    count_blocks(shared.blocks(), 0, parts.blocks().len());
    let mut at = ranges.iter().map(|range| range.start).min().unwrap_or(end);
    while at < end {
        match answer.fetch.bytes(at..end).await {
            Step::Bytes(bytes) => {
                parts.add(at, &bytes, status);
                at += bytes.len() as u64;
            }
            Step::NotHere => return Err(torn(LENGTH)),
            Step::Failed(FetchError::Failed(error) | FetchError::Refused(error)) => {
                return Err(error);
            }
            Step::Failed(FetchError::Replaced) => return Err(replaced()),
        }
    }
    parts.joined()
}

/// Ranges of an object, cut out of what comes of it as it comes: of a block nothing is kept but
/// what is wanted.
struct Parts<'a> {
    shared: &'a Shared,
    size: u64,
    ranges: &'a [Range<u64>],
    /// By where a block begins, which of the ranges have bytes of it.
    wanted: BTreeMap<u64, Vec<usize>>,
    /// What came of each range.
    cuts: Vec<Vec<Cut>>,
    /// Blocks that were read from a lower tier.
    n_from_disk: u64,
}

struct Cut {
    start: u64,
    bytes: CutBytes,
}

enum CutBytes {
    Slice(Bytes),
    Copy(Vec<u8>),
}

impl<'a> Parts<'a> {
    fn new(shared: &'a Shared, snapshot: &ObjectVersion, ranges: &'a [Range<u64>]) -> Self {
        let (blocks, size) = (shared.blocks(), snapshot.size);
        let mut wanted = BTreeMap::<u64, Vec<usize>>::new();
        for (place, range) in ranges.iter().enumerate() {
            let mut start = blocks.start_of(range.start);
            while start < range.end {
                wanted.entry(start).or_default().push(place);
                start = blocks.end_of(start, size);
            }
        }
        let cuts = ranges.iter().map(|_| Vec::new()).collect();
        Self { shared, size, ranges, wanted, cuts, n_from_disk: 0 }
    }

    /// Where the blocks begin that are wanted.
    fn blocks(&self) -> Vec<u64> {
        self.wanted.keys().copied().collect()
    }

    /// Cuts what is wanted out of bytes that begin at `at`. They are copied: their buffer may be
    /// much longer.
    fn add(&mut self, at: u64, bytes: &Bytes, status: &CacheStatus) {
        let end = at + bytes.len() as u64;
        let blocks = self.shared.blocks();
        for (start, places) in self.wanted.range(blocks.start_of(at)..end) {
            let block = (*start).max(at)..blocks.end_of(*start, self.size).min(end);
            for place in places {
                let (range, cuts) = (&self.ranges[*place], &mut self.cuts[*place]);
                let cut = block.start.max(range.start)..block.end.min(range.end);
                if cut.is_empty() {
                    continue;
                }
                status.meter().from_origin.fetch_add(cut.end - cut.start, Ordering::Relaxed);
                let bytes = &bytes[index(cut.start - at)..index(cut.end - at)];
                match cuts.last_mut() {
                    Some(Cut { start, bytes: CutBytes::Copy(copy) })
                        if *start + copy.len() as u64 == cut.start =>
                    {
                        copy.extend_from_slice(bytes);
                    }
                    _ => cuts.push(Cut { start: cut.start, bytes: CutBytes::Copy(bytes.to_vec()) }),
                }
            }
        }
    }

    /// Cuts what is wanted out of a cached block.
    fn add_block(&mut self, start: u64, block: &CachedBlock, status: &CacheStatus) {
        let CachedBlock { bytes: block, is_from_disk } = block;
        let counters = &self.shared.blocks().counters;
        self.n_from_disk += u64::from(*is_from_disk);
        for place in self.wanted.get(&start).into_iter().flatten() {
            let range = &self.ranges[*place];
            let cut = start.max(range.start)..(start + block.len() as u64).min(range.end);
            counters.add_from_cache(cut.end - cut.start, *is_from_disk);
            status.meter().add_from_cache(cut.end - cut.start, *is_from_disk);
            let bytes = block.slice(index(cut.start - start)..index(cut.end - start));
            let bytes = CutBytes::Slice(part_of(block.len(), bytes));
            self.cuts[*place].push(Cut { start: cut.start, bytes });
        }
    }

    /// Forgets what came of the block that begins at `start`. It may not be in the last cut, for
    /// several requests bring parts of one range.
    fn cut_off(&mut self, start: u64) {
        let end = self.shared.blocks().end_of(start, self.size);
        for place in self.wanted.get(&start).into_iter().flatten() {
            for Cut { start: from, bytes } in &mut self.cuts[*place] {
                if let CutBytes::Copy(copy) = bytes
                    && *from < end
                {
                    copy.truncate(index(start.saturating_sub(*from)));
                }
            }
        }
    }

    fn joined(self) -> Result<Vec<Bytes>, Error> {
        self.ranges.iter().zip(self.cuts).map(|(range, cuts)| Cut::join(range, cuts)).collect()
    }
}

impl Cut {
    fn join(range: &Range<u64>, mut cuts: Vec<Self>) -> Result<Bytes, Error> {
        let len = index(range.end - range.start);
        let joined = match (cuts.pop(), cuts.is_empty()) {
            (None, _) => Bytes::new(),
            (Some(Self { bytes: CutBytes::Slice(slice), .. }), true) => slice,
            (Some(Self { bytes: CutBytes::Copy(mut copy), .. }), true) => {
                copy.shrink_to_fit();
                copy.into()
            }
            (Some(last), false) => {
                cuts.push(last);
                cuts.sort_by_key(|cut| cut.start);
                let mut joined =
                    Vec::with_capacity(cuts.iter().map(|cut| cut.bytes.as_ref().len()).sum());
                cuts.iter().for_each(|cut| joined.extend_from_slice(cut.bytes.as_ref()));
                joined.into()
            }
        };
        if joined.len() == len { Ok(joined) } else { Err(torn(LENGTH)) }
    }
}

impl AsRef<[u8]> for CutBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Slice(slice) => slice,
            Self::Copy(copy) => copy,
        }
    }
}

/// How many blocks one call reads from a lower tier at a time, if there is room for them.
const READS_MAX: usize = 4;
