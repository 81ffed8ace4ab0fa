//! What can go wrong at an origin, and with which requests.

use std::{fmt, future::pending, mem::discriminant, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use cache_core::{
    Entry, Error, ErrorKind, Key, ListPage, ListedObject, Observation, Result, Storability,
    Validation, Version,
};
use futures_util::{FutureExt, future::BoxFuture};

use super::{OriginOperation, OriginRequest};
use crate::{
    BodyFault, TagFault,
    faults::{Faults, Holding, Since},
    narrow::{Narrow, narrowing_methods},
};

/// What a [`FaultyOrigin`](super::FaultyOrigin) does to requests, and to which.
///
/// What it does is said by the constructor. By default it happens to every request, before the
/// wrapped origin is asked; the methods narrow that down. [`Fault`](crate::Fault) is the same for
/// an object store.
#[derive(Debug)]
#[must_use = "give it to `FaultyOrigin::fault`"]
pub struct OriginFault {
    effect: Effect,
    late: bool,
    narrow: Narrow<OriginRequest>,
}

impl OriginFault {
    /// The request fails.
    ///
    /// A write that lost a condition is `PreconditionFailed`, be it by 412 or by 409: an
    /// [`ErrorKind`] says what the caller can do, which is the same. Where the two must differ,
    /// spoil the store behind the origin: [`Failure::Precondition`](crate::Failure::Precondition)
    /// and [`Failure::AlreadyExists`](crate::Failure::AlreadyExists).
    pub fn error(kind: ErrorKind) -> Self {
        Self::new(Effect::Error(kind))
    }

    /// The request is never answered.
    pub fn hang() -> Self {
        Self::new(Effect::Hang)
    }

    /// The origin panics.
    pub fn panic() -> Self {
        Self::new(Effect::Panic)
    }

    /// The request takes so long, by tokio's clock.
    pub fn latency(latency: Duration) -> Self {
        Self::new(Effect::Latency(latency))
    }

    /// The request is held until it is released (see
    /// [`FaultyOrigin::release`](super::FaultyOrigin::release)).
    pub fn hold() -> Self {
        Self::new(Effect::Hold)
    }

    /// The request waits until `action` is done: the object is replaced or deleted just before the
    /// request is carried out. With [`late`](Self::late) after that, when the answer is on its way.
    /// What the action does to the wrapped origin itself is neither recorded nor spoiled.
    pub fn meanwhile<F: Future<Output = ()> + Send + 'static>(
        action: impl Fn(&OriginRequest) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::new(Effect::Meanwhile(Action(Box::new(move |request| action(request).boxed()))))
    }

    /// The caller is told `Timeout`, and the write takes effect so much later, by tokio's clock and
    /// in a task of its runtime, whether or not the caller is still there. Matches puts and deletes
    /// alone.
    pub fn linger(delay: Duration) -> Self {
        Self::new(Effect::Linger(delay))
    }

    /// An answer that brings the object says `Unchanged` instead, whatever was sent: nothing, or
    /// another tag. Matches validations alone.
    pub fn unchanged() -> Self {
        Self::new(Effect::Unchanged)
    }

    /// The ETag of an answer is edited; the rest of the version stays. Of a page of a list, it is
    /// that of each object. Matches validations, puts and lists alone.
    ///
    /// A validation is then judged by the edited tag: if it is the one that was sent, the answer is
    /// `Unchanged`. The conditions of puts go to the wrapped origin as they are. What has a weak
    /// tag is `FreshOnly`: the fault is the origin's, not the validator's.
    pub fn tag(tag: TagFault) -> Self {
        Self::new(Effect::Tag(tag))
    }

    /// The body of an answer is edited. Matches validations alone.
    ///
    /// An entry has its whole body, and no length beside it: of [`BodyFault`], `Fails` makes the
    /// answer an error of kind `Unavailable`, `Hangs` and `Stalls` make it never come, and
    /// `Chunked` changes nothing.
    pub fn body(body: BodyFault) -> Self {
        Self::new(Effect::Body(body))
    }

    /// A page of a list is edited. Matches lists alone.
    pub fn page(page: PageFault) -> Self {
        Self::new(Effect::Page(page))
    }

    /// An error, a hang, a panic, a latency, a hold or an action comes when the wrapped origin has
    /// already done what it was asked to: the answer is lost, or late. Changes nothing for other
    /// faults.
    pub fn late(mut self) -> Self {
        self.late = true;
        self
    }

    narrowing_methods!(OriginRequest, OriginOperation);

    fn new(effect: Effect) -> Self {
        Self { effect, late: false, narrow: Narrow::default() }
    }
}

/// An edit of a page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageFault {
    /// Its objects come in the opposite order.
    Reversed,
    /// The objects of the page before come once more, in front of its own; of the first page, its
    /// own twice.
    Repeated,
    /// This object is left out, although it is there.
    Without(String),
    /// Not a fault: the page counts as requested with the first one of its list.
    Ahead,
}

impl Holding for OriginFault {
    fn is_hold(&self) -> bool {
        matches!(self.effect, Effect::Hold)
    }
}

/// What happens to one request: its faults, in the order in which they were added.
pub(super) struct Plan {
    faults: Vec<Arc<OriginFault>>,
    since: Since,
}

impl Plan {
    /// Uses up the faults that count for `request`.
    pub(super) fn new(faults: &Faults<OriginFault>, request: &OriginRequest) -> Self {
        let (faults, since) = faults.now();
        let mut plan = Self { faults: Vec::new(), since };
        for fault in &faults {
            let can_happen = fault.effect.can_happen_to(request.operation) && !plan.has(fault);
            if can_happen && fault.narrow.take(request) {
                plan.faults.push(Arc::clone(fault));
                if fault.effect.is_end() {
                    break;
                }
            }
        }
        plan
    }

    /// What comes before the wrapped origin is asked, or after it has answered.
    pub(super) async fn happen(
        &self,
        late: bool,
        request: &OriginRequest,
        faults: &Faults<OriginFault>,
    ) -> Result<()> {
        for fault in self.faults.iter().filter(|fault| fault.late == late) {
            match &fault.effect {
                Effect::Latency(latency) => tokio::time::sleep(*latency).await,
                Effect::Hold => faults.hold(self.since).await,
                Effect::Meanwhile(action) => (action.0)(request).await,
                Effect::Error(kind) => {
                    return Err(Error::new(*kind, "injected fault: the origin fails"));
                }
                Effect::Hang => pending().await,
                Effect::Panic => {
                    panic!("injected fault: the origin panics at {:?}", request.operation)
                }
                Effect::Linger(_)
                | Effect::Unchanged
                | Effect::Tag(_)
                | Effect::Body(_)
                | Effect::Page(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn linger(&self) -> Option<Duration> {
        self.faults.iter().find_map(|fault| match fault.effect {
            Effect::Linger(delay) => Some(delay),
            _ => None,
        })
    }

    pub(super) fn tag(&self) -> Option<&TagFault> {
        self.faults.iter().find_map(|fault| match &fault.effect {
            Effect::Tag(tag) => Some(tag),
            _ => None,
        })
    }

    pub(super) fn edit_version(&self, mut version: Version) -> Version {
        if let Some(tag) = self.tag() {
            version.e_tag = tag.edit(version.e_tag);
        }
        version
    }

    /// The page instead of `page`, which follows `earlier` in its list.
    pub(super) fn edit_page(&self, mut page: ListPage, earlier: &[ListedObject]) -> ListPage {
        for object in &mut page.objects {
            if let Observation::Version(version) = &mut object.shown {
                *version = self.edit_version(version.clone());
            }
        }
        for fault in &self.faults {
            match &fault.effect {
                Effect::Page(PageFault::Reversed) => page.objects.reverse(),
                Effect::Page(PageFault::Repeated) => {
                    let is_first = earlier.is_empty();
                    let mut twice = if is_first { page.objects.clone() } else { earlier.to_vec() };
                    twice.append(&mut page.objects);
                    page.objects = twice;
                }
                Effect::Page(PageFault::Without(key)) => {
                    page.objects.retain(|object| object.key.as_str() != key);
                }
                Effect::Page(PageFault::Ahead) => page = page.requested_when_polled(false),
                _ => {}
            }
        }
        page
    }

    /// The answer instead of `entry`, to who sent the tag `sent`.
    pub(super) async fn edit(
        &self,
        key: &Key,
        sent: Option<&str>,
        entry: Entry,
    ) -> Result<Validation> {
        let has =
            |effect: fn(&Effect) -> bool| self.faults.iter().any(|fault| effect(&fault.effect));
        let version = self.edit_version(entry.version());
        let is_sent = self.tag().is_some() && sent.is_some() && version.e_tag.as_deref() == sent;
        if is_sent || has(|effect| matches!(effect, Effect::Unchanged)) {
            return Ok(Validation::NotModified);
        }
        let body = self.faults.iter().find_map(|fault| match fault.effect {
            Effect::Body(body) => Some(body),
            _ => None,
        });
        let body = match body {
            Some(BodyFault::Truncated(len)) => entry
                .body()
                .slice(..entry.body().len().min(usize::try_from(len).unwrap_or(usize::MAX))),
            Some(BodyFault::Overlong(extra)) => overlong(entry.body(), extra),
            Some(BodyFault::Fails(_)) => {
                return Err(Error::new(ErrorKind::Unavailable, "injected fault: the body fails"));
            }
            Some(BodyFault::Hangs(_) | BodyFault::Stalls(_)) => pending().await,
            Some(BodyFault::Chunked(_)) | None if self.tag().is_none() => {
                return Ok(Validation::Modified(entry));
            }
            Some(BodyFault::Chunked(_)) | None => entry.body().clone(),
        };
        Ok(Validation::Modified(rebuilt(&entry, key, body, version)))
    }

    /// Two that do the same at the same point.
    fn has(&self, fault: &OriginFault) -> bool {
        let is_same = |other: &Arc<OriginFault>| {
            discriminant(&other.effect) == discriminant(&fault.effect) && other.late == fault.late
        };
        self.faults.iter().any(is_same)
    }
}

/// `entry` with another body and version. It can be kept as far as before, or less far if the
/// version is less good.
pub(super) fn rebuilt(entry: &Entry, key: &Key, body: Bytes, version: Version) -> Entry {
    let is_weak = version.e_tag.as_deref().is_some_and(|tag| tag.starts_with("W/"));
    let builder = Entry::builder(key, body).version(version).attributes(entry.attributes().clone());
    match entry.storability() {
        Storability::Revalidatable if is_weak => {
            builder.storability(Storability::FreshOnly).build()
        }
        Storability::Revalidatable => builder.build(),
        keep => builder.storability(keep).build(),
    }
}

fn overlong(body: &Bytes, extra: usize) -> Bytes {
    let mut longer = BytesMut::from(&body[..]);
    longer.resize(body.len() + extra, b'x');
    longer.freeze()
}

#[derive(Debug)]
enum Effect {
    Latency(Duration),
    Hold,
    Meanwhile(Action),
    Error(ErrorKind),
    Hang,
    Panic,
    Linger(Duration),
    Unchanged,
    Tag(TagFault),
    Body(BodyFault),
    Page(PageFault),
}

impl Effect {
    fn can_happen_to(&self, operation: OriginOperation) -> bool {
        use OriginOperation::{Delete, List, Put, Validate};
        match self {
            Self::Unchanged | Self::Body(_) => operation == Validate,
            Self::Tag(_) => matches!(operation, Validate | Put | List),
            Self::Page(_) => operation == List,
            Self::Linger(_) => matches!(operation, Put | Delete),
            _ => true,
        }
    }

    /// Whether the caller does not get the origin's own answer.
    fn is_end(&self) -> bool {
        matches!(self, Self::Error(_) | Self::Hang | Self::Panic | Self::Linger(_))
    }
}

struct Action(Box<Act>);

type Act = dyn Fn(&OriginRequest) -> BoxFuture<'static, ()> + Send + Sync;

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Action")
    }
}
