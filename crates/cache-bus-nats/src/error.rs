//! Errors of the client as those of the cache: each says what can be done.

use std::{error::Error as StdError, time::Duration};

use async_nats::{ConnectError, ConnectErrorKind, PublishError, client::PublishErrorKind};
use cache_core::{Error, ErrorKind};

/// The error for a URL. It does not repeat the URL, which can have a password.
pub(crate) fn url(reason: &str) -> Error {
    let message = format!(
        "the URL of the NATS bus cannot be used: {reason}; it has the form \
         nats://[user:password@]host[:port]"
    );
    Error::new(ErrorKind::Config, message)
}

pub(crate) fn no_runtime() -> Error {
    let message = "a NATS bus needs a tokio runtime with I/O and time";
    Error::new(ErrorKind::Config, message)
}

pub(crate) fn no_tls(address: &str) -> Error {
    let message =
        format!("NATS at {address} requires TLS: build cache-bus-nats with its feature `tls`");
    Error::new(ErrorKind::Config, message)
}

pub(crate) fn timeout(address: &str, limit: Duration) -> Error {
    let message = format!(
        "NATS at {address} did not answer within {limit:?}; check that the server runs and can be \
         reached, or allow more with `time_limit`"
    );
    Error::new(ErrorKind::Timeout, message)
}

pub(crate) fn connect(address: &str, error: ConnectError) -> Error {
    let (kind, advice) = match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => (
            ErrorKind::Unauthenticated,
            "correct the user and the password in the URL, nats://user:password@host, or the \
             credentials of the options",
        ),
        ConnectErrorKind::ServerParse => (ErrorKind::Config, "correct the URL"),
        ConnectErrorKind::Tls => (
            ErrorKind::Unavailable,
            "check the server's certificate and those that the options or the system trust",
        ),
        ConnectErrorKind::TimedOut => (ErrorKind::Timeout, CHECK),
        _ => (ErrorKind::Unavailable, CHECK),
    };
    // The client's error does not print its cause.
    let cause = error.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
    let message = format!("could not connect to NATS at {address}: {error}{cause}; {advice}");
    Error::new(kind, message).with_source(error)
}

const CHECK: &str = "check that the server runs and that the URL names it";

pub(crate) fn lost(address: &str) -> Error {
    let message = format!("the connection to NATS at {address} was lost; {CHECK}");
    Error::new(ErrorKind::Unavailable, message)
}

/// The server's own words name the subject.
pub(crate) fn refused(address: &str, refusal: &str) -> Error {
    let message = format!(
        "NATS at {address} refuses: {refusal}; the user must be allowed to publish and subscribe \
         to object-cache.>"
    );
    Error::new(ErrorKind::PermissionDenied, message)
}

pub(crate) fn publish(address: &str, error: PublishError) -> Error {
    let (kind, advice) = match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => {
            (ErrorKind::TooLarge, "allow messages of 32 kB with `max_payload` of the server")
        }
        _ => (ErrorKind::Unavailable, CHECK),
    };
    let message = format!("could not publish at NATS ({address}): {error}; {advice}");
    Error::new(kind, message).with_source(error)
}

pub(crate) fn not_confirmed(address: &str, error: async_nats::RequestError) -> Error {
    let message = format!("NATS at {address} did not confirm a subscription: {error}; {CHECK}");
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

pub(crate) fn subscribe(address: &str, error: async_nats::SubscribeError) -> Error {
    let message = format!("could not subscribe at NATS ({address}): {error}; {CHECK}");
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}
