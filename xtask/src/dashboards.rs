//! `cargo xtask dashboards`: what the dashboard and the alerts name, against a cache that a real Prometheus scrapes.

use std::process::ExitCode;

use crate::shell::{Result, build_and_run, cargo, run as sh};

pub(crate) const USAGE: &str = "\
cargo xtask dashboards                   check the dashboard and the alerts against a running cache that Prometheus
                                         scrapes; left out where Debian's package prometheus is not installed
cargo xtask dashboards write             make dashboards/object-cache.json anew, after a change of its generator";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build_and_run("build --package dashboards-check", args)
}

/// The step of `cargo xtask ci`.
pub(crate) fn check() -> Result<()> {
    sh(&mut cargo("run --quiet --locked --package dashboards-check"))
}
