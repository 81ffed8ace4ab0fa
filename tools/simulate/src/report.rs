//! What was measured last, as one page that needs neither a network nor a script.

mod instructions;
mod page;
mod ratios;
#[cfg(test)]
mod tests;
mod times;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::de::DeserializeOwned;

use crate::{
    Result,
    output::{target_folder, write},
    replay::ROWS_FILE,
    row::Row,
    table::pairs,
};
use instructions::Instructions;
use page::Page;
use times::Time;

/// The program: reads what there is in the target folder and writes the page.
pub fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    if args.iter().any(|arg| matches!(arg.as_str(), "--help" | "-h")) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(path) => {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "\
cargo xtask report [--out FILE] [--instructions FILE]

Writes what `cargo bench`, `cargo xtask simulate` and `cargo xtask instructions` measured last into one HTML page,
and prints where it is. What has not been measured is said on the page, with the command for it.

  --out FILE             the page; default: report.html in the target folder
  --instructions FILE    the rows of `cargo xtask instructions --json FILE`; default: instructions.json in the target
                         folder
";

fn run(args: &[String]) -> Result<PathBuf> {
    let target = target_folder();
    let (mut out, mut instructions) = (target.join("report.html"), target.join("instructions.json"));
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--out" => out = value()?.into(),
            "--instructions" => instructions = value()?.into(),
            _ => return Err(format!("no option {arg}; see --help").into()),
        }
    }
    write(&out, &Page::read(&target, &instructions)?.html())?;
    Ok(out)
}

impl Page {
    /// Of what is in the target folder, and in the file of instructions.
    fn read(target: &Path, instructions: &Path) -> Result<Self> {
        Ok(Self {
            ratios: ratios::read(&target.join("ratios"))?,
            times: times::read(&target.join("criterion"))?,
            instructions: json::<Vec<Instructions>>(instructions)?.unwrap_or_default(),
            rows: rows(&target.join("simulate").join(ROWS_FILE))?,
        })
    }
}

/// The rows of a simulation; none if there was none.
fn rows(path: &Path) -> Result<Vec<Row>> {
    let rows: Vec<Row> = json(path)?.unwrap_or_default();
    let policies = |pair: &[Row]| pair.iter().map(|row| row.policy.clone()).collect::<Vec<_>>();
    let all: Vec<_> = pairs(&rows).map(policies).collect();
    if all.windows(2).any(|two| two[0] != two[1]) {
        let what =
            "not every pair of trace and capacity has the same policies; run `cargo xtask simulate` again";
        return Err(format!("{}: {what}", path.display()).into());
    }
    Ok(rows)
}

/// What is in the file; `None` if there is no file.
fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    };
    let value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Some(value))
}
