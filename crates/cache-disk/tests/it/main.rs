//! The disk tier from outside: the contract of backends, restarts, faults of files.

mod contract;
mod inspect;
mod restart;
mod support;
