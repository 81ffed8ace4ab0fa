//! Reads and writes of the store.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Clock, Entry, Error, ErrorKind, Key, Listing, Origin, PutCondition, PutOptions, Result,
    Storability, Validation, Validator, Version,
};
use futures_util::future::poll_immediate;
use object_store::{
    GetOptions, GetResult, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion, path::Path,
};
use tokio::time::timeout;

use crate::{
    attributes_from_store, attributes_to_store, body,
    error::{Action, error_of, is_about_form},
    in_flight::InFlight,
    listing::{self, Lists},
    lists::ListKind,
    paths::Paths,
    strength::ValidatorStrength,
    tag,
    verify::Verifier,
    version::version_of,
};

/// The origin of a cache over an [`ObjectStore`]: validates by ETag, or by date if there is no
/// ETag.
///
/// Each validation is one GET. If the store can confirm the cached version, the GET carries the
/// entry's ETag unchanged as its only `If-None-Match` (without an ETag, its date as
/// `If-Modified-Since`; RFC 9110, section 13.1). The body, version and attributes of an entry come
/// from the same response, and a body whose length differs from the announced one is an error. A
/// put is one PUT, and the new version comes from its response. With
/// [`validate_metadata`](crate::EtagValidatorBuilder::validate_metadata), a HEAD replaces the
/// conditional GET.
///
/// It caches, retries and coalesces nothing: `ReadThrough` has at most one request in flight for
/// each key. It needs a tokio runtime with time enabled.
///
/// # Errors
///
/// Not found, forbidden, unauthenticated and failed preconditions have their own [`ErrorKind`]s (a
/// read that finds nothing is [`Validation::NotFound`]). What the store cannot do is `Unsupported`.
/// An outage is `Unavailable`, as is a body of the wrong length; a missing response is `Timeout`.
/// The source is the error of `object_store`; it may quote the server's response.
///
/// object_store repeats a request whose response was lost, including conditional writes, so
/// `PreconditionFailed` can be the response to the second attempt of a write whose first attempt
/// took effect. Read the object to find out.
///
/// # Dropped futures
///
/// Dropping the future drops the request. A read leaves nothing behind. A write may have taken
/// effect or may still do so. On local disk, a file operation that has started runs to its end on
/// its own thread.
pub struct EtagValidator {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    strength: ValidatorStrength,
    paths: Paths,
    in_flight: InFlight,
    /// Only with `verify_store`.
    verifier: Option<Arc<Verifier>>,
    list_kind: ListKind,
}

/// The settings that are plain data.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) origin_timeout: Duration,
    pub(crate) accept_weak: bool,
    pub(crate) max_object_size: Option<u64>,
    pub(crate) max_in_flight_bytes: u64,
    pub(crate) verify: bool,
    pub(crate) validate_metadata: bool,
}

impl EtagValidator {
    /// Returns how far a 304 (Not Modified) of the store is trusted: the value that was set, or
    /// that of [`ValidatorStrength::of`] the store.
    pub fn validator_strength(&self) -> ValidatorStrength {
        self.strength
    }

    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        settings: Settings,
        strength: ValidatorStrength,
    ) -> Self {
        let in_flight = InFlight::new(settings.max_in_flight_bytes);
        let verifier = settings.verify.then(|| {
            let limit = settings.origin_timeout;
            Arc::new(Verifier::new(Arc::clone(&store), Arc::clone(&clock), limit))
        });
        let (paths, list_kind) = (Paths::new(), ListKind::of(&store));
        Self { store, clock, settings, strength, paths, in_flight, verifier, list_kind }
    }

    async fn ask(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let path = self.paths.of(key)?;
        // The contract promises it, but a 304 for another entry would serve wrong bytes.
        let mut held = held.filter(|held| held.storability() == Storability::Revalidatable);
        if self.settings.validate_metadata
            && let Some(copy) = held
        {
            match Box::pin(self.compare(key, &path, copy)).await? {
                Some(validation) => return Ok(validation),
                // Unconditional: the response carries the ETag and metadata of the current version.
                // The HEAD showed other bytes, so a condition could only be evaluated wrongly.
                // mutant: get_unconditional
                None => held = None,
            }
        }
        let question = question(held);
        let is_conditional =
            question.if_none_match.is_some() || question.if_modified_since.is_some();
        // Age counts from here: any later write is newer than the entry.
        let sent_at = self.clock.wall_time();
        let answer = match (*self.store).get_opts(&path, question).await {
            Ok(answer) => answer,
            Err(object_store::Error::NotModified { .. }) if is_conditional => {
                return Ok(Validation::NotModified);
            }
            Err(error) => return self.gone_or(error),
        };
        // Boxed, so that a 304 needs no allocation of more than 1 KiB, where the allocator is slow.
        Box::pin(self.entry_of(key, answer, sent_at)).await.map(Validation::Modified)
    }

    /// Compares `held` with the metadata of the object. Returns `None` if the bytes may differ.
    async fn compare(&self, key: &Key, path: &Path, held: &Entry) -> Result<Option<Validation>> {
        let sent_at = self.clock.wall_time();
        let head = match (*self.store).get_opts(path, GetOptions::new().with_head(true)).await {
            Ok(head) => head,
            // A store without HEAD may support the GET.
            Err(error) if is_about_form(&error) => return Ok(None),
            Err(error) => return self.gone_or(error).map(Some),
        };
        let mut version = version_of(&head.meta);
        if !self.has_bytes_of(held, &version) {
            return Ok(None);
        }
        let attributes = attributes_from_store(&head.attributes);
        // `Version` compares names alone. The date of a put is unknown.
        // Another date means another write, whose metadata may differ.
        // mutant: same_date
        if held.last_modified().is_none_or(|date| Some(date) == version.last_modified)
            && held.version_id() == version.version.as_deref()
            // Some stores change metadata without changing the date.
            // mutant: same_attributes
            && *held.attributes() == attributes
        {
            return Ok(Some(Validation::NotModified));
        }
        // Some servers omit the quotes in responses to HEAD; conditions use the form of the GET.
        // mutant: tag_spelling
        version.e_tag = held.e_tag().map(Into::into);
        let keep = self.keep(&version, sent_at);
        // Whether to copy the buffer was decided when the body was received.
        let entry = Entry::builder(key, held.body().clone()).keep_buffer();
        let entry = entry.version(version).attributes(attributes).storability(keep).build();
        Ok(Some(Validation::Modified(entry)))
    }

    /// Returns whether the object, now at `version`, has the bytes of `held`.
    fn has_bytes_of(&self, held: &Entry, version: &Version) -> bool {
        let is_same = match (held.e_tag(), version.e_tag.as_deref()) {
            (Some(held), Some(now)) => {
                // Equal weak ETags do not mean equal bytes.
                // mutant: same_weakness
                tag::is_same(Some(held), Some(now)) && tag::is_weak(held) == tag::is_weak(now)
            }
            (None, None) => held.last_modified().is_some(),
            _ => false,
        };
        // An ETag derived from a timestamp does not identify the bytes across two dates.
        // mutant: tag_names_bytes
        let is_of_bytes = held.e_tag().is_some() && self.strength == ValidatorStrength::Strong;
        is_same
            // A different length is a different body, whatever the ETag is.
            // mutant: same_size
            && held.body().len() as u64 == version.size
            && (is_of_bytes || held.last_modified() == version.last_modified)
    }

    fn gone_or(&self, error: object_store::Error) -> Result<Validation> {
        let error = error_of(error, Action::Read, &self.store);
        if error.kind() == ErrorKind::NotFound { Ok(Validation::NotFound) } else { Err(error) }
    }

    async fn entry_of(&self, key: &Key, answer: GetResult, sent_at: SystemTime) -> Result<Entry> {
        if let Some(max) = self.settings.max_object_size.filter(|max| answer.meta.size > *max) {
            let size = answer.meta.size;
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("the object has {size} bytes, {max} are the limit (max_object_size)"),
            ));
        }
        let version = version_of(&answer.meta);
        let attributes = attributes_from_store(&answer.attributes);
        let _room = self.in_flight.room(answer.meta.size).await;
        let body = body::read(answer).await?;
        let keep = self.keep(&version, sent_at);
        let is_in_its_buffer = body::is_in_its_buffer(&body);
        let entry =
            Entry::builder(key, body).version(version).attributes(attributes).storability(keep);
        let entry = if is_in_its_buffer { entry.keep_buffer() } else { entry };
        Ok(entry.build())
    }

    fn keep(&self, version: &Version, sent_at: SystemTime) -> Storability {
        self.strength.keep(version, sent_at, self.settings.accept_weak)
    }

    /// Waits for the response to `request`, up to the timeout. Errors carry `key`.
    ///
    /// The request is pinned by the caller: moved in here, it would take its space twice.
    async fn in_time<T>(
        &self,
        key: &Key,
        mut request: Pin<&mut (impl Future<Output = Result<T>> + Send)>,
    ) -> Result<T> {
        let limit = self.settings.origin_timeout;
        // A response that is ready at once needs no timer.
        let answer = match poll_immediate(&mut request).await {
            Some(answer) => answer,
            None => timeout(limit, request).await.unwrap_or_else(|_| Err(late(limit))),
        };
        answer.map_err(|error| error.with_key(key))
    }
}

#[async_trait]
impl Validator for EtagValidator {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        if let Some(verifier) = &self.verifier {
            // Boxed: the probe is large and runs once.
            Box::pin(verifier.for_reads(self.strength)).await?;
        }
        self.in_time(key, pin!(self.ask(key, held))).await
    }

    /// Lists over `ObjectStore::list`, at most 1,000 objects a page: one request each of S3 and
    /// GCS, and a fifth of one of Azure. The store lists the folder that `prefix` is in or names;
    /// objects beside the prefix are left out. Keys are in order on S3 and GCS, but for directory
    /// buckets, and in memory.
    ///
    /// A list renews entries by their ETags. Objects without one, and those whose tags are weak,
    /// are only compared. See `docs/lists.md` for each store.
    ///
    /// # Errors
    ///
    /// `InvalidKey` if no key can begin with `prefix` or if the store has an object whose path
    /// object_store does not read; `Unsupported` for a web server without WebDAV; `Timeout` if a
    /// page takes longer than `origin_timeout`; others as for reads. An error is the last item.
    ///
    /// Dropping the stream drops the request.
    fn list(&self, prefix: &str, after: Option<&str>) -> Listing {
        let lists = Lists {
            store: Arc::clone(&self.store),
            kind: self.list_kind,
            strength: self.strength,
            limit: self.settings.origin_timeout,
            verifier: self.verifier.clone(),
        };
        listing::list(lists, prefix, after)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Origin for EtagValidator {
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version> {
        self.put_with(key, body, condition.into()).await
    }

    async fn put_with(&self, key: &Key, body: Bytes, options: PutOptions) -> Result<Version> {
        let PutOptions { condition, attributes, .. } = options;
        let mode = put_mode(condition).map_err(|error| error.with_key(key))?;
        let attributes = attributes_to_store(&attributes).map_err(|error| error.with_key(key))?;
        if let Some(verifier) = &self.verifier {
            match mode {
                PutMode::Overwrite => {}
                PutMode::Create => Box::pin(verifier.for_create()).await?,
                PutMode::Update(_) => Box::pin(verifier.for_update()).await?,
            }
        }
        let request = async {
            let path = self.paths.of(key)?;
            let size = body.len() as u64;
            let action = match (attributes.is_empty(), Action::of_put(&mode)) {
                (true, action) => action,
                (false, Action::Put) => Action::PutAttributes,
                // The source says which of the two the store does not support.
                (false, _) => Action::PutAttributesIf,
            };
            let options = object_store::PutOptions { mode, attributes, ..Default::default() };
            let answer = self.store.put_opts(&path, body.into(), options).await;
            let answer = answer.map_err(|error| error_of(error, action, &self.store))?;
            Ok(Version::default()
                .with_e_tag(answer.e_tag)
                .with_version(answer.version)
                .with_size(size))
        };
        self.in_time(key, pin!(request)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let request = async {
            let answer = self.store.delete(self.paths.of(key)?.as_ref()).await;
            answer.map_err(|error| error_of(error, Action::Delete, &self.store))
        };
        self.in_time(key, pin!(request)).await
    }

    fn entry_of_put(&self, key: &Key, body: Bytes, version: &Version) -> Entry {
        // Its date is unknown, but not earlier than the request.
        let keep = self.keep(version, SystemTime::UNIX_EPOCH);
        Entry::builder(key, body).version(version.clone()).storability(keep).build()
    }
}

impl fmt::Debug for EtagValidator {
    /// Shows the store by its `Display`: its `Debug` may show credentials, or every object of a
    /// store in memory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtagValidator")
            .field("store", &format_args!("{}", self.store))
            .field("strength", &self.strength)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Returns the options of a GET that is conditional on `held`, if the store can confirm it.
fn question(held: Option<&Entry>) -> GetOptions {
    let Some(held) = held else { return GetOptions::new() };
    match held.e_tag() {
        Some(tag) => GetOptions::new().with_if_none_match(Some(tag)),
        None => GetOptions::new().with_if_modified_since(held.last_modified()),
    }
}

fn put_mode(condition: PutCondition) -> Result<PutMode> {
    let unsupported = |message| Err(Error::new(ErrorKind::Unsupported, message));
    match condition {
        PutCondition::Always => Ok(PutMode::Overwrite),
        PutCondition::Absent => Ok(PutMode::Create),
        PutCondition::Matches(Version { e_tag: None, version: None, .. }) => unsupported(
            "the version to match has neither an ETag nor a version id, as this origin gives \
                none; put without a \
             condition",
        ),
        // Both: the store decides which one it evaluates.
        PutCondition::Matches(Version { e_tag, version, .. }) => {
            Ok(PutMode::Update(UpdateVersion { e_tag, version }))
        }
        _ => unsupported(
            "an object store knows no such condition; put if absent, or if at a version",
        ),
    }
}

fn late(limit: Duration) -> Error {
    let message = format!(
        "the origin had not answered in full within {limit:?} (origin_timeout; waiting for room \
            counts, see \
         max_in_flight_bytes)"
    );
    Error::new(ErrorKind::Timeout, message)
}
