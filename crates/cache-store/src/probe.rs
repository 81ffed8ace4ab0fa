//! Probes what a store does with conditional requests.
//!
//! Not every server that speaks a store's protocol honors its conditions. Of four S3 servers in
//! their default setup, each broke one: one ignores the conditions of a PUT, one those of a GET,
//! one rejects the correct version, and one lets two conditional writes both succeed.

use std::{
    collections::HashMap,
    error::Error as _,
    fmt,
    hash::{BuildHasher, RandomState},
    time::{Duration, SystemTime},
};

use cache_core::{Error, ErrorKind, Key, Result, opaque_tag};
use futures_util::{
    StreamExt as _,
    future::{join, join_all},
};
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, PutResult, UpdateVersion, path::Path,
};
use tokio::time::timeout;

use crate::{
    ValidatorStrength,
    error::{Action, error_of, is_about_webdav, is_conflict, is_outage},
    lists::ListKind,
    tag,
};

/// What [`probe_capabilities`] observed of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// A GET with `If-None-Match` (RFC 9110, section 13.1.2): a 304 for the current ETag, the
    /// object for any other. Without it, every validation fetches the whole object.
    pub conditional_get: Support,
    /// A GET of a range with `If-Match` (RFC 9110, section 13.1.1): the range for the current ETag,
    /// a 412 for an older one. Without it, parts of an object may be of different versions.
    pub pinned_range: Support,
    /// A put on condition that the object does not exist.
    pub conditional_create: Support,
    /// A put on condition that the object is at a version.
    pub conditional_update: Support,
    /// Whether a rewrite of equal length gets a new ETag, and whether the ETag of a response
    /// belongs to its body.
    pub tag_per_version: Support,
    /// Whether a list tells which cached objects are current, so that one request validates up to
    /// 1,000 of them: it shows each object right after its put with the ETag and the date of a read
    /// (quotes and fractions of a second aside), and a deleted one no more.
    ///
    /// | | meaning |
    /// | --- | --- |
    /// | `Honored` | lists renew cached objects |
    /// | `Ignored` | lists have no ETags: they renew nothing, and show another size or date |
    /// | `Refused` | lists show another ETag or date than a read: each costs a request for each object |
    /// | `Racy` | lists lag: a list may renew an old version, or show a deleted object |
    /// | `Unsupported` | the store has no lists, or these credentials do not permit them; or reads have no ETags |
    pub list_validation: Support,
    /// How far a 304 of the store can be trusted: as its kind promises, or less if the probe saw
    /// less.
    pub strength: ValidatorStrength,
    /// The number of the probe's objects that the store did not delete, for example because the
    /// credentials do not permit it. A lifecycle rule for the probe's prefix can remove them.
    pub left_behind: usize,
}

/// What a validation relies on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadSupport {
    conditional_get: Support,
    tag_per_version: Support,
    strength: ValidatorStrength,
}

/// How a store keeps a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// The condition is honored.
    Honored,
    /// The request is carried out as if it had no condition.
    Ignored,
    /// The condition fails although it holds.
    Refused,
    /// The condition is honored in sequence; of concurrent requests, more than one succeed.
    Racy,
    /// The store reports that it does not support it, or returns no ETag.
    Unsupported,
}

impl Capabilities {
    /// Returns why an entry that this store confirms may differ from the object, if a 304 is
    /// trusted as far as `strength` says; `None` if the probe saw no reason.
    pub fn objection_to_validation(&self, strength: ValidatorStrength) -> Option<&'static str> {
        let Self { conditional_get, tag_per_version, strength: seen, .. } = *self;
        ReadSupport { conditional_get, tag_per_version, strength: seen }.objection(strength)
    }

    /// Returns why a conditional put may take effect although its condition does not hold, or fail
    /// although it does; `None` if the probe saw no reason, or the store reports that it does not
    /// support conditional puts.
    pub fn objection_to_conditional_puts(&self) -> Option<&'static str> {
        objection_to_create(self.conditional_create)
            .or_else(|| objection_to_update(self.conditional_update))
    }

    /// Returns why an entry that a list renews may differ from the object; `None` if the probe saw
    /// no reason, or lists renew nothing.
    pub fn objection_to_lists(&self) -> Option<&'static str> {
        objection_to_lists(self.list_validation)
    }
}

impl ReadSupport {
    /// As [`Capabilities::objection_to_validation`].
    pub(crate) fn objection(&self, strength: ValidatorStrength) -> Option<&'static str> {
        match (self.conditional_get, self.tag_per_version, strength) {
            (Support::Refused, ..) => Some(
                "the store responds with 304 (Not Modified) although the object has another ETag",
            ),
            (_, Support::Racy, _) => Some(
                "the store returns a body with the ETag of another version, or an old object \
                    after a put",
            ),
            (_, Support::Ignored, ValidatorStrength::Strong) => Some(
                "two versions of an object share an ETag, as if it were derived from a timestamp",
            ),
            _ => None,
        }
    }
}

/// Why what a list shows cannot be relied upon.
pub(crate) fn objection_to_lists(seen: Support) -> Option<&'static str> {
    (seen == Support::Racy)
        .then_some("a list of the store shows an old version, or a deleted object, after a write")
}

/// Why a put that needs the object to be absent cannot be relied upon.
pub(crate) fn objection_to_create(seen: Support) -> Option<&'static str> {
    seen.is_broken()
        .then_some("the store does not honor a put on condition that the object does not exist")
}

/// Why a put that needs the object to be at a version cannot be relied upon.
pub(crate) fn objection_to_update(seen: Support) -> Option<&'static str> {
    seen.is_broken()
        .then_some("the store does not honor a put on condition that the object is at a version")
}

impl Support {
    /// Whether the store carries the request out in another way than it says.
    fn is_broken(self) -> bool {
        matches!(self, Self::Ignored | Self::Refused | Self::Racy)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { conditional_get, pinned_range, conditional_create, conditional_update, .. } =
            self;
        writeln!(f, "conditional get      {conditional_get}")?;
        writeln!(f, "pinned range         {pinned_range}")?;
        writeln!(f, "conditional create   {conditional_create}")?;
        writeln!(f, "conditional update   {conditional_update}")?;
        writeln!(f, "ETag per version     {}", self.tag_per_version)?;
        let list_validation = match self.list_validation {
            Support::Honored => "lists renew",
            Support::Ignored => "lists have no ETags",
            Support::Refused => "lists show another ETag or date",
            Support::Racy => "lists lag behind",
            Support::Unsupported => "not supported",
        };
        writeln!(f, "list validation      {list_validation}")?;
        write!(f, "strength             {:?}", self.strength)?;
        match self.left_behind {
            0 => Ok(()),
            n => write!(f, "\nleft behind          {n}"),
        }
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Honored => "honored",
            Self::Ignored => "ignored",
            Self::Refused => "fails although it holds",
            Self::Racy => "honored, but not concurrently",
            Self::Unsupported => "not supported",
        })
    }
}

/// Probes how `store` handles conditions, with about a hundred small requests for objects of a few
/// bytes with unique names under `prefix`. Removes them at the end, even if the probe fails.
///
/// A failure that it reports is real. A condition that it reports as honored may still fail rarely:
/// races are tried a few times, eight requests at a time.
///
/// # Permissions
///
/// Needs to write and read under `prefix` (`s3:PutObject`, `s3:GetObject`). Without permission to
/// delete (`s3:DeleteObject`), four objects stay, which
/// [`left_behind`](Capabilities::left_behind) counts, and conditional creates are tried in one race
/// instead of three. Without permission to list (`s3:ListBucket`), `list_validation` is
/// `Unsupported`. Lists of Azure, local disk and unknown stores read all of `prefix`: choose one
/// with few objects.
///
/// # Errors
///
/// Errors of plain requests that every store must support: `PermissionDenied`, `Unavailable` and so
/// on, with the key of the probe's object.
///
/// # Dropped futures
///
/// The objects may stay behind.
pub async fn probe_capabilities(store: &dyn ObjectStore, prefix: &Path) -> Result<Capabilities> {
    let probe = Probe::new(store, prefix, &unique_name(prefix), None);
    let (reads, left_of_reads) = probe.reads().await?;
    let (pinned_range, left_of_range) = probe.pinned_range().await?;
    let (create, left_of_create) = probe.create().await?;
    let (update, left_of_update) = probe.update().await?;
    let (list_validation, left_of_lists) = probe.lists().await?;
    let ReadSupport { conditional_get, tag_per_version, strength } = reads;
    Ok(Capabilities {
        conditional_get,
        pinned_range,
        conditional_create: create,
        conditional_update: update,
        tag_per_version,
        list_validation,
        strength,
        // The reads, the range and the lists share an object.
        left_behind: left_of_reads.max(left_of_range).max(left_of_lists)
            + left_of_create
            + left_of_update,
    })
}

/// The probe, in parts that need nothing of each other.
///
/// Each removes what it has written, and says how many objects it could not remove: that is a
/// nuisance, not a failure of the probe.
pub(crate) struct Probe<'a> {
    store: &'a dyn ObjectStore,
    prefix: &'a Path,
    /// The object of the reads, and that of the updates. Those of the creates have a new name each
    /// time, since one that cannot be removed is not absent again.
    a: Path,
    b: Path,
    /// How long a request may take.
    limit: Option<Duration>,
}

/// Why a part of the probe could not be finished.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    pub(crate) action: Action,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

type Seen<T> = Result<T, Failed>;

/// An object, as an answer shows it.
struct Shown {
    tag: Option<String>,
    date: SystemTime,
    body: Vec<u8>,
}

/// No answer within the limit.
#[derive(Debug)]
struct Late(Duration);

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {:?} (origin_timeout)", self.0)
    }
}

impl std::error::Error for Late {}

/// A name for the objects of one probe, which no other has.
pub(crate) fn unique_name(prefix: &Path) -> String {
    format!("{:016x}", RandomState::new().hash_one(prefix.as_ref()))
}

impl<'a> Probe<'a> {
    /// A probe of `store` with objects under `prefix` whose names begin with `name`. One that is
    /// made again under the same name writes to the same objects, so that those of a probe that was
    /// interrupted are removed by the next.
    pub(crate) fn new(
        store: &'a dyn ObjectStore,
        prefix: &'a Path,
        name: &str,
        limit: Option<Duration>,
    ) -> Self {
        let [a, b] = ["a", "b"].map(|which| prefix.clone().join(format!("{name}-{which}")));
        Self { store, prefix, a, b, limit }
    }

    /// What a validation relies on. The number says how many objects stay behind.
    pub(crate) async fn reads(&self) -> Seen<(ReadSupport, usize)> {
        self.cleaned(self.try_reads().await, &[&self.a]).await
    }

    /// Whether a range of a version is of that version.
    async fn pinned_range(&self) -> Seen<(Support, usize)> {
        self.cleaned(self.try_pinned_range().await, &[&self.a]).await
    }

    /// Whether a put if there is no object yet is kept.
    pub(crate) async fn create(&self) -> Seen<(Support, usize)> {
        let mut used = Vec::new();
        let seen = self.try_create(&mut used).await;
        self.cleaned(seen, &used.iter().collect::<Vec<_>>()).await
    }

    /// Whether a put if the object is at a version is kept.
    pub(crate) async fn update(&self) -> Seen<(Support, usize)> {
        self.cleaned(self.try_update().await, &[&self.b]).await
    }

    /// Whether a list tells which version of an object is current.
    pub(crate) async fn lists(&self) -> Seen<(Support, usize)> {
        self.cleaned(self.try_lists().await, &[&self.a]).await
    }

    /// Removes the objects at `paths`, and adds to `seen` how many of them stay.
    async fn cleaned<T>(&self, seen: Seen<T>, paths: &[&Path]) -> Seen<(T, usize)> {
        if seen.as_ref().is_err_and(Failed::wrote_nothing) {
            return seen.map(|seen| (seen, 0));
        }
        let limit = self.limit.map(|limit| limit.min(CLEAN_UP_MAX));
        let removals = paths.iter().map(|path| async {
            let removed = in_time(limit, self.store.delete(path)).await;
            usize::from(!matches!(removed, Ok(()) | Err(StoreError::NotFound { .. })))
        });
        let n_left = join_all(removals).await.into_iter().sum();
        seen.map(|seen| (seen, n_left))
    }

    async fn try_reads(&self) -> Seen<ReadSupport> {
        self.put(&self.a, 0).await?;
        let first = self.get(&self.a).await?;
        let promised = ValidatorStrength::of(self.store);
        let Some(first_tag) = first.tag else {
            return Ok(ReadSupport {
                conditional_get: Support::Unsupported,
                tag_per_version: Support::Unsupported,
                // Dates are left, and judged by their grain.
                strength: if promised == ValidatorStrength::Strong {
                    ValidatorStrength::None
                } else {
                    promised
                },
            });
        };
        let tag_per_version = self.tag_per_version().await?;
        let strength = match (promised, tag_per_version) {
            _ if tag::is_weak(&first_tag) => ValidatorStrength::Weak,
            (ValidatorStrength::Strong | ValidatorStrength::ByForm, Support::Ignored) => {
                ValidatorStrength::Timestamp(crate::local_disk::SECONDS)
            }
            (_, Support::Racy) => ValidatorStrength::None,
            _ => promised,
        };
        Ok(ReadSupport {
            conditional_get: self.conditional_get().await?,
            tag_per_version,
            strength,
        })
    }

    /// Whether each rewrite of equal size changes the tag; and whether who reads meanwhile gets
    /// body and tag of one version.
    async fn tag_per_version(&self) -> Seen<Support> {
        let (mut settled, mut meanwhile) = (HashMap::new(), Vec::new());
        for n in 0..REWRITES {
            let (read, put) = join(self.get(&self.a), self.put(&self.a, n)).await;
            put?;
            meanwhile.push(read?);
            let Shown { tag, body: shown, .. } = self.get(&self.a).await?;
            if shown != body(n) {
                // It shows an old object after a put has returned.
                return Ok(Support::Racy);
            }
            if settled.insert(tag, shown).is_some() {
                return Ok(Support::Ignored);
            }
        }
        let is_mixed = |read: &Shown| settled.get(&read.tag).is_some_and(|body| *body != read.body);
        Ok(if meanwhile.iter().any(is_mixed) { Support::Racy } else { Support::Honored })
    }

    async fn conditional_get(&self) -> Seen<Support> {
        let Some((old, tag)) = self.rewritten().await? else { return Ok(Support::Unsupported) };
        let ask = async |tag: &str| {
            let options = GetOptions::new().with_if_none_match(Some(tag));
            match in_time(self.limit, self.store.get_opts(&self.a, options)).await {
                Ok(_) => Ok(Some(false)),
                Err(StoreError::NotModified { .. }) => Ok(Some(true)),
                Err(error) => self.unless_unsupported(error, &self.a, Action::Read),
            }
        };
        // A tag that has not changed cannot tell: that is `tag_per_version`'s to say.
        let other = if old == tag { "\"none of this store's\"" } else { &old };
        Ok(match (ask(&tag).await?, ask(other).await?) {
            (None, _) | (_, None) => Support::Unsupported,
            (_, Some(true)) => Support::Refused,
            (Some(false), _) => Support::Ignored,
            (Some(true), Some(false)) => Support::Honored,
        })
    }

    async fn try_pinned_range(&self) -> Seen<Support> {
        let Some((old, tag)) = self.rewritten().await? else { return Ok(Support::Unsupported) };
        let ask = async |tag: &str| {
            let options = GetOptions::new()
                .with_if_match(Some(tag))
                .with_range(Some(GetRange::Bounded(1..3)));
            match in_time(self.limit, self.store.get_opts(&self.a, options)).await {
                Ok(_) => Ok(Some(true)),
                Err(StoreError::Precondition { .. }) => Ok(Some(false)),
                Err(error) => self.unless_unsupported(error, &self.a, Action::Read),
            }
        };
        let other = if old == tag { "\"none of this store's\"" } else { &old };
        Ok(match (ask(&tag).await?, ask(other).await?) {
            (None, _) | (_, None) => Support::Unsupported,
            (Some(false), _) => Support::Refused,
            (Some(true), Some(true)) => Support::Ignored,
            (Some(true), Some(false)) => Support::Honored,
        })
    }

    /// `used`: the objects that it wrote.
    async fn try_create(&self, used: &mut Vec<Path>) -> Seen<Support> {
        for _ in 0..RACES {
            let (path, _) = self.absent(used).await?;
            match self.create_alone(&path, 0).await? {
                None => return Ok(Support::Unsupported),
                Some(false) => return Ok(Support::Refused),
                Some(true) => used.push(path.clone()),
            }
            if self.create_alone(&path, 1).await? == Some(true) {
                return Ok(Support::Ignored);
            }
            let (path, can_remove) = self.absent(used).await?;
            used.push(path.clone());
            let create = |n| self.put_if(&path, n, PutMode::Create);
            let answers = join_all((0..RACERS).map(create)).await;
            if self.winners(answers, &path, Action::PutIfAbsent)? > 1 {
                return Ok(Support::Racy);
            }
            if !can_remove {
                // Each further race would leave two more objects behind.
                break;
            }
        }
        Ok(Support::Honored)
    }

    async fn create_alone(&self, path: &Path, n: usize) -> Seen<Option<bool>> {
        self.won(self.put_if(path, n, PutMode::Create).await, path, Action::PutIfAbsent)
    }

    /// Where there is no object, and whether the last one of `used` could be removed: else that is
    /// a new name.
    async fn absent(&self, used: &mut Vec<Path>) -> Seen<(Path, bool)> {
        if let Some(last) = used.last() {
            match in_time(self.limit, self.store.delete(last)).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {
                    return Ok((used.pop().expect("it is the last"), true));
                }
                Err(error) if is_outage(&error) => {
                    return Err(self.failed(error, last, Action::Delete));
                }
                // An object that cannot be deleted is still there and no absent one.
                // mutant: undeletable_object
                Err(_) => {}
            }
        }
        let name = format!("{}-c", unique_name(self.prefix));
        Ok((self.prefix.clone().join(name), used.is_empty()))
    }

    async fn try_update(&self) -> Seen<Support> {
        let at = |version: &UpdateVersion| PutMode::Update(version.clone());
        for _ in 0..RACES {
            let first = version(self.put(&self.b, 0).await?);
            if first.e_tag.is_none() && first.version.is_none() {
                // There is nothing to name a version by.
                return Ok(Support::Unsupported);
            }
            let second = match self.put_if(&self.b, 1, at(&first)).await {
                Ok(put) => version(put),
                other => match self.won(other, &self.b, Action::PutIfMatches)? {
                    None => return Ok(Support::Unsupported),
                    _ => return Ok(Support::Refused),
                },
            };
            if first != second {
                let again = self.put_if(&self.b, 2, at(&first)).await;
                if self.won(again, &self.b, Action::PutIfMatches)? == Some(true) {
                    return Ok(Support::Ignored);
                }
            }
            let update = |n| self.put_if(&self.b, n + 3, at(&second));
            let answers = join_all((0..RACERS).map(update)).await;
            if self.winners(answers, &self.b, Action::PutIfMatches)? > 1 {
                return Ok(Support::Racy);
            }
        }
        Ok(Support::Honored)
    }

    async fn try_lists(&self) -> Seen<Support> {
        let (mut support, mut earlier) = (Support::Honored, Vec::new());
        for n in 0..LISTED {
            self.put(&self.a, n).await?;
            let Shown { tag: Some(tag), date, .. } = self.get(&self.a).await? else {
                return Ok(Support::Unsupported);
            };
            let listed = match self.listed(&self.a).await {
                Ok(listed) => listed,
                Err(error) => return self.unless_unlisted(error),
            };
            // It is there since its put.
            // mutant: lists_lag
            let Some(listed) = listed else { return Ok(Support::Racy) };
            let seen = match listed.e_tag {
                None => Support::Ignored,
                Some(e_tag) => {
                    let e_tag = opaque_tag(&e_tag).to_owned();
                    let is_date_alike = tag::is_same_date(date, listed.last_modified.into());
                    match e_tag == opaque_tag(&tag) {
                        true if is_date_alike => Support::Honored,
                        false if earlier.contains(&e_tag) => return Ok(Support::Racy),
                        _ => Support::Refused,
                    }
                }
            };
            earlier.push(opaque_tag(&tag).to_owned());
            if seen != Support::Honored {
                support = seen;
            }
        }
        if in_time(self.limit, self.store.delete(&self.a)).await.is_ok() {
            match self.listed(&self.a).await {
                Ok(None) => {}
                Ok(Some(_)) => return Ok(Support::Racy),
                Err(error) => return self.unless_unlisted(error),
            }
        }
        Ok(support)
    }

    /// The object at `path` as a list shows it.
    async fn listed(&self, path: &Path) -> object_store::Result<Option<ObjectMeta>> {
        let kind = ListKind::of(self.store);
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(self.prefix);
        // Its name without the last letter.
        let before = Path::parse(&path.as_ref()[..path.as_ref().len() - 1]);
        let mut listed = match before {
            Ok(before) if kind.has_offsets => self.store.list_with_offset(prefix, &before),
            _ => self.store.list(prefix),
        };
        loop {
            let next = in_time(self.limit, async { listed.next().await.transpose() }).await?;
            match next {
                Some(object) if object.location == *path => return Ok(Some(object)),
                Some(object) if kind.is_ordered && object.location > *path => return Ok(None),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// `Unsupported`, unless the store has failed to answer.
    fn unless_unlisted(&self, error: StoreError) -> Seen<Support> {
        if !is_about_webdav(&error) && is_outage(&error) {
            return Err(self.failed(error, &self.a, Action::List));
        }
        Ok(Support::Unsupported)
    }

    /// The tags of `a` before and after it was written anew, if it has any.
    async fn rewritten(&self) -> Seen<Option<(String, String)>> {
        self.put(&self.a, REWRITES).await?;
        let old = self.get(&self.a).await?.tag;
        self.put(&self.a, REWRITES + 1).await?;
        Ok(old.zip(self.get(&self.a).await?.tag))
    }

    async fn put(&self, path: &Path, n: usize) -> Seen<PutResult> {
        let answer = self.put_if(path, n, PutMode::Overwrite).await;
        answer.map_err(|error| self.failed(error, path, Action::Put))
    }

    async fn put_if(
        &self,
        path: &Path,
        n: usize,
        mode: PutMode,
    ) -> object_store::Result<PutResult> {
        in_time(self.limit, self.store.put_opts(path, body(n).into(), PutOptions::from(mode))).await
    }

    async fn get(&self, path: &Path) -> Seen<Shown> {
        let read = async {
            let answer = self.store.get(path).await?;
            let ObjectMeta { e_tag, last_modified, .. } = answer.meta.clone();
            let body = answer.bytes().await?.to_vec();
            Ok(Shown { tag: e_tag, date: last_modified.into(), body })
        };
        in_time(self.limit, read).await.map_err(|error| self.failed(error, path, Action::Read))
    }

    fn winners(
        &self,
        answers: Vec<object_store::Result<PutResult>>,
        path: &Path,
        action: Action,
    ) -> Seen<usize> {
        let mut n_won = 0;
        for answer in answers {
            // One that was given up because of another has not won, whatever else it says.
            let is_given_up = answer.as_ref().is_err_and(is_conflict);
            n_won += usize::from(!is_given_up && self.won(answer, path, action)? == Some(true));
        }
        Ok(n_won)
    }

    /// Whether a conditional put took effect; `None` if the store cannot do it.
    fn won(
        &self,
        answer: object_store::Result<PutResult>,
        path: &Path,
        action: Action,
    ) -> Seen<Option<bool>> {
        match answer {
            Ok(_) => Ok(Some(true)),
            Err(error) if is_conflict(&error) => Err(self.failed(error, path, action)),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                Ok(Some(false))
            }
            Err(error) => self.unless_unsupported(error, path, action),
        }
    }

    fn unless_unsupported<T>(
        &self,
        error: StoreError,
        path: &Path,
        action: Action,
    ) -> Seen<Option<T>> {
        let failed = self.failed(error, path, action);
        if failed.error.kind() == ErrorKind::Unsupported { Ok(None) } else { Err(failed) }
    }

    fn failed(&self, error: StoreError, path: &Path, action: Action) -> Failed {
        let is_late = error.source().is_some_and(|source| source.is::<Late>());
        let error = match is_late {
            true => Error::new(ErrorKind::Timeout, "the store did not answer the probe")
                .with_source(error),
            false => error_of(error, action, &self.store),
        };
        // Not the key of the reader whose request is the first.
        let error = match Key::parse(path.as_ref()) {
            Ok(key) => error.with_key(&key),
            Err(_) => error,
        };
        Failed { error, action }
    }
}

impl Failed {
    /// Whether nothing can be there of what the probe writes: its first request was refused.
    fn wrote_nothing(&self) -> bool {
        self.action == Action::Put && self.is_refused()
    }

    /// Whether the store refuses the credentials.
    fn is_refused(&self) -> bool {
        matches!(self.error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unauthenticated)
    }
}

/// What `request` answers, if it does within `limit`.
async fn in_time<T>(
    limit: Option<Duration>,
    request: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<T> {
    match limit {
        None => request.await,
        Some(limit) => timeout(limit, request).await.unwrap_or_else(|_| {
            Err(StoreError::Generic { store: "probe", source: Box::new(Late(limit)) })
        }),
    }
}

/// All of one length.
fn body(n: usize) -> Vec<u8> {
    format!("probe {n:02}").into_bytes()
}

fn version(put: PutResult) -> UpdateVersion {
    UpdateVersion { e_tag: put.e_tag, version: put.version }
}

/// Rewrites that follow each other as fast as the store takes them.
const REWRITES: usize = 8;
/// So often the object is rewritten and listed.
const LISTED: usize = 3;
/// So often a race is run.
const RACES: usize = 3;
/// So many at once.
const RACERS: usize = 8;
/// The removal of the probe's objects may hold a reader up for so long, where the store hangs.
const CLEAN_UP_MAX: Duration = Duration::from_secs(5);
