//! A slow backend.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use cache_core::{Error, ErrorKind};
use cache_testkit::{BackendAction, BackendCall, Gate, HookBackend, MapBackend};

/// The switches and counters of a slow backend: look-ups of heads wait at one gate, inserts of
/// blocks at another.
#[derive(Default)]
pub(crate) struct Slow {
    pub(crate) look_ups: Gate,
    pub(crate) blocks: Gate,
    /// Inserts fail.
    pub(crate) fails: AtomicBool,
    /// Two inserts of one block overlapped.
    pub(crate) overlapped: AtomicBool,
    pub(crate) n_blocks: AtomicUsize,
    pub(crate) n_removed: AtomicUsize,
    inserting: Mutex<HashSet<String>>,
}

/// Returns a slow backend and its switches.
pub(crate) fn slow() -> (Arc<Slow>, Arc<HookBackend>) {
    let slow = Arc::new(Slow::default());
    let backend = HookBackend::new(MapBackend::new(), {
        let slow = Arc::clone(&slow);
        move |call| slow.before(call)
    });
    (slow, Arc::new(backend))
}

impl Slow {
    fn before(self: &Arc<Self>, call: BackendCall<'_>) -> BackendAction {
        let slow = Arc::clone(self);
        match call {
            BackendCall::GetNow(key) | BackendCall::Peek(key) if !key.starts_with("b/") => {
                BackendAction::Miss
            }
            BackendCall::Get(_) => BackendAction::wait(async move {
                slow.look_ups.pass().await;
                BackendAction::Proceed
            }),
            BackendCall::Insert(entry) => {
                let key = entry.key().to_owned();
                BackendAction::wait(async move { slow.insert(key).await })
            }
            BackendCall::Remove(_) => {
                self.n_removed.fetch_add(1, Ordering::Relaxed);
                BackendAction::Proceed
            }
            _ => BackendAction::Proceed,
        }
    }

    async fn insert(&self, key: String) -> BackendAction {
        if key.starts_with("b/") {
            self.n_blocks.fetch_add(1, Ordering::Relaxed);
            if !self.inserting.lock().unwrap().insert(key.clone()) {
                self.overlapped.store(true, Ordering::Relaxed);
            }
            self.blocks.pass().await;
            self.inserting.lock().unwrap().remove(&key);
        }
        if self.fails.load(Ordering::Relaxed) {
            return BackendAction::Fail(Error::new(ErrorKind::Backend, "told to fail"));
        }
        BackendAction::Proceed
    }
}
