//! Where requests wait until a test lets them go.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::sync::{oneshot, watch};

/// The requests that are held, oldest first.
pub(crate) struct Holds {
    held: watch::Sender<VecDeque<(u64, oneshot::Sender<()>)>>,
    next_id: AtomicU64,
}

impl Holds {
    /// Waits to be released. A dropped future is not held any more.
    pub(crate) async fn hold(&self) {
        let place = Place { holds: self, id: self.next_id.fetch_add(1, Ordering::Relaxed) };
        let (open, opened) = oneshot::channel();
        self.held.send_modify(|held| held.push_back((place.id, open)));
        opened.await.expect("only a release takes the sender of a held request");
    }

    pub(crate) async fn wait_until_held(&self, n: usize) {
        let mut held = self.held.subscribe();
        held.wait_for(|held| held.len() >= n).await.expect("they outlive the borrow");
    }

    pub(crate) fn release(&self, n: usize) {
        self.held.send_modify(|held| {
            for (_, open) in held.drain(..n.min(held.len())) {
                // A request that was dropped just now needs no release.
                let _ = open.send(());
            }
        });
    }
}

impl Default for Holds {
    fn default() -> Self {
        Self { held: watch::Sender::new(VecDeque::new()), next_id: AtomicU64::new(0) }
    }
}

/// Takes a request out of the queue, however its wait ends.
struct Place<'a> {
    holds: &'a Holds,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.holds.held.send_modify(|held| held.retain(|(id, _)| *id != self.id));
    }
}
