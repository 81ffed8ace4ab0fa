//! A stream of the changes of all objects below a prefix.

use std::{
    cmp::Ordering,
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use cache_core::{ErrorKind, Key, Result, Version};
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};

use super::rounds::{Rounds, is_final};
use crate::ObjectCache;

/// A change of an object below a prefix, from one list to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrefixChange {
    /// An object that was not there, or of which the first list has told. Its version is `None` on
    /// a store whose lists have no ETags.
    #[non_exhaustive]
    Added {
        /// The object's key.
        key: Key,
        /// The listed version.
        version: Option<Version>,
    },
    /// Another version of an object.
    #[non_exhaustive]
    Modified {
        /// The object's key.
        key: Key,
        /// The listed version.
        version: Option<Version>,
    },
    /// An object that is not there any more.
    #[non_exhaustive]
    Removed {
        /// The object's key.
        key: Key,
        /// The version that was listed last.
        version: Option<Version>,
    },
}

/// A stream of the changes of all objects whose keys begin with a prefix: first the present ones as
/// [`PrefixChange::Added`], then each difference between a list and the one before, in the order of
/// the keys. From [`ObjectCache::watch_prefix`].
///
/// While it is polled, it lists at once, and then once per interval and once after each signal of a
/// change below the prefix: a write through this cache, or a message on its
/// [change bus](crate::ChangeBus). Signals are hints, so the interval bounds how late a change is
/// seen; with a bus it can be long. Signals cause at most ten lists a second; a list that took
/// longer delays the next one. It yields no object itself: `get` it. The list has also renewed or
/// marked the cached objects, so an unchanged one costs no request under a `max_age`. Versions
/// between two lists are not seen, nor is an object that was removed and written again with the
/// same ETag.
///
/// An error is yielded once for each kind, and the lists go on: after an outage the differences to
/// the last list that succeeded come. It ends after `InvalidKey`, `Closed`, `Unsupported` (the
/// store has no lists) and `Config` (an interval of zero, or no tokio runtime with time enabled).
///
/// It can be polled in one runtime after another: if it waited for something in a runtime that is
/// no longer driven, it starts again in the one that polls it.
///
/// Dropping it stops it. Between two polls nothing runs but a list that was started. It keeps the
/// key and the version of each object, and a handle to the cache.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use cache_facade::{ObjectCache, PrefixChange, object_store::memory::InMemory};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> cache_facade::Result<()> {
/// # let cache = ObjectCache::builder(Arc::new(InMemory::new())).build()?;
/// cache.put("rules/a", "1").await?;
/// let mut changes = cache.watch_prefix("rules/", Duration::from_secs(10));
/// let Some(Ok(PrefixChange::Added { key, .. })) = changes.next().await else { panic!() };
/// assert_eq!(key.as_str(), "rules/a");
///
/// cache.put("rules/a", "2").await?; // Or another node does.
/// let Some(Ok(PrefixChange::Modified { key, .. })) = changes.next().await else { panic!() };
/// assert_eq!(cache.get(key.as_str()).await?.bytes(), "2");
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is listed before it is polled"]
pub struct PrefixWatch {
    prefix: String,
    every: Duration,
    changes: Pin<Box<dyn Stream<Item = Result<PrefixChange>> + Send>>,
}

impl ObjectCache {
    /// Returns a stream of the changes of all objects whose keys begin with `prefix`, byte for
    /// byte: see [`PrefixWatch`]. Makes one list (of S3: a request for each 1,000 objects) every
    /// `every`, and one after each signal of a change, only while the stream is polled.
    pub fn watch_prefix(&self, prefix: &str, every: Duration) -> PrefixWatch {
        PrefixWatch::new(self.clone(), prefix, every)
    }
}

impl PrefixWatch {
    fn new(cache: ObjectCache, prefix: &str, every: Duration) -> Self {
        // Before the first list: a change after it is not missed.
        let changes = match Rounds::new(every, cache.changes_below(prefix)) {
            Ok(rounds) => {
                let lists = Lists {
                    cache,
                    prefix: prefix.to_owned(),
                    rounds,
                    last: Vec::new(),
                    error: None,
                    due: VecDeque::new(),
                };
                stream::unfold(lists, Lists::next_change).fuse().boxed()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        };
        Self { prefix: prefix.to_owned(), every, changes }
    }

    /// Returns the next change or error; `None` at the end. Dropping the future loses nothing: the
    /// next call continues.
    pub async fn next(&mut self) -> Option<Result<PrefixChange>> {
        self.changes.next().await
    }
}

impl Stream for PrefixWatch {
    type Item = Result<PrefixChange>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.changes.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for PrefixWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrefixWatch")
            .field("prefix", &self.prefix)
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

/// The objects of a list in the order of their keys, each once.
type Objects = Vec<(Key, Option<Version>)>;

/// The repeated lists.
struct Lists {
    cache: ObjectCache,
    prefix: String,
    rounds: Rounds<Objects>,
    /// The last list that succeeded.
    last: Objects,
    /// The error of the last list, if it failed.
    error: Option<ErrorKind>,
    /// The changes that have not been yielded yet.
    due: VecDeque<PrefixChange>,
}

impl Lists {
    async fn next_change(mut self) -> Option<(Result<PrefixChange>, Self)> {
        let (cache, prefix) = (self.cache.clone(), self.prefix.clone());
        let list = move || list(cache.clone(), prefix.clone());
        loop {
            if let Some(change) = self.due.pop_front() {
                return Some((Ok(change), self));
            }
            if self.has_ended() {
                return None;
            }
            match self.rounds.next(&list).await {
                Ok(objects) => {
                    self.error = None;
                    self.due = differences(&self.last, &objects);
                    self.last = objects;
                }
                Err(error) => {
                    if self.error.replace(error.kind()) != Some(error.kind()) {
                        return Some((Err(error), self));
                    }
                }
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.error.is_some_and(|kind| kind == ErrorKind::Unsupported || is_final(kind))
    }
}

/// Lists all objects below `prefix`.
async fn list(cache: ObjectCache, prefix: String) -> Result<Objects> {
    let mut pages = cache.read_through().list(&prefix);
    let mut objects = Vec::new();
    while let Some(page) = pages.next().await {
        objects.extend(page?.objects.into_iter().map(|object| {
            let version = object.version().cloned();
            (object.key, version)
        }));
    }
    // A store may list in another order, or an object on two pages: the later one is newer.
    objects.sort_by(|(one, _), (other, _)| one.cmp(other));
    objects.reverse();
    objects.dedup_by(|(one, _), (other, _)| one == other);
    objects.reverse();
    Ok(objects)
}

/// Returns the changes from one list to the next, in the order of the keys.
fn differences(before: &Objects, after: &Objects) -> VecDeque<PrefixChange> {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    let mut changes = VecDeque::new();
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let old = before.next_if(|_| order != Ordering::Greater);
        let new = after.next_if(|_| order != Ordering::Less);
        match (old.cloned(), new.cloned()) {
            (Some((key, version)), None) => {
                changes.push_back(PrefixChange::Removed { key, version });
            }
            (None, Some((key, version))) => changes.push_back(PrefixChange::Added { key, version }),
            (Some((_, old)), Some((key, version))) if old != version => {
                changes.push_back(PrefixChange::Modified { key, version });
            }
            _ => {}
        }
    }
}
