//! The faults of one store, origin or server, and the requests that they hold until a test lets
//! them go.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{oneshot, watch};

/// A fault that may hold the requests to which it happens.
pub(crate) trait Holding {
    fn is_hold(&self) -> bool;
}

/// Faults of the kind `F`, in the order in which they were added, and the requests that are held.
pub(crate) struct Faults<F> {
    list: Mutex<Vec<Arc<F>>>,
    held: watch::Sender<Held>,
    next_id: AtomicU64,
}

/// The requests that are held, oldest first.
#[derive(Default)]
struct Held {
    queue: VecDeque<(u64, oneshot::Sender<()>)>,
    /// How often all were released, those included that were yet to be held.
    n_amnesties: u64,
}

/// When a request learnt of its faults: the amnesties from then on are for it too.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Since(u64);

impl<F: Holding> Faults<F> {
    pub(crate) fn add(&self, fault: F) {
        self.list().push(Arc::new(fault));
    }

    pub(crate) fn len(&self) -> usize {
        self.list().len()
    }

    /// The faults that a request which comes now may meet.
    pub(crate) fn now(&self) -> (Vec<Arc<F>>, Since) {
        let list = self.list();
        (list.clone(), Since(self.held.borrow().n_amnesties))
    }

    /// Takes every fault away and lets all requests go that came before.
    pub(crate) fn heal(&self) {
        self.let_go_of_all(|_| false);
    }

    /// Takes every hold away and lets all requests go that came before: those that are held, and
    /// those that would have been, a moment later.
    pub(crate) fn release_all(&self) {
        self.let_go_of_all(|fault| !fault.is_hold());
    }

    /// Lets the `n` requests go that have been held longest.
    pub(crate) fn release(&self, n: usize) {
        self.held.send_modify(|held| held.release(n));
    }

    pub(crate) async fn wait_until_held(&self, n: usize) {
        let mut held = self.held.subscribe();
        held.wait_for(|held| held.queue.len() >= n).await.expect("they outlive the borrow");
    }

    /// Waits to be released. A dropped future is not held any more.
    pub(crate) async fn hold(&self, since: Since) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (open, opened) = oneshot::channel();
        let is_held = self.held.send_if_modified(|held| {
            let is_held = held.n_amnesties == since.0;
            if is_held {
                held.queue.push_back((id, open));
            }
            is_held
        });
        if is_held {
            let _place = Place { held: &self.held, id };
            opened.await.expect("only a release takes the sender of a held request");
        }
    }

    fn let_go_of_all(&self, stays: impl Fn(&F) -> bool) {
        // Under the lock: a request either comes before, with the faults and the amnesty, or after,
        // with neither.
        let mut list = self.list();
        list.retain(|fault| stays(fault));
        self.held.send_modify(|held| {
            held.n_amnesties += 1;
            held.release(usize::MAX);
        });
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<F>>> {
        self.list.lock().expect("no code of others runs under this lock")
    }
}

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self { list: Mutex::default(), held: watch::Sender::default(), next_id: AtomicU64::new(0) }
    }
}

impl Held {
    fn release(&mut self, n: usize) {
        for (_, open) in self.queue.drain(..n.min(self.queue.len())) {
            // A request that was dropped just now needs no release.
            let _ = open.send(());
        }
    }
}

/// Takes a request out of the queue, however its wait ends.
struct Place<'a> {
    held: &'a watch::Sender<Held>,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.held.send_modify(|held| held.queue.retain(|(id, _)| *id != self.id));
    }
}
