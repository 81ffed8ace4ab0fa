//! For those who test code that stands on object-cache, or implement one of its traits.
//!
//! * [`FaultyStore`] is an object store that records what it is asked, holds requests until a test lets them go,
//!   and fails on demand.
#![forbid(unsafe_code)]

mod store;

pub use crate::store::{BodyFault, Failure, Fault, FaultyStore, Operation, Outcome, Request, TagFault};
