//! The colours: those that every terminal has, so that they suit its ground.

use ratatui::style::{Color, Modifier, Style};

use crate::tally::Answer;

/// That of an answer.
pub(crate) fn of(answer: Answer) -> Color {
    match answer {
        Answer::Fresh => Color::Green,
        Answer::Revalidated => Color::Cyan,
        Answer::Stale => Color::Yellow,
        Answer::Fetched => Color::Blue,
        Answer::Refetched => Color::Magenta,
        Answer::NotFound => Color::Gray,
        Answer::Error => Color::Red,
    }
}

pub(crate) const GOOD: Color = Color::Green;
pub(crate) const BAD: Color = Color::Red;
/// Of frames, and behind bars.
pub(crate) const LINE: Color = Color::DarkGray;
pub(crate) const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
pub(crate) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
