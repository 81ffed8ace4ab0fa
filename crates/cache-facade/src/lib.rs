//! An ETag-validated cache in front of an object store.
//!
//! An [`ObjectCache`] caches objects of S3, GCS, Azure, a web server, local disk or memory (all
//! through the `object_store` crate). It serves a cached object only if the store confirms its
//! ETag, or if the freshness rule that you set allows it. Many nodes can share a bucket, each with
//! its own cache and without a connection to the others.
//!
//! ```
//! use std::sync::Arc;
//! use cache_facade::{ObjectCache, Status, object_store::memory::InMemory};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> cache_facade::Result<()> {
//! let bucket = Arc::new(InMemory::new()); // Or AmazonS3, LocalFileSystem, …
//! let cache = ObjectCache::builder(bucket.clone()).build()?;
//! cache.put("config.json", "{}").await?;
//!
//! // The store confirms that the cached object is current, and sends no body.
//! let object = cache.get("config.json").await?;
//! assert_eq!(object.bytes(), "{}");
//! assert_eq!(object.status(), Status::Revalidated);
//!
//! // The next read sees the write of another node.
//! ObjectCache::builder(bucket).build()?.put("config.json", r#"{"v":2}"#).await?;
//! assert_eq!(cache.get("config.json").await?.bytes(), r#"{"v":2}"#);
//! # Ok(())
//! # }
//! ```
//!
//! # Freshness
//!
//! The default is [`Freshness::strong`]: every read sends one conditional request. To save
//! requests, allow a maximum age, or declare objects immutable: for the whole cache, by prefix or
//! for one read:
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use cache_facade::{Freshness, ObjectCache, ReadOptions, object_store::memory::InMemory};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> cache_facade::Result<()> {
//! # let bucket = Arc::new(InMemory::new());
//! let cache = ObjectCache::builder(bucket)
//!     .freshness(Freshness::max_age(Duration::from_secs(5)))
//!     .freshness_for("static/", Freshness::immutable())
//!     .build()?;
//! cache.put("static/logo-7f3a.svg", "<svg/>").await?;
//! cache.get("static/logo-7f3a.svg").await?; // Sends no request.
//! cache.get_with("static/logo-7f3a.svg", ReadOptions::new().freshness(Freshness::strong())).await?;
//! assert_eq!(cache.stats().origin.not_modified, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Many objects for one request
//!
//! A list of the store validates all cached objects on it: [`ObjectCache::get_prefix`] reads a
//! directory, [`ObjectCache::refresh_by_list`] keeps one fresh in the background, and
//! [`ObjectCache::watch_prefix`] is a stream of its changes.
//!
//! # A change bus
//!
//! With a [`ChangeBus`] ([`bus`](ObjectCacheBuilder::bus); Redis and NATS in crates of their own)
//! caches tell each other of their writes, and [`Freshness::until_notified`] serves without a
//! request until then. A message can only cost a request: whatever the bus loses, no object is
//! served for longer than the rule's fallback.
//!
//! # As an object store
//!
//! A [`CachedStore`] is an `ObjectStore` over another one, for programs written against that trait.
//! It caches objects in blocks, streams large ones and passes writes through.
//!
//! # Metrics
//!
//! [`ObjectCache::stats`] returns a snapshot of the counters. A
//! [`Registry`](cache_metrics::Registry) exports those of many caches to Prometheus, OpenTelemetry
//! or the `metrics` crate.
//!
//! # Extending it
//!
//! [`cache_core`] has the traits: implement [`Backend`], [`Origin`] or [`EvictionPolicy`] and pass
//! your type to the builder. [`cache_policy`] has the eviction policies and memory backends,
//! [`cache_store`] the validator over object stores. Types of `object_store`, `bytes` and
//! `futures_core` are part of this crate's API.
//!
//! # Features
//!
//! * `fs` (default): local disk.
//! * `aws`, `gcp`, `azure`, `http`: object_store's clients for S3, GCS, Azure and HTTP/WebDAV. Each
//!   brings an HTTP client and TLS.
//! * `moka`: `Eviction::Moka`, which caches in a moka cache.
//! * `prometheus`, `opentelemetry`, `metrics`: exporters.
//! * `object-store-013`: `ObjectStore013`, which presents any store, such as a [`CachedStore`], to
//!   crates on object_store 0.13. Adds that version to the tree.
//! * `tracing`: a span for each request to the store, and warnings when a stale entry is served or
//!   a body is not cached.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod cache;
mod decode;
mod eviction;
mod memory;
mod object;
mod options;
mod prefix_read;
mod watch;

#[doc(no_inline)]
pub use {
    bytes::Bytes,
    cache_core::{
        self, Announcement, Attributes, Backend, BusStats, Change, ChangeBus, Changes, Clock,
        Error, ErrorKind, EvictionPolicy, Freshness, IntoBackend, ListRefresh, Namespace, Origin,
        OriginStats, PutCondition, PutOptions, Result, Stats, Status, Tier, TierStats, Version,
    },
    cache_metrics,
    cache_policy::{self, Objective},
    cache_store::{
        self, AnsweredFromCache, Bypass, CacheStatus, CachedStore, CachedStoreBuilder,
        CachedStoreStats, Capabilities, NotCached, OnlyIfCached, Reads, Support, ValidatorStrength,
        WarmResult, probe_capabilities,
    },
    object_store,
};

#[cfg(feature = "disk")]
pub use cache_disk::{DiskAdmission, DiskTier, TieredBackend};
#[cfg(feature = "object-store-013")]
#[doc(no_inline)]
pub use cache_store::ObjectStore013;

pub use crate::{
    builder::{ObjectCacheBuilder, OverOrigin, OverStore},
    cache::ObjectCache,
    eviction::{Eviction, Policy},
    memory::Memory,
    object::CachedObject,
    options::ReadOptions,
    prefix_read::PrefixRead,
    watch::{PrefixChange, PrefixWatch, Watch},
};

/// The code in the crate's README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
