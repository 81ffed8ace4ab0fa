//! `cargo xtask peers`: ours and its peers through the same races, as a Markdown table. Every run gives the same one.
//!
//! Each cache is used as its documentation shows, at its own default settings. What a reader would not want is bold;
//! of ours that would be a failure.
#![forbid(unsafe_code)]

#[path = "../races/mod.rs"]
mod races;

use std::{panic, process::ExitCode};

use crate::races::{RACES, caches::CACHES};

fn main() -> ExitCode {
    // What panics here was told to.
    panic::set_hook(Box::new(|info| {
        if !info.to_string().contains("as it was told") {
            eprintln!("{info}");
        }
    }));
    let lock = include_str!("../../Cargo.lock");
    let heads = CACHES.map(|(name, _)| match name {
        "object-cache" => "this cache".to_owned(),
        "object_store" => format!("the sketch in the documentation of object_store {}", version(lock, name)),
        _ => format!("{name} {}", version(lock, name)),
    });
    println!("| | {} |\n|{}", heads.join(" | "), " --- |".repeat(CACHES.len() + 1));
    let mut ours_is_good = true;
    for race in &RACES {
        let outcomes = CACHES.map(|(name, make)| {
            // With time: the origin's deadline needs it, though nobody waits that long.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let outcome = runtime.expect("a runtime can be had").block_on((race.run)(make));
            ours_is_good &= outcome.is_good || name != "object-cache";
            match outcome.is_good || outcome.said.contains("**") {
                true => outcome.said,
                false => format!("**{}**", outcome.said),
            }
        });
        println!("| {} | {} |", race.name, outcomes.join(" | "));
    }
    match ours_is_good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What the lock file says is built.
fn version<'a>(lock: &'a str, name: &str) -> &'a str {
    let package = format!("name = \"{name}\"\nversion = \"");
    let found = lock.split(&package).nth(1).and_then(|rest| rest.split('"').next());
    found.unwrap_or("of some version")
}
