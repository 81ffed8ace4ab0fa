//! What `cache-store` does, seen from outside and counted at the store.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod attributes;
mod bodies;
mod cached;
mod clock;
mod conflicts;
mod contract;
mod errors;
mod listed_store;
mod lists;
mod metadata;
#[cfg(feature = "object-store-013")]
mod object_store_013;
mod probe;
mod probe_s3;
mod reads;
#[cfg(any(feature = "aws", feature = "azure"))]
mod real_servers;
mod settings;
mod strengths;
mod verify;
mod verify_s3;
mod writes;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{Entry, Key, Validation, Validator};
use cache_store::{EtagValidator, EtagValidatorBuilder, ValidatorStrength};
use cache_testkit::FaultyStore;
use object_store::{ObjectStoreExt, local::LocalFileSystem, path::Path};

const SECONDS: ValidatorStrength = ValidatorStrength::Timestamp(Duration::from_secs(2));

fn key() -> Key {
    Key::parse("a/b").unwrap()
}

fn path() -> Path {
    Path::from("a/b")
}

/// A store in memory that has one object.
async fn stored(body: impl Into<Bytes>) -> FaultyStore {
    let store = FaultyStore::in_memory();
    write(&store, body).await;
    store
}

/// Writes the object behind the back of `store`.
async fn write(store: &FaultyStore, body: impl Into<Bytes>) {
    store.inner().put(&path(), body.into().into()).await.unwrap();
}

fn builder(store: &FaultyStore) -> EtagValidatorBuilder {
    EtagValidator::builder(Arc::new(store.clone()))
}

fn origin(store: &FaultyStore) -> EtagValidator {
    builder(store).build().unwrap()
}

fn local_disk() -> (tempfile::TempDir, FaultyStore) {
    let folder = tempfile::tempdir().unwrap();
    let disk = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    (folder, FaultyStore::new(Arc::new(disk)))
}

/// The answer to a question that brings an entry.
async fn fetch(origin: &EtagValidator, held: Option<&Entry>) -> Entry {
    match origin.validate(&key(), held).await.unwrap() {
        Validation::Modified(entry) => entry,
        other => panic!("expected an entry, got {other:?}"),
    }
}

async fn is_unchanged(origin: &EtagValidator, held: &Entry) -> bool {
    matches!(origin.validate(&key(), Some(held)).await.unwrap(), Validation::NotModified)
}
