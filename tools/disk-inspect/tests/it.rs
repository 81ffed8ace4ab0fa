//! Runs the program on directories that a tier has written.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use cache_core::{Backend as _, Entry, Key, Namespace, SystemClock, TierContext, TierState};
use cache_disk::{DiskTier, TieredBackend};
use cache_policy::{Lru, MemoryBackend};
use serde_json::Value;

type Tiered = TieredBackend<MemoryBackend<Lru>>;

async fn filled(path: &Path) -> Tiered {
    let memory = MemoryBackend::builder(Lru::new()).build().expect("the directory is usable");
    let context = TierContext::new(Namespace::named("test"), Arc::new(SystemClock::new()));
    let backend =
        TieredBackend::new(memory, &DiskTier::new(path), context).expect("the directory is usable");
    while backend.state() == TierState::Starting {
        tokio::task::yield_now().await;
    }
    for key in ["a", "b"] {
        let (name, body) = (Key::parse(key).expect("the key is right"), vec![b'x'; 1000].into());
        let entry = Entry::builder(&name, body).e_tag(format!("\"{key}\"")).build();
        assert!(backend.insert(entry).await.expect("the directory is usable").is_stored());
        // One after the other, so that they are on disk in this order.
        while backend.lower_tier().expect("it has a tier").queue_entries > 0 {
            tokio::task::yield_now().await;
        }
    }
    backend
}

/// Returns the exit code and what was printed.
fn run(path: &Path, args: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_disk-inspect"));
    let output =
        command.arg(path).args(args.split_whitespace()).output().expect("the directory is usable");
    (
        output.status.code().expect("the directory is usable"),
        String::from_utf8(output.stdout).expect("the directory is usable"),
    )
}

fn segment_file(path: &Path) -> PathBuf {
    let files = fs::read_dir(path)
        .expect("the directory is usable")
        .map(|file| file.expect("the directory is usable").path());
    files
        .into_iter()
        .find(|file| file.extension().is_some_and(|it| it == "seg"))
        .expect("the directory is usable")
}

/// The words of the first line that begins with `word`.
fn words<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.starts_with(word)).expect("the directory is usable");
    line.split_whitespace().collect()
}

#[tokio::test]
async fn a_directory_in_use_is_listed() {
    let directory = tempfile::tempdir().unwrap();
    let backend = filled(directory.path()).await;
    let (code, text) = run(directory.path(), "--entries --verify");
    assert_eq!(code, 0, "{text}");
    let segment = words(&text, "00000000-00000000.seg");
    assert_eq!(segment[1], "unsealed");
    assert_eq!(segment[3..7], ["2", "0", "0", "2000"]);
    assert_eq!(segment[7], format!("{:016x}", Namespace::named("test").bits()));
    let record = words(&text, "        64");
    assert_eq!(record[2..], ["1000", "\"a\"", "a"]);

    assert!(backend.remove("a").await.unwrap());
    backend.close().await.unwrap();
    let (code, text) = run(directory.path(), "--entries");
    assert_eq!((code, words(&text, "00000000-00000000.seg")[1]), (0, "sealed"));
    assert_eq!(words(&text, "        64").last(), Some(&"removed"));
    // Columns begin where their heads do.
    let mut lines = text.lines().skip_while(|line| !line.starts_with("SEGMENT"));
    let (head, row) = (lines.next().unwrap(), lines.next().unwrap());
    assert_eq!(head.find("STATE"), row.find("sealed"));
}

#[tokio::test]
async fn a_flipped_bit_of_a_body_is_found_if_bodies_are_verified() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await.close().await.unwrap();
    let file = segment_file(directory.path());
    let mut bytes = fs::read(&file).unwrap();
    bytes[500] ^= 4;
    fs::write(&file, &bytes).unwrap();
    assert_eq!(run(directory.path(), "").0, 0);
    let (code, text) = run(directory.path(), "--verify --entries");
    assert_eq!(code, 1);
    assert!(text.contains("a  DAMAGED: the checksum of the body does not match"), "{text}");
    let (code, text) = run(directory.path(), "--verify --entries --json");
    assert_eq!(code, 1);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["record"]["fault"], "the checksum of the body does not match");
    assert_eq!(lines[1]["record"]["key"], "b");
    assert_eq!(lines[1]["record"]["fault"], Value::Null);
    assert_eq!(lines[2]["segment"]["damaged"], 1);
    // Nothing was mended.
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_directory_that_is_none_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (code, text) = run(directory.path(), "");
    assert_eq!((code, words(&text, "0 segments").len()), (0, 7));
    assert_eq!(run(&directory.path().join("missing"), "").0, 2);
    assert_eq!(run(directory.path(), "--what").0, 2);
}
