//! Tiers on real directories, with and without a thread.

use std::{
    path::Path,
    pin::pin,
    sync::{Arc, RwLock},
    task::{Context, Poll, Waker},
};

use cache_core::{Backend, Entry, Key, Namespace, TierContext, TierState};
use cache_disk::{DiskTier, Step, TieredBackend, Writer, files::Files};
use cache_policy::{Lru, MemoryBackend};
use cache_testkit::ManualClock;

pub(crate) type Tier = TieredBackend<MemoryBackend<Lru>>;

/// Memory for one entry: all others are read from disk.
pub(crate) fn memory() -> MemoryBackend<Lru> {
    let builder = MemoryBackend::builder(Lru::new()).max_entries(1).max_capacity(64 << 20);
    builder.shards(1).build().expect("the settings are right")
}

pub(crate) fn settings(path: &Path) -> DiskTier {
    DiskTier::new(path).max_capacity(16 << 20).segment_bytes(64 << 10).write_budget(None)
}

pub(crate) fn context() -> TierContext {
    context_at(Arc::new(ManualClock::new()))
}

pub(crate) fn context_at(clock: Arc<ManualClock>) -> TierContext {
    TierContext::new(Namespace::named("test"), clock)
}

/// A tier whose writer is run by the test.
pub(crate) struct Opened {
    pub(crate) backend: Tier,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<ManualClock>,
}

impl Opened {
    pub(crate) fn new(settings: DiskTier) -> Self {
        // A process that is just being started has the locks of this one until it runs its program.
        let files = {
            let _none_starts = STARTING.read().unwrap();
            settings.open_directory().expect("the directory is usable")
        };
        Self::over(settings, files)
    }

    /// Opens the tier and reads what earlier processes have written.
    pub(crate) fn over(settings: DiskTier, files: Arc<dyn Files>) -> Self {
        let clock = Arc::new(ManualClock::new());
        let context = context_at(Arc::clone(&clock));
        let opened = settings.open_with(memory(), context, files);
        let (backend, writer) = opened.expect("the settings are right");
        let mut opened = Self { backend, writer, clock };
        while opened.backend.state() == TierState::Starting {
            opened.writer.step();
        }
        opened
    }

    /// Runs the writer until it has nothing to do.
    pub(crate) fn drain(&mut self) {
        while self.writer.step() == Step::Progress {}
    }

    pub(crate) fn insert(&mut self, key: &str, version: u64, len: usize) {
        insert(&self.backend, key, version, len);
        self.drain();
    }

    pub(crate) fn look_up(&self, key: &str) -> Option<Entry> {
        match self.backend.get_now(key) {
            // Without a runtime reads are run at once.
            None => ready(self.backend.get(key)).expect("a look-up does not fail"),
            shown => shown,
        }
    }

    pub(crate) fn close(mut self) {
        let mut closed = pin!(self.backend.close());
        while closed.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.writer.step();
        }
    }
}

pub(crate) fn insert(backend: &impl Backend, key: &str, version: u64, len: usize) {
    let inserted = match backend.insert_now(entry(key, version, len)) {
        Ok(inserted) => inserted,
        Err(entry) => ready(backend.insert(entry)).expect("memory does not fail"),
    };
    assert!(inserted.is_stored());
}

pub(crate) fn entry(key: &str, version: u64, len: usize) -> Entry {
    let name = Key::parse(key).expect("the key is right");
    let builder = Entry::builder(&name, body(key, version, len).into());
    builder.e_tag(format!("\"{version}\"")).build()
}

/// A body that no other key and version has.
pub(crate) fn body(key: &str, version: u64, len: usize) -> Vec<u8> {
    let seed = key.bytes().fold(version + 1, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    let words = (0..).map(|n: u64| (seed ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).take(len).collect()
}

/// Checks that `found` is what was inserted, and returns its version.
pub(crate) fn version_of(found: &Entry, key: &str) -> u64 {
    let e_tag = found.e_tag().expect("it has an ETag");
    let version = e_tag.trim_matches('"').parse().expect("it is one of ours");
    assert_eq!(found.key(), key);
    assert!(
        found.body() == &body(key, version, found.body().len()),
        "{key} {version}: wrong bytes"
    );
    assert_eq!(found.validated_at(), None, "{key} has a stamp");
    version
}

pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits"),
    }
}

/// The files in a directory.
pub(crate) fn names(path: &Path) -> Vec<String> {
    let files = std::fs::read_dir(path).expect("it is there");
    let name = |file: std::io::Result<std::fs::DirEntry>| file.unwrap().file_name();
    let mut names: Vec<_> = files.map(|file| name(file).into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn segments(path: &Path) -> Vec<std::path::PathBuf> {
    let names = names(path).into_iter().filter(|name| name.ends_with(".seg"));
    names.map(|name| path.join(name)).collect()
}

/// Locked while a process is being started.
pub(crate) static STARTING: RwLock<()> = RwLock::new(());
