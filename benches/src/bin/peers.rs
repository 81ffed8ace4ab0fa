//! `cargo xtask peers`: this cache and its peers through the same races, as a Markdown table. An
//! unwanted outcome is bold; the program fails if this cache has one.
#![forbid(unsafe_code)]

use std::{panic, process::ExitCode};

use benches::races::{CONTENDERS, OURS, PLANNED_PANIC, RACES};

fn main() -> ExitCode {
    panic::set_hook(Box::new(|info| {
        if !info.to_string().contains(PLANNED_PANIC) {
            eprintln!("{info}");
        }
    }));
    let heads = CONTENDERS.map(|contender| match contender.name {
        OURS => "this cache".to_owned(),
        "object_store" => {
            format!("the sketch in the documentation of object_store {}", version("object_store"))
        }
        name => format!("{name} {}", version(name)),
    });
    let columns = CONTENDERS.map(|contender| {
        // With time: our cache sets a timeout for each request, though none expires here.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime can be built").block_on(contender.run())
    });
    println!("| | {} |\n|{}", heads.join(" | "), " --- |".repeat(CONTENDERS.len() + 1));
    for (n, race) in RACES.iter().enumerate() {
        let cells = columns.each_ref().map(|column| match &column[n] {
            outcome if outcome.is_good || outcome.text.contains("**") => outcome.text.clone(),
            outcome => format!("**{}**", outcome.text),
        });
        println!("| {race} | {} |", cells.join(" | "));
    }
    let mut columns = CONTENDERS.iter().zip(&columns);
    let is_ours_good = columns.all(|(contender, column)| {
        contender.name != OURS || column.iter().all(|cell| cell.is_good)
    });
    if is_ours_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns a package's version from the lock file.
fn version(name: &str) -> &'static str {
    let package = format!("name = \"{name}\"\nversion = \"");
    // Of several versions the newest, which is listed last.
    let found = include_str!("../../../Cargo.lock").rsplit_once(&package);
    found.and_then(|(_, rest)| rest.split('"').next()).unwrap_or("of an unknown version")
}
