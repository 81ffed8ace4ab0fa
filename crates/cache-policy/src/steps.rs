//! Long work in steps.

use std::{future::poll_fn, mem, task::Poll};

/// Yields to other tasks, on any executor, after each [`STEP`] pieces of work.
pub(crate) struct Steps {
    n_left: usize,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { n_left: STEP }
    }

    /// Counts one piece of work.
    pub(crate) async fn done_one(&mut self) {
        self.n_left -= 1;
        if self.n_left == 0 {
            self.n_left = STEP;
            let_others_run().await;
        }
    }
}

/// Yields once to other tasks.
pub(crate) async fn let_others_run() {
    let mut is_back = false;
    poll_fn(|context| {
        if mem::replace(&mut is_back, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The number of entries that are dropped, or visited, before other tasks run: some 50
/// microseconds with small bodies.
pub(crate) const STEP: usize = 256;
