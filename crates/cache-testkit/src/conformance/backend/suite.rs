//! A kind of backend under test.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::Backend;
use futures_util::future::BoxFuture;

use super::{capabilities::Capabilities, probe::Probe};
use crate::conformance::{Broken, Fault, Outcome, PATIENCE, bounds::Calls, checked};

/// A kind of backend under test.
#[derive(Clone)]
pub struct Suite {
    open: Arc<Open>,
    pub(super) can: Capabilities,
    n_opened: Arc<AtomicU64>,
    patience: Duration,
    pub(super) calls: Calls,
}

type Open = dyn Fn(u64) -> BoxFuture<'static, Arc<dyn Backend>> + Send + Sync;

impl Suite {
    /// Backends that `open` opens. Each number that it is called with stands for a medium of its
    /// own, which is empty the first time: memory ignores the number, what lives on disk makes a
    /// folder's name of it. A number comes again only if the backend [outlives the
    /// process](Capabilities::outlives_the_process).
    ///
    /// Open them small: some rules fill a backend, and leave one alone whose capacity is more than
    /// 16 MiB. Right are 1 MiB and, where entries are limited, 50; it must have room for 40
    /// entries, and for a body of 256 KiB.
    pub fn new<F>(
        capabilities: Capabilities,
        open: impl Fn(u64) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Arc<dyn Backend>> + Send + 'static,
    {
        let open = Arc::new(move |number| Box::pin(open(number)) as BoxFuture<'static, _>);
        let (n_opened, calls) = (Arc::default(), Calls::new());
        Self { open, can: capabilities, n_opened, patience: PATIENCE, calls }
    }

    /// How long a rule may make no progress before it is given up, and what it waits for is
    /// reported. Default: [`PATIENCE`]. Zero gives up what does not come at once.
    #[must_use]
    pub fn patience(mut self, span: Duration) -> Self {
        self.patience = span;
        self
    }

    /// A backend on a medium that nobody has seen.
    pub(super) async fn open(&self) -> Result<Probe, Fault> {
        self.open_at(self.number()).await
    }

    pub(super) fn number(&self) -> u64 {
        self.n_opened.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) async fn open_at(&self, number: u64) -> Result<Probe, Fault> {
        let backend = self.calls.answered("opening the backend", || (self.open)(number)).await?;
        Ok(Probe::new(backend, self.can.clone(), self.calls.clone()))
    }

    /// What became of `rule`, as `checking` finds it.
    pub(super) async fn checked(
        &self,
        rule: &'static str,
        checking: impl AsyncFnOnce(&Self) -> Result<Outcome, Fault> + Send + 'static,
    ) -> Result<Outcome, Broken> {
        let suite = Self { calls: Calls::new(), ..self.clone() };
        let calls = suite.calls.clone();
        checked(rule, self.patience, calls, 1, async move || checking(&suite).await).await
    }

    /// What became of `rule`, in which `checking` finds nothing or a fault.
    pub(super) async fn kept(
        &self,
        rule: &'static str,
        checking: impl AsyncFnOnce(&Self) -> Result<(), Fault> + Send + 'static,
    ) -> Result<Outcome, Broken> {
        self.checked(rule, async move |suite| checking(suite).await.map(|()| Outcome::Kept)).await
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("can", &self.can).finish_non_exhaustive()
    }
}
