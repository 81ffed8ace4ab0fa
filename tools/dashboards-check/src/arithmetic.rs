//! Whether the panels' arithmetic is right: what they give for caches of which it is known what they should.

use serde_json::{Value, json};

use crate::dashboard::{Chosen, Dashboard, filled_in};

/// A cache that has done the same in each minute, and what panels must give for it.
struct Case {
    name: &'static str,
    /// What a counter counts in each minute, or the value of a gauge.
    series: &'static [(&'static str, u32)],
    /// The panel, the letter of its query, and what it gives.
    expected: &'static [(&'static str, &'static str, Values)],
}

/// Values by their labels.
type Values = &'static [(&'static str, f64)];

/// For `promtool test rules`: a file that has Prometheus compute what the panels of `dashboard` ask. JSON is YAML.
///
/// # Errors
///
/// A panel that is not there, or asks for what does not stand in it.
pub(crate) fn tests(dashboard: &Dashboard) -> Result<String, String> {
    let tests: Vec<_> = CASES.iter().map(|case| test(case, dashboard)).collect::<Result<_, _>>()?;
    Ok(json!({"evaluation_interval": "1m", "tests": tests}).to_string())
}

/// How many queries are computed.
pub(crate) fn n_queries() -> usize {
    CASES.iter().map(|case| case.expected.len()).sum()
}

fn test(case: &Case, dashboard: &Dashboard) -> Result<Value, String> {
    let series = |(name, value): &(&str, u32)| {
        // Of a histogram each bucket is a counter.
        let is_counter = ["_total", "_bucket", "_seconds_sum"].iter().any(|part| name.contains(part));
        let values = if is_counter { format!("0+{value}x{MINUTES}") } else { format!("{value}x{MINUTES}") };
        let labels = name.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
        let name = name.split('{').next().unwrap_or(name);
        json!({"series": format!("{name}{{job=\"shop\",cache_name=\"images\",{labels}}}"), "values": values})
    };
    let mut computed = Vec::new();
    for (panel, letter, values) in case.expected {
        let queries = dashboard.queries().into_iter();
        let query = queries.into_iter().find(|query| query.panel == *panel && query.letter == *letter);
        let query = query.ok_or_else(|| format!("there is no panel {panel:?} with a query {letter}"))?;
        let expression = filled_in(&query.expression, &chosen())?;
        let sample =
            |(labels, value): &(&str, f64)| json!({"labels": format!("{{{labels}}}"), "value": value});
        computed.push(json!({
            // The last bits of a sum are not what is meant.
            "expr": format!("round({expression}, 0.001)"),
            "eval_time": format!("{MINUTES}m"),
            "exp_samples": values.iter().map(sample).collect::<Vec<_>>(),
        }));
    }
    Ok(json!({
        "name": case.name,
        "interval": "1m",
        "input_series": case.series.iter().map(series).collect::<Vec<_>>(),
        "promql_expr_test": computed,
    }))
}

/// Half an hour, and prices at which a request for a read costs 1 USD, a put 10, and a byte 2.
fn chosen() -> Chosen {
    let chosen = [
        ("job", "shop"),
        ("cache_name", "images"),
        // Those without one, too.
        ("instance", ".*"),
        ("__range", "30m"),
        ("__rate_interval", "5m"),
        ("price_get", "1000"),
        ("price_put", "10000"),
        ("price_gb", "2147483648"),
    ];
    chosen.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

const MINUTES: u32 = 60;

const CASES: &[Case] = &[
    Case {
        name: "each read is confirmed by the store: bytes are saved, and no request",
        series: &[
            (r#"object_cache_requests_total{result="revalidated"}"#, 60),
            (r#"object_cache_requests_total{result="fetched"}"#, 0),
            (r#"object_cache_origin_requests_total{op="read",outcome="unchanged"}"#, 60),
            (r#"object_cache_io_bytes_total{source="cache"}"#, 6000),
            (r#"object_cache_io_bytes_total{source="origin"}"#, 0),
        ],
        expected: &[
            ("Hit ratio", "A", &[("", 1.0)]),
            ("Requests saved", "A", &[("", 0.0)]),
            ("Bytes saved", "A", &[("", 180_000.0)]),
            ("Money saved", "A", &[("", 360_000.0)]),
            ("Requests by reads", "C", &[("", 0.0)]),
            ("Bytes by source", "A", &[(r#"source="cache""#, 100.0), (r#"source="origin""#, 0.0)]),
        ],
    },
    Case {
        name: "most reads ask nobody; a missing object costs a request with and without a cache; blocks are requests",
        series: &[
            (r#"object_cache_requests_total{result="fresh"}"#, 1800),
            (r#"object_cache_requests_total{result="stale"}"#, 60),
            (r#"object_cache_requests_total{result="fetched"}"#, 600),
            (r#"object_cache_requests_total{result="refetched"}"#, 20),
            (r#"object_cache_requests_total{result="not_found"}"#, 300),
            (r#"object_cache_requests_total{result="error"}"#, 20),
            (r#"object_cache_origin_requests_total{op="read",outcome="changed"}"#, 600),
            (r#"object_cache_origin_requests_total{op="read",outcome="gone"}"#, 300),
            (r#"object_cache_origin_requests_total{op="read",outcome="failed"}"#, 100),
            (r#"object_cache_origin_requests_total{op="put",outcome="done"}"#, 30),
            (r#"object_cache_origin_requests_total{op="delete",outcome="done"}"#, 1000),
            (r#"object_cache_origin_requests_total{op="blocks",outcome="done"}"#, 200),
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
            ("Reads that failed", "A", &[("", 0.007)]),
        ],
    },
    Case {
        name: "copies are renewed more often than they are read: less than nothing is saved",
        series: &[
            (r#"object_cache_requests_total{result="stale"}"#, 60),
            (r#"object_cache_origin_requests_total{op="read",outcome="unchanged"}"#, 180),
            (r#"object_cache_io_bytes_total{source="cache"}"#, 0),
        ],
        expected: &[
            ("Requests saved", "A", &[("", -3600.0)]),
            ("Money saved", "A", &[("", -3600.0)]),
            ("Requests by reads", "C", &[("", -2.0)]),
        ],
    },
    Case {
        name: "what is held, and how long",
        series: &[
            ("object_cache_size_bytes", 750),
            ("object_cache_capacity_bytes", 1000),
            (r#"object_cache_size_bytes{instance="without a limit"}"#, 5000),
            ("object_cache_entries", 600),
            (r#"object_cache_evictions_total{reason="capacity"}"#, 120),
            (r#"object_cache_evictions_total{reason="expired"}"#, 600),
        ],
        expected: &[
            ("Memory fill", "A", &[("", 0.75)]),
            ("Copies held", "A", &[(r#"cache_name="images""#, 600.0)]),
            ("How long a copy lasts", "A", &[(r#"cache_name="images""#, 300.0)]),
        ],
    },
    Case {
        name: "no read: no ratio, rather than none of nothing",
        series: &[
            (r#"object_cache_requests_total{result="fresh"}"#, 0),
            (r#"object_cache_requests_total{result="fetched"}"#, 0),
            (r#"object_cache_requests_total{result="error"}"#, 0),
            ("object_cache_size_bytes", 5000),
        ],
        expected: &[
            ("Hit ratio", "A", &[]),
            ("Hit ratio over time", "A", &[]),
            ("Reads that failed", "A", &[]),
            ("Memory fill", "A", &[]),
        ],
    },
    Case {
        name: "blocks have a ratio of their own, and one of none is none",
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
        name: "no block was wanted, and nothing may be held",
        series: &[
            (r#"object_cache_blocks_total{result="hit"}"#, 0),
            (r#"object_cache_blocks_total{result="miss"}"#, 0),
            ("object_cache_size_bytes", 0),
            ("object_cache_capacity_bytes", 0),
        ],
        expected: &[("Hit ratio of blocks", "A", &[]), ("Memory fill", "A", &[])],
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
            ("Reads that failed", "A", &[("", 0.45)]),
            ("Reads that failed, by instance", "A", &[(r#"instance="a""#, 0.0), (r#"instance="b""#, 0.9)]),
            ("Reads by instance", "A", &[(r#"instance="a""#, 1.0), (r#"instance="b""#, 1.0)]),
            ("Errors by kind", "A", &[(r#"kind="permission_denied""#, 0.9)]),
            ("Caches by version", "A", &[(r#"version="1""#, 1.0), (r#"version="2""#, 1.0)]),
            ("Requests that wait for their turn", "A", &[(r#"cache_name="images""#, 2.0)]),
        ],
    },
    Case {
        name: "half of the answers within 1 s, the others within 2 s",
        series: &[
            (r#"object_cache_origin_duration_seconds_bucket{op="read",le="1"}"#, 50),
            (r#"object_cache_origin_duration_seconds_bucket{op="read",le="2"}"#, 100),
            (r#"object_cache_origin_duration_seconds_bucket{op="read",le="+Inf"}"#, 100),
            (r#"object_cache_age_seconds_bucket{le="1"}"#, 100),
            (r#"object_cache_age_seconds_bucket{le="+Inf"}"#, 100),
        ],
        expected: &[
            ("Time to answer", "A", &[(r#"op="read""#, 1.0)]),
            ("Time to answer", "B", &[(r#"op="read""#, 1.98)]),
            ("Age of served copies", "A", &[("", 0.5)]),
            ("Age of served copies", "B", &[("", 0.99)]),
        ],
    },
];
