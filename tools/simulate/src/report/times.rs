//! The times that criterion measured last, from its folder.
//!
//! A benchmark has a folder of its own, with `new/benchmark.json` and `new/estimates.json`. Its time is the slope of
//! time over iterations or, where criterion had none, the mean: what it prints itself.

use std::{fs, io, path::Path};

use serde::Deserialize;

use super::{
    json,
    page::{Bar, Bars, span, with_ratios},
};
use crate::Result;

/// What one benchmark took.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Time {
    group: String,
    /// What was run, and with what.
    function: Option<String>,
    value: Option<String>,
    /// Of one operation, in nanoseconds; the bounds of the confidence interval around it.
    nanos: f64,
    bounds: (f64, f64),
}

/// Those of one group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) name: String,
    /// One chart for each value.
    pub(super) bars: Vec<Bars>,
}

/// All that are in `folder`, by group; none if there is no such folder.
pub(super) fn read(folder: &Path) -> Result<Vec<Time>> {
    let mut times = Vec::new();
    collect(folder, &mut times)?;
    times.sort_by(|a, b| key(a).cmp(&key(b)));
    Ok(times)
}

fn key(time: &Time) -> (&str, (usize, Option<&str>), Option<&str>) {
    (&time.group, natural(time.value.as_deref()), time.function.as_deref())
}

/// Shorter numbers first: 1000 before 100000.
fn natural(value: Option<&str>) -> (usize, Option<&str>) {
    (value.map_or(0, str::len), value)
}

fn collect(folder: &Path, times: &mut Vec<Time>) -> Result<()> {
    let fault = |error: io::Error| format!("{}: {error}", folder.display());
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault(error).into()),
    };
    for file in files {
        let path = file.map_err(fault)?.path();
        if !path.is_dir() {
            continue;
        }
        if path.ends_with("new")
            && let Some(benchmark) = json::<Benchmark>(&path.join("benchmark.json"))?
            && let Some(estimates) = json::<Estimates>(&path.join("estimates.json"))?
        {
            times.push(time(benchmark, &estimates));
        } else {
            collect(&path, times)?;
        }
    }
    Ok(())
}

fn time(benchmark: Benchmark, estimates: &Estimates) -> Time {
    let estimate = estimates.slope.as_ref().unwrap_or(&estimates.mean);
    let n = match benchmark.throughput {
        Some(Throughput { elements: Some(n) }) if n > 0.0 => n,
        _ => 1.0,
    };
    let interval = &estimate.confidence_interval;
    Time {
        group: benchmark.group_id,
        function: benchmark.function_id,
        value: benchmark.value_str,
        nanos: estimate.point_estimate / n,
        bounds: (interval.lower_bound / n, interval.upper_bound / n),
    }
}

/// By group, with one chart for each value.
pub(super) fn groups(times: &[Time]) -> Vec<Group> {
    let of_group = |times: &[Time]| Group {
        name: times[0].group.clone(),
        bars: times.chunk_by(|a, b| a.value == b.value).map(bars).collect(),
    };
    times.chunk_by(|a, b| a.group == b.group).map(of_group).collect()
}

fn bars(times: &[Time]) -> Bars {
    let bar = |time: &Time| Bar {
        subject: time.function.clone().unwrap_or_else(|| time.group.clone()),
        amount: time.nanos,
        text: span(time.nanos),
        hint: Some(format!("{} to {}", span(time.bounds.0), span(time.bounds.1))),
        ratio: None,
        note: String::new(),
    };
    with_ratios(times[0].value.clone().unwrap_or_default(), times.iter().map(bar).collect())
}

#[derive(Deserialize)]
struct Benchmark {
    group_id: String,
    function_id: Option<String>,
    value_str: Option<String>,
    throughput: Option<Throughput>,
}

/// Of its kinds, the one that says how many operations an iteration is.
#[derive(Deserialize)]
struct Throughput {
    #[serde(rename = "Elements")]
    elements: Option<f64>,
}

#[derive(Deserialize)]
struct Estimates {
    slope: Option<Estimate>,
    mean: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    confidence_interval: Interval,
    point_estimate: f64,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}
