//! `cargo xtask simulate`: trace replays, here with the caches that we measure ourselves against.
//!
//! Each peer gets the capacity as its user would give it, with its own default settings, but foyer in one shard, so
//! that its capacity is exact and its policy ranks all entries: there it is at its best. By bytes, its weigher says
//! the object's size.
//!
//! | name | what is driven |
//! | --- | --- |
//! | `peer:moka` | moka's `sync::Cache` (TinyLFU); `run_pending_tasks` after each insert |
//! | `peer:moka-lru` | the same with `EvictionPolicy::lru` |
//! | `peer:quick_cache` | quick_cache's `sync::Cache`, with as many shards as it chooses |
//! | `peer:quick_cache-unsync` | its `unsync::Cache`: one shard |
//! | `peer:foyer-…` | foyer-memory's `Cache` with that eviction, one shard |
//!
//! A weight is at most 4 GiB in moka: larger objects count as that.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use foyer_memory::{EvictionConfig, FifoConfig, LfuConfig, LruConfig, S3FifoConfig};
use simulate::{
    Result,
    ours::{Cache, Subject},
    setting::{Setting, Unit},
    trace::Request,
};

fn main() -> ExitCode {
    simulate::replay::main(&[
        Subject {
            name: "peer:moka",
            build: |setting| moka(setting, moka::policy::EvictionPolicy::tiny_lfu()),
        },
        Subject {
            name: "peer:moka-lru",
            build: |setting| moka(setting, moka::policy::EvictionPolicy::lru()),
        },
        Subject { name: "peer:quick_cache", build: quick_cache },
        Subject { name: "peer:quick_cache-unsync", build: quick_cache_unsync },
        Subject { name: "peer:foyer-fifo", build: |setting| foyer(setting, FifoConfig::default()) },
        Subject { name: "peer:foyer-lru", build: |setting| foyer(setting, LruConfig::default()) },
        Subject { name: "peer:foyer-lfu", build: |setting| foyer(setting, LfuConfig::default()) },
        Subject { name: "peer:foyer-s3fifo", build: |setting| foyer(setting, S3FifoConfig::default()) },
        Subject {
            name: "peer:foyer-sieve",
            build: |setting| foyer(setting, EvictionConfig::Sieve(Default::default())),
        },
    ])
}

/// Holds the weight of each object.
struct Peer<C> {
    cache: C,
    unit: Unit,
}

fn moka(setting: Setting, policy: moka::policy::EvictionPolicy) -> Result<Box<dyn Cache>> {
    let builder = moka::sync::Cache::builder().max_capacity(setting.capacity).eviction_policy(policy);
    let weigh = |_: &u32, weight: &u64| u32::try_from(*weight).unwrap_or(u32::MAX);
    Ok(Box::new(Peer { cache: builder.weigher(weigh).build(), unit: setting.unit }))
}

impl Cache for Peer<moka::sync::Cache<u32, u64>> {
    fn request(&mut self, Request { object, size }: Request) -> bool {
        let is_hit = self.cache.get(&object).is_some();
        if !is_hit {
            self.cache.insert(object, self.unit.weight(size));
            self.cache.run_pending_tasks();
        }
        is_hit
    }
}

#[derive(Clone)]
struct ByValue;

impl quick_cache::Weighter<u32, u64> for ByValue {
    fn weight(&self, _: &u32, weight: &u64) -> u64 {
        *weight
    }
}

fn quick_cache_unsync(setting: Setting) -> Result<Box<dyn Cache>> {
    let expected = usize::try_from(setting.expected_entries)?;
    let cache = quick_cache::unsync::Cache::with_weighter(expected, setting.capacity, ByValue);
    Ok(Box::new(Peer { cache, unit: setting.unit }))
}

impl Cache for Peer<quick_cache::unsync::Cache<u32, u64, ByValue>> {
    fn request(&mut self, Request { object, size }: Request) -> bool {
        let is_hit = self.cache.get(&object).is_some();
        if !is_hit {
            self.cache.insert(object, self.unit.weight(size));
        }
        is_hit
    }
}

fn quick_cache(setting: Setting) -> Result<Box<dyn Cache>> {
    let expected = usize::try_from(setting.expected_entries)?;
    let cache = quick_cache::sync::Cache::with_weighter(expected, setting.capacity, ByValue);
    Ok(Box::new(Peer { cache, unit: setting.unit }))
}

impl Cache for Peer<quick_cache::sync::Cache<u32, u64, ByValue>> {
    fn request(&mut self, Request { object, size }: Request) -> bool {
        let is_hit = self.cache.get(&object).is_some();
        if !is_hit {
            self.cache.insert(object, self.unit.weight(size));
        }
        is_hit
    }
}

fn foyer(setting: Setting, eviction: impl Into<EvictionConfig>) -> Result<Box<dyn Cache>> {
    let weigh = |_: &u32, weight: &u64| usize::try_from(*weight).unwrap_or(usize::MAX);
    let builder = foyer_memory::CacheBuilder::new(usize::try_from(setting.capacity)?)
        .with_shards(1)
        .with_eviction_config(eviction)
        .with_weighter(weigh);
    let cache: foyer_memory::Cache<u32, u64> = builder.build();
    Ok(Box::new(Peer { cache, unit: setting.unit }))
}

impl Cache for Peer<foyer_memory::Cache<u32, u64>> {
    fn request(&mut self, Request { object, size }: Request) -> bool {
        let is_hit = self.cache.get(&object).is_some();
        if !is_hit {
            self.cache.insert(object, self.unit.weight(size));
        }
        is_hit
    }
}
