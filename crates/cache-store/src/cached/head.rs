//! Heads: which version of an object is current, how large it is, and its attributes.
//!
//! A head is an entry whose body is the object's size, in 8 bytes, little endian.
//!
//! *Wants.* A reader that is about to ask for a head wants bytes too. It says so beforehand, and the question is then a
//! GET for them: with the tag of the head that is held if some of the bytes are held too, so that the answer is "not
//! modified", or the new head and the bytes that the reader wants. So a cold read is one request, and so is a read of an
//! object that has changed. The answer is left to the reader that wanted it, and to all who join its fill; if that
//! reader has gone, it is dropped.
//!
//! *What is not held.* A head whose tag does not name the object's bytes (a weak one, none, a timestamp too young), and
//! one of an object that is too large, or that `cache_if` refuses, serves the readers that asked for it and is not held: nothing could be fetched
//! later that is known to belong to it. Such objects are read from the store each time, by one request.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{Clock, Entry, Error, ErrorKind, Keep, Key, Result, Validation, Validator};
use object_store::{Extensions, GetOptions, GetRange, GetResult, ObjectMeta, path::Path};
use tokio::time::timeout;

use super::{
    fill::{Fill, FillUse},
    fills::Fills,
    request::Request,
    snapshot::Snapshot,
    stats::Count,
};
use crate::{
    ValidatorStrength, attributes_from_store,
    body::{RANGE, torn},
    error::{Action, error_of, may_be_about_range},
    validator::version_of,
};

/// Asks the store for heads.
pub(super) struct Heads {
    fills: Arc<Fills>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    /// By key.
    wants: Mutex<HashMap<Box<str>, Vec<Weak<Want>>>>,
}

pub(super) struct Settings {
    pub(super) strength: ValidatorStrength,
    pub(super) max_object_size: Option<u64>,
    pub(super) cache_if: Option<Arc<CacheIf>>,
}

pub(super) type CacheIf = dyn Fn(&ObjectMeta, &object_store::Attributes) -> bool + Send + Sync;

/// The bytes that a reader wants with the head, and what came of it.
pub(super) struct Want {
    range: Option<GetRange>,
    answer: Mutex<Option<Answer>>,
}

/// A [`Want`] that a question may take, as long as this lives.
pub(super) struct Wanted<'a> {
    heads: &'a Heads,
    key: &'a str,
    want: Arc<Want>,
}

/// A head that came with bytes.
pub(super) struct Answer {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) fill: FillUse,
    pub(super) extensions: Extensions,
}

impl Heads {
    pub(super) fn new(fills: Arc<Fills>, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        Self { fills, clock, settings, wants: Mutex::default() }
    }

    /// Has the next question for the head of `key` bring these bytes, widened to whole blocks.
    pub(super) fn want<'a>(&'a self, key: &'a str, range: Option<&GetRange>) -> Wanted<'a> {
        let blocks = &self.fills.blocks;
        let range = range.map(|range| match range {
            GetRange::Bounded(range) => {
                let last = range.end.saturating_sub(1);
                GetRange::Bounded(blocks.start_of(range.start)..blocks.end_of(last, u64::MAX))
            }
            GetRange::Offset(offset) => GetRange::Offset(blocks.start_of(*offset)),
            GetRange::Suffix(len) => GetRange::Suffix(*len),
        });
        let want = Arc::new(Want { range, answer: Mutex::default() });
        self.wants().entry(key.into()).or_default().push(Arc::downgrade(&want));
        Wanted { heads: self, key, want }
    }

    async fn ask(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let location = Path::parse(&key.as_str()[PREFIX.len()..]).map_err(|error| {
            Error::new(ErrorKind::InvalidKey, "no path of an object store").with_source(error)
        })?;
        if let Some(want) = self.take_want(key) {
            let question = GetOptions { range: want.range.clone(), ..GetOptions::new() };
            let question = match held {
                Some(held) if self.is_at_hand_in_time(&location, held, &want).await? => {
                    question.with_if_none_match(held.e_tag())
                }
                _ => question,
            };
            let validation = self.ask_for(&location, key, held, question, Some(&want)).await;
            // It may be the range that the store does not like, and others have joined this question.
            match validation {
                Err(error) if want.range.is_some() && may_be_about_range(&error) => {}
                validation => return validation,
            }
        }
        let question = GetOptions::new().with_head(true).with_if_none_match(held.and_then(Entry::e_tag));
        self.ask_for(&location, key, held, question, None).await
    }

    /// The same, as long as the store may be silent.
    async fn is_at_hand_in_time(&self, location: &Path, held: &Entry, want: &Want) -> Result<bool> {
        let limit = self.fills.origin_timeout;
        timeout(limit, self.is_at_hand(location, held, want)).await.map_err(|_| late(limit))
    }

    /// Whether any of the wanted bytes are at hand or on their way, of the version that is held: only then does it help to
    /// hear that this is still the current one. Else they have to come anyway, and come with the answer.
    async fn is_at_hand(&self, location: &Path, held: &Entry, want: &Want) -> bool {
        let Some(snapshot) = Snapshot::of(location, held.clone()) else { return true };
        let range = match &want.range {
            None => 0..snapshot.size,
            Some(range) => range.as_range(snapshot.size).unwrap_or(0..0),
        };
        let blocks = &self.fills.blocks;
        let (mut start, mut n_waits) = (blocks.start_of(range.start), LOOKED_AT_MAX);
        for _ in 0..LOOKED_AT_MAX {
            if start >= range.end {
                return range.is_empty();
            }
            if self.fills.is_coming(&snapshot, start)
                || self.fills.sees(&snapshot, start, &mut n_waits).await == Some(true)
            {
                return true;
            }
            start = blocks.end_of(start, snapshot.size);
        }
        true
    }

    async fn ask_for(
        &self,
        location: &Path,
        key: &Key,
        held: Option<&Entry>,
        question: GetOptions,
        want: Option<&Want>,
    ) -> Result<Validation> {
        let is_conditional = question.if_none_match.is_some();
        // An age counts from here: what is written after this moment is newer than it.
        let sent_at = self.clock.date();
        let (limit, mut request) = (self.fills.origin_timeout, Request::send_for_head(&self.fills));
        let Ok(answer) = timeout(limit, self.fills.store.get_opts(location, question)).await else {
            request.fail(ErrorKind::Timeout);
            return Err(late(limit));
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                request.end(Some(&error));
                return match error {
                    object_store::Error::NotModified { .. } if is_conditional => Ok(Validation::Unchanged),
                    object_store::Error::NotFound { .. } => Ok(Validation::Gone),
                    error => Err(error_of(error, Action::Read, &self.fills.store)),
                };
            }
        };
        request.answered();
        let version = version_of(&answer.meta);
        let is_fit = version.e_tag.is_some()
            && self.settings.max_object_size.is_none_or(|max| answer.meta.size <= max)
            && self.settings.cache_if.as_ref().is_none_or(|cache| cache(&answer.meta, &answer.attributes))
            && self.settings.strength.keep(&version, sent_at, false) == Keep::Confirmable;
        let keep = if is_fit { Keep::Confirmable } else { Keep::Never };
        let size = Bytes::copy_from_slice(&answer.meta.size.to_le_bytes());
        let attributes = attributes_from_store(&answer.attributes);
        let head = Entry::builder(key, size).version(version).attributes(attributes).keep(keep).build();
        if !is_fit {
            self.fills.blocks.counters.add(Count::PassedThrough, 1);
        }
        if let Some(want) = want {
            self.give(want, location, &head, request, answer)?;
        }
        let is_confirmed = is_fit && held.is_some_and(|held| is_alike(held, &head));
        Ok(if is_confirmed { Validation::Unchanged } else { Validation::Changed(head) })
    }

    /// Leaves the bytes to the reader that wanted them.
    fn give(
        &self,
        want: &Want,
        location: &Path,
        head: &Entry,
        request: Request,
        mut answer: GetResult,
    ) -> Result<()> {
        let size = answer.meta.size;
        let asked = match &want.range {
            None => Some(0..size),
            Some(range) => range.as_range(size).ok(),
        };
        if asked.as_ref() != Some(&answer.range) {
            request.fail(ErrorKind::Unavailable);
            return Err(torn(RANGE));
        }
        let snapshot = Snapshot::of(location, head.clone()).map(Arc::new);
        let Some(snapshot) = snapshot else { return Ok(()) };
        let (range, extensions) = (answer.range.clone(), mem::take(&mut answer.extensions));
        let fill =
            Arc::new(Fill::of_answer(&self.fills, Arc::clone(&snapshot), range, Some(request), answer));
        if snapshot.is_pinned() {
            self.fills.add(&fill);
        }
        *lock(&want.answer) = Some(Answer { snapshot, fill: fill.join(), extensions });
        Ok(())
    }

    /// The want that has waited longest. It is another's if this question was not asked by a reader that wants bytes.
    fn take_want(&self, key: &Key) -> Option<Arc<Want>> {
        let mut wants = self.wants();
        let waiting = wants.get_mut(key.as_str())?;
        while !waiting.is_empty() {
            if let Some(want) = waiting.remove(0).upgrade() {
                return Some(want);
            }
        }
        None
    }

    /// Larger objects are not held.
    pub(super) fn max_object_size(&self) -> Option<u64> {
        self.settings.max_object_size
    }

    /// Of how many objects somebody waits for bytes with the head.
    pub(super) fn n_wanted(&self) -> usize {
        self.wants().len()
    }

    fn wants(&self) -> MutexGuard<'_, HashMap<Box<str>, Vec<Weak<Want>>>> {
        lock(&self.wants)
    }
}

#[async_trait]
impl Validator for Heads {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        self.ask(key, held).await
    }

    /// The body of a head's entry is the object's size.
    fn body_bytes(&self, _: &Entry) -> Option<u64> {
        None
    }
}

impl Wanted<'_> {
    /// What came with `snapshot`'s head, if it is of that version.
    pub(super) fn take(self, snapshot: &Snapshot) -> Option<Answer> {
        let answer = lock(&self.want.answer).take();
        answer.filter(|answer| answer.snapshot.is_same(snapshot))
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut wants = self.heads.wants();
        if let Some(waiting) = wants.get_mut(self.key) {
            waiting.retain(|want| !std::ptr::eq(want.as_ptr(), Arc::as_ptr(&self.want)));
            if waiting.is_empty() {
                wants.remove(self.key);
            }
        }
    }
}

/// The key of the head of the object at `location`. That of the root, or of a path too long, is no key.
pub(super) fn key_of(location: &Path) -> String {
    prefix_of(location.as_ref())
}

/// The keys of the heads of all objects whose paths begin with `prefix` begin with this.
pub(super) fn prefix_of(prefix: &str) -> String {
    format!("{PREFIX}{prefix}")
}

/// The size of the object whose head this is.
pub(super) fn size_of(head: &Entry) -> Option<u64> {
    Some(u64::from_le_bytes(head.body().as_ref().try_into().ok()?))
}

/// Whether the two say the same.
fn is_alike(one: &Entry, other: &Entry) -> bool {
    let said = |head: &Entry| (head.body().clone(), head.version(), head.attributes().clone());
    said(one) == said(other)
}

/// The error for an answer, or a part of it, that did not come in time.
pub(super) fn late(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("the origin did not answer within {limit:?} (origin_timeout)"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the keys of all heads begin with.
pub(super) const PREFIX: &str = "h/";

/// How many blocks are looked for before a question.
const LOOKED_AT_MAX: usize = 64;
