//! The conformance kit over a backend that is made of foyer's hybrid cache: it must find the rules
//! that such a backend breaks. Here, and not in the kit, so that only the benchmarks build foyer.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{Admission, Backend, Entry, Error, ErrorKind, Moment, Result, Usage};
use cache_testkit::conformance::backend::{self, Capabilities, Suite};
use foyer::{
    BlockEngineConfig, DeviceBuilder as _, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy,
};

/// Entries as bytes in a hybrid cache: what most people would write.
struct FoyerBackend(HybridCache<String, Bytes>);

impl FoyerBackend {
    async fn open(path: &Path) -> Self {
        let device = FsDeviceBuilder::new(path).with_capacity(64 << 20).build();
        let engine = BlockEngineConfig::new(device.expect("the directory is usable"));
        let cache = HybridCacheBuilder::new()
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .memory(1)
            .with_shards(1)
            .storage()
            .with_engine_config(engine.with_block_size(4 << 20))
            .build()
            .await;
        Self(cache.expect("the settings are right"))
    }
}

#[async_trait]
impl Backend for FoyerBackend {
    fn get_now(&self, _: &str) -> Option<Entry> {
        None
    }

    fn peek(&self, _: &str) -> Option<Entry> {
        None
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let found = self.0.get(&key.to_owned()).await.map_err(failed)?;
        found.map(|found| Entry::from_bytes(found.value())).transpose()
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        self.0.insert(entry.key().to_owned(), entry.to_bytes());
        Ok(Admission::stored())
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        self.0.remove(key);
        Ok(true)
    }

    async fn clear(&self) -> Result<()> {
        self.0.clear().await.map_err(failed)
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await.map_err(failed)
    }

    async fn sweep(&self, _: Moment) -> Result<()> {
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Backend, "foyer failed").with_source(error)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kit_finds_what_a_backend_over_foyer_breaks() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_owned();
    // The weakest claims: it may lose, refuse and fail whatever it likes.
    let can = Capabilities::new().waits().fails().refuses().forgets().counts_one_tier();
    let suite = Suite::new(can, move |number| {
        let path = path.join(number.to_string());
        async move { Arc::new(FoyerBackend::open(&path).await) as Arc<dyn Backend> }
    });
    let broken = backend::check(&suite).await.expect_err("it keeps all rules");
    println!("{broken}");
    // A removed or replaced entry is shown again until its write is done.
    let stale = ["a_removed_entry_is_not_shown", "an_entry_replaced_in_a_burst_is_not_shown"];
    assert!(broken.rules().any(|rule| stale.contains(&rule)), "{broken}");
}
