//! Lists at intervals, which keep the entries below a prefix fresh.

use std::{
    fmt,
    future::poll_fn,
    hash::BuildHasher as _,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _};

use super::{
    background::Progress,
    prefix,
    shared::Shared,
    timer::{Timer, within},
};
use crate::{Error, ErrorKind, Moment, Result, Validator};

/// The lists that [`ReadThrough::refresh_by_list`](super::ReadThrough::refresh_by_list) makes.
/// Dropping it ends them.
#[must_use = "dropping it ends the lists"]
pub struct ListRefresh {
    /// Ends the lists when it is called.
    end: Option<Box<dyn FnOnce() + Send + Sync>>,
    prefix: Box<str>,
    every: Duration,
}

/// See [`ReadThrough::refresh_by_list`](super::ReadThrough::refresh_by_list).
pub(super) fn refresh<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    prefix: &str,
    every: Duration,
) -> Result<ListRefresh> {
    if every.is_zero() {
        let message = "the interval of refresh_by_list is zero; give one";
        return Err(Error::new(ErrorKind::Config, message));
    }
    shared.tasks.check_open()?;
    let (name, weak): (Box<str>, _) = (prefix.into(), Arc::downgrade(shared));
    let start = move |progress| lists(Weak::clone(&weak), name.clone(), every, progress).boxed();
    let job = shared.background.add(start, shared.clock.now());
    let cache = Arc::downgrade(shared);
    let end = move || {
        if let Some(shared) = cache.upgrade() {
            shared.background.remove(&job);
        }
    };
    Ok(ListRefresh { end: Some(Box::new(end)), prefix: prefix.into(), every })
}

impl ListRefresh {
    /// Lets the lists go on until the cache is closed or its last handle is dropped.
    pub fn detach(mut self) {
        self.end = None;
    }
}

impl Drop for ListRefresh {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

impl fmt::Debug for ListRefresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListRefresh")
            .field("prefix", &self.prefix)
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

async fn lists<V: Validator + ?Sized>(
    cache: Weak<Shared<V>>,
    prefix: Box<str>,
    every: Duration,
    progress: Progress,
) {
    let mut has_failed = false;
    for n in 0_u64.. {
        let pause = jittered(every, n);
        // Started before the list, so that this takes nothing from the next interval.
        let mut timer = Timer::default();
        let mut elapsed = poll_fn(|context| timer.poll(pause, context));
        // A timer starts when it is first polled.
        let is_elapsed = (&mut elapsed).now_or_never().is_some();
        let Some(shared) = cache.upgrade() else { return };
        match list(&shared, &prefix, &progress).await {
            Ok(()) => has_failed = false,
            Err(error) => {
                // Once in an outage.
                if !std::mem::replace(&mut has_failed, true) {
                    let now = shared.clock.now();
                    shared.warnings.refresh_failed(&shared.settings.name, &prefix, &error, now);
                }
            }
        }
        progress.expect(limit(&shared, pause));
        drop(shared);
        if !is_elapsed {
            elapsed.await;
        }
    }
}

/// Makes one list.
async fn list<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    prefix: &str,
    progress: &Progress,
) -> Result<()> {
    let mut pages = prefix::list(shared, prefix, None).pages;
    let span = shared.settings.origin_timeout;
    loop {
        progress.expect(limit(shared, span));
        match within(span, pages.next()).await {
            Some(Some(page)) => drop(page?),
            Some(None) => return Ok(()),
            None => {
                let message = format!("a page of a list has not come after {span:?}");
                return Err(Error::new(ErrorKind::Timeout, message));
            }
        }
    }
}

/// By when a task that waits for `span` has made progress, unless its runtime is not driven.
fn limit<V: ?Sized>(shared: &Shared<V>, span: Duration) -> Moment {
    shared.clock.now().saturating_add(span).saturating_add(SLACK)
}

/// Eight to ten tenths of `every`.
fn jittered(every: Duration, n: u64) -> Duration {
    // Its seed is another one in each process, and at each call.
    let random = foldhash::quality::RandomState::default().hash_one(n) % 1001;
    every - every / 5000 * u32::try_from(random).unwrap_or_default()
}

/// How late a task may be before its runtime counts as not driven: one that is only slow would get
/// another list instead.
const SLACK: Duration = Duration::from_secs(10);
