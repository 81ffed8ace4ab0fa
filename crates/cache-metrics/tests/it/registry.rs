//! Which caches are exported, and under which name.

use std::sync::{Arc, Mutex};

use cache_core::Stats;
use cache_metrics::{Registry, Snapshot, Source};

/// A cache with one fresh get.
fn cache() -> Arc<Mutex<Stats>> {
    let mut stats = Stats::default();
    stats.fresh = 1;
    Arc::new(Mutex::new(stats))
}

fn source(name: &str, cache: &Arc<Mutex<Stats>>) -> Source {
    let weak = Arc::downgrade(cache);
    Source::new(&name.into(), move || Some(Snapshot::from(*weak.upgrade()?.lock().ok()?)))
}

fn names(registry: &Registry) -> Vec<String> {
    registry.collect().iter().map(|cache| cache.name.to_string()).collect()
}

#[test]
fn caches_of_one_name_are_shown_apart() {
    let caches = [cache(), cache(), cache()];
    let registry = Registry::new();
    registry.add(source("pages#2", &caches[0]));
    registry.add(source("pages", &caches[1]));
    registry.add(source("pages", &caches[2]));
    assert_eq!(names(&registry), ["pages#2", "pages", "pages#3"]);
}

#[test]
fn a_cache_that_is_gone_frees_its_name() {
    let (first, second, third) = (cache(), cache(), cache());
    let registry = Registry::new();
    registry.add(source("pages", &first));
    registry.add(source("pages", &second));
    drop(first);
    assert_eq!(names(&registry), ["pages#2"]);
    registry.add(source("pages", &third));
    assert_eq!(names(&registry), ["pages#2", "pages"]);
}

#[test]
fn a_cache_is_added_once() {
    let cache = cache();
    let registry = Registry::new();
    let source = source("pages", &cache);
    registry.add(source.clone());
    registry.add(source);
    assert_eq!(names(&registry), ["pages"]);
}

#[test]
fn a_registry_keeps_no_cache() {
    let cache = cache();
    let registry = Registry::new();
    registry.add(source("pages", &cache));
    let weak = Arc::downgrade(&cache);
    drop(cache);
    assert!(weak.upgrade().is_none());
    assert_eq!(format!("{registry:?}"), r#"Registry(["pages"])"#);
    assert!(registry.collect().is_empty());
    assert_eq!(format!("{registry:?}"), "Registry([])");
}

#[test]
fn sources_are_asked_under_no_lock() {
    let registry = Registry::new();
    let inner = registry.clone();
    registry.add(Source::new(&"pages".into(), move || {
        assert!(!format!("{inner:?}").is_empty());
        Some(Snapshot::default())
    }));
    assert_eq!(names(&registry), ["pages"]);
}
