//! The tasks that flights and writes run in.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{runtime::Handle, sync::Notify};

use crate::{Error, ErrorKind, Result};

/// Counts the tasks of a cache, so that `close` can wait for their end.
#[derive(Debug, Default, Clone)]
pub(super) struct Tasks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: AtomicUsize,
    /// Somebody waits for the end of all, or has done so.
    awaited: AtomicBool,
    ended: Notify,
}

impl Tasks {
    /// Runs `task` to its end, whoever goes away, but for the runtime that `handle` is of.
    pub(super) fn spawn(&self, handle: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        let counted = self.count();
        handle.spawn(async move {
            let _counted = counted;
            task.await;
        });
    }

    /// Counts as a task, until it is dropped.
    pub(super) fn count(&self) -> Counted {
        self.0.running.fetch_add(1, Ordering::AcqRel);
        Counted(Arc::clone(&self.0))
    }

    /// Waits until no task is running.
    pub(super) async fn idle(&self) {
        // Either the last task sees this, or its end is seen here.
        self.0.awaited.store(true, Ordering::SeqCst);
        loop {
            let ended = self.0.ended.notified();
            if self.0.running.load(Ordering::SeqCst) == 0 {
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
        Error::new(ErrorKind::Config, "asking the origin needs a tokio runtime; call from inside one")
            .with_source(outside)
    })
}

/// A task, or what a reader drives in its place.
pub(super) struct Counted(Arc<Inner>);

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.awaited.load(Ordering::SeqCst) {
            self.0.ended.notify_waiters();
        }
    }
}
