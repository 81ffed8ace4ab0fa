//! Caches, and reads and writes of every kind that they count.

use std::{fmt::Debug, sync::Arc, time::Duration};

use cache_facade::{
    CachedStoreBuilder, Eviction, Freshness, ObjectCache, PutCondition,
    cache_metrics::Registry,
    cache_store::{Bypass, CachedStore, OnlyIfCached},
    object_store::{
        GetOptions, ObjectStore, ObjectStoreExt,
        memory::InMemory,
        path::Path,
        throttle::{ThrottleConfig, ThrottledStore},
    },
};
use cache_testkit::{
    Failure, Fault, FaultyStore, MapBackend, Operation, TagFault, TokioClock, WaitingBackend,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{advance, timeout},
};

/// Three caches over one bucket, in virtual time: nothing here waits.
pub(crate) struct Traffic {
    runtime: Runtime,
    registry: Registry,
    bucket: FaultyStore,
    /// Holds a few small objects.
    objects: ObjectCache,
    /// Holds an object by its blocks.
    blocks: CachedStore,
    /// Its backend fails.
    broken: ObjectCache,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

impl Traffic {
    pub(crate) fn new() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let clock = runtime.block_on(async { Arc::new(TokioClock::new()) });
        let latency = ThrottleConfig {
            wait_get_per_call: LATENCY,
            wait_put_per_call: LATENCY,
            wait_delete_per_call: LATENCY,
            wait_list_with_delimiter_per_call: LATENCY,
            ..ThrottleConfig::default()
        };
        let bucket = FaultyStore::new(Arc::new(ThrottledStore::new(InMemory::new(), latency)));
        let freshness = Freshness::max_age(MAX_AGE).stale_if_error(MAX_AGE);
        let cache = |name: &str| {
            ObjectCache::builder(Arc::new(bucket.clone()))
                .name(name)
                .freshness(freshness)
                .time_to_live(TIME_TO_LIVE)
                .clock(Arc::clone(&clock) as _)
        };
        let objects = cache("objects")
            .patience(PATIENCE)
            .max_capacity(64 * KIB)
            // Leaves out what brings few hits for its size.
            .eviction(Eviction::Gdsf)
            .build()?;
        let broken = cache("broken")
            .max_in_flight(1)
            .backend(Arc::new(WaitingBackend::new(MapBackend::new(), 200, 7)))
            .build()?;
        let blocks = CachedStoreBuilder::new(Arc::new(bucket.clone()))
            .name("blocks")
            .freshness(freshness)
            .block_size(KIB)
            .clock(clock)
            .build()?;
        let registry = Registry::new();
        registry.add(&objects);
        registry.add(&blocks);
        registry.add(&broken);
        Ok(Self { runtime, registry, bucket, objects, blocks, broken })
    }

    pub(crate) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Has everything happen that is counted, at least once.
    pub(crate) fn run(&self) -> Result<()> {
        self.runtime.block_on(async {
            self.reads().await?;
            self.failures().await?;
            self.writes().await?;
            self.room().await?;
            self.blocks().await?;
            // One waits for the other's permit.
            let (one, other) = tokio::join!(self.broken.get("none"), self.broken.get("neither"));
            fails(one)?;
            fails(other)?;
            for n in 0..64 {
                self.write(&format!("broken/{n}"), KIB).await?;
                self.broken.get(&format!("broken/{n}")).await?;
            }
            Ok(())
        })
    }

    async fn reads(&self) -> Result<()> {
        self.write("page", KIB).await?;
        let (first, second) = tokio::join!(self.objects.get("page"), self.objects.get("page"));
        first?;
        second?;
        // Of these some have their age measured.
        for _ in 0..200 {
            self.objects.get("page").await?;
        }
        advance(MAX_AGE).await;
        self.objects.get("page").await?;
        self.write("page", 2 * KIB).await?;
        advance(MAX_AGE).await;
        self.objects.get("page").await?;
        self.bucket.inner().delete(&Path::from("page")).await?;
        advance(MAX_AGE).await;
        fails(self.objects.get("page").await)
    }

    async fn failures(&self) -> Result<()> {
        self.write("page", KIB).await?;
        self.objects.get("page").await?;
        advance(MAX_AGE).await;
        self.fault(Fault::error(Failure::Unavailable).on(Operation::Get));
        // The copy is stale, and the store fails.
        self.objects.get("page").await?;
        self.fault(Fault::error(Failure::PermissionDenied).on(Operation::Get));
        fails(self.objects.get("secret").await)?;
        // The first request is given up, and the second one answered.
        self.fault(Fault::hang().on(Operation::Get));
        self.objects.get("page").await?;
        Ok(())
    }

    async fn writes(&self) -> Result<()> {
        for name in ["page", "other"] {
            self.objects.put(name, "new").await?;
        }
        fails(self.objects.put_if("page", "newer", PutCondition::Absent).await)?;
        self.fault(Fault::error(Failure::Unavailable).on(Operation::Put));
        fails(self.objects.put("page", "newer").await)?;
        fails(timeout(LATENCY / 2, self.objects.put("page", "newer")).await)?;

        self.fault(Fault::error(Failure::PermissionDenied).on(Operation::Delete));
        fails(self.objects.delete("page").await)?;
        self.fault(Fault::error(Failure::Unavailable).on(Operation::Delete));
        fails(self.objects.delete("page").await)?;
        fails(timeout(LATENCY / 2, self.objects.delete("page")).await)?;
        self.objects.delete("page").await?;
        self.objects.invalidate("other").await?;
        Ok(())
    }

    /// Copies leave, or do not come.
    async fn room(&self) -> Result<()> {
        for n in 0..200 {
            let name = format!("crowd/{n}");
            self.write(&name, KIB).await?;
            for _ in 0..n % 3 {
                self.objects.get(&name).await?;
            }
        }
        for (name, len) in [("large", 32), ("too-large", 100)] {
            self.write(name, len * KIB).await?;
            self.objects.get(name).await?;
        }
        self.write("nameless", KIB).await?;
        self.fault(Fault::tag(TagFault::Missing));
        self.fault(Fault::last_modified(None));
        self.objects.get("nameless").await?;
        advance(TIME_TO_LIVE).await;
        for n in 0..200 {
            self.objects.get(&format!("crowd/{n}")).await?;
        }
        Ok(())
    }

    async fn blocks(&self) -> Result<()> {
        let path = Path::from("table");
        let part = |n: u64| n * KIB..(n + 1) * KIB;
        self.write("table", 32 * KIB).await?;
        self.blocks.get_range(&path, part(0)).await?;
        self.blocks.get_range(&path, part(0)).await?;
        // The version is known: only the block is asked for.
        self.blocks.get_range(&path, part(4)).await?;
        self.fault(Fault::error(Failure::Unavailable).on(Operation::Get));
        fails(self.blocks.get_range(&path, part(8)).await)?;
        fails(timeout(LATENCY / 2, self.blocks.get_range(&path, part(12))).await)?;
        // That version is not there any more.
        self.write("table", 31 * KIB).await?;
        self.blocks.get_range(&path, part(16)).await?;
        // Conditions of the caller's own.
        let current = self.blocks.head(&path).await?.e_tag;
        let unless = GetOptions { if_none_match: current, ..GetOptions::default() };
        fails(self.blocks.get_opts(&path, unless).await)?;
        let only_if = GetOptions { if_match: Some("\"another\"".to_owned()), ..GetOptions::default() };
        fails(self.blocks.get_opts(&path, only_if).await)?;
        let mut only_cached = GetOptions::default();
        only_cached.extensions.insert(OnlyIfCached);
        fails(self.blocks.get_opts(&Path::from("not cached"), only_cached).await)?;
        drop(self.blocks.get(&path).await?);
        // What is handed on fares as anything else.
        let mut bypass = GetOptions::default();
        bypass.extensions.insert(Bypass);
        let handed_on = async || Ok(self.blocks.get_opts(&path, bypass.clone()).await?.bytes().await?);
        self.fares(Operation::Get, handed_on).await?;
        self.fares(Operation::ListWithDelimiter, async || Ok(self.blocks.list_with_delimiter(None).await?))
            .await?;
        let to = Path::from("copy");
        self.fares(Operation::Copy, async || Ok(self.blocks.copy(&path, &to).await?)).await?;
        self.fares(Operation::StartMultipart, async || Ok(self.blocks.put_multipart(&to).await?)).await?;
        let mut upload = self.blocks.put_multipart(&to).await?;
        upload.put_part("part".into()).await?;
        upload.complete().await?;
        let rename = async || {
            self.write("table", 31 * KIB).await?;
            Ok(self.blocks.rename(&path, &to).await?)
        };
        self.fares(Operation::Rename, rename).await?;
        Ok(())
    }

    /// Asks what ends with each outcome: done, refused, failed, and given up.
    async fn fares<T: Debug>(&self, operation: Operation, ask: impl AsyncFn() -> Result<T>) -> Result<()> {
        ask().await?;
        for failure in [Failure::PermissionDenied, Failure::Unavailable] {
            self.fault(Fault::error(failure).on(operation));
            fails(ask().await)?;
        }
        self.fault(Fault::hang().on(operation));
        fails(timeout(2 * LATENCY, ask()).await)
    }

    /// What another node does.
    async fn write(&self, name: &str, len: u64) -> Result<()> {
        let body = vec![0; usize::try_from(len)?];
        self.bucket.inner().put(&Path::from(name), body.into()).await?;
        Ok(())
    }

    fn fault(&self, fault: Fault) {
        self.bucket.fault(fault.once());
    }
}

fn fails<T: Debug, E: Debug>(result: std::result::Result<T, E>) -> Result<()> {
    match result {
        Ok(answer) => Err(format!("this should have failed: {answer:?}").into()),
        Err(_) => Ok(()),
    }
}

const KIB: u64 = 1024;
const LATENCY: Duration = Duration::from_millis(20);
const MAX_AGE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(1);
const TIME_TO_LIVE: Duration = Duration::from_secs(3600);
