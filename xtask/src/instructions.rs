//! `cargo xtask instructions`: how many instructions the hot loops execute, counted by valgrind.
//!
//! Instruction counts repeat on a busy machine, where times do not. Each loop runs twice, with n
//! and with 2n operations; the difference is the count of n operations without the set-up. Tables
//! have random hash keys, so that counts differ a little from run to run: the median of several is
//! taken.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use crate::shell::{Result, built, command, output};

pub(crate) const USAGE: &str = "\
cargo xtask instructions [--json FILE] [--runs N] [--tracing] [WORD…]
    Counts the instructions of the hot loops with valgrind; with words, only of these loops and
    subjects.
    --json FILE   writes the counts to a file; the report reads target/instructions.json
    --runs N      takes the median of N runs; default: 3
    --tracing     compiles the feature `tracing` in";

/// Prints a table for each loop; with `--json FILE`, also writes rows of loop, subject and
/// `instructions_per_op`.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let options = Options::parse(args)?;
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("instructions: skipped, valgrind is not installed");
        return Ok(ExitCode::SUCCESS);
    }
    let features = if options.has_tracing { " --features tracing" } else { "" };
    let build = "build --profile bench --package benches --bin loops --quiet --locked";
    let mut loops = built(&format!("{build}{features}"))?;
    let pairs = output(&mut loops)?;
    let pairs: Vec<_> = pairs.lines().filter_map(|pair| pair.split_once(' ')).collect();
    let is_known = |word: &&String| pairs.iter().any(|pair| *word == pair.0 || *word == pair.1);
    if let Some(word) = options.only.iter().find(|word| !is_known(word)) {
        return Err(
            format!("there is no loop or subject {word}; there are {}", words(&pairs)).into()
        );
    }
    let mut rows = Vec::new();
    for (name, subject) in pairs.into_iter().filter(|pair| options.wants(*pair)) {
        let mut counts = Vec::new();
        for _ in 0..options.runs {
            counts.push(instructions(loops.get_program(), name, subject)?);
        }
        let row =
            Row { name: name.to_owned(), subject: subject.to_owned(), per_op: median(counts) };
        eprintln!("{name} {subject}: {:.1}", row.per_op);
        rows.push(row);
    }
    println!("{}", table(&rows));
    if let Some(file) = options.json {
        fs::write(&file, json(&rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All names, each once.
fn words(pairs: &[(&str, &str)]) -> String {
    let names: BTreeSet<_> = pairs.iter().flat_map(|(name, subject)| [*name, *subject]).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

struct Options {
    json: Option<PathBuf>,
    runs: usize,
    /// Whether the cache is built with its feature `tracing`.
    has_tracing: bool,
    /// Names of loops and subjects; empty for all.
    only: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self { json: None, runs: RUNS, has_tracing: false, only: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--json" => options.json = Some(args.next().ok_or("--json FILE")?.into()),
                "--tracing" => options.has_tracing = true,
                "--runs" => options.runs = args.next().ok_or("--runs N")?.parse::<usize>()?.max(1),
                flag if flag.starts_with('-') => return Err(format!("{flag}?\n{USAGE}").into()),
                word => options.only.push(word.to_owned()),
            }
        }
        Ok(options)
    }

    fn wants(&self, (name, subject): (&str, &str)) -> bool {
        let is_named = |word: &&String| *word == name || *word == subject;
        let (loops, subjects): (Vec<_>, Vec<_>) =
            self.only.iter().partition(|word| LIMITS.iter().any(|limits| limits.name == **word));
        (loops.is_empty() || loops.iter().any(is_named))
            && (subjects.is_empty() || subjects.iter().any(is_named))
    }
}

/// The instructions of one operation of a loop.
struct Row {
    name: String,
    subject: String,
    per_op: f64,
}

/// The reference of a loop's ratios, and the ratios sought. For information: nothing is asserted.
struct Limits {
    name: &'static str,
    reference: &'static str,
    sought: &'static str,
    /// The number of operations to count.
    ops: u64,
}

const LIMITS: [Limits; 5] = [
    Limits {
        name: "backend_hit",
        reference: "quick_cache",
        sought: "ours at most 0.9, better 0.8 (over quick_cache-arc, in time: 1.1, 0.9)",
        ops: 64_000,
    },
    Limits {
        name: "facade_fresh_hit",
        reference: "quick_cache",
        sought: "ours at most 1.4, better 1.1, over a plain look-up",
        ops: 64_000,
    },
    Limits {
        name: "insert_evict",
        reference: "quick_cache",
        sought: "in time: simple policies at most 1.2, better 0.9; ours 1.6, 1.2",
        ops: 16_000,
    },
    Limits {
        name: "get_prefix",
        reference: "gets",
        sought: "one unchanged object of 1,000: at most 2 us of CPU time, better 0.7 us",
        ops: 8_000,
    },
    Limits {
        name: "validated_hit",
        reference: "bare",
        sought: "ours at most 1.25, better 1.1, over the conditional GET alone",
        ops: 8_000,
    },
];

/// Counts the instructions of one operation.
fn instructions(loops: &OsStr, name: &str, subject: &str) -> Result<f64> {
    let ops = LIMITS.iter().find(|limits| limits.name == name).map_or(OPS, |limits| limits.ops);
    let count = |ops: u64| -> Result<u64> {
        let mut valgrind = command("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(loops);
        valgrind.args([name, subject, &ops.to_string()]);
        let out = valgrind.output()?;
        let report = String::from_utf8_lossy(&out.stderr);
        match collected(&report) {
            Some(count) if out.status.success() => Ok(count),
            _ => Err(format!("{name} {subject}: {}\n{report}", out.status).into()),
        }
    };
    let (once, twice) = (count(ops)?, count(2 * ops)?);
    Ok(twice.saturating_sub(once) as f64 / ops as f64)
}

/// The number in callgrind's line `==PID== Collected : NUMBER`.
fn collected(report: &str) -> Option<u64> {
    let line = report.lines().find(|line| line.contains("Collected :"))?;
    line.split_whitespace().last()?.parse().ok()
}

fn median(mut counts: Vec<f64>) -> f64 {
    counts.sort_by(f64::total_cmp);
    counts[counts.len() / 2]
}

fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for limits in &LIMITS {
        let of_loop: Vec<_> = rows.iter().filter(|row| row.name == limits.name).collect();
        if of_loop.is_empty() {
            continue;
        }
        let reference = of_loop.iter().find(|row| row.subject == limits.reference);
        text += &format!("\n{} (sought: {})\n", limits.name, limits.sought);
        for row in &of_loop {
            let ratio = reference
                .map(|other| format!("{:.2} x {}", row.per_op / other.per_op, other.subject));
            text += &format!(
                "  {:<20}{:>10.1}    {}\n",
                row.subject,
                row.per_op,
                ratio.unwrap_or_default()
            );
        }
    }
    text
}

fn json(rows: &[Row]) -> String {
    let line = |Row { name, subject, per_op }: &Row| {
        format!(r#"{{"loop":"{name}","subject":"{subject}","instructions_per_op":{per_op:.2}}}"#)
    };
    let lines: Vec<_> = rows.iter().map(line).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// The number of operations of a loop without limits.
const OPS: u64 = 16_000;
const RUNS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, subject: &str, per_op: f64) -> Row {
        Row { name: name.to_owned(), subject: subject.to_owned(), per_op }
    }

    #[test]
    fn the_count_is_found_in_the_report_of_callgrind() {
        let report = "==7== Events    : Ir\n==7== Collected : 5123456\n==7==\n==7== I   refs:  5\n";
        assert_eq!(collected(report), Some(5_123_456));
        assert_eq!(collected("==7== nothing"), None);
    }

    #[test]
    fn ratios_are_over_the_reference_of_the_loop() {
        let rows = [
            row("backend_hit", "ours", 90.0),
            row("backend_hit", "quick_cache", 100.0),
            row("validated_hit", "ours", 120.0),
            row("validated_hit", "bare", 100.0),
        ];
        let table = table(&rows);
        assert!(table.contains("0.90 x quick_cache") && table.contains("1.20 x bare"), "{table}");
    }

    #[test]
    fn words_choose_loops_and_subjects() {
        let options = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(ToString::to_string).collect();
            Options::parse(&words).unwrap()
        };
        assert!(options(&[]).wants(("backend_hit", "moka")));
        assert!(options(&["backend_hit"]).wants(("backend_hit", "moka")));
        assert!(!options(&["backend_hit"]).wants(("insert_evict", "moka")));
        assert!(options(&["ours", "moka"]).wants(("backend_hit", "moka")));
        assert!(!options(&["ours", "backend_hit"]).wants(("backend_hit", "moka")));
        assert!(Options::parse(&["--jason".to_owned()]).is_err());
    }

    #[test]
    fn the_median_counts() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn rows_are_json() {
        let rows = [row("backend_hit", "ours", 90.0), row("backend_hit", "moka", 1000.126)];
        assert_eq!(
            json(&rows),
            "[\n{\"loop\":\"backend_hit\",\"subject\":\"ours\",\"instructions_per_op\":90.00},\n\
             {\"loop\":\"backend_hit\",\"subject\":\"moka\",\"instructions_per_op\":1000.13}\n]\n"
        );
    }
}
