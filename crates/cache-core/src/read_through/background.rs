//! The background tasks of a cache: lists at intervals, and the listener of a bus.
//!
//! A job is added when the cache is built or later, perhaps outside of a runtime. Its task is
//! started on the runtime of the next request if it does not run yet, has ended, or has made no
//! progress for too long: its runtime may be shut down or not driven any more.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    Moment,
    sync::{Mutex, lock},
};

/// The jobs of a cache.
pub(super) struct Background {
    jobs: Mutex<Vec<Arc<Job>>>,
    /// There were jobs: most caches have none, and each request looks for them.
    is_used: AtomicBool,
    is_stopped: AtomicBool,
}

/// Work that goes on until the cache is closed or the job removed.
pub(super) struct Job {
    start: Box<Start>,
    task: Mutex<Option<JoinHandle<()>>>,
    progress: Progress,
}

/// Makes the task of a job, which keeps no cache alive.
type Start = dyn Fn(Progress) -> BoxFuture<'static, ()> + Send + Sync;

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

impl Background {
    /// Adds a job, and starts it if the caller is on a runtime.
    pub(super) fn add(
        &self,
        start: impl Fn(Progress) -> BoxFuture<'static, ()> + Send + Sync + 'static,
        now: Moment,
    ) -> Arc<Job> {
        let (task, progress) = (Mutex::new(None), Progress::default());
        let job = Arc::new(Job { start: Box::new(start), task, progress });
        lock(&self.jobs).push(Arc::clone(&job));
        self.is_used.store(true, Ordering::Release);
        if let Ok(runtime) = Handle::try_current() {
            job.ensure(&runtime, now, &self.is_stopped);
        }
        job
    }

    /// Ends a job.
    pub(super) fn remove(&self, job: &Arc<Job>) {
        lock(&self.jobs).retain(|other| !Arc::ptr_eq(other, job));
        job.stop();
    }

    /// Starts all jobs that do not run.
    pub(super) fn ensure(&self, runtime: &Handle, now: Moment) {
        if !self.is_used.load(Ordering::Acquire) {
            return;
        }
        for job in &*lock(&self.jobs) {
            job.ensure(runtime, now, &self.is_stopped);
        }
    }

    /// Ends all jobs, for good.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        for job in &*lock(&self.jobs) {
            job.stop();
        }
    }
}

impl Job {
    fn ensure(&self, runtime: &Handle, now: Moment, is_stopped: &AtomicBool) {
        let mut task = lock(&self.task);
        let runs = task.as_ref().is_some_and(|task| !task.is_finished());
        // Checked under the lock, which `stop` takes afterwards.
        if is_stopped.load(Ordering::Acquire) || (runs && !self.progress.is_overdue(now)) {
            return;
        }
        if let Some(left_alone) = task.take() {
            left_alone.abort();
        }
        self.progress.expect(Moment::MAX);
        *task = Some(runtime.spawn((self.start)(self.progress.clone())));
    }
}

impl Job {
    fn stop(&self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

impl Default for Background {
    fn default() -> Self {
        Self { jobs: Mutex::default(), is_used: false.into(), is_stopped: false.into() }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for job in &*lock(&self.jobs) {
            job.stop();
        }
    }
}
