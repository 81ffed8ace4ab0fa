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

/// Counters that fell would be taken for the restart of a program, or for a very large number.
#[test]
fn whoever_gets_a_name_that_was_used_goes_on_with_its_totals() {
    let registry = Registry::new();
    let fresh = |registry: &Registry| registry.collect()[0].snapshot.stats.fresh;
    for total in 1..=3 {
        let cache = cache();
        registry.add(source("pages", &cache));
        assert_eq!(fresh(&registry), total);
        let before = cache.lock().unwrap().fresh;
        cache.lock().unwrap().entries = 7;
        assert_eq!(
            (before, registry.collect()[0].snapshot.stats.entries),
            (1, 7),
            "how it is now is its own"
        );
    }
}

#[test]
fn a_snapshot_that_comes_late_makes_no_total_fall() {
    let registry = Registry::new();
    let numbers = Mutex::new(vec![3, 5, 4]);
    registry.add(Source::new(&"pages".into(), move || {
        let mut stats = Stats::default();
        stats.fresh = numbers.lock().ok()?.pop().unwrap_or_default();
        Some(Snapshot::from(stats))
    }));
    let fresh = || registry.collect()[0].snapshot.stats.fresh;
    assert_eq!([fresh(), fresh(), fresh()], [4, 5, 5]);
}

/// Their totals with them; that costs memory for each name.
#[test]
fn of_names_that_are_not_used_again_the_last_256_are_remembered() {
    let registry = Registry::new();
    for number in 0..=256 {
        let cache = cache();
        registry.add(source(&number.to_string(), &cache));
        registry.collect();
    }
    let (first, second) = (cache(), cache());
    registry.collect();
    registry.add(source("0", &first));
    registry.add(source("1", &second));
    let fresh: Vec<_> = registry.collect().iter().map(|cache| cache.snapshot.stats.fresh).collect();
    assert_eq!(fresh, [1, 2]);
}

/// Many caches of many names: none is asked for its counters because another one comes.
#[test]
fn to_add_a_cache_asks_no_other() {
    let registry = Registry::new();
    let asked = Arc::new(Mutex::new(0));
    for name in ["one", "other"] {
        let asked = Arc::clone(&asked);
        registry.add(Source::new(&name.into(), move || {
            *asked.lock().ok()? += 1;
            Some(Snapshot::default())
        }));
    }
    assert_eq!(*asked.lock().unwrap(), 0);
}
