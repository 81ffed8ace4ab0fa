//! The stores that are read from.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use bench_harness::{CpuTime, an_hour_ago};
use bytes::Bytes;
use cache_facade::object_store::{
    ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, memory::InMemory, path::Path as Location,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::s3;

/// A store with objects in it.
#[derive(Clone)]
pub struct Store {
    /// What it is called.
    pub name: &'static str,
    /// The store itself.
    pub store: Arc<dyn ObjectStore>,
    /// Whose time a request takes: that of another thread, too, where the reading blocks. The S3 server, on a thread
    /// of its own, does not count.
    pub cpu: CpuTime,
    folder: Option<Arc<TempDir>>,
}

impl Store {
    /// In this process.
    pub fn in_memory() -> Self {
        Self { name: "memory", store: Arc::new(InMemory::new()), cpu: CpuTime::Thread, folder: None }
    }

    /// In a folder that goes with the store.
    pub fn on_disk() -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let store = LocalFileSystem::new_with_prefix(folder.path()).expect("the folder is there");
        Self {
            name: "local disk",
            store: Arc::new(store),
            cpu: CpuTime::Process,
            folder: Some(Arc::new(folder)),
        }
    }

    /// S3 over the loopback interface.
    pub fn on_loopback() -> Self {
        Self { name: "S3 on loopback", store: s3::over_loopback(), cpu: CpuTime::Thread, folder: None }
    }

    /// All three.
    pub fn all() -> [Self; 3] {
        [Self::in_memory(), Self::on_disk(), Self::on_loopback()]
    }

    /// Puts an object of that length under each key.
    pub fn fill(&self, runtime: &Runtime, keys: &[String], body_bytes: usize) {
        runtime.block_on(async {
            for key in keys {
                let body = PutPayload::from(Bytes::from(vec![b'x'; body_bytes]));
                self.store.put(&location(key), body).await.expect("the store takes objects");
            }
        });
        if let Some(folder) = &self.folder {
            // The tag of a file is its date, which confirms nothing while it is young.
            age(folder.path());
        }
    }
}

/// The key as object_store has it.
pub fn location(key: &str) -> Location {
    Location::parse(key).expect("keys are canonical")
}

/// Has all files in the folder be written an hour ago.
fn age(folder: &Path) {
    for item in fs::read_dir(folder).expect("the folder is there") {
        let path = item.expect("the folder can be read").path();
        if path.is_dir() {
            age(&path);
        } else {
            let file = File::options().write(true).open(&path).expect("the file is there");
            file.set_modified(an_hour_ago()).expect("the file is ours");
        }
    }
}
