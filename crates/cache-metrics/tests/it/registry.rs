//! Which caches are exported, and under which name.

use std::sync::{Arc, Mutex};

use cache_core::Stats;
use cache_metrics::{MetricsSource, Registry, Snapshot};

/// A cache with one fresh get.
fn cache() -> Arc<Mutex<Stats>> {
    let mut stats = Stats::default();
    stats.fresh = 1;
    Arc::new(Mutex::new(stats))
}

fn source(name: &str, cache: &Arc<Mutex<Stats>>) -> MetricsSource {
    let weak = Arc::downgrade(cache);
    MetricsSource::new(&name.into(), move || Some(Snapshot::from(*weak.upgrade()?.lock().ok()?)))
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
    registry.add(MetricsSource::new(&"pages".into(), move || {
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
    registry.add(MetricsSource::new(&"pages".into(), move || {
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
        registry.add(MetricsSource::new(&name.into(), move || {
            *asked.lock().ok()? += 1;
            Some(Snapshot::default())
        }));
    }
    assert_eq!(*asked.lock().unwrap(), 0);
}

/// Every cache of a name is asked a bounded number of times because others come, and none for ever.
#[test]
fn to_add_caches_of_one_name_takes_linear_time() {
    let registry = Registry::new();
    let asked = Arc::new(Mutex::new(0));
    let n = 3200;
    for _ in 0..n {
        let asked = Arc::clone(&asked);
        registry.add(MetricsSource::new(&"pages".into(), move || {
            *asked.lock().ok()? += 1;
            Some(Snapshot::default())
        }));
    }
    assert!(*asked.lock().unwrap() <= 16 * n, "{asked:?}");
    let names = names(&registry);
    assert_eq!((names.len(), &*names[0], &*names[3199]), (n, "pages", "pages#3200"));
}

/// Held without the caches; what is left is a multiple of what lives.
#[test]
fn dropped_caches_do_not_pile_up_without_an_export() {
    let registry = Registry::new();
    let kept = [cache(), cache()];
    registry.add(source("kept", &kept[0]));
    registry.add(source("kept", &kept[1]));
    // How many sources the registry has.
    let left = Arc::new(());
    let mut most = 0;
    for number in 0..8000 {
        let (cache, handle) = (cache(), Arc::clone(&left));
        let weak = Arc::downgrade(&cache);
        // Each other of a name that never comes again.
        let name = if number % 2 == 0 { "pages".to_owned() } else { format!("page {number}") };
        registry.add(MetricsSource::new(&name.as_str().into(), move || {
            let _handle = &handle;
            Some(Snapshot::from(*weak.upgrade()?.lock().ok()?))
        }));
        most = most.max(Arc::strong_count(&left));
    }
    assert!(most < 200, "{most}");
    assert_eq!(names(&registry), ["kept", "kept#2"]);
    assert_eq!(Arc::strong_count(&left), 1);
}

/// Linear: what took 23 s takes milliseconds.
#[test]
fn an_export_that_finds_8000_caches_dropped_frees_all_names() {
    let registry = Registry::new();
    let caches: Vec<_> = (0..8000).map(|_| cache()).collect();
    for (number, cache) in caches.iter().enumerate() {
        registry.add(source(&format!("page {}", number % 100), cache));
    }
    let weak = Arc::downgrade(&caches[7999]);
    drop(caches);
    assert!(weak.upgrade().is_none());
    assert!(registry.collect().is_empty());
    // All the numbers are free again.
    let (one, other) = (cache(), cache());
    registry.add(source("page 99", &one));
    registry.add(source("page 99", &other));
    assert_eq!(names(&registry), ["page 99", "page 99#2"]);
}

/// One that is shown as another's second may have been built with that name.
#[test]
fn the_lowest_free_number_is_given_to_the_next() {
    let registry = Registry::new();
    let mut caches: Vec<_> = (0..5).map(|_| Some(cache())).collect();
    for (built_as, cache) in ["a", "a#3", "a", "a", "a"].into_iter().zip(&caches) {
        registry.add(source(built_as, cache.as_ref().unwrap()));
    }
    assert_eq!(names(&registry), ["a", "a#3", "a#2", "a#4", "a#5"]);
    (caches[1], caches[3]) = (None, None);
    assert_eq!(names(&registry), ["a", "a#2", "a#5"]);
    let others = [cache(), cache(), cache(), cache()];
    for (built_as, cache) in ["a", "a", "a", "a#2"].into_iter().zip(&others) {
        registry.add(source(built_as, cache));
    }
    assert_eq!(names(&registry), ["a", "a#2", "a#5", "a#3", "a#4", "a#6", "a#2#2"]);
}

fn fresh(registry: &Registry) -> Vec<(String, u64)> {
    registry
        .collect()
        .iter()
        .map(|cache| (cache.name.to_string(), cache.snapshot.stats.fresh))
        .collect()
}

#[test]
fn a_cache_that_is_replaced_hands_its_name_and_totals_on() {
    let (first, old, new) = (cache(), cache(), cache());
    let registry = Registry::new();
    registry.add(source("pages", &first));
    let (source_of_old, source_of_new) = (source("pages", &old), source("pages", &new));
    registry.add(source_of_old.clone());
    registry.collect();
    // Since the last collection.
    old.lock().unwrap().fresh += 5;
    registry.replace(source_of_old.clone(), source_of_new.clone());
    assert_eq!(fresh(&registry), [("pages".into(), 1), ("pages#2".into(), 7)]);
    // It lives on for readers that it has.
    old.lock().unwrap().fresh += 100;
    new.lock().unwrap().fresh += 1;
    assert_eq!(fresh(&registry)[1], ("pages#2".into(), 8));
    // Once more, with the one that is exported no more: then the new one is there already.
    registry.replace(source_of_old, source_of_new.clone());
    assert_eq!(fresh(&registry)[1], ("pages#2".into(), 8));
    drop(new);
    drop(source_of_new);
    registry.add(source("pages", &old));
    assert_eq!(fresh(&registry)[1], ("pages#2".into(), 8 + 106), "the name goes on");
}

#[test]
fn a_reload_each_second_keeps_one_name() {
    let registry = Registry::new();
    let mut current = cache();
    let mut source_of_current = source("pages", &current);
    registry.add(source_of_current.clone());
    for n in 2..100 {
        let (new, source_of_new) = {
            let new = cache();
            (new.clone(), source("pages", &new))
        };
        registry.replace(source_of_current, source_of_new.clone());
        assert_eq!(fresh(&registry), [("pages".into(), n)]);
        // The old one is dropped later.
        (current, source_of_current) = (new, source_of_new);
    }
    drop(current);
    assert!(registry.collect().is_empty());
}

#[test]
fn what_is_replaced_need_not_be_there_nor_alike() {
    let (a, b, c) = (cache(), cache(), cache());
    let registry = Registry::new();
    let sources = [source("a", &a), source("b", &b), source("c", &c)];
    // Not there.
    registry.replace(sources[0].clone(), sources[1].clone());
    assert_eq!(names(&registry), ["b"]);
    // The same.
    registry.replace(sources[1].clone(), sources[1].clone());
    assert_eq!(fresh(&registry), [("b".into(), 1)]);
    // Of another name.
    registry.replace(sources[1].clone(), sources[2].clone());
    assert_eq!(fresh(&registry), [("c".into(), 1)]);
    // There already.
    registry.add(sources[0].clone());
    registry.replace(sources[2].clone(), sources[0].clone());
    assert_eq!(fresh(&registry), [("a".into(), 1)]);
}

/// A collection has the counters of the old cache in its hand while that is replaced.
#[test]
fn a_snapshot_that_comes_too_late_is_not_counted_twice() {
    let registry = Registry::new();
    let new = cache();
    let replaced = Arc::new(Mutex::new(None::<(MetricsSource, MetricsSource)>));
    let old = MetricsSource::new(&"pages".into(), {
        let (registry, replaced) = (registry.clone(), Arc::clone(&replaced));
        move || {
            let both = replaced.lock().unwrap().take();
            if let Some((old, new)) = both {
                registry.replace(old, new);
            }
            let mut stats = Stats::default();
            stats.fresh = 50;
            Some(stats.into())
        }
    });
    registry.add(old.clone());
    *replaced.lock().unwrap() = Some((old, source("pages", &new)));
    assert!(registry.collect().is_empty(), "the old one is not there any more");
    assert_eq!(fresh(&registry), [("pages".into(), 51)]);
}
