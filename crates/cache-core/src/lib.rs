//! The words, the three contracts and the protocol of object-cache.
//!
//! * [`Validator`] asks the origin, [`Origin`] also writes to it;
//! * [`Backend`] is where entries live;
//! * [`EvictionPolicy`] decides who leaves;
//! * [`ReadThrough`] joins them: reads that are validated, writes that fence.
//!
//! This crate knows no object store. Most users want `cache-facade`, which assembles everything.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attributes;
mod backend;
mod body;
mod bus;
mod clock;
mod entry;
mod epoch;
mod error;
mod eviction;
mod freshness;
mod into_backend;
mod key;
mod listing;
mod lower_tier;
mod namespace;
mod observation;
mod prefix_tree;
mod put_options;
mod read_through;
mod stats;
mod sync;
mod tag;
mod tier_stats;
mod validator;
mod version;

pub use crate::{
    attributes::Attributes,
    backend::{Admission, Backend, EvictionListener, Rejection, Usage},
    bus::{
        Announcement, BusEvent, BusStats, Change, ChangeBus, EventReceiver, EventSender, GapReason,
        event_queue,
    },
    clock::{Clock, Moment, SystemClock},
    entry::{Entry, EntryBuilder, Seal, Storability},
    error::{Error, ErrorKind, Result},
    eviction::{Deadlines, EntryInfo, EvictionPolicy, EvictionReason, Limits, RemovalCause, Slot},
    freshness::{Evaluation, Freshness, FreshnessRules},
    into_backend::IntoBackend,
    key::Key,
    listing::{ListPage, ListedObject, Listing},
    lower_tier::{LowerTier, TierContext},
    namespace::Namespace,
    observation::Observation,
    put_options::{PutCondition, PutOptions},
    read_through::{
        Changes, ListRefresh, ListScope, ListedPage, ObservedList, OpenWrite, ReadThrough,
        ReadThroughBuilder, RequestPermit, Served, Status, Tier, WeakReadThrough, within,
    },
    stats::{
        AtomicErrorCounts, AtomicHistogram, Bounds, Bucket, ErrorCounts, Histogram, Invalidated,
        OriginStats, Outcomes, Rejected, Stats,
    },
    tag::{is_same_date, opaque_tag},
    tier_stats::{TierDrops, TierState, TierStats},
    validator::{Origin, Validation, Validator},
    version::Version,
};

/// The code in the crate's README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
