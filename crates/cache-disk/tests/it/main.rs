//! The disk tier from outside: the contract of backends, restarts, faults of files.

mod close;
mod contract;
mod end_to_end;
mod files;
mod inspect;
mod queue;
mod restart;
mod support;
