//! Reads per second over time, one column for each sample, stacked by result.

use std::array;

use ratatui::{
    buffer::{Buffer, Cell},
    layout::Rect,
    style::{Color, Style},
    text::Span,
    widgets::Widget,
};

use crate::{
    film::{Film, Sample, Switched},
    palette,
    tally::Answer,
    units,
};

/// Draws into `area`: the scale at the left; the switches and, if there is room, the seconds below.
pub(crate) fn draw(film: &Film, area: Rect, buffer: &mut Buffer) {
    if area.width <= SCALE + 1 || area.height < 2 {
        return;
    }
    let below = if area.height >= 5 { 2 } else { 1 };
    let plot =
        Rect { x: area.x + SCALE, width: area.width - SCALE, height: area.height - below, ..area };
    let (samples, marks) = film.last(plot.width.into());
    let top = nice(samples.iter().map(Sample::rate).fold(0.0, f64::max));
    scale(top, area, plot.height, buffer);
    for (column, sample) in (plot.x..).zip(&samples) {
        bar(sample, top, column, plot, buffer);
    }
    labels(&marks, Rect { y: plot.bottom(), height: 1, ..plot }, buffer);
    if below == 2 {
        seconds(&samples, Rect { y: plot.bottom() + 1, height: 1, ..plot }, buffer);
    }
}

/// The time axis: a label at the first column of every multiple of a round number of seconds.
fn seconds(samples: &[Sample], area: Rect, buffer: &mut Buffer) {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return };
    let start = first.at.saturating_sub(first.span);
    let columns_per_second = samples.len() as f64 / (last.at - start).as_secs_f64();
    let step = STEPS.into_iter().find(|step| *step as f64 * columns_per_second >= LABEL);
    let step = step.unwrap_or(STEPS[STEPS.len() - 1]);
    // The first sample of a run begins a little after zero.
    let mut next =
        (start.as_secs() + u64::from(start.subsec_millis() > 100)).next_multiple_of(step);
    for (x, sample) in (area.x..).zip(samples) {
        if sample.at.as_secs_f64() > next as f64 {
            let text = format!("{next} s");
            if area.right() - x >= u16::try_from(text.len()).unwrap_or(u16::MAX) {
                let at = Rect { x, width: area.right() - x, ..area };
                Span::styled(text, palette::FAINT).render(at, buffer);
            }
            next += step;
        }
    }
}

/// The numbers at the left: the top, half of it if there is room, and zero.
fn scale(top: f64, area: Rect, plot_height: u16, buffer: &mut Buffer) {
    let mut write = |row: u16, n: f64| {
        let text = format!("{:>1$} ", units::short(n), usize::from(SCALE) - 1);
        let at = Rect { y: area.y + row, width: SCALE, height: 1, ..area };
        Span::styled(text, palette::FAINT).render(at, buffer);
    };
    write(0, top);
    if plot_height >= 5 && plot_height.is_multiple_of(2) {
        write(plot_height / 2, top / 2.0);
    }
    if plot_height >= 3 {
        write(plot_height - 1, 0.0);
    }
}

/// One column, in eighths of a cell.
fn bar(sample: &Sample, top: f64, column: u16, plot: Rect, buffer: &mut Buffer) {
    let tops = tops(sample, top, usize::from(plot.height) * 8);
    let color_at = |eighth: usize| {
        let idx = tops.iter().position(|top| eighth < *top);
        idx.map_or(Color::Reset, |idx| palette::of(ORDER[idx]))
    };
    for row in 0..plot.height {
        let from = usize::from(plot.height - 1 - row) * 8;
        let colors: [Color; 8] = array::from_fn(|i| color_at(from + i));
        if let Some(cell) = buffer.cell_mut((column, plot.y + row)) {
            set(cell, &colors);
        }
    }
}

/// Shows the colours of eight eighths, from the bottom up, as well as a cell can: with one colour
/// for its lower part and one for the rest.
fn set(cell: &mut Cell, colors: &[Color; 8]) {
    // The split with the most eighths in their own colour.
    let best = (0..=8).map(|n| {
        let ((lower, n_lower), (upper, n_upper)) =
            (commonest(&colors[..n]), commonest(&colors[n..]));
        (n_lower + n_upper, n, lower, upper)
    });
    let Some((_, n, lower, upper)) = best.max_by_key(|(n_right, ..)| *n_right) else { return };
    match n {
        0 => cell.set_char(' ').set_bg(upper),
        // An empty cell has no glyph.
        _ if lower == Color::Reset && upper == Color::Reset => cell,
        8 => cell.set_char(EIGHTHS[7]).set_fg(lower),
        n => cell.set_char(EIGHTHS[n - 1]).set_fg(lower).set_bg(upper),
    };
}

/// The commonest of `colors`, and its count.
fn commonest(colors: &[Color]) -> (Color, usize) {
    let times = |color: &Color| colors.iter().filter(|other| *other == color).count();
    colors
        .iter()
        .map(|color| (*color, times(color)))
        .max_by_key(|(_, n)| *n)
        .unwrap_or((Color::Reset, 0))
}

/// The upper end of each part of the bar, in the order of [`ORDER`], in eighths of a cell.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from zero to the height"
)]
fn tops(sample: &Sample, top: f64, height: usize) -> [usize; ORDER.len()] {
    let all = sample.reads.all().max(1) as f64;
    let height_of_one = sample.rate() / all / top * height as f64;
    let mut below = 0;
    ORDER.map(|answer| {
        below += sample.reads.get(answer);
        ((below as f64 * height_of_one).round() as usize).min(height)
    })
}

/// The switches, each below its first column: in full if there is room before the next one, else
/// short, or only as a tick.
fn labels(marks: &[(usize, Switched)], area: Rect, buffer: &mut Buffer) {
    let mut right = area.right();
    for (column, what) in marks.iter().rev() {
        let x = area.x.saturating_add(u16::try_from(*column).unwrap_or(u16::MAX));
        let room = usize::from(right.saturating_sub(x));
        let style = match what {
            Switched::OriginOff | Switched::BusCut => Style::new().fg(palette::BAD),
            Switched::OriginOn | Switched::BusOn => Style::new().fg(palette::GOOD),
            Switched::Rule(_) => Style::new(),
        };
        let texts = what
            .marks()
            .map(|text| if *column == 0 { text.to_owned() } else { format!("╵{text}") });
        // A blank before the next one.
        let gap = usize::from(right < area.right());
        let fitting = texts.iter().find(|text| text.chars().count() + gap <= room);
        let at = Rect { x, width: right.saturating_sub(x), ..area };
        Span::styled(fitting.map_or("╵", String::as_str), style).render(at, buffer);
        right = x;
    }
}

/// Rounds up to 1, 2, 3, 4, 5, 6 or 8 times a power of ten.
fn nice(n: f64) -> f64 {
    let unit = 10.0_f64.powf(n.max(1.0).log10().floor());
    let steps = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * unit).find(|step| *step >= n).unwrap_or(n)
}

/// From the bottom up: reads with a request to the store, reads without one, and errors.
const ORDER: [Answer; 7] = [
    Answer::Fetched,
    Answer::Refetched,
    Answer::NotFound,
    Answer::Revalidated,
    Answer::Fresh,
    Answer::Stale,
    Answer::Error,
];

const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Seconds between two labels of the time axis.
const STEPS: [u64; 12] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];

/// Columns for each of them.
const LABEL: f64 = 8.0;

/// Columns of the numbers at the left.
const SCALE: u16 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_ends_at_a_round_number() {
        for (n, top) in
            [(0.0, 1.0), (1.0, 1.0), (2.1, 3.0), (6.5, 8.0), (9.0, 10.0), (20_001.0, 30_000.0)]
        {
            assert!((nice(n) - top).abs() < 1e-9, "{n}: {}", nice(n));
        }
    }

    #[test]
    fn a_cell_shows_two_of_its_colours() {
        use Color::{Blue, Green, Red, Reset};
        let cases = [
            ([Reset; 8], (" ", Reset, Reset)),
            ([Blue; 8], ("█", Blue, Reset)),
            ([Blue, Blue, Blue, Reset, Reset, Reset, Reset, Reset], ("▃", Blue, Reset)),
            ([Blue, Blue, Blue, Blue, Blue, Green, Green, Green], ("▅", Blue, Green)),
            // The red one has no place.
            ([Blue, Blue, Blue, Red, Green, Green, Green, Green], ("▄", Blue, Green)),
        ];
        for (colors, shown) in cases {
            let mut cell = Cell::default();
            set(&mut cell, &colors);
            assert_eq!((cell.symbol(), cell.fg, cell.bg), shown, "{colors:?}");
        }
    }
}
