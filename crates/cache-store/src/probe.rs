//! What a store really does, found out by asking it.
//!
//! Servers that speak a store's protocol do not all keep its conditions: of four S3 servers tried as shipped, each
//! broke one. One ignores the conditions of a PUT, one those of a GET, one refuses the right version, one lets two
//! conditional writes both win.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
};

use cache_core::{Error, ErrorKind, Result};
use futures_util::future::{join, join_all};
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutResult,
    UpdateVersion, path::Path,
};

use crate::{
    ValidatorStrength,
    error::{Action, error_of},
    tag,
};

/// What [`probe_capabilities`] saw a store do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// A GET with `If-None-Match`: "not modified" for the current tag, the object for any other (RFC 9110 section
    /// 13.1.2). Without it every validation brings the whole object.
    pub conditional_get: Support,
    /// A GET of a range with `If-Match`: the range for the current tag, "precondition failed" for an older one
    /// (RFC 9110 section 13.1.1). Without it the parts of an object may be of two versions.
    pub pinned_range: Support,
    /// A put if there is no object yet.
    pub conditional_create: Support,
    /// A put if the object is at a version.
    pub conditional_update: Support,
    /// A rewrite with as many bytes has a tag of its own, and the tag in an answer is that of the body in it.
    pub tag_per_version: Support,
    /// What a "not modified" of the store can be taken for: what its kind promises, or less, if less was seen.
    pub strength: ValidatorStrength,
}

/// How a store keeps a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// As it is meant.
    Kept,
    /// The request is carried out as if there were no condition.
    Ignored,
    /// The condition is taken not to hold although it does.
    Refused,
    /// One after the other it is kept; of several at once, more than one win.
    Racy,
    /// The store says that it cannot do it, or gives no tag to do it with.
    Unsupported,
}

impl Capabilities {
    /// Why a copy that this store confirms may not be the object, if its "not modified" is taken for `strength`; `None` if
    /// nothing of the kind was seen.
    pub fn objection_to_validation(&self, strength: ValidatorStrength) -> Option<&'static str> {
        match (self.conditional_get, self.tag_per_version, strength) {
            (Support::Refused, ..) => {
                Some("the store answers \"not modified\" although the object has another tag")
            }
            (_, Support::Racy, _) => Some(
                "the store gives a body the tag of another, or shows an old object after a put has returned",
            ),
            (_, Support::Ignored, ValidatorStrength::Strong) => {
                Some("the store gives two versions of an object one tag; its strength is that of a timestamp")
            }
            _ => None,
        }
    }

    /// Why a put with a condition may take effect although the condition does not hold, or fail although it does;
    /// `None` if nothing of the kind was seen, or the store says by itself that it cannot do it.
    pub fn objection_to_conditional_puts(&self) -> Option<&'static str> {
        let is_broken = |support| matches!(support, Support::Ignored | Support::Refused | Support::Racy);
        if is_broken(self.conditional_create) {
            Some("the store does not keep the condition that there be no object yet")
        } else if is_broken(self.conditional_update) {
            Some("the store does not keep the condition that the object be at a version")
        } else {
            None
        }
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { conditional_get, pinned_range, conditional_create, conditional_update, .. } = self;
        writeln!(f, "conditional get      {conditional_get}")?;
        writeln!(f, "pinned range         {pinned_range}")?;
        writeln!(f, "conditional create   {conditional_create}")?;
        writeln!(f, "conditional update   {conditional_update}")?;
        writeln!(f, "a tag for a version  {}", self.tag_per_version)?;
        write!(f, "strength             {:?}", self.strength)
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "kept",
            Self::Ignored => "ignored",
            Self::Refused => "refused though it holds",
            Self::Racy => "kept, but not by several at once",
            Self::Unsupported => "not supported",
        })
    }
}

/// Finds out what `store` does with conditions, by some hundred small requests for two objects of a few bytes under
/// `prefix`, whose names nobody else has. They are removed at the end, also when the probe fails.
///
/// What it sees to be broken is broken. What it sees to be kept may still fail one time in a thousand: races are
/// tried eight at a time, a few times over.
///
/// # Errors
///
/// What the store answers to requests that any store must serve: `PermissionDenied`, `Unavailable` and so on.
///
/// # Dropped futures
///
/// The objects may stay behind.
pub async fn probe_capabilities(store: &dyn ObjectStore, prefix: &Path) -> Result<Capabilities> {
    let name = RandomState::new().hash_one(prefix.as_ref());
    let [a, b] = ["a", "b"].map(|which| prefix.clone().join(format!("{name:016x}-{which}")));
    let probe = Probe { store, a, b };
    let seen = probe.run().await;
    for path in [&probe.a, &probe.b] {
        match store.delete(path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) if seen.is_ok() => return Err(probe.failed(error, Action::Delete)),
            Err(_) => {}
        }
    }
    seen
}

struct Probe<'a> {
    store: &'a dyn ObjectStore,
    a: Path,
    b: Path,
}

/// An object, as an answer shows it.
struct Shown {
    tag: Option<String>,
    body: Vec<u8>,
}

impl Probe<'_> {
    async fn run(&self) -> Result<Capabilities> {
        self.put(&self.a, 0).await?;
        let first = self.get(&self.a).await?;
        let promised = ValidatorStrength::of(self.store);
        let Some(first_tag) = first.tag else {
            return Ok(Capabilities {
                conditional_get: Support::Unsupported,
                pinned_range: Support::Unsupported,
                conditional_create: self.create().await?,
                conditional_update: Support::Unsupported,
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
                ValidatorStrength::Timestamp(crate::strength::SECONDS)
            }
            (_, Support::Racy) => ValidatorStrength::None,
            _ => promised,
        };
        Ok(Capabilities {
            conditional_get: self.conditional_get().await?,
            pinned_range: self.pinned_range().await?,
            conditional_create: self.create().await?,
            conditional_update: self.update().await?,
            tag_per_version,
            strength,
        })
    }

    /// Whether each rewrite of equal size changes the tag; and whether who reads meanwhile gets body and tag of one
    /// version.
    async fn tag_per_version(&self) -> Result<Support> {
        let (mut settled, mut meanwhile) = (HashMap::new(), Vec::new());
        for n in 0..REWRITES {
            let (read, put) = join(self.get(&self.a), self.put(&self.a, n)).await;
            put?;
            meanwhile.push(read?);
            let Shown { tag, body: shown } = self.get(&self.a).await?;
            if shown != body(n) {
                // It shows an old object after a put has returned.
                return Ok(Support::Racy);
            }
            if settled.insert(tag, shown).is_some() {
                return Ok(Support::Ignored);
            }
        }
        let is_mixed = |read: &Shown| settled.get(&read.tag).is_some_and(|body| *body != read.body);
        Ok(if meanwhile.iter().any(is_mixed) { Support::Racy } else { Support::Kept })
    }

    async fn conditional_get(&self) -> Result<Support> {
        let (old, tag) = self.rewritten().await?;
        let ask = async |tag: &str| {
            let answer = self.store.get_opts(&self.a, GetOptions::new().with_if_none_match(Some(tag))).await;
            match answer {
                Ok(_) => Ok(Some(false)),
                Err(StoreError::NotModified { .. }) => Ok(Some(true)),
                Err(error) => self.unless_unsupported(error, Action::Read),
            }
        };
        // A tag that has not changed cannot tell: that is `tag_per_version`'s to say.
        let other = if old == tag { "\"none of this store's\"" } else { &old };
        Ok(match (ask(&tag).await?, ask(other).await?) {
            (None, _) | (_, None) => Support::Unsupported,
            (_, Some(true)) => Support::Refused,
            (Some(false), _) => Support::Ignored,
            (Some(true), Some(false)) => Support::Kept,
        })
    }

    async fn pinned_range(&self) -> Result<Support> {
        let (old, tag) = self.rewritten().await?;
        let ask = async |tag: &str| {
            let options =
                GetOptions::new().with_if_match(Some(tag)).with_range(Some(GetRange::Bounded(1..3)));
            match self.store.get_opts(&self.a, options).await {
                Ok(_) => Ok(Some(true)),
                Err(StoreError::Precondition { .. }) => Ok(Some(false)),
                Err(error) => self.unless_unsupported(error, Action::Read),
            }
        };
        let other = if old == tag { "\"none of this store's\"" } else { &old };
        Ok(match (ask(&tag).await?, ask(other).await?) {
            (None, _) | (_, None) => Support::Unsupported,
            (Some(false), _) => Support::Refused,
            (Some(true), Some(true)) => Support::Ignored,
            (Some(true), Some(false)) => Support::Kept,
        })
    }

    async fn create(&self) -> Result<Support> {
        for _ in 0..RACES {
            self.remove(&self.b).await?;
            let create = |n| self.put_if(&self.b, n, PutMode::Create);
            match self.won(create(0).await, Action::PutIfAbsent)? {
                None => return Ok(Support::Unsupported),
                Some(false) => return Ok(Support::Refused),
                Some(true) => {}
            }
            if self.won(create(1).await, Action::PutIfAbsent)? == Some(true) {
                return Ok(Support::Ignored);
            }
            self.remove(&self.b).await?;
            let n_won = self.winners(join_all((0..RACERS).map(create)).await, Action::PutIfAbsent)?;
            if n_won > 1 {
                return Ok(Support::Racy);
            }
        }
        Ok(Support::Kept)
    }

    async fn update(&self) -> Result<Support> {
        let at = |version: &UpdateVersion| PutMode::Update(version.clone());
        for _ in 0..RACES {
            let first = version(self.put(&self.b, 0).await?);
            let second = match self.put_if(&self.b, 1, at(&first)).await {
                Ok(put) => version(put),
                other => match self.won(other, Action::PutIfMatches)? {
                    None => return Ok(Support::Unsupported),
                    _ => return Ok(Support::Refused),
                },
            };
            if first != second
                && self.won(self.put_if(&self.b, 2, at(&first)).await, Action::PutIfMatches)? == Some(true)
            {
                return Ok(Support::Ignored);
            }
            let update = |n| self.put_if(&self.b, n + 3, at(&second));
            let n_won = self.winners(join_all((0..RACERS).map(update)).await, Action::PutIfMatches)?;
            if n_won > 1 {
                return Ok(Support::Racy);
            }
        }
        Ok(Support::Kept)
    }

    /// The tags of `a` before and after it was written anew.
    async fn rewritten(&self) -> Result<(String, String)> {
        let mut tags = Vec::new();
        for n in [REWRITES, REWRITES + 1] {
            self.put(&self.a, n).await?;
            tags.push(self.get(&self.a).await?.tag.unwrap_or_default());
        }
        let tag = tags.pop().unwrap_or_default();
        Ok((tags.pop().unwrap_or_default(), tag))
    }

    async fn put(&self, path: &Path, n: usize) -> Result<PutResult> {
        self.put_if(path, n, PutMode::Overwrite).await.map_err(|error| self.failed(error, Action::Put))
    }

    async fn put_if(&self, path: &Path, n: usize, mode: PutMode) -> object_store::Result<PutResult> {
        self.store.put_opts(path, body(n).into(), PutOptions::from(mode)).await
    }

    async fn get(&self, path: &Path) -> Result<Shown> {
        let read = async {
            let answer = self.store.get(path).await?;
            Ok(Shown { tag: answer.meta.e_tag.clone(), body: answer.bytes().await?.to_vec() })
        };
        read.await.map_err(|error| self.failed(error, Action::Read))
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(error, Action::Delete)),
        }
    }

    fn winners(&self, answers: Vec<object_store::Result<PutResult>>, action: Action) -> Result<usize> {
        let mut n_won = 0;
        for answer in answers {
            n_won += usize::from(self.won(answer, action)? == Some(true));
        }
        Ok(n_won)
    }

    /// Whether a conditional put took effect; `None` if the store cannot do it.
    fn won(&self, answer: object_store::Result<PutResult>, action: Action) -> Result<Option<bool>> {
        match answer {
            Ok(_) => Ok(Some(true)),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(Some(false)),
            Err(error) => self.unless_unsupported(error, action),
        }
    }

    fn unless_unsupported<T>(&self, error: StoreError, action: Action) -> Result<Option<T>> {
        let error = self.failed(error, action);
        if error.kind() == ErrorKind::Unsupported { Ok(None) } else { Err(error) }
    }

    fn failed(&self, error: StoreError, action: Action) -> Error {
        error_of(error, action, &self.store)
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
/// So often a race is run.
const RACES: usize = 3;
/// So many at once.
const RACERS: usize = 8;
