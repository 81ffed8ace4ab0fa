//! Two nodes over one bucket, under load for minutes, over a store that fails in every way it can.

mod bodies;
mod load;
pub(crate) mod server;

use std::{fmt, sync::Arc, time::Duration};

use bench_harness::Stopwatch;
use cache_facade::{Freshness, Memory, ObjectCache, object_store::ObjectStore};
use cache_testkit::S3Server;
use object_store::{BackoffConfig, RetryConfig};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use self::{
    load::{Load, Tally},
    server::Child,
};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) span: Duration,
    pub(crate) seed: u64,
}

/// What came of it.
pub(crate) struct Report {
    pub(crate) figures: Value,
    /// What must hold and does not.
    pub(crate) broken: Vec<String>,
}

/// Runs the load, ends it, and looks for what is left.
pub(crate) async fn run(settings: Settings) -> Result<Report, Box<dyn std::error::Error>> {
    let mut child = Child::start(settings.seed)?;
    let rss_before = resident_bytes();
    let store: Arc<dyn ObjectStore> = Arc::new(
        S3Server::client_builder_of(child.address)
            .with_retry(RetryConfig {
                max_retries: 1,
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(1),
                    max_backoff: Duration::from_millis(2),
                    base: 2.0,
                },
                ..RetryConfig::default()
            })
            .build()?,
    );
    let nodes = [node("a", &store)?, node("b", &store)?];
    let mut broken = Vec::new();

    let load = Arc::new(Load::new(nodes.clone(), settings));
    let sampler = tokio::spawn(sample(nodes.clone(), settings.span));
    let workers: Vec<_> = (0..WORKERS).map(|n| tokio::spawn(Arc::clone(&load).work(n))).collect();
    let all = async {
        for worker in workers {
            worker.await?;
        }
        Ok::<_, tokio::task::JoinError>(())
    };
    if let Ok(ended) = tokio::time::timeout(settings.span + GRACE, all).await {
        ended?;
    } else {
        broken.push(format!("somebody waits for an answer {GRACE:?} after the end"));
    }
    let samples = sampler.await?;
    child.heal()?;

    for node in &nodes {
        if !soon(|| node.read_through().keys_in_flight() == 0).await {
            broken.push(format!(
                "{}: {} keys are in flight",
                node.name(),
                node.read_through().keys_in_flight()
            ));
        }
    }
    let tally = load.tally();
    check_answers(&nodes, &tally, &mut broken);
    check_accounts(&nodes, &mut broken);
    check_memory(&samples, &mut broken);
    let figures = json!({
        "seconds": settings.span.as_secs(),
        "seed": settings.seed,
        "keys": bodies::KEYS,
        "capacity_bytes": CAPACITY * nodes.len() as u64,
        "reads": tally.answered + tally.failed + tally.dropped,
        "reads_answered": tally.answered,
        "reads_failed": tally.failed,
        "reads_dropped": tally.dropped,
        "failures": tally.failures,
        "writes": tally.writes,
        "nodes": nodes.iter().map(figures_of).collect::<Vec<_>>(),
        "resident_bytes_before": rss_before,
        "resident_bytes_max": samples.iter().map(|sample| sample.resident_bytes).max(),
        "resident_bytes": samples.iter().map(|sample| sample.resident_bytes).collect::<Vec<_>>(),
        "held_bytes_max": samples.iter().map(|sample| sample.held_bytes).max(),
        "server": child.end()?,
    });

    for node in &nodes {
        node.close().await?;
    }
    drop((load, nodes, store));
    // The client's connections end with it.
    let handle = Handle::current();
    if !soon(|| handle.metrics().num_alive_tasks() == 0).await {
        broken.push(format!("{} tasks are left", handle.metrics().num_alive_tasks()));
    }
    Ok(Report { figures, broken })
}

fn node(name: &str, store: &Arc<dyn ObjectStore>) -> cache_facade::Result<ObjectCache> {
    let second = Duration::from_secs(1);
    let lax = Freshness::max_age(second).stale_while_revalidate(second).stale_if_error(10 * second);
    ObjectCache::builder(Arc::clone(store))
        .name(name)
        .freshness(lax)
        .freshness_for(bodies::STRONG, Freshness::strong())
        .negative_ttl(second)
        .origin_timeout(second)
        .patience(second / 4)
        .backend(Memory::new().max_capacity(CAPACITY))
        .build()
}

/// Every read was counted once, as what it was, and none came to an end that nobody asked for.
fn check_answers(nodes: &[ObjectCache; 2], tally: &Tally, broken: &mut Vec<String>) {
    let counted: u64 = nodes.iter().map(|node| node.stats().gets()).sum();
    let answered = tally.answered + tally.failed;
    if counted != answered {
        broken.push(format!("the nodes counted {counted} reads, {answered} came to an end"));
    }
    broken.extend(tally.wrong.iter().cloned());
}

/// What a node says that it holds is what it holds.
fn check_accounts(nodes: &[ObjectCache; 2], broken: &mut Vec<String>) {
    for node in nodes {
        let backend = node.read_through().backend();
        // What expires is swept meanwhile, so both are read until they are of one moment.
        let (said, held) = loop {
            let before = backend.usage();
            let held = bodies::all_keys().filter_map(|key| backend.peek(&key));
            let held = held.fold((0, 0), |(n, bytes), entry| (n + 1, bytes + entry.weight()));
            let after = backend.usage();
            if before == after {
                break ((after.entries, after.bytes), held);
            }
        };
        if said != held {
            broken.push(format!("{}: says {said:?} entries and bytes, holds {held:?}", node.name()));
        }
    }
}

fn check_memory(samples: &[Sample], broken: &mut Vec<String>) {
    let most = samples.iter().map(|sample| sample.held_bytes).max().unwrap_or_default();
    if most > 2 * CAPACITY {
        broken.push(format!("{most} bytes were held"));
    }
    let limit = 2 * CAPACITY * RESIDENT_PERCENT / 100;
    match samples.iter().map(|sample| sample.resident_bytes).max() {
        Some(Some(most)) if most > limit => {
            broken.push(format!("{most} bytes were resident, of at most {limit}"));
        }
        Some(Some(_)) => {}
        _ => eprintln!("soak: this system does not say how much memory is resident; not checked"),
    }
}

fn figures_of(node: &ObjectCache) -> Value {
    let stats = node.stats();
    json!({
        "node": node.name(),
        "hit_ratio": stats.hit_ratio(),
        "fresh": stats.fresh,
        "revalidated": stats.revalidated,
        "stale": stats.stale,
        "fetched": stats.fetched,
        "refetched": stats.refetched,
        "not_found": stats.not_found,
        "errors": stats.errors,
        "coalesced": stats.coalesced,
        "evictions": stats.evictions,
        "entries": stats.entries,
        "bytes": stats.bytes,
        "requests": stats.origin.requests(),
        "requests_failed": stats.origin.failed,
    })
}

/// How it was at one moment.
struct Sample {
    /// `None` where the system does not say.
    resident_bytes: Option<u64>,
    held_bytes: u64,
}

/// A sample each second.
async fn sample(nodes: [ObjectCache; 2], span: Duration) -> Vec<Sample> {
    let (start, mut samples) = (Stopwatch::start(), Vec::new());
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    while start.elapsed() < span {
        seconds.tick().await;
        let held_bytes = nodes.iter().map(|node| node.stats().bytes).sum();
        samples.push(Sample { resident_bytes: resident_bytes(), held_bytes });
    }
    samples
}

/// What the system says that this process occupies.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Whether it comes to hold.
async fn soon(holds: impl Fn() -> bool) -> bool {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(GRACE, wait).await.is_ok()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = self.figures.as_object().into_iter().flatten();
        for (name, value) in figures.filter(|(name, _)| *name != "resident_bytes") {
            writeln!(f, "{name:<24}{value}")?;
        }
        match self.broken.as_slice() {
            [] => f.write_str("nothing is left, and everything adds up"),
            broken => f.write_str(&broken.join("\n")),
        }
    }
}

/// Of each node.
const CAPACITY: u64 = 64 * 1024 * 1024;
/// What may be resident, all else of the process included, over what may be held.
const RESIDENT_PERCENT: u64 = 130;
/// So many tasks, half of them at each node.
const WORKERS: usize = 32;
/// For what is to end by itself.
const GRACE: Duration = Duration::from_secs(30);
