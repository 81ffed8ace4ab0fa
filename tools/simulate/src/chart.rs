//! Hit-ratio curves as SVG: one chart a trace, readable on light and dark grounds, also inside a page.

use std::fmt::Write as _;

use crate::{
    html::escaped,
    replay::BELADY,
    row::Row,
    setting::Unit,
    summary::is_peer,
    table::{amount, count, pairs},
};

/// A chart of one trace in one unit: the rows of one [group](crate::table::groups).
pub fn render(group: &[Row]) -> String {
    let Some(first) = group.first() else { return String::new() };
    let columns: Vec<_> = pairs(group).collect();
    let curves: Vec<_> = columns[0].iter().map(|row| Curve::new(&row.policy, &columns)).collect();
    let scale = Scale::new(group, columns.len());
    let title = match first.unit {
        Unit::Entries => format!("{}, by entries", first.trace),
        Unit::Bytes => format!("{}, by bytes", first.trace),
    };
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" class=\"curves\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>{}: hit ratio by capacity</title>\n{STYLE}\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\n",
        escaped(&title)
    );
    let _ = writeln!(
        svg,
        "<text class=\"ink\" x=\"{LEFT}\" y=\"26\" font-size=\"15\" font-weight=\"600\">{}</text>\
         <text class=\"faint\" x=\"{LEFT}\" y=\"44\">hit ratio in percent of {} requests, by capacity</text>",
        escaped(&title),
        count(first.requests)
    );
    axes(&mut svg, &scale, &columns);
    // The one to look at lies above the others.
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
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>\
             <text class=\"faint\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{percent:.0}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    for (i, column) in columns.iter().enumerate() {
        let _ = writeln!(
            svg,
            "<text class=\"faint\" x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
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
    class: String,
}

impl<'a> Curve<'a> {
    fn new(policy: &'a str, columns: &[&[Row]]) -> Self {
        let of = |column: &&[Row]| column.iter().find(|row| row.policy == policy).map(|row| row.hit_ratio);
        Self { policy, ratios: columns.iter().filter_map(of).collect(), class: class(policy) }
    }

    fn draw(&self, svg: &mut String, scale: &Scale) {
        let point = |(i, ratio): (usize, &f64)| format!("{:.1},{:.1}", scale.x(i), scale.y(*ratio));
        let points: Vec<_> = self.ratios.iter().enumerate().map(point).collect();
        let _ = write!(svg, "<g class=\"{}\"><title>{}</title>", self.class, escaped(self.policy));
        let _ = write!(svg, "<polyline points=\"{}\"/>", points.join(" "));
        for (i, &ratio) in self.ratios.iter().enumerate() {
            let (x, y) = (scale.x(i), scale.y(ratio));
            let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
        }
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
        let _ = writeln!(
            svg,
            "<g class=\"{}\"><path class=\"leader\" d=\"M{:.1},{end:.1} L{:.1},{y:.1}\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\">{}</text><text class=\"faint\" x=\"{:.0}\" y=\"{:.1}\" \
             text-anchor=\"end\">{:.1}</text></g>",
            curve.class,
            end_x + 5.0,
            RIGHT + 20.0,
            RIGHT + 24.0,
            y + 4.0,
            escaped(curve.policy),
            WIDTH - 12.0,
            y + 4.0,
            100.0 * curve.last(),
        );
    }
}

/// Places for labels that want to be at `ends`, which ascend, so that none covers another. Those that touch form a
/// block, which lies where its members want to be on average.
fn spread(ends: &[f64]) -> Vec<f64> {
    let mut blocks: Vec<Block> = Vec::new();
    for &end in ends {
        let mut block = Block { sum: end, n: 1 };
        while let Some(above) = blocks.pop_if(|above| above.bottom() > block.top()) {
            block = Block {
                // What the members below want, as if they were at the top of the block.
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
    /// Of where the first label would have to be for each member to be where it wants.
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

/// From ratios and columns to places.
struct Scale {
    /// The highest ratio shown, and the lowest, in percent.
    most: f64,
    least: f64,
    step: f64,
    n_columns: usize,
}

impl Scale {
    fn new(group: &[Row], n_columns: usize) -> Self {
        let percent = group.iter().map(|row| 100.0 * row.hit_ratio);
        let (least, most) = percent.fold((100.0_f64, 0.0_f64), |(a, b), p| (a.min(p), b.max(p)));
        let step =
            [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| (most - least) / step <= 8.0).unwrap_or(20.0);
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

/// What the style knows a policy as.
fn class(policy: &str) -> String {
    let known = [
        "default",
        "default-bytes",
        "lru",
        "fifo",
        "lfu",
        "sieve",
        "s3-fifo",
        "w-tiny-lfu",
        "gdsf",
        "gdsf-bytes",
        BELADY,
    ];
    let kind = if is_peer(policy) { "peer" } else { "own" };
    let name = policy.strip_prefix("peer:").unwrap_or(policy);
    if known.contains(&policy) || is_peer(policy) {
        format!("{kind} {name}")
    } else {
        format!("{kind} other")
    }
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 416.0;
const LABEL_HEIGHT: f64 = 17.0;

/// Ours are drawn through, peers dashed, the optimum dotted.
const STYLE: &str = "\
<style>
.curves { --ground: #fff; --ink: #1a1d21; --faint: #667; --grid: #e3e6ea; --strong: #c8102e; --c1: #2f6fbe; --c2: #0a8f77;
  --c3: #b06a00; --c4: #7a4fc0; --c5: #b8418f; --c6: #5a7d1e; --c7: #8a6d5a; }
@media (prefers-color-scheme: dark) {
.curves { --ground: #16191d; --ink: #e8eaed; --faint: #9aa3ad; --grid: #2b3138; --strong: #ff5f6d; --c1: #6fa8f0; --c2: #3fc9ad;
  --c3: #e5a54b; --c4: #b392f5; --c5: #ee86c6; --c6: #a5cc5c; --c7: #c6a792; } }
.curves .ground { fill: var(--ground); } .curves .ink { fill: var(--ink); } .curves .faint { fill: var(--faint); }
.curves .grid { stroke: var(--grid); }
.curves g { color: var(--c7); } .curves g text:not(.faint) { fill: currentColor; }
.curves polyline { fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linejoin: round; }
.curves circle { fill: currentColor; } .curves .leader { fill: none; stroke: currentColor; stroke-width: .7; opacity: .5; }
.curves .peer polyline { stroke-dasharray: 5 4; }
.curves .default, .curves .default-bytes { color: var(--strong); font-weight: 600; }
.curves .default polyline { stroke-width: 3.4; } .curves .default-bytes polyline { stroke-width: 2; }
.curves .belady, .curves .lru { color: var(--ink); } .curves .belady polyline { stroke-dasharray: 1.5 4; stroke-width: 2.2; }
.curves .lru polyline { stroke-width: 2.2; }
.curves .fifo { color: var(--faint); } .curves .lfu { color: var(--c6); } .curves .sieve { color: var(--c5); }
.curves .s3-fifo { color: var(--c2); } .curves .w-tiny-lfu { color: var(--c1); } .curves .gdsf, .curves .gdsf-bytes { color: var(--c3); }
.curves .moka, .curves .moka-lru { color: var(--c3); } .curves .quick_cache, .curves .quick_cache-unsync { color: var(--c2); }
.curves .foyer-fifo, .curves .foyer-lru { color: var(--faint); } .curves .foyer-lfu { color: var(--c6); }
.curves .foyer-s3fifo { color: var(--c4); } .curves .foyer-sieve { color: var(--c5); }
</style>";
