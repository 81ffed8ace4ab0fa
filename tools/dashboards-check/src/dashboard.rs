//! A dashboard, read as Grafana reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub(crate) struct Dashboard(Value);

/// What a panel asks.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) panel: String,
    pub(crate) letter: String,
    /// With Grafana's variables in it.
    pub(crate) expression: String,
    /// How a series is called, with `{{label}}` in it.
    pub(crate) legend: String,
}

/// A variable whose values are those of a label.
#[derive(Debug, Clone)]
pub(crate) struct LabelQuery {
    pub(crate) variable: String,
    /// With Grafana's variables in it.
    pub(crate) selector: String,
    pub(crate) label: String,
}

/// What stands for each variable.
pub(crate) type Chosen = BTreeMap<String, String>;

impl Dashboard {
    pub(crate) fn new(value: Value) -> Self {
        Self(value)
    }

    /// The queries of every panel, folded ones too.
    pub(crate) fn queries(&self) -> Vec<Query> {
        let of_panel = |panel: &Value| {
            let title = text(panel, "title");
            let of_target = move |target: &Value| Query {
                panel: title.clone(),
                letter: text(target, "refId"),
                expression: text(target, "expr"),
                legend: text(target, "legendFormat"),
            };
            list(panel, "targets").iter().map(of_target).collect::<Vec<_>>()
        };
        self.panels().into_iter().flat_map(of_panel).collect()
    }

    /// The variables that ask for a label's values, in the order in which one may use another.
    ///
    /// # Errors
    ///
    /// One whose query is not `label_values(selector, label)`.
    pub(crate) fn label_queries(&self) -> Result<Vec<LabelQuery>, String> {
        let queries = self.variables().iter().filter(|variable| text(variable, "type") == "query");
        let read = |variable: &Value| {
            let query = text(&variable["query"], "query");
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (selector, label) = inner
                .and_then(|inner| inner.rsplit_once(','))
                .ok_or_else(|| format!("variable {}: no label_values: {query}", text(variable, "name")))?;
            let [selector, label] = [selector, label].map(|part| part.trim().to_owned());
            Ok(LabelQuery { variable: text(variable, "name"), selector, label })
        };
        queries.map(read).collect()
    }

    /// The values of the variables that are a text.
    pub(crate) fn texts(&self) -> Chosen {
        let boxes = self.variables().iter().filter(|variable| text(variable, "type") == "textbox");
        boxes.map(|variable| (text(variable, "name"), text(variable, "query"))).collect()
    }

    pub(crate) fn n_panels(&self) -> usize {
        self.panels().len()
    }

    /// What is wrong with its form.
    pub(crate) fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        if self.0["schemaVersion"].as_u64() < Some(SCHEMA) {
            findings.push(format!("schemaVersion is below {SCHEMA}: Grafana 10 would rewrite it"));
        }
        let panels = self.panels();
        let rows = list(&self.0, "panels").iter().filter(|panel| text(panel, "type") == "row");
        findings.extend(twice("id", panels.iter().copied().chain(rows).map(|panel| panel["id"].to_string())));
        findings.extend(twice("title", panels.iter().map(|panel| text(panel, "title"))));
        findings.extend(panels.iter().flat_map(|panel| faults_of(panel)));
        findings.extend(overlaps(list(&self.0, "panels")));
        findings.extend(list(&self.0, "panels").iter().flat_map(|row| overlaps(list(row, "panels"))));
        findings.extend(self.variable_findings());
        findings
    }

    fn variable_findings(&self) -> Vec<String> {
        let names: BTreeSet<_> = self.variables().iter().map(|variable| text(variable, "name")).collect();
        let queries = self.queries().into_iter().map(|query| query.expression);
        let of_variables = self.variables().iter().map(|variable| text(&variable["query"], "query"));
        let mut used: BTreeSet<_> =
            queries.chain(of_variables).flat_map(|text| variables_in(&text)).collect();
        used.extend(self.panels().iter().flat_map(|panel| variables_in(&text(&panel["datasource"], "uid"))));
        let unknown = used.iter().filter(|name| !name.starts_with("__") && !names.contains(*name));
        let unknown = unknown.map(|name| format!("no variable {name}"));
        let unused = names.difference(&used).map(|name| format!("nothing uses the variable {name}"));
        unknown.chain(unused).collect()
    }

    fn variables(&self) -> &[Value] {
        list(&self.0["templating"], "list")
    }

    /// Without rows.
    fn panels(&self) -> Vec<&Value> {
        let all = list(&self.0, "panels").iter();
        let all = all.flat_map(|panel| std::iter::once(panel).chain(list(panel, "panels")));
        all.filter(|panel| text(panel, "type") != "row").collect()
    }
}

/// `text` with what stands for its variables.
///
/// # Errors
///
/// A variable for which nothing stands.
pub(crate) fn filled_in(text: &str, chosen: &Chosen) -> Result<String, String> {
    let mut parts = text.split('$');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = variable(part);
        filled += chosen.get(name).ok_or_else(|| format!("no variable {name}"))?;
        filled += rest;
    }
    Ok(filled)
}

/// What stands for a variable of which several values are chosen.
pub(crate) fn any_of(values: &[String]) -> String {
    let escaped = |value: &String| {
        let escape = |c: char| {
            if r"\^$*+?.()|[]{}".contains(c) { format!(r"\\{c}") } else { c.to_string() }
        };
        value.chars().map(escape).collect::<String>()
    };
    match values {
        [one] => escaped(one),
        several => format!("({})", several.iter().map(escaped).collect::<Vec<_>>().join("|")),
    }
}

/// The labels that a legend names.
pub(crate) fn labels_of_legend(legend: &str) -> Vec<&str> {
    let parts = legend.split("{{").skip(1);
    parts.filter_map(|part| Some(part.split_once("}}")?.0.trim())).collect()
}

fn variables_in(text: &str) -> Vec<String> {
    text.split('$').skip(1).map(|part| variable(part).0.to_owned()).collect()
}

/// The name of the variable at whose `$` the text before `part` ends, and what comes behind it.
fn variable(part: &str) -> (&str, &str) {
    if let Some((name, rest)) = part.strip_prefix('{').and_then(|part| part.split_once('}')) {
        return (name, rest);
    }
    part.split_at(part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(part.len()))
}

fn faults_of(panel: &Value) -> Vec<String> {
    let title = text(panel, "title");
    let mut faults = Vec::new();
    if !KINDS.contains(&text(panel, "type").as_str()) {
        faults.push(format!("{:?} is no type of panel of Grafana 10", text(panel, "type")));
    }
    if text(panel, "description").is_empty() {
        faults.push("it has no description".to_owned());
    }
    if text(&panel["fieldConfig"]["defaults"], "unit").is_empty() {
        faults.push("it has no unit".to_owned());
    }
    let targets = list(panel, "targets");
    if targets.is_empty() {
        faults.push("it asks nothing".to_owned());
    }
    faults.extend(twice("refId", targets.iter().map(|target| text(target, "refId"))));
    let sources = std::iter::once(panel).chain(targets).map(|asks| text(&asks["datasource"], "uid"));
    if sources.into_iter().any(|source| source != "${datasource}") {
        faults.push("it asks another data source than the one that is chosen".to_owned());
    }
    faults.into_iter().map(|fault| format!("panel {title:?}: {fault}")).collect()
}

fn twice(what: &str, values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let again: Vec<_> = values.filter(|value| !seen.insert(value.clone())).collect();
    again.into_iter().map(|value| format!("{what} {value} is there twice")).collect()
}

fn overlaps(panels: &[Value]) -> Vec<String> {
    let mut taken = BTreeMap::new();
    let mut findings = Vec::new();
    for panel in panels {
        let title = text(panel, "title");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap_or(0));
        if w == 0 || h == 0 || x + w > WIDTH {
            findings.push(format!("panel {title:?} is not within the grid"));
        }
        let cells = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
        let other = cells.filter_map(|cell| taken.insert(cell, title.clone())).next();
        findings.extend(other.map(|other| format!("panel {title:?} stands over {other:?}")));
    }
    findings
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// Grafana 10.0's.
const SCHEMA: u64 = 38;

const WIDTH: u64 = 24;

/// Those that Grafana 10 comes with and that ask a data source.
const KINDS: [&str; 11] = [
    "barchart",
    "bargauge",
    "gauge",
    "heatmap",
    "histogram",
    "piechart",
    "stat",
    "state-timeline",
    "status-history",
    "table",
    "timeseries",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::generate;

    #[test]
    fn the_form_of_what_is_made_is_right() {
        assert_eq!(Dashboard::new(generate::dashboard()).findings(), [""; 0]);
    }

    /// What is found after `spoil`.
    #[track_caller]
    fn check(spoil: impl Fn(&mut Value), expected: &[&str]) {
        let mut value = generate::dashboard();
        spoil(&mut value);
        assert_eq!(Dashboard::new(value).findings(), expected);
    }

    #[test]
    fn a_wrong_form_is_found() {
        check(
            |all| all["schemaVersion"] = json!(37),
            &["schemaVersion is below 38: Grafana 10 would rewrite it"],
        );
        check(|all| all["panels"][1]["id"] = json!(1), &["id 1 is there twice"]);
        check(|all| all["panels"][1]["title"] = json!("Bytes saved"), &["title Bytes saved is there twice"]);
        check(
            |all| all["panels"][1]["type"] = json!("graph"),
            &[r#"panel "Hit ratio": "graph" is no type of panel of Grafana 10"#],
        );
        check(
            |all| all["panels"][1]["description"] = json!(""),
            &[r#"panel "Hit ratio": it has no description"#],
        );
        check(
            |all| all["panels"][1]["fieldConfig"]["defaults"]["unit"] = json!(null),
            &[r#"panel "Hit ratio": it has no unit"#],
        );
        check(|all| all["panels"][1]["targets"] = json!([]), &[r#"panel "Hit ratio": it asks nothing"#]);
        check(
            |all| all["panels"][1]["targets"][0]["datasource"]["uid"] = json!("mine"),
            &[r#"panel "Hit ratio": it asks another data source than the one that is chosen"#],
        );
        check(
            |all| all["panels"][2]["gridPos"]["x"] = json!(3),
            &[r#"panel "Requests saved" stands over "Hit ratio""#],
        );
        check(
            |all| all["panels"][6]["gridPos"]["x"] = json!(21),
            &[r#"panel "Memory fill" is not within the grid"#],
        );
        check(
            |all| all["templating"]["list"][5]["name"] = json!("price"),
            &["no variable price_put", "nothing uses the variable price"],
        );
    }

    #[test]
    fn variables_are_filled_in() {
        let chosen =
            Chosen::from([("a", "1"), ("a_b", "2")].map(|(name, value)| (name.into(), value.into())));
        assert_eq!(filled_in("x{y=~\"$a\"}[$a_b] / ${a}$a_b", &chosen).unwrap(), "x{y=~\"1\"}[2] / 12");
        assert_eq!(filled_in("$a $c", &chosen), Err("no variable c".to_owned()));
    }

    #[test]
    fn several_values_are_a_pattern() {
        assert_eq!(any_of(&["a".to_owned(), "b.c".to_owned()]), r"(a|b\\.c)");
        assert_eq!(any_of(&["a".to_owned()]), "a");
        assert_eq!(labels_of_legend("{{a}} and {{ b }}"), ["a", "b"]);
    }
}
