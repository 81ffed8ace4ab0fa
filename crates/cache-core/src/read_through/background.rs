//! The background tasks of a cache: lists at intervals, and the listener of a bus.
//!
//! A job is added when the cache is built or later, perhaps outside of a runtime. Its task is
//! started on the runtime of the next request if it does not run yet, has ended, or has made no
//! progress for too long: its runtime may be shut down or not driven any more.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, task::JoinHandle};

use super::shared::Shared;
use crate::{
    Moment,
    sync::{Mutex, lock},
};

/// The jobs of a cache.
pub(super) struct Background<V: ?Sized> {
    jobs: Mutex<Vec<Arc<Job<V>>>>,
    /// There were jobs: most caches have none, and each request looks for them.
    is_used: AtomicBool,
}

/// Work that goes on until the cache is closed or the job removed.
pub(super) struct Job<V: ?Sized> {
    start: Box<Start<V>>,
    task: Mutex<Option<JoinHandle<()>>>,
    progress: Progress,
}

/// Makes the task of a job. It ends when the cache is dropped.
type Start<V> = dyn Fn(Weak<Shared<V>>, Progress) -> BoxFuture<'static, ()> + Send + Sync;

/// By when a task will have made progress, in nanoseconds; zero before it starts.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// The task calls this again before `by`, unless its runtime is not driven.
    pub(super) fn expect(&self, by: Moment) {
        self.0.store(by.as_nanos(), Ordering::Release);
    }

    fn is_overdue(&self, now: Moment) -> bool {
        let by = self.0.load(Ordering::Acquire);
        by != 0 && now.as_nanos() >= by
    }
}

impl<V: Send + Sync + ?Sized + 'static> Background<V> {
    /// Adds a job, and starts it if the caller is on a runtime.
    pub(super) fn add(
        shared: &Arc<Shared<V>>,
        start: impl Fn(Weak<Shared<V>>, Progress) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Arc<Job<V>> {
        let (task, progress) = (Mutex::new(None), Progress::default());
        let job = Arc::new(Job { start: Box::new(start), task, progress });
        lock(&shared.background.jobs).push(Arc::clone(&job));
        shared.background.is_used.store(true, Ordering::Release);
        if let Ok(runtime) = Handle::try_current() {
            job.ensure(shared, &runtime);
        }
        job
    }

    /// Ends a job.
    pub(super) fn remove(&self, job: &Arc<Job<V>>) {
        lock(&self.jobs).retain(|other| !Arc::ptr_eq(other, job));
        job.stop();
    }

    /// Starts all jobs that do not run.
    pub(super) fn ensure(shared: &Arc<Shared<V>>, runtime: &Handle) {
        if !shared.background.is_used.load(Ordering::Acquire) {
            return;
        }
        for job in &*lock(&shared.background.jobs) {
            job.ensure(shared, runtime);
        }
    }

    /// Ends all jobs.
    pub(super) fn stop(&self) {
        for job in &*lock(&self.jobs) {
            job.stop();
        }
    }
}

impl<V: Send + Sync + ?Sized + 'static> Job<V> {
    fn ensure(&self, shared: &Arc<Shared<V>>, runtime: &Handle) {
        let (now, _) = shared.clock.coarse_bounds();
        let mut task = lock(&self.task);
        let runs = task.as_ref().is_some_and(|task| !task.is_finished());
        // Checked under the lock, which `stop` takes after the cache was closed.
        if shared.tasks.is_closed() || (runs && !self.progress.is_overdue(now)) {
            return;
        }
        if let Some(left_alone) = task.take() {
            left_alone.abort();
        }
        self.progress.expect(Moment::MAX);
        *task = Some(runtime.spawn((self.start)(Arc::downgrade(shared), self.progress.clone())));
    }
}

impl<V: ?Sized> Job<V> {
    fn stop(&self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

impl<V: ?Sized> Default for Background<V> {
    fn default() -> Self {
        Self { jobs: Mutex::default(), is_used: AtomicBool::new(false) }
    }
}

impl<V: ?Sized> Drop for Background<V> {
    fn drop(&mut self) {
        for job in &*lock(&self.jobs) {
            job.stop();
        }
    }
}
