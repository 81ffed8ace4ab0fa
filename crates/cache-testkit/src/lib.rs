//! For those who implement a trait of object-cache, and for tests of what uses it.
//!
//! * [`ManualClock`] is moved by hand;
//! * [`Gate`] holds callers until the test lets them go on, so that a race needs no sleep;
//! * [`MemoryOrigin`] is an origin whose every step can be held, watched and spoiled;
//! * [`MapBackend`] is the plainest backend;
//! * [`WaitingBackend`] waits at every call, and refuses and fails by a seed.
#![forbid(unsafe_code)]

mod backend;
mod clock;
mod gate;
mod origin;

pub use crate::{
    backend::{MapBackend, WaitingBackend},
    clock::ManualClock,
    gate::Gate,
    origin::{MemoryOrigin, OriginFault, OriginRequest},
};
