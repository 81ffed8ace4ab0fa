//! What can go wrong, and for which requests.

use super::S3Request;
use crate::{
    BodyFault, Operation, TagFault,
    faults::{Faults, Holding, Since},
    narrow::{Narrow, narrowing_methods},
};

/// What an [`S3Server`](super::S3Server) does to requests, and to which.
///
/// What it does is said by the constructor. By default it happens to every request, before the
/// server has looked at anything; the methods narrow that down. [`Fault`](crate::Fault) is the same
/// for a store without a wire.
#[derive(Debug)]
#[must_use = "give it to `S3Server::fault`"]
pub struct S3Fault {
    effect: Effect,
    point: Point,
    narrow: Narrow<S3Request>,
}

impl S3Fault {
    /// The answer is this status and nothing else. 304 also to a request without a condition.
    pub fn status(status: u16) -> Self {
        Self::new(Effect::End(End::Status(status)))
    }

    /// The connection is closed instead of an answer. With [`late`](Self::late): after the request
    /// took effect, so that its acknowledgement is lost.
    pub fn hang_up() -> Self {
        Self::new(Effect::End(End::HangUp))
    }

    /// The request is never answered, the connection stays open.
    pub fn hang() -> Self {
        Self::new(Effect::End(End::Hang))
    }

    /// The request is held until it is released (see
    /// [`S3Server::release`](super::S3Server::release)), or its client goes away.
    pub fn hold() -> Self {
        Self::new(Effect::Hold)
    }

    /// The ETag of the object is another to this request: in the answer, and where its conditions
    /// are judged. Not in lists.
    pub fn tag(tag: TagFault) -> Self {
        Self::new(Effect::Tag(tag))
    }

    /// The answer has this header more: a `Retry-After`, or a second `ETag`.
    pub fn header(name: &str, value: &str) -> Self {
        Self::new(Effect::Header(name.to_owned(), value.to_owned()))
    }

    /// The answer announces so many bytes, whatever comes. The body is sent in chunks that end
    /// properly, which tells the client's HTTP the true end: only who compares the two notices.
    pub fn content_length(bytes: u64) -> Self {
        Self::new(Effect::Length(bytes))
    }

    /// The body of an answer is edited, the announced length stays. [`BodyFault::Truncated`] and
    /// [`BodyFault::Overlong`] end properly, as with [`content_length`](Self::content_length);
    /// [`BodyFault::Fails`] closes the connection. No chunk on the wire is empty, so
    /// [`BodyFault::Stalls`] is [`BodyFault::Hangs`]. Matches gets alone.
    pub fn body(body: BodyFault) -> Self {
        Self::new(Effect::Body(body))
    }

    /// A bulk delete leaves the object of this key alone, and answers for it with this code:
    /// `AccessDenied`, `InternalError`, `SlowDown`. The other keys of the request are deleted.
    /// Matches bulk deletes of that key alone.
    pub fn key_error(key: &str, code: &str) -> Self {
        Self::new(Effect::KeyError(key.to_owned(), code.to_owned()))
    }

    /// The request is carried out as if it had no conditions.
    pub fn ignore_conditions() -> Self {
        Self::new(Effect::IgnoreConditions)
    }

    /// An error, a hang or a hold comes when the server has already done what it was asked to: the
    /// answer is lost, or late. Changes nothing for faults that edit an answer.
    pub fn late(mut self) -> Self {
        self.point = Point::Late;
        self
    }

    /// A hold comes between the server's looking at the object and its acting. What others do
    /// meanwhile is not seen: a put takes effect although its condition does not hold any more, a
    /// get has the tag of one version and the body of the next. That is how servers behave that do
    /// not keep the two together. Early for other faults.
    pub fn midway(mut self) -> Self {
        self.point = Point::Midway;
        self
    }

    narrowing_methods!(S3Request, Operation);

    /// Whether it happens to `request`. Counts one use if so.
    fn take(&self, request: &S3Request) -> bool {
        let is_possible = match &self.effect {
            Effect::Body(_) => request.operation == Operation::Get,
            Effect::KeyError(key, _) => request.keys().contains(key),
            _ => true,
        };
        is_possible && self.narrow.take(request)
    }

    fn new(effect: Effect) -> Self {
        Self { effect, point: Point::Early, narrow: Narrow::default() }
    }
}

impl Holding for S3Fault {
    fn is_hold(&self) -> bool {
        matches!(self.effect, Effect::Hold)
    }
}

/// What happens to one request.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) since: Since,
    pub(super) hold_early: bool,
    pub(super) hold_midway: bool,
    pub(super) hold_late: bool,
    pub(super) end_early: Option<End>,
    pub(super) end_late: Option<End>,
    pub(super) tag: Option<TagFault>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) length: Option<u64>,
    pub(super) body: Option<BodyFault>,
    /// Keys of a bulk delete, and with which code they fail.
    pub(super) key_errors: Vec<(String, String)>,
    pub(super) ignore_conditions: bool,
}

impl Plan {
    /// Uses up the faults that count for `request`.
    pub(super) fn new(faults: &Faults<S3Fault>, request: &S3Request) -> Self {
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

    fn has(&self, fault: &S3Fault) -> bool {
        match &fault.effect {
            Effect::Hold => match fault.point {
                Point::Early => self.hold_early,
                Point::Midway => self.hold_midway,
                Point::Late => self.hold_late,
            },
            Effect::End(_) | Effect::Header(..) | Effect::KeyError(..) => false,
            Effect::Tag(_) => self.tag.is_some(),
            Effect::Length(_) => self.length.is_some(),
            Effect::Body(_) => self.body.is_some(),
            Effect::IgnoreConditions => self.ignore_conditions,
        }
    }

    fn add(&mut self, fault: &S3Fault) {
        match &fault.effect {
            Effect::Hold => match fault.point {
                Point::Early => self.hold_early = true,
                Point::Midway => self.hold_midway = true,
                Point::Late => self.hold_late = true,
            },
            Effect::End(end) if fault.point == Point::Late => self.end_late = Some(*end),
            Effect::End(end) => self.end_early = Some(*end),
            Effect::Tag(tag) => self.tag = Some(tag.clone()),
            Effect::Header(name, value) => self.headers.push((name.clone(), value.clone())),
            Effect::Length(bytes) => self.length = Some(*bytes),
            Effect::Body(body) => self.body = Some(*body),
            Effect::KeyError(key, code) => self.key_errors.push((key.clone(), code.clone())),
            Effect::IgnoreConditions => self.ignore_conditions = true,
        }
    }
}

#[derive(Debug)]
enum Effect {
    Hold,
    End(End),
    Tag(TagFault),
    Header(String, String),
    Length(u64),
    Body(BodyFault),
    KeyError(String, String),
    IgnoreConditions,
}

/// How a request ends without the server's own answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Status(u16),
    HangUp,
    Hang,
}

/// When it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Early,
    Midway,
    Late,
}
