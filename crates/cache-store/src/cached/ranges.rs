//! Several ranges of one object, all of one version.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use cache_core::{Error, ErrorKind};
use futures_util::{StreamExt, TryStreamExt, future, stream};
use object_store::{GetRange, Result, path::Path};

use super::{
    Shared,
    blocks::Blocks,
    fill::{Broken, Step},
    fills::Found,
    head::Answer,
    read::{RESTARTS_MAX, STORE, store_error},
    reader::{index, replaced},
    request::{Op, Request},
    snapshot::Snapshot,
    stats::Count,
    status::CacheStatus,
};
use crate::body::{LENGTH, torn};

/// What was read, and how.
type Read = (Vec<Bytes>, CacheStatus);

pub(super) async fn get(shared: &Arc<Shared>, location: &Path, ranges: &[Range<u64>]) -> Result<Read> {
    // Stores differ here too: some panic.
    for range in ranges.iter().filter(|range| range.start > range.end) {
        if let Err(source) = GetRange::Bounded(range.clone()).is_valid() {
            return Err(object_store::Error::Generic { store: STORE, source: source.into() });
        }
    }
    if ranges.is_empty() {
        return bypassed(pass(shared, location, ranges).await);
    }
    let first = shared.first_of(ranges);
    let wanted = first.clone().map(GetRange::Bounded);
    for _ in 0..RESTARTS_MAX {
        let known = match shared.know(location, None, wanted.as_ref().map(Some)).await {
            Ok(known) => known,
            Err(error) if error.kind() == ErrorKind::InvalidKey => {
                return bypassed(pass(shared, location, ranges).await);
            }
            Err(error) => return Err(store_error(location, error)),
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
                Some(answer) => {
                    let read = read_once(shared, location, ranges, first, answer, &status).await;
                    read.map(|read| (read, status))
                }
                None => bypassed(pass(shared, location, ranges).await),
            };
        }
        match read(shared, snapshot, ranges, &status).await {
            Ok(read) => return Ok((read, status)),
            Err(Broken::Failed(error) | Broken::Refused(error)) => {
                return Err(shared.block_error(location, error).await);
            }
            Err(Broken::Replaced) => shared.restart(location).await,
        }
    }
    // The store's own answers to several ranges may be of several versions.
    Err(store_error(location, replaced()))
}

impl Shared {
    /// What is wanted of the first request: the range that comes first, with those whose blocks are near to its own.
    /// `None` if one of them is empty.
    fn first_of(&self, ranges: &[Range<u64>]) -> Option<Range<u64>> {
        if ranges.iter().any(Range::is_empty) {
            return None;
        }
        let mut sorted: Vec<_> = ranges.iter().collect();
        sorted.sort_unstable_by_key(|range| range.start);
        let mut first = (*sorted.first()?).clone();
        for range in sorted {
            let end = self.blocks().end_of(first.end - 1, u64::MAX);
            if self.blocks().start_of(range.start) > end.saturating_add(self.coalesce_gap) {
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

async fn pass(shared: &Shared, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
    shared.blocks().counters.add(Count::PassedThrough, 1);
    let request = Request::send(&shared.fills, Op::Bypass, location);
    let parts = request.ranges(shared.store.get_ranges(location, ranges)).await;
    if let Err(error) = &parts {
        shared.hear_error(location, error).await;
    }
    parts
}

/// The store's own answer to ranges of which one is empty, or ends behind the object of `size` bytes: stores differ in what
/// they say to these. Some panic, or make room for all that is asked for, so the store is given none that begins behind the
/// object together with others, and none that ends more than one byte behind it. `None`, if that byte is there: the object
/// has grown, and the answer may be cut short.
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
        } else if pass(shared, location, &[range]).await?.iter().any(|part| !part.is_empty()) {
            return Ok(None);
        }
    }
    if !clamped.is_empty() {
        for (place, part) in places.into_iter().zip(pass(shared, location, &clamped).await?) {
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
    snapshot: &Arc<Snapshot>,
    ranges: &[Range<u64>],
    status: &CacheStatus,
) -> Result<Vec<Bytes>, Broken> {
    let blocks = shared.blocks();
    let mut at_hand = BTreeMap::new();
    let mut runs: Vec<Vec<u64>> = Vec::new();
    let wanted = shared.blocks_of(ranges, snapshot);
    let n_wanted = wanted.len();
    for start in wanted {
        if let Some(bytes) = blocks.look_up(snapshot, start).await {
            at_hand.insert(start, Block { bytes, was_held: true });
            continue;
        }
        let end_of = |run: &Vec<u64>| run.last().map_or(0, |last| blocks.end_of(*last, snapshot.size));
        match runs.last_mut() {
            Some(run) if start - end_of(run) <= shared.coalesce_gap => run.push(start),
            _ => runs.push(vec![start]),
        }
    }
    let runs = runs.into_iter().map(|run| fetch(shared, snapshot, run));
    let n_missing = n_wanted - at_hand.len();
    let fetched: Result<Vec<_>, _> = stream::iter(runs).buffer_unordered(shared.parallel).try_collect().await;
    match fetched {
        Ok(fetched) => at_hand.extend(fetched.into_iter().flatten()),
        Err(broken) => {
            // Of another version, they are not needed.
            if !matches!(broken, Broken::Replaced) {
                count_blocks(blocks, at_hand.len(), n_missing);
            }
            return Err(broken);
        }
    }
    let n_hit = at_hand.values().filter(|block| block.was_held).count();
    count_blocks(blocks, n_hit, at_hand.len() - n_hit);
    Ok(ranges.iter().map(|range| shared.bytes_of(range, &at_hand, status)).collect())
}

/// Each block counts once, also if it has bytes of several ranges.
fn count_blocks(blocks: &Blocks, n_hit: usize, n_missed: usize) {
    blocks.counters.add(Count::BlocksHit, n_hit as u64);
    blocks.counters.add(Count::BlocksMissed, n_missed as u64);
}

struct Block {
    bytes: Bytes,
    was_held: bool,
}

/// The blocks that begin at the offsets in `run`, which ascend: by one request, unless others bring them.
async fn fetch(
    shared: &Arc<Shared>,
    snapshot: &Arc<Snapshot>,
    run: Vec<u64>,
) -> Result<Vec<(u64, Block)>, Broken> {
    let blocks = shared.blocks();
    let end = run.last().map_or(0, |last| blocks.end_of(*last, snapshot.size));
    let mut fetched = Vec::with_capacity(run.len());
    let mut fill = None;
    for start in run {
        let block = loop {
            let step = match &fill {
                None => match shared.fills.join_or_begin(snapshot, start..end).await {
                    Found::Held(bytes) => break Block { bytes, was_held: true },
                    Found::Coming { fill: coming, .. } => {
                        fill = Some(coming);
                        continue;
                    }
                },
                Some(fill) => fill.block(start).await,
            };
            match step {
                Step::Bytes(bytes) => break Block { bytes, was_held: false },
                Step::Elsewhere => fill = None,
                Step::Broken(broken) => return Err(broken),
            }
        };
        fetched.push((start, block));
    }
    Ok(fetched)
}

/// Of a version that cannot be asked for again: the ranges within `first` from `answer`, which was asked for them, and the
/// others from the store, whose own answers may be of several versions too.
async fn read_once(
    shared: &Shared,
    location: &Path,
    ranges: &[Range<u64>],
    first: Range<u64>,
    answer: Answer,
    status: &CacheStatus,
) -> Result<Vec<Bytes>> {
    // What is not in `first` begins behind it.
    let (near, far): (Vec<_>, Vec<_>) = ranges.iter().cloned().partition(|range| range.start < first.end);
    let near = async {
        let at_hand = blocks_of_answer(shared, &answer, &near, first.end).await;
        at_hand.map_err(|error| store_error(location, error))
    };
    let far = async {
        match far.is_empty() {
            true => Ok(Vec::new()),
            false => {
                let request = Request::send(&shared.fills, Op::Bypass, location);
                let far = request.ranges(shared.store.get_ranges(location, &far)).await;
                let came = far.iter().flatten().map(|part| part.len() as u64).sum();
                status.meter().from_origin.fetch_add(came, Ordering::Relaxed);
                far
            }
        }
    };
    let (at_hand, far) = future::try_join(near, far).await?;
    let mut far = far.into_iter();
    let part = |range: &Range<u64>| match range.start < first.end {
        true => shared.bytes_of(range, &at_hand, status),
        false => far.next().unwrap_or_default(),
    };
    Ok(ranges.iter().map(part).collect())
}

/// The blocks of `ranges`, of which none ends behind `end`, as far as they are before that.
async fn blocks_of_answer(
    shared: &Shared,
    answer: &Answer,
    ranges: &[Range<u64>],
    end: u64,
) -> Result<BTreeMap<u64, Block>, Error> {
    let mut at_hand = BTreeMap::new();
    let wanted = shared.blocks_of(ranges, &answer.snapshot);
    count_blocks(shared.blocks(), 0, wanted.len());
    for start in wanted {
        let len = index(shared.blocks().end_of(start, end) - start);
        // Not room for all of it: what a store announces may not come.
        let mut block = Vec::new();
        while block.len() < len {
            match answer.fill.bytes(start + block.len() as u64).await {
                Step::Bytes(bytes) => block.extend_from_slice(&bytes[..bytes.len().min(len - block.len())]),
                Step::Elsewhere => return Err(torn(LENGTH)),
                Step::Broken(Broken::Failed(error) | Broken::Refused(error)) => return Err(error),
                Step::Broken(Broken::Replaced) => return Err(replaced()),
            }
        }
        at_hand.insert(start, Block { bytes: block.into(), was_held: false });
    }
    Ok(at_hand)
}

impl Shared {
    /// Where the blocks begin that have bytes of `ranges`.
    fn blocks_of(&self, ranges: &[Range<u64>], snapshot: &Snapshot) -> BTreeSet<u64> {
        let mut wanted = BTreeSet::new();
        for range in ranges {
            let mut start = self.blocks().start_of(range.start);
            while start < range.end {
                wanted.insert(start);
                start = self.blocks().end_of(start, snapshot.size);
            }
        }
        wanted
    }

    /// A slice of a block, or what is joined of several.
    fn bytes_of(&self, range: &Range<u64>, at_hand: &BTreeMap<u64, Block>, status: &CacheStatus) -> Bytes {
        let first = self.blocks().start_of(range.start);
        let mut parts = at_hand.range(first..range.end).map(|(start, block)| {
            let from = range.start.saturating_sub(*start);
            let to = (range.end - start).min(block.bytes.len() as u64);
            if block.was_held {
                self.blocks().counters.add(Count::BytesFromCache, to - from);
            } else {
                status.meter().from_origin.fetch_add(to - from, Ordering::Relaxed);
            }
            block.bytes.slice(index(from)..index(to))
        });
        let part = parts.next().unwrap_or_default();
        if part.len() as u64 == range.end - range.start {
            return part;
        }
        let mut joined = Vec::with_capacity(index(range.end - range.start));
        joined.extend_from_slice(&part);
        parts.for_each(|part| joined.extend_from_slice(&part));
        joined.into()
    }
}
