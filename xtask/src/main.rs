//! Every task of the workspace: `cargo xtask TASK`. One task, one module.
#![forbid(unsafe_code)]

mod ci;
mod clients;
mod clock;
mod dashboards;
mod instructions;
mod mutants;
mod programs;
mod servers;
mod shell;
mod simulate_nodes;
mod soak;

use std::{env, process::ExitCode};

use crate::shell::Result;

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let name = args.next().unwrap_or_default();
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        println!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("{}", usage());
        return ExitCode::from(2);
    };
    let args: Vec<_> = args.collect();
    if task.says_usage(&args) {
        println!("{}", task.usage);
        return ExitCode::SUCCESS;
    }
    match (task.run)(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Task {
    name: &'static str,
    usage: &'static str,
    /// Gets the arguments after the name of the task.
    run: fn(&[String]) -> Result<ExitCode>,
}

impl Task {
    /// Whether to print the usage. Programs with a `--help` of their own print more than that.
    fn says_usage(&self, args: &[String]) -> bool {
        let is_asked = matches!(args.first().map(String::as_str), Some("--help" | "-h"));
        is_asked && !HELPFUL.contains(&self.name)
    }
}

/// Tasks whose programs have a `--help` of their own.
const HELPFUL: [&str; 5] = ["demo", "disk-inspect", "report", "simulate", "simulate-nodes"];

const TASKS: &[Task] = &[
    Task { name: "ci", usage: ci::USAGE, run: ci::run },
    Task { name: "clients", usage: clients::USAGE, run: clients::run },
    Task { name: "dashboards", usage: dashboards::USAGE, run: dashboards::run },
    programs::DEMO,
    programs::DISK_INSPECT,
    Task { name: "instructions", usage: instructions::USAGE, run: instructions::run },
    Task { name: "mutants", usage: mutants::USAGE, run: mutants::run },
    programs::PEERS,
    programs::REPORT,
    Task { name: "servers", usage: servers::USAGE, run: servers::run },
    programs::SIMULATE,
    Task { name: "simulate-nodes", usage: simulate_nodes::USAGE, run: simulate_nodes::run },
    Task { name: "soak", usage: soak::USAGE, run: soak::run },
];

fn usage() -> String {
    let tasks: Vec<_> = TASKS.iter().map(|task| task.usage).collect();
    format!("cargo xtask TASK [OPTION…]\ncargo xtask TASK --help\n\n{}", tasks.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_into_a_terminal() {
        let usage = usage();
        let wide = usage.lines().find(|line| line.chars().count() > 100);
        assert_eq!(wide, None);
    }

    #[test]
    fn programs_with_a_help_of_their_own_print_it() {
        let asked = ["--help".to_owned()];
        let others: Vec<_> =
            TASKS.iter().filter(|task| !task.says_usage(&asked)).map(|task| task.name).collect();
        assert_eq!(others, HELPFUL);
        assert!(!TASKS[0].says_usage(&[]));
    }
}
