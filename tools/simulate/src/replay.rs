//! `cargo xtask simulate`: replays traces through caches.

use std::{
    collections::BTreeSet,
    env, fs,
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    Result, chart, fleet, optimum,
    options::{Options, USAGE},
    ours::{OURS, Subject},
    output::{target_folder, write},
    parallel::in_parallel,
    row::{Count, Row},
    setting::Setting,
    summary::{Summary, answers},
    table,
    trace::Trace,
};

/// Runs the program: parses the command line, replays, writes the results and prints the answers.
/// `peers` are replayed beside our own policies.
pub fn main(peers: &[Subject]) -> ExitCode {
    let args = env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    match Options::parse(args) {
        Ok(None) => {
            println!("{USAGE}\nPolicies: {}\n\n{}", names(peers).join(", "), fleet::USAGE);
            ExitCode::SUCCESS
        }
        Ok(Some(options)) => match run(&options, peers, &target_folder().join("simulate")) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("simulate: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::from(2)
        }
    }
}

/// The name of the optimum, which knows the future.
pub(crate) const BELADY: &str = "belady";

fn run(options: &Options, peers: &[Subject], folder: &Path) -> Result<()> {
    let policies = chosen(&options.policies, peers)?;
    let traces = options
        .traces
        .iter()
        .map(|path| Trace::open(path, &options.columns))
        .collect::<Result<Vec<_>>>()?;
    let mut names = BTreeSet::new();
    if let Some(twice) = traces.iter().find(|trace| !names.insert(trace.name())) {
        return Err(format!("two traces would be called {:?}; rename a file", twice.name()).into());
    }
    let rows = replay_all(&traces, options, &policies)?;
    let summary = Summary::new(&rows);
    write_all(folder, &rows, &summary)?;
    print!("{}", answers(&rows));
    if summary.n_cases.0 + summary.n_cases.1 > 1 {
        println!("Over all traces and capacities: {}\n{}", summary.explained(), summary.table());
    }
    println!("Tables (table.md), charts and figures: {}", folder.display());
    Ok(())
}

fn write_all(folder: &Path, rows: &[Row], summary: &Summary) -> Result<()> {
    let text = format!("# Hit ratios\n\n{}{}\n{summary}", answers(rows), table::render(rows));
    write(&folder.join("table.md"), &text)?;
    let charts: Vec<_> =
        table::groups(rows).map(|group| (chart_file(&group[0]), chart::render(group))).collect();
    charts.iter().try_for_each(|(name, chart)| write(&folder.join(name), chart))?;
    // Charts of an earlier run would be mistaken for charts of this one.
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let is_current = charts
            .iter()
            .any(|(name, _)| path.file_name().is_some_and(|file| file == name.as_str()));
        if !is_current && path.extension().is_some_and(|extension| extension == "svg") {
            fs::remove_file(path)?;
        }
    }
    write(&folder.join(ROWS_FILE), &json(rows)?)
}

fn chart_file(row: &Row) -> String {
    format!("{}-by-{}.svg", row.trace, row.unit.name())
}

/// The file of the figures, in the folder `simulate` of the target folder.
pub const ROWS_FILE: &str = "rows.json";

fn json(rows: &[Row]) -> Result<String> {
    let lines =
        rows.iter().map(serde_json::to_string).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

/// One replay.
struct Job<'a> {
    trace: usize,
    setting: Setting,
    policy: &'a Policy,
}

#[derive(Debug, Clone, Copy)]
enum Policy {
    Online(Subject),
    Belady,
}

impl Policy {
    fn name(&self) -> &'static str {
        match self {
            Self::Online(subject) => subject.name,
            Self::Belady => BELADY,
        }
    }

    fn replay(&self, trace: &Trace, setting: Setting) -> Result<Row> {
        let count = match self {
            Self::Belady => optimum::replay(trace, setting),
            Self::Online(subject) => {
                let mut cache = (subject.build)(setting)?;
                let mut count = Count::default();
                for request in trace.requests() {
                    count.add(request.size, cache.request(request));
                }
                count
            }
        };
        Ok(count.row(trace, setting, self.name()))
    }
}

fn names(peers: &[Subject]) -> Vec<&'static str> {
    all(peers).map(|policy| policy.name()).collect()
}

fn all(peers: &[Subject]) -> impl Iterator<Item = Policy> {
    OURS.iter().chain(peers).copied().map(Policy::Online).chain([Policy::Belady])
}

fn chosen(wanted: &[String], peers: &[Subject]) -> Result<Vec<Policy>> {
    if let Some(unknown) = wanted.iter().find(|name| !names(peers).contains(&name.as_str())) {
        return Err(
            format!("no policy {unknown:?}; choose from {}", names(peers).join(", ")).into()
        );
    }
    let is_wanted =
        |policy: &Policy| wanted.is_empty() || wanted.iter().any(|name| name == policy.name());
    Ok(all(peers).filter(is_wanted).collect())
}

/// The rows in the order of traces, units, capacities and policies.
fn replay_all(traces: &[Trace], options: &Options, policies: &[Policy]) -> Result<Vec<Row>> {
    let mut jobs = Vec::new();
    for (number, trace) in traces.iter().enumerate() {
        let settings = options.units(trace.is_sized()).iter().flat_map(|&unit| {
            let setting = move |&capacity| Setting::new(trace, unit, capacity);
            options.capacities().iter().filter_map(setting)
        });
        let before = jobs.len();
        for setting in settings {
            jobs.extend(policies.iter().map(|policy| Job { trace: number, setting, policy }));
        }
        if jobs.len() == before {
            let (name, n) = (trace.name(), trace.n_distinct());
            eprintln!(
                "{name} is skipped: every capacity is below 50 of its {n} keys; give --capacity"
            );
        }
    }
    if jobs.is_empty() {
        return Err("nothing to replay".into());
    }
    let n_done = AtomicUsize::new(0);
    in_parallel(&jobs, |job| {
        let row = job.policy.replay(&traces[job.trace], job.setting)?;
        let n_done = n_done.fetch_add(1, Ordering::Relaxed) + 1;
        if n_done * 10 / jobs.len() > (n_done - 1) * 10 / jobs.len() {
            eprintln!("{} % of {} replays", n_done * 100 / jobs.len(), jobs.len());
        }
        Ok(row)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_line(line: &str, folder: &Path) -> Result<()> {
        let args =
            line.split_whitespace().map(|word| word.replace('@', &folder.display().to_string()));
        run(&Options::parse(args)?.unwrap(), &[], &folder.join("out"))
    }

    /// 400 requests for 100 objects with sizes, over and over.
    fn put_trace(folder: &Path) {
        let text: String = (0..400).map(|i| format!("{},{}\n", i % 100, 1_000 + i % 7)).collect();
        fs::write(folder.join("loop.csv"), text).unwrap();
    }

    fn rows(folder: &Path) -> Vec<Row> {
        serde_json::from_str(&fs::read_to_string(folder.join("out/rows.json")).unwrap()).unwrap()
    }

    #[test]
    fn a_simulation_writes_rows_tables_and_charts() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        put_trace(folder);
        fs::create_dir(folder.join("out")).unwrap();
        fs::write(folder.join("out/old.svg"), "").unwrap();
        run_line("@/loop.csv --policy belady lru --capacity 50% 60% --by entries", folder).unwrap();
        let rows = rows(folder);
        let found: Vec<_> = rows.iter().map(|row| (row.capacity, &*row.policy, row.hits)).collect();
        // 300 requests are repeated; the optimum has most of them.
        assert_eq!(found[0], (50, "lru", 0));
        assert_eq!((found[1].0, found[1].1), (50, "belady"));
        assert_eq!((found[2].0, found[3].0), (60, 60));
        assert!(found[3].2 > found[1].2, "{found:?}");
        let mut files: Vec<_> = fs::read_dir(folder.join("out"))
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        files.sort();
        assert_eq!(files, ["loop-by-entries.svg", "rows.json", "table.md"]);
    }

    #[test]
    fn sizes_are_replayed_by_entries_and_by_bytes() {
        let folder = tempfile::tempdir().unwrap();
        put_trace(folder.path());
        run_line("@/loop.csv --capacity 60%", folder.path()).unwrap();
        let rows = rows(folder.path());
        let units: BTreeSet<_> = rows.iter().map(|row| (row.unit, row.capacity)).collect();
        let bytes: u64 = (0..100).map(|i| 1_000 + i % 7).sum();
        let expected =
            [(crate::setting::Unit::Entries, 60), (crate::setting::Unit::Bytes, bytes * 60 / 100)];
        assert_eq!(units.into_iter().collect::<Vec<_>>(), expected);
        assert!(rows.iter().all(|row| row.requests == 400 && row.hits <= 300));
    }

    #[test]
    fn one_key_and_room_for_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("one.txt"), "k\nk\nk\n").unwrap();
        run_line("@/one.txt --capacity 1", folder.path()).unwrap();
        for row in rows(folder.path()) {
            assert_eq!((row.requests, row.hits), (3, 2), "{}", row.policy);
        }
    }

    #[test]
    fn bad_input_is_explained() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        put_trace(folder);
        fs::write(folder.join("empty"), "").unwrap();
        fs::write(folder.join("one.txt"), "k\nk\nk\n").unwrap();
        for (line, part) in [
            ("@/loop.csv --policy lur", "no policy \"lur\"; choose from default, "),
            ("@/none", "none: No such file"),
            ("@/empty", "empty: no request in it"),
            ("@", ": Is a directory"),
            ("@/one.txt", "nothing to replay"),
            ("@/loop.csv @/loop.csv", "two traces would be called \"loop\""),
            ("@/loop.csv --capacity 0", "capacity \"0\""),
        ] {
            let error = run_line(line, folder).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
        assert!(!folder.join("out").exists());
    }
}
