//! The tasks that flights and writes run in.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::Notify};

use crate::{
    Error, ErrorKind, Result,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Counts the tasks of a cache, so that `close` can wait for their end. Whether the cache is closed
/// is in the same number: a call that is counted first and then finds the cache open is waited for.
#[derive(Debug, Default, Clone)]
pub(super) struct TaskTracker(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many run, and `CLOSED` once the cache is.
    running: AtomicUsize,
    /// How many have ended.
    n_ended: AtomicUsize,
    ended: Notify,
}

impl TaskTracker {
    /// Counts a call as a task, until it is dropped, if the cache is open.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub(super) fn enter(&self) -> Result<TaskToken> {
        let token = self.count();
        self.check_open()?;
        Ok(token)
    }

    /// Counts as a task, until it is dropped. What is not begun by something that is counted must
    /// find the cache open afterwards: see [`enter`](Self::enter).
    pub(super) fn count(&self) -> TaskToken {
        self.0.running.fetch_add(1, Ordering::AcqRel);
        TaskToken(Arc::clone(&self.0))
    }

    /// # Errors
    ///
    /// `Closed`.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.is_closed() {
            return Err(Self::closed());
        }
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.running.load(Ordering::Acquire) & CLOSED != 0
    }

    /// How many have ended so far.
    pub(super) fn n_ended(&self) -> usize {
        self.0.n_ended.load(Ordering::Relaxed)
    }

    /// From here on nobody enters. How many tasks are running.
    pub(super) fn close(&self) -> usize {
        self.0.running.fetch_or(CLOSED, Ordering::AcqRel) & !CLOSED
    }

    /// The error of a call that came too late.
    pub(super) fn closed() -> Error {
        Error::new(ErrorKind::Closed, "the cache was closed; build a new one")
    }

    /// Closes, and waits until no task is running.
    pub(super) async fn idle(&self) {
        loop {
            let ended = self.0.ended.notified();
            // Either the last task sees that it is closed, or its end is seen here.
            if self.close() == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// The runtime that the caller is in.
///
/// # Errors
///
/// `Config` outside of one.
pub(super) fn runtime() -> Result<Handle> {
    Handle::try_current().map_err(|outside| {
        Error::new(
            ErrorKind::Config,
            "asking the origin needs a tokio runtime; call from inside one",
        )
        .with_source(outside)
    })
}

/// A task, or what a reader drives in its place.
pub(super) struct TaskToken(Arc<Inner>);

impl TaskToken {
    /// Runs `task` to its end, whoever goes away, but for the runtime that `handle` is of.
    pub(super) fn spawn(self, handle: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        handle.spawn(async move {
            let _counted = self;
            task.await;
        });
    }
}

impl Drop for TaskToken {
    fn drop(&mut self) {
        self.0.n_ended.fetch_add(1, Ordering::Relaxed);
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == CLOSED + 1 {
            self.0.ended.notify_waiters();
        }
    }
}

const CLOSED: usize = 1 << (usize::BITS - 1);

#[cfg(all(test, object_cache_loom))]
mod model {
    use loom::{future::block_on, thread};

    use crate::sync::atomic::AtomicBool;

    use super::*;

    /// However a call and `close` meet: once `close` is over, so is what the call did, or it did
    /// nothing.
    #[test]
    fn who_closes_waits_for_every_call_that_entered() {
        loom::model(|| {
            let tasks = TaskTracker::default();
            let ended = Arc::new(AtomicBool::new(false));
            let call = thread::spawn({
                let (tasks, ended) = (tasks.clone(), Arc::clone(&ended));
                move || {
                    let entered = tasks.enter();
                    ended.store(entered.is_ok(), Ordering::Relaxed);
                    entered.is_ok()
                }
            });
            tasks.close();
            block_on(tasks.idle());
            let had_ended = ended.load(Ordering::Relaxed);
            assert_eq!(call.join().unwrap(), had_ended, "a call went on after the close");
            assert!(tasks.enter().is_err());
        });
    }

    /// However the two meet, the one who waits learns of the end.
    #[test]
    fn the_last_task_wakes_who_waits() {
        loom::model(|| {
            let tasks = TaskTracker::default();
            let tokens = [tasks.count(), tasks.count()];
            let ends = tokens.map(|token| thread::spawn(move || drop(token)));
            block_on(tasks.idle());
            for end in ends {
                end.join().unwrap();
            }
        });
    }
}
