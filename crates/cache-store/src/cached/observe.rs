//! What the store says is heard, whichever request it answers (I-36).
//!
//! The answers to requests for heads are heard by `cache_core` itself. All others come here: those
//! of lists, of reads that pass through, of requests for blocks, of a copy's source. A read that
//! begins after one of them is never served a version older than it showed.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use cache_core::{Entry, Error, ErrorKind, Observation};
use object_store::{GetOptions, GetRange, ObjectMeta, path::Path};

use super::{
    conditions,
    error::store_error,
    shared::Shared,
    version::{key_of, size_of},
};
use crate::{error::is_past_end, version::version_of};

impl Shared {
    /// An answer of the store has shown this of the object at `location`.
    pub(super) async fn observe(&self, location: &Path, shown: Observation) {
        self.heads.observe(&key_of(location), shown).await;
    }

    /// The store has answered a read of the object at `location`, made with `options`.
    pub(super) async fn hear_read(
        &self,
        location: &Path,
        options: &GetOptions,
        answer: Result<&ObjectMeta, &object_store::Error>,
    ) {
        use object_store::Error as E;
        if options.version.is_some() {
            // Says nothing of the current one.
            return;
        }
        let shown = match answer {
            // A response that passes through shows the current version.
            // mutant: observes_version
            Ok(meta) => Some(Observation::Version(version_of(meta))),
            Err(E::NotModified { .. } | E::Precondition { .. }) => {
                Some(condition(options.clone(), matches!(answer, Err(E::NotModified { .. }))))
            }
            Err(error) => shown_by(error).or_else(|| match &options.range {
                _ if !is_past_end(error) => None,
                Some(GetRange::Bounded(Range { start, .. }) | GetRange::Offset(start)) => {
                    Some(ends_by(*start))
                }
                // An object with a byte has a suffix.
                Some(GetRange::Suffix(_)) => Some(ends_by(0)),
                None => None,
            }),
        };
        if let Some(shown) = shown {
            self.observe(location, shown).await;
        }
    }

    /// The store has answered a request for these ranges of the object at `location`.
    pub(super) async fn hear_ranges(
        &self,
        location: &Path,
        ranges: &[Range<u64>],
        answer: &Result<Vec<Bytes>, object_store::Error>,
    ) {
        let shown = match answer {
            // It has bytes, and names no version: what is cached may be older.
            Ok(parts) if parts.iter().any(|part| !part.is_empty()) => {
                Some(Observation::Condition(Arc::new(|_| false)))
            }
            Ok(parts) => {
                let cut_short = ranges.iter().zip(parts).find(|(range, _)| !range.is_empty());
                cut_short.map(|(range, _)| ends_by(range.start))
            }
            // Which of them it is about, it does not say.
            Err(error) if is_past_end(error) => {
                ranges.iter().map(|range| range.start).max().map(ends_by)
            }
            Err(error) => shown_by(error),
        };
        if let Some(shown) = shown {
            self.observe(location, shown).await;
        }
    }

    /// The store has answered another request for the object at `location` with an error.
    pub(super) async fn hear_error(&self, location: &Path, error: &object_store::Error) {
        if let Some(shown) = shown_by(error) {
            self.observe(location, shown).await;
        }
    }

    /// The error for a reader whose request for blocks has failed with `error`.
    pub(super) async fn block_error(&self, location: &Path, error: Error) -> object_store::Error {
        if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unauthenticated) {
            // After a refusal the cached copy must not be served either.
            // mutant: observes_refusal
            self.observe(location, Observation::Forbidden).await;
        }
        store_error(location, error)
    }
}

/// The object has no byte at `offset`.
fn ends_by(offset: u64) -> Observation {
    Observation::Condition(Arc::new(move |head: &Entry| {
        size_of(head).is_none_or(|size| size <= offset)
    }))
}

/// What an error says of the object itself.
fn shown_by(error: &object_store::Error) -> Option<Observation> {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => Some(Observation::Absent),
        // After a denied request the cached copy must not be served either.
        // mutant: observes_forbidden
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => Some(Observation::Forbidden),
        _ => None,
    }
}

/// The store has judged the conditions in `options`: only a head for which that comes out the same
/// can be the current one.
fn condition(options: GetOptions, is_not_modified: bool) -> Observation {
    use conditions::Judgement;
    Observation::Condition(Arc::new(move |head: &Entry| {
        let judgement = conditions::judge_head(&options, head);
        judgement.is_none_or(|judgement| match judgement {
            // A refused condition that the cached head would meet shows that the head is old.
            // mutant: observes_condition
            Judgement::Holds => false,
            Judgement::NotModified => is_not_modified,
            Judgement::OtherTag | Judgement::ModifiedSince => !is_not_modified,
        })
    }))
}
