//! The colours of every terminal, which fit its background.

use ratatui::style::{Color, Modifier, Style};

use crate::tally::Answer;

/// The colour of a result.
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
/// Frames, and the background of bars.
pub(crate) const LINE: Color = Color::DarkGray;
pub(crate) const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
pub(crate) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
