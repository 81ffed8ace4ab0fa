//! Checks the dashboard and the alerts against a running cache that a real Prometheus scrapes.

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    alerts, arithmetic,
    catalog::Catalog,
    dashboard::{Chosen, Dashboard, any_of, filled_in, labels_of_legend},
    exporter::Exporter,
    exposition,
    prometheus::{self, JOB, Prometheus, promtool},
    promql::Names,
    traffic::Traffic,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What a check has to say: that all is well, or what is not.
type Found = std::result::Result<String, Vec<String>>;

pub(crate) fn run() -> Result<ExitCode> {
    if !prometheus::is_installed() {
        println!("dashboards: left out, for prometheus and promtool are not installed (Debian: prometheus)");
        return Ok(ExitCode::SUCCESS);
    }
    let folder = folder();
    let dashboard = Dashboard::new(serde_json::from_str(&fs::read_to_string(folder.join(DASHBOARD))?)?);
    let rules = fs::read_to_string(folder.join(RULES))?;
    let tests = fs::read_to_string(folder.join(RULES_TESTS))?;

    let traffic = Traffic::new()?;
    let exporter = Exporter::start(traffic.registry())?;
    let server = Prometheus::start(exporter.address(), &folder.join(RULES))?;
    // Counters are first seen at zero, so that there is a rate.
    exporter.wait_until_scraped()?;
    traffic.run()?;
    let visits = visits(&exporter);
    exporter.wait_until_scraped()?;
    let exported = traffic.registry().render_prometheus();
    let rules_seen = evaluated(&server, &exporter)?;
    let catalog = server.catalog()?;
    let chosen = chosen(&dashboard, &server)?;

    let mut checks = Checks::default();
    checks.add("form", form(&dashboard));
    checks.add("gateway", visits);
    checks.add("traffic", moved(&exported));
    checks.add("scrape", scraped(&exported, &server));
    checks.add("names", names(&dashboard, &alert_expressions(&rules_seen), &catalog));
    checks.add("panels", panels(&dashboard, &chosen, &server));
    checks.add("shown", shown(&dashboard, &exported));
    checks.add("alerts", alert_states(&rules_seen));
    checks.add(
        "tested",
        match alerts::findings(&rules, &tests) {
            found if found.is_empty() => Ok("each alert fires in a test, and does not in another".to_owned()),
            found => Err(found),
        },
    );
    let of_promtool = [
        (&["check", "metrics"][..], exported.as_str()),
        // These read no input.
        (&["check", "rules", RULES], ""),
        (&["test", "rules", RULES_TESTS], ""),
    ];
    for (args, input) in of_promtool {
        let printed = promtool(&folder, args, input).err().unwrap_or_default();
        let lines = printed.lines().map(str::trim).filter(|line| !line.is_empty());
        let findings = lines.map(ToOwned::to_owned).collect();
        checks.add("promtool", found(findings, || format!("promtool {} finds nothing", args.join(" "))));
    }
    checks.add("computed", computed(&dashboard));
    Ok(checks.close())
}

/// Where the files are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards")
}

#[derive(Default)]
struct Checks {
    n_passed: usize,
    n_failed: usize,
}

impl Checks {
    fn add(&mut self, name: &str, found: Found) {
        match found {
            Ok(what) => {
                self.n_passed += 1;
                println!("{name:<9} ok: {what}");
            }
            Err(findings) => {
                self.n_failed += 1;
                println!("{name:<9} FAILED");
                findings.iter().for_each(|finding| println!("          {finding}"));
            }
        }
    }

    fn close(&self) -> ExitCode {
        println!("dashboards: {} checks passed, {} failed", self.n_passed, self.n_failed);
        if self.n_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn form(dashboard: &Dashboard) -> Found {
    found(dashboard.findings(), || format!("{} panels", dashboard.n_panels()))
}

/// Whether the gateway, which shows the figures, answers like one.
fn visits(exporter: &Exporter) -> Found {
    let mut findings = Vec::new();
    for (path, headers, expected) in VISITS {
        match exporter.visit(path, headers) {
            Ok(status) if status == *expected => {}
            Ok(status) => findings.push(format!("{path} with {headers:?}: {status}, not {expected}")),
            Err(error) => findings.push(format!("{path} with {headers:?}: {error}")),
        }
    }
    found(findings, || format!("http_gateway answers {} visits", VISITS.len()))
}

/// Whether the traffic was of every kind: each counter counted something in some cache.
fn moved(exported: &str) -> Found {
    let counters = exposition::families(exported).into_iter().filter(|(_, kind)| kind != "gauge");
    let counters: BTreeSet<_> = counters.map(|(name, _)| name).collect();
    let (mut all, mut moved) = (BTreeSet::new(), BTreeSet::new());
    for mut sample in exposition::samples(exported).map_err(|error| vec![error])? {
        if !counters.contains(family(&sample.name)) || sample.name.ends_with("_bucket") {
            continue;
        }
        sample.labels.remove("cache_name");
        // No traffic fails in every way that there is.
        sample.labels.remove("kind");
        let series = format!("{}{:?}", sample.name, sample.labels);
        if sample.value > 0.0 {
            moved.insert(series.clone());
        }
        all.insert(series);
    }
    let still = all.difference(&moved).map(|series| format!("nothing was counted: {series}")).collect();
    found(still, || format!("each of {} counters has counted", all.len()))
}

/// Whether the server has what was exported.
fn scraped(exported: &str, server: &Prometheus) -> Found {
    let held = server.evaluate(&format!("{{job={JOB:?}}}")).map_err(|error| vec![error])?;
    let samples = exposition::samples(exported).map_err(|error| vec![error])?;
    let is_held = |sample: &exposition::Sample| {
        held.iter().any(|(labels, value)| {
            let is_it = labels.get("__name__") == Some(&sample.name)
                && sample.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
                // And the job, the instance and the name of the metric.
                && labels.len() == sample.labels.len() + 3;
            is_it && *value == sample.value
        })
    };
    let missing = samples.iter().filter(|sample| !is_held(sample));
    let missing = missing.map(|sample| format!("Prometheus does not have {sample:?}")).collect();
    found(missing, || format!("Prometheus has the {} samples that were exported", samples.len()))
}

/// Whether every name of the dashboard and of the alerts is that of something that is there.
fn names(dashboard: &Dashboard, alerts: &[(String, String)], catalog: &Catalog) -> Found {
    let mut findings = Vec::new();
    let mut expressions = expressions(dashboard, &mut findings);
    expressions.extend(alerts.iter().cloned());
    for (place, expression) in &expressions {
        match Names::of(expression) {
            Ok(names) => {
                findings
                    .extend(catalog.findings(&names).into_iter().map(|found| format!("{place}: {found}")));
            }
            Err(error) => findings.push(format!("{place}: {error}")),
        }
    }
    found(findings, || {
        format!("what {} expressions name is among {} series", expressions.len(), catalog.n_series())
    })
}

/// Every expression of panels and variables, and where it stands, whatever is chosen.
fn expressions(dashboard: &Dashboard, findings: &mut Vec<String>) -> Vec<(String, String)> {
    let mut chosen = spans(dashboard);
    let of_panels = dashboard.queries().into_iter();
    let of_panels =
        of_panels.map(|query| (format!("panel {:?} {}", query.panel, query.letter), query.expression));
    let of_variables = dashboard.label_queries().unwrap_or_else(|error| {
        findings.push(error);
        Vec::new()
    });
    chosen.extend(of_variables.iter().map(|query| (query.variable.clone(), ".+".to_owned())));
    // As if it were asked with that label.
    let of_variables = of_variables.into_iter().map(|query| {
        (format!("variable {}", query.variable), format!("count by ({}) ({})", query.label, query.selector))
    });
    let mut filled = Vec::new();
    for (place, expression) in of_panels.chain(of_variables) {
        match filled_in(&expression, &chosen) {
            Ok(expression) => filled.push((place, expression)),
            Err(error) => findings.push(format!("{place}: {error}")),
        }
    }
    filled
}

/// What stands for the dashboard's variables where all is chosen: Grafana asks the server in the same way.
fn chosen(dashboard: &Dashboard, server: &Prometheus) -> Result<Chosen> {
    let mut chosen = spans(dashboard);
    for query in dashboard.label_queries()? {
        let selector = filled_in(&query.selector, &chosen)?;
        let answer = server.ask(&format!("label/{}/values", query.label), &[("match[]", &selector)])?;
        let values = answer.as_array().into_iter().flatten().filter_map(|value| value.as_str());
        let values: Vec<_> = values.map(ToOwned::to_owned).collect();
        if values.is_empty() {
            return Err(format!("variable {}: {selector} has no {}", query.variable, query.label).into());
        }
        chosen.insert(query.variable, any_of(&values));
    }
    Ok(chosen)
}

/// The dashboard's texts, and spans of time as Grafana puts them in.
fn spans(dashboard: &Dashboard) -> Chosen {
    let mut chosen = dashboard.texts();
    let spans = [("__rate_interval", "5m"), ("__range", "5m")];
    chosen.extend(spans.map(|(name, span)| (name.to_owned(), span.to_owned())));
    chosen
}

/// Whether every query gives series, with numbers, and with the labels that the legend names.
fn panels(dashboard: &Dashboard, chosen: &Chosen, server: &Prometheus) -> Found {
    let (mut findings, mut n_series) = (Vec::new(), 0);
    let queries = dashboard.queries();
    for query in &queries {
        let answer = filled_in(&query.expression, chosen).and_then(|expression| server.evaluate(&expression));
        let faults = match answer {
            Ok(series) if series.is_empty() => vec!["gives no series".to_owned()],
            Ok(series) => {
                n_series += series.len();
                let numbers = series.iter().filter(|(_, value)| !value.is_finite());
                let numbers = numbers.map(|(labels, value)| format!("gives {value} for {labels:?}"));
                let labels = labels_of_legend(&query.legend).into_iter();
                let labels =
                    labels.filter(|label| !series.iter().any(|(labels, _)| labels.contains_key(*label)));
                numbers.chain(labels.map(|label| format!("gives no label {label} for the legend"))).collect()
            }
            Err(error) => vec![error],
        };
        findings.extend(
            faults.into_iter().map(|fault| format!("panel {:?} {}: {fault}", query.panel, query.letter)),
        );
    }
    found(findings, || format!("{} queries give {n_series} series, with numbers", queries.len()))
}

/// Whether the panels' arithmetic is right.
fn computed(dashboard: &Dashboard) -> Found {
    let run = || {
        let file = NamedTempFile::new().map_err(|error| error.to_string())?;
        fs::write(&file, arithmetic::tests(dashboard)?).map_err(|error| error.to_string())?;
        promtool(&folder(), &["test", "rules", &file.path().display().to_string()], "")
    };
    let findings = run().err().map(|error| error.lines().map(ToOwned::to_owned).collect());
    found(findings.unwrap_or_default(), || {
        format!("{} queries give what they should", arithmetic::n_queries())
    })
}

/// Whether every metric that is exported is on the dashboard.
fn shown(dashboard: &Dashboard, exported: &str) -> Found {
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    for (_, expression) in expressions(dashboard, &mut findings) {
        let selectors = Names::of(&expression).map(|names| names.selectors).unwrap_or_default();
        named.extend(selectors.into_iter().map(|selector| family(&selector.metric).to_owned()));
    }
    let families = exposition::families(exported);
    let hidden = families.keys().filter(|name| !named.contains(*name));
    findings.extend(hidden.map(|name| format!("no panel shows {name}")));
    found(findings, || format!("each of {} metrics is on a panel", families.len()))
}

/// The alerts, once the server has evaluated each of them.
fn evaluated(server: &Prometheus, exporter: &Exporter) -> Result<Vec<Value>> {
    for _ in 0..SCRAPES_MAX {
        let answer = server.ask("rules", &[("type", "alert")])?;
        let groups = answer["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let rules: Vec<_> = rules.cloned().collect();
        if !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown") {
            return Ok(rules);
        }
        exporter.wait_until_scraped()?;
    }
    Err("Prometheus does not evaluate the alerts".into())
}

/// The alerts' names and expressions, as the server has read them.
fn alert_expressions(rules: &[Value]) -> Vec<(String, String)> {
    let text = |rule: &Value, name: &str| rule[name].as_str().unwrap_or_default().to_owned();
    rules.iter().map(|rule| (format!("alert {}", text(rule, "name")), text(rule, "query"))).collect()
}

/// Whether the server can evaluate every alert.
fn alert_states(rules: &[Value]) -> Found {
    let failed = rules.iter().filter(|rule| rule["health"] != "ok");
    let failed = failed.map(|rule| format!("alert {}: {}", rule["name"], rule["lastError"])).collect();
    found(failed, || format!("Prometheus evaluates all {}", rules.len()))
}

/// The metric to which a series called `name` belongs.
fn family(name: &str) -> &str {
    let suffixes = ["_bucket", "_sum", "_count"];
    let family = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
    // `object_cache_entry_count` is a gauge.
    family.filter(|family| family.ends_with("_seconds")).unwrap_or(name)
}

fn found(findings: Vec<String>, all_is_well: impl FnOnce() -> String) -> Found {
    if findings.is_empty() { Ok(all_is_well()) } else { Err(findings) }
}

type Headers = &'static [(&'static str, &'static str)];

/// Paths, headers, and the status of the answer.
const VISITS: &[(&str, Headers, u16)] = &[
    ("/", &[], 200),
    ("/index.html", &[("if-none-match", "*")], 304),
    ("/store.svg", &[("range", "bytes=0-99")], 206),
    ("/store.svg", &[], 200),
    ("/nothing", &[], 404),
];

/// How many scrapes it may take until every alert has been evaluated.
const SCRAPES_MAX: usize = 100;

const DASHBOARD: &str = "object-cache.json";
const RULES: &str = "alerts.yml";
const RULES_TESTS: &str = "alerts_test.yml";

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// What is exported after traffic of every kind.
    static EXPORTED: LazyLock<String> = LazyLock::new(|| {
        let traffic = Traffic::new().unwrap();
        traffic.run().unwrap();
        traffic.registry().render_prometheus()
    });

    /// What Prometheus would have of that.
    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        for mut sample in exposition::samples(&EXPORTED).unwrap() {
            sample.labels.extend(["job", "instance"].map(|name| (name.to_owned(), name.to_owned())));
            catalog.add(&sample.name, sample.labels);
        }
        catalog
    }

    /// What is found when `from` is `to`, everywhere in the dashboard or the alerts.
    #[track_caller]
    fn check(from: &str, to: &str, expected: &[&str]) {
        let (dashboard, rules) = (
            include_str!("../../../dashboards/object-cache.json"),
            include_str!("../../../dashboards/alerts.yml"),
        );
        assert!(dashboard.contains(from) || rules.contains(from), "{from} is nowhere");
        let dashboard = Dashboard::new(serde_json::from_str(&dashboard.replace(from, to)).unwrap());
        let alerts = alerts::expressions(&rules.replace(from, to));
        let found = [names(&dashboard, &alerts, &catalog()), shown(&dashboard, &EXPORTED)];
        let findings: Vec<_> = found.into_iter().filter_map(Found::err).flatten().collect();
        assert_eq!(findings, expected);
    }

    #[test]
    fn the_dashboard_and_the_alerts_name_what_is_exported() {
        check("", "", &[]);
        assert_eq!(moved(&EXPORTED).err(), None);
    }

    #[test]
    fn a_metric_that_is_not_exported_is_found() {
        check(
            "object_cache_coalesced_total",
            "object_cache_joined_total",
            &[
                r#"panel "Coalesced reads" A: no metric object_cache_joined_total"#,
                "no panel shows object_cache_coalesced_total",
            ],
        );
        check(
            "object_cache_evictions_total{reason",
            "object_cache_evicted_total{reason",
            &["alert ObjectCacheTooSmall: no metric object_cache_evicted_total"],
        );
    }

    #[test]
    fn a_label_that_is_not_exported_is_found() {
        check(
            "sum by (source) (rate(object_cache_io",
            "sum by (from) (rate(object_cache_io",
            &[r#"panel "Bytes by source" A: no label from to group object_cache_io_bytes_total by"#],
        );
        check(
            r#"total{job=~\"$job\"}, cache_name)"#,
            r#"total{job=~\"$job\"}, cache)"#,
            &["variable cache_name: no label cache to group object_cache_requests_total by"],
        );
        check(
            "sum by (job, cache_name, le)",
            "sum by (job, cache, le)",
            &[
                "alert ObjectCacheOriginSlow: no label cache to group object_cache_origin_duration_seconds_bucket by",
            ],
        );
    }

    #[test]
    fn a_value_that_is_not_exported_is_found() {
        check(
            r#"op=~\"put|copy"#,
            r#"op=~\"write|copy"#,
            &[r#"panel "Money per hour" B: object_cache_origin_requests_total has no op="write""#],
        );
        check(
            r#"error|stale"#,
            r#"error|old"#,
            &[r#"panel "Errors and stale answers" A: object_cache_requests_total has no result="old""#],
        );
        check(
            r#"{result="stale"}"#,
            r#"{result="old"}"#,
            &[r#"alert ObjectCacheServesStale: object_cache_requests_total has no result="old""#],
        );
        check(
            r#"reason!="policy""#,
            r#"reason!="worth""#,
            &[r#"alert ObjectCacheRefusesObjects: object_cache_refusals_total has no reason="worth""#],
        );
    }

    #[test]
    fn what_cannot_be_read_is_found() {
        check(
            "sum by (cache_name) (object_cache_inflight",
            "sum by (cache_name) (object_cache_inflight + $many",
            &[
                r#"panel "In flight" A: no variable many"#,
                r#"panel "In flight" A: no variable many"#,
                "no panel shows object_cache_inflight",
            ],
        );
    }

    #[test]
    fn a_counter_that_stands_still_is_found() {
        let still = "# TYPE a_total counter\na_total{cache_name=\"x\",y=\"1\"} 0\na_total{cache_name=\"x\",y=\"2\"} 0\n\
            a_total{cache_name=\"z\",y=\"2\"} 1\n# TYPE b gauge\nb 0\n";
        assert_eq!(moved(still), Err(vec![r#"nothing was counted: a_total{"y": "1"}"#.to_owned()]));
    }
}
