//! The one error type of all crates.

use std::{error::Error as StdError, fmt, sync::Arc};

/// The result of anything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and with which key. Cheap to clone: all readers of a flight get the same
/// one.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The origin has no such object. Nothing is held of it any more.
    NotFound,
    /// The key is not canonical: correct it.
    InvalidKey,
    /// A conditional write lost: read again, decide again.
    PreconditionFailed,
    /// The origin refuses these credentials for this object. Nothing is held of it any more.
    PermissionDenied,
    /// The origin does not know these credentials: renew them. Nothing is held of the object any
    /// more.
    Unauthenticated,
    /// The origin did not answer in time. A write may have taken effect, or may yet.
    Timeout,
    /// The origin failed or could not be reached. A write may have taken effect, or may yet.
    Unavailable,
    /// The object is larger than the configured limit.
    TooLarge,
    /// The caller's decoder refused the bytes.
    Decode,
    /// A setting is wrong: correct it.
    Config,
    /// The origin cannot do this (local disk has no conditional update, say).
    Unsupported,
    /// Code that was plugged in (a validator, a backend, a decoder) panicked.
    Panicked,
    /// The backend failed.
    Backend,
    /// The cache was closed.
    Closed,
    /// None of the above: see the message and the source.
    Other,
}

impl ErrorKind {
    /// Every kind, in the order of declaration. Grows with them.
    pub const ALL: [Self; 15] = [
        Self::NotFound,
        Self::InvalidKey,
        Self::PreconditionFailed,
        Self::PermissionDenied,
        Self::Unauthenticated,
        Self::Timeout,
        Self::Unavailable,
        Self::TooLarge,
        Self::Decode,
        Self::Config,
        Self::Unsupported,
        Self::Panicked,
        Self::Backend,
        Self::Closed,
        Self::Other,
    ];

    /// The kind in words for metrics and logs: `permission_denied`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::InvalidKey => "invalid_key",
            Self::PreconditionFailed => "precondition_failed",
            Self::PermissionDenied => "permission_denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::TooLarge => "too_large",
            Self::Decode => "decode",
            Self::Config => "config",
            Self::Unsupported => "unsupported",
            Self::Panicked => "panicked",
            Self::Backend => "backend",
            Self::Closed => "closed",
            Self::Other => "other",
        }
    }
}

impl Error {
    /// An error of `kind`. The message says what is wrong, and what to do if that is known.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), key: None, source: None }))
    }

    /// The same error, caused by `source`.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.source = Some(Arc::from(source.into()));
        Self(Arc::new(inner))
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The key that was asked for, if one was: as the caller wrote it, cut to 4096
    /// bytes.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// Returns whether the store has no such object.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Returns whether the key is not canonical.
    pub fn is_invalid_key(&self) -> bool {
        self.kind() == ErrorKind::InvalidKey
    }

    /// Returns whether a conditional write lost: the object is at another version (RFC 9110
    /// section 13).
    pub fn is_precondition_failed(&self) -> bool {
        self.kind() == ErrorKind::PreconditionFailed
    }

    /// Returns whether the store refuses these credentials for this object.
    pub fn is_permission_denied(&self) -> bool {
        self.kind() == ErrorKind::PermissionDenied
    }

    /// Returns whether the store does not know these credentials.
    pub fn is_unauthenticated(&self) -> bool {
        self.kind() == ErrorKind::Unauthenticated
    }

    /// Returns whether the store did not answer in time. A write may have taken effect, or may
    /// yet.
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::Timeout
    }

    /// Returns whether the store failed or could not be reached. A write may have taken effect, or
    /// may yet.
    pub fn is_unavailable(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }

    /// Returns whether the object is larger than the configured limit.
    pub fn is_too_large(&self) -> bool {
        self.kind() == ErrorKind::TooLarge
    }

    /// Returns whether the caller's decoder rejected the bytes.
    pub fn is_decode(&self) -> bool {
        self.kind() == ErrorKind::Decode
    }

    /// Returns whether a setting is wrong.
    pub fn is_config(&self) -> bool {
        self.kind() == ErrorKind::Config
    }

    /// Returns whether the store cannot do what was requested.
    pub fn is_unsupported(&self) -> bool {
        self.kind() == ErrorKind::Unsupported
    }

    /// Returns whether the cache was closed.
    pub fn is_closed(&self) -> bool {
        self.kind() == ErrorKind::Closed
    }

    /// Whether the origin failed to answer, as opposed to having answered. Only such an error may
    /// be covered by `stale_if_error` (RFC 5861 section 4).
    pub fn is_outage(&self) -> bool {
        // Only these kinds allow stale copies: a denied request is an answer, not an outage.
        // mutant: outage_kinds
        matches!(self.kind(), ErrorKind::Timeout | ErrorKind::Unavailable)
    }

    /// Whether the error says that the held copy may not be served any more.
    pub(crate) fn drops_entry(&self) -> bool {
        use ErrorKind::{NotFound, PermissionDenied, TooLarge, Unauthenticated};
        // A denied request is the store's answer, so a cached copy must not hide it.
        // mutant: answer_kinds
        matches!(self.kind(), NotFound | PermissionDenied | Unauthenticated | TooLarge)
    }

    pub(crate) fn with_raw_key(self, key: &str) -> Self {
        if self.0.key.is_some() {
            return self;
        }
        self.naming(key)
    }

    /// The same error, with `shown` in the place of `key`, or of no key. Another key stays.
    pub(crate) fn with_shown_key(self, key: &str, shown: &str) -> Self {
        // A key that is too long was cut.
        if self.key().is_some_and(|named| named == shown || !key.starts_with(named)) {
            return self;
        }
        self.naming(shown)
    }

    fn naming(self, key: &str) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        let mut end = key.len().min(KEY_KEPT_MAX);
        while !key.is_char_boundary(end) {
            end -= 1;
        }
        inner.key = Some(key[..end].into());
        Self(Arc::new(inner))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.key {
            Some(key) => write!(f, " (key {key:?})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some(key) = &self.0.key {
            out.field("key", key);
        }
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    key: Option<Box<str>>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// An invalid key may be of any length; what an error keeps of it is bounded.
const KEY_KEPT_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    #[test]
    fn an_error_says_what_where_and_why() {
        let error = Error::new(ErrorKind::Unavailable, "the origin failed")
            .with_key(&Key::parse("a/b").unwrap())
            .with_source("connection refused");
        assert_eq!(error.to_string(), r#"the origin failed (key "a/b")"#);
        assert_eq!(error.source().unwrap().to_string(), "connection refused");
        assert_eq!(error.key(), Some("a/b"));
        assert!(error.is_outage());
    }

    #[test]
    fn each_question_is_about_one_kind() {
        type Predicate = fn(&Error) -> bool;
        let predicates: [(ErrorKind, Predicate); 12] = [
            (ErrorKind::NotFound, Error::is_not_found),
            (ErrorKind::InvalidKey, Error::is_invalid_key),
            (ErrorKind::PreconditionFailed, Error::is_precondition_failed),
            (ErrorKind::PermissionDenied, Error::is_permission_denied),
            (ErrorKind::Unauthenticated, Error::is_unauthenticated),
            (ErrorKind::Timeout, Error::is_timeout),
            (ErrorKind::Unavailable, Error::is_unavailable),
            (ErrorKind::TooLarge, Error::is_too_large),
            (ErrorKind::Decode, Error::is_decode),
            (ErrorKind::Config, Error::is_config),
            (ErrorKind::Unsupported, Error::is_unsupported),
            (ErrorKind::Closed, Error::is_closed),
        ];
        for kind in ErrorKind::ALL {
            let error = Error::new(kind, "an error");
            for (asked, is_so) in predicates {
                assert_eq!(is_so(&error), asked == kind, "{kind:?}, {asked:?}");
            }
            let is_outage = error.is_timeout() || error.is_unavailable();
            assert_eq!(error.is_outage(), is_outage, "{kind:?}");
        }
    }

    #[test]
    fn a_long_key_is_cut_at_a_character() {
        let error = Error::new(ErrorKind::InvalidKey, "long")
            .with_raw_key(&"ü".repeat(3000).replacen('ü', "u", 1));
        assert_eq!(error.key().unwrap().len(), Key::LEN_MAX - 1);
    }
}
