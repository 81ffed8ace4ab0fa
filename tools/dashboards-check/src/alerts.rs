//! What `alerts.yml` and `alerts_test.yml` say, as far as it can be told without Prometheus.

use std::collections::BTreeMap;

/// The alerts of `rules` that `tests` leave untested, and what is tested that is no alert. Both are YAML, laid out as
/// `alerts.yml` and `alerts_test.yml` are; what is in them is for `promtool` to check.
pub(crate) fn findings(rules: &str, tests: &str) -> Vec<String> {
    let mut tested: BTreeMap<&str, [bool; 2]> =
        values(rules, "- alert:").into_iter().map(|name| (name, [false, false])).collect();
    let mut findings = Vec::new();
    for test in tests.split("- alertname:").skip(1) {
        let name = test.lines().next().unwrap_or_default().trim();
        let Some(seen) = tested.get_mut(name) else {
            findings.push(format!("there is a test of {name}, which is no alert"));
            continue;
        };
        let is_quiet = values(test, "exp_alerts:").first() == Some(&"[]");
        seen[usize::from(is_quiet)] = true;
    }
    for (name, seen) in tested {
        let missing = ["fires", "does not fire"].into_iter().zip(seen).filter(|(_, seen)| !seen);
        findings.extend(missing.map(|(how, _)| format!("there is no test in which {name} {how}")));
    }
    findings
}

/// Each alert of `rules`, with its expression.
#[cfg(test)]
pub(crate) fn expressions(rules: &str) -> Vec<(String, String)> {
    let alerts = rules.split("- alert:").skip(1);
    let one = |alert: &str| {
        let name = alert.lines().next().unwrap_or_default().trim();
        let expression = alert.split_once("expr:").and_then(|(_, rest)| rest.split_once("\n        for:"));
        let expression =
            expression.map_or("", |(expression, _)| expression.trim_start().trim_start_matches('|'));
        (format!("alert {name}"), expression.trim().to_owned())
    };
    alerts.map(one).collect()
}

/// What stands behind `name` on its lines.
fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| Some(line.trim_start().strip_prefix(name)?.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = include_str!("../../../dashboards/alerts.yml");
    const TESTS: &str = include_str!("../../../dashboards/alerts_test.yml");

    #[test]
    fn each_alert_is_tested_both_ways() {
        assert_eq!(findings(RULES, TESTS), [""; 0]);
    }

    #[test]
    fn each_alert_is_described() {
        let readme = include_str!("../../../dashboards/README.md");
        for name in values(RULES, "- alert:") {
            assert!(readme.contains(&format!("| `{name}` |")), "{name}");
        }
    }

    #[test]
    fn an_alert_that_is_not_tested_is_named() {
        let (before, after) = TESTS.rsplit_once("exp_alerts: []").unwrap();
        let tests = format!("{before}exp_alerts: [x]{after}");
        assert_eq!(
            findings(RULES, &tests),
            ["there is no test in which ObjectCacheBackendErrors does not fire"]
        );
        let tests = TESTS.replacen("exp_alerts:\n", "exp_alerts: []\n", 1);
        assert_eq!(findings(RULES, &tests), ["there is no test in which ObjectCacheReadsFailing fires"]);
        let rules = RULES.replace("ObjectCacheBackendErrors", "ObjectCacheErrors");
        assert_eq!(
            findings(&rules, TESTS),
            [
                "there is a test of ObjectCacheBackendErrors, which is no alert",
                "there is a test of ObjectCacheBackendErrors, which is no alert",
                "there is no test in which ObjectCacheErrors fires",
                "there is no test in which ObjectCacheErrors does not fire",
            ]
        );
    }
}
