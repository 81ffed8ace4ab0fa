//! The locks and atomics of what several threads change: the standard library's, or those of the
//! model checker loom, which runs a test through every order in which its threads can take them.

#[cfg(object_cache_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, RwLock, atomic};
#[cfg(not(object_cache_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, atomic};
use std::{any::Any, panic::AssertUnwindSafe, sync::PoisonError};

use futures_util::FutureExt as _;

use crate::{Error, ErrorKind, Result};

/// Locks a mutex whose sections cannot panic half-way through a change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `call`, with a panic as an error.
pub(crate) async fn caught<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(panic)))
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Error {
    let said = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(said), _) => said,
        (_, Some(said)) => said.as_str(),
        _ => "no message",
    };
    Error::new(ErrorKind::Panicked, format!("code that was plugged in panicked: {said}"))
}
