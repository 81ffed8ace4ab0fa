//! The stores that the caches read from.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use cache_facade::object_store::{
    ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, memory::InMemory,
    path::Path as Location,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::s3;
use crate::{CpuTime, clock::an_hour_ago};

/// A store with objects in it.
#[derive(Clone)]
pub(crate) struct Store {
    /// The name, within that of a case.
    pub(crate) name: &'static str,
    /// The store itself.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Whose time a request takes: also that of other threads where reads block. The S3 server, on
    /// a thread of its own, does not count.
    pub(crate) cpu: CpuTime,
    folder: Option<Arc<TempDir>>,
}

impl Store {
    /// In this process.
    pub(crate) fn in_memory() -> Self {
        let store = Arc::new(InMemory::new());
        Self { name: "memory", store, cpu: CpuTime::Thread, folder: None }
    }

    /// In a temporary folder, removed with the store.
    pub(crate) fn on_disk() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let store = LocalFileSystem::new_with_prefix(folder.path()).expect("the folder exists");
        let (store, folder) = (Arc::new(store), Some(Arc::new(folder)));
        Self { name: "local disk", store, cpu: CpuTime::Process, folder }
    }

    /// S3 over the loopback interface.
    pub(crate) fn on_loopback() -> Self {
        let store = s3::over_loopback();
        Self { name: "S3 on loopback", store, cpu: CpuTime::Thread, folder: None }
    }

    /// One of each kind.
    pub(crate) fn all() -> [Self; 3] {
        [Self::in_memory(), Self::on_disk(), Self::on_loopback()]
    }

    /// Puts an object of `body_bytes` under each key.
    pub(crate) fn fill(&self, runtime: &Runtime, keys: &[String], body_bytes: usize) {
        runtime.block_on(async {
            for key in keys {
                let body = PutPayload::from(Bytes::from(vec![b'x'; body_bytes]));
                self.store.put(&location(key), body).await.expect("the store accepts objects");
            }
        });
        if let Some(folder) = &self.folder {
            // The ETag of a file is made of its modification time, which proves nothing while it is
            // recent.
            age(folder.path());
        }
    }
}

/// The key as a path of object_store.
pub(crate) fn location(key: &str) -> Location {
    Location::parse(key).expect("keys are canonical")
}

/// Sets the modification time of all files in the folder to an hour ago.
fn age(folder: &Path) {
    for item in fs::read_dir(folder).expect("the folder exists") {
        let path = item.expect("the folder is readable").path();
        if path.is_dir() {
            age(&path);
        } else {
            let file = File::options().write(true).open(&path).expect("the file exists");
            file.set_modified(an_hour_ago()).expect("the file is ours");
        }
    }
}
