//! `cargo xtask report`: the latest measurements as a page. The program is in the package `simulate`.

use std::process::{Command, ExitCode};

use crate::shell::{Result, root};

pub(crate) const USAGE: &str = "\
cargo xtask report
    Writes the latest results of `cargo bench`, `simulate` and `instructions` to
    target/report.html.";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    // In the folder of whoever calls, for the paths among the arguments.
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--locked", "--package", "simulate", "--bin", "report"]);
    command.arg("--manifest-path").arg(root().join("Cargo.toml")).arg("--").args(args);
    let status = command.status().map_err(|error| format!("could not run cargo: {error}"))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
