//! What must stay absent from the code, and so cannot be seen by reading it.
//!
//! Each rule is a function over one file, or over one crate's dependencies; the tests below show
//! each of them a case that it must refuse. This file is not looked at: it spells out what it looks
//! for.

use std::env;

use super::{
    cycles,
    sources::{Source, sources},
    tree,
};
use crate::shell::{Result, root};

/// Checks every file that git knows or would add, then what the crates depend on.
pub(super) fn check() -> Result<()> {
    let mut sources = sources()?;
    sources.retain(|source| source.path != "xtask/src/ci/absences.rs");
    let machine = Machine::this();
    let mut findings: Vec<_> =
        sources.iter().flat_map(|source| findings_in(source, &machine)).collect();
    for (package, unwanted) in STRANGERS {
        let tree = tree::dependencies(package)?;
        findings.extend(
            known(&tree, unwanted)
                .map(|stranger| format!("{package} depends on {stranger}, and must not")),
        );
    }
    findings.extend(cycles::findings(
        sources.iter().map(|source| (source.path.as_str(), source.text.as_str())),
    ));
    if findings.is_empty() {
        println!("{} files, {} rules", sources.len(), RULES.len() + 2 + STRANGERS.len());
        return Ok(());
    }
    Err(findings.join("\n").into())
}

struct Rule {
    must: &'static str,
    applies: fn(path: &str) -> bool,
    /// The lines, counted from 1, that break the rule.
    broken: fn(text: &str) -> Vec<usize>,
}

const RULES: [Rule; 8] = [
    Rule {
        must: "clocks are read only in a file named clock.rs",
        // In tests clippy's list of disallowed methods is enough: each use of virtual time gives
        // its reason there.
        applies: |path| {
            path.ends_with(".rs") && !path.ends_with("/clock.rs") && !path.contains("/tests/")
        },
        broken: |text| {
            code_with(
                text,
                &["Instant::now", "SystemTime::now", "Utc::now", "Local::now", "quanta::"],
            )
        },
    },
    Rule {
        must: "nothing sleeps on the wall clock; wait for a gate or a paused clock",
        applies: |path| path.ends_with(".rs"),
        broken: |text| code_with(text, &["thread::sleep", "thread::park_timeout"]),
    },
    Rule {
        must: "a library installs no global recorder, tracer or logger",
        applies: |path| path.starts_with("crates/") && path.contains("/src/"),
        broken: |text| code_with(text, &GLOBALS),
    },
    Rule {
        must: "no stub is left",
        applies: |path| path.ends_with(".rs"),
        broken: |text| code_with(text, &["todo!", "unimplemented!"]),
    },
    Rule {
        must: "no test is ignored",
        applies: |path| path.ends_with(".rs"),
        broken: |text| code_with(text, &["#[ignore", ", ignore"]),
    },
    Rule {
        must: "every example in the documentation is compiled",
        applies: |path| path.ends_with(".rs") || path.ends_with(".md"),
        broken: |text| lines(text, |line| line.contains("```") && line.contains("ignore")),
    },
    Rule {
        must: "a crate's root forbids unsafe code",
        applies: |path| path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs"),
        broken: |text| missing(text, "#![forbid(unsafe_code)]"),
    },
    Rule {
        must: "a crate takes the workspace's lints",
        applies: |path| path.ends_with("/Cargo.toml"),
        broken: |text| missing(text, "[lints]\nworkspace = true\n"),
    },
];

const GLOBALS: [&str; 8] = [
    "set_global_recorder",
    "set_global_default",
    "set_logger",
    "set_boxed_logger",
    "set_meter_provider",
    "set_tracer_provider",
    "set_text_map_propagator",
    "tracing_subscriber",
];

/// Crates, and what they must not know.
const STRANGERS: [(&str, &[&str]); 9] = [
    (
        "cache-core",
        &["object_store", "cache-policy", "cache-store", "cache-metrics", "cache-facade"],
    ),
    ("cache-policy", &["object_store", "cache-store", "cache-metrics", "cache-facade"]),
    (
        "cache-disk",
        &["object_store", "cache-policy", "cache-store", "cache-metrics", "cache-facade"],
    ),
    ("cache-metrics", &["object_store", "cache-policy", "cache-store", "cache-facade"]),
    ("cache-store", &["cache-policy", "cache-facade"]),
    ("cache-bus-redis", NOT_FOR_A_BUS),
    ("cache-bus-nats", NOT_FOR_A_BUS),
    ("cache-bus-events", NOT_FOR_A_BUS),
    // Not with any feature.
    (
        "cache-facade",
        &["redis", "async-nats", "cache-bus-redis", "cache-bus-nats", "cache-bus-events"],
    ),
];

const NOT_FOR_A_BUS: &[&str] =
    &["object_store", "cache-policy", "cache-store", "cache-metrics", "cache-facade"];

/// What a file would tell about the machine it was written on.
struct Machine(Vec<String>);

impl Machine {
    fn this() -> Self {
        let home = env::var("HOME").unwrap_or_default();
        let folders = [root().display().to_string(), home];
        // A home of `/` tells nothing.
        let folders = folders.into_iter().filter(|folder| folder.len() > 1);
        Self(folders.map(|folder| format!("{}/", folder.trim_end_matches('/'))).collect())
    }

    fn broken(&self, text: &str) -> Vec<usize> {
        lines(text, |line| self.0.iter().any(|folder| line.contains(folder)))
    }
}

fn findings_in(source: &Source, machine: &Machine) -> Vec<String> {
    let applicable = RULES.iter().filter(|rule| (rule.applies)(&source.path));
    applicable
        .flat_map(|rule| (rule.broken)(&source.text).into_iter().map(|line| (line, rule.must)))
        .chain(
            machine
                .broken(&source.text)
                .into_iter()
                .map(|line| (line, "no file names a machine's folders")),
        )
        .map(|(line, must)| format!("{}:{line}: {must}", source.path))
        .collect()
}

/// Which of `unwanted` are in `tree`, one package a line.
fn known<'a>(tree: &str, unwanted: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let names: Vec<_> =
        tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    unwanted.iter().copied().filter(move |name| names.iter().any(|known| known == name))
}

fn lines(text: &str, is_broken: impl Fn(&str) -> bool) -> Vec<usize> {
    (1..).zip(text.lines()).filter(|(_, line)| is_broken(line)).map(|(n, _)| n).collect()
}

/// Lines with one of `words` outside a comment.
fn code_with(text: &str, words: &[&str]) -> Vec<usize> {
    lines(text, |line| {
        let code = line.split("//").next().unwrap_or(line);
        words.iter().any(|word| code.contains(word))
    })
}

fn missing(text: &str, needed: &str) -> Vec<usize> {
    if text.contains(needed) { Vec::new() } else { vec![1] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let machine = Machine(vec!["/home/me/".to_owned()]);
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        assert_eq!(findings_in(&source, &machine), expected, "{text}");
    }

    const CLOCK: &str = "clocks are read only in a file named clock.rs";
    const SLEEP: &str = "nothing sleeps on the wall clock; wait for a gate or a paused clock";
    const GLOBAL: &str = "a library installs no global recorder, tracer or logger";

    #[test]
    fn a_clock_read_elsewhere_is_found() {
        let at_2 = format!("crates/a/src/get.rs:2: {CLOCK}");
        for read in [
            "Instant::now()",
            "tokio::time::Instant::now()",
            "SystemTime::now()",
            "chrono::Utc::now()",
        ] {
            check("crates/a/src/get.rs", &format!("fn f() {{\n    {read};\n}}"), &[&at_2]);
            check("crates/a/src/clock.rs", &format!("fn f() {{\n    {read};\n}}"), &[]);
        }
        check(
            "crates/a/src/my_clock.rs",
            "Instant::now()",
            &[&format!("crates/a/src/my_clock.rs:1: {CLOCK}")],
        );
        check("crates/a/src/get.rs", "/// Unlike `Instant::now()`, this is cheap.", &[]);
    }

    #[test]
    fn a_sleep_is_found() {
        let text = "std::thread::sleep(Duration::from_secs(1));";
        check(
            "crates/a/tests/it/main.rs",
            text,
            &[&format!("crates/a/tests/it/main.rs:1: {SLEEP}")],
        );
    }

    #[test]
    fn a_global_installed_by_a_library_is_found() {
        let text = "metrics::set_global_recorder(recorder)?;";
        check(
            "crates/a/src/lib.rs",
            &format!("#![forbid(unsafe_code)]\n{text}"),
            &[&format!("crates/a/src/lib.rs:2: {GLOBAL}")],
        );
        check("crates/a/examples/demo.rs", text, &[]);
    }

    #[test]
    fn a_stub_is_found() {
        for stub in ["todo!()", "unimplemented!(\"later\")"] {
            check("crates/a/src/x.rs", stub, &["crates/a/src/x.rs:1: no stub is left"]);
        }
    }

    #[test]
    fn an_ignored_test_is_found() {
        for attribute in ["#[ignore]", "#[ignore = \"slow\"]", "#[cfg_attr(not(unix), ignore)]"] {
            check(
                "crates/a/tests/it/x.rs",
                attribute,
                &["crates/a/tests/it/x.rs:1: no test is ignored"],
            );
        }
    }

    #[test]
    fn an_example_that_is_not_compiled_is_found() {
        let must = "every example in the documentation is compiled";
        check("README.md", "```ignore", &[&format!("README.md:1: {must}")]);
        check(
            "crates/a/src/x.rs",
            "/// ```rust,ignore",
            &[&format!("crates/a/src/x.rs:1: {must}")],
        );
        check("README.md", "```toml\nignore = true\n```", &[]);
    }

    #[test]
    fn a_root_that_allows_unsafe_code_is_found() {
        let must = "a crate's root forbids unsafe code";
        check("crates/a/src/lib.rs", "//! A crate.", &[&format!("crates/a/src/lib.rs:1: {must}")]);
        check("xtask/src/main.rs", "fn main() {}", &[&format!("xtask/src/main.rs:1: {must}")]);
        check("crates/a/src/lib.rs", "//! A crate.\n#![forbid(unsafe_code)]", &[]);
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let must = "a crate takes the workspace's lints";
        check("crates/a/Cargo.toml", "[package]\n", &[&format!("crates/a/Cargo.toml:1: {must}")]);
        check("crates/a/Cargo.toml", "[package]\n[lints]\nworkspace = true\n", &[]);
    }

    #[test]
    fn a_folder_of_the_machine_is_found() {
        check(
            "README.md",
            "cd /home/me/cache",
            &["README.md:1: no file names a machine's folders"],
        );
        check("README.md", "cd /home/you/cache", &[]);
        assert!(Machine::this().0.contains(&format!("{}/", root().display())));
    }

    #[test]
    fn a_stranger_among_the_dependencies_is_found() {
        let tree = "cache-core v0.1.0 (/x)\nbytes v1.12.2\nobject_store v0.14.2 (*)\n";
        assert!(known(tree, &["object_store", "cache-store"]).eq(["object_store"]));
        assert!(known(tree, &["object", "cache-store"]).next().is_none());
    }
}
