//! What can go wrong, and for which requests.

use std::{fmt, future::pending, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{Error, ObjectMeta, PutResult, Result, path::Path};

use super::{Operation, Request};
use crate::{
    faults::{Faults, Holding, Since},
    narrow::{Narrow, narrowing_methods},
};

/// What a [`FaultyStore`](super::FaultyStore) does to requests, and to which.
///
/// What it does is said by the constructor. By default it happens to every request, before the
/// wrapped store is asked; the methods narrow that down.
#[must_use = "give it to `FaultyStore::fault`"]
pub struct Fault {
    effect: Effect,
    late: bool,
    narrow: Narrow<Request>,
}

/// The kinds of error of an object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// `Generic` (and `JoinError`): the store failed, or could not be reached.
    Unavailable,
    /// `NotFound`, as for HTTP status 404.
    NotFound,
    /// `AlreadyExists`, as for 409.
    AlreadyExists,
    /// `Precondition`, as for 412.
    Precondition,
    /// `NotModified`, as for 304: also to a request that had no condition.
    NotModified,
    /// `PermissionDenied`, as for 403.
    PermissionDenied,
    /// `Unauthenticated`, as for 401.
    Unauthenticated,
    /// `NotSupported`.
    NotSupported,
    /// `NotImplemented`.
    NotImplemented,
    /// `InvalidPath`.
    InvalidPath,
    /// Any other.
    Other,
}

/// What becomes of the ETag in the answer to a get, a head or a put.
///
/// The conditions of gets and heads are then judged by the edited tag. Those of puts go to the
/// wrapped store as they are, and it knows only its own tags.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TagFault {
    /// There is none.
    Missing,
    /// The store's own, as a weak one (`W/"…"`).
    Weak,
    /// This one, whatever the body: given to several versions, it repeats.
    Replaced(String),
}

/// What becomes of the body of a get. The length that the answer announces stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyFault {
    /// Ends after so many bytes, without an error.
    Truncated(u64),
    /// Goes on for so many bytes after its end.
    Overlong(usize),
    /// Fails after so many bytes.
    Fails(u64),
    /// Never ends after so many bytes: nothing more comes.
    Hangs(u64),
    /// Never ends after so many bytes: chunks without a byte go on coming.
    Stalls(u64),
    /// Not a fault: the same body in chunks of at most so many bytes.
    Chunked(usize),
}

impl Fault {
    /// The request fails.
    pub fn error(failure: Failure) -> Self {
        Self::error_with(move |request| failure.error(&request.location))
    }

    /// The request fails with the error that `make` makes.
    pub fn error_with(make: impl Fn(&Request) -> Error + Send + Sync + 'static) -> Self {
        Self::new(Effect::End(End::Error(Arc::new(make))))
    }

    /// The request is never answered.
    pub fn hang() -> Self {
        Self::new(Effect::End(End::Hang))
    }

    /// The store panics.
    pub fn panic() -> Self {
        Self::new(Effect::End(End::Panic))
    }

    /// The request is held until it is released (see
    /// [`FaultyStore::release`](super::FaultyStore::release)).
    pub fn hold() -> Self {
        Self::new(Effect::Hold)
    }

    /// The ETag of an answer is edited. Matches gets, heads, puts and completed multipart uploads
    /// alone.
    pub fn tag(tag: TagFault) -> Self {
        Self::new(Effect::Tag(tag))
    }

    /// The date of an answer is replaced. `None` stands for an answer without one: object_store's
    /// clients then say 1970-01-01T00:00:00Z. Conditions are judged by the new date. Matches gets
    /// and heads alone.
    pub fn last_modified(date: Option<SystemTime>) -> Self {
        Self::new(Effect::LastModified(date.unwrap_or(SystemTime::UNIX_EPOCH)))
    }

    /// The body of an answer is edited. Matches gets alone.
    pub fn body(body: BodyFault) -> Self {
        Self::new(Effect::Body(body))
    }

    /// An error, a hang, a panic or a hold comes when the wrapped store has already done what it
    /// was asked to: the answer is lost, or late. A list is not begun at that point. Changes
    /// nothing for faults that edit an answer.
    pub fn late(mut self) -> Self {
        self.late = true;
        self
    }

    narrowing_methods!(Request, Operation);

    /// Whether it happens to `request`. Counts one use if so.
    fn take(&self, request: &Request) -> bool {
        self.effect.can_happen_to(request.operation) && self.narrow.take(request)
    }

    fn new(effect: Effect) -> Self {
        Self { effect, late: false, narrow: Narrow::default() }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("effect", &self.effect)
            .field("late", &self.late)
            .field("narrow", &self.narrow)
            .finish()
    }
}

impl Failure {
    /// The kind of `error`.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Generic { .. } => Self::Unavailable,
            Error::NotFound { .. } => Self::NotFound,
            Error::AlreadyExists { .. } => Self::AlreadyExists,
            Error::Precondition { .. } => Self::Precondition,
            Error::NotModified { .. } => Self::NotModified,
            Error::PermissionDenied { .. } => Self::PermissionDenied,
            Error::Unauthenticated { .. } => Self::Unauthenticated,
            Error::NotSupported { .. } => Self::NotSupported,
            Error::NotImplemented { .. } => Self::NotImplemented,
            Error::InvalidPath { .. } => Self::InvalidPath,
            Error::UnknownConfigurationKey { .. } => Self::Other,
            // `JoinError` is there only with one of object_store's features.
            _ => Self::Unavailable,
        }
    }

    /// An error of this kind about `location`.
    pub fn error(self, location: &Path) -> Error {
        let (path, source) = (location.to_string(), format!("injected fault: {self:?}").into());
        match self {
            Self::Unavailable => Error::Generic { store: "FaultyStore", source },
            Self::NotFound => Error::NotFound { path, source },
            Self::AlreadyExists => Error::AlreadyExists { path, source },
            Self::Precondition => Error::Precondition { path, source },
            Self::NotModified => Error::NotModified { path, source },
            Self::PermissionDenied => Error::PermissionDenied { path, source },
            Self::Unauthenticated => Error::Unauthenticated { path, source },
            Self::NotSupported => Error::NotSupported { source },
            Self::NotImplemented => Error::NotImplemented {
                operation: "what a fault was injected into".into(),
                implementer: "FaultyStore".into(),
            },
            Self::InvalidPath => {
                Error::InvalidPath { source: object_store::path::Error::EmptySegment { path } }
            }
            Self::Other => Error::UnknownConfigurationKey {
                store: "FaultyStore",
                key: "injected fault".into(),
            },
        }
    }
}

impl TagFault {
    pub(crate) fn edit(&self, tag: Option<String>) -> Option<String> {
        match self {
            Self::Missing => None,
            Self::Weak => {
                tag.map(|tag| if tag.starts_with("W/") { tag } else { format!("W/{tag}") })
            }
            Self::Replaced(tag) => Some(tag.clone()),
        }
    }
}

impl BodyFault {
    pub(super) fn edit(
        self,
        body: BoxStream<'static, Result<Bytes>>,
    ) -> BoxStream<'static, Result<Bytes>> {
        match self {
            Self::Truncated(len) => first(body, len),
            Self::Overlong(extra) => {
                body.chain(stream::once(async move { Ok(Bytes::from(vec![b'x'; extra])) })).boxed()
            }
            Self::Fails(len) => {
                let failure = async { Err(Failure::Unavailable.error(&Path::ROOT)) };
                first(body, len).chain(stream::once(failure)).boxed()
            }
            Self::Hangs(len) => first(body, len).chain(stream::pending()).boxed(),
            Self::Stalls(len) => {
                first(body, len).chain(stream::repeat_with(|| Ok(Bytes::new()))).boxed()
            }
            Self::Chunked(len) => body
                .map_ok(move |chunk| {
                    // An empty chunk stays one.
                    let starts = (0..chunk.len().max(1)).step_by(len.max(1));
                    let cut =
                        move |from: usize| chunk.slice(from..chunk.len().min(from + len.max(1)));
                    stream::iter(starts.map(move |from| Ok(cut(from))))
                })
                .try_flatten()
                .boxed(),
        }
    }
}

impl Holding for Fault {
    fn is_hold(&self) -> bool {
        matches!(self.effect, Effect::Hold)
    }
}

/// What happens to one request.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) since: Since,
    pub(super) hold_early: bool,
    pub(super) hold_late: bool,
    pub(super) end_early: Option<End>,
    pub(super) end_late: Option<End>,
    pub(super) body: Option<BodyFault>,
    tag: Option<TagFault>,
    last_modified: Option<SystemTime>,
}

impl Plan {
    /// Uses up the faults that count for `request`.
    pub(super) fn new(faults: &Faults<Fault>, request: &Request) -> Self {
        let (faults, since) = faults.now();
        let mut plan = Self { since, ..Self::default() };
        for fault in &faults {
            if plan.end_early.is_some() || plan.end_late.is_some() {
                break;
            }
            if !plan.has(fault) && fault.take(request) {
                plan.add(fault);
            }
        }
        plan
    }

    pub(super) fn edits_meta(&self) -> bool {
        self.tag.is_some() || self.last_modified.is_some()
    }

    pub(super) fn edit_meta(&self, meta: &mut ObjectMeta) {
        if let Some(tag) = &self.tag {
            meta.e_tag = tag.edit(meta.e_tag.take());
        }
        if let Some(date) = self.last_modified {
            meta.last_modified = date.into();
        }
    }

    pub(super) fn edit_put(&self, mut result: PutResult) -> PutResult {
        if let Some(tag) = &self.tag {
            result.e_tag = tag.edit(result.e_tag.take());
        }
        result
    }

    fn has(&self, fault: &Fault) -> bool {
        match &fault.effect {
            Effect::Hold if fault.late => self.hold_late,
            Effect::Hold => self.hold_early,
            Effect::End(_) => false,
            Effect::Tag(_) => self.tag.is_some(),
            Effect::LastModified(_) => self.last_modified.is_some(),
            Effect::Body(_) => self.body.is_some(),
        }
    }

    fn add(&mut self, fault: &Fault) {
        match &fault.effect {
            Effect::Hold if fault.late => self.hold_late = true,
            Effect::Hold => self.hold_early = true,
            Effect::End(end) if fault.late => self.end_late = Some(end.clone()),
            Effect::End(end) => self.end_early = Some(end.clone()),
            Effect::Tag(tag) => self.tag = Some(tag.clone()),
            Effect::LastModified(date) => self.last_modified = Some(*date),
            Effect::Body(body) => self.body = Some(*body),
        }
    }
}

enum Effect {
    Hold,
    End(End),
    Tag(TagFault),
    LastModified(SystemTime),
    Body(BodyFault),
}

impl Effect {
    fn can_happen_to(&self, operation: Operation) -> bool {
        use Operation::{CompleteMultipart, Get, Head, Put};
        match self {
            Self::Hold | Self::End(_) => true,
            Self::Tag(_) => matches!(operation, Get | Head | Put | CompleteMultipart),
            Self::LastModified(_) => matches!(operation, Get | Head),
            Self::Body(_) => operation == Get,
        }
    }
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold => f.write_str("Hold"),
            Self::End(End::Error(_)) => f.write_str("Error"),
            Self::End(End::Hang) => f.write_str("Hang"),
            Self::End(End::Panic) => f.write_str("Panic"),
            Self::Tag(tag) => tag.fmt(f),
            Self::LastModified(date) => f.debug_tuple("LastModified").field(date).finish(),
            Self::Body(body) => body.fmt(f),
        }
    }
}

/// How a request ends without the store's answer.
#[derive(Clone)]
pub(super) enum End {
    Error(Arc<dyn Fn(&Request) -> Error + Send + Sync>),
    Hang,
    Panic,
}

impl End {
    pub(super) async fn happen(&self, request: &Request) -> Error {
        match self {
            Self::Error(make) => make(request),
            Self::Hang => pending().await,
            Self::Panic => panic!("injected fault: the store panics at {:?}", request.operation),
        }
    }
}

/// The first `len` bytes of `body`; nothing is asked of it after them.
fn first(body: BoxStream<'static, Result<Bytes>>, len: u64) -> BoxStream<'static, Result<Bytes>> {
    let cut = move |(mut body, left): (BoxStream<'static, Result<Bytes>>, u64)| async move {
        if left == 0 {
            return Ok(None);
        }
        let Some(mut chunk) = body.try_next().await? else { return Ok(None) };
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - chunk.len() as u64;
        Ok(Some((chunk, (body, left))))
    };
    stream::try_unfold((body, len), cut).boxed()
}
