//! The same for a cache that is an object store itself: objects with ranges and lists, in several
//! nodes' caches over one store.
//!
//! What is simulated is behind [`CachedObjects`], which the crate of the cache implements. Each
//! byte of a body tells where it is and of which value, so that bytes of two versions never pass
//! for one.

mod play;
mod schedule;
#[cfg(test)]
mod tests;
mod world;

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use cache_core::{Clock, Freshness, Status};
use object_store::{GetOptions, GetResult, ObjectStore, path::Path};

pub use self::schedule::{Part, Plan, Planned, Schedule};
use super::{Explored, Failure, explored, played};
use crate::history::{History, Rule, Violation};

/// A cache that is an object store, in front of another one.
///
/// A read's freshness is in the extensions of its options, as a [`Freshness`].
#[async_trait]
pub trait CachedObjects: Send + Sync + 'static {
    /// The store, as callers see it.
    fn objects(&self) -> &dyn ObjectStore;

    /// `options` of a read that the store behind it answers.
    fn past_the_cache(&self, options: GetOptions) -> GetOptions;

    /// `options` of a read that makes no request.
    fn only_if_cached(&self, options: GetOptions) -> GetOptions;

    /// How a read was answered. `None`: by the store behind it, as if there were no cache.
    fn status(&self, answer: &GetResult) -> Option<Status>;

    /// How a read was answered that found the object not modified. `None`, the default: by the
    /// store behind it.
    fn status_of_error(&self, error: &object_store::Error) -> Option<Status> {
        let _ = error;
        None
    }

    /// How long it may take to act on what an answer shows, if its backend waits. Default: it does
    /// so at once.
    fn hearing_takes(&self) -> Duration {
        Duration::ZERO
    }

    /// Forgets an object. Whether that succeeded.
    async fn invalidate(&self, location: &Path) -> bool;

    /// Forgets the objects whose paths begin with `prefix`. Whether that succeeded.
    fn invalidate_prefix(&self, prefix: &str) -> bool;

    /// Forgets everything. Whether that succeeded.
    async fn clear(&self) -> bool;

    /// Ends the cache.
    async fn close(&self);
}

/// What a cache is made of.
#[non_exhaustive]
pub struct Opening<'a> {
    /// What is drawn for it is drawn from this.
    pub seed: u64,
    /// Whose cache it is.
    pub node: usize,
    /// The store behind it.
    pub store: Arc<dyn ObjectStore>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// The freshness of reads that do not say theirs.
    pub freshness: Freshness,
    /// Its other settings.
    pub schedule: &'a Schedule,
}

impl fmt::Debug for Opening<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("seed", &self.seed)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Opens the cache of a node. What it makes may evict, refuse, wait and fail, and must draw on
/// nothing but the seed.
pub type Opens<'a> = dyn Fn(&Opening<'_>) -> Arc<dyn CachedObjects> + Sync + 'a;

/// Plays `schedule` to its end, and until nothing is in flight any more.
///
/// # Panics
///
/// If a cache does so on its caller's side; inside of a tokio runtime.
pub fn run(schedule: &Schedule, opens: &Opens<'_>) -> History {
    played(schedule.seed, play::play(schedule, opens))
}

/// Plays `schedule` and holds its history against the rules, but for those `left_out`.
///
/// # Errors
///
/// The rule that is broken; a panic breaks [`Rule::Recorded`].
pub fn check(
    schedule: &Schedule,
    opens: &Opens<'_>,
    left_out: &[Rule],
) -> Result<History, Violation> {
    super::checked(|| run(schedule, opens), left_out)
}

/// Checks the schedules of all `seeds` with `nodes` nodes, up to the first that breaks a rule,
/// which is shrunk.
///
/// # Errors
///
/// That schedule.
pub fn explore(
    seeds: Range<u64>,
    nodes: usize,
    opens: &Opens<'_>,
    left_out: &[Rule],
) -> Result<Explored, Box<Failure<Schedule>>> {
    explored(seeds, |seed| Schedule::new(seed, nodes), |schedule| check(schedule, opens, left_out))
}

/// How long a cache waits for an answer, where the schedule says nothing: longer than any simulated
/// answer takes.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
