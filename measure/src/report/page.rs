//! The page: HTML with its style and charts in it.

use std::fmt::Write as _;

use super::{
    Instructions, Time, instructions,
    times::{self, Group},
};
use crate::{
    chart,
    html::escaped,
    row::Row,
    summary::Summary,
    table::{groups, of_group},
};

/// What there is to show.
pub(super) struct Page {
    pub(super) times: Vec<Time>,
    pub(super) instructions: Vec<Instructions>,
    pub(super) rows: Vec<Row>,
}

/// Bars that are compared with each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bars {
    /// Nothing, if there is nothing to say.
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

/// One of them: less is better.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) subject: String,
    pub(super) amount: f64,
    /// The amount, for people.
    pub(super) text: String,
    /// How sure it is.
    pub(super) range: Option<String>,
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
        if self.times.is_empty() {
            missing(&mut html, "No benchmark has been run.", "cargo bench");
        } else {
            html.push_str(
                "<p>Time of one operation, as <code>cargo bench</code> measured it last; shorter is better. Compare \
                 within one chart: machine and moment are the same there. Hover for the confidence interval.</p>\n",
            );
            times::groups(&self.times).iter().for_each(|group| of_times(&mut html, group));
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

fn of_times(html: &mut String, group: &Group) {
    let _ = writeln!(html, "<h3>{}</h3>\n<div class=\"charts\">", escaped(&group.name));
    group.bars.iter().for_each(|bars| of_bars(html, bars));
    html.push_str("</div>\n");
}

fn of_bars(html: &mut String, bars: &Bars) {
    let most = bars.bars.iter().map(|bar| bar.amount).fold(0.0, f64::max);
    let ours = bars.bars.iter().find(|bar| is_ours(&bar.subject)).map(|bar| bar.amount);
    let mut order: Vec<_> = bars.bars.iter().collect();
    order.sort_by(|a, b| a.amount.total_cmp(&b.amount));
    html.push_str("<div class=\"bars\">");
    if !bars.title.is_empty() {
        let _ = write!(html, "<h4>{}</h4>", escaped(&bars.title));
    }
    for bar in order {
        let class = if is_ours(&bar.subject) { " class=\"ours\"" } else { "" };
        let range =
            bar.range.as_ref().map_or(String::new(), |range| format!(" title=\"{}\"", escaped(range)));
        let width = if most > 0.0 { 100.0 * bar.amount / most } else { 0.0 };
        let ratio = match ours {
            Some(ours) if ours > 0.0 && !is_ours(&bar.subject) => format!("{:.2} × ours", bar.amount / ours),
            _ => String::new(),
        };
        let _ = write!(
            html,
            "<div{class}{range}><span>{}</span><i><b style=\"width:{width:.1}%\"></b></i><span>{}</span>\
             <span>{ratio}</span></div>",
            escaped(&bar.subject),
            escaped(&bar.text)
        );
    }
    html.push_str("</div>\n");
}

fn is_ours(subject: &str) -> bool {
    subject == "ours"
        || subject.starts_with("ours ")
        || subject.starts_with("ours-")
        || subject.starts_with("ours_")
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
.bars > div { display: grid; grid-template-columns: 9em 1fr 5.5em 7em; gap: 8px; align-items: center; line-height: 1.75; }
.bars span:nth-of-type(n+2) { text-align: right; white-space: nowrap; } .bars span:last-child { color: var(--faint); }
.bars span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bars i { display: block; } .bars b { display: block; height: 11px; min-width: 2px; border-radius: 2px; background: var(--bar); }
.bars .ours { font-weight: 600; } .bars .ours b { background: var(--strong); }
";
