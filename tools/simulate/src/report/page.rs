//! The page: one HTML file with its style and charts.

use std::fmt::Write as _;

use super::{Instructions, instructions, ratios};
use crate::{
    chart,
    html::escaped,
    row::Row,
    summary::{Summary, answers},
    table::{groups, of_group},
};

/// The measurements to show.
pub(super) struct Page {
    pub(super) ratios: Vec<ratios::Group>,
    pub(super) instructions: Vec<Instructions>,
    pub(super) rows: Vec<Row>,
}

/// Bars that are compared with each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bars {
    /// May be empty.
    pub(super) title: String,
    /// The subject of ratio 1.
    pub(super) reference: Option<String>,
    pub(super) bars: Vec<Bar>,
}

/// One bar; shorter is better.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) subject: String,
    pub(super) amount: f64,
    /// The amount with its unit.
    pub(super) text: String,
    /// The tooltip.
    pub(super) hint: Option<String>,
    pub(super) ratio: Option<f64>,
    /// A remark below the chart.
    pub(super) note: String,
}

/// Bars with their ratios to ours, if ours is among them.
pub(super) fn with_ratios(title: String, mut bars: Vec<Bar>) -> Bars {
    let ours = bars.iter().find(|bar| is_ours(&bar.subject) && bar.amount > 0.0);
    let (reference, amount) = ours.map(|bar| (bar.subject.clone(), bar.amount)).unzip();
    if let Some(amount) = amount {
        bars.iter_mut().for_each(|bar| bar.ratio = Some(bar.amount / amount));
    }
    Bars { title, reference, bars }
}

/// A time in nanoseconds, with three digits.
pub(super) fn span(nanos: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    let (scale, unit) = units.into_iter().find(|(scale, _)| nanos >= *scale).unwrap_or((1.0, "ns"));
    let amount = nanos / scale;
    let decimals = if amount < 10.0 { 2 } else { usize::from(amount < 100.0) };
    format!("{amount:.decimals$} {unit}")
}

impl Page {
    pub(super) fn html(&self) -> String {
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>object-cache: measurements</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <header><h1>object-cache: measurements</h1>\n\
             <nav><a href=\"#hits\">Hit ratios</a> <a href=\"#times\">Times</a> \
             <a href=\"#instructions\">Instructions</a></nav></header>\n<main>\n"
        );
        html.push_str("<section id=\"hits\"><h2>Hit ratios</h2>\n");
        if self.rows.is_empty() {
            missing(
                &mut html,
                "No traces have been replayed.",
                "cargo xtask simulate --trace FILE…",
            );
        } else {
            hits(&mut html, &self.rows);
        }
        html.push_str("</section>\n<section id=\"times\"><h2>Times</h2>\n");
        if self.ratios.is_empty() {
            missing(&mut html, "No benchmark has been run.", "cargo bench");
        } else {
            html.push_str(
                "<p>Measured side by side by <code>cargo bench</code>: the subjects of a chart \
                 take turns, and the round with the least CPU time per operation counts. Shorter \
                 is better. The last column is the ratio to the subject named above it.</p>\n",
            );
            self.ratios
                .iter()
                .for_each(|group| of_group_of_bars(&mut html, &group.name, &group.bars()));
        }
        html.push_str("</section>\n<section id=\"instructions\"><h2>Instructions</h2>\n");
        if self.instructions.is_empty() {
            let command = "cargo xtask instructions --json target/instructions.json";
            missing(&mut html, "Instructions have not been counted.", command);
        } else {
            html.push_str(
                "<p>Instructions of one operation, counted by callgrind; fewer is better. The \
                 counts do not depend on the load of the machine.</p>\n\
                 <div class=\"charts\">\n",
            );
            instructions::bars(&self.instructions).iter().for_each(|bars| of_bars(&mut html, bars));
            html.push_str("</div>\n");
        }
        html.push_str("</section>\n</main>\n</body>\n</html>\n");
        html
    }
}

fn missing(html: &mut String, what: &str, command: &str) {
    let _ = writeln!(html, "<p class=\"missing\">{what} Run <code>{}</code></p>", escaped(command));
}

fn hits(html: &mut String, rows: &[Row]) {
    let summary = Summary::new(rows);
    let _ = writeln!(html, "<pre>{}</pre>", escaped(&answers(rows)));
    let _ = writeln!(
        html,
        "<h3>Over all traces</h3>\n<pre>{}</pre>\n<div class=\"wide\">{}</div>\n\
         <p class=\"note\">The optimum knows the future. By entries it is Belady's and exact; by \
         bytes it is PFOO-L, which is no strict bound.</p>",
        escaped(&summary.explained()),
        summary.table().html()
    );
    for sized in &summary.sized {
        let _ = writeln!(
            html,
            "<h3>{}</h3>\n<div class=\"wide\">{}</div>",
            escaped(&sized.title()),
            sized.table().html()
        );
    }
    html.push_str("<h3>Curves</h3>\n<p>Solid: ours. Dashed: peers. Dotted: the optimum.</p>\n");
    for group in groups(rows) {
        let _ = writeln!(html, "<figure>{}", chart::render(group));
        for (title, table) in of_group(group) {
            let _ = writeln!(
                html,
                "<details><summary>{}</summary><div class=\"wide\">{}</div></details>",
                escaped(&title),
                table.html()
            );
        }
        html.push_str("</figure>\n");
    }
}

fn of_group_of_bars(html: &mut String, name: &str, all: &[Bars]) {
    let _ = writeln!(html, "<h3>{}</h3>\n<div class=\"charts\">", escaped(name));
    all.iter().for_each(|bars| of_bars(html, bars));
    html.push_str("</div>\n");
}

fn of_bars(html: &mut String, bars: &Bars) {
    let most = bars.bars.iter().map(|bar| bar.amount).fold(0.0, f64::max);
    let mut order: Vec<_> = bars.bars.iter().collect();
    order.sort_by(|a, b| a.amount.total_cmp(&b.amount));
    let reference =
        bars.reference.as_ref().map_or(String::new(), |name| format!("× {}", escaped(name)));
    let _ = write!(
        html,
        "<div class=\"bars\"><h4>{}<span>{reference}</span></h4>",
        escaped(&bars.title)
    );
    for bar in &order {
        let class = if is_ours(&bar.subject) { " class=\"ours\"" } else { "" };
        let hint =
            bar.hint.as_ref().map_or(String::new(), |hint| format!(" title=\"{}\"", escaped(hint)));
        let width = if most > 0.0 { 100.0 * bar.amount / most } else { 0.0 };
        let ratio = bar.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let _ = write!(
            html,
            "<div{class}{hint}><span>{}</span><i><b style=\"width:{width:.1}%\"></b></i>\
             <span>{}</span><span>{ratio}</span></div>",
            escaped(&bar.subject),
            escaped(&bar.text)
        );
    }
    for bar in order.iter().filter(|bar| !bar.note.is_empty()) {
        let _ =
            write!(html, "<p class=\"note\">{}: {}</p>", escaped(&bar.subject), escaped(&bar.note));
    }
    html.push_str("</div>\n");
}

/// `ours`, or `ours: …`.
fn is_ours(subject: &str) -> bool {
    subject.strip_prefix("ours").is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

const STYLE: &str = "
* { box-sizing: border-box; }
body { margin: 0; background: #f6f7f9; color: #1a1d21; font: 15px/1.5 system-ui, sans-serif; }
header, main { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; } h1 { font-size: 26px; margin: 0 0 6px; } nav a { margin-right: 14px;
  color: inherit; }
h2 { font-size: 21px; margin: 36px 0 8px; padding-bottom: 4px; border-bottom: 2px solid #dfe3e8; }
h3 { font-size: 16px; margin: 28px 0 8px; } h4 { font-size: 13px; margin: 0 0 6px; color: #5c6570;
  font-weight: 600; }
.note { color: #5c6570; font-size: 13px; } code { font: 13px ui-monospace, monospace; }
pre { font: 13px/1.5 ui-monospace, monospace; overflow-x: auto; } .missing { background: #fff4d6;
  border-radius: 6px; padding: 10px 14px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; background: #fff;
  font-variant-numeric: tabular-nums; }
th, td { padding: 4px 12px; border-bottom: 1px solid #dfe3e8; text-align: right; white-space:
  nowrap; }
th:first-child { text-align: left; } tbody th { font-weight: 500; } tbody tr:hover { background:
  #f6f7f9; }
figure { margin: 0 0 22px; } figure svg { display: block; width: 100%; height: auto; } details {
  font-size: 13px; margin: 6px 0; }
summary { cursor: pointer; color: #5c6570; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(460px, 1fr)); gap: 12px; }
@media (max-width: 520px) { .charts { grid-template-columns: 1fr; } }
.bars { background: #fff; border: 1px solid #dfe3e8; border-radius: 6px; padding: 12px 14px;
  font-size: 13px;
  font-variant-numeric: tabular-nums; }
.bars > div { display: grid; grid-template-columns: 14em 1fr 5.5em 3.5em; gap: 8px; align-items:
  center; line-height: 1.75; }
.bars span:nth-of-type(n+2) { text-align: right; white-space: nowrap; } .bars span:last-child {
  color: #5c6570; }
.bars span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bars i { display: block; } .bars b { display: block; height: 11px; min-width: 2px; border-radius:
  2px; background: #9db4cf; }
.bars h4 { display: flex; justify-content: space-between; } .bars p { margin: 4px 0 0; }
.bars .ours { font-weight: 600; } .bars .ours b { background: #c8102e; }
";
