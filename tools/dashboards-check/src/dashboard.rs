//! The queries of `object-cache.json`.

use std::{fs, path::Path};

use serde_json::Value;

use crate::Result;

/// The folder with the dashboard and the alerts.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dashboards");

pub(crate) struct Dashboard(Value);

/// One query of a panel.
pub(crate) struct Query {
    /// The title of the panel.
    pub(crate) title: String,
    /// `A` for the first query of a panel.
    pub(crate) letter: String,
    /// PromQL with the variables of [`VALUES`] filled in.
    pub(crate) expression: String,
}

impl Dashboard {
    pub(crate) fn read() -> Result<Self> {
        Self::parse(&fs::read_to_string(Path::new(FOLDER).join("object-cache.json"))?)
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(Self(serde_json::from_str(text)?))
    }

    /// The queries of all panels, those of collapsed rows included.
    pub(crate) fn queries(&self) -> Vec<Query> {
        let of_panel = |panel: &Value| {
            let title = text(panel, "title");
            let query = |target: &Value| Query {
                title: title.clone(),
                letter: text(target, "refId"),
                expression: filled_in(&text(target, "expr")),
            };
            list(panel, "targets").iter().map(query).collect::<Vec<_>>()
        };
        self.panels().into_iter().flat_map(of_panel).collect()
    }

    /// All panels, without the rows that hold them.
    pub(crate) fn panels(&self) -> Vec<&Value> {
        let all = list(&self.0, "panels").iter();
        let all = all.flat_map(|panel| std::iter::once(panel).chain(list(panel, "panels")));
        all.filter(|panel| panel["type"] != "row").collect()
    }
}

/// `text` with a value for each of Grafana's variables. An unknown one stays: Prometheus rejects
/// it.
fn filled_in(text: &str) -> String {
    VALUES.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// Values that make results easy to work out: 1 USD a GET, 10 USD a PUT and 2 USD a byte.
const VALUES: [(&str, &str); 8] = [
    ("$job", "shop"),
    ("$cache_name", ".+"),
    ("$instance", ".*"),
    ("$__range", "30m"),
    ("$__rate_interval", "5m"),
    ("$price_get", "1000"),
    ("$price_put", "10000"),
    ("$price_gb", "2147483648"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Grafana imports incomplete panels without a warning.
    #[test]
    fn panels_are_complete_and_unique() {
        let dashboard = Dashboard::read().unwrap();
        let panels = dashboard.panels();
        let unique =
            |name: &str| panels.iter().map(|p| p[name].to_string()).collect::<BTreeSet<_>>();
        assert_eq!((unique("id").len(), unique("title").len()), (panels.len(), panels.len()));
        for panel in panels {
            let title = text(panel, "title");
            assert!(!text(panel, "description").is_empty(), "{title} has no description");
            let unit = text(&panel["fieldConfig"]["defaults"], "unit");
            assert!(!unit.is_empty(), "{title} has no unit");
            for source in std::iter::once(panel).chain(list(panel, "targets")) {
                assert_eq!(source["datasource"]["uid"], "${datasource}", "{title}");
            }
        }
    }
}
