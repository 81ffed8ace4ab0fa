//! Writers and readers that share a store and a change bus, each a process of its own, and the
//! ledger that their reads are checked against.
//!
//! The test starts `bus-nodes SETUP`, with a [`Setup`] as JSON, sends it each [`Command`] as a line
//! of JSON, and reads each [`Line`] that it prints. A process ends when its standard input does.

#![forbid(unsafe_code)]

pub mod clock;
pub mod ledger;
pub mod line;
pub mod setup;

pub use self::{
    ledger::{Ledger, Rule},
    line::{Command, Line, Listens, Read},
    setup::{Fault, Reader, Role, Setup, Store, Writer},
};
