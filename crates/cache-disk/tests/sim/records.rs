//! Footers and segments that are whole, and not of what is looked for.

use std::{pin::pin, sync::Arc, task::Poll};

use cache_core::{Backend, Entry, Key, Namespace, TierContext, TierState};
use cache_disk::{DiskTier, Step, TieredBackend, Writer, files::SegmentName};
use cache_testkit::{FaultyDisk, ManualClock};
use xxhash_rust::xxh3::xxh3_64;

use crate::memories::{Memory, MemoryKind, poll};

pub(crate) type Tier = TieredBackend<Memory>;

pub(crate) fn open(disk: &FaultyDisk, namespace: &str) -> (Tier, Writer) {
    open_under(disk, namespace, MemoryKind { entries: 1, tells: true, refuses: 0, waits: 0 })
}

fn open_under(disk: &FaultyDisk, namespace: &str, kind: MemoryKind) -> (Tier, Writer) {
    disk.set_runs_jobs(true);
    let context = TierContext::new(Namespace::named(namespace), Arc::new(ManualClock::new()));
    let tier = DiskTier::new("unused").max_capacity(1 << 20).segment_bytes(64 << 10);
    tier.open_with(Memory::new(kind, 0), context, disk.mount()).expect("the settings are right")
}

pub(crate) fn drain(writer: &mut Writer) {
    while writer.step() == Step::Progress {}
}

fn store(backend: &Tier, name: &str, body: &'static str) {
    let key = Key::parse(name).expect("the key is right");
    let entry = Entry::builder(&key, body.into()).e_tag(format!("\"{body}\"")).build();
    assert!(backend.insert_now(entry).is_ok_and(|admission| admission.is_stored()));
}

pub(crate) fn look_up(backend: &Tier, key: &str) -> Option<Entry> {
    match backend.get_now(key) {
        None => match poll(pin!(backend.get(key))) {
            Poll::Ready(found) => found.expect("a look-up does not fail"),
            Poll::Pending => panic!("reads are run at once"),
        },
        shown => shown,
    }
}

fn close(backend: &Tier, mut writer: Writer) {
    let mut closed = pin!(backend.close());
    while poll(closed.as_mut()).is_pending() {
        writer.step();
    }
}

/// Writes "a" and "b" into one segment, has its footer's two items changed, and opens the tier.
fn with_footer(change: impl Fn(&mut [u8; 32], &mut [u8; 32])) -> (Tier, Writer) {
    let disk = FaultyDisk::new(0);
    let (backend, mut writer) = open(&disk, "test");
    store(&backend, "a", "of a");
    store(&backend, "b", "of b");
    drain(&mut writer);
    close(&backend, writer);
    let name = SegmentName { start: 0, number: 0 };
    let mut bytes = disk.contents(name);
    let trailer_at = bytes.len() - 40;
    let items_at = trailer_at - 64;
    let (first, second) = bytes[items_at..trailer_at].split_at_mut(32);
    change(first.try_into().unwrap(), second.try_into().unwrap());
    let sum = xxh3_64(&bytes[items_at..trailer_at]);
    bytes[trailer_at + 16..][..8].copy_from_slice(&sum.to_le_bytes());
    let sum = xxh3_64(&bytes[trailer_at..][..32]);
    bytes[trailer_at + 32..].copy_from_slice(&sum.to_le_bytes());
    disk.set_contents(name, bytes);
    let (backend, mut writer) = open(&disk, "test");
    drain(&mut writer);
    assert_eq!(backend.state(), TierState::On);
    (backend, writer)
}

#[test]
fn a_footer_is_changed_so_that_it_is_believed() {
    let (backend, _writer) = with_footer(|_, _| {});
    for key in ["a", "b"] {
        assert_eq!(look_up(&backend, key).expect("it is there").body(), &format!("of {key}"));
    }
}

#[test]
fn a_record_of_another_key_is_not_shown() {
    // As if both keys had the other's hash.
    let (backend, _writer) = with_footer(|first, second| {
        first[..16].swap_with_slice(&mut second[..16]);
    });
    for key in ["a", "b"] {
        assert!(look_up(&backend, key).is_none(), "{key}");
    }
    let stats = backend.lower_tier().expect("it has a tier");
    assert_eq!((stats.foreign, stats.corrupt, stats.entries), (2, 0, 0));
}

#[test]
fn a_record_with_another_sequence_than_its_footer_says_is_not_shown() {
    let (backend, _writer) = with_footer(|first, _| first[16] ^= 1);
    assert!(look_up(&backend, "a").is_none());
    assert!(look_up(&backend, "b").is_some());
    let stats = backend.lower_tier().expect("it has a tier");
    assert_eq!((stats.foreign, stats.corrupt, stats.entries), (0, 1, 1));
}

#[test]
fn places_outside_of_the_records_are_not_read() {
    for (at, value) in [(24, 0_u32), (24, u32::MAX), (28, 0), (28, 0x7fff_ffff)] {
        let (backend, _writer) = with_footer(|first, _| {
            first[at..at + 4].copy_from_slice(&value.to_le_bytes());
        });
        // The records are walked instead.
        for key in ["a", "b"] {
            assert_eq!(look_up(&backend, key).expect("it is there").body(), &format!("of {key}"));
        }
    }
}

#[test]
fn another_namespace_and_another_hash_key_find_nothing_and_change_nothing() {
    let disk = FaultyDisk::new(0);
    let (backend, mut writer) = open(&disk, "one");
    store(&backend, "a", "of one");
    drain(&mut writer);
    close(&backend, writer);
    let (backend, mut writer) = open(&disk, "two");
    drain(&mut writer);
    assert!(look_up(&backend, "a").is_none());
    let stats = backend.lower_tier().expect("it has a tier");
    assert_eq!((stats.recovered, stats.corrupt, stats.foreign), (0, 0, 0));
    assert!(stats.bytes > 0, "its bytes count");
    store(&backend, "a", "of two");
    close(&backend, writer);
    disk.set_hash_key([7; 16]);
    let (backend, mut writer) = open(&disk, "one");
    drain(&mut writer);
    assert!(look_up(&backend, "a").is_none());
    close(&backend, writer);
    disk.set_hash_key(*b"a simulated disk");
    for (namespace, body) in [("one", "of one"), ("two", "of two")] {
        let (backend, mut writer) = open(&disk, namespace);
        drain(&mut writer);
        assert_eq!(look_up(&backend, "a").expect("it is there").body(), body);
        close(&backend, writer);
    }
}

/// The clock of this machine is not looked at: after a restart nothing has a stamp, whether the
/// clock has gone on, back or stood still.
#[test]
fn after_a_restart_nothing_has_a_stamp() {
    let disk = FaultyDisk::new(0);
    let (backend, writer) = open(&disk, "test");
    let key = Key::parse("a").expect("the key is right");
    let validated = cache_core::Moment::from_nanos(1 << 40);
    let entry = Entry::builder(&key, "body".into()).e_tag("\"1\"").validated(validated, None);
    assert!(backend.insert_now(entry.build()).is_ok_and(|admission| admission.is_stored()));
    close(&backend, writer);
    let (backend, mut writer) = open(&disk, "test");
    drain(&mut writer);
    let found = look_up(&backend, "a").expect("it is there");
    assert_eq!(found.validated_at(), None);
    assert!(found.must_revalidate());
}

#[test]
fn an_entry_that_is_handed_back_is_not_shown() {
    for tells in [true, false] {
        let disk = FaultyDisk::new(0);
        let kind = MemoryKind { entries: 1, tells, refuses: 0, waits: 16 };
        let (backend, mut writer) = open_under(&disk, "test", kind);
        drain(&mut writer);
        let key = Key::parse("a").expect("the key is right");
        let entry = Entry::builder(&key, "body".into()).e_tag("\"1\"").build();
        assert!(backend.insert_now(entry).is_err());
        assert!(look_up(&backend, "a").is_none());
        drain(&mut writer);
        assert!(look_up(&backend, "a").is_none());
        assert_eq!(backend.lower_tier().expect("it has a tier").written, 0);
    }
}
