//! Makes `object-cache.json`: how its panels are drawn, and where they stand. `panels.rs` has what they say.

mod panels;

use std::{fs, io};

use serde_json::{Value, json};

use self::panels::{Choice, Panel, ROWS, Row, VARIABLES, Variable, View};
use crate::check;

/// Writes the dashboard into its file.
pub(crate) fn write() -> io::Result<()> {
    fs::write(check::folder().join("object-cache.json"), format!("{:#}\n", dashboard()))
}

/// The dashboard, as Grafana imports it.
pub(crate) fn dashboard() -> Value {
    let mut board = Board::default();
    ROWS.iter().for_each(|row| board.add(row));
    json!({
        "uid": "object-cache",
        "title": "object-cache",
        "description": "What caches answer, from where, what that saves, and how the store behind them does.",
        "tags": ["object-cache"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "id": null,
        "editable": true,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "weekStart": "",
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "timepicker": {},
        "refresh": "1m",
        "links": [],
        "annotations": {"list": []},
        "templating": {"list": VARIABLES.iter().map(variable).collect::<Vec<_>>()},
        "panels": board.panels,
    })
}

#[derive(Default)]
struct Board {
    panels: Vec<Value>,
    /// The last one given.
    id: u32,
    /// Below all that is there.
    bottom: u32,
}

impl Board {
    fn add(&mut self, row: &Row) {
        let mut head = json!({
            "type": "row",
            "id": self.next_id(),
            "title": row.title,
            "collapsed": row.is_folded,
            "panels": [],
            "gridPos": {"x": 0, "y": self.bottom, "w": WIDTH, "h": 1},
        });
        let top = self.bottom + 1;
        let panels = self.laid_out(row, top);
        if row.is_folded {
            head["panels"] = Value::Array(panels);
            self.panels.push(head);
            self.bottom = top;
        } else {
            self.panels.push(head);
            self.panels.extend(panels);
        }
    }

    /// The panels of a row, from left to right and then below.
    fn laid_out(&mut self, row: &Row, top: u32) -> Vec<Value> {
        let (mut x, mut y) = (0, top);
        let mut panels = Vec::new();
        for panel in row.panels {
            if x + panel.width > WIDTH {
                (x, y) = (0, y + row.height);
            }
            let mut value = drawn(panel);
            value["id"] = json!(self.next_id());
            value["gridPos"] = json!({"x": x, "y": y, "w": panel.width, "h": row.height});
            panels.push(value);
            x += panel.width;
        }
        self.bottom = y + row.height;
        panels
    }

    fn next_id(&mut self) -> u32 {
        self.id += 1;
        self.id
    }
}

/// A panel that has no place yet.
fn drawn(panel: &Panel) -> Value {
    let (kind, options) = match panel.view {
        View::Number => ("stat", number()),
        View::Lines | View::Stacked => ("timeseries", lines()),
    };
    json!({
        "type": kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": source(),
        "targets": targets(panel),
        "fieldConfig": {"defaults": field(panel), "overrides": overrides(panel)},
        "options": options,
    })
}

fn targets(panel: &Panel) -> Vec<Value> {
    let is_instant = panel.view == View::Number;
    let target = |(letter, (legend, expression)): (char, &(&str, &str))| {
        json!({
            "refId": letter.to_string(),
            "datasource": source(),
            "editorMode": "code",
            "expr": expression.replace("..", SELECTED).split_whitespace().collect::<Vec<_>>().join(" "),
            "legendFormat": legend,
            "instant": is_instant,
            "range": !is_instant,
        })
    };
    ('A'..='Z').zip(panel.queries).map(target).collect()
}

fn field(panel: &Panel) -> Value {
    let step = |(from, color): &(Option<f64>, &str)| json!({"value": from, "color": color});
    let steps: Vec<_> = panel.steps.iter().map(step).collect();
    let mut field = json!({
        "unit": panel.unit,
        "noValue": panel.nothing,
        "thresholds": {"mode": "absolute", "steps": steps},
    });
    if let Some(decimals) = panel.decimals {
        field["decimals"] = json!(decimals);
    }
    if panel.unit == "percentunit" {
        field["min"] = json!(0);
        field["max"] = json!(1);
    }
    let is_stacked = panel.view == View::Stacked;
    if panel.view == View::Number {
        field["color"] = json!({"mode": "thresholds"});
        return field;
    }
    field["color"] = json!({"mode": "palette-classic"});
    field["custom"] = json!({
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": if is_stacked { 60 } else { 8 },
        "gradientMode": "none",
        "showPoints": "never",
        "spanNulls": false,
        "stacking": {"group": "A", "mode": if is_stacked { "normal" } else { "none" }},
        "axisPlacement": "auto",
        "axisLabel": "",
        "scaleDistribution": {"type": "linear"},
        "hideFrom": {"legend": false, "tooltip": false, "viz": false},
        "thresholdsStyle": {"mode": "off"},
    });
    field
}

/// Colours of series that mean the same in every panel.
fn overrides(panel: &Panel) -> Vec<Value> {
    let of = |(name, color): &(&str, &str)| {
        json!({
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
        })
    };
    panel.colors.iter().map(of).collect()
}

fn number() -> Value {
    json!({
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "value",
        "showPercentChange": false,
        "wideLayout": true,
    })
}

fn lines() -> Value {
    json!({
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    })
}

fn variable(variable: &Variable) -> Value {
    let Variable { name, label, description, .. } = variable;
    let mut value =
        json!({"name": name, "label": label, "description": description, "hide": 0, "skipUrlSync": false});
    let more = match variable.kind {
        Choice::Source => json!({
            "type": "datasource",
            "query": "prometheus",
            "regex": "",
            "refresh": 1,
            "multi": false,
            "includeAll": false,
            "options": [],
        }),
        Choice::Label(query) => json!({
            "type": "query",
            "datasource": source(),
            "definition": query,
            "query": {"query": query, "refId": "StandardVariableQuery"},
            "regex": "",
            // When the range of time changes: what has gone away can be chosen where it was there.
            "refresh": 2,
            "sort": 1,
            "multi": true,
            "includeAll": true,
            "options": [],
            "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
        }),
        Choice::Text(default) => {
            let chosen = json!({"selected": true, "text": default, "value": default});
            json!({"type": "textbox", "query": default, "options": [chosen], "current": chosen})
        }
    };
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}

/// The data source that is chosen.
fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// What every selector of a panel asks for; written `..` there.
const SELECTED: &str = r#"job=~"$job", cache_name=~"$cache_name", instance=~"$instance""#;
/// That of Grafana 10.0. Later ones bring it up to theirs when they import it.
const SCHEMA: u32 = 38;
/// Of Grafana's grid.
const WIDTH: u32 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_is_made() {
        let file: Value =
            serde_json::from_str(include_str!("../../../dashboards/object-cache.json")).unwrap();
        assert!(file == dashboard(), "cargo xtask dashboards write");
    }
}
