//! Whether each metric, label and value that the dashboard and the alerts name is exported.
//!
//! The tokens of an expression are enough for that; Prometheus parses it in `cargo xtask
//! dashboards`.

use std::{collections::BTreeSet, fs, path::Path};

use cache_facade::cache_metrics::names::{CACHE_NAME_LABEL, Kind, METRICS, Metric};

use crate::dashboard::{Dashboard, FOLDER, list};

/// A series name in an expression, with the labels that the series has.
struct Named {
    metric: &'static Metric,
    is_bucket: bool,
}

impl Named {
    fn find(name: &str) -> Option<Self> {
        let find =
            |is_it: &dyn Fn(&Metric) -> bool| METRICS.into_iter().find(|metric| is_it(metric));
        let is_histogram = |metric: &Metric| matches!(metric.kind, Kind::Histogram(_));
        // OpenTelemetry's exporter for Prometheus has its own name for a gauge without a unit.
        let alias = |metric: &Metric| {
            matches!(metric.kind, Kind::Gauge) && metric.name.replace('.', "_") == name
        };
        let plain = find(&|metric| {
            !is_histogram(metric) && metric.prometheus_name == name || alias(metric)
        });
        if let Some(metric) = plain {
            return Some(Self { metric, is_bucket: false });
        }
        let (base, suffix) =
            name.rsplit_once('_').filter(|(_, suffix)| SUFFIXES.contains(suffix))?;
        let metric = find(&|metric| is_histogram(metric) && metric.prometheus_name == base)?;
        Some(Self { metric, is_bucket: suffix == "bucket" })
    }

    /// The values of `label`: `None` without such a label, `Some(None)` for any value.
    fn values(&self, label: &str) -> Option<Option<&'static [&'static str]>> {
        let own = self.metric.attributes.iter().find(|attribute| attribute.name == label);
        match label {
            CACHE_NAME_LABEL | "job" | "instance" => Some(None),
            "le" => self.is_bucket.then_some(None),
            "version" => own.map(|_| None),
            _ => own.map(|attribute| Some(attribute.values)),
        }
    }
}

/// Returns a finding for each name in `expression` that is not exported, and the metrics it names.
fn check(expression: &str) -> (Vec<String>, BTreeSet<&'static str>) {
    let tokens = tokens(expression);
    let (mut findings, mut named, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        let list = |open, close| match tokens.get(at + 1) {
            Some(&next) if next == open => {
                tokens[at + 2..].split(|t| *t == close).next().unwrap_or(&[])
            }
            _ => &[],
        };
        if matches!(*token, "by" | "on" | "without" | "ignoring" | "group_left" | "group_right") {
            groups.extend(list("(", ")").iter().filter(|label| **label != ","));
        }
        if !token.starts_with("object_cache") {
            continue;
        }
        let Some(name) = Named::find(token) else {
            findings.push(format!("no metric {token}"));
            continue;
        };
        for matcher in list("{", "}").split(|token| *token == ",").filter(|part| part.len() >= 3) {
            let (label, value) = (matcher[0], matcher[matcher.len() - 1].trim_matches(['"', '\'']));
            match name.values(label) {
                None => findings.push(format!("{token} has no label {label}")),
                Some(Some(values)) => {
                    let unknown = value.split('|').filter(|value| !values.contains(value));
                    findings
                        .extend(unknown.map(|value| format!("{token} has no {label}={value:?}")));
                }
                Some(None) => {}
            }
        }
        named.push(name);
    }
    let of_no_metric = |label: &&&str| named.iter().all(|name| name.values(label).is_none());
    findings.extend(groups.iter().filter(of_no_metric).map(|label| format!("no label {label}")));
    (findings, named.iter().map(|name| name.metric.prometheus_name).collect())
}

/// The series of a histogram.
const SUFFIXES: [&str; 3] = ["bucket", "sum", "count"];

/// Names, numbers and quoted strings; every other character is a token of its own.
fn tokens(expression: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let len = match first {
            '"' | '\'' => rest[1..].find(first).map_or(rest.len(), |at| at + 2),
            c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        tokens.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    tokens
}

/// The texts between each `from` and the next `to`.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.split(from).skip(1).filter_map(|part| Some(part.split_once(to)?.0.trim())).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(FOLDER).join(file)).unwrap()
}

#[test]
fn the_dashboard_names_what_is_exported_and_all_of_it() {
    let mut shown = BTreeSet::new();
    for query in Dashboard::read().unwrap().queries() {
        let (findings, named) = check(&query.expression);
        assert_eq!(findings, [""; 0], "panel {:?} {}", query.title, query.letter);
        shown.extend(named);
    }
    let text = read("object-cache.json").replace("\\\"", "\"");
    let variables = between(&text, "label_values(", ")\"");
    for variable in &variables {
        let (selector, label) = variable.rsplit_once(", ").unwrap();
        assert_eq!(check(&format!("max by ({label}) ({selector})")).0, [""; 0], "{variable}");
    }
    assert!(!variables.is_empty());
    let not_shown: Vec<_> =
        METRICS.iter().filter(|metric| !shown.contains(metric.prometheus_name)).collect();
    assert!(not_shown.is_empty(), "on no panel: {not_shown:?}");
}

#[test]
fn legends_name_labels_that_their_queries_keep() {
    let dashboard = Dashboard::read().unwrap();
    for target in dashboard.panels().into_iter().flat_map(|panel| list(panel, "targets")) {
        let kept = between(target["expr"].as_str().unwrap(), "by (", ")").join(", ");
        for label in between(target["legendFormat"].as_str().unwrap(), "{{", "}}") {
            assert!(kept.split(", ").any(|kept| kept == label), "{label}: {target}");
        }
    }
}

#[test]
fn the_alerts_name_what_is_exported() {
    let (rules, tests) = (read("alerts.yml"), read("alerts_test.yml"));
    let in_rules = between(&rules, "expr:", "\n        for:");
    let in_tests = between(&tests, "- series: '", "'\n");
    assert!(!in_rules.is_empty() && !in_tests.is_empty());
    for expression in in_rules.into_iter().chain(in_tests) {
        assert_eq!(check(expression).0, [""; 0], "{expression}");
    }
}

#[test]
fn each_alert_is_described_and_tested_both_ways() {
    let (tests, readme) = (read("alerts_test.yml"), read("README.md"));
    for alert in between(&read("alerts.yml"), "- alert:", "\n") {
        assert!(readme.contains(&format!("| `{alert}` |")), "{alert} is not in the README");
        let expected: Vec<_> = tests
            .split(&format!("- alertname: {alert}\n"))
            .skip(1)
            .filter_map(|test| test.split_once("exp_alerts:")?.1.lines().next())
            .collect();
        assert!(expected.contains(&" []"), "{alert}: no test in which it does not fire");
        assert!(expected.contains(&""), "{alert}: no test in which it fires");
    }
}

/// The suffixes of the naming conventions of Prometheus.
#[test]
fn names_end_with_their_units() {
    for Metric { prometheus_name: name, kind, unit, .. } in METRICS {
        let base = name.strip_suffix("_total").unwrap_or(name);
        assert_eq!(name.ends_with("_total"), matches!(kind, Kind::Counter), "{name}");
        assert_eq!(base.ends_with("_bytes"), *unit == "By", "{name}");
        assert_eq!(base.ends_with("_seconds"), *unit == "s", "{name}");
    }
}

#[test]
fn a_name_that_is_not_exported_is_found() {
    for (expression, finding) in [
        ("rate(object_cache_hits_total[5m])", "no metric object_cache_hits_total"),
        ("object_cache_age_seconds", "no metric object_cache_age_seconds"),
        ("object_cache_age_bucket", "no metric object_cache_age_bucket"),
        ("object_cache_inflight_bucket", "no metric object_cache_inflight_bucket"),
        (
            r#"object_cache_io_bytes_total{job="a", from="x"}"#,
            "object_cache_io_bytes_total has no label from",
        ),
        (
            r#"object_cache_io_bytes_total{source=~"cache|disk"}"#,
            r#"object_cache_io_bytes_total has no source="disk""#,
        ),
        ("sum by (job, le) (object_cache_inflight)", "no label le"),
    ] {
        assert_eq!(check(expression).0, [finding], "{expression}");
    }
    let right = r#"sum by (le) (rate(object_cache_age_seconds_bucket{cache_name=~"x|y"}[5m]))"#;
    assert_eq!(check(right).0, [""; 0]);
}
