//! `cargo xtask mutants`: deliberate faults, each of which must be found. Those in the protocol by
//! the simulation or, where chance alone leads there, by a test; those in `cache-store` by the test
//! that is named beside the fault, and some of `CachedStore` by its simulation too; those in
//! `cache-disk` by its schedules.
//!
//! A fault is a few replacements of text in a copy of the tree, in `target/mutants`; the checkout
//! is never touched. A text that is not there exactly once is an error: then the code has changed,
//! and the fault must be put anew.

mod bus;
mod cached;
mod disk;
mod list;
mod simulated;
mod validator;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use self::list::MUTANTS;
use crate::{
    clock::Stopwatch,
    shell::{Result, cargo, command, output, root, run as sh},
    simulate_nodes::{CACHED_STORE, Over, READ_THROUGH},
};

pub(crate) const USAGE: &str = "\
cargo xtask mutants [--seeds N] [NAME…]
    Plants faults in a copy of the code, all of them or those whose names contain a NAME, and
    prints which test finds each, or after how many schedules the simulation does. --seeds N: at
    most N schedules; default: 50000.
cargo xtask mutants --list
    Lists them.";

/// A fault.
struct Mutant {
    /// What is wrong, in a few words.
    name: &'static str,
    edits: &'static [Edit],
}

/// A change of the lines that follow a marker, `// mutant: name`, somewhere below `crates/*/src`.
struct Edit {
    marker: &'static str,
    change: Change,
}

enum Change {
    /// Deletes the first line.
    Delete,
    /// Replaces the first line.
    Line(&'static str),
    /// Replaces a text that the first `WINDOW_LINES` lines have exactly once.
    Replace(&'static str, &'static str),
}

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if args.iter().any(|arg| arg == "--list") {
        all().for_each(|mutant| println!("{}", mutant.name));
        return Ok(ExitCode::SUCCESS);
    }
    let (mut seeds, mut wanted) = (SEEDS, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seeds" => seeds = args.next().ok_or("--seeds needs a number")?.parse()?,
            name => wanted.push(name),
        }
    }
    let is_wanted =
        |mutant: &Mutant| wanted.is_empty() || wanted.iter().any(|word| mutant.name.contains(word));
    if !all().any(is_wanted) {
        return Err(format!("no mutant is called like that\n{USAGE}").into());
    }
    let copy = Copy::made()?;
    // Before anything is built: a text that is not found fails at once.
    for mutant in all().filter(|mutant| is_wanted(mutant)) {
        mutant.edited(&copy.folder).map_err(|error| format!("{}: {error}", mutant.name))?;
    }
    let protocol: Vec<_> = of_core().filter(|mutant| is_wanted(mutant)).collect();
    let named: Vec<_> = with_test().filter(|(mutant, ..)| is_wanted(mutant)).collect();
    let disk: Vec<_> = disk::MUTANTS.iter().filter(|mutant| is_wanted(mutant)).collect();
    let simulated: Vec<_> = simulated().filter(|mutant| is_wanted(mutant)).collect();
    let survivors = of_protocol(&copy, &protocol, seeds)?
        + of_cached_store(&copy, &simulated, seeds)?
        + of_cache_store(&copy, &named)?
        + of_cache_disk(&copy, &disk)?;
    if survivors > 0 {
        Err(format!("{survivors} faults were not found").into())
    } else {
        Ok(ExitCode::SUCCESS)
    }
}

/// The faults of `cache-core`.
fn of_core() -> impl Iterator<Item = &'static Mutant> {
    MUTANTS.iter().chain(bus::MUTANTS)
}

fn all() -> impl Iterator<Item = &'static Mutant> {
    of_core().chain(with_test().map(|(mutant, ..)| mutant)).chain(disk::MUTANTS)
}

/// The faults of `cache-store`: each with the folder of its test below `tests/it`, the file and the
/// name.
fn with_test() -> impl Iterator<Item = (&'static Mutant, &'static str, [&'static str; 2])> {
    let of_cached = cached::MUTANTS.iter().map(|(mutant, test)| (mutant, "cached/", *test));
    of_cached.chain(validator::MUTANTS.iter().map(|(mutant, test)| (mutant, "", *test)))
}

/// The faults that the simulation of `CachedStore` must find.
fn simulated() -> impl Iterator<Item = &'static Mutant> {
    let of_cached = cached::MUTANTS.iter().map(|(mutant, _)| mutant);
    of_cached.filter(|mutant| simulated::NAMES.contains(&mutant.name))
}

/// How many the simulation and the tests of the protocol did not find.
fn of_protocol(copy: &Copy, chosen: &[&Mutant], seeds: u64) -> Result<usize> {
    let mut survivors = 0;
    if chosen.is_empty() {
        return Ok(survivors);
    }
    if let Some(found) = copy.simulate(READ_THROUGH, seeds)? {
        return Err(format!("without any fault, the simulation finds: {}", found.rule).into());
    }
    println!("| fault | found by | after schedules |\n| --- | --- | ---: |");
    for mutant in chosen {
        let watch = Stopwatch::start();
        let line = copy.with(mutant, || {
            if let Some(Found { rule, schedules }) = copy.simulate(READ_THROUGH, seeds)? {
                return Ok(format!("{rule} | {schedules}"));
            }
            match copy.failing_test("cache-core", &["--skip", "races"])? {
                Some(test) => Ok(format!("the test `{test}` alone | {seeds}")),
                None => {
                    survivors += 1;
                    Ok(format!("**nothing** | {seeds}"))
                }
            }
        })?;
        println!("| {} | {line} |", mutant.name);
        eprintln!("{watch}");
    }
    Ok(survivors)
}

/// How many the simulation of `CachedStore` did not find.
fn of_cached_store(copy: &Copy, chosen: &[&Mutant], seeds: u64) -> Result<usize> {
    let mut survivors = 0;
    if chosen.is_empty() {
        return Ok(survivors);
    }
    if let Some(found) = copy.simulate(CACHED_STORE, seeds)? {
        return Err(format!("without any fault, the simulation finds: {}", found.rule).into());
    }
    println!("| fault of `CachedStore` | found by | after schedules |\n| --- | --- | ---: |");
    for mutant in chosen {
        let watch = Stopwatch::start();
        match copy.with(mutant, || copy.simulate(CACHED_STORE, seeds))? {
            Some(Found { rule, schedules }) => {
                println!("| {} | {rule} | {schedules} |", mutant.name);
            }
            None => {
                survivors += 1;
                println!("| {} | **nothing** | {seeds} |", mutant.name);
            }
        }
        eprintln!("{watch}");
    }
    Ok(survivors)
}

/// How many the tests that are named beside them did not find.
fn of_cache_store(copy: &Copy, chosen: &[(&Mutant, &str, [&str; 2])]) -> Result<usize> {
    let mut survivors = 0;
    if chosen.is_empty() {
        return Ok(survivors);
    }
    let run = |folder: &str, [file, test]: [&str; 2]| {
        let test = format!("{}{file}::{test}", folder.replace('/', "::"));
        copy.failing_test("cache-store", &["--exact", &test])
    };
    for (_, folder, test) in chosen {
        if let Some(test) = run(folder, *test)? {
            return Err(format!("without any fault, the test `{test}` fails").into());
        }
    }
    println!("| fault | found by the test |\n| --- | --- |");
    for (mutant, folder, test) in chosen {
        let watch = Stopwatch::start();
        let found = copy.with(mutant, || run(folder, *test))?.is_some();
        let [file, test] = test;
        match found {
            true => println!("| {} | `{file}.rs`: `{test}` |", mutant.name),
            false => println!("| {} | **nothing**, not by `{file}.rs`: `{test}` |", mutant.name),
        }
        survivors += usize::from(!found);
        eprintln!("{watch}");
    }
    Ok(survivors)
}

/// How many the schedules and tests of the disk tier did not find.
fn of_cache_disk(copy: &Copy, chosen: &[&Mutant]) -> Result<usize> {
    let mut survivors = 0;
    if chosen.is_empty() {
        return Ok(survivors);
    }
    let run = || match copy.failing_test_of("cache-disk", "sim", &[])? {
        None => copy.failing_test_of("cache-disk", "crash", &["--skip", "kills"]),
        found => Ok(found),
    };
    if let Some(test) = run()? {
        return Err(format!("without any fault, the test `{test}` fails").into());
    }
    println!("| fault of the disk tier | found by |\n| --- | --- |");
    for mutant in chosen {
        let watch = Stopwatch::start();
        match copy.with(mutant, run)? {
            Some(test) => println!("| {} | `{test}` |", mutant.name),
            None => {
                survivors += 1;
                println!("| {} | **nothing** |", mutant.name);
            }
        }
        eprintln!("{watch}");
    }
    Ok(survivors)
}

impl Mutant {
    /// Returns the files that the fault changes below `folder`: path, original and mutated text.
    fn edited(&self, folder: &Path) -> Result<Vec<(PathBuf, String, String)>> {
        let mut files = sources(folder)?;
        for edit in self.edits {
            let mut marked =
                files.iter_mut().filter(|(.., text)| markers(text).any(|it| it == edit.marker));
            let (Some((.., text)), None) = (marked.next(), marked.next()) else {
                return Err(format!("not one file has the marker {}", edit.marker).into());
            };
            *text = edit.applied(text)?;
        }
        files.retain(|(_, original, mutated)| original != mutated);
        Ok(files)
    }
}

impl Edit {
    const fn delete(marker: &'static str) -> Self {
        Self { marker, change: Change::Delete }
    }

    const fn line(marker: &'static str, replacement: &'static str) -> Self {
        Self { marker, change: Change::Line(replacement) }
    }

    const fn replace(marker: &'static str, text: &'static str, replacement: &'static str) -> Self {
        Self { marker, change: Change::Replace(text, replacement) }
    }

    fn applied(&self, file: &str) -> Result<String> {
        let marker = format!("{MARKER}{}\n", self.marker);
        let mut found = file.match_indices(&marker);
        let (Some((at, _)), None) = (found.next(), found.next()) else {
            return Err(format!("the marker {} is not there once", self.marker).into());
        };
        let (before, after) = file.split_at(at + marker.len());
        let end_of = |n| after.split_inclusive('\n').take(n).map(str::len).sum();
        let (_, rest) = after.split_at(end_of(1));
        let (window, behind) = after.split_at(end_of(WINDOW_LINES));
        Ok(match self.change {
            Change::Delete => format!("{before}{rest}"),
            Change::Line(replacement) => format!("{before}{replacement}\n{rest}"),
            Change::Replace(text, replacement) => match window.matches(text).count() {
                1 => format!("{before}{}{behind}", window.replacen(text, replacement, 1)),
                n => {
                    return Err(
                        format!("{} has this {n} times, not once:\n{text}", self.marker).into()
                    );
                }
            },
        })
    }
}

/// Returns the sources below `crates/*/src`, each with its text twice.
fn sources(folder: &Path) -> Result<Vec<(PathBuf, String, String)>> {
    let mut files = Vec::new();
    let mut folders: Vec<_> = Vec::new();
    for krate in fs::read_dir(folder.join("crates"))? {
        folders.push(krate?.path().join("src"));
    }
    while let Some(next) = folders.pop() {
        if !next.is_dir() {
            continue;
        }
        for item in fs::read_dir(next)? {
            let path = item?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path)?;
                files.push((path, text.clone(), text));
            }
        }
    }
    Ok(files)
}

/// Returns the names of the markers in `text`.
fn markers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(MARKER))
}

const MARKER: &str = "// mutant: ";

/// How many lines after a marker an edit may change.
const WINDOW_LINES: usize = 15;

/// A copy of the tree.
struct Copy {
    folder: PathBuf,
    target: PathBuf,
}

/// What the simulation found.
struct Found {
    rule: String,
    schedules: u64,
}

impl Copy {
    /// Of all files that git knows or would add. What has not changed since the last copy is left
    /// alone, so that cargo need not build it anew.
    fn made() -> Result<Self> {
        let mutants = root().join("target/mutants");
        let copy = Self { folder: mutants.join("tree"), target: mutants.join("target") };
        let listed = output(command("git").args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))?;
        for path in listed.lines() {
            let Ok(current) = fs::read(root().join(path)) else { continue };
            let copied = copy.folder.join(path);
            if fs::read(&copied).is_ok_and(|copied| copied == current) {
                continue;
            }
            fs::create_dir_all(copied.parent().ok_or("a file is in a folder")?)?;
            fs::write(copied, current)?;
        }
        Ok(copy)
    }

    /// What `run` returns while `mutant` is in the copy.
    fn with<T>(&self, mutant: &Mutant, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let files = mutant.edited(&self.folder)?;
        for (path, _, mutated) in &files {
            fs::write(path, mutated)?;
        }
        let result = run().map_err(|error| format!("{}: {error}", mutant.name).into());
        for (path, original, _) in &files {
            fs::write(path, original)?;
        }
        result
    }

    /// Builds a simulation and plays `seeds` schedules. `None` if no rule is broken.
    fn simulate(&self, (_, package, example): Over, seeds: u64) -> Result<Option<Found>> {
        sh(cargo(&format!("build --quiet --package {package} --example {example}"))
            .current_dir(&self.folder)
            .arg("--target-dir")
            .arg(&self.target)
            .env("RUSTFLAGS", "-Awarnings"))?;
        let json = self.target.join("simulated.json");
        let mut program = Command::new(self.target.join("debug/examples").join(example));
        program.args(["--seeds", &seeds.to_string(), "--json"]).arg(&json);
        let status = program
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()?;
        if status.success() {
            return Ok(None);
        }
        Ok(Some(
            found(&fs::read_to_string(json)?).ok_or("the simulation did not say what it found")?,
        ))
    }

    /// A test of `package` that fails or hangs, of those that `choice` leaves.
    fn failing_test(&self, package: &str, choice: &[&str]) -> Result<Option<String>> {
        self.failing_test_of(package, "it", choice)
    }

    fn failing_test_of(
        &self,
        package: &str,
        target: &str,
        choice: &[&str],
    ) -> Result<Option<String>> {
        let mut tests = command("timeout");
        tests.args(["--kill-after", "10", TESTS_MAX, "cargo", "test", "--test", target]);
        tests.args(["--package", package]).arg("--").args(choice);
        tests
            .current_dir(&self.folder)
            .env("RUSTFLAGS", "-Awarnings")
            .env("CARGO_TARGET_DIR", &self.target);
        let out = tests.output()?;
        let said = String::from_utf8_lossy(&out.stdout);
        match (out.status.success(), failed(&said)) {
            (true, _) => Ok(None),
            (false, Some(test)) => Ok(Some(test.to_owned())),
            (false, None) if out.status.code() == Some(TIMED_OUT) => {
                Ok(Some(hung(&said).unwrap_or("a test that hangs").to_owned()))
            }
            (false, None) => {
                Err(format!("the tests did not run\n{}", String::from_utf8_lossy(&out.stderr))
                    .into())
            }
        }
    }
}

/// The first test that failed, in what the tests say.
fn failed(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
}

/// The first test that ran for long, in what the tests say.
fn hung(said: &str) -> Option<&str> {
    said.lines().find_map(|line| {
        line.strip_prefix("test ")?.split_once(" has been running for over").map(|(test, _)| test)
    })
}

/// The failure with the lowest seed, in the JSON that the simulation writes. Seeds count from 0.
fn found(json: &str) -> Option<Found> {
    let failures = json.split(r#"{"seed": "#).skip(1);
    let each = failures.filter_map(|failure| {
        let seed: u64 = failure.split(',').next()?.parse().ok()?;
        let rule = failure.split(r#""rule": ""#).nth(1)?.split('"').next()?.to_owned();
        Some(Found { rule, schedules: seed + 1 })
    });
    each.min_by_key(|found| found.schedules)
}

/// How many seconds the tests of a faulty copy may take, with their build: some faults make them
/// hang.
const TESTS_MAX: &str = "900";

/// The exit code of `timeout` where the time was up.
const TIMED_OUT: i32 = 124;

/// How many schedules a fault may survive.
const SEEDS: u64 = 50_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failed_test_is_found_in_what_the_tests_say() {
        let said = "running 2 tests\ntest reads::one ... ok\ntest fences::two ... FAILED\n";
        assert_eq!(failed(said), Some("fences::two"));
        assert_eq!(failed("test reads::one ... ok"), None);
    }

    #[test]
    fn a_test_that_hangs_is_found_in_what_the_tests_say() {
        let said =
            "test reads::one ... ok\ntest places::two has been running for over 60 seconds\n";
        assert_eq!(hung(said), Some("places::two"));
        assert_eq!(hung("test reads::one ... ok"), None);
    }

    #[test]
    fn every_fault_still_finds_its_text() {
        for mutant in all() {
            let edited = mutant.edited(&root());
            let files = edited.unwrap_or_else(|error| panic!("{}: {error}", mutant.name));
            assert!(
                files.iter().all(|(_, original, mutated)| original != mutated),
                "{}",
                mutant.name
            );
        }
        assert!(MUTANTS.len() >= 20);
    }

    #[test]
    fn every_fault_that_the_simulation_must_find_is_there() {
        assert_eq!(simulated().count(), simulated::NAMES.len());
    }

    /// One that is not there would fail nothing, so the fault would count as not found: but only
    /// when it is looked for.
    #[test]
    fn every_test_that_is_named_is_there() {
        for (mutant, folder, [file, test]) in with_test() {
            let path = format!("crates/cache-store/tests/it/{folder}{file}.rs");
            let tests = fs::read_to_string(root().join(&path)).unwrap();
            assert!(
                tests.contains(&format!("\nasync fn {test}() {{")),
                "{}: {path}: {test}",
                mutant.name
            );
        }
    }

    #[test]
    fn every_marker_is_there_once_and_used() {
        let files = sources(&root()).unwrap();
        let mut found: Vec<_> = files.iter().flat_map(|(_, text, _)| markers(text)).collect();
        let mut used: Vec<_> = all().flat_map(|it| it.edits).map(|edit| edit.marker).collect();
        found.sort_unstable();
        used.sort_unstable();
        used.dedup();
        assert_eq!(found, used);
    }

    #[test]
    fn an_edit_changes_only_the_lines_after_its_marker() {
        let edit = Edit::replace("sum", "x + 1", "x");
        assert_eq!(
            edit.applied("x + 1\n// mutant: sum\nx + 1").unwrap(),
            "x + 1\n// mutant: sum\nx"
        );
        assert!(edit.applied("x + 1").is_err());
        assert!(edit.applied("// mutant: sum\nx + 2").is_err());
        assert!(edit.applied("// mutant: sum\n(x + 1) * (x + 1)").is_err());
        assert!(edit.applied("// mutant: sum\nx + 1\n// mutant: sum\n").is_err());
        let lines = "// mutant: sum\none\ntwo\n";
        assert_eq!(Edit::delete("sum").applied(lines).unwrap(), "// mutant: sum\ntwo\n");
        assert_eq!(Edit::line("sum", "1").applied(lines).unwrap(), "// mutant: sum\n1\ntwo\n");
    }

    #[test]
    fn the_lowest_seed_is_taken_from_the_json() {
        let json = r#"{"seeds": 9, "operations": 9, "virtual_hours": 0.1, "failures": [{"seed": 7, "backend": "map",
            "rule": "rule 2, x"}, {"seed": 4, "backend": "moka", "rule": "rule 1, y"}]}"#;
        let first = found(json).unwrap();
        assert_eq!((first.rule.as_str(), first.schedules), ("rule 1, y", 5));
        assert!(found(r#"{"seeds": 9, "failures": []}"#).is_none());
    }
}
