//! The entries that a second process finds.

use cache_core::Backend;

use crate::support::{body_of, entry, look_up, memory, open, tier, until, written};

#[tokio::test(flavor = "multi_thread")]
async fn written_entries_are_found_without_a_stamp() {
    let directory = tempfile::tempdir().unwrap();
    let keys: Vec<_> = (0..200).map(|n| format!("a/{n}")).collect();
    for is_closed in [true, false] {
        let backend = open(memory(1, 1 << 20), tier(directory.path())).await;
        for key in &keys {
            let entry = entry(key, "\"1\"", body_of(key, 10_000));
            assert!(backend.insert_now(entry).unwrap().is_stored());
        }
        written(&backend).await;
        if is_closed {
            backend.close().await.unwrap();
        }
        drop(backend);
        let backend = open(memory(1, 1 << 20), tier(directory.path())).await;
        until(&backend, |stats| stats.recovered == 200).await;
        for key in &keys {
            let found = look_up(&backend, key).await.unwrap_or_else(|| panic!("{key} is lost"));
            assert_eq!((found.key(), found.e_tag()), (key.as_str(), Some("\"1\"")));
            assert!(found.body() == &body_of(key, 10_000), "{key}");
            assert_eq!(found.validated_at(), None);
        }
        let stats = backend.lower_tier().unwrap();
        assert_eq!((stats.hits, stats.misses, stats.corrupt), (200, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_removed_before_a_clean_end_is_not_found() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(memory(1, 1 << 20), tier(directory.path())).await;
    for key in ["a", "b"] {
        assert!(backend.insert_now(entry(key, "\"1\"", body_of(key, 100))).unwrap().is_stored());
    }
    written(&backend).await;
    assert!(backend.remove("a").await.unwrap());
    backend.close().await.unwrap();
    assert!(look_up(&backend, "b").await.is_none());
    let backend = open(memory(1, 1 << 20), tier(directory.path())).await;
    assert!(look_up(&backend, "a").await.is_none());
    assert!(look_up(&backend, "b").await.is_some());
}
