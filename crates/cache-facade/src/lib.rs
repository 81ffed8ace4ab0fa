//! An ETag-validated cache in front of an object store.
//!
//! An [`ObjectCache`] keeps copies of objects that live in S3, GCS, Azure, on a web server, on
//! local disk or in memory (all through the `object_store` crate), and never serves a copy that the
//! store would not vouch for, unless you allowed it, for as long as you allowed. Many nodes may
//! share one bucket, each with a cache of its own; they need not know of each other.
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
//! // The copy is served once the store has confirmed that it is current; its bytes do not come again.
//! let object = cache.get("config.json").await?;
//! assert_eq!(object.bytes(), "{}");
//! assert_eq!(object.status(), Status::Revalidated);
//!
//! // What another node writes is seen by the next read.
//! ObjectCache::builder(bucket).build()?.put("config.json", r#"{"v":2}"#).await?;
//! assert_eq!(cache.get("config.json").await?.bytes(), r#"{"v":2}"#);
//! # Ok(())
//! # }
//! ```
//!
//! # How fresh
//!
//! The default is [`Freshness::strong`]: every read asks the store, with one conditional request.
//! Where an object may be a little old, or never changes, say so, for the cache, by prefix, or for
//! one read:
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
//! cache.get("static/logo-7f3a.svg").await?; // Asks nobody.
//! cache.get_with("static/logo-7f3a.svg", ReadOptions::new().freshness(Freshness::strong())).await?;
//! assert_eq!(cache.stats().origin.not_modified, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # As an object store
//!
//! A [`CachedStore`] is itself an `ObjectStore`, for programs that are written against that: it
//! holds objects in blocks, streams large ones, and takes every write. See [`CachedStore`].
//!
//! # Figures
//!
//! [`ObjectCache::stats`] is a snapshot of the counters. A [`Registry`](cache_metrics::Registry)
//! exports those of many caches to what is there already: Prometheus, OpenTelemetry, or the
//! `metrics` crate.
//!
//! # Deeper
//!
//! This crate assembles the others and adds little. [`cache_core`] has the contracts: implement
//! [`Backend`], [`Origin`] or [`EvictionPolicy`], and give yours to the builder. [`cache_policy`]
//! has the eviction policies and the memory backends, [`cache_store`] the validator over object
//! stores. Types of `object_store`, `bytes` and `futures_core` are part of this crate's API.
//!
//! # Features
//!
//! * `fs` (default): local disk.
//! * `aws`, `gcp`, `azure`, `http`: object_store's clients for S3, GCS, Azure and HTTP/WebDAV. Each
//!   brings an HTTP client and TLS.
//! * `moka`: `Eviction::Moka`, which holds the copies in a moka cache.
//! * `prometheus`, `opentelemetry`, `metrics`: exporters of the figures.
//! * `object-store-013`: `ObjectStore013`, which makes any store, a [`CachedStore`] too, one of
//!   object_store 0.13. Brings that version.
//! * `tracing`: a span for each request to the store, and warnings where a stale copy is served or
//!   a body is not kept.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod cache;
mod decode;
mod eviction;
mod memory;
mod object;
mod options;
mod watch;

#[doc(no_inline)]
pub use {
    bytes::Bytes,
    cache_core::{
        self, Attributes, Backend, Clock, Error, ErrorKind, EvictionPolicy, Freshness, IntoBackend,
        Namespace, Origin, OriginStats, PutCondition, PutOptions, Result, Stats, Status, Version,
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
    watch::Watch,
};

/// The code in the crate's README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
