//! `cargo xtask report`: the latest measurements as one page without scripts or external files.

mod instructions;
mod page;
mod ratios;
#[cfg(test)]
mod tests;

use std::{env, fs, io, path::Path, process::ExitCode};

use serde::de::DeserializeOwned;

use crate::{
    Result,
    output::{target_folder, write},
    replay::ROWS_FILE,
    row::Row,
    table::cases,
};
use instructions::Instructions;
use page::Page;

/// Runs the program: reads the measurements in the target folder and writes the page.
pub fn main() -> ExitCode {
    let args: Vec<_> =
        env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let done = match args.as_slice() {
        [] => run(),
        [arg] if matches!(arg.as_str(), "--help" | "-h") => Ok(USAGE.to_owned()),
        [arg, ..] => Err(format!("unexpected argument {arg:?}; see --help").into()),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "\
cargo xtask report

Writes target/report.html, one page with the latest results of

  cargo bench                                               times side by side with other caches
  cargo xtask simulate --trace FILE…                        hit ratios of eviction policies
  cargo xtask instructions --json target/instructions.json  instructions of the hot loops

and prints its path. Where results are missing, the page names the command to run.";

/// Writes the page and returns its path.
fn run() -> Result<String> {
    let target = target_folder();
    let page = target.join("report.html");
    write(&page, &Page::read(&target)?.html())?;
    Ok(page.display().to_string())
}

impl Page {
    fn read(target: &Path) -> Result<Self> {
        Ok(Self {
            ratios: ratios::read(&target.join("ratios"))?,
            instructions: json::<Vec<Instructions>>(&target.join("instructions.json"))?
                .unwrap_or_default(),
            rows: rows(&target.join("simulate").join(ROWS_FILE))?,
        })
    }
}

/// Reads the rows of the last simulation; none without a file.
fn rows(path: &Path) -> Result<Vec<Row>> {
    let rows: Vec<Row> = json(path)?.unwrap_or_default();
    let policies = |pair: &[Row]| pair.iter().map(|row| row.policy.clone()).collect::<Vec<_>>();
    let all: Vec<_> = cases(&rows).map(policies).collect();
    if all.windows(2).any(|two| two[0] != two[1]) {
        let what = "rows of different policies; run `cargo xtask simulate` again";
        return Err(format!("{}: {what}", path.display()).into());
    }
    Ok(rows)
}

/// Parses the file; `None` if it does not exist.
fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    };
    let value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Some(value))
}
