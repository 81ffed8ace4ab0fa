//! The probe of a validator: made before the store is first relied upon, and not again.
//!
//! Reads, puts if absent and puts at a version rely on different things, so each has a part of the
//! probe of its own: a credential that may only read needs no right to delete, and a cache that
//! never writes runs no races of writers. Readers that come while a part is probed wait for it. One
//! that failed is not repeated for each of them: its error is remembered for a pause that doubles
//! with every failure in a row.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, Key, Moment, Result};
use object_store::{ObjectStore, path::Path};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    Support, ValidatorStrength,
    probe::{
        Failed, Probe, ReadSupport, objection_to_create, objection_to_lists, objection_to_update,
        unique_name,
    },
};

/// What the store was seen to keep, as far as anybody has relied on it.
pub(crate) struct Verifier {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    /// How long each request of the probe may take, and a reader may wait for another's probe.
    limit: Duration,
    prefix: Path,
    /// All probes of this validator use one name, so that few objects stay behind however many
    /// fail.
    name: String,
    reads: Part<ReadSupport>,
    lists: Part<Support>,
    create: Part<Support>,
    update: Part<Support>,
}

impl Verifier {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>, limit: Duration) -> Self {
        let prefix = Path::from(PREFIX);
        let name = unique_name(&prefix);
        Self {
            store,
            clock,
            limit,
            prefix,
            name,
            reads: Part::default(),
            lists: Part::default(),
            create: Part::default(),
            update: Part::default(),
        }
    }

    /// An error if a "not modified" of the store cannot be taken for `strength`, or that could not
    /// be found out.
    pub(crate) async fn for_reads(&self, strength: ValidatorStrength) -> Result<()> {
        let probe = || async { self.probe().reads().await };
        let seen = self.reads.get(self, probe).await?;
        accept(seen.objection(strength))
    }

    /// The same for what a list shows.
    pub(crate) async fn for_lists(&self) -> Result<()> {
        let probe = || async { self.probe().lists().await };
        accept(objection_to_lists(*self.lists.get(self, probe).await?))
    }

    /// The same for a put if there is no object yet.
    pub(crate) async fn for_create(&self) -> Result<()> {
        let probe = || async { self.probe().create().await };
        accept(objection_to_create(*self.create.get(self, probe).await?))
    }

    /// The same for a put if the object is at a version.
    pub(crate) async fn for_update(&self) -> Result<()> {
        let probe = || async { self.probe().update().await };
        accept(objection_to_update(*self.update.get(self, probe).await?))
    }

    fn probe(&self) -> Probe<'_> {
        // One name lets a later probe reuse a dropped one's objects; the limit bounds each request.
        // mutant: probe_arguments
        Probe::new(&*self.store, &self.prefix, &self.name, Some(self.limit))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("reads", &self.reads.seen)
            .field("lists", &self.lists.seen)
            .field("create", &self.create.seen)
            .field("update", &self.update.seen)
            .finish_non_exhaustive()
    }
}

/// A part of the probe, and what came of it.
struct Part<T> {
    seen: OnceLock<T>,
    /// The last failure. Whoever holds the lock probes; all others wait for it.
    failure: Mutex<Option<Failure>>,
}

struct Failure {
    error: Error,
    /// Until when the error stands for the store.
    until: Moment,
    pause: Duration,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self { seen: OnceLock::new(), failure: Mutex::new(None) }
    }
}

impl<T> Part<T> {
    /// What was seen. Probes, unless that was done, is being done, or failed a moment ago.
    async fn get<F>(&self, verifier: &Verifier, probe: impl FnOnce() -> F + Send) -> Result<&T>
    where
        F: Future<Output = Result<(T, usize), Failed>> + Send,
    {
        if let Some(seen) = self.seen.get() {
            return Ok(seen);
        }
        // The reader that probes may be on a runtime that nobody drives any more.
        let Ok(mut failure) = timeout(verifier.limit, self.failure.lock()).await else {
            return Err(waited_too_long(verifier.limit));
        };
        if let Some(seen) = self.seen.get() {
            return Ok(seen);
        }
        // Reads share the failure until the pause is over, so that they do not all probe.
        // mutant: probe_pause
        if let Some(last) = failure.as_ref().filter(|last| verifier.clock.now() < last.until) {
            return Err(last.error.clone());
        }
        // The pause doubles, so a store that stays down is probed less and less often.
        // mutant: probe_backoff
        let pause = failure.as_ref().map_or(PAUSE_MIN, |last| (last.pause * 2).min(PAUSE_MAX));
        match probe().await {
            Ok((seen, _)) => {
                *failure = None;
                Ok(self.seen.get_or_init(|| seen))
            }
            Err(failed) => {
                let error = not_verified(failed, pause);
                let until = verifier.clock.now().saturating_add(pause);
                *failure = Some(Failure { error: error.clone(), until, pause });
                Err(error)
            }
        }
    }
}

/// A failure as its readers see it: about the probe's object, never theirs.
fn not_verified(Failed { error, action }: Failed, pause: Duration) -> Error {
    let (kind, why) = match error.kind() {
        kind @ (ErrorKind::Unavailable | ErrorKind::Timeout) => {
            (kind, "it failed to answer".to_owned())
        }
        // Whatever else these credentials are used for fails as well.
        kind @ ErrorKind::Unauthenticated => {
            (kind, "it does not know these credentials".to_owned())
        }
        ErrorKind::PermissionDenied => {
            (ErrorKind::Config, format!("its credentials have no right to {action} there"))
        }
        _ => (ErrorKind::Config, format!("it refused to {action}")),
    };
    let message = format!(
        "the store is not verified: {why}; verify_store needs the rights to GET, PUT and, to \
            clean up, \
         DELETE under {PREFIX}/; it tries again after {pause:?}"
    );
    about_the_probe(Error::new(kind, message), error.key()).with_source(error)
}

fn waited_too_long(limit: Duration) -> Error {
    let message =
        format!("the probe of the store by another reader had not ended within {limit:?}");
    about_the_probe(Error::new(ErrorKind::Timeout, message), None)
}

fn accept(objection: Option<&'static str>) -> Result<()> {
    let Some(objection) = objection else { return Ok(()) };
    let message =
        format!("{objection}; use another store, or do without verify_store if that is acceptable");
    Err(about_the_probe(Error::new(ErrorKind::Config, message), None))
}

/// `error` with the key of the probe's object, or at least its prefix, lest it gets that of the
/// reader who came first.
fn about_the_probe(error: Error, key: Option<&str>) -> Error {
    match Key::parse(key.unwrap_or(PREFIX)) {
        Ok(key) => error.with_key(&key),
        Err(_) => error,
    }
}

/// Where the probe writes.
const PREFIX: &str = "object-cache-probe";

/// How long the first failure is remembered, and any.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
