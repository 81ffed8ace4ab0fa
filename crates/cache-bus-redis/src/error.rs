//! Errors of the client as those of the cache: each says what can be done.

use std::time::Duration;

use cache_core::{Error, ErrorKind};
use redis::RedisError;

/// The error for a URL. It does not repeat the URL, which can have a password.
pub(crate) fn url(error: &RedisError) -> Error {
    let reason = error.detail().map_or_else(|| error.to_string(), ToOwned::to_owned);
    let message = format!(
        "the URL of the Redis bus cannot be used: {reason}; it has the form \
         redis://[user][:password@]host[:port], rediss://… needs the feature `tls`"
    );
    Error::new(ErrorKind::Config, message)
}

pub(crate) fn no_runtime() -> Error {
    let message = "a Redis bus needs a tokio runtime with I/O and time";
    Error::new(ErrorKind::Config, message)
}

pub(crate) fn timeout(address: &str, limit: Duration) -> Error {
    let message = format!(
        "Redis at {address} did not answer within {limit:?}; check that the server runs and can \
         be reached, or allow more with `time_limit`"
    );
    Error::new(ErrorKind::Timeout, message)
}

/// The error of an action at the server.
pub(crate) fn server(action: &str, address: &str, error: RedisError) -> Error {
    let (kind, advice) = advice(&error);
    Error::new(kind, format!("could not {action} at Redis ({address}): {error}; {advice}"))
        .with_source(error)
}

fn advice(error: &RedisError) -> (ErrorKind, &'static str) {
    match error.code() {
        Some("NOAUTH") => {
            return (
                ErrorKind::Unauthenticated,
                "the server requires a password: give it in the URL, redis://:password@host",
            );
        }
        Some("WRONGPASS") => return WRONG_PASSWORD,
        Some("NOPERM") => {
            return (
                ErrorKind::PermissionDenied,
                "the user needs +hello, +ping, +subscribe and +publish, and the channels \
                 &object-cache.*",
            );
        }
        _ => {}
    }
    match error.kind() {
        redis::ErrorKind::AuthenticationFailed => WRONG_PASSWORD,
        redis::ErrorKind::RESP3NotSupported => {
            (ErrorKind::Unsupported, "the bus needs Redis 6 or later, or Valkey")
        }
        redis::ErrorKind::InvalidClientConfig => (ErrorKind::Config, "correct the URL"),
        _ => (ErrorKind::Unavailable, "check that the server runs and that the URL names it"),
    }
}

const WRONG_PASSWORD: (ErrorKind, &str) = (
    ErrorKind::Unauthenticated,
    "correct the user and the password in the URL, redis://user:password@host; special \
     characters are percent-encoded there",
);
