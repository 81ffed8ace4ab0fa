//! `cargo xtask soak`: two nodes over one S3 server, under load for minutes, with faults and storms of cancelled reads;
//! at the end nothing may be left, and everything must add up.
#![forbid(unsafe_code)]

#[path = "../soak/mod.rs"]
mod soak;

use std::{env, error::Error, fs, path::PathBuf, process::ExitCode, time::Duration};

use crate::soak::{Settings, server};

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    if let [first, seed] = args
        && first == server::SERVE
    {
        server::serve(seed.parse()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (settings, json) = options(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(soak::run(settings))?;
    println!("{report}");
    if let Some(file) = json {
        fs::write(file, serde_json::to_string_pretty(&report.figures)? + "\n")?;
    }
    Ok(if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(args: &[String]) -> Result<(Settings, Option<PathBuf>), Box<dyn Error>> {
    let (mut settings, mut json) = (Settings { span: Duration::from_secs(60), seed: 1 }, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--minutes" => settings.span = Duration::try_from_secs_f64(60.0 * value.parse::<f64>()?)?,
            "--seed" => settings.seed = value.parse()?,
            "--json" => json = Some(value.into()),
            _ => return Err(format!("{arg}? there are --minutes, --seed and --json").into()),
        }
    }
    Ok((settings, json))
}
