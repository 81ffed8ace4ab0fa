//! The vocabulary, the registry, and what the exporters say.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod bad_input;
mod conservation;
mod document;
mod readings;
mod registry;
mod rounds;
mod script;
mod vocabulary;
