//! What the dashboard's panels ask and say.

/// Panels under a title.
pub(super) struct Row {
    pub(super) title: &'static str,
    /// Shows its panels only when it is opened.
    pub(super) is_folded: bool,
    /// Of each panel.
    pub(super) height: u32,
    pub(super) panels: &'static [Panel],
}

pub(super) struct Panel {
    pub(super) title: &'static str,
    /// What a reader who has not seen it before must know.
    pub(super) description: &'static str,
    pub(super) view: View,
    /// Of 24.
    pub(super) width: u32,
    /// As Grafana calls it.
    pub(super) unit: &'static str,
    pub(super) decimals: Option<u8>,
    /// From which value on a number has which colour.
    pub(super) steps: &'static [(Option<f64>, &'static str)],
    /// Of series, by what the legend calls them.
    pub(super) colors: &'static [(&'static str, &'static str)],
    /// What is shown where there is no value.
    pub(super) nothing: &'static str,
    /// What the legend calls the series, and the expression, in which `..` are the job, the name and the
    /// instance that are chosen.
    pub(super) queries: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// One number for the whole range of time.
    Number,
    Lines,
    Stacked,
}

/// What can be chosen at the top of the dashboard.
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) description: &'static str,
    pub(super) kind: Choice,
}

pub(super) enum Choice {
    /// Which Prometheus.
    Source,
    /// Values of a label, several or all.
    Label(&'static str),
    /// A text, with its default.
    Text(&'static str),
}

pub(super) const VARIABLES: [Variable; 7] = [
    Variable {
        name: "datasource",
        label: "Data source",
        description: "The Prometheus that scrapes the caches",
        kind: Choice::Source,
    },
    Variable {
        name: "job",
        label: "Job",
        description: "As the scrape configuration calls the programs with caches",
        kind: Choice::Label("label_values(object_cache_requests_total, job)"),
    },
    Variable {
        name: "cache_name",
        label: "Cache",
        description: "The name that a cache was built with",
        kind: Choice::Label(r#"label_values(object_cache_requests_total{job=~"$job"}, cache_name)"#),
    },
    Variable {
        name: "instance",
        label: "Instance",
        description: "One process with caches, as Prometheus scrapes it",
        kind: Choice::Label(
            r#"label_values(object_cache_requests_total{job=~"$job", cache_name=~"$cache_name"}, instance)"#,
        ),
    },
    Variable {
        name: "price_get",
        label: "USD per 1,000 GETs",
        description: "S3's list price: 0.0004",
        kind: Choice::Text("0.0004"),
    },
    Variable {
        name: "price_put",
        label: "USD per 1,000 PUTs",
        description: "S3's list price: 0.005",
        kind: Choice::Text("0.005"),
    },
    Variable {
        name: "price_gb",
        label: "USD per GB transferred",
        description: "S3's list prices: 0 within its region, 0.02 to most others, 0.09 to the Internet",
        kind: Choice::Text("0"),
    },
];

pub(super) const ROWS: &[Row] = &[
    Row {
        title: "At a glance: the whole range of time that is shown",
        is_folded: false,
        height: 4,
        panels: &[
            Panel {
                title: "Hit ratio",
                description: "Reads answered with a copy that was held, among all that were answered with an object. A copy \
                    that the store confirmed counts as a hit. With a CachedStore all its bytes were held, too.",
                unit: "percentunit",
                decimals: Some(1),
                nothing: "no reads",
                queries: &[(
                    "",
                    r#"
                    sum(increase(object_cache_requests_total{.., result=~"fresh|revalidated|stale"}[$__range]))
                    / (sum(increase(object_cache_requests_total{.., result=~"fresh|revalidated|stale|fetched|refetched"}[$__range])) > 0)
                "#,
                )],
                ..NUMBER
            },
            Panel {
                title: "Requests saved",
                description: "Reads that programs made, less requests to the store that were made for reads. Each read \
                    would have been a request without a cache, those of objects that do not exist too. S3 bills a \"not \
                    modified\" (304) as a GET, so a confirmed copy saves bytes and no request. Below zero the cache asks \
                    more than the programs do: copies are renewed ahead of reads, or readers go away before the answer.",
                unit: "short",
                decimals: Some(0),
                steps: GOOD_ABOVE_ZERO,
                queries: &[(
                    "",
                    r#"
                    sum(increase(object_cache_requests_total{..}[$__range]))
                    - sum(increase(object_cache_origin_requests_total{.., op=~"read|blocks|bypass"}[$__range]))
                "#,
                )],
                ..NUMBER
            },
            Panel {
                title: "Bytes saved",
                description: "Bytes of bodies that were served from held copies. What was fetched and never read (reads \
                    ahead, the rest of a block) is not taken off: \"Bytes by source\" shows all that came from the store.",
                unit: "bytes",
                queries: &[(
                    "",
                    r#"sum(increase(object_cache_io_bytes_total{.., source="cache"}[$__range]))"#,
                )],
                ..NUMBER
            },
            Panel {
                title: "Money saved",
                description: "Requests saved and bytes saved, each at the price that is set at the top. A GB has 2^30 \
                    bytes. Requests that failed count, though S3 does not bill those that it failed to answer.",
                unit: "currencyUSD",
                decimals: Some(2),
                steps: GOOD_ABOVE_ZERO,
                queries: &[(
                    "",
                    r#"
                    (
                      sum(increase(object_cache_requests_total{..}[$__range]))
                      - sum(increase(object_cache_origin_requests_total{.., op=~"read|blocks|bypass"}[$__range]))
                    ) / 1000 * $price_get
                    + sum(increase(object_cache_io_bytes_total{.., source="cache"}[$__range])) / 2^30 * $price_gb
                "#,
                )],
                ..NUMBER
            },
            Panel {
                title: "Reads that failed",
                description: "Reads that ended with an error, among all. An object that does not exist is no error. With \
                    stale_if_error the cache answers with what it holds while the store fails: these reads count as stale.",
                unit: "percentunit",
                decimals: Some(2),
                steps: &[(None, "green"), (Some(0.001), "orange"), (Some(0.01), "red")],
                nothing: "no reads",
                queries: &[(
                    "",
                    r#"
                    sum(increase(object_cache_requests_total{.., result="error"}[$__range]))
                    / (sum(increase(object_cache_requests_total{..}[$__range])) > 0)
                "#,
                )],
                ..NUMBER
            },
            Panel {
                title: "Memory fill",
                description: "Bytes held now, of the most that may be held, in all caches that are chosen. A cache that has \
                    been in use for a while is full; that is not a fault.",
                unit: "percentunit",
                decimals: Some(0),
                nothing: "no limit",
                queries: &[(
                    "",
                    r#"
                    sum(object_cache_size_bytes{..} and object_cache_capacity_bytes{..})
                    / (sum(object_cache_capacity_bytes{..}) > 0)
                "#,
                )],
                ..NUMBER
            },
        ],
    },
    Row {
        title: "Reads",
        is_folded: false,
        height: 8,
        panels: &[
            Panel {
                title: "Hit ratio over time",
                description: "Reads answered with a copy that was held, among all that were answered with an object, for \
                    each cache. It falls for a while after a start, when a cache is empty. Of a CachedStore it tells of \
                    versions; \"Blocks by result\" tells of bytes.",
                width: 12,
                unit: "percentunit",
                queries: &[(
                    "{{cache_name}}",
                    r#"
                    sum by (cache_name) (rate(object_cache_requests_total{.., result=~"fresh|revalidated|stale"}[$__rate_interval]))
                    / (sum by (cache_name) (rate(object_cache_requests_total{.., result=~"fresh|revalidated|stale|fetched|refetched"}[$__rate_interval])) > 0)
                "#,
                )],
                ..LINES
            },
            Panel {
                title: "Where answers came from",
                description: "Fresh: held, nobody was asked. Revalidated: held, the store said that it is current. Stale: \
                    held and past its age, as the cache was allowed to. Fetched: nothing was held. Refetched: what was held \
                    had changed. Not found: the store has no such object. In a CachedStore: held or not, the \
                    version; its bytes are under \"Blocks by result\".",
                view: View::Stacked,
                width: 12,
                unit: "reqps",
                colors: RESULTS,
                queries: &[(
                    "{{result}}",
                    "sum by (result) (rate(object_cache_requests_total{..}[$__rate_interval]))",
                )],
                ..LINES
            },
            Panel {
                title: "Errors and stale answers",
                description: "Reads that failed, and reads answered with a copy past its age: while the store was asked \
                    behind (stale_while_revalidate), or because it did not answer (stale_if_error).",
                unit: "reqps",
                colors: RESULTS,
                queries: &[(
                    "{{result}}",
                    r#"sum by (result) (rate(object_cache_requests_total{.., result=~"error|stale"}[$__rate_interval]))"#,
                )],
                ..LINES
            },
            Panel {
                title: "Errors by kind",
                description: "Reads that failed, by what can be done about it: permission_denied and unauthenticated are \
                    credentials, unavailable and timeout an outage, the network, or a queue that is too long; too_large, \
                    decode, config and unsupported are the program's.",
                unit: "reqps",
                queries: &[(
                    "{{kind}}",
                    "sum by (kind) (rate(object_cache_errors_total{..}[$__rate_interval])) > 0",
                )],
                ..LINES
            },
            Panel {
                title: "Time that readers wait",
                description: "Of reads that are not served at once: from their begin to the answer, with the request before \
                    theirs and the queue. Half of them take less than p50, one in a hundred more than p99.",
                unit: "s",
                queries: &[
                    (
                        "p50",
                        "histogram_quantile(0.5, sum by (le) (rate(object_cache_wait_duration_seconds_bucket{..}[$__rate_interval]))) >= 0",
                    ),
                    (
                        "p99",
                        "histogram_quantile(0.99, sum by (le) (rate(object_cache_wait_duration_seconds_bucket{..}[$__rate_interval]))) >= 0",
                    ),
                ],
                ..LINES
            },
            Panel {
                title: "Coalesced reads",
                description: "Reads that took the answer to a question which another read had caused. Many of them at once \
                    on one object cost one request.",
                unit: "reqps",
                queries: &[(
                    "{{cache_name}}",
                    "sum by (cache_name) (rate(object_cache_coalesced_total{..}[$__rate_interval]))",
                )],
                ..LINES
            },
            Panel {
                title: "Age of served copies",
                description: "How long ago the store had vouched for a copy when it was served, of one read in 64. \
                    No copy is older than its freshness allows.",
                unit: "s",
                queries: &[
                    (
                        "p50",
                        "histogram_quantile(0.5, sum by (le) (rate(object_cache_age_seconds_bucket{..}[$__rate_interval])))",
                    ),
                    (
                        "p99",
                        "histogram_quantile(0.99, sum by (le) (rate(object_cache_age_seconds_bucket{..}[$__rate_interval])))",
                    ),
                ],
                ..LINES
            },
        ],
    },
    Row {
        title: "Saved",
        is_folded: false,
        height: 8,
        panels: &[
            Panel {
                title: "Requests by reads",
                description: "What reads would cost without a cache, one request each; what they do cost; and the \
                    difference. S3 bills a \"not modified\" (304) as a GET: where every copy is confirmed, nothing is saved \
                    here, and all of it under bytes. A difference below zero is a cost.",
                unit: "reqps",
                colors: &[("saved", "green")],
                queries: &[
                    ("without a cache", "sum(rate(object_cache_requests_total{..}[$__rate_interval]))"),
                    (
                        "to the store",
                        r#"
                        sum(rate(object_cache_origin_requests_total{.., op=~"read|blocks|bypass"}[$__rate_interval]))
                    "#,
                    ),
                    (
                        "saved",
                        r#"
                        sum(rate(object_cache_requests_total{..}[$__rate_interval]))
                        - sum(rate(object_cache_origin_requests_total{.., op=~"read|blocks|bypass"}[$__rate_interval]))
                    "#,
                    ),
                ],
                ..LINES
            },
            Panel {
                title: "Bytes by source",
                description: "Cache: bytes of bodies served from held copies, which is what is saved. Origin: bytes of \
                    bodies that came from the store, those that nobody has read yet too.",
                unit: "Bps",
                colors: &[("cache", "green")],
                queries: &[(
                    "{{source}}",
                    "sum by (source) (rate(object_cache_io_bytes_total{..}[$__rate_interval]))",
                )],
                ..LINES
            },
            Panel {
                title: "Money per hour",
                description: "Saved: requests and bytes that the store was spared, at the prices that are set at the top. \
                    Spent: requests for reads, writes, lists and bytes from the store; deletes are free of charge.",
                unit: "currencyUSD",
                colors: &[("saved", "green"), ("spent", "orange")],
                queries: &[
                    (
                        "saved",
                        r#"
                        3600 * (
                          (
                            sum(rate(object_cache_requests_total{..}[$__rate_interval]))
                            - sum(rate(object_cache_origin_requests_total{.., op=~"read|blocks|bypass"}[$__rate_interval]))
                          ) / 1000 * $price_get
                          + sum(rate(object_cache_io_bytes_total{.., source="cache"}[$__rate_interval])) / 2^30 * $price_gb
                        )
                    "#,
                    ),
                    (
                        "spent",
                        r#"
                        3600 * (
                          sum(rate(object_cache_origin_requests_total{.., op=~"read|blocks|bypass"}[$__rate_interval])) / 1000 * $price_get
                          + sum(rate(object_cache_origin_requests_total{.., op=~"put|copy|rename|multipart|list"}[$__rate_interval])) / 1000 * $price_put
                          + sum(rate(object_cache_io_bytes_total{.., source="origin"}[$__rate_interval])) / 2^30 * $price_gb
                        )
                    "#,
                    ),
                ],
                ..LINES
            },
        ],
    },
    Row {
        title: "The store behind",
        is_folded: false,
        height: 8,
        panels: &[
            Panel {
                title: "Requests by outcome",
                description: "Reads: unchanged (no body came), changed (a body came), gone (no such object). Writes, and \
                    requests of a CachedStore for blocks: done. Refused is an answer, such as \"access denied\" or a condition \
                    that does not hold; failed is none; abandoned was given up before an answer.",
                view: View::Stacked,
                unit: "reqps",
                queries: &[(
                    "{{op}} {{outcome}}",
                    "sum by (op, outcome) (rate(object_cache_origin_requests_total{..}[$__rate_interval]))",
                )],
                ..LINES
            },
            Panel {
                title: "Time to answer",
                description: "How long requests to the store took, by operation; a read of a whole object with its body. Half of them took \
                    less than p50, one in a hundred more than p99.",
                unit: "s",
                queries: &[
                    (
                        "{{op}} p50",
                        "histogram_quantile(0.5, sum by (op, le) (rate(object_cache_origin_duration_seconds_bucket{..}[$__rate_interval])))",
                    ),
                    (
                        "{{op}} p99",
                        "histogram_quantile(0.99, sum by (op, le) (rate(object_cache_origin_duration_seconds_bucket{..}[$__rate_interval])))",
                    ),
                ],
                ..LINES
            },
            Panel {
                title: "Errors of requests by kind",
                description: "Requests that were refused or failed, by kind: a condition that does not hold \
                    (precondition_failed) is apart from a right that is missing (permission_denied).",
                unit: "reqps",
                queries: &[(
                    "{{kind}}",
                    "sum by (kind) (rate(object_cache_origin_errors_total{..}[$__rate_interval])) > 0",
                )],
                ..LINES
            },
            Panel {
                title: "Requests that wait for their turn",
                description: "How many requests wait for a permit on average, since max_in_flight others are under way. \
                    Mostly zero; after queue_timeout they fail.",
                unit: "short",
                queries: &[(
                    "{{cache_name}}",
                    "sum by (cache_name) (rate(object_cache_queue_duration_seconds_sum{..}[$__rate_interval]))",
                )],
                ..LINES
            },
            Panel {
                title: "In flight",
                description: "Requests to the store that have not been answered yet. At a cache's max_in_flight further \
                    reads wait for their turn.",
                unit: "short",
                queries: &[("{{cache_name}}", "sum by (cache_name) (object_cache_inflight{..})")],
                ..LINES
            },
        ],
    },
    Row {
        title: "What is held",
        is_folded: false,
        height: 7,
        panels: &[
            Panel {
                title: "Memory",
                description: "Bytes held: keys, bodies, tags and bookkeeping; and the most that may be held, where there is \
                    a limit. Full is not a fault; \"How long a copy lasts\" tells whether the limit is too small.",
                unit: "bytes",
                queries: &[
                    ("{{cache_name}} held", "sum by (cache_name) (object_cache_size_bytes{..})"),
                    ("{{cache_name}} limit", "sum by (cache_name) (object_cache_capacity_bytes{..})"),
                ],
                ..LINES
            },
            Panel {
                title: "Copies held",
                description: "In number. In a CachedStore each block is one, and what is known of an object is one.",
                unit: "short",
                queries: &[(
                    "{{cache_name}}",
                    "sum by (cache_name) (object_cache_entries{..} or object_cache_entry_count{..})",
                )],
                ..LINES
            },
            Panel {
                title: "How long a copy lasts",
                description: "Copies held, divided by how many are dropped each second to make room: the time for which a \
                    copy stays on average. Shorter than the time after which objects are read again: the cache is too small.",
                unit: "s",
                queries: &[(
                    "{{cache_name}}",
                    r#"
                    sum by (cache_name) (object_cache_entries{..} or object_cache_entry_count{..})
                    / (sum by (cache_name) (rate(object_cache_evictions_total{.., reason="capacity"}[$__rate_interval])) > 0)
                "#,
                )],
                ..LINES
            },
            Panel {
                title: "Evictions by reason",
                description: "Capacity: dropped to make room. Expired: not asked for until the time to live had passed.",
                width: 6,
                unit: "ops",
                queries: &[(
                    "{{reason}}",
                    "sum by (reason) (rate(object_cache_evictions_total{..}[$__rate_interval]))",
                )],
                ..LINES
            },
            Panel {
                title: "Invalidations by source",
                description: "Copies dropped because they were not to be served again. Api: the program said so. Write: it \
                    was written or deleted through this cache. Changed and gone: the store said so.",
                width: 6,
                unit: "ops",
                queries: &[(
                    "{{source}}",
                    "sum by (source) (rate(object_cache_invalidations_total{..}[$__rate_interval]))",
                )],
                ..LINES
            },
            Panel {
                title: "Refusals by reason",
                description: "Objects that were not kept, so that the next read fetches them again. Too large: for the \
                    cache. Policy: worth less than what is held, which is no fault. Backend: it failed to take them. \
                    Unvalidatable: the store gave neither ETag nor date.",
                width: 6,
                unit: "ops",
                queries: &[(
                    "{{reason}}",
                    "sum by (reason) (rate(object_cache_refusals_total{..}[$__rate_interval]))",
                )],
                ..LINES
            },
            Panel {
                title: "Backend errors",
                description: "Failed calls of the place where copies are held. They cost requests, never an answer.",
                width: 6,
                unit: "ops",
                queries: &[(
                    "{{cache_name}}",
                    "sum by (cache_name) (rate(object_cache_backend_errors_total{..}[$__rate_interval]))",
                )],
                ..LINES
            },
        ],
    },
    Row {
        title: "Each instance",
        is_folded: true,
        height: 8,
        panels: &[
            Panel {
                title: "Reads that failed, by instance",
                description: "The share of reads that ended with an error, for each instance: one bad instance of a hundred \
                    is not seen in the sum of all.",
                unit: "percentunit",
                queries: &[(
                    "{{instance}}",
                    r#"
                    sum by (instance) (rate(object_cache_requests_total{.., result="error"}[$__rate_interval]))
                    / (sum by (instance) (rate(object_cache_requests_total{..}[$__rate_interval])) > 0)
                "#,
                )],
                ..LINES
            },
            Panel {
                title: "Requests not answered, by instance",
                description: "The share of requests to the store that failed, for each instance.",
                unit: "percentunit",
                queries: &[(
                    "{{instance}}",
                    r#"
                    sum by (instance) (rate(object_cache_origin_requests_total{.., outcome="failed"}[$__rate_interval]))
                    / (sum by (instance) (rate(object_cache_origin_requests_total{..}[$__rate_interval])) > 0)
                "#,
                )],
                ..LINES
            },
            Panel {
                title: "Hit ratio by instance",
                description: "As \"Hit ratio over time\", for each instance. It is low for a while after a start.",
                unit: "percentunit",
                queries: &[(
                    "{{instance}}",
                    r#"
                    sum by (instance) (rate(object_cache_requests_total{.., result=~"fresh|revalidated|stale"}[$__rate_interval]))
                    / (sum by (instance) (rate(object_cache_requests_total{.., result=~"fresh|revalidated|stale|fetched|refetched"}[$__rate_interval])) > 0)
                "#,
                )],
                ..LINES
            },
            Panel {
                title: "Reads by instance",
                description: "Whether load is spread.",
                unit: "reqps",
                queries: &[(
                    "{{instance}}",
                    "sum by (instance) (rate(object_cache_requests_total{..}[$__rate_interval]))",
                )],
                ..LINES
            },
            Panel {
                title: "Caches by version",
                description: "How many caches are exported, by the version of object-cache: during a roll-out there are two.",
                view: View::Stacked,
                unit: "short",
                queries: &[("{{version}}", "count by (version) (object_cache_build_info{..})")],
                ..LINES
            },
        ],
    },
    Row {
        title: "Blocks of a CachedStore",
        is_folded: true,
        height: 8,
        panels: &[
            Panel {
                title: "Hit ratio of blocks",
                description: "Blocks that were held when a read wanted them, among all that reads wanted. The hit ratio of \
                    reads is of versions.",
                unit: "percentunit",
                queries: &[(
                    "{{cache_name}}",
                    r#"
                    sum by (cache_name) (rate(object_cache_blocks_total{.., result="hit"}[$__rate_interval]))
                    / (sum by (cache_name) (rate(object_cache_blocks_total{..}[$__rate_interval])) > 0)
                "#,
                )],
                ..LINES
            },
            Panel {
                title: "Blocks by result",
                description: "Hit: held when a read wanted it. Miss: not held, so it came from the store. A read of a large \
                    object wants many blocks.",
                view: View::Stacked,
                unit: "ops",
                colors: &[("hit", "green"), ("miss", "orange")],
                queries: &[(
                    "{{result}}",
                    "sum by (result) (rate(object_cache_blocks_total{..}[$__rate_interval]))",
                )],
                ..LINES
            },
            Panel {
                title: "Passed through",
                description: "Requests handed to the store as they were, and objects that cannot be held: without a tag that \
                    names their bytes, or larger than max_object_size. They are in no other panel.",
                unit: "reqps",
                queries: &[(
                    "{{cache_name}}",
                    "sum by (cache_name) (rate(object_cache_passed_through_total{..}[$__rate_interval]))",
                )],
                ..LINES
            },
            Panel {
                title: "Restarts",
                description: "Reads that began anew because the object had been replaced since it was last asked about.",
                unit: "ops",
                queries: &[(
                    "{{cache_name}}",
                    "sum by (cache_name) (rate(object_cache_restarts_total{..}[$__rate_interval]))",
                )],
                ..LINES
            },
        ],
    },
];

const NUMBER: Panel = Panel { view: View::Number, width: 4, ..LINES };

const LINES: Panel = Panel {
    title: "",
    description: "",
    view: View::Lines,
    width: 8,
    unit: "",
    decimals: None,
    steps: &[(None, "green")],
    colors: &[],
    nothing: "no data",
    queries: &[],
};

const GOOD_ABOVE_ZERO: &[(Option<f64>, &str)] = &[(None, "red"), (Some(0.0), "green")];

const RESULTS: &[(&str, &str)] = &[
    ("fresh", "green"),
    ("revalidated", "blue"),
    ("stale", "yellow"),
    ("fetched", "purple"),
    ("refetched", "orange"),
    ("not_found", "text"),
    ("error", "red"),
];
