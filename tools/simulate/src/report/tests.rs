use std::{fs, path::Path};

use serde_json::{Value, json};

use super::*;

fn put(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn row(capacity: u64, policy: &str) -> Value {
    json!({
        "trace": "t", "unit": "entries", "capacity": capacity, "share": 0.05, "policy": policy,
        "requests": 1000, "hits": 500, "hit_ratio": 0.5, "byte_hit_ratio": 0.5,
    })
}

fn html(folder: &Path) -> Result<String> {
    Ok(Page::read(folder)?.html())
}

#[track_caller]
fn check_has(html: &str, parts: &[&str]) {
    for part in parts {
        assert!(html.contains(part), "no {part:?} in\n{html}");
    }
}

#[test]
fn missing_results_are_named_with_their_command() {
    let folder = tempfile::tempdir().unwrap();
    let html = html(folder.path()).unwrap();
    check_has(
        &html,
        &[
            "cargo xtask simulate --trace FILE…",
            "<code>cargo bench</code>",
            "cargo xtask instructions",
        ],
    );
}

#[test]
fn all_results_are_on_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ratio = json!([{
        "group": "memory", "case": "10k", "subject": "a<b", "reference": "quick_cache",
        "threads": 1, "unit": "bytes", "value": 1536.4, "wall": 0, "ratio": 0.861, "note": "a note",
    }]);
    put(folder, "ratios/memory.json", &ratio.to_string());
    put(
        folder,
        "instructions.json",
        r#"[{"loop":"backend_hit","subject":"ours","instructions_per_op":1234.4}]"#,
    );
    let rows = json!([row(9, "lru"), row(9, "belady")]);
    put(folder, "simulate/rows.json", &rows.to_string());
    let html = html(folder).unwrap();
    check_has(
        &html,
        &[
            "× ours",
            "1,536 bytes",
            "0.86",
            "× quick_cache",
            "a&lt;b",
            "a note",
            "1,234",
            "<svg",
            "t, by entries",
            "at 5 % of your working set (9 entries): best 50.0 % (lru), LRU 50.0 %, optimum 50.0 %",
        ],
    );
    for outside in ["<script", "src=", "@import", "url("] {
        assert!(!html.contains(outside), "{outside} in\n{html}");
    }
}

#[test]
fn an_unreadable_file_is_named() {
    for file in ["instructions.json", "simulate/rows.json", "ratios/x.json"] {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), file, "[{]");
        let error = html(folder.path()).unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
    }
}

#[test]
fn rows_of_two_simulations_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let rows = json!([row(1, "lru"), row(2, "fifo")]);
    put(folder.path(), "simulate/rows.json", &rows.to_string());
    assert!(html(folder.path()).unwrap_err().to_string().contains("different policies"));
}
