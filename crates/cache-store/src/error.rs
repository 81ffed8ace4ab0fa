//! The errors of object_store, by what a caller can do about them.

use std::{error::Error as _, fmt, io};

use cache_core::{Error, ErrorKind};
use object_store::PutMode;
use tokio::task::JoinError;

/// What was asked of the store. Its `Display` ends the sentence "the store cannot …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    Put,
    PutAttributes,
    PutAttributesIf,
    PutIfAbsent,
    PutIfMatches,
    Delete,
    List,
}

impl Action {
    pub(crate) fn of_put(mode: &PutMode) -> Self {
        match mode {
            PutMode::Overwrite => Self::Put,
            PutMode::Create => Self::PutIfAbsent,
            PutMode::Update(_) => Self::PutIfMatches,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read an object",
            Self::Put => "put an object",
            Self::PutAttributes => "put an object with attributes",
            Self::PutAttributesIf => "put an object with attributes under this condition",
            Self::PutIfAbsent => "put an object only if there is none yet",
            Self::PutIfMatches => "put an object only if it is at a given version",
            Self::Delete => "delete an object",
            Self::List => "list objects",
        })
    }
}

/// `error` as one of ours. Says nothing that the store's error says: that is the source.
pub(crate) fn error_of(
    error: object_store::Error,
    action: Action,
    store: &impl fmt::Display,
) -> Error {
    described(&error, action, store).with_source(error)
}

/// The same without the source.
pub(crate) fn described(
    error: &object_store::Error,
    action: Action,
    store: &impl fmt::Display,
) -> Error {
    match (judge(error), action) {
        ((ErrorKind::Unsupported, _), _) => {
            Error::new(ErrorKind::Unsupported, format!("{store} cannot {action}"))
        }
        // A read changes nothing, so it has no open outcome: the state of the object forbids it (an
        // archived blob), which a stale copy must not cover.
        (CONFLICT, Action::Read) => Error::new(ErrorKind::Other, REFUSED),
        ((kind, message), _) => Error::new(kind, message),
    }
}

/// Returns `error`, of a list of the objects whose keys begin with `prefix`, as one of ours.
pub(crate) fn list_error(
    error: object_store::Error,
    prefix: &str,
    store: &impl fmt::Display,
) -> Error {
    use ErrorKind::*;
    let (kind, message) = match kind_of(&error) {
        // A web server that does not know WebDAV.
        _ if is_about_webdav(&error) => (Unsupported, "it lists over WebDAV only"),
        NotFound => (NotFound, "there is no such bucket or container"),
        PermissionDenied => (PermissionDenied, "these credentials do not permit it"),
        Unauthenticated => (Unauthenticated, "it does not know these credentials: renew them"),
        InvalidKey => (
            InvalidKey,
            "an object's path has an empty segment, or something else that object_store does not \
                read: rename it",
        ),
        Unsupported => (Unsupported, "it has no lists"),
        Unavailable => (Unavailable, "it failed or could not be reached"),
        kind => (kind, "it rejected the request"),
    };
    Error::new(kind, format!("{store} cannot list {prefix:?}: {message}")).with_source(error)
}

/// Returns whether a web server has not understood a request of WebDAV: object_store lists over
/// HTTP by that.
pub(crate) fn is_about_webdav(error: &object_store::Error) -> bool {
    let object_store::Error::Generic { store: "HTTP", source } = error else { return false };
    // Some respond with a page of their own.
    is_about_form(error) || source.to_string().contains("PROPFIND")
}

/// Whether the store failed to answer, or left the outcome of a write open.
pub(crate) fn is_outage(error: &object_store::Error) -> bool {
    matches!(judge(error), OUTAGE | CONFLICT)
}

/// Whether the store gave up a write because of another one of the same object (HTTP status 409).
///
/// S3 answers so while two conditional writes are under way, also where there is no object.
/// object_store makes `AlreadyExists` of it, as of the 412 to a conditional create, and keeps the
/// status to itself: the text of the error inside is all that tells the two apart. Azure has 409
/// for an object that exists, and says so by its code.
pub(crate) fn is_conflict(error: &object_store::Error) -> bool {
    let object_store::Error::AlreadyExists { source, .. } = error else { return false };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**source);
    while let Some(error) = cause {
        // The error inside that begins so is of the status alone. The one around it quotes the
        // path, which may be anything.
        // The status stands at the start: an object's path may contain the same text.
        // mutant: conflict_prefix
        if let Some(code) = error.to_string().strip_prefix(STATUS_409) {
            return !says_that_it_exists(code);
        }
        cause = error.source();
    }
    false
}

/// Whether the body of a 409 has an error code that says that the object is there: Azure's
/// `BlobAlreadyExists`, `FileAlreadyExists` of other stores.
fn says_that_it_exists(body: &str) -> bool {
    let after = |mark| body.split_once(mark).map(|(_, rest): (_, &str)| rest.trim_start());
    let code = match after("<Code>") {
        Some(xml) => xml.split('<').next(),
        // Azure's newer interfaces answer in JSON.
        None => after("\"code\"").and_then(|json| json.split('"').nth(1)),
    };
    code.is_some_and(|code| code.trim_end().ends_with("AlreadyExists"))
}

/// Whether the store may have refused the form of a request rather than failed: it has no ranges,
/// or no `If-Match`. The same question in a plainer form may be answered.
pub(crate) fn is_about_form(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    match error {
        E::NotSupported { .. } | E::NotImplemented { .. } => true,
        E::Generic { .. } => {
            let cause = root_cause(error);
            match status_of(&cause) {
                Some(408 | 429) => false,
                Some(status) => (400..500).contains(&status) || status == 501 || status == 505,
                None => is_about_range(error) || cause.to_lowercase().contains("not implemented"),
            }
        }
        _ => false,
    }
}

/// Whether the store denies access with these credentials.
pub(crate) fn is_forbidden(error: &object_store::Error) -> bool {
    matches!(kind_of(error), ErrorKind::PermissionDenied | ErrorKind::Unauthenticated)
}

/// Whether it was the range that the store refused, as far as the error says.
pub(crate) fn is_about_range(error: &object_store::Error) -> bool {
    let cause = root_cause(error).to_lowercase();
    // object_store: "Requested 0..5, got 0..9".
    cause.contains("range") || cause.contains("416") || cause.starts_with("requested ")
}

/// Whether the store says that the range begins behind the end of the object.
pub(crate) fn is_past_end(error: &object_store::Error) -> bool {
    let cause = root_cause(error).to_lowercase();
    let is_unsatisfiable =
        cause.contains("not satisfiable") || cause.contains("wanted range starting at");
    matches!(error, object_store::Error::Generic { .. })
        && (is_unsatisfiable || status_of(&cause) == Some(416))
}

/// What the innermost error says. The outer ones name the object, whose path may have any words in
/// it.
fn root_cause(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The HTTP status in the error of a client of object_store, whose types are not public.
fn status_of(cause: &str) -> Option<u16> {
    let (_, status) = cause.split_once("status code: ")?;
    status.get(..3)?.parse().ok()
}

/// What the caller can do about it.
pub(crate) fn kind_of(error: &object_store::Error) -> ErrorKind {
    judge(error).0
}

fn judge(error: &object_store::Error) -> (ErrorKind, &'static str) {
    use ErrorKind::*;
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => (NotFound, "the origin has no such object"),
        // A conflict of concurrent writers does not say that the object exists.
        // mutant: writer_conflict
        E::AlreadyExists { .. } if is_conflict(error) => CONFLICT,
        E::AlreadyExists { .. } => {
            (PreconditionFailed, "there is such an object already: read it, then decide again")
        }
        E::Precondition { .. } => (
            PreconditionFailed,
            "the object is not at that version: read it again, then decide again",
        ),
        E::NotModified { .. } => (Other, "the origin answered 304 to a question without a tag"),
        E::PermissionDenied { .. } => {
            (PermissionDenied, "the origin refuses these credentials for the object")
        }
        E::Unauthenticated { .. } => {
            (Unauthenticated, "the origin does not know these credentials: renew them")
        }
        E::InvalidPath { .. } => {
            (InvalidKey, "the origin does not take this key: rename the object")
        }
        E::Generic { store: "LocalFileSystem", .. } => of_file_error(error),
        E::Generic { .. } => OUTAGE,
        E::NotSupported { .. } | E::NotImplemented { .. } => {
            (Unsupported, "the origin cannot do this")
        }
        // `E::JoinError`, which is there only with some of object_store's features.
        _ if error.source().is_some_and(|cause| cause.is::<JoinError>()) => OUTAGE,
        _ => (Other, REFUSED),
    }
}

/// object_store has no kind of its own for most errors of a file system, though some of them are
/// answers.
fn of_file_error(error: &object_store::Error) -> (ErrorKind, &'static str) {
    let mut cause = error.source();
    while let Some(error) = cause {
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => {
                return (
                    ErrorKind::PermissionDenied,
                    "the file system denies access to the object",
                );
            }
            // `a/b`, where `a` is an object.
            Some(io::ErrorKind::NotADirectory) => {
                return (
                    ErrorKind::NotFound,
                    "the origin has an object where the key has a folder",
                );
            }
            // A name the file system does not take, or a folder of that name.
            Some(io::ErrorKind::InvalidFilename | io::ErrorKind::IsADirectory) => {
                return (
                    ErrorKind::InvalidKey,
                    "the file system cannot have an object of this name",
                );
            }
            _ => cause = error.source(),
        }
    }
    OUTAGE
}

const OUTAGE: (ErrorKind, &str) =
    (ErrorKind::Unavailable, "the origin failed or could not be reached");

/// A 409 says nothing of the object: object_store may have sent the request before, and that one
/// may have taken effect.
const CONFLICT: (ErrorKind, &str) = (
    ErrorKind::Unavailable,
    "the store gave the write up because of another one of the same object (409 conflict): read \
        the object \
     and try again",
);

const REFUSED: &str = "the origin refused the request";

/// How object_store 0.14 words an answer with the status 409. A test over its own client holds it
/// to that.
const STATUS_409: &str = "Server returned non-2xx status code: 409";

#[cfg(test)]
mod tests {
    use std::io;

    use object_store::Error;

    use super::*;

    #[track_caller]
    fn check(text: &str, is_conflict: bool) {
        let error =
            Error::AlreadyExists { path: "a".into(), source: io::Error::other(text).into() };
        assert_eq!(super::is_conflict(&error), is_conflict, "{text}");
        let error = Error::AlreadyExists { path: "a".into(), source: Box::new(error) };
        assert_eq!(super::is_conflict(&error), is_conflict, "{text}, wrapped");
        let kind = if is_conflict { ErrorKind::Unavailable } else { ErrorKind::PreconditionFailed };
        assert_eq!(error_of(error, Action::PutIfAbsent, &"S3").kind(), kind);
    }

    #[test]
    fn a_409_says_that_an_object_exists_only_by_its_code() {
        let text =
            |body: &str| format!("Server returned non-2xx status code: 409 Conflict: {body}");
        let xml = |code: &str| {
            text(&format!("<?xml version=\"1.0\"?>\n<Error>\n<Code>{code}</Code></Error>"))
        };
        check(&xml("ConditionalRequestConflict"), true);
        check(&xml("OperationAborted"), true);
        check(&text(""), true);
        check(&text("<Code>"), true);
        check(&text("<Message>BlobAlreadyExists</Message>"), true);
        check(&xml("BlobAlreadyExists"), false);
        check(&xml(" FileAlreadyExists\n"), false);
        check(&text("{\"error\": {\"code\": \"BlobAlreadyExists\", \"message\": \"\"}}"), false);
        check(&text("{\"code\""), true);
        check("Server returned non-2xx status code: 412 Precondition Failed: ", false);
        check("the path is \"Server returned non-2xx status code: 409\"", false);
    }
}
