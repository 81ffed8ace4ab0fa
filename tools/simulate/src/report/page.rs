//! The page: HTML with its style and charts in it.

use std::fmt::Write as _;

use super::{Instructions, Time, instructions, ratios, times};
use crate::{
    chart,
    html::escaped,
    row::Row,
    summary::Summary,
    table::{groups, of_group},
};

/// What there is to show.
pub(super) struct Page {
    pub(super) ratios: Vec<ratios::Group>,
    pub(super) times: Vec<Time>,
    pub(super) instructions: Vec<Instructions>,
    pub(super) rows: Vec<Row>,
}

/// Bars that are compared with each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bars {
    /// Nothing, if there is nothing to say.
    pub(super) title: String,
    /// The subject that the ratios are to.
    pub(super) reference: Option<String>,
    pub(super) bars: Vec<Bar>,
}

/// One of them: less is better.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) subject: String,
    pub(super) amount: f64,
    /// The amount, for people.
    pub(super) text: String,
    /// What is shown when one points at it.
    pub(super) hint: Option<String>,
    pub(super) ratio: Option<f64>,
    /// What else is to be said.
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
             <title>object-cache: what was measured</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <header><h1>object-cache: what was measured</h1>\n\
             <nav><a href=\"#hits\">Hit ratios</a> <a href=\"#times\">Times</a> \
             <a href=\"#instructions\">Instructions</a></nav></header>\n<main>\n"
        );
        html.push_str("<section id=\"hits\"><h2>Hit ratios</h2>\n");
        if self.rows.is_empty() {
            missing(&mut html, "No simulation has been run.", "cargo xtask simulate --trace FILE…");
        } else {
            hits(&mut html, &self.rows);
        }
        html.push_str("</section>\n<section id=\"times\"><h2>Times</h2>\n");
        if self.ratios.is_empty() && self.times.is_empty() {
            missing(&mut html, "No benchmark has been run.", "cargo bench");
        }
        if !self.ratios.is_empty() {
            html.push_str(
                "<p>What <code>cargo bench</code> measured side by side: all subjects of a chart took turns, and of \
                 many rounds the one with the least CPU time an operation counts. Shorter is better; the ratio is to \
                 the subject named at the right.</p>\n",
            );
            self.ratios.iter().for_each(|group| of_group_of_bars(&mut html, &group.name, &group.bars()));
        }
        if !self.times.is_empty() {
            html.push_str(
                "<h3>One after the other</h3>\n<p>Time of an operation as criterion measured it, each benchmark by \
                 itself. On a busy machine compare the charts above.</p>\n<details><summary>Show</summary>\n",
            );
            let groups = times::groups(&self.times);
            groups.iter().for_each(|group| of_group_of_bars(&mut html, &group.name, &group.bars));
            html.push_str("</details>\n");
        }
        html.push_str("</section>\n<section id=\"instructions\"><h2>Instructions</h2>\n");
        if self.instructions.is_empty() {
            let command = "cargo xtask instructions --json target/instructions.json";
            missing(&mut html, "Instructions have not been counted.", command);
        } else {
            html.push_str(
                "<p>Instructions of one operation, as callgrind counts them; fewer is better. They do not depend on \
                 what else the machine does.</p>\n<div class=\"charts\">\n",
            );
            instructions::bars(&self.instructions).iter().for_each(|bars| of_bars(&mut html, bars));
            html.push_str("</div>\n");
        }
        html.push_str("</section>\n</main>\n</body>\n</html>\n");
        html
    }
}

fn missing(html: &mut String, what: &str, command: &str) {
    let _ = writeln!(html, "<p class=\"missing\">{what} Make it with <code>{}</code></p>", escaped(command));
}

fn hits(html: &mut String, rows: &[Row]) {
    let summary = Summary::new(rows);
    let _ =
        writeln!(html, "<p>{}</p>\n<div class=\"wide\">{}</div>", summary.basis(), summary.table().html());
    html.push_str(
        "<p class=\"note\"><b>Way</b>: how far a policy gets from LRU's hit ratio to the optimum's, the mean over the \
         pairs. <b>Least lead</b>: its least difference to another over all pairs, in points of hit ratio; negative \
         where it is behind. The optimum knows the future: Belady's, exact by entries; PFOO-L by bytes, which is no \
         strict bound.</p>\n",
    );
    for sized in &summary.sized {
        let _ = writeln!(
            html,
            "<h3>{}</h3>\n<div class=\"wide\">{}</div>",
            escaped(&sized.title()),
            sized.table().html()
        );
    }
    html.push_str("<h3>Curves</h3>\n<p>Ours are drawn through, peers dashed, the optimum dotted.</p>\n");
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
    let reference = bars.reference.as_ref().map_or(String::new(), |name| format!("× {}", escaped(name)));
    let _ = write!(html, "<div class=\"bars\"><h4>{}<span>{reference}</span></h4>", escaped(&bars.title));
    for bar in &order {
        let class = if is_ours(&bar.subject) { " class=\"ours\"" } else { "" };
        let hint = bar.hint.as_ref().map_or(String::new(), |hint| format!(" title=\"{}\"", escaped(hint)));
        let width = if most > 0.0 { 100.0 * bar.amount / most } else { 0.0 };
        let ratio = bar.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let _ = write!(
            html,
            "<div{class}{hint}><span>{}</span><i><b style=\"width:{width:.1}%\"></b></i><span>{}</span>\
             <span>{ratio}</span></div>",
            escaped(&bar.subject),
            escaped(&bar.text)
        );
    }
    for bar in order.iter().filter(|bar| !bar.note.is_empty()) {
        let _ = write!(html, "<p class=\"note\">{}: {}</p>", escaped(&bar.subject), escaped(&bar.note));
    }
    html.push_str("</div>\n");
}

/// `ours`, or `ours: …`.
fn is_ours(subject: &str) -> bool {
    subject.strip_prefix("ours").is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

const STYLE: &str = "
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1a1d21; --faint: #5c6570; --line: #dfe3e8;
  --strong: #c8102e; --bar: #9db4cf; --warn: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --ground: #0f1114; --card: #16191d; --ink: #e8eaed; --faint: #9aa3ad;
  --line: #2b3138; --strong: #ff5f6d; --bar: #45607f; --warn: #3a3115; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
header, main { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; } h1 { font-size: 26px; margin: 0 0 6px; } nav a { margin-right: 14px; color: inherit; }
h2 { font-size: 21px; margin: 36px 0 8px; padding-bottom: 4px; border-bottom: 2px solid var(--line); }
h3 { font-size: 16px; margin: 28px 0 8px; } h4 { font-size: 13px; margin: 0 0 6px; color: var(--faint); font-weight: 600; }
.note { color: var(--faint); font-size: 13px; } code { font: 13px ui-monospace, monospace; }
.missing { background: var(--warn); border-radius: 6px; padding: 10px 14px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; background: var(--card);
  font-variant-numeric: tabular-nums; }
th, td { padding: 4px 12px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child { text-align: left; } tbody th { font-weight: 500; } tbody tr:hover { background: var(--ground); }
figure { margin: 0 0 22px; } figure svg { display: block; width: 100%; height: auto; } details { font-size: 13px; margin: 6px 0; }
summary { cursor: pointer; color: var(--faint); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(460px, 1fr)); gap: 12px; }
@media (max-width: 520px) { .charts { grid-template-columns: 1fr; } }
.bars { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 12px 14px; font-size: 13px;
  font-variant-numeric: tabular-nums; }
.bars > div { display: grid; grid-template-columns: 14em 1fr 5.5em 3.5em; gap: 8px; align-items: center; line-height: 1.75; }
.bars span:nth-of-type(n+2) { text-align: right; white-space: nowrap; } .bars span:last-child { color: var(--faint); }
.bars span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bars i { display: block; } .bars b { display: block; height: 11px; min-width: 2px; border-radius: 2px; background: var(--bar); }
.bars h4 { display: flex; justify-content: space-between; } .bars p { margin: 4px 0 0; }
.bars .ours { font-weight: 600; } .bars .ours b { background: var(--strong); }
";
