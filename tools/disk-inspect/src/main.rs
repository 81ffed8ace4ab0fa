//! Shows what is in the directory of a disk tier, and verifies it. For people with a disk that
//! they do not trust, or a cache that does not find what it should.
#![forbid(unsafe_code)]

mod lines;
mod options;
mod table;

use std::{
    env,
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use cache_disk::inspect::{Inspector, Verify};

use crate::{
    lines::Lines,
    options::{Options, USAGE},
    table::Table,
};

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("disk-inspect: {error}");
            return ExitCode::from(2);
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match inspect(&options, &mut out).and_then(|found| out.flush().map(|()| found)) {
        Ok(Found { is_damaged: false }) => ExitCode::SUCCESS,
        Ok(Found { is_damaged: true }) => ExitCode::FAILURE,
        // Piped into `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("disk-inspect: {}: {error}", options.directory.display());
            ExitCode::from(2)
        }
    }
}

struct Found {
    is_damaged: bool,
}

/// How what was found is written.
enum Output {
    Table(Table),
    Json(Lines),
}

fn inspect(options: &Options, out: &mut impl Write) -> io::Result<Found> {
    let inspector = Inspector::open(&options.directory)?;
    let verify = if options.verify { Verify::Bodies } else { Verify::Heads };
    let mut output = if options.json {
        Output::Json(Lines::new(options.entries))
    } else {
        Output::Table(Table::new(options.entries))
    };
    let mut found = Found { is_damaged: false };
    for name in inspector.segments()? {
        let mut written = Ok(());
        let summary = inspector.segment(name, verify, |record| {
            if written.is_ok() {
                written = match &mut output {
                    Output::Table(table) => table.record(out, &record),
                    Output::Json(lines) => lines.record(out, name, &record),
                };
            }
        });
        written?;
        match summary {
            Ok(summary) => {
                found.is_damaged |= summary.is_damaged();
                match &mut output {
                    Output::Table(table) => table.segment(summary),
                    Output::Json(lines) => lines.segment(out, &summary)?,
                }
            }
            // A cache has recycled it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                found.is_damaged = true;
                eprintln!("disk-inspect: {name}: {error}");
            }
        }
    }
    if let Output::Table(table) = output {
        table.end(out)?;
    }
    if !inspector.has_key() {
        eprintln!(
            "disk-inspect: the directory has no readable object-cache.lock: a cache that opens it \
             does not use these segments"
        );
    }
    Ok(found)
}
