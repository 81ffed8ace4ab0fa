//! The tasks that flights and writes run in.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::Notify};

use crate::{
    Error, ErrorKind, Result,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Counts the tasks of a cache, so that `close` can wait for their end.
#[derive(Debug, Default, Clone)]
pub(super) struct Tasks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many run, and `AWAITED` once somebody has waited for the end of all.
    running: AtomicUsize,
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
        loop {
            let ended = self.0.ended.notified();
            // Either the last task sees this, or its end is seen here.
            if self.0.running.fetch_or(AWAITED, Ordering::AcqRel) & !AWAITED == 0 {
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
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == AWAITED + 1 {
            self.0.ended.notify_waiters();
        }
    }
}

const AWAITED: usize = 1 << (usize::BITS - 1);

#[cfg(all(test, object_cache_loom))]
mod model {
    use loom::{future::block_on, thread};

    use super::*;

    /// However the two meet, the one who waits learns of the end.
    #[test]
    fn the_last_task_wakes_who_waits() {
        loom::model(|| {
            let tasks = Tasks::default();
            let counted = [tasks.count(), tasks.count()];
            let ends = counted.map(|counted| thread::spawn(move || drop(counted)));
            block_on(tasks.idle());
            for end in ends {
                end.join().unwrap();
            }
        });
    }
}
