//! The table of metrics in the documents is the table in the code.

use std::{env, fmt::Write as _, fs};

use cache_metrics::{
    micrometer,
    names::{CACHE_NAME, CACHE_NAME_LABEL, Kind, METRICS, Metric},
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");

/// With `UPDATE_DOCS=1` in the environment the document is written.
#[test]
fn the_document_has_the_table() {
    let rendered = render();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PATH, &rendered).unwrap();
    }
    let document = fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        document == rendered,
        "docs/metrics.md is not what names.rs says: run `UPDATE_DOCS=1 cargo test -p cache-metrics document`"
    );
}

fn render() -> String {
    let mut text = format!(
        "# Metrics

Made from `crates/cache-metrics/src/names.rs` by `UPDATE_DOCS=1 cargo test -p cache-metrics document`.

OpenTelemetry has the names with dots; Prometheus, and the `metrics` crate, those with underscores. (OpenTelemetry's own
exporter for Prometheus makes the same names of ours, but for one: `object_cache_entry_count`.) Every metric has the
attribute `{CACHE_NAME}` (label `{CACHE_NAME_LABEL}`) besides its own: the name that the cache was built with. Values of
attributes come from the closed sets below: never a key, a prefix or a tag.

"
    );
    table(&mut text, &METRICS);
    text.push_str("\nBounds of histograms, in seconds:\n\n");
    for metric in METRICS {
        if let Kind::Histogram(bounds) = metric.kind {
            let bounds: Vec<_> = bounds.iter().map(|bound| bound.as_secs_f64().to_string()).collect();
            let _ = writeln!(text, "* `{}`: {}", metric.name, bounds.join(", "));
        }
    }
    let _ = write!(
        text,
        "
Of `object_cache.requests` each read that has ended is in exactly one sample. A hit is `fresh`, `revalidated` or `stale`, a miss
`fetched` or `refetched`; the hit ratio is hits among both. Of a `CachedStore` a read is a call of `get_opts` or `get_ranges`
(`get`, `head`, `get_range`), and ends with its body: one whose body breaks off is an `error`, one that is dropped before its
end is `cancelled`. It is a hit if none of its bytes had to be fetched; one of a cached object some of whose blocks were not
cached is `fetched`. `bypass` was answered by the store alone, `not_modified` and `precondition_failed` by a condition of the
caller's own, `not_cached` by nothing, since only cached objects were asked for. Of other caches a dropped read is in none.

`object_cache.origin.requests` are counted when they have ended: with their body, if they have one. Of those with `op = read`
the outcomes are `unchanged` (\"not modified\", no body), `changed`, `gone`, `refused`, `failed` and `abandoned`; of the others,
`done` stands for the first three. A body that breaks off is `failed`, one that nobody wants any more is not. The ops from `blocks`
on and the last three metrics are those of a `CachedStore` alone: `blocks` asks for bytes of a version that it knows, where
`read` asks which one is current; `bypass` is a read that it hands on; `list` counts pages, of which it takes one to end where
the list waits after a thousand objects; `multipart` counts the beginning, each part and the end of an upload in parts. `put`,
`copy`, `rename`, `multipart` and `list` are what stores charge most for, `delete` is free.
`kind` is an `ErrorKind`: what the caller can do about it.

## Micrometer's names

A `Registry::with_micrometer_names()` exports these as well, with the attribute `{}` for the name of the cache, for
dashboards that are there already. What each is made of says the documentation of `cache_metrics::micrometer`.

",
        micrometer::CACHE
    );
    table(&mut text, &micrometer::METRICS);
    text
}

fn table(text: &mut String, metrics: &[&Metric]) {
    text.push_str(
        "| name | Prometheus | kind | unit | attributes | |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for metric in metrics {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
            other => panic!("{other:?}"),
        };
        let attributes = metric.attributes.iter().map(|attribute| {
            let values: Vec<_> = attribute.values.iter().map(|value| format!("`{value}`")).collect();
            format!("`{}`: {}", attribute.name, values.join(", "))
        });
        let attributes = attributes.collect::<Vec<_>>().join("; ");
        let Metric { name, prometheus_name, unit, help, .. } = metric;
        let _ =
            writeln!(text, "| `{name}` | `{prometheus_name}` | {kind} | `{unit}` | {attributes} | {help} |");
    }
}
