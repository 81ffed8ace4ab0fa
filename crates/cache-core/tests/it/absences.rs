//! How much is remembered of objects that do not exist (I-15).

use cache_core::{Error, ErrorKind, Usage};
use cache_testkit::{BackendAction, BackendCall, HookBackend, MapBackend};
use tokio::runtime::Builder;

use crate::rig::{FOREVER, Rig, STRONG, secs};

fn limited(limits: Usage) -> Rig {
    with_sweep(limits, false)
}

/// Returns a node over a backend that reports the capacity of `limits`; its sweeps may fail.
fn with_sweep(limits: Usage, fails: bool) -> Rig {
    let backend = HookBackend::new(MapBackend::new(), move |call| match call {
        BackendCall::Sweep(_) if fails => {
            BackendAction::Fail(Error::new(ErrorKind::Backend, "it does not sweep"))
        }
        _ => BackendAction::Proceed,
    });
    let backend = backend.map_usage(move |usage| {
        let Usage { capacity_bytes, capacity_entries, .. } = limits;
        usage.with_capacity_bytes(capacity_bytes).with_capacity_entries(capacity_entries)
    });
    Rig::with(backend, |builder| builder.negative_ttl(secs(80)))
}

async fn ask_for(rig: &Rig, keys: std::ops::Range<u32>) {
    for number in keys {
        assert!(rig.cache.get(&format!("missing/{number:04}"), Some(&FOREVER)).await.is_err());
    }
}

#[tokio::test]
async fn absences_have_a_share_of_the_bytes_and_one_of_the_entries() {
    let limits = |capacity_bytes, capacity_entries| {
        Usage::default().with_capacity_bytes(capacity_bytes).with_capacity_entries(capacity_entries)
    };
    for (limits, most) in [
        (limits(None, Some(320)), 10),
        (limits(Some(32_000), None), 1000 / 168),
        (limits(Some(32), Some(320)), 0),
        (limits(None, None), 500),
    ] {
        let rig = limited(limits);
        ask_for(&rig, 0..1).await;
        // Late in the window, so that they are there in the next one too.
        rig.clock.advance(secs(79));
        ask_for(&rig, 1..500).await;
        let held = rig.cache.stats();
        assert_eq!(rig.cache.backend().negative_entries(), most, "{limits:?}, {held:?}");
        // In the next window as many again; the first ones are swept by its end.
        rig.clock.advance(secs(16));
        ask_for(&rig, 500..1000).await;
        assert_eq!(rig.cache.backend().negative_entries(), 2 * most, "{limits:?}");
        rig.clock.advance(secs(65));
        rig.cache.backend().sweep(cache_core::Clock::now(&*rig.clock)).await.unwrap();
        assert_eq!(rig.cache.backend().negative_entries(), most, "{limits:?}");
    }
}

/// Their sweep is on a runtime that is not driven: one that is takes it over, and until then no
/// more are kept.
#[test]
fn absences_have_their_share_although_the_first_runtime_is_idle() {
    let runtime = || Builder::new_current_thread().enable_time().build().unwrap();
    let (left, here) = (runtime(), runtime());
    let rig = limited(Usage::default().with_capacity_entries(Some(320)));
    left.block_on(ask_for(&rig, 0..500));
    for round in 1..10 {
        rig.clock.advance(secs(100));
        // One read each, which is ready when it is first polled.
        for key in 500 * round..500 * (round + 1) {
            here.block_on(ask_for(&rig, key..key + 1));
            assert!(
                rig.cache.backend().negative_entries() <= 20,
                "round {round}, {:?}",
                rig.cache.stats()
            );
        }
        assert_eq!(
            rig.cache.backend().negative_entries(),
            10,
            "round {round}: the older ones are swept"
        );
    }
}

/// What has expired is still there then.
#[tokio::test]
async fn absences_have_their_share_although_the_sweep_fails() {
    let rig = with_sweep(Usage::default().with_capacity_entries(Some(320)), true);
    for round in 0..10 {
        ask_for(&rig, 500 * round..500 * (round + 1)).await;
        assert!(
            rig.cache.backend().negative_entries() <= 20,
            "round {round}, {:?}",
            rig.cache.stats()
        );
        rig.clock.advance(secs(100));
    }
    // Those that are asked for again, and are gone for that, make room for others.
    for key in 0..20 {
        ask_for(&rig, key..key + 1).await;
    }
    assert!(rig.cache.backend().negative_entries() <= 20);
}

/// It is asked for again and again, by readers who may not be told without asking.
#[tokio::test]
async fn one_missing_object_is_paid_for_once_a_window() {
    let rig = limited(Usage::default().with_capacity_entries(Some(64)));
    for _ in 0..100 {
        assert!(rig.get(STRONG).await.is_err());
    }
    ask_for(&rig, 0..1).await;
    let asked = rig.origin.count();
    ask_for(&rig, 0..1).await;
    assert_eq!(rig.origin.count(), asked, "it is remembered");
}
