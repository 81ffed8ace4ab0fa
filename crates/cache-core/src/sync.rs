//! The locks and atomics of what several threads change: the standard library's, or those of the
//! model checker loom, which runs a test through every order in which its threads can take them.

#[cfg(object_cache_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, RwLock, atomic};
#[cfg(not(object_cache_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, atomic};
