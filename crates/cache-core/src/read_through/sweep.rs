//! Expired entries leave by themselves.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinHandle};

use super::{Settings, Shared, held::caught};
use crate::Result;

/// The task that sweeps the backend now and then: started with the first flight or write, stopped with the last
/// handle of the cache. If its runtime is shut down, the next flight on another one starts it again.
#[derive(Debug)]
pub(super) struct Sweeper {
    every: Option<Duration>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Sweeper {
    /// An eighth of the shortest span after which something expires; never, if nothing does.
    pub(super) fn new(settings: &Settings) -> Self {
        Self { every: Self::every(settings), task: Mutex::default() }
    }

    /// The span between two sweeps.
    pub(super) fn every(settings: &Settings) -> Option<Duration> {
        let negative = Some(settings.negative_ttl).filter(|span| !span.is_zero());
        let shortest = settings.time_to_live.into_iter().chain(negative).min();
        shortest.map(|shortest| (shortest / 8).clamp(EVERY_MIN, EVERY_MAX))
    }

    /// Starts the task unless it runs.
    pub(super) fn ensure<V: Send + Sync + ?Sized + 'static>(
        &self,
        shared: &Arc<Shared<V>>,
        runtime: &Handle,
    ) {
        let Some(every) = self.every else { return };
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at under the lock, which `stop` takes after the cache was closed.
        if shared.tasks.is_closed() || task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let weak = Arc::downgrade(shared);
        *task = Some(runtime.spawn(async move {
            // In a runtime without time there is no sweep; once is enough to find out.
            if caught(sweep_every(every, weak)).await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
    }

    pub(super) fn stop(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

async fn sweep_every<V: ?Sized>(every: Duration, cache: Weak<Shared<V>>) -> Result<()> {
    loop {
        tokio::time::sleep(every).await;
        let Some(shared) = cache.upgrade() else { return Ok(()) };
        let now = shared.clock.now();
        // A failure is counted; the next call comes all the same.
        let _ = shared.backend_call(shared.backend.sweep(now)).await;
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop();
    }
}

const EVERY_MIN: Duration = Duration::from_millis(50);
const EVERY_MAX: Duration = Duration::from_secs(60);
