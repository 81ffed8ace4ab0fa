//! The notifications that object stores send about their objects, as [`Change`]s that a cache of
//! object-cache applies: [`S3Events`] and [`GcsNotifications`].
//!
//! The crate reads documents, and nothing else: your program receives them (from SQS, SNS,
//! EventBridge, Lambda or Pub/Sub) and applies the changes.
//!
//! ```
//! use cache_bus_events::S3Events;
//! use cache_core::{ReadThrough, Validator};
//!
//! async fn apply<V: Validator>(
//!     cache: &ReadThrough<V>,
//!     events: &mut S3Events,
//!     body: &[u8],
//! ) -> cache_core::Result<()> {
//!     for change in events.parse(body)? {
//!         cache.hear_change(&change).await;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # How fresh is it?
//!
//! Notifications are hints. S3 and Cloud Storage deliver them at least once, mostly within seconds,
//! sometimes minutes later, and in any order. They carry no heartbeat and no number that would show
//! a gap: a cache cannot tell a quiet bucket from a queue that it no longer gets. So read under a
//! `max_age`, which bounds the age whatever is lost; with the hints a long one is as fresh as
//! seconds. `until_notified` needs a bus with heartbeats.
//!
//! One queue is for one consumer. To reach many caches, let one process read the queue and relay
//! each change onto the [`ChangeBus`](cache_core::ChangeBus) of the others with
//! [`ReadThrough::announce`](cache_core::ReadThrough::announce), or give each cache a queue of its
//! own behind a topic.
//!
//! # Repeats and order
//!
//! A change that is applied twice, or after a newer one, costs a request and is never wrong.
//! A parser saves most of those requests: it remembers the latest event of 16,384 keys
//! (`remember`), and leaves out what cannot be newer. Beyond that number it forgets, and such an
//! event marks again.
//!
//! [`Change`]: cache_core::Change
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod counts;
mod error;
mod gcs;
mod memory;
mod s3;
mod scope;

pub use crate::{counts::EventCounts, gcs::GcsNotifications, s3::S3Events};

/// The code in the crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
