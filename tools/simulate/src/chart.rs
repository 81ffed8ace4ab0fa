//! Hit-ratio curves as SVG, one chart for each trace. Colours are plain attributes, which every
//! viewer of SVG shows.

use std::fmt::Write as _;

use crate::{
    html::escaped,
    replay::BELADY,
    row::Row,
    setting::Unit,
    summary::is_peer,
    table::{amount, cases, count},
};

/// A chart of one trace in one unit: the rows of one [group](crate::table::groups).
pub fn render(group: &[Row]) -> String {
    let Some(first) = group.first() else { return String::new() };
    let columns: Vec<_> = cases(group).collect();
    let curves: Vec<_> = columns[0].iter().map(|row| Curve::new(&row.policy, &columns)).collect();
    let scale = Scale::new(group, columns.len());
    let title = match first.unit {
        Unit::Entries => format!("{}, by entries", first.trace),
        Unit::Bytes => format!("{}, by bytes", first.trace),
    };
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"{INK}\">\n\
         <title>{title}: hit ratio by capacity</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"15\" font-weight=\"600\">{title}</text>\
         <text x=\"{LEFT}\" y=\"44\" fill=\"{FAINT}\">hit ratio in percent of {} requests, by \
         capacity\
         </text>\n",
        count(first.requests),
        title = escaped(&title),
    );
    axes(&mut svg, &scale, &columns);
    // The default policy is drawn last, above the others.
    let mut order: Vec<_> = curves.iter().collect();
    order.sort_by_key(|curve| curve.rank());
    for curve in order {
        curve.draw(&mut svg, &scale);
    }
    labels(&mut svg, &curves, &scale);
    svg.push_str("</svg>\n");
    svg
}

fn axes(svg: &mut String, scale: &Scale, columns: &[&[Row]]) {
    for percent in scale.ticks() {
        let y = scale.y(percent / 100.0);
        let _ = writeln!(
            svg,
            "<line stroke=\"#e3e6ea\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>\
             <text fill=\"{FAINT}\" x=\"{:.0}\" y=\"{:.1}\" \
             text-anchor=\"end\">{percent:.0}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    for (i, column) in columns.iter().enumerate() {
        let _ = writeln!(
            svg,
            "<text fill=\"{FAINT}\" x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            scale.x(i),
            BOTTOM + 20.0,
            amount(column[0].capacity, column[0].unit)
        );
    }
}

/// One policy, over all capacities.
struct Curve<'a> {
    policy: &'a str,
    ratios: Vec<f64>,
    color: &'static str,
}

impl<'a> Curve<'a> {
    fn new(policy: &'a str, columns: &[&[Row]]) -> Self {
        let of = |column: &&[Row]| {
            column.iter().find(|row| row.policy == policy).map(|row| row.hit_ratio)
        };
        Self { policy, ratios: columns.iter().filter_map(of).collect(), color: color(policy) }
    }

    /// Our policies have solid lines, peers dashed ones, and the optimum a dotted one.
    fn draw(&self, svg: &mut String, scale: &Scale) {
        let Self { policy, ratios, color } = self;
        let place = |(i, ratio): (usize, &f64)| (scale.x(i), scale.y(*ratio));
        let points = || ratios.iter().enumerate().map(place);
        let line: Vec<_> = points().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let width = [1.6, 1.6, 2.2, 3.2][usize::from(self.rank())];
        let dashes = match *policy {
            BELADY => " stroke-dasharray=\"1.5 4\"",
            policy if is_peer(policy) => " stroke-dasharray=\"5 4\"",
            _ => "",
        };
        let _ = write!(
            svg,
            "<g fill=\"{color}\"><title>{}</title><polyline points=\"{}\" fill=\"none\" \
                stroke=\"{color}\" \
             stroke-width=\"{width}\" stroke-linejoin=\"round\"{dashes}/>",
            escaped(policy),
            line.join(" ")
        );
        points().for_each(|(x, y)| {
            let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
        });
        svg.push_str("</g>\n");
    }

    fn rank(&self) -> u8 {
        match self.policy {
            policy if policy.starts_with("default") => 3,
            "lru" | BELADY => 2,
            policy if is_peer(policy) => 0,
            _ => 1,
        }
    }

    fn last(&self) -> f64 {
        self.ratios.last().copied().unwrap_or(0.0)
    }
}

/// The names at the right, each as near to the end of its curve as the others allow.
fn labels(svg: &mut String, curves: &[Curve<'_>], scale: &Scale) {
    let mut order: Vec<_> = curves.iter().collect();
    order.sort_by(|a, b| b.last().total_cmp(&a.last()));
    let ends: Vec<_> = order.iter().map(|curve| scale.y(curve.last())).collect();
    let end_x = scale.x(scale.n_columns - 1);
    for ((curve, end), y) in order.iter().zip(&ends).zip(spread(&ends)) {
        let Curve { policy, color, .. } = curve;
        let weight = if curve.rank() == 3 { " font-weight=\"600\"" } else { "" };
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1},{end:.1} L{:.1},{y:.1}\" stroke=\"{color}\" stroke-width=\"0.7\" \
             stroke-opacity=\"0.5\"/><text x=\"{:.0}\" y=\"{base:.1}\" \
             fill=\"{color}\"{weight}>{}</text>\
             <text fill=\"{FAINT}\" x=\"{:.0}\" y=\"{base:.1}\" text-anchor=\"end\">{:.1}</text>",
            end_x + 5.0,
            RIGHT + 20.0,
            RIGHT + 24.0,
            escaped(policy),
            WIDTH - 12.0,
            100.0 * curve.last(),
            base = y + 4.0,
        );
    }
}

/// Returns places for labels as near as possible to `ends`, which ascend, so that none covers
/// another. Labels that touch form a block, placed at the average of where its members would be.
fn spread(ends: &[f64]) -> Vec<f64> {
    let mut blocks: Vec<Block> = Vec::new();
    for &end in ends {
        let mut block = Block { sum: end, n: 1 };
        while let Some(above) = blocks.pop_if(|above| above.bottom() > block.top()) {
            block = Block {
                // The members below, as if they were at the top of the block.
                sum: above.sum + block.sum - f64::from(block.n) * f64::from(above.n) * LABEL_HEIGHT,
                n: above.n + block.n,
            };
        }
        blocks.push(block);
    }
    blocks
        .iter()
        .flat_map(|block| {
            let top = block.top() + LABEL_HEIGHT / 2.0;
            (0..block.n).map(move |i| top + f64::from(i) * LABEL_HEIGHT)
        })
        .collect()
}

struct Block {
    /// Over the members: where the first label would be for the member to be at its end.
    sum: f64,
    n: u32,
}

impl Block {
    fn top(&self) -> f64 {
        let height = f64::from(self.n) * LABEL_HEIGHT;
        let top = self.sum / f64::from(self.n) - LABEL_HEIGHT / 2.0;
        top.min(HEIGHT - 4.0 - height).max(4.0)
    }

    fn bottom(&self) -> f64 {
        self.top() + f64::from(self.n) * LABEL_HEIGHT
    }
}

/// Converts ratios and columns to coordinates.
struct Scale {
    /// The highest and the lowest ratio shown, in percent.
    most: f64,
    least: f64,
    step: f64,
    n_columns: usize,
}

impl Scale {
    fn new(group: &[Row], n_columns: usize) -> Self {
        let percent = group.iter().map(|row| 100.0 * row.hit_ratio);
        let (least, most) = percent.fold((100.0_f64, 0.0_f64), |(a, b), p| (a.min(p), b.max(p)));
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .find(|step| (most - least) / step <= 8.0)
            .unwrap_or(20.0);
        let least = (least / step).floor() * step;
        let most = ((most / step).ceil() * step).max(least + step);
        Self { most, least, step, n_columns }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(self.least), |tick| Some(tick + self.step))
            .take_while(|tick| *tick <= self.most + 0.5)
    }

    #[expect(clippy::cast_precision_loss, reason = "of a few columns")]
    fn x(&self, column: usize) -> f64 {
        let (from, to) = (LEFT + 24.0, RIGHT - 8.0);
        match self.n_columns {
            1 => f64::midpoint(from, to),
            n => from + (to - from) * column as f64 / (n - 1) as f64,
        }
    }

    fn y(&self, ratio: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (100.0 * ratio - self.least) / (self.most - self.least)
    }
}

/// Peers have the colour of our policy of the same kind.
fn color(policy: &str) -> &'static str {
    match policy.strip_prefix("peer:").unwrap_or(policy) {
        "default" => "#c8102e",
        "default-bytes" => "#e58a97",
        "lru" | BELADY => INK,
        "fifo" | "foyer-fifo" | "foyer-lru" => FAINT,
        "lfu" | "foyer-lfu" => "#5a7d1e",
        "sieve" | "foyer-sieve" => "#b8418f",
        "s3-fifo" | "quick_cache" | "quick_cache-unsync" => "#0a8f77",
        "w-tiny-lfu" => "#2f6fbe",
        "gdsf" | "gdsf-bytes" | "moka" | "moka-lru" => "#b06a00",
        "foyer-s3fifo" => "#7a4fc0",
        _ => "#8a6d5a",
    }
}

const INK: &str = "#1a1d21";
const FAINT: &str = "#666677";
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 416.0;
const LABEL_HEIGHT: f64 = 17.0;
