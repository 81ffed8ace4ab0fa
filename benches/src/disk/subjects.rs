//! The tiers on disk, ours and the peers', behind one small trait. None has memory to speak of, so
//! that every read is one of the disk. None syncs more than it must.

use std::{
    cell::RefCell,
    fs::{self, File},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    Backend as _, Entry, Key, Namespace, SystemClock, TierContext, TierState, TierStats,
};
use cache_disk::{DiskTier, TieredBackend};
use cache_policy::{Lru, MemoryBackend};
use foyer::{
    BlockEngineConfig, DeviceBuilder as _, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy,
};
use redb::{Database, Durability, ReadableDatabase as _, TableDefinition, WriteTransaction};
use tokio::runtime::{Builder, Runtime};

use crate::subjects::tables::E_TAG;

/// A cache on disk. A failed call of a peer is a failed benchmark.
pub(super) trait Disk {
    /// Stores an entry, which may be written later. Waits where the tier would drop it.
    fn insert(&self, key: &str, body: &Bytes);
    /// The same without waiting.
    fn burst(&self, key: &str, body: &Bytes) {
        self.insert(key, body);
    }
    /// Waits until all that was stored is in files.
    fn settle(&self);
    /// Reads a body from disk, and returns its length.
    fn read(&self, key: &str) -> Option<usize>;
    /// Closes it, so that the next process finds it.
    fn close(self: Box<Self>);
    /// The figures of ours.
    fn stats(&self) -> Option<TierStats> {
        None
    }
}

/// Which tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    Foyer,
    Redb,
    Files,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Ours, Self::Foyer, Self::Redb, Self::Files];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Foyer => "foyer",
            Self::Redb => "redb",
            Self::Files => "files",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Opens the tier in the directory at `path`, with room for `capacity` bytes.
    pub(super) fn open(self, path: &Path, capacity: u64) -> Box<dyn Disk> {
        match self {
            Self::Ours => Box::new(Ours::open(path, capacity, QUEUE_BYTES)),
            Self::Foyer => Box::new(Foyer::open(path, capacity)),
            Self::Redb => Box::new(Redb::open(path)),
            Self::Files => Box::new(Files { path: path.to_owned() }),
        }
    }
}

/// Our tier.
pub(super) struct Ours {
    backend: TieredBackend<MemoryBackend<Lru>>,
    runtime: Runtime,
    inserted: RefCell<u64>,
    queue_bytes: u64,
}

impl Ours {
    pub(super) fn open(path: &Path, capacity: u64, queue_bytes: u64) -> Self {
        let tier = DiskTier::new(path).max_capacity(capacity).queue_bytes(queue_bytes);
        let context = TierContext::new(Namespace::named("bench"), Arc::new(SystemClock::new()));
        let memory = MemoryBackend::builder(Lru::new()).max_entries(1).build();
        let memory = memory.expect("the settings are in bounds");
        let backend = TieredBackend::new(memory, &tier.write_budget(None), context);
        let backend = backend.expect("the directory is usable");
        Self { backend, runtime: runtime(), inserted: RefCell::default(), queue_bytes }
    }

    /// Waits until the tier's counters are as `is_so` says.
    pub(super) fn wait_until(&self, is_so: impl Fn(&TierStats) -> bool) {
        self.runtime.block_on(async {
            while !is_so(&self.backend.lower_tier().expect("it has a tier")) {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        });
    }

    fn entry(key: &str, body: &Bytes) -> Entry {
        let key = Key::parse(key).expect("keys are canonical");
        Entry::builder(&key, body.clone()).e_tag(E_TAG).build()
    }
}

impl Disk for Ours {
    fn insert(&self, key: &str, body: &Bytes) {
        let mut inserted = self.inserted.borrow_mut();
        *inserted += body.len() as u64 + 300;
        if *inserted > self.queue_bytes {
            let limit = self.queue_bytes / 2;
            self.wait_until(|stats| stats.queue_bytes < limit);
            *inserted = limit + body.len() as u64 + 300;
        }
        self.burst(key, body);
    }

    fn burst(&self, key: &str, body: &Bytes) {
        let stored = self.backend.insert_now(Self::entry(key, body));
        assert!(stored.is_ok_and(|admission| admission.is_stored()), "nothing is refused");
    }

    fn settle(&self) {
        self.wait_until(|stats| stats.queue_entries == 0 && stats.state != TierState::Starting);
    }

    fn read(&self, key: &str) -> Option<usize> {
        let found = self.runtime.block_on(self.backend.get(key)).expect("the tier does not fail");
        found.map(|entry| entry.body().len())
    }

    fn close(self: Box<Self>) {
        self.runtime.block_on(self.backend.close()).expect("the tier can be closed");
    }

    fn stats(&self) -> Option<TierStats> {
        self.backend.lower_tier()
    }
}

/// foyer's hybrid cache. It drops entries that its buffers have no room for, so that callers wait.
struct Foyer {
    cache: HybridCache<String, Bytes>,
    runtime: Runtime,
    since_wait: RefCell<usize>,
}

impl Foyer {
    fn open(path: &Path, capacity: u64) -> Self {
        let runtime = runtime();
        let capacity = usize::try_from(capacity).expect("the capacity fits");
        let cache = runtime.block_on(async {
            let device = FsDeviceBuilder::new(path).with_capacity(capacity).build();
            let device = device.expect("the directory is usable");
            let engine = BlockEngineConfig::new(device).with_block_size(64 << 20);
            HybridCacheBuilder::new()
                .with_policy(HybridCachePolicy::WriteOnInsertion)
                .memory(1)
                .with_shards(1)
                .storage()
                .with_engine_config(engine)
                .build()
                .await
                .expect("the settings are right")
        });
        Self { cache, runtime, since_wait: RefCell::default() }
    }
}

impl Disk for Foyer {
    fn insert(&self, key: &str, body: &Bytes) {
        let mut since_wait = self.since_wait.borrow_mut();
        *since_wait += body.len();
        if *since_wait > FOYER_BATCH {
            self.settle();
            *since_wait = body.len();
        }
        self.burst(key, body);
    }

    fn burst(&self, key: &str, body: &Bytes) {
        let _inside = self.runtime.enter();
        self.cache.insert(key.to_owned(), body.clone());
    }

    fn settle(&self) {
        self.runtime.block_on(self.cache.storage().wait());
    }

    fn read(&self, key: &str) -> Option<usize> {
        let found = self.runtime.block_on(self.cache.get(key)).expect("the tier does not fail");
        found.map(|entry| entry.value().len())
    }

    fn close(self: Box<Self>) {
        self.runtime.block_on(self.cache.close()).expect("the tier can be closed");
    }
}

/// redb, a transaction for each MiB. Only the last one is synced.
struct Redb {
    database: Database,
    open: RefCell<Option<(WriteTransaction, usize)>>,
}

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");

impl Redb {
    fn open(path: &Path) -> Self {
        let mut builder = Database::builder();
        let database = builder.set_cache_size(16 << 20).create(path.join("entries.redb"));
        let database = database.expect("the directory is usable");
        Self { database, open: RefCell::default() }
    }

    fn commit(&self) {
        if let Some((transaction, _)) = self.open.borrow_mut().take() {
            transaction.commit().expect("the disk is writable");
        }
    }
}

impl Disk for Redb {
    fn insert(&self, key: &str, body: &Bytes) {
        let mut open = self.open.borrow_mut();
        let (transaction, bytes) = open.get_or_insert_with(|| {
            let mut transaction = self.database.begin_write().expect("there is one writer");
            transaction.set_durability(Durability::None).expect("no savepoint was changed");
            (transaction, 0)
        });
        let mut table = transaction.open_table(TABLE).expect("the table is of this type");
        table.insert(key, &body[..]).expect("the disk is writable");
        drop(table);
        *bytes += body.len();
        if *bytes >= REDB_BATCH {
            drop(open);
            self.commit();
        }
    }

    fn settle(&self) {
        self.commit();
        let transaction = self.database.begin_write().expect("there is one writer");
        transaction.commit().expect("the disk is writable");
    }

    fn read(&self, key: &str) -> Option<usize> {
        let transaction = self.database.begin_read().expect("the database is open");
        let table = transaction.open_table(TABLE).expect("the table is there");
        let found = table.get(key).expect("the disk is readable");
        found.map(|body| std::hint::black_box(Bytes::copy_from_slice(body.value())).len())
    }

    fn close(self: Box<Self>) {}
}

/// One file an entry, under the hash of its key; without checksums, and not safe if torn.
struct Files {
    path: PathBuf,
}

impl Files {
    fn path_of(&self, key: &str) -> PathBuf {
        let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one(key);
        self.path.join(format!("{:02x}/{hash:016x}", hash & 0xff))
    }
}

impl Disk for Files {
    fn insert(&self, key: &str, body: &Bytes) {
        let path = self.path_of(key);
        let file = File::create(&path).or_else(|_| {
            fs::create_dir_all(path.parent().unwrap_or(&self.path))?;
            File::create(&path)
        });
        file.and_then(|mut file| file.write_all(body)).expect("the disk is writable");
    }

    fn settle(&self) {}

    fn read(&self, key: &str) -> Option<usize> {
        fs::read(self.path_of(key)).ok().map(|body| std::hint::black_box(Bytes::from(body)).len())
    }

    fn close(self: Box<Self>) {}
}

/// A worker beside the caller, as a program has.
fn runtime() -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime can be built")
}

const QUEUE_BYTES: u64 = 64 << 20;
/// Below foyer's buffers of 16 MiB, half of which takes entries while the other is written.
const FOYER_BATCH: usize = 4 << 20;
const REDB_BATCH: usize = 1 << 20;
