//! `cargo xtask dashboards`: runs the dashboard's queries, the alerts and their tests in
//! Prometheus' own engine, as `promtool` has it. The tests of this package compare the names in
//! them with the table of metrics, and need no `promtool`.
#![forbid(unsafe_code)]

mod dashboard;
#[cfg(test)]
mod names;
mod panels;

use std::{
    error::Error,
    fs,
    io::{ErrorKind, Write as _},
    process::{Command, ExitCode, Stdio},
    sync::Arc,
};

use cache_facade::{
    CachedStore, Memory, ObjectCache, Stats,
    cache_core::{BusStats, TierStats},
    cache_metrics::{BlockStats, MetricsSource, Registry, Snapshot},
    object_store::memory::InMemory,
};
use dashboard::Dashboard;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dashboards: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    if promtool(&["--version"], "").is_err_and(|error| is_not_found(&*error)) {
        println!("dashboards: skipped, promtool is not installed (Debian package: prometheus)");
        return Ok(());
    }
    let exported = exported()?;
    let tests = tempfile::NamedTempFile::with_suffix(".json")?;
    fs::write(tests.path(), panels::tests(&Dashboard::read()?, &exported)?)?;
    let tests = tests.path().display().to_string();
    promtool(&["check", "metrics"], &exported)?;
    promtool(&["check", "rules", "alerts.yml"], "")?;
    promtool(&["test", "rules", "alerts_test.yml"], "")?;
    promtool(&["test", "rules", &tests], "")?;
    println!("dashboards: promtool accepts the metrics, the alerts and the dashboard's queries");
    Ok(())
}

/// Every series that a cache of objects, a cached store and a cache with a disk tier and a change
/// bus export, in Prometheus' text format.
fn exported() -> Result<String> {
    let registry = Registry::new();
    // The registry holds no cache: one that is dropped is no longer exported.
    let objects = ObjectCache::builder(Arc::new(InMemory::new())).name("objects").build()?;
    let blocks =
        CachedStore::builder(Arc::new(InMemory::new()), Memory::new()).name("blocks").build()?;
    registry.add(&objects);
    registry.add(&blocks);
    registry.add(MetricsSource::new(&"tiered".into(), || {
        let snapshot = Snapshot::from(Stats::default()).with_blocks(BlockStats::default());
        let snapshot = snapshot.with_tier(Some(TierStats::default()));
        Some(snapshot.with_bus(Some(BusStats::default())))
    }));
    Ok(registry.render_prometheus())
}

/// Runs `promtool` in the folder of the dashboard. An error is what it printed.
fn promtool(args: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new("promtool")
        .args(args)
        .current_dir(dashboard::FOLDER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // Dropped here, so that `promtool` reads to the end.
    child.stdin.take().ok_or("stdin is piped")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let printed = String::from_utf8([output.stdout, output.stderr].concat())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("promtool {}: {}\n{printed}", args.join(" "), output.status).into()),
    }
}

fn is_not_found(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}
