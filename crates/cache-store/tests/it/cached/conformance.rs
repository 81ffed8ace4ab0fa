//! object_store's own suite, over the cache and twice on the same one.

use std::sync::Arc;

use cache_core::Freshness;
use cache_store::{CachedStore, CachedStoreBuilder};
use cache_testkit::{FaultyStore, S3Server};
use object_store::integration::*;

use super::{HOUR, builder};

const MODES: [fn(CachedStoreBuilder) -> CachedStoreBuilder; 4] = [
    |builder| builder.block_size(1024 * 1024),
    |builder| builder.block_size(1024 * 1024).freshness(Freshness::max_age(HOUR)),
    |builder| builder,
    |builder| builder.freshness(Freshness::max_age(HOUR)),
];

async fn twice(suite: impl AsyncFn(&CachedStore)) {
    let server = S3Server::start().unwrap();
    for store in [FaultyStore::in_memory(), FaultyStore::new(Arc::new(server.client()))] {
        for mode in MODES {
            let cached = mode(builder(&store)).build().unwrap();
            for _ in 0..2 {
                suite(&cached).await;
            }
        }
    }
}

#[tokio::test]
async fn what_is_put_is_read_listed_and_deleted() {
    twice(async |cached| put_get_delete_list(cached).await).await;
}

#[tokio::test]
async fn attributes_come_back() {
    twice(async |cached| put_get_attributes(cached).await).await;
}

#[tokio::test]
async fn conditions_hold() {
    twice(async |cached| get_opts(cached).await).await;
}

#[tokio::test]
async fn conditional_puts_are_atomic() {
    twice(async |cached| put_opts(cached, true).await).await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    twice(async |cached| {
        let error = get_nonexistent_object(cached, None).await.unwrap_err();
        assert!(matches!(error, object_store::Error::NotFound { .. }));
    })
    .await;
}

#[tokio::test]
async fn lists_pass_through() {
    twice(async |cached| {
        list_uses_directories_correctly(cached).await;
        list_with_delimiter(cached).await;
        list_with_offset_exclusivity(cached).await;
    })
    .await;
}

#[tokio::test]
async fn copies_are_seen() {
    twice(async |cached| {
        rename_and_copy(cached).await;
        copy_if_not_exists(cached).await;
        copy_rename_nonexistent_object(cached).await;
    })
    .await;
}
