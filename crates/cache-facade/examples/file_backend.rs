//! A backend of one's own whose entries outlive the process: a file for each entry, written and
//! read with `Entry::to_bytes` and `Entry::from_bytes`. It is checked against the contract, and a
//! cache that is built again over the same folder serves after a request without a body.

use std::{
    collections::HashMap,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use cache_facade::{
    Backend, ErrorKind, ObjectCache, Result,
    cache_core::{self, Admission, Entry, Moment, Usage},
    object_store::{ObjectStoreExt as _, path::Path as Location},
};
use cache_testkit::{FaultyStore, conformance::backend};

/// Writes and reads on the calling thread: a real one would leave that to tasks that may block.
struct Files {
    folder: PathBuf,
    index: Mutex<Index>,
}

/// The entries by key, as the files have them.
#[derive(Default)]
struct Index {
    slots: HashMap<String, Slot>,
    n_written: u64,
    expired: u64,
}

struct Slot {
    file: PathBuf,
    weight: u64,
    is_absent: bool,
    /// The entry as it was inserted in this process, so that all readers share one renewal. The
    /// body is in memory as well: a real one would keep the stamp alone.
    entry: Option<Entry>,
}

impl Files {
    /// Finds what an earlier process left. A file that cannot be read is dropped.
    fn open(folder: &Path) -> io::Result<Self> {
        let mut index = Index::default();
        for file in fs::read_dir(folder)? {
            let file = file?.path();
            let number = file.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok());
            match Entry::from_bytes(&fs::read(&file)?) {
                Ok(entry) if number.is_some() => {
                    index.n_written = index.n_written.max(number.unwrap_or(0));
                    let (weight, is_absent) = (entry.weight(), entry.is_negative());
                    let slot = Slot { file, weight, is_absent, entry: None };
                    index.slots.insert(entry.key().to_owned(), slot);
                }
                _ => fs::remove_file(&file)?,
            }
        }
        Ok(Self { folder: folder.to_owned(), index: Mutex::new(index) })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("no method panics while it holds the lock")
    }
}

impl Index {
    fn take(&mut self, key: &str) -> Result<bool> {
        match self.slots.remove(key) {
            Some(slot) => fs::remove_file(&slot.file).map(|()| true).map_err(failed),
            None => Ok(false),
        }
    }
}

#[async_trait]
impl Backend for Files {
    fn get_now(&self, key: &str) -> Option<Entry> {
        self.peek(key) // A use changes nothing here.
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        self.index().slots.get(key)?.entry.clone()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let mut index = self.index();
        let Some(slot) = index.slots.get_mut(key) else { return Ok(None) };
        let entry = match &slot.entry {
            Some(entry) => entry.clone(),
            // Has no stamp, so it is revalidated before it is served. From here on it is shared.
            None => Entry::from_bytes(&fs::read(&slot.file).map_err(failed)?)?,
        };
        slot.entry = Some(entry.clone());
        Ok(Some(entry))
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        let mut index = self.index();
        index.take(entry.key())?;
        index.n_written += 1;
        let file = self.folder.join(format!("{}.entry", index.n_written));
        // A file that is cut off by a crash fails its checksum.
        fs::write(&file, entry.to_bytes()).map_err(failed)?;
        let (weight, is_absent) = (entry.weight(), entry.is_negative());
        let key = entry.key().to_owned();
        index.slots.insert(key, Slot { file, weight, is_absent, entry: Some(entry) });
        Ok(Admission::stored())
    }

    fn contains(&self, key: &str) -> Option<bool> {
        Some(self.index().slots.contains_key(key))
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        self.index().take(key)
    }

    async fn clear(&self) -> Result<()> {
        let mut index = self.index();
        let keys: Vec<_> = index.slots.keys().cloned().collect();
        keys.iter().try_for_each(|key| index.take(key).map(drop))
    }

    /// Keeps the files, and drops the entries with their stamps.
    async fn close(&self) -> Result<()> {
        self.index().slots.values_mut().for_each(|slot| slot.entry = None);
        Ok(())
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        let mut index = self.index();
        let has_expired = |slot: &Slot| {
            let expires_at = slot.entry.as_ref().and_then(Entry::expires_at);
            expires_at.is_some_and(|at| at <= now)
        };
        let expired: Vec<_> = index.slots.iter().filter(|(_, slot)| has_expired(slot)).collect();
        let expired: Vec<_> =
            expired.into_iter().map(|(key, slot)| (key.clone(), slot.is_absent)).collect();
        for (key, is_absent) in expired {
            index.take(&key)?;
            index.expired += u64::from(!is_absent);
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        let index = self.index();
        let bytes = index.slots.values().map(|slot| slot.weight).sum();
        Usage::new(index.slots.len() as u64, bytes).with_expired(index.expired)
    }

    fn negative_entries(&self) -> u64 {
        self.index().slots.values().filter(|slot| slot.is_absent).count() as u64
    }
}

fn failed(error: io::Error) -> cache_core::Error {
    cache_core::Error::new(ErrorKind::Backend, "a file of the cache failed").with_source(error)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let media = tempfile::tempdir()?;
    let root = media.path().to_owned();
    let can = backend::Capabilities::new().sweeps().waits().outlives_the_process();
    let suite = backend::Suite::new(can, move |number| {
        let folder = root.join(number.to_string());
        async move {
            fs::create_dir_all(&folder).expect("a temporary folder");
            Arc::new(Files::open(&folder).expect("a temporary folder")) as Arc<dyn Backend>
        }
    });
    println!("{}", backend::check(&suite).await?);

    let folder = tempfile::tempdir()?;
    let store = FaultyStore::in_memory();
    store.inner().put(&Location::from("a"), "body".into()).await?;
    let open = || -> Result<ObjectCache, Box<dyn Error>> {
        let cache = ObjectCache::builder(Arc::new(store.clone()));
        // The same name in every process, so that the next one may serve these entries.
        let cache = cache.namespace(cache_facade::Namespace::named("an example's store as reader"));
        Ok(cache.backend(Arc::new(Files::open(folder.path())?)).build()?)
    };
    let first = open()?;
    assert_eq!(first.get("a").await?.bytes(), "body");
    first.close().await?;
    drop(first);
    store.reset();

    let second = open()?;
    assert_eq!(second.get("a").await?.bytes(), "body");
    println!("after a restart: {} request, {} bytes of bodies", store.count(), store.body_bytes());
    assert_eq!((store.count(), store.body_bytes()), (1, 0));
    assert!(store.requests()[0].if_none_match.is_some());
    Ok(())
}
