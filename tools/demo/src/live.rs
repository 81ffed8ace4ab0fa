//! The display in the terminal, and its keys.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};
use tokio::runtime::Runtime;

use crate::{
    film::{Film, Switched},
    script::switch,
    signals,
    view::{Footer, View},
    world::World,
};

/// Shows the run until `q` is pressed, the time is up, or a signal ends the process. Restores the
/// terminal, also after a panic.
pub(crate) fn run(
    runtime: &Runtime,
    world: &mut World,
    film: &mut Film,
    span: Option<Duration>,
) -> Result<(), Box<dyn Error>> {
    let is_told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&is_told);
    // In raw mode Ctrl-C is a key; other programs can still send signals.
    runtime.spawn(async move {
        signals::told_to_end().await;
        tell.store(true, Ordering::Relaxed);
    });
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, world, film, span, &is_told);
    if let Ok(End::Panic) = shown {
        // The panic hook has restored the terminal; restoring it again would overwrite the message.
        return Err("a reader or the writer panicked".into());
    }
    ratatui::restore();
    shown.map(drop)
}

/// Why the display ended.
enum End {
    Requests,
    Panic,
}

fn show(
    terminal: &mut DefaultTerminal,
    world: &mut World,
    film: &mut Film,
    span: Option<Duration>,
    is_told: &AtomicBool,
) -> Result<End, Box<dyn Error>> {
    let mut due = TICK;
    loop {
        if !world.is_whole() {
            return Ok(End::Panic);
        }
        let now = world.elapsed();
        if is_told.load(Ordering::Relaxed) || span.is_some_and(|span| now >= span) {
            return Ok(End::Requests);
        }
        if now >= due {
            film.add(world.figures());
            due = now + TICK;
        }
        let view = View { film, footer: Footer::Keys };
        terminal.draw(|frame| frame.render_widget(view, frame.area()))?;
        let left = due.saturating_sub(world.elapsed());
        if event::poll(left)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            let is_ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
            let switched = match key.code {
                KeyCode::Char('c') if is_ctrl => return Ok(End::Requests),
                KeyCode::Char('q') | KeyCode::Esc => return Ok(End::Requests),
                KeyCode::Char('f') => Switched::Rule(world.next_rule()),
                KeyCode::Char('k') if world.bucket().is_up() => Switched::OriginOff,
                KeyCode::Char('k') => Switched::OriginOn,
                KeyCode::Char('b') if world.is_bus_cut() => Switched::BusOn,
                KeyCode::Char('b') => Switched::BusCut,
                _ => continue,
            };
            switch(world, switched);
            film.mark(switched);
        }
    }
}

/// Between two samples.
const TICK: Duration = Duration::from_millis(250);
