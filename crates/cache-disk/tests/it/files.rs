//! Files that do something at a certain call.

use std::{
    fmt,
    io::{self, IoSlice},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use cache_core::{Backend, TierState};
use cache_disk::{
    DiskTier, Step, TieredBackend, Writer,
    files::{Files, SegmentFile, SegmentName},
};
use futures_util::FutureExt as _;

use crate::support::{Memory, body_of, context, entry, memory};

type Hook = Box<dyn Fn() + Send + Sync>;

/// The files of a directory, with a call before each removal, and reads that may hang.
struct Hooked {
    files: Arc<dyn Files>,
    before_remove: OnceLock<Hook>,
    gate: Arc<Gate>,
    n_runs: AtomicUsize,
}

/// Reads wait here while it is shut.
#[derive(Default)]
struct Gate {
    is_shut: AtomicBool,
    has_reader: AtomicBool,
    opened: Mutex<Option<mpsc::Receiver<()>>>,
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooked").finish_non_exhaustive()
    }
}

impl Files for Hooked {
    fn hash_key(&self) -> [u8; 16] {
        self.files.hash_key()
    }

    fn list(&self) -> io::Result<Vec<SegmentName>> {
        self.files.list()
    }

    fn create(&self, name: SegmentName) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(Gated(self.files.create(name)?, Arc::clone(&self.gate))))
    }

    fn open(&self, name: SegmentName) -> io::Result<Arc<dyn SegmentFile>> {
        self.files.open(name)
    }

    fn remove(&self, name: SegmentName) -> io::Result<()> {
        if let Some(hook) = self.before_remove.get() {
            hook();
        }
        self.files.remove(name)
    }

    fn unlock(&self) {
        self.files.unlock();
    }

    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        self.n_runs.fetch_add(1, Ordering::SeqCst);
        if self.gate.is_shut.load(Ordering::SeqCst) {
            thread::spawn(work);
        } else {
            work();
        }
    }
}

#[derive(Debug)]
struct Gated(Arc<dyn SegmentFile>, Arc<Gate>);

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl SegmentFile for Gated {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if self.1.is_shut.load(Ordering::SeqCst) {
            let opened = self.1.opened.lock().expect("no test panics here").take();
            self.1.has_reader.store(true, Ordering::SeqCst);
            // Ends when the sender is dropped.
            let _ = opened.map(|opened| opened.recv());
        }
        self.0.read_at(offset, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.0.write_at(offset, parts)
    }
}

fn open(directory: &std::path::Path) -> (Arc<TieredBackend<Memory>>, Writer, Arc<Hooked>) {
    let tier = DiskTier::new(directory).max_capacity(256 << 10).write_budget(None);
    let files = Arc::new(Hooked {
        files: tier.open_directory().expect("the directory is usable"),
        before_remove: OnceLock::new(),
        gate: Arc::default(),
        n_runs: AtomicUsize::new(0),
    });
    let opened = tier.open_with(memory(1, 1 << 20), context(), Arc::clone(&files) as Arc<_>);
    let (backend, mut writer) = opened.expect("the settings are right");
    drain(&mut writer);
    (Arc::new(backend), writer, files)
}

fn drain(writer: &mut Writer) {
    while writer.step() == Step::Progress {}
}

#[test]
fn an_entry_that_is_stored_after_a_clear_amid_a_write_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, mut writer, files) = open(directory.path());
    let (cleared, was_cleared) = (Arc::downgrade(&backend), AtomicBool::new(false));
    // While a new segment is made, before the entries that are written to it are chosen.
    let hook = move || {
        if let Some(backend) = cleared.upgrade()
            && !was_cleared.swap(true, Ordering::SeqCst)
        {
            backend.clear().now_or_never().expect("it waits for nothing").unwrap();
            assert!(backend.insert_now(entry("a", "\"1\"", body_of("a", 1000))).is_ok());
        }
    };
    assert!(files.before_remove.set(Box::new(hook)).is_ok());
    for n in 0..300 {
        let key = format!("b/{n}");
        assert!(backend.insert_now(entry(&key, "\"1\"", body_of(&key, 1000))).is_ok());
        drain(&mut writer);
    }
    let stats = backend.lower_tier().unwrap();
    assert_eq!((stats.queue_entries, stats.queue_bytes), (0, 0), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_others_overtake_does_not_turn_the_tier_off() {
    for is_overtaken in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let (backend, mut writer, files) = open(directory.path());
        for key in ["slow", "fast", "last"] {
            assert!(backend.insert_now(entry(key, "\"1\"", body_of(key, 1000))).is_ok());
        }
        drain(&mut writer);
        let gate = &files.gate;
        let (open_gate, opened) = mpsc::channel();
        *gate.opened.lock().unwrap() = Some(opened);
        gate.is_shut.store(true, Ordering::SeqCst);
        let slow = Arc::clone(&backend);
        let slow = tokio::spawn(async move { slow.get("slow").await.unwrap() });
        // Never idle: time stands still.
        while !gate.has_reader.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        gate.is_shut.store(false, Ordering::SeqCst);
        if is_overtaken {
            assert!(backend.get("fast").await.unwrap().is_some());
        }
        assert!(slow.await.unwrap().is_none());
        let expected = if is_overtaken { TierState::On } else { TierState::Off };
        assert_eq!(backend.state(), expected);
        drop(open_gate);
    }
}

#[tokio::test(start_paused = true)]
async fn readers_of_one_record_share_a_read() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, mut writer, files) = open(directory.path());
    for key in ["a", "last"] {
        assert!(backend.insert_now(entry(key, "\"1\"", body_of(key, 1000))).is_ok());
    }
    drain(&mut writer);
    let (open_gate, opened) = mpsc::channel();
    *files.gate.opened.lock().unwrap() = Some(opened);
    files.gate.is_shut.store(true, Ordering::SeqCst);
    let mut gets: Vec<_> = (0..20)
        .map(|_| {
            let backend = Arc::clone(&backend);
            tokio::spawn(async move { backend.get("a").await.unwrap() })
        })
        .collect();
    while !files.gate.has_reader.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    // The read does not end with the first reader.
    gets.remove(0).abort();
    drop(open_gate);
    while gets.iter().any(|get| !get.is_finished()) {
        tokio::task::yield_now().await;
    }
    for get in gets {
        assert!(get.await.unwrap().is_some_and(|entry| entry.body() == &body_of("a", 1000)));
    }
    assert_eq!(files.n_runs.load(Ordering::SeqCst), 1);
}
