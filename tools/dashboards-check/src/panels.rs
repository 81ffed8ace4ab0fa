//! A test for `promtool test rules` that evaluates every query of the dashboard: once over the
//! series that a cache exports, where each must give a result, and once over [`CASES`], where
//! results are known.

use serde_json::{Value, json};

use crate::{
    Result,
    dashboard::{Dashboard, Query},
};

/// A cache that does the same in each minute, and the results of queries over it.
struct Case {
    name: &'static str,
    /// The increase of a counter in each minute, or the value of a gauge.
    series: &'static [(&'static str, u32)],
    /// The panel, the letter of its query, and the result.
    expected: &'static [(&'static str, &'static str, Values)],
}

/// Values by their labels.
type Values = &'static [(&'static str, f64)];

/// Returns the test file as JSON, which is YAML too. `exported` is in Prometheus' text format.
pub(crate) fn tests(dashboard: &Dashboard, exported: &str) -> Result<String> {
    let queries = dashboard.queries();
    let mut tests = vec![all(&queries, exported)];
    for case in CASES {
        tests.push(test(case, &queries)?);
    }
    Ok(json!({"evaluation_interval": "1m", "tests": tests}).to_string())
}

/// Every query gives at least one series once all exported series have risen.
fn all(queries: &[Query], exported: &str) -> Value {
    let samples = exported.lines().filter(|line| !line.starts_with('#'));
    let series = samples.filter_map(|sample| sample.rsplit_once("} ")).map(|(series, _)| {
        let series = format!("{series},job=\"shop\",instance=\"a\"}}");
        json!({"series": series, "values": format!("0+60x{MINUTES}")})
    });
    let computed = queries.iter().map(|Query { expression, .. }| {
        evaluated(&format!("count({expression}) > bool 0"), &[("", 1.0)])
    });
    json!({
        "name": "each query has a result over what a cache exports",
        "interval": "1m",
        "input_series": series.collect::<Vec<_>>(),
        "promql_expr_test": computed.collect::<Vec<_>>(),
    })
}

fn test(case: &Case, queries: &[Query]) -> Result<Value> {
    let series = |(name, value): &(&str, u32)| {
        // Each bucket of a histogram is a counter.
        let is_counter = ["_total", "_bucket", "_sum"].iter().any(|part| name.contains(part));
        let start = if is_counter { "0+" } else { "" };
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        json!({
            "series": format!("{name}{{job=\"shop\",cache_name=\"images\",{labels}"),
            "values": format!("{start}{value}x{MINUTES}"),
        })
    };
    let mut computed = Vec::new();
    for (panel, letter, values) in case.expected {
        let query = queries.iter().find(|query| query.title == *panel && query.letter == *letter);
        let query = query.ok_or_else(|| format!("no panel {panel:?} with a query {letter}"))?;
        // The last bits of a sum depend on its order.
        computed.push(evaluated(&format!("round({}, 0.001)", query.expression), values));
    }
    Ok(json!({
        "name": case.name,
        "interval": "1m",
        "input_series": case.series.iter().map(series).collect::<Vec<_>>(),
        "promql_expr_test": computed,
    }))
}

/// `expression` at the end of the series has exactly `values`.
fn evaluated(expression: &str, values: &[(&str, f64)]) -> Value {
    let sample =
        |(labels, value): &(&str, f64)| json!({"labels": format!("{{{labels}}}"), "value": value});
    json!({
        "expr": expression,
        "eval_time": format!("{MINUTES}m"),
        "exp_samples": values.iter().map(sample).collect::<Vec<_>>(),
    })
}

const MINUTES: u32 = 60;

const CASES: &[Case] = &[
    Case {
        name: "each read is revalidated with a 304: bytes are saved, requests are not",
        series: &[
            (r#"object_cache_requests_total{result="revalidated"}"#, 60),
            (r#"object_cache_requests_total{result="fetched"}"#, 0),
            (r#"object_cache_origin_requests_total{op="read",outcome="not_modified"}"#, 60),
            (r#"object_cache_io_bytes_total{source="cache"}"#, 6000),
            (r#"object_cache_io_bytes_total{source="origin"}"#, 0),
        ],
        expected: &[
            ("Hit ratio", "A", &[("", 1.0)]),
            ("Requests saved", "A", &[("", 0.0)]),
            ("Bytes saved", "A", &[("", 180_000.0)]),
            ("Money saved", "A", &[("", 360_000.0)]),
            ("Requests for reads", "C", &[("", 0.0)]),
            ("Bytes by source", "A", &[(r#"source="cache""#, 100.0), (r#"source="origin""#, 0.0)]),
        ],
    },
    Case {
        name: "most reads need no request; missing objects and blocks cost requests",
        series: &[
            (r#"object_cache_requests_total{result="fresh"}"#, 1800),
            (r#"object_cache_requests_total{result="stale"}"#, 60),
            (r#"object_cache_requests_total{result="fetched"}"#, 600),
            (r#"object_cache_requests_total{result="refetched"}"#, 20),
            (r#"object_cache_requests_total{result="not_found"}"#, 300),
            (r#"object_cache_requests_total{result="error"}"#, 20),
            (r#"object_cache_origin_requests_total{op="read",outcome="modified"}"#, 600),
            (r#"object_cache_origin_requests_total{op="read",outcome="not_found"}"#, 300),
            (r#"object_cache_origin_requests_total{op="read",outcome="failed"}"#, 100),
            (r#"object_cache_origin_requests_total{op="put",outcome="succeeded"}"#, 30),
            (r#"object_cache_origin_requests_total{op="delete",outcome="succeeded"}"#, 1000),
            (r#"object_cache_origin_requests_total{op="blocks",outcome="succeeded"}"#, 200),
            (r#"object_cache_io_bytes_total{source="cache"}"#, 600),
            (r#"object_cache_io_bytes_total{source="origin"}"#, 900),
        ],
        expected: &[
            ("Hit ratio", "A", &[("", 0.75)]),
            ("Hit ratio over time", "A", &[(r#"cache_name="images""#, 0.75)]),
            // In a minute 2,800 reads, 1,000 requests for reads and 200 for blocks.
            ("Requests saved", "A", &[("", 48_000.0)]),
            ("Money saved", "A", &[("", 48_000.0 + 36_000.0)]),
            ("Money per hour", "A", &[("", 96_000.0 + 72_000.0)]),
            ("Money per hour", "B", &[("", 72_000.0 + 18_000.0 + 108_000.0)]),
            ("Failed reads", "A", &[("", 0.007)]),
        ],
    },
    Case {
        name: "entries are renewed more often than they are read: the saving is negative",
        series: &[
            (r#"object_cache_requests_total{result="stale"}"#, 60),
            (r#"object_cache_origin_requests_total{op="read",outcome="not_modified"}"#, 180),
            (r#"object_cache_io_bytes_total{source="cache"}"#, 0),
        ],
        expected: &[
            ("Requests saved", "A", &[("", -3600.0)]),
            ("Money saved", "A", &[("", -3600.0)]),
            ("Requests for reads", "C", &[("", -2.0)]),
        ],
    },
    Case {
        name: "size, entries, and how long they stay",
        series: &[
            ("object_cache_size_bytes", 750),
            ("object_cache_capacity_bytes", 1000),
            (r#"object_cache_size_bytes{instance="without a limit"}"#, 5000),
            ("object_cache_entries", 600),
            (r#"object_cache_evictions_total{reason="capacity"}"#, 120),
            (r#"object_cache_evictions_total{reason="expired"}"#, 600),
        ],
        expected: &[
            ("Memory used", "A", &[("", 0.75)]),
            ("Entries", "A", &[(r#"cache_name="images""#, 600.0)]),
            ("Average lifetime of an entry", "A", &[(r#"cache_name="images""#, 300.0)]),
        ],
    },
    Case {
        name: "without reads there is no ratio",
        series: &[
            (r#"object_cache_requests_total{result="fresh"}"#, 0),
            (r#"object_cache_requests_total{result="fetched"}"#, 0),
            (r#"object_cache_requests_total{result="error"}"#, 0),
            ("object_cache_size_bytes", 5000),
        ],
        expected: &[
            ("Hit ratio", "A", &[]),
            ("Hit ratio over time", "A", &[]),
            ("Failed reads", "A", &[]),
            ("Memory used", "A", &[]),
        ],
    },
    Case {
        name: "blocks have a hit ratio of their own",
        series: &[
            (r#"object_cache_blocks_total{result="hit"}"#, 90),
            (r#"object_cache_blocks_total{result="miss"}"#, 30),
            (r#"object_cache_requests_total{result="fresh"}"#, 60),
            (r#"object_cache_requests_total{result="fetched"}"#, 0),
        ],
        expected: &[
            ("Hit ratio", "A", &[("", 1.0)]),
            ("Hit ratio of blocks", "A", &[(r#"cache_name="images""#, 0.75)]),
        ],
    },
    Case {
        name: "no reads of blocks, and a capacity of zero",
        series: &[
            (r#"object_cache_blocks_total{result="hit"}"#, 0),
            (r#"object_cache_blocks_total{result="miss"}"#, 0),
            ("object_cache_size_bytes", 0),
            ("object_cache_capacity_bytes", 0),
        ],
        expected: &[("Hit ratio of blocks", "A", &[]), ("Memory used", "A", &[])],
    },
    Case {
        name: "one bad instance of two",
        series: &[
            (r#"object_cache_requests_total{instance="a",result="fresh"}"#, 60),
            (r#"object_cache_requests_total{instance="a",result="error"}"#, 0),
            (r#"object_cache_requests_total{instance="b",result="fresh"}"#, 6),
            (r#"object_cache_requests_total{instance="b",result="error"}"#, 54),
            (r#"object_cache_errors_total{instance="b",kind="permission_denied"}"#, 54),
            (r#"object_cache_errors_total{instance="b",kind="timeout"}"#, 0),
            (r#"object_cache_build_info{instance="a",version="1"}"#, 1),
            (r#"object_cache_build_info{instance="b",version="2"}"#, 1),
            (r#"object_cache_queue_duration_seconds_sum{instance="b"}"#, 120),
        ],
        expected: &[
            ("Failed reads", "A", &[("", 0.45)]),
            (
                "Failed reads by instance",
                "A",
                &[(r#"instance="a""#, 0.0), (r#"instance="b""#, 0.9)],
            ),
            ("Reads by instance", "A", &[(r#"instance="a""#, 1.0), (r#"instance="b""#, 1.0)]),
            ("Errors by kind", "A", &[(r#"kind="permission_denied""#, 0.9)]),
            ("Caches by version", "A", &[(r#"version="1""#, 1.0), (r#"version="2""#, 1.0)]),
            ("Requests waiting for a permit", "A", &[(r#"cache_name="images""#, 2.0)]),
        ],
    },
    Case {
        name: "half of the responses within 1 s, the others within 2 s",
        series: &[
            (r#"object_cache_origin_duration_seconds_bucket{op="read",le="1"}"#, 50),
            (r#"object_cache_origin_duration_seconds_bucket{op="read",le="2"}"#, 100),
            (r#"object_cache_origin_duration_seconds_bucket{op="read",le="+Inf"}"#, 100),
            (r#"object_cache_age_seconds_bucket{le="1"}"#, 100),
            (r#"object_cache_age_seconds_bucket{le="+Inf"}"#, 100),
        ],
        expected: &[
            ("Latency of the store", "A", &[(r#"op="read""#, 1.0)]),
            ("Latency of the store", "B", &[(r#"op="read""#, 1.98)]),
            ("Age of served entries", "A", &[("", 0.5)]),
            ("Age of served entries", "B", &[("", 0.99)]),
        ],
    },
    Case {
        name: "memory, disk and store share the reads",
        series: &[
            (r#"object_cache_io_bytes_total{source="cache"}"#, 12_000),
            (r#"object_cache_io_bytes_total{source="origin"}"#, 600),
            ("object_cache_disk_served_bytes_total", 3000),
            (r#"object_cache_disk_lookups_total{result="hit"}"#, 30),
            (r#"object_cache_disk_lookups_total{result="miss"}"#, 10),
            ("object_cache_disk_size_bytes", 900),
            ("object_cache_disk_capacity_bytes", 1000),
            ("object_cache_disk_queue_size_bytes", 70),
            ("object_cache_disk_written_bytes_total", 660),
            ("object_cache_disk_payload_bytes_total", 600),
            (r#"object_cache_disk_drops_total{cause="queue_full"}"#, 60),
            (r#"object_cache_disk_drops_total{cause="recycled"}"#, 0),
            (r#"object_cache_disk_bad_records_total{reason="corrupt"}"#, 6),
            (r#"object_cache_disk_state{instance="a",state="on"}"#, 1),
            (r#"object_cache_disk_state{instance="b",state="on"}"#, 1),
            (r#"object_cache_disk_state{instance="a",state="off"}"#, 0),
        ],
        expected: &[
            ("Hit ratio of the disk", "A", &[(r#"cache_name="images""#, 0.75)]),
            ("Bytes by tier", "A", &[("", 150.0)]),
            ("Bytes by tier", "B", &[("", 50.0)]),
            ("Bytes by tier", "C", &[("", 10.0)]),
            ("Disk space", "A", &[(r#"cache_name="images""#, 900.0)]),
            ("Disk space", "B", &[(r#"cache_name="images""#, 1000.0)]),
            ("Disk queue", "A", &[(r#"cache_name="images""#, 70.0)]),
            ("Write amplification", "A", &[(r#"cache_name="images""#, 1.1)]),
            ("Drops by cause", "A", &[(r#"cause="queue_full""#, 1.0)]),
            ("Bad records", "A", &[(r#"reason="corrupt""#, 0.1)]),
            ("State of the disk tier", "A", &[(r#"state="on""#, 2.0)]),
        ],
    },
    Case {
        name: "two instances have a bus, and one of them does not listen",
        series: &[
            (r#"object_cache_bus_listening{instance="a"}"#, 1),
            (r#"object_cache_bus_listening{instance="b"}"#, 0),
            (r#"object_cache_bus_listening_for_seconds{instance="a"}"#, 500),
            (r#"object_cache_bus_listening_for_seconds{instance="b"}"#, 0),
            (r#"object_cache_bus_not_listening_seconds_total{instance="a"}"#, 0),
            (r#"object_cache_bus_not_listening_seconds_total{instance="b"}"#, 60),
            (r#"object_cache_bus_messages_total{direction="received",outcome="marked"}"#, 120),
            (r#"object_cache_bus_gaps_total{reason="sequence"}"#, 6),
            ("object_cache_bus_queued", 3),
            ("object_cache_bus_overflows_total", 1),
            ("object_cache_revalidated_by_list_total", 60),
        ],
        expected: &[
            ("Listening to the bus", "A", &[("", 1.0)]),
            ("Listening to the bus", "B", &[("", 1.0)]),
            ("Messages of the bus", "A", &[(r#"direction="received", outcome="marked""#, 2.0)]),
            ("Gaps by reason", "A", &[(r#"reason="sequence""#, 0.1)]),
            ("Time without the bus", "A", &[(r#"cache_name="images""#, 0.5)]),
            ("Uninterrupted listening", "A", &[(r#"cache_name="images""#, 0.0)]),
            ("Announcements", "A", &[("", 3.0)]),
            ("Announcements", "B", &[("", 5.0)]),
            ("Coalesced reads", "B", &[(r#"cache_name="images""#, 1.0)]),
        ],
    },
    Case {
        name: "an idle disk tier has no ratios",
        series: &[
            (r#"object_cache_disk_lookups_total{result="hit"}"#, 0),
            (r#"object_cache_disk_lookups_total{result="miss"}"#, 0),
            ("object_cache_disk_written_bytes_total", 0),
            ("object_cache_disk_payload_bytes_total", 0),
        ],
        expected: &[("Hit ratio of the disk", "A", &[]), ("Write amplification", "A", &[])],
    },
];
