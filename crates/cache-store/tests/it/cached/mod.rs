//! `CachedStore`: what it asks the wrapped store for, and what its callers get.

#![expect(clippy::single_range_in_vec_init, reason = "a list of one range is what is meant")]

mod conditions;
mod conformance;
mod disk;
mod errors;
mod fetches;
mod figures;
mod get;
mod joined;
mod limits;
mod lists;
mod malformed_responses;
mod metadata;
mod model;
mod observations;
mod policies;
mod races;
mod ranges;
mod readahead;
mod refused;
mod restarts;
mod results;
mod rewritten;
pub(crate) mod scripted_store;
mod settings;
mod slow;
mod tiers;
#[cfg(feature = "tracing")]
mod traces;
mod versions;
mod warm;
mod writes;

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{Freshness, IntoBackend};
use cache_store::{CacheStatus, CachedStore, CachedStoreBuilder};
use cache_testkit::{FaultyStore, MapBackend, Operation, Request};
use object_store::{GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, Result};

use crate::{path, stored};

/// A cache with blocks of 5 bytes, strong.
fn builder(store: &FaultyStore) -> CachedStoreBuilder {
    builder_over(store, Arc::new(MapBackend::new()))
}

/// The same, over `backend`.
fn builder_over(store: &FaultyStore, backend: impl IntoBackend) -> CachedStoreBuilder {
    CachedStore::builder(Arc::new(store.clone()), backend).block_size(5)
}

fn cached(store: &FaultyStore) -> CachedStore {
    builder(store).build().unwrap()
}

/// The same, under `max_age`.
fn lasting(store: &FaultyStore) -> CachedStore {
    builder(store).freshness(Freshness::max_age(HOUR)).build().unwrap()
}

/// Bytes that tell where they are.
fn body(len: usize) -> Bytes {
    (0..=250).cycle().take(len).collect()
}

fn part(range: Range<usize>) -> Bytes {
    body(range.end).slice(range)
}

/// A store that has one object of so many bytes.
async fn with_object(len: usize) -> FaultyStore {
    stored(body(len)).await
}

async fn get(cached: &CachedStore, range: impl Into<GetRange>) -> Result<GetResult> {
    cached.get_opts(&path(), GetOptions::new().with_range(Some(range.into()))).await
}

async fn read(cached: &CachedStore, range: impl Into<GetRange>) -> Bytes {
    get(cached, range).await.unwrap().bytes().await.unwrap()
}

async fn read_all(cached: &CachedStore) -> Bytes {
    cached.get(&path()).await.unwrap().bytes().await.unwrap()
}

fn status(answer: &GetResult) -> CacheStatus {
    answer.extensions.get::<CacheStatus>().unwrap().clone()
}

/// The ranges that were asked for, each with whether it was pinned to a version; and then no more.
fn asked(store: &FaultyStore) -> Vec<(Option<GetRange>, bool)> {
    let requests = store.requests();
    store.reset();
    let asked = |request: Request| {
        assert_eq!(request.operation, Operation::Get);
        (request.range, request.if_match.is_some())
    };
    requests.into_iter().map(asked).collect()
}

fn bounded(range: Range<u64>) -> Option<GetRange> {
    Some(GetRange::Bounded(range))
}

const HOUR: Duration = Duration::from_secs(3600);
