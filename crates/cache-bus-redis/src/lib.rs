//! [`RedisBus`]: Redis or Valkey as the [`ChangeBus`] of object-cache.
//!
//! Caches of one store announce their changes on one pub/sub channel, whose name comes from the
//! [`Namespace`] of the store. Nothing is stored in Redis.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use cache_bus_redis::RedisBus;
//! use cache_core::{ChangeBus, Namespace};
//!
//! # async fn run() -> cache_core::Result<()> {
//! let namespace = Namespace::named("s3://bucket");
//! let bus = RedisBus::builder("redis://user:password@redis.internal:6379", namespace).build()?;
//! // Says at the start of the program what is wrong with the address, the user or the server.
//! bus.check().await?;
//! let bus: Arc<dyn ChangeBus> = Arc::new(bus);
//! # Ok(())
//! # }
//! ```
//!
//! # Server
//!
//! Redis 6 or later, or Valkey: the bus speaks RESP3. A user with an ACL needs the commands
//! `HELLO`, `PING`, `SUBSCRIBE` and `PUBLISH` and the channels `object-cache.*`:
//!
//! ```text
//! ACL SETUSER cache on >password resetchannels &object-cache.*
//! ACL SETUSER cache -@all +hello +ping +subscribe +publish
//! ```
//!
//! A node of a Redis cluster works as a single server does: clusters pass messages to all nodes.
//!
//! # Connections
//!
//! One for announcements, made with the first one, and one for each stream of
//! [`listen`]. Both are made again after an error. All of it needs a tokio runtime with I/O and
//! time.
//!
//! # Features
//!
//! `tls`: addresses that begin with `rediss://`.
//!
//! [`ChangeBus`]: cache_core::ChangeBus
//! [`listen`]: cache_core::ChangeBus::listen
//! [`Namespace`]: cache_core::Namespace

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod announcer;
mod builder;
mod bus;
mod error;
mod listener;
mod server;

pub use builder::RedisBusBuilder;
pub use bus::RedisBus;
