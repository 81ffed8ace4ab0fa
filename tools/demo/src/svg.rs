//! A frame as SVG: glyphs as text, blocks and lines as shapes, so that it looks the same in every
//! font.

use std::{collections::BTreeMap, fmt::Write as _};

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

/// Renders `buffer`, readable on light and dark backgrounds, without external resources.
pub(crate) fn render(buffer: &Buffer, title: &str) -> String {
    let area = buffer.area;
    let (width, height) =
        (u32::from(area.width) * CELL_WIDTH, u32::from(area.height) * CELL_HEIGHT);
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{0} {0} {1} {2}\" \
         width=\"{1}\" height=\"{2}\" role=\"img\" class=\"tui\" font-size=\"13.33\" \
         font-family=\"ui-monospace, SFMono-Regular, 'SF Mono', Menlo, Consolas, 'DejaVu Sans \
         Mono', 'Liberation Mono', monospace\">\n<title>{3}</title>\n{7}\
         <rect class=\"ground\" x=\"{4}\" y=\"{4}\" width=\"{5}\" height=\"{6}\" rx=\"8\"/>",
        -MARGIN,
        width as i32 + 2 * MARGIN,
        height as i32 + 2 * MARGIN,
        escaped(title),
        -MARGIN as f32 + 0.5,
        width as i32 + 2 * MARGIN - 1,
        height as i32 + 2 * MARGIN - 1,
        style(),
    );
    let mut drawing = Drawing::default();
    for y in 0..area.height {
        for x in 0..area.width {
            if let Some(cell) = buffer.cell((area.x + x, area.y + y)) {
                drawing.add(u32::from(x) * CELL_WIDTH, u32::from(y) * CELL_HEIGHT, cell);
            }
        }
        drawing.end_text();
    }
    drawing.write(&mut svg);
    svg.push_str("</svg>\n");
    svg
}

/// Shapes and text, by class.
#[derive(Default)]
struct Drawing {
    /// Behind the glyphs.
    grounds: BTreeMap<&'static str, Vec<Shape>>,
    blocks: BTreeMap<&'static str, Vec<Shape>>,
    lines: BTreeMap<&'static str, String>,
    texts: Vec<Text>,
    /// The text being collected, and the number of blanks after it.
    open: Option<(Text, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

struct Text {
    x: u32,
    y: u32,
    class: String,
    text: String,
}

impl Drawing {
    fn add(&mut self, x: u32, y: u32, cell: &Cell) {
        if cell.bg != Color::Reset {
            let cell_box = Shape { x, y, width: CELL_WIDTH, height: CELL_HEIGHT };
            self.grounds.entry(class(cell.bg)).or_default().push(cell_box);
        }
        let ink = class(cell.fg);
        let symbol = cell.symbol();
        let mut chars = symbol.chars();
        let (Some(glyph), None) = (chars.next(), chars.next()) else {
            return self.add_text(x, y, cell);
        };
        match glyph {
            // Eighths from below, and from the left.
            '▁'..='█' => {
                let height = 2 * (glyph as u32 - '▁' as u32 + 1);
                self.add_block(
                    ink,
                    Shape { x, y: y + CELL_HEIGHT - height, width: CELL_WIDTH, height },
                );
            }
            '▉'..='▏' => {
                let width = 7 - (glyph as u32 - '▉' as u32);
                self.add_block(ink, Shape { x, y, width, height: CELL_HEIGHT });
            }
            '■' => {
                self.add_block(ink, Shape { x, y: y + 4, width: CELL_WIDTH, height: CELL_WIDTH });
            }
            '─' => self.add_line(ink, format_args!("M{x} {}h8", y + 8)),
            '│' => self.add_line(ink, format_args!("M{} {y}v16", x + 4)),
            '╵' => self.add_line(ink, format_args!("M{} {y}v8", x + 4)),
            '╭' => self.add_line(ink, format_args!("M{} {}v-3q0-5 4-5", x + 4, y + 16)),
            '╮' => self.add_line(ink, format_args!("M{x} {}q4 0 4 5v3", y + 8)),
            '╰' => self.add_line(ink, format_args!("M{} {y}v3q0 5 4 5", x + 4)),
            '╯' => self.add_line(ink, format_args!("M{x} {}q4 0 4-5v-3", y + 8)),
            _ => self.add_text(x, y, cell),
        }
    }

    fn add_block(&mut self, class: &'static str, shape: Shape) {
        self.blocks.entry(class).or_default().push(shape);
    }

    fn add_line(&mut self, class: &'static str, path: std::fmt::Arguments<'_>) {
        let _ = self.lines.entry(class).or_default().write_fmt(path);
    }

    fn add_text(&mut self, x: u32, y: u32, cell: &Cell) {
        if cell.symbol().trim().is_empty() {
            if let Some((_, blanks)) = &mut self.open {
                *blanks += 1;
            }
            return;
        }
        let class = class_of_text(cell);
        if let Some((text, blanks)) = &mut self.open
            && text.class == class
            && *blanks < 2
            && text.end() + *blanks * CELL_WIDTH == x
        {
            text.text.extend(std::iter::repeat_n(' ', *blanks as usize));
            text.text.push_str(cell.symbol());
            *blanks = 0;
            return;
        }
        self.end_text();
        self.open = Some((Text { x, y, class, text: cell.symbol().to_owned() }, 0));
    }

    fn end_text(&mut self) {
        self.texts.extend(self.open.take().map(|(text, _)| text));
    }

    fn write(self, svg: &mut String) {
        for (class, shapes) in self.grounds.into_iter().chain(self.blocks) {
            let _ = write!(svg, "<path class=\"{class}\" shape-rendering=\"crispEdges\" d=\"");
            for Shape { x, y, width, height } in merged(shapes) {
                let _ = write!(svg, "M{x} {y}h{width}v{height}h-{width}z");
            }
            svg.push_str("\"/>\n");
        }
        for (class, path) in self.lines {
            let _ = writeln!(svg, "<path class=\"k{class}\" d=\"{path}\"/>");
        }
        for text in self.texts {
            let (x, y, length) = (text.x, text.y + BASELINE, text.end() - text.x);
            let shown = escaped(&text.text);
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{y}\" class=\"{}\" textLength=\"{length}\">{shown}</text>",
                text.class
            );
        }
    }
}

impl Text {
    fn end(&self) -> u32 {
        let n = u32::try_from(self.text.chars().count()).unwrap_or(u32::MAX);
        self.x + n * CELL_WIDTH
    }
}

/// Joins shapes that touch.
fn merged(mut shapes: Vec<Shape>) -> Vec<Shape> {
    shapes.sort_unstable();
    let columns = joined(shapes, |upper, lower| {
        let touch =
            upper.x == lower.x && upper.width == lower.width && upper.y + upper.height == lower.y;
        touch.then_some(Shape { height: upper.height + lower.height, ..upper })
    });
    let mut rows = columns;
    rows.sort_unstable_by_key(|shape| (shape.y, shape.height, shape.x));
    joined(rows, |left, right| {
        let touch =
            left.y == right.y && left.height == right.height && left.x + left.width == right.x;
        touch.then_some(Shape { width: left.width + right.width, ..left })
    })
}

fn joined(shapes: Vec<Shape>, join: impl Fn(Shape, Shape) -> Option<Shape>) -> Vec<Shape> {
    let mut all: Vec<Shape> = Vec::with_capacity(shapes.len());
    for shape in shapes {
        match all.last_mut().and_then(|last| join(*last, shape).map(|both| (last, both))) {
            Some((last, both)) => *last = both,
            None => all.push(shape),
        }
    }
    all
}

/// The colours as rules: a name fills, the name after a `k` draws lines. Without variables, which
/// not every viewer of SVG knows.
fn style() -> String {
    let mut style =
        "<style>\n.tui text { white-space: pre; } .tui .s { font-weight: 600; }\n".to_owned();
    let mut rules = |idx: usize| {
        let (ground, edge) = GROUND[idx];
        let _ = writeln!(style, ".tui .ground {{ fill: {ground}; stroke: {edge}; }}");
        for (name, light, dark) in COLORS {
            let color = [light, dark][idx];
            let _ = writeln!(
                style,
                ".tui .{name} {{ fill: {color}; }} .tui .k{name} {{ fill: none; stroke: {color}; }}"
            );
        }
        if idx == 0 {
            style.push_str("@media (prefers-color-scheme: dark) {\n");
        }
    };
    rules(0);
    rules(1);
    style.push_str("}\n</style>\n");
    style
}

/// The class of a colour.
fn class(color: Color) -> &'static str {
    match color {
        Color::Green => "g",
        Color::Cyan => "c",
        Color::Yellow => "y",
        Color::Blue => "b",
        Color::Magenta => "m",
        Color::Gray => "n",
        Color::Red => "r",
        Color::DarkGray => "l",
        _ => "i",
    }
}

fn class_of_text(cell: &Cell) -> String {
    let faint = cell.modifier.contains(Modifier::DIM);
    let bold = if cell.modifier.contains(Modifier::BOLD) { " s" } else { "" };
    format!("{}{bold}", if faint { "f" } else { class(cell.fg) })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Of a cell, in pixels; an eighth of either is whole.
const CELL_WIDTH: u32 = 8;
const CELL_HEIGHT: u32 = 16;
/// Of the text in its cell.
const BASELINE: u32 = 12;
/// Around all cells.
const MARGIN: i32 = 12;

/// Name, and colour on light and on dark ground.
const COLORS: [(&str, &str, &str); 10] = [
    ("i", "#1a1d21", "#e8eaed"),
    ("f", "#667080", "#9aa3ad"),
    ("l", "#d3d8de", "#3a424b"),
    ("g", "#1a7f37", "#3fb950"),
    ("c", "#0c8599", "#39c5cf"),
    ("y", "#c98a00", "#e3b341"),
    ("b", "#2f6fbe", "#6fa8f0"),
    ("m", "#a13d9c", "#d67ad2"),
    ("n", "#8a929c", "#7d8590"),
    ("r", "#c8102e", "#ff5f6d"),
];

/// Background and edge.
const GROUND: [(&str, &str); 2] = [("#fff", "#d8dde3"), ("#16191d", "#2b3138")];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: &[&str]) {
        let svg = render(&Buffer::with_lines(lines.iter().copied()), "a < b");
        let drawn: Vec<_> = svg
            .lines()
            .filter(|line| line.starts_with("<path") || line.starts_with("<text"))
            .collect();
        assert_eq!(drawn, expected);
    }

    #[test]
    fn text_is_escaped_and_as_long_as_its_cells() {
        check(
            &["a<b &  \"c"],
            &[
                r#"<text x="0" y="12" class="i" textLength="40">a&lt;b &amp;</text>"#,
                r#"<text x="56" y="12" class="i" textLength="16">&quot;c</text>"#,
            ],
        );
        let svg = render(&Buffer::with_lines(["x"]), "a < b");
        assert!(svg.contains("<title>a &lt; b</title>"));
    }

    #[test]
    fn blocks_that_touch_are_one_shape() {
        let path = |d: &str| format!(r#"<path class="i" shape-rendering="crispEdges" d="{d}"/>"#);
        check(&["██", "██"], &[&path("M0 0h16v32h-16z")]);
        check(&["▂█", "█▌"], &[&path("M8 0h8v16h-8zM0 12h8v20h-8zM8 16h4v16h-4z")]);
    }

    #[test]
    fn a_frame_is_made_of_lines() {
        let line = |d: &str| format!(r#"<path class="ki" d="{d}"/>"#);
        check(&["╭─", "│"], &[&line("M4 16v-3q0-5 4-5M8 8h8M4 16v16")]);
    }

    #[test]
    fn backgrounds_are_drawn_first() {
        let mut buffer = Buffer::with_lines(["▄"]);
        buffer.cell_mut((0, 0)).unwrap().set_fg(Color::Blue).set_bg(Color::Yellow);
        let svg = render(&buffer, "");
        let at = |class: &str| svg.find(&format!("<path class=\"{class}\"")).unwrap();
        assert!(at("y") < at("b"));
    }
}
