//! `cargo xtask demo`: two nodes over a slow store, live.
#![forbid(unsafe_code)]

mod accounts;
mod bodies;
mod bucket;
mod chart;
mod disk;
mod film;
mod ledger;
mod live;
mod options;
mod palette;
mod plain;
mod rule;
mod script;
mod signals;
mod svg;
mod tally;
#[cfg(test)]
mod tests;
mod units;
mod view;
mod world;

use std::{
    env,
    error::Error,
    fs,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use ratatui::{buffer::Buffer, layout::Rect, widgets::Widget};
use tokio::runtime::Runtime;

use crate::{
    film::Film,
    options::{Options, USAGE},
    view::{Footer, View},
    world::{Settings, World},
};

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("demo: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all reads were right and all counts agree.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    if options.disk {
        let folder = tempfile::tempdir()?;
        let mut out = io::stdout();
        let run = disk::run(disk::Settings::default(), folder.path(), &mut out);
        return Runtime::new()?.block_on(run);
    }
    let is_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    let is_live = !options.plain && is_terminal && !is_dumb;
    let runtime = Runtime::new()?;
    let mut world = runtime.block_on(World::start(Settings::default()))?;
    let mut film = Film::new(world.figures());
    // Not locked: the panic hook of another thread writes to it to restore the terminal.
    let mut out = io::stdout();
    if is_live {
        live::run(&runtime, &mut world, &mut film, options.span)?;
    } else {
        let span = options.span.unwrap_or(plain::SPAN);
        let told = signals::told_to_end();
        runtime.block_on(plain::run(&mut world, &mut film, span, told, &mut out))?;
    }
    film.end(runtime.block_on(world.stop())?);
    out.write_all(plain::summary(&film).as_bytes())?;
    if let Some(path) = &options.svg {
        let write = fs::write(path, picture(&film));
        write.map_err(|error| format!("could not write {}: {error}", path.display()))?;
    }
    Ok(film.is_right())
}

/// The last view.
fn picture(film: &Film) -> String {
    let mut buffer = Buffer::empty(PICTURE);
    View { film, footer: Footer::Accounts }.render(PICTURE, &mut buffer);
    svg::render(&buffer, "cargo xtask demo: two caches over one slow store")
}

/// Columns and rows.
const PICTURE: Rect = Rect { x: 0, y: 0, width: 104, height: 30 };
