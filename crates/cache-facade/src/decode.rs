//! The caller's decoder, with its failures and panics as errors.

use std::{
    error::Error as StdError,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Result};

/// What `decode` makes of `body`.
pub(crate) fn decoded<T, E>(
    body: &Bytes,
    decode: impl FnOnce(&Bytes) -> std::result::Result<T, E>,
) -> Result<T>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    // Nothing of ours is changed while the decoder runs, so nothing can be left half-way.
    match catch_unwind(AssertUnwindSafe(|| decode(body))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => {
            Err(Error::new(ErrorKind::Decode, "the decoder refused the bytes").with_source(source))
        }
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().copied();
            let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let said = said.unwrap_or("no message");
            Err(Error::new(ErrorKind::Panicked, format!("the decoder panicked: {said}")))
        }
    }
}
