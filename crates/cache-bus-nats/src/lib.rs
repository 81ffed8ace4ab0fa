//! [`NatsBus`]: NATS as the [`ChangeBus`] of object-cache.
//!
//! Caches of one store announce their changes on one subject of core NATS, whose name comes from
//! the [`Namespace`] of the store. Nothing is stored: JetStream is not needed.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use cache_bus_nats::NatsBus;
//! use cache_core::{ChangeBus, Namespace};
//!
//! # async fn run() -> cache_core::Result<()> {
//! let namespace = Namespace::named("s3://bucket");
//! let bus = NatsBus::builder("nats://user:password@nats.internal:4222", namespace).build()?;
//! // Says at the start of the program what is wrong with the address, the user or the server.
//! bus.check().await?;
//! let bus: Arc<dyn ChangeBus> = Arc::new(bus);
//! # Ok(())
//! # }
//! ```
//!
//! # Server
//!
//! NATS 2.2 or later. A user with permissions needs to publish and subscribe to `object-cache.>`:
//!
//! ```text
//! permissions: { publish: "object-cache.>", subscribe: "object-cache.>" }
//! ```
//!
//! In a cluster, other servers hear of a subscription some milliseconds after the one that has
//! confirmed it. A message that is published there meanwhile is lost without a gap; the caches
//! find that by the numbers of the next message or heartbeat.
//!
//! # Connections
//!
//! One for announcements, made with the first one, and one for each stream of
//! [`listen`]. Both are made again after an error, to the servers of the URL: a cluster is given as
//! several addresses. All of it needs a tokio runtime with I/O and time.
//!
//! # Features
//!
//! `tls`: addresses that begin with `tls://`, and servers that require TLS.
//!
//! [`ChangeBus`]: cache_core::ChangeBus
//! [`listen`]: cache_core::ChangeBus::listen
//! [`Namespace`]: cache_core::Namespace

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod announcer;
mod builder;
mod bus;
mod connection;
mod error;
mod listener;
mod server;

pub use builder::NatsBusBuilder;
pub use bus::NatsBus;
