//! One frame of the display.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style},
    text::{Line, Span},
    widgets::{Block, BorderType, Widget},
};

use crate::{
    accounts, chart,
    film::{Film, Saved},
    palette::{self, BAD, FAINT, GOOD, STRONG},
    plain,
    tally::Answer,
    units,
    world::NodeFigures,
};

/// The current state. Shows as much as fits into the area.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) film: &'a Film,
    pub(crate) footer: Footer,
}

/// The right side of the last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Footer {
    /// The keys.
    Keys,
    /// Whether the counts agree; after all tasks have stopped.
    Accounts,
}

impl Widget for View<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        // The chart first, then the table of results, then the nodes.
        let has_chart = area.height >= 8 && area.width >= 40;
        let has_answers = area.height >= 17 && area.width >= 76;
        let has_nodes = area.height >= 22 && has_answers;
        let rows = Layout::vertical([
            Constraint::Length(1),
            if has_chart { Constraint::Min(5) } else { Constraint::Length(3) },
            Constraint::Length(if has_answers { 10 } else { 0 }),
            Constraint::Length(if has_nodes { 5 } else { 0 }),
            Constraint::Length(1),
        ]);
        let [title, chart, answers, nodes, verdict] = rows.areas(area);
        self.title(title, buffer);
        if has_chart {
            self.chart(chart, buffer);
        } else {
            self.words(chart, buffer);
        }
        if has_answers {
            let [left, right] =
                Layout::horizontal([Constraint::Min(54), Constraint::Percentage(36)])
                    .areas(answers);
            self.answers(left, buffer);
            self.saved(right, buffer);
        }
        if has_nodes {
            let has_origin = area.width >= 96;
            let origin = if has_origin { Constraint::Fill(1) } else { Constraint::Length(0) };
            let columns = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1), origin]);
            let [a, b, origin] = columns.areas(nodes);
            for ((area, node), title) in [a, b].into_iter().zip(&self.film.now().nodes).zip(NODES) {
                node_panel(node, title, area, buffer);
            }
            if has_origin {
                self.origin(origin, buffer);
            }
        }
        self.verdict(verdict, buffer);
    }
}

impl View<'_> {
    fn title(&self, area: Rect, buffer: &mut Buffer) {
        let now = self.film.now();
        let (state, color) = if now.is_up { ("store up", GOOD) } else { ("store down", BAD) };
        let bus_ink = match now.bus() {
            "up" => STRONG.fg(GOOD),
            "off" => FAINT,
            _ => STRONG.fg(BAD),
        };
        let state = [
            Span::styled(now.rule.label(), STRONG),
            Span::raw("   "),
            Span::styled(state, STRONG.fg(color)),
        ];
        let bus = [Span::raw("   "), Span::styled(format!("bus {}", now.bus()), bus_ink)];
        let at = Span::raw(format!("   {} s ", now.at.as_secs()));
        let mut right = Line::from_iter(state.iter().chain(&bus).chain([&at]).cloned());
        if right.width() >= area.width.into() {
            right = Line::from_iter(state.into_iter().chain([at]));
        }
        let distance = format!("two nodes, one store {} ms away", now.round_trip.as_millis());
        let left = Line::from_iter([
            Span::styled(" object-cache", STRONG),
            Span::raw("   "),
            Span::styled(distance, FAINT),
        ]);
        if left.width() + right.width() < area.width.into() {
            two_sided(&left, &right, area, buffer);
        } else {
            // The state is more important.
            right.render(inset(area), buffer);
        }
    }

    fn chart(&self, area: Rect, buffer: &mut Buffer) {
        let lately = self.film.lately().rate();
        let inner =
            panel("reads per second, by result", &format!("now {}", rate(lately)), area, buffer);
        chart::draw(self.film, inner, buffer);
        self.staleness(area, buffer);
    }

    /// In the lower edge of the chart: how old the objects were that were served under the current
    /// rule.
    fn staleness(&self, area: Rect, buffer: &mut Buffer) {
        let rule = self.film.now().rule;
        let under = self.film.seen().under(rule);
        let share = units::percent_if(under.older_share());
        let times = [0.5, 0.99].map(|share| units::time_if(under.older_by(share)));
        let [p50, p99] = &times;
        let texts = [
            format!(" {}: older than the store {share}, p50 {p50}, p99 {p99} ", rule.label()),
            format!(" older than the store {share}, p99 {p99} "),
            format!(" older {share}, p99 {p99} "),
        ];
        let room = usize::from(area.width.saturating_sub(4));
        let Some(text) = texts.iter().find(|text| text.chars().count() <= room) else { return };
        let y = area.bottom().saturating_sub(1);
        let row = Rect { x: area.x + 2, y, width: area.width.saturating_sub(4), height: 1 };
        Line::styled(text.as_str(), Style::new().fg(Color::Reset)).render(row, buffer);
    }

    /// Replaces all panels in a small area.
    fn words(&self, area: Rect, buffer: &mut Buffer) {
        let lately = self.film.lately();
        let lines = [
            format!(" {} reads/s", rate(lately.rate())),
            format!(" {} hits", units::percent_if(lately.reads.hit_ratio())),
            format!(" {} requests saved", units::percent_if(self.film.requests().share())),
        ];
        for (row, line) in area.rows().zip(&lines) {
            line.as_str().render(row, buffer);
        }
    }

    fn answers(&self, area: Rect, buffer: &mut Buffer) {
        let seen = self.film.seen();
        let ratio = format!(
            "hits {}, now {}",
            units::percent_if(seen.reads.hit_ratio()),
            units::percent_if(self.film.lately().reads.hit_ratio())
        );
        let inner = panel("reads by result", &ratio, area, buffer);
        let [name, bar, numbers] = Layout::horizontal([
            Constraint::Length(15),
            Constraint::Fill(1),
            Constraint::Length(NUMBERS),
        ])
        .areas(inner);
        let heading = format!("{:>10}{:>8}{:>9}{:>9}", "reads", "share", "p50", "p99");
        Span::styled(heading, FAINT).render(numbers, buffer);
        let all = seen.reads.all();
        for (y, answer) in (inner.y + 1..inner.bottom()).zip(Answer::ALL) {
            let n = seen.reads.get(answer);
            let share = if all > 0 { n as f64 / all as f64 } else { 0.0 };
            let ink = if n > 0 { Style::new() } else { FAINT };
            let row = |area: Rect| Rect { y, height: 1, ..area };
            let square = Span::styled(" ■ ", Style::new().fg(palette::of(answer)));
            Line::from_iter([square, Span::styled(answer.label(), ink)]).render(row(name), buffer);
            draw_bar(share, palette::of(answer), Color::Reset, row(bar), buffer);
            let time = |share| units::time_if(seen.quantile(answer, share));
            let shares = if n > 0 { units::percent(share) } else { "–".to_owned() };
            let text =
                format!("{:>10}{:>8}{:>9}{:>9}", units::count(n), shares, time(0.5), time(0.99));
            Span::styled(text, ink).render(row(numbers), buffer);
        }
    }

    fn saved(&self, area: Rect, buffer: &mut Buffer) {
        let inner = panel("saved by the caches", "", area, buffer);
        let mut rows = inner.rows();
        for (what, saved, shown) in [
            ("requests", self.film.requests(), units::count as fn(u64) -> String),
            ("bytes", self.film.bytes(), units::bytes),
        ] {
            rows.next();
            let (Some(figure), Some(bar), Some(words)) = (rows.next(), rows.next(), rows.next())
            else {
                return;
            };
            let share = units::percent_if(saved.share());
            let left =
                Line::from_iter([Span::raw(format!(" {what} ")), Span::styled(share, STRONG)]);
            let Saved { without, with } = saved;
            left.render(figure, buffer);
            draw_bar(saved.share().unwrap_or(0.0), GOOD, palette::LINE, inset(bar), buffer);
            let (with, without) = (shown(with), shown(without));
            let texts =
                [format!(" {with} instead of {without}"), format!(" {with}, not {without}")];
            let fits = |text: &&String| text.chars().count() < words.width.into();
            let text = texts.iter().find(fits).unwrap_or(&texts[1]);
            Span::styled(text, FAINT).render(words, buffer);
        }
    }

    fn origin(&self, area: Rect, buffer: &mut Buffer) {
        let now = self.film.now();
        let inner = panel("store", "", area, buffer);
        let store = now.origin;
        let not_modified: u64 = now.nodes.iter().map(|node| node.stats.origin.not_modified).sum();
        let lines = [
            pair("GET", &units::count(store.gets), "not modified", &units::count(not_modified)),
            pair("PUT", &units::count(store.puts), "failed", &units::count(store.failed)),
            pair("sent", &units::bytes(store.bytes), "", ""),
        ];
        for (row, line) in inner.rows().zip(lines) {
            line.render(row, buffer);
        }
    }

    fn verdict(&self, area: Rect, buffer: &mut Buffer) {
        let seen = self.film.seen();
        let figure = units::count(seen.wrong);
        let (ink, mark) = if seen.wrong == 0 { (GOOD, "✓") } else { (BAD, "✗") };
        let verdict = Span::styled(format!(" {mark} {}: {figure}", plain::VERDICT), STRONG.fg(ink));
        let of_all = Span::styled(format!(" of {}", units::count(seen.reads.all())), FAINT);
        let mut left = Line::from_iter([verdict.clone(), of_all]);
        let right = match self.footer {
            Footer::Keys => Line::from_iter([
                Span::styled("f", STRONG),
                Span::styled(" rule  ", FAINT),
                Span::styled("k", STRONG),
                Span::styled(
                    if self.film.now().is_up { " stop store  " } else { " start store  " },
                    FAINT,
                ),
                Span::styled("b", STRONG),
                Span::styled(
                    if self.film.now().is_bus_cut { " heal bus  " } else { " cut bus  " },
                    FAINT,
                ),
                Span::styled("q", STRONG),
                Span::styled(" quit ", FAINT),
            ]),
            Footer::Accounts => Line::from(match self.film.differences().len() {
                0 => {
                    let n = accounts::count(self.film.now());
                    Span::styled(format!("✓ all {n} counts agree "), STRONG.fg(GOOD))
                }
                n => Span::styled(format!("✗ {n} counts differ "), STRONG.fg(BAD)),
            }),
        };
        if left.width() + right.width() >= area.width.into() {
            left = Line::from(verdict);
        }
        if left.width() > area.width.into() {
            Span::styled(format!(" {mark} wrong reads: {figure}"), STRONG.fg(ink))
                .render(area, buffer);
        } else {
            two_sided(&left, &right, area, buffer);
        }
    }
}

fn node_panel(node: &NodeFigures, title: &str, area: Rect, buffer: &mut Buffer) {
    let stats = &node.stats;
    let inner = panel(
        title,
        &format!("hits {}", units::percent_if(node.seen.reads.hit_ratio())),
        area,
        buffer,
    );
    let mut rows = inner.rows();
    let (Some(words), Some(bar), Some(entries)) = (rows.next(), rows.next(), rows.next()) else {
        return;
    };
    let capacity = stats.capacity_bytes.unwrap_or(u64::MAX);
    let fill = stats.bytes as f64 / capacity.max(1) as f64;
    pair("memory", &units::bytes(stats.bytes), "of", &units::bytes(capacity)).render(words, buffer);
    draw_bar(fill, Color::Blue, palette::LINE, inset(bar), buffer);
    pair("entries", &units::count(stats.entries), "evicted", &units::count(stats.evictions))
        .render(entries, buffer);
}

/// Two figures, each after its label.
fn pair(a: &str, a_is: &str, b: &str, b_is: &str) -> Line<'static> {
    Line::from_iter([
        Span::styled(format!(" {a} "), FAINT),
        Span::raw(a_is.to_owned()),
        Span::styled(format!("  {b} "), FAINT),
        Span::raw(b_is.to_owned()),
    ])
}

/// Draws a frame with a title at the left and a figure at the right. Returns the area inside.
fn panel(title: &str, right: &str, area: Rect, buffer: &mut Buffer) -> Rect {
    let mut block = Block::bordered().border_type(BorderType::Rounded).border_style(palette::LINE);
    block = block.title_top(Line::styled(format!(" {title} "), Style::new().fg(Color::Reset)));
    if !right.is_empty() && title.chars().count() + right.chars().count() + 8 <= area.width.into() {
        let right = Line::styled(format!(" {right} "), STRONG.fg(Color::Reset)).right_aligned();
        block = block.title_top(right);
    }
    let inner = block.inner(area);
    block.render(area, buffer);
    inner
}

/// Draws `left`, and `right` if both fit.
fn two_sided(left: &Line<'_>, right: &Line<'_>, area: Rect, buffer: &mut Buffer) {
    left.render(area, buffer);
    if left.width() + right.width() < area.width.into() {
        right.clone().right_aligned().render(area, buffer);
    }
}

/// Fills `share` of the area from the left, in eighths of a cell. Any share above zero is visible.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from zero to the width"
)]
fn draw_bar(share: f64, color: Color, ground: Color, area: Rect, buffer: &mut Buffer) {
    let width = u32::from(area.width) * 8;
    let eighths = (share.clamp(0.0, 1.0) * f64::from(width)).round() as u32;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    for (i, x) in (area.x..area.right()).enumerate() {
        let n = eighths.saturating_sub(i as u32 * 8).min(8);
        let symbol = if n == 0 { ' ' } else { EIGHTHS[n as usize - 1] };
        if let Some(cell) = buffer.cell_mut((x, area.y)) {
            cell.set_char(symbol).set_style(Style::new().fg(color).bg(ground));
        }
    }
}

/// The area without a cell at each end.
fn inset(area: Rect) -> Rect {
    Rect { x: area.x + u16::from(area.width > 0), width: area.width.saturating_sub(2), ..area }
}

fn rate(rate: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is not below zero"
    )]
    let whole = rate.round() as u64;
    units::count(whole)
}

const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
const NODES: [&str; 2] = ["node A, writer", "node B"];
/// Columns of the figures of a result.
const NUMBERS: u16 = 37;
