//! The contract of backends, as the conformance kit checks it.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::{Admission, Backend, Entry, Moment, Rejection, Result, Usage};
use cache_policy::MokaBackend;
use cache_testkit::conformance::backend::{self, Capabilities, Suite};

use crate::support::{memory, open, tier};

async fn check<M: Backend>(
    capabilities: Capabilities,
    memory: impl Fn() -> M + Send + Sync + 'static,
) {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, memory) = (directory.path().to_owned(), Arc::new(memory));
    let capabilities = capabilities.waits().counts_one_tier().outlives_the_process();
    let suite = Suite::new(capabilities, move |number| {
        let (path, memory) = (path.join(number.to_string()), memory());
        async move { Arc::new(open(memory, tier(&path)).await) as Arc<dyn Backend> }
    });
    let report = backend::check(&suite).await.unwrap_or_else(|broken| panic!("{broken}"));
    println!("{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_memory_for_everything() {
    check(Capabilities::new().sweeps(), || memory(u64::MAX >> 1, 17 << 20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_memory_for_one_entry() {
    check(Capabilities::new().sweeps(), || memory(1, 1 << 20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_memory_for_fifty_entries() {
    check(Capabilities::new().sweeps(), || memory(50, 1 << 20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_memory_for_one_block() {
    check(Capabilities::new().sweeps(), || memory(u64::MAX >> 1, 300 << 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_memory_that_does_not_tell_what_it_evicts() {
    let moka = || MokaBackend::builder().max_entries(10).build().expect("the settings are right");
    check(Capabilities::new(), moka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory() {
    // Nothing is there for what cannot be revalidated.
    check(Capabilities::new().refuses(), || NoMemory).await;
}

/// Memory that keeps nothing: the engine alone.
struct NoMemory;

#[async_trait]
impl Backend for NoMemory {
    fn get_now(&self, _: &str) -> Option<Entry> {
        None
    }

    fn peek(&self, _: &str) -> Option<Entry> {
        None
    }

    async fn get(&self, _: &str) -> Result<Option<Entry>> {
        Ok(None)
    }

    fn insert_now(&self, _: Entry) -> Result<Admission, Entry> {
        Ok(Admission::rejected(Rejection::Policy))
    }

    async fn insert(&self, _: Entry) -> Result<Admission> {
        Ok(Admission::rejected(Rejection::Policy))
    }

    async fn remove(&self, _: &str) -> Result<bool> {
        Ok(false)
    }

    async fn clear(&self) -> Result<()> {
        Ok(())
    }

    async fn sweep(&self, _: Moment) -> Result<()> {
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
