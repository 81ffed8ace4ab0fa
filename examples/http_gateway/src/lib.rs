//! A bucket over HTTP, read through the cache.
//!
//! [`Gateway`] makes an axum router over a `CachedStore`: every path of a URL is the key of an
//! object. It is what a site, or an API over a bucket, would build on:
//!
//! * The browser gets the object's own `ETag`, and asks with it; a copy that it may keep is
//!   answered by 304, from what the cache knows of the object, without its bytes.
//! * Bodies are streamed, single ranges are served, and both are held in blocks.
//! * What the store says of an object (`Content-Type`, `Cache-Control`, …) is said again;
//!   `Cache-Status` (RFC 9211) says what the cache did.
//!
//! It only reads. It is an example: what faces the world also needs TLS, limits and somebody who
//! watches it.
#![forbid(unsafe_code)]

mod access;
mod bucket;
mod cache_control;
mod cache_status;
mod clock;
mod conditions;
mod connection;
mod content_type;
mod failure;
mod folder;
mod gateway;
mod headers;
mod host;
mod key;
mod memory;
mod options;
mod range;
mod rules;
mod server;
mod wait;

pub use crate::{
    access::Access,
    bucket::{Bucket, BucketOptions, CheckError, demo},
    cache_control::may_be_cached,
    failure::describe,
    gateway::{Gateway, Health},
    memory::Memory,
    options::Options,
    rules::{Rule, Rules},
    server::{Limits, Server},
};

/// The code in the project's README compiles and runs. Here, because a published crate cannot
/// include a file from outside of its package.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// So does the code about tuning.
#[cfg(all(doctest, feature = "aws"))]
#[doc = include_str!("../../../docs/tuning.md")]
struct Tuning;
