//! Caching over any store of the `object_store` crate: a validated origin, and a cached store.
//!
//! [`EtagValidator`] reads and writes S3, GCS, Azure, HTTP/WebDAV, local disk or memory for
//! `cache_core`'s `ReadThrough`, as a [`Validator`](cache_core::Validator) and
//! [`Origin`](cache_core::Origin). An object that is not cached costs one GET, an unchanged one a
//! conditional GET without a body, a changed one a GET, a write a PUT.
//!
//! How far a 304 (Not Modified) can be trusted depends on the store: see [`ValidatorStrength`].
//!
//! ```
//! use std::sync::Arc;
//! use cache_core::{Key, Origin, PutCondition, Validation, Validator};
//! use cache_store::EtagValidator;
//! use object_store::memory::InMemory;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> cache_core::Result<()> {
//! let origin = EtagValidator::builder(Arc::new(InMemory::new())).build()?;
//! let key = Key::parse("config.json")?;
//! origin.put(&key, "{}".into(), PutCondition::Absent).await?;
//!
//! let Validation::Modified(entry) = origin.validate(&key, None).await? else { unreachable!() };
//! assert_eq!(entry.body(), "{}");
//! assert!(matches!(origin.validate(&key, Some(&entry)).await?, Validation::NotModified));
//! # Ok(())
//! # }
//! ```
//!
//! [`CachedStore`] is an `ObjectStore` over another one. It caches objects in blocks, so that
//! ranges of large objects do not fetch them whole, and streams what is not cached.
//!
//! # Features
//!
//! `fs` (the default), `aws`, `azure`, `gcp` and `http` enable object_store's feature of the same
//! name. Without them there are the in-memory store and stores of your own.
//!
//! `object-store-013` adds `ObjectStore013`, which presents a store to crates on object_store 0.13.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attributes;
mod body;
mod builder;
mod cached;
mod error;
mod in_flight;
mod listing;
mod lists;
mod local_disk;
#[cfg(feature = "object-store-013")]
mod object_store_013;
mod paths;
mod probe;
mod strength;
mod tag;
mod validator;
mod verify;
mod version;

#[cfg(feature = "object-store-013")]
pub use crate::object_store_013::ObjectStore013;
pub use crate::{
    attributes::{attributes_from_store, attributes_to_store},
    builder::EtagValidatorBuilder,
    cached::{
        AnsweredFromCache, Bypass, CacheStatus, CachedStore, CachedStoreBuilder, CachedStoreStats,
        NotCached, OnlyIfCached, Reads, WarmResult,
    },
    probe::{Capabilities, Support, probe_capabilities},
    strength::ValidatorStrength,
    validator::EtagValidator,
};

/// The code in the crate's README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
