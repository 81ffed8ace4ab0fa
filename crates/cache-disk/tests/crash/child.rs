//! A process of its own: this test binary, run again by the tests that need one.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, IoSlice, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::Backend;
use cache_disk::{
    TieredBackend,
    files::{Files, SegmentFile, SegmentName},
};
use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};

use crate::support::{Opened, STARTING, context, insert, memory, settings, version_of};

/// Starts a process that does `work` in the directory at `path`.
pub(crate) fn start(work: &str, path: &Path, argument: u64) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this is a program"));
    child.args(["child::work", "--exact", "--nocapture"]);
    child.env(WORK, work).env(PATH, path).env(ARGUMENT, argument.to_string());
    let _starting = STARTING.write().unwrap();
    child.stdout(Stdio::piped()).spawn().expect("it starts")
}

/// What a process has said of the entries that are on disk, and of those that it was to replace.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) on_disk: BTreeMap<String, u64>,
    pub(crate) n_states: usize,
    pub(crate) has_ended: bool,
}

/// Reads what the process says, and kills it when it has told `kill_after` times what is on disk.
pub(crate) fn listen(mut child: Child, kill_after: Option<usize>) -> Said {
    let mut said = Said::default();
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    for line in out.lines().map_while(Result::ok) {
        if line == "end" {
            said.has_ended = true;
        } else if let Some(key) = line.strip_prefix("insert ") {
            said.on_disk.remove(key);
        } else if let Some(state) = line.strip_prefix("on disk:") {
            said.n_states += 1;
            let item = |item: &str| {
                let (key, version) = item.split_once('=').expect("a key and a version");
                (key.to_owned(), version.parse().expect("a number"))
            };
            said.on_disk = state.split_whitespace().map(item).collect();
            if kill_after == Some(said.n_states) {
                child.kill().expect("it can be killed");
            }
        }
    }
    child.wait().expect("it ends");
    said
}

/// Does nothing unless it is in a process that another test has started.
#[test]
fn work() {
    let Ok(work) = std::env::var(WORK) else { return };
    let path = std::env::var(PATH).expect("it is given");
    let argument = std::env::var(ARGUMENT).expect("it is given").parse().expect("a number");
    let path = Path::new(&path);
    match work.as_str() {
        "write" => write(path, argument, 16 << 20),
        "recycle" => write(path, argument, 256 << 10),
        "write in a thread" => write_in_a_thread(path),
        "open" => open(path),
        "few files" => few_files(path),
        _ => panic!("there is no such work"),
    }
    say("end");
}

fn say(what: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{what}").and_then(|()| out.flush()).expect("the other process listens");
}

/// Writes versions of 20 keys, and is killed in the midst of write number `kill_at`.
fn write(path: &Path, kill_at: u64, capacity: u64) {
    let settings = settings(path).max_capacity(capacity);
    let files = settings.open_directory().expect("the directory is usable");
    let files = Counting { files, left: Arc::new(AtomicU64::new(kill_at)) };
    let mut opened = Opened::over(settings, Arc::new(files));
    let mut versions = BTreeMap::new();
    for version in 0..60 {
        // Several in one write, now and then.
        for key in [version % 20, version * 7 % 20] {
            let key = format!("key/{key}");
            say(&format!("insert {key}"));
            insert(&opened.backend, &key, version, 5000 + 100 * usize::try_from(version).unwrap());
            versions.insert(key, version);
        }
        opened.drain();
        tell(&opened.backend, &versions);
    }
    opened.close();
}

fn write_in_a_thread(path: &Path) {
    let backend = TieredBackend::new(memory(), &settings(path), context()).unwrap();
    let mut versions = BTreeMap::new();
    for version in 0..1_000_000 {
        let key = format!("key/{}", version % 20);
        say(&format!("insert {key}"));
        insert(&backend, &key, version, 5000);
        versions.insert(key, version);
        if version % 5 == 0 {
            while backend.lower_tier().expect("it has a tier").queue_entries > 0 {
                std::thread::yield_now();
            }
            tell(&backend, &versions);
        }
    }
}

/// Says which entries are on disk: those that memory does not have, and nothing waits.
fn tell<M: Backend>(backend: &TieredBackend<M>, versions: &BTreeMap<String, u64>) {
    let is_on_disk = |key: &str| {
        backend.memory().contains(key) == Some(false) && backend.contains(key) == Some(true)
    };
    let mut line = "on disk:".to_owned();
    for (key, version) in versions.iter().filter(|(key, _)| is_on_disk(key)) {
        line.push_str(&format!(" {key}={version}"));
    }
    say(&line);
}

fn open(path: &Path) {
    match TieredBackend::new(memory(), &settings(path), context()) {
        Ok(_) => say("opened"),
        Err(error) => say(&format!("{:?}: {error}", error.kind())),
    }
}

/// Reads entries of more segments than it may open files.
fn few_files(path: &Path) {
    let few = Rlimit { current: Some(24), maximum: Some(24) };
    setrlimit(Resource::Nofile, few).expect("the limit can be lowered");
    let mut opened = Opened::new(settings(path));
    for round in 0..2 {
        for n in 0..100 {
            let key = format!("key/{n}");
            let found = opened.look_up(&key).unwrap_or_else(|| panic!("{key} is lost"));
            version_of(&found, &key);
        }
        // Nothing is free, for a new segment either.
        let mut taken = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            taken.push(file);
        }
        opened.insert(&format!("more/{round}"), 0, 50_000);
        drop(taken);
        opened.clock.advance(Duration::from_secs(600));
    }
    opened.insert("last", 0, 50_000);
    assert!(opened.backend.contains("last") == Some(true));
    opened.close();
}

/// Files that kill the process in the midst of a write.
#[derive(Debug)]
struct Counting {
    files: Arc<dyn Files>,
    left: Arc<AtomicU64>,
}

impl Counting {
    fn file(&self, file: Arc<dyn SegmentFile>) -> Arc<dyn SegmentFile> {
        Arc::new(CountingFile { file, left: Arc::clone(&self.left) })
    }
}

impl Files for Counting {
    fn hash_key(&self) -> [u8; 16] {
        self.files.hash_key()
    }

    fn list(&self) -> io::Result<Vec<SegmentName>> {
        self.files.list()
    }

    fn create(&self, name: SegmentName) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(self.file(self.files.create(name)?))
    }

    fn open(&self, name: SegmentName) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(self.file(self.files.open(name)?))
    }

    fn remove(&self, name: SegmentName) -> io::Result<()> {
        self.files.remove(name)
    }

    fn unlock(&self) {
        self.files.unlock();
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn SegmentFile>,
    left: Arc<AtomicU64>,
}

impl SegmentFile for CountingFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.file.read_at(offset, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let left = self.left.fetch_sub(1, Ordering::Relaxed);
        if left == 0 {
            let bytes = parts.iter().map(|part| &**part).collect::<Vec<&[u8]>>().concat();
            // The part of it differs from write to write.
            let part = bytes.len() * (usize::from(bytes.last().copied().unwrap_or(0)) % 5) / 5;
            self.file.write_at(offset, &[IoSlice::new(&bytes[..part])])?;
            kill_process(getpid(), Signal::KILL).expect("a process can kill itself");
        }
        self.file.write_at(offset, parts)
    }
}

const WORK: &str = "DISK_TEST_WORK";
const PATH: &str = "DISK_TEST_PATH";
const ARGUMENT: &str = "DISK_TEST_ARGUMENT";
