//! `cargo xtask simulate`: trace replays, with the peers.
//!
//! Each peer gets the capacity as its user would set it, with its own defaults; but foyer has one
//! shard, so that its capacity is exact and its policy ranks all entries: its best case. For
//! capacities in bytes, the weigher returns the object's size.
//!
//! | name | cache |
//! | --- | --- |
//! | `peer:moka` | moka's `sync::Cache` (TinyLFU); `run_pending_tasks` after each insert |
//! | `peer:moka-lru` | the same with `EvictionPolicy::lru` |
//! | `peer:quick_cache` | quick_cache's `sync::Cache`, with its default number of shards |
//! | `peer:quick_cache-unsync` | its `unsync::Cache`: one shard |
//! | `peer:foyer-…` | foyer-memory's `Cache` with that eviction, one shard |
//!
//! A weight is at most 4 GiB in moka: larger objects count as 4 GiB.
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
        Subject {
            name: "peer:foyer-s3fifo",
            build: |setting| foyer(setting, S3FifoConfig::default()),
        },
        Subject {
            name: "peer:foyer-sieve",
            build: |setting| foyer(setting, EvictionConfig::Sieve(Default::default())),
        },
    ])
}

/// A cache whose values are the weights of the objects. `request` looks an object up and inserts it
/// after a miss; returns whether it was a hit.
struct Peer<F> {
    request: F,
    unit: Unit,
}

impl<F: FnMut(u32, u64) -> bool> Cache for Peer<F> {
    fn request(&mut self, Request { object, size }: Request) -> bool {
        (self.request)(object, self.unit.weight(size))
    }
}

fn moka(setting: Setting, policy: moka::policy::EvictionPolicy) -> Result<Box<dyn Cache>> {
    let builder = moka::sync::Cache::builder().max_capacity(setting.capacity);
    let weigh = |_: &u32, weight: &u64| u32::try_from(*weight).unwrap_or(u32::MAX);
    let cache = builder.eviction_policy(policy).weigher(weigh).build();
    let request = move |object, weight| {
        cache.get(&object).is_some() || {
            cache.insert(object, weight);
            cache.run_pending_tasks();
            false
        }
    };
    Ok(Box::new(Peer { request, unit: setting.unit }))
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
    let mut cache = quick_cache::unsync::Cache::with_weighter(expected, setting.capacity, ByValue);
    let request = move |object, weight| {
        cache.get(&object).is_some() || {
            cache.insert(object, weight);
            false
        }
    };
    Ok(Box::new(Peer { request, unit: setting.unit }))
}

fn quick_cache(setting: Setting) -> Result<Box<dyn Cache>> {
    let expected = usize::try_from(setting.expected_entries)?;
    let cache = quick_cache::sync::Cache::with_weighter(expected, setting.capacity, ByValue);
    let request = move |object, weight| {
        cache.get(&object).is_some() || {
            cache.insert(object, weight);
            false
        }
    };
    Ok(Box::new(Peer { request, unit: setting.unit }))
}

fn foyer(setting: Setting, eviction: impl Into<EvictionConfig>) -> Result<Box<dyn Cache>> {
    let cache: foyer_memory::Cache<u32, u64> =
        foyer_memory::CacheBuilder::new(usize::try_from(setting.capacity)?)
            .with_shards(1)
            .with_eviction_config(eviction)
            .with_weighter(|_, weight| usize::try_from(*weight).unwrap_or(usize::MAX))
            .build();
    let request = move |object, weight| {
        cache.get(&object).is_some() || {
            cache.insert(object, weight);
            false
        }
    };
    Ok(Box::new(Peer { request, unit: setting.unit }))
}
