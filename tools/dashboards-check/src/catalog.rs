//! Which series there are, and whether an expression names any that are not.

use std::collections::BTreeMap;

use crate::{
    exposition::Labels,
    promql::{Matcher, Names, Operator, Selector},
};

/// Every series, by its metric.
#[derive(Debug, Default)]
pub(crate) struct Catalog(BTreeMap<String, Vec<Labels>>);

impl Catalog {
    pub(crate) fn add(&mut self, metric: &str, labels: Labels) {
        self.0.entry(metric.to_owned()).or_default().push(labels);
    }

    /// Those of `metric`, or of the metric of which it is another name.
    fn of(&self, metric: &str) -> Option<&Vec<Labels>> {
        let alias = ALIASES.iter().find(|(alias, _)| *alias == metric);
        self.0.get(metric).or_else(|| self.0.get(alias?.1))
    }

    pub(crate) fn n_series(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// What `names` has that is not here.
    pub(crate) fn findings(&self, names: &Names) -> Vec<String> {
        let mut findings: Vec<_> =
            names.selectors.iter().flat_map(|selector| self.missing(selector)).collect();
        for grouping in &names.groupings {
            let over = &names.selectors[grouping.over.clone()];
            for label in &grouping.labels {
                // A metric that is not there has been named already.
                let mut known = over.iter().filter_map(|selector| self.of(&selector.metric));
                let is_there = |series: &Vec<Labels>| series.iter().any(|labels| labels.contains_key(label));
                let holds = if grouping.of_each { known.all(is_there) } else { known.any(is_there) };
                if !holds {
                    let metrics: Vec<_> = over.iter().map(|selector| selector.metric.as_str()).collect();
                    findings.push(format!("no label {label} to group {} by", metrics.join(", ")));
                }
            }
        }
        findings
    }

    fn missing(&self, selector: &Selector) -> Vec<String> {
        let Selector { metric, matchers } = selector;
        let Some(series) = self.of(metric) else { return vec![format!("no metric {metric}")] };
        let mut findings = Vec::new();
        for Matcher { label, operator, value } in matchers {
            let values: Vec<_> = series.iter().filter_map(|labels| labels.get(label)).collect();
            if values.is_empty() {
                findings.push(format!("{metric} has no label {label}"));
                continue;
            }
            let named = match operator {
                Operator::Equal | Operator::Unequal => vec![value.clone()],
                Operator::Matching | Operator::Unmatching => alternatives(value).unwrap_or_default(),
            };
            let unknown = named.iter().filter(|value| !values.contains(value));
            findings.extend(unknown.map(|value| format!("{metric} has no {label}={value:?}")));
        }
        if findings.is_empty() && !series.iter().any(|labels| matchers.iter().all(|m| m.takes(labels))) {
            findings.push(format!("no series {selector}"));
        }
        findings
    }
}

impl Matcher {
    /// Whether a series with `labels` is taken, as far as can be told here: a pattern that is more than words with `|`
    /// between them takes any.
    fn takes(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.label).map_or("", String::as_str);
        let matches = || alternatives(&self.value).map(|words| words.iter().any(|word| word == value));
        match self.operator {
            Operator::Equal => self.value == value,
            Operator::Unequal => self.value != value,
            Operator::Matching => matches().unwrap_or(true),
            Operator::Unmatching => !matches().unwrap_or(false),
        }
    }
}

/// The words of a pattern such as `a|b` or `(a|b)`; none if it is of another kind.
fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let inner = pattern.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(pattern);
    let mut words = vec![String::new()];
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '|' => words.push(String::new()),
            '\\' => words.last_mut()?.push(chars.next().filter(|c| !c.is_alphanumeric())?),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            c => words.last_mut()?.push(c),
        }
    }
    Some(words)
}

/// What OpenTelemetry's exporter for Prometheus calls a metric, where that is not its name in ours. Expressions have both.
const ALIASES: [(&str, &str); 1] = [("object_cache_entry_count", "object_cache_entries")];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition;

    #[track_caller]
    fn check(expression: &str, expected: &[&str]) {
        let text = "a_total{x=\"1\",y=\"p\"} 0\na_total{x=\"2\",y=\"q.r\"} 0\nb_bucket{x=\"1\",le=\"1\"} 0\n";
        let mut catalog = Catalog::default();
        exposition::samples(text)
            .unwrap()
            .into_iter()
            .for_each(|sample| catalog.add(&sample.name, sample.labels));
        assert_eq!(catalog.findings(&Names::of(expression).unwrap()), expected, "{expression}");
    }

    #[test]
    fn what_is_there_gives_no_finding() {
        check(r#"sum by (x) (rate(a_total{x="1", y!="q.r"}[1m])) > 0"#, &[]);
        check(r#"a_total{x=~"1|2", y=~"(p|q\\.r)"} / on (x) group_left b_bucket"#, &[]);
        check(r#"sum by (le) (b_bucket{x=~".+"})"#, &[]);
    }

    #[test]
    fn a_metric_that_is_not_there_is_named() {
        check("rate(a[1m])", &["no metric a"]);
        check("sum by (x) (a_total + c)", &["no metric c"]);
    }

    #[test]
    fn a_metric_may_be_called_by_its_other_name() {
        let mut catalog = Catalog::default();
        catalog.add("object_cache_entries", Labels::from([("x".to_owned(), "1".to_owned())]));
        let check = |expression: &str, expected: &[&str]| {
            assert_eq!(catalog.findings(&Names::of(expression).unwrap()), expected, "{expression}");
        };
        check("sum by (x) (object_cache_entries or object_cache_entry_count)", &[]);
        check("object_cache_entry_count{y=\"1\"}", &["object_cache_entry_count has no label y"]);
        check("object_cache_entry", &["no metric object_cache_entry"]);
    }

    #[test]
    fn a_label_that_is_not_there_is_named() {
        check(r#"a_total{z="1"}"#, &["a_total has no label z"]);
        check(r#"a_total{z=~".*"}"#, &["a_total has no label z"]);
        check("sum by (x, le) (a_total)", &["no label le to group a_total by"]);
        check("sum without (y) (a_total + b_bucket)", &["no label y to group a_total, b_bucket by"]);
        check("a_total / on (z) b_bucket", &["no label z to group a_total, b_bucket by"]);
        check("a_total / on (y) b_bucket", &[]);
    }

    #[test]
    fn a_value_that_is_not_there_is_named() {
        check(r#"a_total{x="3"}"#, &[r#"a_total has no x="3""#]);
        check(r#"a_total{x!="3"}"#, &[r#"a_total has no x="3""#]);
        check(r#"a_total{x=~"1|3|4"}"#, &[r#"a_total has no x="3""#, r#"a_total has no x="4""#]);
        check(r#"a_total{x!~"3"}"#, &[r#"a_total has no x="3""#]);
        check(r#"a_total{y=~"q\\.s"}"#, &[r#"a_total has no y="q.s""#]);
    }

    #[test]
    fn labels_that_never_come_together_are_named() {
        check(r#"a_total{x="1", y="q.r"}"#, &[r#"no series a_total{x="1", y="q.r"}"#]);
        check(r#"a_total{x!="1", y!~"q\\.r"}"#, &[r#"no series a_total{x!="1", y!~"q\\.r"}"#]);
    }
}
