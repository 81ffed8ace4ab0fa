//! object_store's own suite, over a cached store over servers, twice on the same one. Over memory
//! and local disk `cache-store` does so.

use std::{sync::Arc, time::Duration};

use cache_facade::{
    CachedStore, Freshness, Memory, ValidatorStrength,
    object_store::{ObjectStore as _, integration::*, path::Path, prefix::PrefixStore},
};
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::support::{Kind, World};

async fn twice(kind: Kind, corner: &str, block_size: u64, suite: impl AsyncFn(&CachedStore)) {
    let Some(support) = World::open(kind) else { return };
    for (name, freshness) in
        [("strong", Freshness::strong()), ("relaxed", Freshness::max_age(HOUR))]
    {
        // The suite deletes whatever it finds. Without what records requests, deletes go in bulk.
        let corner = Path::from(support.key(&format!("{corner}-{name}")));
        let corner = PrefixStore::new(Arc::clone(support.store.inner()), corner);
        let cached = CachedStore::builder(Arc::new(corner), Memory::new())
            .validator_strength(ValidatorStrength::Strong)
            .freshness(freshness)
            .block_size(block_size)
            .build()
            .unwrap();
        for _ in 0..2 {
            suite(&cached).await;
            let found = cached.list(None).map_ok(|meta| meta.location).boxed();
            cached.delete_stream(found).try_collect::<Vec<_>>().await.unwrap();
        }
    }
}

async fn passes(kind: Kind) {
    let small = async |cached: &CachedStore| {
        put_get_delete_list(cached).await;
        list_uses_directories_correctly(cached).await;
        list_with_delimiter(cached).await;
        list_with_offset_exclusivity(cached).await;
        get_opts(cached).await;
        get_nonexistent_object(cached, None).await.unwrap_err();
        put_opts(cached, true).await;
        rename_and_copy(cached).await;
        if kind != Kind::S3 {
            // It has to be told how, and the scenarios do not need it.
            copy_if_not_exists(cached).await;
        }
        if kind != Kind::Azure {
            // azurite drops some.
            put_get_attributes(cached).await;
        }
    };
    twice(kind, "small", 5, small).await;
    let large = async |cached: &CachedStore| {
        stream_get(cached).await;
        multipart_out_of_order(cached).await;
        // On Azure the first to complete wins.
        multipart_race_condition(cached, kind != Kind::Azure).await;
    };
    twice(kind, "large", 1_000_000, large).await;
}

#[tokio::test]
async fn over_the_s3_server_of_the_kit() {
    passes(Kind::Loopback).await;
}

#[tokio::test]
async fn over_s3() {
    passes(Kind::S3).await;
}

#[tokio::test]
async fn over_azure() {
    passes(Kind::Azure).await;
}

const HOUR: Duration = Duration::from_secs(3600);
