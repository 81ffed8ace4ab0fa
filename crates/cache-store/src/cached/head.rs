//! Heads: which version of an object is current, how large it is, and its attributes.
//!
//! A head is an entry whose body is the object's size, in 8 bytes, little endian.
//!
//! *Wants.* The request for a head is sent by the reader that needs it, and brings what that reader
//! wants. If all of it is cached, the request is an unconditional HEAD: it costs what a conditional
//! GET costs, and brings the metadata, which a 304 does not (S3's tag is the bytes' alone). If
//! blocks are missing, it is one unconditional GET from the first missing block to the last, which
//! brings bytes and head at once; so a cold read is one request. The caller's own conditions and
//! extensions go with it. The answer is left to the reader, and to all that join its fetch; if the
//! reader has gone, it is dropped.
//!
//! *What is not held.* A head whose tag does not name the object's bytes (a weak one, none, a
//! timestamp too young), and one of an object that is too large, or that `cache_if` refuses, serves
//! the readers that asked for it and is not held: nothing could be fetched later that is known to
//! belong to it. Such objects are read from the store each time, by one request.

use std::{
    mem,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Clock, Entry, ErrorKind, Key, Observation, Result, Storability, Validation, Validator,
};
use object_store::{Extensions, GetOptions, GetRange, GetResult, ObjectMeta, path::Path};
use tokio::time::timeout;

use super::{
    conditions::is_conditional,
    error::{OwnError, late},
    fetch::{Fetch, FetchReader},
    fetch_table::FetchTable,
    stats::Count,
    upstream::Request,
    version::{ObjectVersion, location_of, size_of},
};
use crate::{
    ValidatorStrength, attributes_from_store,
    body::{RANGE, torn},
    error::{Action, described, error_of, is_about_form, is_forbidden, is_past_end},
    tag,
    version::version_of,
};

/// Requests heads. As a validator it sends a HEAD; that of a reader is a [`Question`].
pub(super) struct Heads {
    fetch_table: Arc<FetchTable>,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

pub(super) struct Settings {
    pub(super) strength: ValidatorStrength,
    pub(super) max_object_size: Option<u64>,
    pub(super) cache_if: Option<Arc<CacheIf>>,
}

pub(super) type CacheIf = dyn Fn(&ObjectMeta, &object_store::Attributes) -> bool + Send + Sync;

/// What a reader wants with the head, and what came of it.
pub(super) struct Want {
    /// The caller's, of the current version.
    options: GetOptions,
    was_sent: AtomicBool,
    /// The store was given the caller's conditions, and they hold.
    is_judged: AtomicBool,
    answer: Mutex<Option<Answer>>,
}

/// Bytes that came with a head.
pub(super) struct Answer {
    pub(super) snapshot: Arc<ObjectVersion>,
    pub(super) range: Range<u64>,
    pub(super) fetch: FetchReader,
    pub(super) extensions: Extensions,
}

/// The validator of one reader: sends the request that brings what it wants.
struct Question {
    heads: Arc<Heads>,
    want: Weak<Want>,
}

/// What is sent for a head.
struct Form {
    options: GetOptions,
    /// If the store refuses it for its form, the reader's own is still to be tried.
    is_ours: bool,
}

impl Want {
    /// Of a read with `options`.
    pub(super) fn new(options: GetOptions) -> Arc<Self> {
        Arc::new(Self {
            options,
            was_sent: AtomicBool::new(false),
            is_judged: AtomicBool::new(false),
            answer: Mutex::default(),
        })
    }

    /// Whether the reader's own request was sent.
    pub(super) fn was_sent(&self) -> bool {
        self.was_sent.load(Ordering::Relaxed)
    }

    /// Whether the store has judged the caller's conditions, and answered with the object.
    pub(super) fn is_judged(&self) -> bool {
        self.is_judged.load(Ordering::Relaxed)
    }

    /// What came with `snapshot`'s head, if it is of that version.
    pub(super) fn take(&self, snapshot: &ObjectVersion) -> Option<Answer> {
        let answer = lock(&self.answer).take();
        answer.filter(|answer| answer.snapshot.is_same(snapshot))
    }
}

impl Answer {
    /// Whether all of `wanted` comes with it.
    pub(super) fn has(&self, wanted: &Range<u64>) -> bool {
        self.range.start <= wanted.start && wanted.end <= self.range.end
    }
}

impl Heads {
    pub(super) fn new(
        fetch_table: Arc<FetchTable>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        Self { fetch_table, clock, settings }
    }

    /// The validator of the reader that wants `want`.
    pub(super) fn question(self: &Arc<Self>, want: &Arc<Want>) -> Arc<dyn Validator> {
        Arc::new(Question { heads: Arc::clone(self), want: Arc::downgrade(want) })
    }

    /// Sends a HEAD, which is never conditional.
    async fn ask_for_head(
        &self,
        key: &Key,
        held: Option<&Entry>,
        extensions: Extensions,
    ) -> Result<Validation> {
        let form = GetOptions { head: true, extensions, ..GetOptions::new() };
        let answer = self.send(key, held, form, None).await;
        answer.map_err(|error| error_of(error, Action::Read, &self.fetch_table.upstream.store))?
    }

    async fn ask(&self, key: &Key, held: Option<&Entry>, want: &Want) -> Result<Validation> {
        let extensions = want.options.extensions.clone();
        if want.options.head {
            return self.ask_for_head(key, held, extensions).await;
        }
        let limit = self.fetch_table.upstream.timeout;
        // It looks blocks up, and the backend may be silent.
        let form = timeout(limit, self.form(key, held, want)).await.map_err(|_| late(limit))?;
        let is_head = form.options.head;
        let mut answer = self.send(key, held, form.options, Some(want)).await;
        if let Err(error) = &answer
            && form.is_ours
            && (is_about_form(error) || is_head && is_forbidden(error))
        {
            if is_forbidden(error) {
                // There are credentials that are good for a GET alone. Until it is answered,
                // nothing may be served from the cache.
                self.fetch_table.hear(key.as_str(), Observation::Forbidden).await;
            }
            answer = self.send(key, held, self.own_form(want), Some(want)).await;
        }
        answer.map_err(|error| {
            let is_own = is_about_form(&error)
                || matches!(
                    error,
                    object_store::Error::NotModified { .. }
                        | object_store::Error::Precondition { .. }
                );
            match is_own {
                true => described(&error, Action::Read, &self.fetch_table.upstream.store)
                    .with_source(OwnError(error)),
                false => error_of(error, Action::Read, &self.fetch_table.upstream.store),
            }
        })?
    }

    /// What is to be sent for a reader that wants bytes.
    async fn form(&self, key: &Key, held: Option<&Entry>, want: &Want) -> Form {
        let own = || Form { options: self.own_form(want), is_ours: false };
        let location = location_of(key).ok();
        let Some(snapshot) =
            held.zip(location).and_then(|(held, at)| ObjectVersion::of(&at, held.clone()))
        else {
            return own();
        };
        let range = match &want.options.range {
            None => Ok(0..snapshot.size),
            Some(range) => range.as_range(snapshot.size),
        };
        // The object may have grown; of what stores say to a suffix of nothing, a head tells
        // nothing.
        let Some(range) =
            range.ok().filter(|range| want.options.range.is_none() || !range.is_empty())
        else {
            return own();
        };
        // The validation asks for the missing bytes too and saves a round trip.
        // mutant: validates_with_range
        let options = match self.fetch_table.missing(&snapshot, range).await {
            None => {
                let extensions = want.options.extensions.clone();
                GetOptions { head: true, extensions, ..GetOptions::new() }
            }
            Some(missing) => {
                // As far as the caller wants it, also where the object has grown.
                let range = match &want.options.range {
                    _ if missing.end < snapshot.size => Some(GetRange::Bounded(missing)),
                    Some(GetRange::Bounded(range)) => {
                        let end =
                            self.fetch_table.blocks.end_of(range.end.saturating_sub(1), u64::MAX);
                        Some(GetRange::Bounded(missing.start..end))
                    }
                    _ if missing.start == 0 => None,
                    _ => Some(GetRange::Offset(missing.start)),
                };
                GetOptions { range, ..want.options.clone() }
            }
        };
        Form { options, is_ours: true }
    }

    /// The caller's own request, with its range widened to whole blocks.
    fn own_form(&self, want: &Want) -> GetOptions {
        let blocks = &self.fetch_table.blocks;
        let range = want.options.range.as_ref().map(|range| match range {
            GetRange::Bounded(range) => {
                let last = range.end.saturating_sub(1);
                GetRange::Bounded(blocks.start_of(range.start)..blocks.end_of(last, u64::MAX))
            }
            GetRange::Offset(offset) => GetRange::Offset(blocks.start_of(*offset)),
            // Where its first block begins is known with the size. A block more has that block.
            // One block more makes the suffix cover whole blocks, which can be cached.
            // mutant: widened_suffix
            GetRange::Suffix(len) => GetRange::Suffix(len.saturating_add(blocks.bytes_of(1))),
        });
        GetOptions { range, ..want.options.clone() }
    }

    /// Whether the store may have refused a read with `options` for what its range was widened to.
    pub(super) fn is_about_widening(
        &self,
        options: &GetOptions,
        error: &object_store::Error,
    ) -> bool {
        match &options.range {
            // It begins where its first block does, so if that is past the end, the caller's is
            // too.
            Some(GetRange::Bounded(_)) => is_about_form(error) && !is_past_end(error),
            Some(GetRange::Suffix(_)) => is_about_form(error),
            Some(GetRange::Offset(_)) | None => false,
        }
    }

    /// Sends `form`. What it brings is left to the reader that wants it. The outer error is the
    /// store's own answer.
    async fn send(
        &self,
        key: &Key,
        held: Option<&Entry>,
        form: GetOptions,
        want: Option<&Want>,
    ) -> Result<Result<Validation>, object_store::Error> {
        let location = match location_of(key) {
            Ok(location) => location,
            Err(error) => return Ok(Err(error)),
        };
        let (range, is_head) = (form.range.clone(), form.head);
        let is_judged = !is_head && is_conditional(&form);
        // An age counts from here: what is written after this moment is newer than it.
        let sent_at = self.clock.wall_time();
        let (limit, mut request) =
            (self.fetch_table.upstream.timeout, Request::send_for_head(&self.fetch_table.upstream));
        let Ok(answer) =
            timeout(limit, self.fetch_table.upstream.store.get_opts(&location, form)).await
        else {
            request.fail(ErrorKind::Timeout);
            return Ok(Err(late(limit)));
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                request.end(Some(&error));
                return match error {
                    object_store::Error::NotFound { .. } => Ok(Ok(Validation::NotFound)),
                    error => Err(error),
                };
            }
        };
        request.answered();
        let version = version_of(&answer.meta);
        // One version has one size: with another one, the tag does not name the bytes.
        let is_repeated = held.is_some_and(|held| {
            tag::is_same(held.e_tag(), version.e_tag.as_deref())
                && size_of(held) != Some(answer.meta.size)
        });
        let is_fit = version.e_tag.is_some()
            && !is_repeated
            && self.settings.max_object_size.is_none_or(|max| answer.meta.size <= max)
            // What the predicate refuses is not cached.
            // mutant: cache_if
            && self.settings.cache_if.as_ref().is_none_or(|cache| cache(&answer.meta, &answer.attributes))
            // A head without a tag that names its bytes cannot be revalidated.
            // mutant: head_has_strong_tag
            && self.settings.strength.keep(&version, sent_at, false) == Storability::Revalidatable;
        let keep = if is_fit { Storability::Revalidatable } else { Storability::NoStore };
        let size = Bytes::copy_from_slice(&answer.meta.size.to_le_bytes());
        let attributes = attributes_from_store(&answer.attributes);
        let head = Entry::builder(key, size)
            .version(version)
            .attributes(attributes)
            .storability(keep)
            .build();
        if !is_fit {
            self.fetch_table.upstream.counters.add(Count::PassedThrough, 1);
        }
        if let Some(want) = want {
            want.is_judged.store(is_judged, Ordering::Relaxed);
            if !is_head
                && let Err(error) =
                    self.give(want, range.as_ref(), &location, &head, request, answer)
            {
                return Ok(Err(error));
            }
        }
        let is_confirmed = is_fit && held.is_some_and(|held| is_alike(held, &head));
        Ok(Ok(if is_confirmed { Validation::NotModified } else { Validation::Modified(head) }))
    }

    /// Leaves the bytes to the reader that wanted them.
    fn give(
        &self,
        want: &Want,
        range: Option<&GetRange>,
        location: &Path,
        head: &Entry,
        request: Request,
        mut answer: GetResult,
    ) -> Result<()> {
        let size = answer.meta.size;
        let asked = match range {
            None => Some(0..size),
            Some(range) => range.as_range(size).ok(),
        };
        // Some answer with the whole object.
        let Some(range) = asked.filter(|asked| *asked == answer.range || answer.range == (0..size))
        else {
            request.fail(ErrorKind::Unavailable);
            return Err(torn(RANGE));
        };
        let snapshot = ObjectVersion::of(location, head.clone()).map(Arc::new);
        let Some(snapshot) = snapshot else { return Ok(()) };
        let extensions = mem::take(&mut answer.extensions);
        let fetch = Fetch::of_answer(
            &self.fetch_table.context,
            Arc::clone(&snapshot),
            range.clone(),
            Some(request),
            answer,
        );
        let fetch = Arc::new(fetch);
        if snapshot.is_pinned() {
            self.fetch_table.context.add(&fetch);
        }
        *lock(&want.answer) = Some(Answer { snapshot, range, fetch: fetch.join(), extensions });
        Ok(())
    }

    /// Returns how far the store's tags are trusted.
    pub(super) fn strength(&self) -> ValidatorStrength {
        self.settings.strength
    }

    /// Larger objects are not held.
    pub(super) fn max_object_size(&self) -> Option<u64> {
        self.settings.max_object_size
    }
}

#[async_trait]
impl Validator for Heads {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        self.ask_for_head(key, held, Extensions::new()).await
    }

    /// The body of a head's entry is the object's size.
    fn body_bytes(&self, _: &Entry) -> Option<u64> {
        None
    }
}

#[async_trait]
impl Validator for Question {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        // Others may wait for the head when the reader has gone.
        let Some(want) = self.want.upgrade() else { return self.heads.validate(key, held).await };
        want.was_sent.store(true, Ordering::Relaxed);
        self.heads.ask(key, held, &want).await
    }
}

/// Whether the two say the same. Of equal tags the date may differ: the metadata have changed.
fn is_alike(one: &Entry, other: &Entry) -> bool {
    one.version() == other.version()
        // Metadata can change under one tag, and dates show it.
        // mutant: same_head
        && one.last_modified() == other.last_modified()
        && one.body() == other.body()
        && one.attributes() == other.attributes()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
