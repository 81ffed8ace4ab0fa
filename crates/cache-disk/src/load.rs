//! The start: entries of earlier processes are found by the footers of their segments.

use std::{
    io::{self, IoSlice},
    sync::{Arc, atomic::Ordering},
};

use cache_core::Seal;

use crate::{
    engine::Engine,
    format::{
        FooterItem, HEADER_LEN, RECORD_LEN, RecordHeader, SegmentHeader, TRAILER_LEN, check_head,
        decode_footer, decode_trailer, encode_footer, hash_key_sum, key_of,
    },
    health::Phase,
    index::{PINNED, Place, Slot, TOMBSTONE},
    segments::Segment,
    sync::lock,
};

/// Reads one segment after the other, the newest first.
pub(crate) struct Loader {
    last: Option<u32>,
}

impl Loader {
    pub(crate) fn new(_engine: &Engine) -> Self {
        Self { last: None }
    }

    /// Reads the next segment. Returns whether there was one.
    pub(crate) fn step(&mut self, engine: &Engine) -> bool {
        let Some(segment) = engine.segments.newest_before(self.last) else { return false };
        self.last = Some(segment.id);
        match load(engine, &segment) {
            Ok(Loaded::Records(items)) => {
                items.iter().for_each(|item| add(engine, &segment, item));
            }
            Ok(Loaded::OtherCache) => segment.is_foreign.store(true, Ordering::Relaxed),
            Ok(Loaded::NotOurs) => {
                engine.counters.foreign.add(1);
                engine.segments.unlist(segment.id);
            }
            Ok(Loaded::Damaged) => {
                engine.counters.corrupt.add(1);
                lock(&engine.retired).extend(engine.segments.unlist(segment.id));
            }
            Err(_) => {
                engine.counters.read_errors.add(1);
                engine.fail();
                engine.segments.unlist(segment.id);
            }
        }
        true
    }
}

/// Everything was read: removed keys need not be remembered any more.
pub(crate) fn end(engine: &Engine) {
    // First: a call that still sees the start has its shard's lock before it is visited here.
    engine.health.advance(Phase::Open);
    for mut shard in engine.index.shards() {
        for hash in shard.hashes() {
            if let Some(slot) = shard.get_mut(hash) {
                slot.set(TOMBSTONE, false);
            }
            shard.release(hash);
        }
    }
}

/// The kind of a segment file.
enum Loaded {
    Records(Vec<FooterItem>),
    /// A segment of a cache with another namespace or hash key.
    OtherCache,
    /// No segment, or one of a newer release: it is not touched.
    NotOurs,
    /// A segment without a header: its process ended while it made it.
    Damaged,
}

fn load(engine: &Engine, segment: &Segment) -> io::Result<Loaded> {
    let file = engine.segments.file(segment, &*engine.files)?;
    let size = file.size()?;
    segment.bytes.store(size, Ordering::Relaxed);
    let header = file.read_at(0, HEADER_LEN)?;
    match SegmentHeader::decode(&header, segment.name) {
        Ok(header) => {
            let ours = SegmentHeader {
                namespace: engine.context.namespace.bits(),
                hash_key_sum: hash_key_sum(&engine.hash_key),
            };
            // mutant: disk_other_namespace
            if header != ours {
                return Ok(Loaded::OtherCache);
            }
        }
        Err(_) if header.len() < HEADER_LEN || header.iter().all(|byte| *byte == 0) => {
            return Ok(Loaded::Damaged);
        }
        Err(_) if SegmentHeader::is_begun(&header) => return Ok(Loaded::Damaged),
        Err(_) => return Ok(Loaded::NotOurs),
    }
    match footer_of(engine, segment) {
        Some(items) => Ok(Loaded::Records(items)),
        None => walk(engine, segment, size).map(Loaded::Records),
    }
}

/// Returns the items of the segment's footer; `None` if it has none, or a damaged one.
pub(crate) fn footer_of(engine: &Engine, segment: &Segment) -> Option<Vec<FooterItem>> {
    let file = engine.segments.file(segment, &*engine.files).ok()?;
    let size = file.size().ok()?;
    let trailer_at = size.checked_sub(TRAILER_LEN as u64)?;
    let trailer = file.read_at(trailer_at, TRAILER_LEN).ok()?;
    let (begin, sum) = decode_trailer(&trailer, segment.name)?;
    let len = usize::try_from(trailer_at.checked_sub(begin.into())?).ok()?;
    let items = decode_footer(&file.read_at(begin.into(), len).ok()?, sum)?;
    let fits = |item: &FooterItem| {
        item.offset as usize >= HEADER_LEN
            && item.len() as usize >= RECORD_LEN
            && item.offset.checked_add(item.len()).is_some_and(|end| end <= begin)
    };
    items.iter().all(fits).then_some(items)
}

/// Finds the records of a segment without a footer by their headers, up to the first that is
/// damaged, cuts off what is behind them, and writes the footer.
fn walk(engine: &Engine, segment: &Segment, size: u64) -> io::Result<Vec<FooterItem>> {
    let file = engine.segments.file(segment, &*engine.files)?;
    let (mut items, mut offset) = (Vec::new(), HEADER_LEN as u64);
    while let Ok(at) = u32::try_from(offset) {
        let mut begin = file.read_at(offset, READ_AHEAD)?;
        let Ok(header) = RecordHeader::decode(&begin, segment.name, at) else { break };
        let end = offset + header.len();
        let head_end = RECORD_LEN + header.head_len as usize;
        if end > size {
            break;
        }
        if begin.len() < head_end {
            begin = file.read_at(offset, head_end)?;
        }
        let Some(head) = begin.get(RECORD_LEN..head_end) else { break };
        if check_head(&header, head).is_err() {
            break;
        }
        let (Ok(key), Ok(len)) = (key_of(head), u32::try_from(header.len())) else { break };
        let mut item = FooterItem::new(engine.hash(key), header.sequence, at, len);
        if engine.is_pinned_path(key) {
            item.pin();
        }
        items.push(item);
        offset = end;
    }
    if let Ok(end) = u32::try_from(offset) {
        let footer = encode_footer(&items, segment.name, end);
        let written = file.truncate(offset).and_then(|()| {
            file.write_at(offset, &[IoSlice::new(&footer)])?;
            Ok(footer.len() as u64)
        });
        match written {
            Ok(len) => segment.bytes.store(offset + len, Ordering::Relaxed),
            Err(_) => engine.counters.write_errors.add(1),
        }
    }
    Ok(items)
}

/// Gives the record a slot, unless a newer one of its key is known.
fn add(engine: &Engine, segment: &Arc<Segment>, item: &FooterItem) {
    let mut shard = engine.index.shard(item.hash);
    // Of two records of a key the newer one wins, and an insert or removal of this process wins
    // over both.
    // mutant: disk_newest_wins
    if shard.get(item.hash).is_some_and(|slot| slot.sequence >= item.sequence) {
        return;
    }
    // It is not listed any more after a `clear`.
    // mutant: disk_clear_while_starting
    if !engine.segments.is_listed(segment.id) {
        return;
    }
    let mut slot = Slot::new(item.hash, item.sequence, Seal::none());
    slot.set(PINNED, item.is_pinned());
    let place = Place { segment: segment.id, offset: item.offset, len: item.len() };
    shard.put(slot);
    shard.set_place(item.hash, place);
    engine.counters.recovered.add(1);
}

/// A header and most heads, in one read.
const READ_AHEAD: usize = 1024;
