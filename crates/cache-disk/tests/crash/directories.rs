//! Directories that are full, gone, or not what they should be.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use cache_core::{Backend, Error, ErrorKind, Namespace, TierContext, TierState};
use cache_disk::TieredBackend;
use cache_testkit::ManualClock;

use crate::{
    child,
    support::{
        Opened, STARTING, context, insert, memory, names, ready, segments, settings, version_of,
    },
};

/// Returns the error of opening a tier over `path`.
fn refused(path: &Path) -> Error {
    let opened = TieredBackend::new(memory(), &settings(path), context());
    let error = opened.expect_err("the directory is not usable");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error
}

/// A file system of its own, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None` with a printed word if this process may not mount.
    fn new(path: &Path, options: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path);
        let _starting = STARTING.write().unwrap();
        let is_mounted = mount.output().is_ok_and(|done| done.status.success());
        if !is_mounted {
            println!("left out: a tmpfs cannot be mounted by this user");
            return None;
        }
        Some(Self(path.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _starting = STARTING.write().unwrap();
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_costs_the_oldest_segments_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(directory.path(), "size=8m,mode=700") else { return };
    let mut opened = Opened::new(settings(directory.path()));
    for n in 0..800 {
        opened.insert(&format!("key/{n}"), 1, 20_000);
        // After a failure it is tried again.
        opened.clock.advance(Duration::from_secs(2));
    }
    let stats = opened.backend.lower_tier().unwrap();
    assert!(stats.write_errors > 0, "the disk was not full: {stats:?}");
    assert!(stats.entries > 300 && stats.bytes <= 8 << 20, "{stats:?}");
    let n_found = (0..800).filter(|n| {
        let key = format!("key/{n}");
        opened.look_up(&key).is_some_and(|found| version_of(&found, &key) == 1)
    });
    assert!(n_found.count() as u64 >= stats.entries);
    opened.close();
    let opened = Opened::new(settings(directory.path()));
    assert!(opened.backend.lower_tier().unwrap().recovered > 300);
}

#[test]
fn a_read_only_directory_is_an_error_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(directory.path(), "ro,mode=700") else { return };
    assert!(refused(directory.path()).to_string().contains("is not writable"));
}

#[test]
fn a_directory_that_vanishes_costs_misses() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("cache");
    let mut opened = Opened::new(settings(&path));
    for n in 0..20 {
        opened.insert(&format!("key/{n}"), 1, 20_000);
    }
    fs::remove_dir_all(&path).unwrap();
    for n in 20..40 {
        opened.insert(&format!("key/{n}"), 1, 20_000);
    }
    assert_eq!(opened.backend.state(), TierState::Off);
    for n in 0..39 {
        let key = format!("key/{n}");
        if let Some(found) = opened.look_up(&key) {
            version_of(&found, &key);
        }
    }
    // Once it is there again, the tier works again.
    fs::create_dir(&path).unwrap();
    opened.clock.advance(Duration::from_secs(600));
    opened.insert("again", 1, 1000);
    assert_eq!(opened.backend.state(), TierState::On);
    assert!(!segments(&path).is_empty());
    opened.close();
}

#[test]
fn without_file_descriptors_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(settings(directory.path()));
    for n in 0..100 {
        opened.insert(&format!("key/{n}"), 1, 40_000);
    }
    opened.close();
    assert!(segments(directory.path()).len() >= 50);
    assert!(child::listen(child::start("few files", directory.path(), 0), None).has_ended);
}

#[test]
fn a_second_cache_over_a_directory_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(settings(directory.path()));
    let in_use = "is in use by another cache";
    assert!(refused(directory.path()).to_string().contains(in_use));
    let mut child = child::start("open", directory.path(), 0);
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    assert!(said.contains("Config") && said.contains(in_use), "{said}");
    opened.insert("a", 1, 20);
    opened.close();
    // Closed, it is free.
    assert!(Opened::new(settings(directory.path())).look_up("a").is_some());
}

#[test]
fn a_lock_of_a_newer_format_is_an_error_and_a_damaged_one_a_new_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(settings(directory.path()));
    opened.insert("a", 1, 20);
    opened.close();
    let lock = directory.path().join(LOCK);
    let bytes = fs::read(&lock).unwrap();
    let mut newer = bytes.clone();
    newer[7] += 1;
    fs::write(&lock, &newer).unwrap();
    assert!(refused(directory.path()).to_string().contains("newer release"));
    assert_eq!(fs::read(&lock).unwrap(), newer);
    for bit in 64..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&lock, damaged).unwrap();
        let opened = Opened::new(settings(directory.path()));
        assert!(opened.look_up("a").is_none(), "bit {bit}");
        opened.close();
    }
    for len in 0..bytes.len() {
        fs::write(&lock, &bytes[..len]).unwrap();
        let opened = Opened::new(settings(directory.path()));
        assert!(opened.look_up("a").is_none(), "{len} bytes");
        opened.close();
    }
    fs::write(&lock, bytes).unwrap();
    assert!(Opened::new(settings(directory.path())).look_up("a").is_some());
}

#[test]
fn foreign_files_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let foreign = ["notes.txt", "00000000-00000000.seg", "00000000-00000001.seg.tmp", "x.seg"];
    for name in foreign {
        fs::write(
            directory.path().join(name),
            "this is not a segment, and longer than a header is",
        )
        .unwrap();
    }
    let long = "this is not a segment. ".repeat(100);
    fs::write(directory.path().join(foreign[1]), &long).unwrap();
    fs::create_dir(directory.path().join("00000000-00000007.seg")).unwrap();
    let mut between = Vec::new();
    for start in 1..=3 {
        let mut opened = Opened::new(settings(directory.path()).max_capacity(256 << 10));
        // With the name that the second segment would get.
        between.push(directory.path().join(format!("{start:08x}-00000001.seg")));
        fs::write(&between[start - 1], &long).unwrap();
        // A directory cannot be read, after which the tier is left alone for a second.
        opened.clock.advance(Duration::from_secs(2));
        for n in 0..50 {
            opened.insert(&format!("key/{n}"), 1, 20_000);
        }
        let stats = opened.backend.lower_tier().unwrap();
        assert!(stats.dropped.recycled > 20, "{stats:?}");
        ready(opened.backend.clear()).unwrap();
        opened.insert("a", 1, 20);
        opened.close();
    }
    let names = names(directory.path());
    for name in foreign.iter().chain(&["00000000-00000007.seg"]) {
        assert!(names.iter().any(|left| left == name), "{name} was removed: {names:?}");
    }
    between.push(directory.path().join(foreign[1]));
    for path in between {
        assert_eq!(fs::read_to_string(&path).unwrap(), long, "{path:?}");
    }
}

#[test]
fn a_path_that_is_no_private_directory_is_an_error() {
    let parent = tempfile::tempdir().unwrap();
    let path = |name| parent.path().join(name);
    fs::write(path("file"), "").unwrap();
    assert!(refused(&path("file")).to_string().contains("is no directory"));
    fs::create_dir(path("directory")).unwrap();
    symlink(path("directory"), path("link")).unwrap();
    assert!(refused(&path("link")).to_string().contains("is a symbolic link"));
    symlink(path("nowhere"), path("dangling")).unwrap();
    refused(&path("dangling"));
    assert!(refused(&path("file").join("below")).to_string().contains("cannot be made"));
    for mode in [0o777, 0o770, 0o722] {
        fs::set_permissions(path("directory"), fs::Permissions::from_mode(mode)).unwrap();
        assert!(refused(&path("directory")).to_string().contains("by other users"));
    }
    assert!(names(&path("directory")).is_empty());
    fs::set_permissions(path("directory"), fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(path("directory").join("probe"), "").is_err() {
        assert!(refused(&path("directory")).to_string().contains("is not writable"));
    } else {
        println!("left out: this user can write everywhere");
    }
    // A lock and a segment that are links to somebody's files.
    fs::set_permissions(path("directory"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(path("victim"), "of somebody else").unwrap();
    symlink(path("victim"), path("directory").join(LOCK)).unwrap();
    refused(&path("directory"));
    fs::remove_file(path("directory").join(LOCK)).unwrap();
    symlink(path("victim"), path("directory").join("00000000-00000000.seg")).unwrap();
    let mut opened = Opened::new(settings(&path("directory")));
    opened.insert("a", 1, 20_000);
    opened.close();
    assert_eq!(fs::read_to_string(path("victim")).unwrap(), "of somebody else");
}

#[test]
fn directory_and_files_are_private() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("deep/er/cache");
    let mut opened = Opened::new(settings(&path));
    opened.insert("a", 1, 20);
    opened.close();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for name in names(&path) {
        assert_eq!(mode(&path.join(&name)), 0o600, "{name}");
    }
}

#[test]
fn two_namespaces_one_after_the_other_do_not_disturb_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let opened = |namespace| {
        let settings = settings(directory.path());
        let files = settings.open_directory().unwrap();
        let clock = Arc::new(ManualClock::new());
        let context = TierContext::new(Namespace::named(namespace), Arc::clone(&clock) as _);
        let (backend, writer) = settings.open_with(memory(), context, files).unwrap();
        let mut opened = Opened { backend, writer, clock };
        opened.drain();
        opened
    };
    for (version, namespace) in ["one", "two"].into_iter().enumerate() {
        let mut opened = opened(namespace);
        assert!(opened.look_up("a").is_none());
        opened.insert("a", version as u64, 20);
        opened.close();
    }
    for (version, namespace) in ["one", "two"].into_iter().enumerate() {
        let opened = opened(namespace);
        assert_eq!(version_of(&opened.look_up("a").unwrap(), "a"), version as u64);
        opened.close();
    }
}

/// File times say nothing, and no wall clock is looked at.
#[test]
fn file_times_and_the_wall_clock_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for version in 1..=2 {
        let mut opened = Opened::new(settings(directory.path()));
        opened.clock.advance(Duration::from_secs(1_000_000 / version));
        opened.insert("a", version, 20);
        opened.close();
    }
    let segments = segments(directory.path());
    for (at, segment) in segments.iter().rev().enumerate() {
        let time = std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000 * at as u64);
        fs::File::options().write(true).open(segment).unwrap().set_modified(time).unwrap();
    }
    let opened = Opened::new(settings(directory.path()));
    let found = opened.look_up("a").unwrap();
    assert_eq!((version_of(&found, "a"), found.expires_at()), (2, None));
}

#[test]
fn settings_that_cannot_work_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    let wrong = [
        settings(&path).max_capacity(0),
        settings(&path).max_capacity(1000),
        settings(&path).max_capacity(256 << 10).segment_bytes(128 << 10),
        settings(&path).segment_bytes(0),
        settings(&path).segment_bytes(1 << 40).max_capacity(1 << 50),
        settings(&path).queue_bytes(0),
        settings(&path).write_budget(0),
    ];
    for settings in wrong {
        let error = TieredBackend::new(memory(), &settings, context()).expect_err("it is wrong");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(!path.exists(), "{error}");
    }
    let smallest = settings(&path).max_capacity(256 << 10).queue_bytes(1).write_budget(1);
    let opened = Opened::new(smallest);
    insert(&opened.backend, "a", 1, 20);
    assert_eq!(opened.backend.lower_tier().unwrap().queue_bytes, 0);
}

const LOCK: &str = "object-cache.lock";
