//! Objects that are files.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::Freshness;
use cache_store::{CachedStore, ValidatorStrength};
use cache_testkit::{Failure, MapBackend};
use futures_util::StreamExt;
use object_store::{ObjectStoreExt, local::LocalFileSystem};

use super::HOUR;
use crate::path;

const BLOCK: usize = 64 * 1024;

fn body() -> Bytes {
    super::body(4 * BLOCK + 100)
}

/// A folder with the object, the store over it, and a cache.
async fn cached(strength: ValidatorStrength) -> (tempfile::TempDir, CachedStore) {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    local.put(&path(), body().into()).await.unwrap();
    let cached = CachedStore::builder(Arc::new(local), Arc::new(MapBackend::new()))
        .block_size(BLOCK as u64)
        .validator_strength(strength)
        .freshness(Freshness::max_age(HOUR))
        .build()
        .unwrap();
    (folder, cached)
}

/// Whether it can be cached or not; object_store would hop to another thread for each 8 KiB.
#[tokio::test]
async fn a_file_is_read_block_by_block() {
    for strength in [ValidatorStrength::Strong, ValidatorStrength::None] {
        let (_folder, cached) = cached(strength).await;
        for (range, lens) in [
            (0..4 * BLOCK + 100, &[BLOCK, BLOCK, BLOCK, BLOCK, 100][..]),
            (BLOCK - 10..2 * BLOCK + 5, &[10, BLOCK, 5]),
        ] {
            cached.clear().await.unwrap();
            let answer = super::get(&cached, range.start as u64..range.end as u64).await.unwrap();
            let chunks: Vec<_> = answer.into_stream().map(Result::unwrap).collect().await;
            let got: Vec<_> = chunks.iter().map(Bytes::len).collect();
            assert_eq!(got, lens);
            assert_eq!(chunks.concat(), body().slice(range));
        }
    }
}

#[tokio::test]
async fn a_file_that_is_cut_off_while_it_is_read_is_an_error() {
    for len in [0, 10, BLOCK, 2 * BLOCK, 2 * BLOCK + 10, 4 * BLOCK + 99] {
        let (folder, cached) = cached(ValidatorStrength::Strong).await;
        let mut chunks = cached.get(&path()).await.unwrap().into_stream();
        let mut got = chunks.next().await.unwrap().unwrap().to_vec();
        let file = std::fs::OpenOptions::new().write(true).open(folder.path().join("a/b")).unwrap();
        file.set_len(len as u64).unwrap();
        let error = loop {
            match chunks.next().await.unwrap() {
                Ok(chunk) => got.extend_from_slice(&chunk),
                Err(error) => break error,
            }
        };
        assert_eq!(Failure::of(&error), Failure::Unavailable, "{error}");
        assert_eq!(got, body().slice(..got.len()));
        assert!(got.len() <= len.max(BLOCK));
    }
}

#[tokio::test]
async fn a_file_is_cached_whole() {
    let (folder, cached) = cached(ValidatorStrength::Strong).await;
    assert_eq!(cached.get(&path()).await.unwrap().bytes().await.unwrap(), body());
    std::fs::remove_file(folder.path().join("a/b")).unwrap();
    assert_eq!(cached.get(&path()).await.unwrap().bytes().await.unwrap(), body());
}
