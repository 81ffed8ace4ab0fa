//! For those who test code that stands on object-cache, or implement one of its traits.
//!
//! * [`conformance`] checks whether a backend, a validator, an origin or a policy keeps its
//!   contract;
//! * [`ManualClock`] is moved by hand, [`TokioClock`] follows tokio's, also when it is paused,
//!   [`TickingClock`] by ticks;
//! * [`history::History`] records what happens to some keys, and checks the rules that must hold
//!   over it;
//! * [`simulation`] plays schedules of reads, writes and faults on several nodes, all from a seed;
//! * [`Gate`] holds callers until the test lets them go on, so that a race needs no sleep;
//! * [`FaultyStore`] is an object store that records what it is asked, holds requests until a test
//!   lets them go, and fails on demand;
//! * `S3Server`, behind the feature `s3`, is the same for S3's own protocol: a server on the
//!   loopback interface;
//! * [`FaultyOrigin`] is the same for any origin, over a store or not; [`MemoryOrigin`] is the
//!   plainest one;
//! * [`LocalBus`] is a change bus within one process, that loses, repeats, delays and reorders
//!   messages on demand or from a seed;
//! * [`MapBackend`] is the plainest backend;
//! * [`TwoTierBackend`] has few entries in memory and all of them on a [`SimulatedDisk`];
//! * [`HookBackend`] calls a closure before each call of another backend, to count, delay, reject
//!   or fail it;
//! * [`Random`] draws numbers from a seed, and [`Zipf`] popular ranks, for workloads that repeat;
//! * `FaultyDisk`, behind the feature `disk`, is a disk for tiers of `cache-disk` that tears and
//!   loses writes;
//! * [`WaitingBackend`] waits at every call, and refuses and fails by a seed.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod bus;
mod clock;
pub mod conformance;
#[cfg(feature = "disk")]
mod disk;
#[cfg(feature = "disk")]
mod disk_tier;
mod faults;
mod gate;
pub mod history;
mod hook;
mod log;
mod narrow;
mod origin;
mod random;
#[cfg(feature = "s3")]
mod s3;
pub mod simulation;
mod store;
mod two_tier;
mod zipf;

#[cfg(feature = "s3")]
pub use crate::s3::{PlainHttp, S3Fault, S3Request, S3Server};
pub use crate::{
    backend::{MapBackend, WaitingBackend},
    bus::{BusCounts, BusFault, BusPassage, FaultRates, LocalBus},
    clock::{ManualClock, TickingClock, TokioClock},
    gate::Gate,
    hook::{BackendAction, BackendCall, HookBackend},
    origin::{
        FaultyOrigin, MemoryOrigin, OriginFault, OriginOperation, OriginOutcome, OriginRequest,
        PageFault,
    },
    random::Random,
    store::{BodyFault, Failure, Fault, FaultyStore, Operation, Outcome, Request, TagFault},
    two_tier::{SimulatedDisk, TwoTierBackend, TwoTierFault},
    zipf::Zipf,
};
#[cfg(feature = "disk")]
pub use crate::{
    disk::{DiskFaults, FaultyDisk},
    disk_tier::simulated_disk_tier,
};

/// The code in the crate's README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
