//! The table of metrics in the documents is the table in the code.

use std::{env, fmt::Write as _, fs};

use cache_metrics::names::{CACHE_NAME, CACHE_NAME_LABEL, Kind, METRICS, Metric};

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
        "docs/metrics.md differs from names.rs: run `UPDATE_DOCS=1 cargo test -p cache-metrics`"
    );
}

fn render() -> String {
    let mut text = format!(
        "# Metrics

Generated from `crates/cache-metrics/src/names.rs`: `UPDATE_DOCS=1 cargo test -p cache-metrics`.

OpenTelemetry uses the names with dots; Prometheus and the `metrics` crate those with underscores.
(OpenTelemetry's own Prometheus exporter derives the same names, except for
`object_cache_entry_count`.) Every metric also has the attribute `{CACHE_NAME}` (label
`{CACHE_NAME_LABEL}`): the name that the cache was built with. Attribute values come from the closed
sets below: never a key, a prefix or an ETag.

"
    );
    table(&mut text, &METRICS);
    text.push_str("\nBounds of histograms, in seconds:\n\n");
    for metric in METRICS {
        if let Kind::Histogram(bounds) = metric.kind {
            let bounds: Vec<_> =
                bounds.iter().map(|bound| bound.as_secs_f64().to_string()).collect();
            let _ = writeln!(text, "* `{}`: {}", metric.name, bounds.join(", "));
        }
    }
    let _ = write!(
        text,
        "
Each finished read is in exactly one sample of `object_cache.requests`. A hit is `fresh`,
`revalidated` or `stale`, a miss is `fetched` or `refetched`; the hit ratio is the hits divided by
the sum of both. A read of a `CachedStore` is a call of `get_opts` or `get_ranges` (also by `get`,
`head`, `get_range`) and ends with its body: a read whose body breaks off is an `error`, one that is
dropped before its end is `cancelled`. It is a hit if it fetched no byte; a read of a cached object
that fetched missing blocks is `fetched`. `bypass` was served by the store alone; `not_modified` and
`precondition_failed` are results of the caller's own conditions; `not_cached` is a miss of a read
that allowed only cached objects. Other caches do not count a dropped read.

Read amplification is the rate of `object_cache.io` with the source `origin` divided by the rate of
`object_cache.served`. Above 1, blocks, readahead or `warm` fetch more than readers use.

`object_cache.origin.requests` counts requests when they have ended, with their bodies. With
`op = read` the outcomes are `not_modified` (no body), `modified`, `not_found`, `refused`, `failed`
and `cancelled`; other operations have `succeeded` instead of the first three. A body that breaks
off is `failed`; one that the reader dropped is not. Only a `CachedStore` has the operations from
`blocks` on, and the metrics `object_cache.blocks`, `object_cache.passed_through` and
`object_cache.restarts`. `blocks` fetches bytes of a known version, `read` determines the current
version, `bypass` bypasses the cache, `list` counts pages (of a `CachedStore` inferred: a page ends
after 1,000 objects), `multipart` counts the start, each part and the end of a multipart upload.
Stores charge most for `put`, `copy`, `rename`, `multipart` and `list`; `delete` is free. `kind` is
an `ErrorKind`.

Only a cache with a change bus has the metrics whose names begin with `object_cache.bus`. While
`object_cache.bus.listening` is 0, reads under `until_notified` follow the rule `when_disconnected`:
no read is wrong, but reads cost requests. Each received message is in exactly one sample of
`object_cache.bus.messages`; those of this cache's own changes are `own`, its own heartbeats are
`heartbeat`. After each event of `object_cache.bus.gaps` an entry is revalidated before it is next
served under `until_notified`: a rate of gaps is a rate of such requests, for the keys that are
read. `sequence` means that a message of another cache was lost on its way, or that its
announcement failed there; `slow_listener` that this program does not read its messages in time;
`newer_format` that another program uses a newer release.

Only a cache with a disk tier has the metrics whose names begin with `object_cache.disk`. Its hit
ratio is that of the look-ups which memory did not answer. `object_cache.disk.reads`,
`object_cache.disk.served` and `object_cache.disk.blocks` are parts of the hits of
`object_cache.requests`, of `object_cache.io` with the source `cache`, and of the hits of
`object_cache.blocks`: subtract them for the part of memory. (Of a `CachedStore`,
`object_cache.disk.reads` counts the heads that were on disk.) Write amplification is the rate of
`object_cache.disk.written` divided by the rate of `object_cache.disk.payload`. Of the causes,
`not_admitted`, `too_large`, `recycled` and `pin_limit` follow from the settings; `queue_full` means
that the disk is slower than the writes, and `unavailable`, `write_error` and `corrupt` that it
fails. None of the disk's failures fails a read: it costs a request to the store.

"
    );
    text
}

fn table(text: &mut String, metrics: &[&Metric]) {
    text.push_str(
        "| name | Prometheus | kind | unit | attributes | |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for metric in metrics {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
            other => panic!("{other:?}"),
        };
        let attributes = metric.attributes.iter().map(|attribute| {
            let values: Vec<_> =
                attribute.values.iter().map(|value| format!("`{value}`")).collect();
            format!("`{}`: {}", attribute.name, values.join(", "))
        });
        let attributes = attributes.collect::<Vec<_>>().join("; ");
        let Metric { name, prometheus_name, unit, help, .. } = metric;
        let _ = writeln!(
            text,
            "| `{name}` | `{prometheus_name}` | {kind} | `{unit}` | {attributes} | {help} |"
        );
    }
}
