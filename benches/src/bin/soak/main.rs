//! `cargo xtask soak`: two nodes over one bucket, under load for minutes, with storms of dropped
//! reads and a store that fails in every way it can. At the end no request and no task may be left,
//! and every account must add up.
#![forbid(unsafe_code)]

mod bodies;
mod load;
mod server;

use std::{
    env, error::Error, fmt, fs, path::PathBuf, process::ExitCode, sync::Arc, time::Duration,
};

use benches::Stopwatch;
use cache_facade::{Freshness, Memory, ObjectCache, object_store::ObjectStore};
use cache_testkit::S3Server;
use object_store::{BackoffConfig, RetryConfig};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::{
    load::{Load, Tally},
    server::Child,
};

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    if let [first, seed] = args
        && first == server::SERVE
    {
        server::serve(seed.parse()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (settings, json) = options(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(soak(settings))?;
    println!("{report}");
    if let Some(file) = json {
        fs::write(file, serde_json::to_string_pretty(&report.figures)? + "\n")?;
    }
    Ok(if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(args: &[String]) -> Result<(Settings, Option<PathBuf>), Box<dyn Error>> {
    let (mut settings, mut json) = (Settings { span: Duration::from_secs(60), seed: 1 }, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--minutes" => {
                settings.span = Duration::try_from_secs_f64(60.0 * value.parse::<f64>()?)?;
            }
            "--seed" => settings.seed = value.parse()?,
            "--json" => json = Some(value.into()),
            _ => return Err(format!("{arg}? The options are --minutes, --seed and --json").into()),
        }
    }
    Ok((settings, json))
}

/// The length of the run and its seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) span: Duration,
    pub(crate) seed: u64,
}

/// The result of a run.
struct Report {
    figures: Value,
    /// The rules that were broken.
    broken: Vec<String>,
}

/// Runs the load, ends it, and checks what is left.
async fn soak(settings: Settings) -> Result<Report, Box<dyn Error>> {
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
        broken.push(format!("an operation still waits {GRACE:?} after the end"));
    }
    let samples = sampler.await?;
    child.heal()?;

    for node in &nodes {
        if !soon(|| node.read_through().keys_in_flight() == 0).await {
            let keys = node.read_through().keys_in_flight();
            broken.push(format!("{}: {keys} keys are in flight", node.name()));
        }
    }
    let tally = load.tally();
    check_results(&nodes, &tally, &mut broken);
    check_accounts(&nodes, &mut broken);
    check_memory(&samples, &mut broken);
    let figures = json!({
        "seconds": settings.span.as_secs(),
        "seed": settings.seed,
        "keys": bodies::KEYS,
        "capacity_bytes": CAPACITY * nodes.len() as u64,
        "reads": tally.succeeded + tally.failed + tally.dropped,
        "reads_succeeded": tally.succeeded,
        "reads_failed": tally.failed,
        "reads_dropped": tally.dropped,
        "failures": tally.failures,
        "writes": tally.writes,
        "nodes": nodes.iter().map(figures_of).collect::<Vec<_>>(),
        "resident_bytes_before": rss_before,
        "resident_bytes_max": samples.iter().map(|sample| sample.resident_bytes).max(),
        "resident_bytes": samples.iter().map(|sample| sample.resident_bytes).collect::<Vec<_>>(),
        "cached_bytes_max": samples.iter().map(|sample| sample.cached_bytes).max(),
        "server": child.end()?,
    });

    for node in &nodes {
        node.close().await?;
    }
    drop((load, nodes, store));
    // The client's connections end when it is dropped.
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

/// Every read that ended was counted once, and no result was wrong.
fn check_results(nodes: &[ObjectCache; 2], tally: &Tally, broken: &mut Vec<String>) {
    let counted: u64 = nodes.iter().map(|node| node.stats().gets()).sum();
    let ended = tally.succeeded + tally.failed;
    if counted != ended {
        broken.push(format!("the nodes counted {counted} reads of {ended} that ended"));
    }
    broken.extend(tally.wrong.iter().cloned());
}

/// Each node accounts for exactly the entries that it holds.
fn check_accounts(nodes: &[ObjectCache; 2], broken: &mut Vec<String>) {
    for node in nodes {
        let backend = node.read_through().backend();
        // Expired entries are swept meanwhile: repeats until both are of one moment.
        let (accounted, cached) = loop {
            let before = backend.usage();
            let entries = bodies::all_keys().filter_map(|key| backend.peek(&key));
            let cached = entries.fold((0, 0), |(n, bytes), entry| (n + 1, bytes + entry.weight()));
            let after = backend.usage();
            if before == after {
                break ((after.entries, after.bytes), cached);
            }
        };
        if accounted != cached {
            let name = node.name();
            broken.push(format!(
                "{name}: accounts for {accounted:?} entries and bytes, holds {cached:?}"
            ));
        }
    }
}

fn check_memory(samples: &[Sample], broken: &mut Vec<String>) {
    let most = samples.iter().map(|sample| sample.cached_bytes).max().unwrap_or_default();
    if most > 2 * CAPACITY {
        broken.push(format!("{most} bytes were cached"));
    }
    let limit = 2 * CAPACITY * RESIDENT_PERCENT / 100;
    match samples.iter().map(|sample| sample.resident_bytes).max() {
        Some(Some(most)) if most > limit => {
            broken.push(format!("{most} bytes were resident, of at most {limit}"));
        }
        Some(Some(_)) => {}
        _ => eprintln!("soak: resident memory is unknown on this system and was not checked"),
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

/// The memory at one moment.
struct Sample {
    /// `None` where the system does not report it.
    resident_bytes: Option<u64>,
    cached_bytes: u64,
}

/// Takes a sample each second.
async fn sample(nodes: [ObjectCache; 2], span: Duration) -> Vec<Sample> {
    let (start, mut samples) = (Stopwatch::start(), Vec::new());
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    while start.elapsed() < span {
        seconds.tick().await;
        let cached_bytes = nodes.iter().map(|node| node.stats().bytes).sum();
        samples.push(Sample { resident_bytes: resident_bytes(), cached_bytes });
    }
    samples
}

/// Returns the resident memory of this process.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Waits until `holds` returns true; returns whether it did in time.
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
            [] => f.write_str("no request or task is left, and every account adds up"),
            broken => f.write_str(&broken.join("\n")),
        }
    }
}

/// The capacity of each node, in bytes.
const CAPACITY: u64 = 64 * 1024 * 1024;
/// The limit of the resident memory of the process, in percent of the capacity.
const RESIDENT_PERCENT: u64 = 130;
/// The number of tasks, half of them at each node.
const WORKERS: usize = 32;
/// The time allowed for operations and tasks to end by themselves.
const GRACE: Duration = Duration::from_secs(30);
