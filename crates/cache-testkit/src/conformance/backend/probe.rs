//! A backend, called as its contract says, whose every call is bounded and may not panic.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cache_core::{Admission, Backend, Entry, EvictionListener, Key, Moment, Result, Usage};
use futures_util::future::join_all;

use super::capabilities::Capabilities;
use crate::conformance::{Fault, Short, bounds::Calls, chain};

#[derive(Clone)]
pub(super) struct Probe {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) can: Capabilities,
    calls: Calls,
    n_inserts: Arc<AtomicU64>,
}

/// A call that a rule drops half-way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call<'a> {
    Insert(&'a Entry),
    Remove(&'a str),
    Clear,
    Get(&'a str),
}

impl Probe {
    pub(super) fn new(backend: Arc<dyn Backend>, can: Capabilities, calls: Calls) -> Self {
        Self { backend, can, calls, n_inserts: Arc::default() }
    }

    /// The backend itself: `Arc` would call it when polled, whatever it does when called.
    pub(super) fn inner(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Inserts what there is room for, and so must be stored, unless it was declared otherwise.
    /// Whether it was.
    pub(super) async fn hold(&self, entry: &Entry) -> Result<bool, Fault> {
        match self.insert(entry).await? {
            Some(Admission::Rejected(why)) if self.can.holds() => Err(format!(
                "{} was refused ({why:?}), though there is room for it; a backend that may do so \
                    declares \
                 `refuses`",
                Inserting(entry)
            )),
            admission => Ok(admission == Some(Admission::Stored)),
        }
    }

    /// What became of the entry; `None` for an error, after which the key was removed.
    pub(super) async fn insert(&self, entry: &Entry) -> Result<Option<Admission>, Fault> {
        let admission = self.insert_alone(entry).await?;
        if admission.is_none() {
            self.remove(entry.key()).await?;
        }
        Ok(admission)
    }

    /// What became of the entry; `None` for an error, after which the caller is to remove the key.
    pub(super) async fn insert_alone(&self, entry: &Entry) -> Result<Option<Admission>, Fault> {
        // Both ways in which a caller may store.
        if self.n_inserts.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)
            && let Ok(admission) = self.insert_now(entry)?
        {
            return Ok(Some(admission));
        }
        self.insert_later(entry).await
    }

    /// What became of the entry, by `insert`; `None` for an error.
    pub(super) async fn insert_later(&self, entry: &Entry) -> Result<Option<Admission>, Fault> {
        self.call(Inserting(entry), || self.inner().insert(entry.clone())).await
    }

    /// What became of the entry, or `Err` where it was handed back.
    pub(super) fn insert_now(&self, entry: &Entry) -> Result<Result<Admission, Entry>, Fault> {
        let name = format!("`insert_now` of {}", Shown(Some(entry)));
        match self.calls.returned(&name, || self.inner().insert_now(entry.clone()))? {
            Err(back) if !back.is_same(entry) => Err(format!(
                "{name} hands {} back; expected the entry that it was given",
                Shown(Some(&back))
            )),
            inserted => Ok(inserted),
        }
    }

    /// Whether there was one. A backend that may fail is asked again until it does not.
    pub(super) async fn remove(&self, key: &str) -> Result<bool, Fault> {
        self.insist(Removing(key), || self.inner().remove(key)).await
    }

    pub(super) async fn mark_stale(&self, key: &str) -> Result<(), Fault> {
        let name = format!("`mark_stale({})`", Short(key));
        self.insist(name, || self.inner().mark_stale(key)).await
    }

    /// Reports that `entry`, which is renewed already, was validated.
    pub(super) fn renewed(&self, entry: &Entry) -> Result<(), Fault> {
        let name = format!("`renewed` of {}", Shown(Some(entry)));
        self.calls.returned(name, || self.inner().renewed(entry))
    }

    pub(super) fn on_eviction(&self, listener: EvictionListener) -> Result<bool, Fault> {
        self.calls.returned("`on_eviction()`", || self.inner().on_eviction(listener))
    }

    pub(super) async fn clear(&self) -> Result<(), Fault> {
        self.insist("`clear()`", || self.inner().clear()).await
    }

    pub(super) async fn close(&self) -> Result<(), Fault> {
        self.insist("`close()`", || self.inner().close()).await
    }

    pub(super) async fn sweep(&self, now: Moment) -> Result<(), Fault> {
        self.insist(format!("`sweep({now:?})`"), || self.inner().sweep(now)).await
    }

    /// What a look-up shows, made as the contract says: without waiting, and then by waiting.
    pub(super) async fn look_up(&self, key: &str) -> Result<Option<Entry>, Fault> {
        match self.get_now(key)? {
            None => self.get(key).await,
            shown => Ok(shown),
        }
    }

    pub(super) fn get_now(&self, key: &str) -> Result<Option<Entry>, Fault> {
        self.calls.returned(format!("`get_now({})`", Short(key)), || self.inner().get_now(key))
    }

    pub(super) fn contains(&self, key: &str) -> Result<Option<bool>, Fault> {
        self.calls.returned(format!("`contains({})`", Short(key)), || self.inner().contains(key))
    }

    pub(super) fn peek(&self, key: &str) -> Result<Option<Entry>, Fault> {
        self.calls.returned(format!("`peek({})`", Short(key)), || self.inner().peek(key))
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Entry>, Fault> {
        self.insist(format!("`get({})`", Short(key)), || self.inner().get(key)).await
    }

    pub(super) fn usage(&self) -> Result<Usage, Fault> {
        self.calls.returned("`usage()`", || self.inner().usage())
    }

    /// Calls, polls at most `n_polls` times, and drops the future. Whether the call had returned.
    pub(super) async fn abandon(&self, call: Call<'_>, n_polls: usize) -> Result<bool, Fault> {
        let (backend, calls) = (self.inner(), &self.calls);
        match call {
            Call::Insert(entry) => {
                calls.abandoned(call, n_polls, || backend.insert(entry.clone())).await
            }
            Call::Remove(key) => calls.abandoned(call, n_polls, || backend.remove(key)).await,
            Call::Clear => calls.abandoned(call, n_polls, || backend.clear()).await,
            Call::Get(key) => calls.abandoned(call, n_polls, || backend.get(key)).await,
        }
    }

    /// Polls a look-up by waiting so many times, and lets its medium answer if so wished, then has
    /// `meanwhile` come to its end, and then the look-up. `None`, if the look-up came to its end
    /// before that.
    pub(super) async fn interrupt_get<T>(
        &self,
        key: &str,
        polls: (usize, bool),
        meanwhile: impl Future<Output = Result<T, Fault>>,
    ) -> Result<Option<T>, Fault> {
        let name =
            format!("`get({})`, polled {} times and left alone for a while,", Short(key), polls.0);
        self.calls.interrupted(name, polls, || self.inner().get(key), meanwhile).await
    }

    /// The same for inserts, all of which are begun before any comes to its end.
    pub(super) async fn interrupt_inserts<T>(
        &self,
        entries: &[Entry],
        polls: (usize, bool),
        meanwhile: impl Future<Output = Result<T, Fault>>,
    ) -> Result<Option<T>, Fault> {
        let name = format!(
            "{} inserts, polled {} times and left alone for a while,",
            entries.len(),
            polls.0
        );
        let inserts = || join_all(entries.iter().map(|entry| self.inner().insert(entry.clone())));
        self.calls.interrupted(name, polls, inserts, meanwhile).await
    }

    /// Expects that nothing is shown under `key`, or `allowed` alone.
    pub(super) async fn shows_nothing_but(
        &self,
        key: &str,
        allowed: Option<&Entry>,
        after: impl fmt::Display,
    ) -> Result<(), Fault> {
        match self.look_up(key).await? {
            Some(shown) if !allowed.is_some_and(|allowed| is_alike(&shown, allowed)) => {
                Err(format!(
                    "{after}, a look-up of {} shows {}; expected {}",
                    Short(key),
                    Shown(Some(&shown)),
                    allowed.map_or("nothing".to_owned(), |allowed| format!(
                        "{} or nothing",
                        Shown(Some(allowed))
                    ))
                ))
            }
            _ => Ok(()),
        }
    }

    /// Expects that `entry` is shown, if this backend is to hold what it stored.
    pub(super) async fn shows(&self, entry: &Entry, after: impl fmt::Display) -> Result<(), Fault> {
        let shown = self.look_up(entry.key()).await?;
        match &shown {
            Some(shown) if is_alike(shown, entry) => Ok(()),
            None if !self.can.holds() => Ok(()),
            _ => Err(format!(
                "{after}, a look-up of {} shows {}; expected {}",
                Short(entry.key()),
                Shown(shown.as_ref()),
                Shown(Some(entry))
            )),
        }
    }

    /// Of a backend that may fail, `None` for an error.
    async fn call<T, F: Future<Output = Result<T>>>(
        &self,
        call: impl fmt::Display,
        future: impl FnOnce() -> F,
    ) -> Result<Option<T>, Fault> {
        match self.calls.answered(&call, future).await? {
            Ok(value) => Ok(Some(value)),
            Err(_) if self.can.fails => Ok(None),
            Err(error) => Err(format!(
                "{call} failed ({:?}: {}); a backend that may do so declares `fails`",
                error.kind(),
                chain(&error)
            )),
        }
    }

    async fn insist<T, F: Future<Output = Result<T>>>(
        &self,
        call: impl fmt::Display,
        future: impl Fn() -> F,
    ) -> Result<T, Fault> {
        for _ in 0..TRIES_MAX {
            if let Some(value) = self.call(&call, &future).await? {
                return Ok(value);
            }
        }
        Err(format!(
            "{call} failed {TRIES_MAX} times one after the other: there is nothing to look at"
        ))
    }
}

/// Whether two entries say the same.
pub(super) fn is_alike(one: &Entry, other: &Entry) -> bool {
    one.is_same(other) || difference(one, other).is_none()
}

/// In what two entries differ, with what the first and the second say.
pub(super) fn difference(one: &Entry, other: &Entry) -> Option<String> {
    let differ = |what: &str, one: &dyn fmt::Debug, other: &dyn fmt::Debug| {
        Some(format!("the {what} {one:?} in the place of {other:?}"))
    };
    let (v1, v2) = (one.version(), other.version());
    if one.key() != other.key() {
        differ("key", &one.key(), &other.key())
    } else if one.body() != other.body() {
        if one.body().len() == other.body().len() {
            Some(format!("other bytes in a body of {} bytes", one.body().len()))
        } else {
            differ("length", &one.body().len(), &other.body().len())
        }
    } else if v1 != v2 || (v1.last_modified, v1.size) != (v2.last_modified, v2.size) {
        differ("version", &v1, &v2)
    } else if one.attributes() != other.attributes() {
        differ("attributes", one.attributes(), other.attributes())
    } else if one.storability() != other.storability() {
        differ("`keep`", &one.storability(), &other.storability())
    } else if one.namespace() != other.namespace() {
        differ("identity", &one.namespace(), &other.namespace())
    } else {
        None
    }
}

/// An entry that no request has validated.
pub(super) fn entry(key: &str, tag: &str, size: usize) -> Entry {
    built(key, tag, size, None)
}

/// An entry validated at `at` nanoseconds, to live for as many as `span` says.
pub(super) fn validated(key: &str, tag: &str, size: usize, at: u64, span: Option<u64>) -> Entry {
    built(key, tag, size, Some((at, span)))
}

fn built(key: &str, tag: &str, size: usize, stamp: Option<(u64, Option<u64>)>) -> Entry {
    let key = Key::parse(key).expect("rules use canonical keys");
    // The bytes of two entries differ, as far as there are any.
    let seed = tag.bytes().fold(1_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    let body = Bytes::from(vec![seed; size]);
    let builder = Entry::builder(&key, body).e_tag(format!("\"{tag}\""));
    match stamp {
        None => builder.build(),
        Some((at, span)) => {
            builder.validated(Moment::from_nanos(at), span.map(Duration::from_nanos)).build()
        }
    }
}

/// An entry, in few words.
pub(super) struct Shown<'a>(pub(super) Option<&'a Entry>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("nothing"),
            Some(entry) => {
                write!(f, "an entry of {} ", Short(entry.key()))?;
                match entry.e_tag() {
                    Some(tag) => write!(f, "with the tag {tag} ")?,
                    None => f.write_str("without a tag ")?,
                }
                write!(f, "and {} bytes", entry.body().len())
            }
        }
    }
}

pub(super) struct Inserting<'a>(pub(super) &'a Entry);

impl fmt::Display for Inserting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`insert` of {}", Shown(Some(self.0)))
    }
}

pub(super) struct Removing<'a>(pub(super) &'a str);

impl fmt::Display for Removing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`remove({})`", Short(self.0))
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Insert(entry) => Inserting(entry).fmt(f),
            Self::Remove(key) => Removing(key).fmt(f),
            Self::Clear => f.write_str("`clear()`"),
            Self::Get(key) => write!(f, "`get({})`", Short(key)),
        }
    }
}

const TRIES_MAX: usize = 1000;
