//! Processes that are killed while they write.

use std::path::Path;

use cache_core::Backend;

use crate::{
    child::{Said, listen, start},
    support::{Opened, segments, settings, version_of},
};

/// Opens the directory of a process that has ended, and checks what is found.
fn check(path: &Path, said: &Said, capacity: u64, all_is_found: bool) {
    let opened = Opened::new(settings(path).max_capacity(capacity));
    for n in 0..20 {
        let key = format!("key/{n}");
        let found = opened.look_up(&key).map(|found| version_of(&found, &key));
        if let Some(version) = said.on_disk.get(&key)
            && all_is_found
        {
            assert_eq!(found.as_ref(), Some(version), "{key}, {said:?}");
        }
    }
    let stats = opened.backend.lower_tier().expect("it has a tier");
    assert_eq!((stats.read_errors, stats.write_errors), (0, 0), "{stats:?}");
    opened.close();
    // No segment without a header is left, and none too many.
    let sizes =
        segments(path).iter().map(|path| path.metadata().unwrap().len()).collect::<Vec<_>>();
    assert!(sizes.iter().all(|size| *size > 64), "{sizes:?}");
    assert!(sizes.iter().sum::<u64>() <= capacity, "{sizes:?}");
}

fn kill_at_each_write(work: &str, capacity: u64, all_is_found: bool) -> usize {
    let mut n_kills = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let said = listen(start(work, directory.path(), n_kills), None);
        check(directory.path(), &said, capacity, all_is_found);
        if said.has_ended {
            println!("{n_kills} kills");
            return usize::try_from(n_kills).unwrap();
        }
        n_kills += 1;
    }
}

#[test]
fn at_each_write() {
    let n_kills = kill_at_each_write("write", 16 << 20, true);
    assert!(n_kills > 70, "{n_kills} writes are too few to be a test");
}

#[test]
fn at_each_write_while_segments_are_recycled() {
    // What is recycled is not told in time to be expected.
    let n_kills = kill_at_each_write("recycle", 256 << 10, false);
    assert!(n_kills > 70, "{n_kills} writes are too few to be a test");
}

#[test]
fn at_any_moment_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    for n in 1..=40 {
        // The moment is one of the other process: somewhere behind what it has told.
        let said = listen(start("write in a thread", directory.path(), 0), Some(n % 7 * n / 2 + 1));
        check(directory.path(), &said, 16 << 20, false);
    }
}
