use std::{fs, path::Path};

use super::*;

fn put(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn put_benchmark(folder: &Path, [group, function, value]: [&str; 3], nanos: f64) {
    let at = format!("criterion/{group}/{function}/{value}/new");
    let id = format!(
        r#"{{"group_id":"{group}","function_id":"{function}","value_str":"{value}","throughput":{{"Elements":10}},"x":1}}"#
    );
    let estimate = format!(
        r#"{{"confidence_interval":{{"confidence_level":0.95,"lower_bound":{nanos},"upper_bound":{nanos}}},"point_estimate":{nanos}}}"#
    );
    put(folder, &format!("{at}/benchmark.json"), &id);
    put(folder, &format!("{at}/estimates.json"), &format!(r#"{{"mean":{estimate},"slope":null}}"#));
}

fn html(folder: &Path) -> Result<String> {
    Ok(Page::read(folder, &folder.join("instructions.json"))?.html())
}

#[track_caller]
fn check_has(html: &str, parts: &[&str]) {
    for part in parts {
        assert!(html.contains(part), "no {part:?} in\n{html}");
    }
}

#[test]
fn what_is_missing_is_said_with_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let html = html(folder.path()).unwrap();
    check_has(
        &html,
        &["cargo xtask simulate --trace FILE…", "<code>cargo bench</code>", "cargo xtask instructions"],
    );
}

#[test]
fn everything_that_there_is_is_on_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put_benchmark(folder, ["hit", "ours", "1k"], 600.0);
    put_benchmark(folder, ["hit", "a<b", "1k"], 900.0);
    put_benchmark(folder, ["hit", "ours", "100k"], 6000.0);
    put(folder, "criterion/report/index.html", "");
    let ratio = r#"[{"group":"memory","case":"10k","subject":"ours: x","reference":"quick_cache","threads":1,"unit":"bytes","value":1536.4,"wall":0,"ratio":0.861,"note":"a note"}]"#;
    put(folder, "ratios/memory.json", ratio);
    put(
        folder,
        "instructions.json",
        r#"[{"loop":"backend_hit","subject":"ours","instructions_per_op":1234.4}]"#,
    );
    let row = |policy: &str, hits: u64| {
        format!(
            r#"{{"trace":"t","unit":"entries","capacity":9,"policy":"{policy}","requests":1000,"hits":{hits},"hit_ratio":0.5,"byte_hit_ratio":0.5}}"#
        )
    };
    put(folder, "simulate/rows.json", &format!("[{},{}]", row("lru", 500), row("belady", 500)));
    let html = html(folder).unwrap();
    check_has(
        &html,
        &[
            "60.0 ns",
            "a&lt;b",
            "1.50",
            "× ours",
            "1,536 bytes",
            "0.86",
            "× quick_cache",
            "a note",
            "600 ns",
            "1,234",
            "<svg",
            "t, by entries",
        ],
    );
    assert!(html.find(">1k<") < html.find(">100k<"), "small ones first\n{html}");
    for outside in ["<script", "src=", "@import", "url("] {
        assert!(!html.contains(outside), "{outside} in\n{html}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for file in ["instructions.json", "simulate/rows.json", "ratios/x.json"] {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), file, "[{]");
        let error = html(folder.path()).unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
    }
}

#[test]
fn rows_of_two_simulations_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let row = |capacity: u64, policy: &str| {
        format!(
            r#"{{"trace":"t","unit":"entries","capacity":{capacity},"policy":"{policy}","requests":1,"hits":0,"hit_ratio":0,"byte_hit_ratio":0}}"#
        )
    };
    put(folder.path(), "simulate/rows.json", &format!("[{},{}]", row(1, "lru"), row(2, "fifo")));
    assert!(html(folder.path()).unwrap_err().to_string().contains("the same policies"));
}
