//! `cargo xtask dashboards`.
#![forbid(unsafe_code)]

mod alerts;
mod arithmetic;
mod catalog;
mod check;
mod dashboard;
mod exporter;
mod exposition;
mod generate;
mod prometheus;
mod promql;
mod traffic;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => check::run(),
        ["write"] => generate::write().map(|()| ExitCode::SUCCESS).map_err(Into::into),
        _ => Err("cannot read these arguments; see cargo xtask dashboards --help".into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("dashboards: {error}");
        ExitCode::FAILURE
    })
}
