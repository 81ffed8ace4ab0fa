//! Several ranges of one object, all of one version.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use cache_core::ErrorKind;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{GetRange, Result, path::Path};

use super::{
    Shared,
    fill::{Broken, Step},
    fills::Found,
    read::{RESTARTS_MAX, STORE, store_error},
    reader::{index, replaced},
    snapshot::Snapshot,
    stats::Count,
};

pub(super) async fn get(shared: &Arc<Shared>, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
    // Stores differ here too: some panic.
    for range in ranges.iter().filter(|range| range.start > range.end) {
        if let Err(source) = GetRange::Bounded(range.clone()).is_valid() {
            return Err(object_store::Error::Generic { store: STORE, source: source.into() });
        }
    }
    let Some(first) = shared.first_of(ranges) else { return pass(shared, location, ranges).await };
    for _ in 0..RESTARTS_MAX {
        let known = match shared.know(location, None, Some(Some(&first))).await {
            Ok(known) => known,
            Err(error) if error.kind() == ErrorKind::InvalidKey => {
                return pass(shared, location, ranges).await;
            }
            Err(error) => return Err(store_error(location, error)),
        };
        let snapshot = &known.snapshot;
        // Stores differ in what they say to a range that ends behind the object.
        let is_within = ranges.iter().all(|range| range.end <= snapshot.size);
        if !is_within || !snapshot.is_pinned() {
            return pass(shared, location, ranges).await;
        }
        match read(shared, snapshot, ranges).await {
            Ok(read) => return Ok(read),
            Err(Broken::Failed(error)) => return Err(store_error(location, error)),
            Err(Broken::Replaced) => shared.restart(location).await,
        }
    }
    // The store's own answers to several ranges may be of several versions.
    Err(store_error(location, replaced()))
}

impl Shared {
    /// What is wanted of the first request: the range that comes first, with those whose blocks are near to its own.
    /// `None` if the store has to say what to make of the ranges.
    fn first_of(&self, ranges: &[Range<u64>]) -> Option<GetRange> {
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
        Some(GetRange::Bounded(first))
    }
}

async fn pass(shared: &Shared, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
    shared.blocks().counters.add(Count::PassedThrough, 1);
    shared.store.get_ranges(location, ranges).await
}

async fn read(
    shared: &Arc<Shared>,
    snapshot: &Arc<Snapshot>,
    ranges: &[Range<u64>],
) -> Result<Vec<Bytes>, Broken> {
    let blocks = shared.blocks();
    let mut wanted = BTreeSet::new();
    for range in ranges {
        let mut start = blocks.start_of(range.start);
        while start < range.end {
            wanted.insert(start);
            start = blocks.end_of(start, snapshot.size);
        }
    }
    let mut at_hand = BTreeMap::new();
    let mut runs: Vec<Vec<u64>> = Vec::new();
    for start in wanted {
        if let Some(bytes) = blocks.look_up(snapshot, start).await {
            blocks.counters.add(Count::BlocksHit, 1);
            at_hand.insert(start, Block { bytes, was_held: true });
            continue;
        }
        blocks.counters.add(Count::BlocksMissed, 1);
        let end_of = |run: &Vec<u64>| run.last().map_or(0, |last| blocks.end_of(*last, snapshot.size));
        match runs.last_mut() {
            Some(run) if start - end_of(run) <= shared.coalesce_gap => run.push(start),
            _ => runs.push(vec![start]),
        }
    }
    let runs = runs.into_iter().map(|run| fetch(shared, snapshot, run));
    let fetched: Vec<_> = stream::iter(runs).buffer_unordered(shared.parallel).try_collect().await?;
    at_hand.extend(fetched.into_iter().flatten());
    Ok(ranges.iter().map(|range| shared.bytes_of(range, &at_hand)).collect())
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

impl Shared {
    /// A slice of a block, or what is joined of several.
    fn bytes_of(&self, range: &Range<u64>, at_hand: &BTreeMap<u64, Block>) -> Bytes {
        let first = self.blocks().start_of(range.start);
        let mut parts = at_hand.range(first..range.end).map(|(start, block)| {
            let from = range.start.saturating_sub(*start);
            let to = (range.end - start).min(block.bytes.len() as u64);
            if block.was_held {
                self.blocks().counters.add(Count::BytesFromCache, to - from);
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
