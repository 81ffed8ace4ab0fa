//! `inspect` on directories that are whole, in use and damaged.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use cache_core::{Backend as _, Namespace};
use cache_disk::inspect::{Inspector, Record, SegmentState, SegmentSummary, Verify};
use proptest::prelude::*;

use crate::support::{body_of, entry, memory, open, tier, written};

/// Writes `n` entries of `len` bytes, and closes the tier.
async fn filled(path: &Path, n: usize, len: usize) {
    let backend = open(memory(1000, 1 << 20), tier(path)).await;
    for i in 0..n {
        let key = format!("k{i}");
        let entry = entry(&key, &format!("\"{i}\""), body_of(&key, len));
        assert!(backend.insert(entry).await.expect("the directory is whole").is_stored());
    }
    written(&backend).await;
    backend.close().await.expect("the directory is whole");
}

fn seen(path: &Path, verify: Verify) -> (Vec<SegmentSummary>, Vec<Record>) {
    let inspector = Inspector::open(path).expect("the directory is whole");
    let mut records = Vec::new();
    let summary = |name| inspector.segment(name, verify, |record| records.push(record));
    let names = inspector.segments().expect("the directory is whole");
    let summaries =
        names.into_iter().map(summary).collect::<io::Result<_>>().expect("the directory is whole");
    (summaries, records)
}

fn segment_file(path: &Path) -> PathBuf {
    path.join(
        Inspector::open(path)
            .expect("the directory is whole")
            .segments()
            .expect("the directory is whole")[0]
            .to_string(),
    )
}

#[tokio::test]
async fn a_closed_directory_has_sealed_segments_with_all_records() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 10, 300).await;
    let (summaries, records) = seen(directory.path(), Verify::Bodies);
    assert_eq!(summaries.len(), 1);
    let summary = &summaries[0];
    assert_eq!(summary.state, SegmentState::Sealed);
    assert_eq!((summary.records, summary.indexed, summary.damaged), (10, 10, 0));
    assert_eq!((summary.body_bytes, summary.unfinished_bytes), (3000, 0));
    assert_eq!(summary.namespace, Some(Namespace::named("test")));
    assert!(records.windows(2).all(|two| two[0].offset < two[1].offset));
    // The order of writing is not that of storing where a segment begins.
    let mut names: Vec<_> =
        records.iter().map(|it| (it.key.as_deref().unwrap(), it.e_tag.as_deref())).collect();
    names.sort_unstable();
    let keys: Vec<_> = (0..10).map(|n| (format!("k{n}"), format!("\"{n}\""))).collect();
    let written: Vec<_> = keys.iter().map(|(key, tag)| (&**key, Some(&**tag))).collect();
    assert_eq!(names, written);
}

#[tokio::test]
async fn a_directory_in_use_is_shown_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(memory(1000, 1 << 20), tier(directory.path())).await;
    for key in ["a", "b"] {
        let entry = entry(key, "\"1\"", body_of(key, 300));
        assert!(backend.insert(entry).await.unwrap().is_stored());
        // One that comes while a segment is made is written before one that has come before it.
        written(&backend).await;
    }
    let before = fs::read(segment_file(directory.path())).unwrap();
    let (summaries, _) = seen(directory.path(), Verify::Bodies);
    assert_eq!(summaries[0].state, SegmentState::Unsealed);
    assert_eq!((summaries[0].records, summaries[0].indexed), (2, 2));
    assert!(!summaries[0].is_damaged());
    assert_eq!(fs::read(segment_file(directory.path())).unwrap(), before);
    // A removed record is still on disk, and no longer in the footer.
    backend.remove("a").await.unwrap();
    backend.close().await.unwrap();
    let (summaries, records) = seen(directory.path(), Verify::Heads);
    assert_eq!((summaries[0].records, summaries[0].indexed), (2, 1));
    assert_eq!(records.iter().map(|it| it.is_indexed).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn a_flipped_byte_is_found_and_the_records_behind_it_are_shown() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 3, 300).await;
    let file = segment_file(directory.path());
    let whole = fs::read(&file).unwrap();
    let (_, records) = seen(directory.path(), Verify::Heads);
    let second = usize::try_from(records[1].offset).unwrap();
    let third = usize::try_from(records[2].offset).unwrap();
    for (at, n_shown) in [(second, 3), (second + 20, 3), (second + 60, 3), (third - 1, 3)] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        let (summaries, records) = seen(directory.path(), Verify::Bodies);
        assert_eq!((summaries[0].records, summaries[0].damaged), (2, 1), "byte {at}");
        assert_eq!(records.len(), n_shown, "byte {at}");
        assert!(records[1].fault.is_some() && records[2].fault.is_none(), "byte {at}");
    }
    // A body is not read unless bodies are verified.
    let mut bytes = whole;
    bytes[third - 1] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert!(!seen(directory.path(), Verify::Heads).0[0].is_damaged());
}

#[tokio::test]
async fn foreign_newer_and_damaged_segments_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 3, 300).await;
    let file = segment_file(directory.path());
    let whole = fs::read(&file).unwrap();
    let state_of = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(&file, bytes).unwrap();
        seen(directory.path(), Verify::Heads).0[0].state
    };
    assert_eq!(state_of(&|bytes| bytes[7] += 1), SegmentState::Newer);
    assert_eq!(state_of(&|bytes| bytes[0] ^= 1), SegmentState::Foreign);
    assert_eq!(state_of(&|bytes| bytes[20] ^= 1), SegmentState::Damaged);
    assert_eq!(state_of(&|bytes| bytes.truncate(63)), SegmentState::Damaged);
    assert_eq!(state_of(&Vec::clear), SegmentState::Damaged);
    assert_eq!(state_of(&|bytes| *bytes.last_mut().unwrap() ^= 1), SegmentState::Damaged);
    let in_footer = whole.len() - 50;
    assert_eq!(state_of(&|bytes| bytes[in_footer] ^= 1), SegmentState::Damaged);
    // Killed while it wrote: no footer, and half a record.
    assert_eq!(state_of(&|bytes| bytes.truncate(700)), SegmentState::Unsealed);
    assert!(seen(directory.path(), Verify::Bodies).0[0].unfinished_bytes > 0);
    // With another directory's key it is foreign; without one that cannot be told.
    fs::write(&file, &whole).unwrap();
    let other = tempfile::tempdir().unwrap();
    filled(other.path(), 1, 1).await;
    fs::copy(&file, segment_file(other.path())).unwrap();
    assert_eq!(seen(other.path(), Verify::Heads).0[0].state, SegmentState::Foreign);
    fs::remove_file(other.path().join("object-cache.lock")).unwrap();
    assert!(!Inspector::open(other.path()).unwrap().has_key());
    assert_eq!(seen(other.path(), Verify::Heads).0[0].state, SegmentState::Sealed);
}

#[test]
fn a_name_that_is_no_file_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("00000000-00000000.seg")).unwrap();
    File::create(directory.path().join("notes.txt")).unwrap();
    let inspector = Inspector::open(directory.path()).unwrap();
    let names = inspector.segments().unwrap();
    assert_eq!(names.len(), 1);
    let looked = inspector.segment(names[0], Verify::Heads, |_| ());
    assert_eq!(looked.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert!(Inspector::open(directory.path().join("missing")).is_err());
}

/// A change of a file.
#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Overwrite(prop::sample::Index, Vec<u8>),
    Replace(Vec<u8>),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            (any::<prop::sample::Index>(), 1..=u8::MAX).prop_map(|(at, by)| Self::Flip(at, by)),
            any::<prop::sample::Index>().prop_map(Self::Cut),
            (any::<prop::sample::Index>(), bytes()).prop_map(|(at, by)| Self::Overwrite(at, by)),
            bytes().prop_map(Self::Replace),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            _ if bytes.is_empty() => {}
            Self::Flip(at, by) => {
                let at = at.index(bytes.len());
                bytes[at] ^= by;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Overwrite(at, with) => {
                let at = at.index(bytes.len());
                let end = bytes.len().min(at + with.len());
                bytes[at..end].copy_from_slice(&with[..end - at]);
            }
            Self::Replace(with) => bytes.clone_from(with),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_shows_and_nothing_fails(
        damages in prop::collection::vec(Damage::any(), 1..4),
        in_lock in prop::option::of(Damage::any()),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(filled(directory.path(), 4, 200));
        let file = segment_file(directory.path());
        let whole = fs::read(&file).unwrap();
        let (_, before) = seen(directory.path(), Verify::Bodies);
        let mut bytes = whole.clone();
        damages.iter().for_each(|damage| damage.apply(&mut bytes));
        fs::write(&file, &bytes).unwrap();
        if let Some(damage) = in_lock {
            let lock = directory.path().join("object-cache.lock");
            let mut bytes = fs::read(&lock).unwrap();
            damage.apply(&mut bytes);
            fs::write(&lock, bytes).unwrap();
        }
        let Ok(inspector) = Inspector::open(directory.path()) else { return Ok(()) };
        let name = inspector.segments().unwrap()[0];
        let mut records = Vec::new();
        let summary = inspector.segment(name, Verify::Bodies, |it| records.push(it)).unwrap();
        // A record that is shown as whole is one that was written.
        for record in records.iter().filter(|record| record.fault.is_none()) {
            let is_same = |other: &&Record| {
                (&other.key, other.offset, other.sequence) ==
                    (&record.key, record.offset, record.sequence)
            };
            prop_assert!(before.iter().any(|other| is_same(&other)));
        }
        let is_unsealed = summary.state == SegmentState::Unsealed;
        prop_assert!(
            bytes == whole || summary.is_damaged() || is_unsealed
                || summary.state != SegmentState::Sealed,
            "{summary:?}"
        );
    }
}
