//! Entries of unusual sizes and names.

use cache_core::{Backend, Key};

use crate::support::{Opened, settings, version_of};

#[test]
fn keys_of_all_lengths() {
    let directory = tempfile::tempdir().unwrap();
    let mut keys = vec!["a".to_owned(), "x".repeat(Key::LEN_MAX), vec!["s"; 255].join("/")];
    keys.extend(["a/b", "con", "%2F", "ü/ö", "a b", "..."].map(String::from));
    let mut opened = Opened::new(settings(directory.path()));
    for key in &keys {
        opened.insert(key, 1, 100);
    }
    opened.close();
    let opened = Opened::new(settings(directory.path()));
    for key in &keys {
        let found = opened.look_up(key).unwrap_or_else(|| panic!("{key:.100} is lost"));
        assert_eq!(version_of(&found, key), 1);
    }
}

#[test]
fn bodies_of_all_lengths() {
    let directory = tempfile::tempdir().unwrap();
    let lens = [0, 1, 511, 512, 513, 8191, 8192, 16_383, 16_384, 60_000, 65_000];
    let mut opened = Opened::new(settings(directory.path()));
    for len in lens {
        opened.insert(&format!("len/{len}"), 1, len);
    }
    opened.close();
    let opened = Opened::new(settings(directory.path()));
    for len in lens {
        let key = format!("len/{len}");
        let found = opened.look_up(&key).unwrap_or_else(|| panic!("{key} is lost"));
        assert_eq!((version_of(&found, &key), found.body().len()), (1, len));
    }
}

#[test]
fn an_entry_larger_than_a_segment_is_in_memory_only_and_one_larger_than_the_queue_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(settings(directory.path()).queue_bytes(100_000));
    opened.insert("large", 1, 70_000);
    opened.insert("larger", 1, 200_000);
    opened.insert("small", 1, 100);
    for key in ["large", "larger"] {
        assert!(opened.look_up(key).is_none(), "{key} is not in memory any more");
    }
    let stats = opened.backend.lower_tier().unwrap();
    assert_eq!((stats.dropped.too_large, stats.dropped.total()), (2, 2), "{stats:?}");
    let queue = settings(directory.path()).max_capacity(64 << 20).segment_bytes(1 << 20);
    opened.close();
    let mut opened = Opened::new(queue.queue_bytes(100_000));
    // The queue has no room for it, but memory has it until it is written.
    opened.insert("large", 2, 200_000);
    opened.drain();
    opened.insert("small", 2, 100);
    let stats = opened.backend.lower_tier().unwrap();
    assert_eq!(stats.dropped.total(), 0, "{stats:?}");
    assert!(opened.look_up("large").is_some());
}
