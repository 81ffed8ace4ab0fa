//! object_store's own suite, over the cache and twice on the same one.

use std::sync::Arc;

use cache_core::Freshness;
use cache_store::{CachedStore, CachedStoreBuilder};
use cache_testkit::{FaultyStore, S3Server};
use object_store::{
    ObjectStore, integration::*, local::LocalFileSystem, memory::InMemory,
    multipart::MultipartStore,
};
use tempfile::TempDir;

use super::{HOUR, builder};
type Mode = fn(CachedStoreBuilder) -> CachedStoreBuilder;

const MODES: [Mode; 4] = [
    |builder| builder.block_size(1024 * 1024),
    |builder| builder.block_size(1024 * 1024).freshness(Freshness::max_age(HOUR)),
    |builder| builder,
    |builder| builder.freshness(Freshness::max_age(HOUR)),
];

/// For objects of many megabytes: by blocks of 5 bytes each of these tests takes minutes.
const COARSE_MODES: [Mode; 2] = [
    |builder| builder.block_size(1024 * 1024),
    |builder| builder.block_size(77_777).freshness(Freshness::max_age(HOUR)),
];

/// Over stores that can do everything.
async fn twice(suite: impl AsyncFn(&CachedStore)) {
    let server = S3Server::start().unwrap();
    for store in [FaultyStore::in_memory(), FaultyStore::new(Arc::new(server.client()))] {
        twice_over(&store, &MODES, &suite).await;
    }
}

async fn twice_on_disk(suite: impl AsyncFn(&CachedStore)) {
    let (_folder, disk) = disk();
    twice_over(&disk, &MODES, &suite).await;
}

/// Folders go with their last file, or the second run would list them.
fn disk() -> (TempDir, FaultyStore) {
    let folder = TempDir::new().unwrap();
    let disk =
        LocalFileSystem::new_with_prefix(folder.path()).unwrap().with_automatic_cleanup(true);
    (folder, FaultyStore::new(Arc::new(disk)))
}

async fn twice_over(store: &FaultyStore, modes: &[Mode], suite: impl AsyncFn(&CachedStore)) {
    for mode in modes {
        let cached = mode(builder(store)).build().unwrap();
        for _ in 0..2 {
            suite(&cached).await;
        }
    }
}

#[tokio::test]
async fn what_is_put_is_read_listed_and_deleted() {
    twice(async |cached| put_get_delete_list(cached).await).await;
    twice_on_disk(async |cached| put_get_delete_list(cached).await).await;
}

#[tokio::test]
async fn attributes_come_back() {
    twice(async |cached| put_get_attributes(cached).await).await;
}

#[tokio::test]
async fn conditions_hold() {
    twice(async |cached| get_opts(cached).await).await;
    twice_on_disk(async |cached| get_opts(cached).await).await;
}

#[tokio::test]
async fn conditional_puts_are_atomic() {
    twice(async |cached| put_opts(cached, true).await).await;
    twice_on_disk(async |cached| put_opts(cached, false).await).await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let suite = async |cached: &CachedStore| {
        let error = get_nonexistent_object(cached, None).await.unwrap_err();
        assert!(matches!(error, object_store::Error::NotFound { .. }));
    };
    twice(suite).await;
    twice_on_disk(suite).await;
}

#[tokio::test]
async fn lists_pass_through() {
    let suite = async |cached: &CachedStore| {
        list_uses_directories_correctly(cached).await;
        list_with_delimiter(cached).await;
        list_with_offset_exclusivity(cached).await;
    };
    twice(suite).await;
    twice_on_disk(suite).await;
}

#[tokio::test]
async fn copies_are_seen() {
    let suite = async |cached: &CachedStore| {
        rename_and_copy(cached).await;
        copy_if_not_exists(cached).await;
        copy_rename_nonexistent_object(cached).await;
    };
    twice(suite).await;
    twice_on_disk(suite).await;
}

#[tokio::test]
async fn uploads_are_seen() {
    let (server, (_folder, disk)) = (S3Server::start().unwrap(), disk());
    for store in [FaultyStore::in_memory(), FaultyStore::new(Arc::new(server.client())), disk] {
        let suite = async |cached: &CachedStore| {
            // It leaves the store as empty as the next one needs it.
            put_get_delete_list(cached).await;
            stream_get(cached).await;
            multipart_out_of_order(cached).await;
            multipart_race_condition(cached, true).await;
        };
        twice_over(&store, &COARSE_MODES, suite).await;
    }
}

/// `MultipartStore` is beside the cache. Here it writes the same again, so whoever relies upon what
/// is held sees no difference.
#[tokio::test]
async fn uploads_beside_the_cache_are_seen() {
    async fn check<T: ObjectStore + MultipartStore>(parts: Arc<T>) {
        let store = FaultyStore::new(Arc::clone(&parts) as _);
        let suite = async |cached: &CachedStore| {
            multipart(cached, &*parts).await;
            multipart_with_opts(cached, &*parts).await;
            multipart_put_part_out_of_order(cached, &*parts).await;
        };
        twice_over(&store, &COARSE_MODES, suite).await;
    }
    check(Arc::new(InMemory::new())).await;
    let server = S3Server::start().unwrap();
    check(Arc::new(server.client())).await;
}
