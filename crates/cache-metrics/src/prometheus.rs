//! Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

use cache_core::{Bounds, Histogram};

use crate::{
    Attributes, Registry, Sample, Value,
    names::{CACHE_NAME_LABEL, Kind, METRICS, Metric},
    samples,
};

/// The `Content-Type` of [`Registry::render_prometheus`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Registry {
    /// Renders all metrics of all caches as the response to a Prometheus scrape, to be sent with
    /// the
    /// [`CONTENT_TYPE`]. Empty if there is no cache.
    pub fn render_prometheus(&self) -> String {
        let caches = self.collect();
        let mut text = Text { out: String::with_capacity(caches.len() * BYTES_A_CACHE) };
        let mut rows: Vec<_> = caches
            .iter()
            .map(|cache| Row {
                label: label(CACHE_NAME_LABEL, &cache.name),
                samples: samples(&cache.snapshot).peekable(),
            })
            .collect();
        for metric in METRICS {
            text.family(metric, &mut rows);
        }
        text.out
    }
}

/// The samples of one cache that are still to be written.
struct Row<I: Iterator> {
    /// The cache's name as a label.
    label: String,
    samples: std::iter::Peekable<I>,
}

struct Text {
    out: String,
}

impl Text {
    /// Writes `metric` for all caches: the next samples of each row.
    fn family<'a>(
        &mut self,
        metric: &'static Metric,
        rows: &mut [Row<impl Iterator<Item = Sample<'a>>>],
    ) {
        let is_of_it = |sample: &Sample<'_>| sample.metric == metric;
        if !rows.iter_mut().any(|row| row.samples.peek().is_some_and(is_of_it)) {
            return;
        }
        let (name, kind) = (metric.prometheus_name, metric.kind);
        let bounds = self.head(name, kind, metric.help);
        for Row { label, samples } in rows {
            while let Some(sample) = samples.next_if(is_of_it) {
                match sample.value {
                    Value::Number(number) => {
                        self.series(name, "", label, sample.attributes, None);
                        self.number(number);
                    }
                    Value::Histogram(histogram) => {
                        self.histogram(name, label, sample.attributes, histogram, &bounds);
                    }
                }
            }
        }
    }

    /// Writes the `HELP` and `TYPE` lines of `name`. Returns the bounds of its buckets as text.
    fn head(&mut self, name: &str, kind: Kind, help: &str) -> Vec<String> {
        let (kind, bounds) = match kind {
            Kind::Counter => ("counter", Vec::new()),
            Kind::Gauge => ("gauge", Vec::new()),
            Kind::Histogram(bounds) => ("histogram", written(bounds)),
        };
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
            self.out.push_str(part);
        }
        bounds
    }

    fn histogram(
        &mut self,
        name: &str,
        label: &str,
        attributes: Attributes,
        histogram: &Histogram,
        bounds: &[String],
    ) {
        let mut so_far = 0;
        for (bucket, bound) in histogram.buckets().iter().zip(bounds) {
            so_far += bucket.count;
            self.series(name, "_bucket", label, attributes, Some(bound));
            self.number(so_far);
        }
        self.series(name, "_sum", label, attributes, None);
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.out, "{}", histogram.sum_seconds());
        self.series(name, "_count", label, attributes, None);
        self.number(so_far);
    }

    /// Writes a line up to its value.
    fn series(
        &mut self,
        name: &str,
        part: &str,
        label: &str,
        attributes: Attributes,
        le: Option<&str>,
    ) {
        for part in [name, part, "{", label] {
            self.out.push_str(part);
        }
        for (attribute, value) in attributes {
            for part in [",", attribute, "=\"", value, "\""] {
                self.out.push_str(part);
            }
        }
        if let Some(bound) = le {
            for part in [",le=\"", bound, "\""] {
                self.out.push_str(part);
            }
        }
        self.out.push_str("} ");
    }

    fn number(&mut self, number: u64) {
        let _ = writeln!(self.out, "{number}");
    }
}

/// Returns the upper bounds of the buckets, with `+Inf`.
fn written(bounds: &Bounds) -> Vec<String> {
    let bounds = bounds.iter().map(|bound| bound.as_secs_f64().to_string());
    bounds.chain(["+Inf".to_owned()]).collect()
}

/// Returns `name="value"`, with `value` escaped.
fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

/// The bytes reserved for the samples of one cache.
const BYTES_A_CACHE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_label_is_escaped() {
        assert_eq!(label("a", "x\"y\\z\nö{}"), r#"a="x\"y\\z\nö{}""#);
    }
}
