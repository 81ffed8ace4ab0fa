//! What is void by epoch, and what is not.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use cache_core::{Entry, Error, ErrorKind, Freshness, Key, Namespace, Status};
use cache_testkit::{BackendAction, BackendCall, HookBackend, MapBackend, OriginFault};

use crate::rig::{FOREVER, KEY, Rig, STRONG, poll_once, secs};

/// Returns a backend like one on disk: a look-up waits, and its entry is built anew, without a
/// stamp. While `fails` is set, removes of keys other than [`KEY`] fail.
fn persistent(fails: &Arc<AtomicBool>) -> Arc<HookBackend> {
    let fails = Arc::clone(fails);
    let backend = HookBackend::new(MapBackend::new(), move |call| match call {
        BackendCall::GetNow(_) | BackendCall::Peek(_) => BackendAction::Miss,
        BackendCall::Remove(key) if key != KEY && fails.load(Ordering::Relaxed) => {
            BackendAction::Fail(Error::new(ErrorKind::Backend, "it is read-only"))
        }
        _ => BackendAction::Proceed,
    });
    Arc::new(backend.map_entry(|entry| {
        Entry::builder(&Key::parse(entry.key()).unwrap(), entry.body().clone())
            .version(entry.version())
            .storability(entry.storability())
            .namespace(entry.namespace())
            .build()
    }))
}

#[tokio::test]
async fn requests_stay_conditional_after_everything_that_voids_many_entries() {
    let fails = Arc::new(AtomicBool::new(false));
    let backend = persistent(&fails);
    let rig = Rig::over(Arc::clone(&backend));
    let e_tag = Some(rig.origin.inner().write(KEY, "one"));
    rig.check(FOREVER, "one", Status::Fetched).await;
    let mut sent = vec![None];
    for voids in ["clear", "prefix", "the whole by its prefix", "failed removes"] {
        match voids {
            "clear" => {
                rig.cache.clear().await.unwrap();
                rig.check(FOREVER, "one", Status::Fetched).await;
                sent.push(None);
            }
            "prefix" => rig.cache.invalidate_prefix("a/").unwrap(),
            "failed removes" => {
                fails.store(true, Ordering::Relaxed);
                for n in 0..2_000 {
                    rig.cache.invalidate(&n.to_string()).await.unwrap();
                }
            }
            _ => rig.cache.invalidate_prefix("").unwrap(),
        }
        // It has no stamp, so it is asked about in every mode, and again and again.
        for _ in 0..2 {
            rig.check(FOREVER, "one", Status::Revalidated).await;
            sent.push(e_tag.clone());
        }
    }
    assert_eq!(rig.e_tags_sent(), sent);
}

/// The other half of the reason why no floor has to void it.
#[tokio::test]
async fn what_an_earlier_process_stored_covers_no_outage() {
    let name = Namespace::named("the bucket, as reader");
    let backend = persistent(&Arc::default());
    let first = Rig::with(Arc::clone(&backend), |builder| builder.namespace(name));
    first.origin.inner().write(KEY, "one");
    first.check(FOREVER, "one", Status::Fetched).await;
    let second = Rig::with(backend, |builder| builder.namespace(name));
    second.origin.fault(OriginFault::error(ErrorKind::Unavailable));
    let covered =
        Freshness::max_age(secs(10)).stale_while_revalidate(secs(100)).stale_if_error(secs(100));
    assert_eq!(second.get(covered).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

/// The hard floors: what this process has stamped is void by epoch, in every mode and also for an
/// outage.
#[tokio::test]
async fn what_is_void_by_epoch_covers_no_outage() {
    for voids in ["prefix", "key"] {
        let rig = Rig::new();
        rig.origin.inner().write(KEY, "one");
        rig.check(FOREVER, "one", Status::Fetched).await;
        match voids {
            "prefix" => rig.cache.invalidate_prefix("a/").unwrap(),
            // Its task never runs.
            _ => assert!(poll_once(Box::pin(rig.cache.invalidate(KEY)).as_mut()).is_pending()),
        }
        rig.origin.fault(OriginFault::error(ErrorKind::Unavailable));
        let covered = STRONG.stale_if_error(secs(100));
        assert_eq!(rig.get(covered).await.unwrap_err().kind(), ErrorKind::Unavailable, "{voids}");
    }
}

/// I-7 holds by a floor for each of their keys, however many there are.
#[tokio::test]
async fn callers_that_go_away_void_their_own_keys_and_no_others() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(FOREVER, "one", Status::Fetched).await;
    for n in 0..500 {
        let key = format!("dropped/{}/{n}", n % 10);
        rig.origin.inner().write(&key, "old");
        rig.cache.get(&key, Some(&FOREVER)).await.unwrap();
        // Dropped before its task has removed anything.
        assert!(poll_once(Box::pin(rig.cache.invalidate(&key)).as_mut()).is_pending());
        rig.origin.inner().write(&key, "new");
        let served = rig.cache.get(&key, Some(&FOREVER)).await.unwrap();
        assert_eq!(crate::rig::text(&served), "new");
    }
    rig.check(FOREVER, "one", Status::Fresh).await;
    rig.at_rest(1002).await;
}

/// Those that a wider floor covers do not count.
#[tokio::test]
async fn prefixes_that_are_invalidated_again_and_again_leave_the_rest_alone() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(FOREVER, "one", Status::Fetched).await;
    for round in 0..100 {
        for n in 0..50 {
            rig.cache.invalidate_prefix(&format!("tables/{round}/{n}/")).unwrap();
        }
        rig.cache.invalidate_prefix(&format!("tables/{round}/")).unwrap();
        rig.cache.invalidate_prefix("tables/").unwrap();
    }
    for n in 0..1_000 {
        rig.cache.invalidate_prefix(&format!("logs/{n}/")).unwrap();
    }
    rig.check(FOREVER, "one", Status::Fresh).await;
    assert_eq!(rig.origin.count(), 1);
}
