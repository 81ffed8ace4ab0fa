//! `cargo xtask dashboards`: the dashboard and the alerts in Prometheus' own engine. The program is
//! the package `dashboards-check`.

use std::process::ExitCode;

use crate::shell::{Result, build_and_run, cargo, run as sh};

pub(crate) const USAGE: &str = "\
cargo xtask dashboards
    Runs the queries of the dashboard, the alerts and their tests in promtool. Skipped without
    promtool (Debian package: prometheus).";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build_and_run("build --package dashboards-check", args)
}

/// The step of `cargo xtask ci`.
pub(crate) fn check() -> Result<()> {
    sh(&mut cargo("run --quiet --locked --package dashboards-check"))
}
