//! The table of metrics, the registry and the exporters.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod bad_input;
mod bus;
mod conservation;
mod document;
mod readings;
mod registry;
mod rounds;
mod script;
mod table;
mod tier;
