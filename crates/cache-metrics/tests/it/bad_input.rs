//! Recorders that are not there, come late or twice; meters that are shut down; caches that go
//! away, or have one name; names that would end a label. No panic, no lost count, no count twice.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use cache_facade::{
    CachedStore, Freshness, Memory, ObjectCache,
    object_store::{ObjectStoreExt as _, memory::InMemory, path::Path},
};
use cache_metrics::Registry;
use opentelemetry::metrics::MeterProvider as _;

use crate::readings::{
    Meter, Readings, assert_alike, by_all, by_recorder, by_text, parse, recorder,
};

const FRESH: Freshness = Freshness::max_age(Duration::from_secs(3600));

/// A cache that has been missed once, and hit `hits` times.
async fn cache(name: &str, hits: usize) -> ObjectCache {
    let store = Arc::new(InMemory::new());
    store.put(&Path::from("a"), "12345".into()).await.unwrap();
    let cache = ObjectCache::builder(store).name(name).freshness(FRESH).build().unwrap();
    for _ in 0..=hits {
        cache.get("a").await.unwrap();
    }
    cache
}

fn registry_of(caches: &[&ObjectCache]) -> Registry {
    let registry = Registry::new();
    caches.iter().for_each(|cache| registry.add(*cache));
    registry
}

fn fresh(readings: &Readings, name: &str) -> Option<f64> {
    let series = format!("object_cache_requests_total{{cache_name=\"{name}\",result=\"fresh\"}}");
    readings.get(&series).copied()
}

/// The one test that may install a global recorder.
#[tokio::test]
async fn a_recorder_that_is_installed_late_gets_everything_once() {
    let cache = cache("late", 3).await;
    let registry = registry_of(&[&cache]);
    registry.record();
    registry.record();

    let late = recorder();
    let handle = late.handle();
    metrics::set_global_recorder(late).unwrap();
    registry.record();
    assert_alike(&parse(&handle.render()), &by_text(&registry));
    assert_eq!(fresh(&by_text(&registry), "late"), Some(3.0));

    // A second one is refused by the `metrics` crate, and the first one goes on.
    assert!(metrics::set_global_recorder(recorder()).is_err());
    cache.get("a").await.unwrap();
    registry.record();
    registry.record();
    assert_alike(&parse(&handle.render()), &by_text(&registry));
    assert_eq!(fresh(&parse(&handle.render()), "late"), Some(4.0));
}

#[tokio::test]
async fn each_of_several_recorders_gets_everything_once() {
    let cache = cache("a", 2).await;
    let registry = registry_of(&[&cache]);
    let recorders = [(), ()].map(|()| (registry.recorder_handle(), recorder()));
    for i in [0, 1, 0, 0, 1] {
        let (recording, recorder) = &recorders[i];
        recording.record_to(recorder);
        cache.invalidate("a").await.unwrap();
        cache.get("a").await.unwrap();
    }
    for (recording, recorder) in &recorders {
        recording.record_to(recorder);
        let text = recorder.handle().render();
        assert_eq!(text.matches("# HELP object_cache_requests_total Finished reads").count(), 1);
        assert_alike(&parse(&recorder.handle().render()), &by_text(&registry));
    }
}

#[tokio::test]
async fn several_threads_record_each_measurement_once() {
    let cache = cache("a", 0).await;
    let registry = registry_of(&[&cache]);
    let (recording, recorder) = (registry.recorder_handle(), recorder());
    for _ in 0..50 {
        cache.invalidate("a").await.unwrap();
        cache.get("a").await.unwrap();
        std::thread::scope(|scope| {
            (0..3).for_each(|_| drop(scope.spawn(|| recording.record_to(&recorder))));
        });
    }
    assert_alike(&parse(&recorder.handle().render()), &by_text(&registry));
}

#[tokio::test]
async fn a_meter_counts_once_however_often_it_is_read_and_by_whom() {
    let cache = cache("a", 2).await;
    let registry = registry_of(&[&cache]);
    let meters = [Meter::observing(&registry), Meter::observing(&registry)];
    for i in [0, 1, 1, 0] {
        meters[i].read();
        cache.invalidate("a").await.unwrap();
        cache.get("a").await.unwrap();
    }
    for meter in &meters {
        assert_alike(&meter.read(), &by_text(&registry));
        assert_alike(&meter.read(), &by_text(&registry));
    }
}

#[tokio::test]
async fn a_meter_that_is_shut_down_is_let_be() {
    let cache = cache("a", 2).await;
    let registry = registry_of(&[&cache]);
    let meter = Meter::observing(&registry);
    assert!(fresh(&meter.read(), "a").is_some());
    meter.provider.shutdown().unwrap();
    assert!(meter.read().is_empty());
    registry.observe(&meter.provider.meter("again"));
    assert!(meter.read().is_empty());
    // The others go on.
    by_all(&registry);
}

/// A cache that is dropped neither leaks nor lingers.
#[tokio::test]
async fn a_cache_that_is_gone_is_not_exported() {
    let (kept, dropped) = (cache("kept", 1).await, cache("dropped", 1).await);
    let registry = registry_of(&[&kept, &dropped]);
    let meter = Meter::observing(&registry);
    for readings in [by_all(&registry), meter.read()] {
        assert_eq!((fresh(&readings, "kept"), fresh(&readings, "dropped")), (Some(1.0), Some(1.0)));
    }
    let weak = dropped.read_through().downgrade();
    drop(dropped);
    assert!(weak.upgrade().is_none());
    assert_eq!(fresh(&by_text(&registry), "dropped"), None);
    assert_eq!(fresh(&by_recorder(&registry), "dropped"), None);
    // An OpenTelemetry counter that was observed stays, or its past would be counted again with the
    // next cache of that name. Nothing of what is cached now does.
    let observed = meter.read();
    assert_eq!((fresh(&observed, "kept"), fresh(&observed, "dropped")), (Some(1.0), Some(1.0)));
    let gauges = ["capacity_bytes", "entries", "size_bytes", "inflight"];
    for series in observed.keys().filter(|series| series.contains("\"dropped\"")) {
        assert!(!gauges.iter().any(|gauge| series.contains(gauge)), "{series}");
    }
    assert_eq!(fresh(&Meter::observing(&registry).read(), "dropped"), None);
}

#[tokio::test]
async fn two_caches_of_one_name_are_shown_apart() {
    let (one, other) = (cache("pages", 1).await, cache("pages", 2).await);
    let readings = by_all(&registry_of(&[&one, &other, &one]));
    assert_eq!((fresh(&readings, "pages"), fresh(&readings, "pages#2")), (Some(1.0), Some(2.0)));
}

#[tokio::test]
async fn a_meter_sees_caches_that_are_added_later() {
    let registry = Registry::new();
    let meter = Meter::observing(&registry);
    assert!(meter.read().is_empty());
    let cache = cache("a", 1).await;
    registry.add(&cache);
    assert_alike(&meter.read(), &by_text(&registry));
}

#[tokio::test]
async fn whatever_a_name_has_the_text_is_valid() {
    let names = [
        "quo\"te",
        "new\nline",
        "back\\slash",
        "curly{}",
        "comma,equals=",
        "ümläut 漢字",
        "\r\t\0",
    ];
    let mut caches = Vec::new();
    for name in names {
        caches.push(cache(name, 1).await);
    }
    let registry = Registry::new();
    caches.iter().for_each(|cache| registry.add(cache));
    let blocks = CachedStore::builder(Arc::new(InMemory::new()), Memory::new())
        .name("blocks")
        .build()
        .unwrap();
    registry.add(&blocks);

    let text = registry.render_prometheus();
    let fresh = text.lines().filter(|line| line.starts_with("object_cache_requests_total{"));
    let fresh: Vec<_> = fresh.filter(|line| line.ends_with("result=\"fresh\"} 1")).collect();
    assert_eq!(fresh.len(), names.len(), "each on a line of its own");
    assert!(
        fresh[0].contains(r#"cache_name="quo\"te""#)
            && fresh[1].contains(r#"cache_name="new\nline""#)
    );
    assert!(fresh[2].contains(r#"cache_name="back\\slash""#));
    check_by_promtool(&text);
    check_by_promtool(&Registry::new().render_prometheus());
    // The others take any name.
    registry.recorder_handle().record_to(&recorder());
    Meter::observing(&registry).provider.force_flush().unwrap();
}

/// What Prometheus' own tool says of `text`, where it is installed.
fn check_by_promtool(text: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        // Past the capture of the output: it should be seen.
        let _ = writeln!(
            std::io::stderr(),
            "promtool is not installed: the text was not checked by it"
        );
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
