//! Files that are not what was written.

use std::{fs, path::Path};

use cache_core::Backend;

use crate::support::{Opened, segments, settings, version_of};

/// Writes three entries into one segment of a new directory, and returns its bytes.
fn written(path: &Path) -> (std::path::PathBuf, Vec<u8>) {
    let mut opened = Opened::new(settings(path));
    for key in KEYS {
        opened.insert(key, 1, 20);
    }
    opened.close();
    let segment = segments(path).remove(0);
    let bytes = fs::read(&segment).unwrap();
    (segment, bytes)
}

/// Opens the tier, and returns which keys it finds. What it finds is what was written.
fn found(path: &Path) -> Vec<&'static str> {
    let opened = Opened::new(settings(path));
    let is_found = |key: &&&str| {
        let found = opened.look_up(key);
        found.is_some_and(|found| version_of(&found, key) == 1 && found.body().len() == 20)
    };
    let found = KEYS.iter().filter(is_found).copied().collect();
    opened.close();
    found
}

#[test]
fn each_bit_flipped_in_turn() {
    let directory = tempfile::tempdir().unwrap();
    let (segment, bytes) = written(directory.path());
    let records = 64..bytes.len() - 3 * 32 - 40;
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&segment, damaged).unwrap();
        let found = found(directory.path());
        // A damaged record is one miss, and a damaged footer none.
        let expected = match bit / 8 {
            0..64 => 0,
            byte if records.contains(&byte) => 2,
            _ => 3,
        };
        assert_eq!(found.len(), expected, "bit {bit}: {found:?}");
    }
}

#[test]
fn truncated_at_each_length() {
    let directory = tempfile::tempdir().unwrap();
    let (segment, bytes) = written(directory.path());
    let record = (bytes.len() - 64 - 3 * 32 - 40) / 3;
    for len in 0..bytes.len() {
        fs::write(&segment, &bytes[..len]).unwrap();
        let whole = len.saturating_sub(64) / record;
        assert_eq!(found(directory.path()), KEYS[..whole.min(3)], "{len} bytes");
        // It was given a footer, or removed.
        if segment.exists() {
            assert_eq!(found(directory.path()), KEYS[..whole.min(3)], "{len} bytes, again");
        }
    }
}

#[test]
fn zeroed_from_and_up_to_each_byte() {
    let directory = tempfile::tempdir().unwrap();
    let (segment, bytes) = written(directory.path());
    for at in 0..bytes.len() {
        for range in [0..at, at..bytes.len()] {
            let mut damaged = bytes.clone();
            damaged[range].fill(0);
            fs::write(&segment, damaged).unwrap();
            found(directory.path());
        }
    }
}

#[test]
fn two_segments_swapped() {
    let directory = tempfile::tempdir().unwrap();
    for version in 1..=2 {
        let mut opened = Opened::new(settings(directory.path()));
        for key in KEYS {
            opened.insert(key, version, 20);
        }
        opened.close();
    }
    let [old, new] = segments(directory.path()).try_into().unwrap();
    let (old_bytes, new_bytes) = (fs::read(&old).unwrap(), fs::read(&new).unwrap());
    assert_eq!(old_bytes.len(), new_bytes.len());
    fs::write(&new, old_bytes).unwrap();
    fs::write(&old, new_bytes).unwrap();
    let opened = Opened::new(settings(directory.path()));
    for key in KEYS {
        assert!(opened.look_up(key).is_none(), "{key}");
    }
    assert_eq!(opened.backend.lower_tier().unwrap().corrupt, 2);
}

#[test]
fn a_segment_of_a_newer_format_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (segment, mut bytes) = written(directory.path());
    bytes[7] += 1;
    fs::write(&segment, &bytes).unwrap();
    let mut opened = Opened::new(settings(directory.path()));
    assert!(opened.look_up(KEYS[0]).is_none());
    assert_eq!(opened.backend.lower_tier().unwrap().foreign, 1);
    for n in 0..100 {
        opened.insert(&format!("key/{n}"), 1, 20_000);
    }
    crate::support::ready(opened.backend.clear()).unwrap();
    opened.drain();
    opened.close();
    assert!(fs::read(&segment).unwrap() == bytes);
}

const KEYS: [&str; 3] = ["a", "b", "c"];
