//! `verify_store`: what the probe costs, who pays for it, and what it needs the right for.

use std::{collections::HashSet, error::Error as _, sync::Arc, time::Duration};

use cache_core::{Error, ErrorKind, Origin as _, PutCondition, Validation, Validator as _};
use cache_store::EtagValidator;
use cache_testkit::{Failure, Fault, FaultyStore, ManualClock, Operation};
use futures_util::{StreamExt as _, future::join_all};
use object_store::{ObjectStore as _, PutMode, memory::InMemory, path::Path};

use crate::{
    builder,
    errors::now,
    fetch, is_unchanged, key,
    probe::{Broken, BrokenStore},
    write,
};

fn verified(fault: Option<Broken>) -> (FaultyStore, EtagValidator) {
    let store = match fault {
        Some(fault) => FaultyStore::new(Arc::new(BrokenStore { inner: InMemory::new(), fault })),
        None => FaultyStore::in_memory(),
    };
    let origin = builder(&store).verify_store(true).build().unwrap();
    (store, origin)
}

/// A store with the object, and an origin that verifies it by a clock that stands still.
async fn with_object() -> (FaultyStore, EtagValidator, Arc<ManualClock>) {
    let store = FaultyStore::in_memory();
    write(&store, "one").await;
    let clock = Arc::new(ManualClock::new());
    let origin = builder(&store).verify_store(true).clock(clock.clone()).build().unwrap();
    (store, origin, clock)
}

async fn error_of(origin: &EtagValidator) -> Error {
    origin.validate(&key(), None).await.unwrap_err()
}

/// How many requests there were for objects of the probe.
fn n_of_probe(store: &FaultyStore) -> usize {
    store.requests().iter().filter(|request| is_of_probe(&request.location)).count()
}

fn n_puts(store: &FaultyStore) -> usize {
    store.requests().iter().filter(|request| request.operation == Operation::Put).count()
}

fn is_of_probe(path: &Path) -> bool {
    path.prefix_matches(&Path::from("object-cache-probe"))
}

async fn n_left(store: &FaultyStore) -> usize {
    store.inner().list(Some(&Path::from("object-cache-probe"))).count().await
}

const FORBIDDEN: Failure = Failure::PermissionDenied;

#[tokio::test]
async fn a_verified_store_is_probed_once_and_used() {
    let (store, origin, _) = with_object().await;
    let entry = fetch(&origin, None).await;
    let n_reads = n_of_probe(&store);
    assert!(n_reads > 20);
    assert!(is_unchanged(&origin, &entry).await);
    assert_eq!((n_of_probe(&store), store.count()), (n_reads, n_reads + 2));

    // What reads do not rely on is probed when somebody relies on it.
    let key = key();
    let put = |condition| origin.put(&key, "two".into(), condition);
    put(PutCondition::Always).await.unwrap();
    assert_eq!(n_of_probe(&store), n_reads);
    let version = fetch(&origin, None).await.version();
    put(PutCondition::Matches(version)).await.unwrap();
    let n_updates = n_of_probe(&store) - n_reads;
    assert!(n_updates > 20);
    let version = fetch(&origin, None).await.version();
    put(PutCondition::Matches(version)).await.unwrap();
    assert_eq!(n_of_probe(&store), n_reads + n_updates);
    assert_eq!(put(PutCondition::Absent).await.unwrap_err().kind(), ErrorKind::PreconditionFailed);
    let n_all = n_of_probe(&store);
    assert!(n_all > n_reads + n_updates + 20);
    put(PutCondition::Absent).await.unwrap_err();
    assert_eq!((n_of_probe(&store), n_left(&store).await), (n_all, 0));
}

#[tokio::test]
async fn a_verified_store_that_is_broken_is_refused_for_what_it_breaks() {
    let (_, origin) = verified(Some(Broken::IgnoresPutConditions));
    let refused = origin.put(&key(), "one".into(), PutCondition::Absent).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("does not honor a put on condition"), "{refused}");
    origin.put(&key(), "one".into(), PutCondition::Always).await.unwrap();
    let version = fetch(&origin, None).await.version();
    let refused =
        origin.put(&key(), "one".into(), PutCondition::Matches(version)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);

    let (_, origin) = verified(Some(Broken::ConfirmsEverything));
    origin.put(&key(), "one".into(), PutCondition::Absent).await.unwrap();
    let refused = error_of(&origin).await;
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("not modified"), "{refused}");
    assert_eq!(refused.key(), Some("object-cache-probe"), "it is not about one object");
}

/// The conditions of a range and of puts are nothing that a read relies on.
#[tokio::test]
async fn reads_need_no_more_than_they_rely_on() {
    let (store, origin, _) = with_object().await;
    store.fault(Fault::error(Failure::Unavailable).when(|request| request.if_match.is_some()));
    store.fault(Fault::error(FORBIDDEN).on(Operation::Delete));
    store.fault(Fault::error(FORBIDDEN).when(|request| {
        request.operation == Operation::Put && !matches!(request.put_mode, Some(PutMode::Overwrite))
    }));
    for _ in 0..3 {
        fetch(&origin, None).await;
    }
    assert_eq!(store.count(), n_of_probe(&store) + 3);
}

#[tokio::test]
async fn readers_who_come_together_share_one_probe() {
    let (store, origin, _) = with_object().await;
    store.fault(Fault::hold().on(Operation::Put).once());
    let release = async {
        store.wait_until_held(1).await;
        store.release_all();
    };
    let key = key();
    let reads = join_all((0..20).map(|_| origin.validate(&key, None)));
    let (answers, ()) = futures_util::join!(reads, release);
    assert!(answers.into_iter().all(|answer| matches!(answer, Ok(Validation::Modified(_)))));
    let (other, alone, _) = with_object().await;
    fetch(&alone, None).await;
    assert_eq!(n_of_probe(&store), n_of_probe(&other));
    assert_eq!(store.count(), n_of_probe(&store) + 20);
}

#[tokio::test]
async fn a_credential_that_may_not_delete_reads_and_leaves_one_object() {
    let (store, origin, clock) = with_object().await;
    store.fault(Fault::error(FORBIDDEN).on(Operation::Delete));
    let entry = fetch(&origin, None).await;
    let n_reads = n_of_probe(&store);
    for _ in 0..20 {
        assert!(is_unchanged(&origin, &entry).await);
        clock.advance(Duration::from_secs(3600));
    }
    assert_eq!((n_of_probe(&store), n_left(&store).await), (n_reads, 1));

    // It can write under conditions too, once it is known that the store keeps them.
    origin.put(&key(), "two".into(), PutCondition::Matches(entry.version())).await.unwrap();
    assert_eq!(
        origin.put(&key(), "x".into(), PutCondition::Absent).await.unwrap_err().kind(),
        LOST
    );
    assert_eq!(n_left(&store).await, 4);
    assert_eq!(
        origin.put(&key(), "x".into(), PutCondition::Absent).await.unwrap_err().kind(),
        LOST
    );
    assert_eq!(n_left(&store).await, 4);
}

const LOST: ErrorKind = ErrorKind::PreconditionFailed;

#[tokio::test]
async fn a_credential_that_may_not_put_is_told_which_right_is_missing_and_where() {
    for may_delete in [true, false] {
        let (store, origin, clock) = with_object().await;
        store.fault(Fault::error(FORBIDDEN).on(Operation::Put));
        if !may_delete {
            store.fault(Fault::error(FORBIDDEN).on(Operation::Delete));
        }
        for _ in 0..20 {
            let error = error_of(&origin).await;
            assert_eq!(error.kind(), ErrorKind::Config);
            let path = store.requests()[0].location.clone();
            assert!(is_of_probe(&path));
            assert_eq!(error.key(), Some(path.as_ref()), "not the reader's");
            let text = error.to_string();
            assert!(text.contains("not verified") && text.contains("no right to put"), "{text}");
            assert!(error.source().is_some_and(|source| source.source().is_some()), "{error:?}");
        }
        assert_eq!((store.count(), n_left(&store).await), (1, 0));

        // Rights that are granted are noticed.
        store.heal();
        clock.advance(Duration::from_secs(1));
        fetch(&origin, None).await;
    }
}

#[tokio::test]
async fn a_probe_that_failed_is_made_again_after_a_pause_that_doubles() {
    let (store, origin, clock) = with_object().await;
    store.fault(Fault::error(Failure::Unavailable).on(Operation::Put));
    let just_before = |pause: u64| Duration::from_secs(pause) - Duration::from_nanos(1);
    let mut n_probes = 0;
    for pause in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        assert_eq!(error_of(&origin).await.kind(), ErrorKind::Unavailable);
        n_probes += 1;
        let n = n_puts(&store);
        assert_eq!(n, n_probes, "before the pause of {pause} s");
        clock.advance(just_before(pause));
        assert!(error_of(&origin).await.to_string().contains(&format!("{pause}s")));
        assert_eq!(n_puts(&store), n, "within the pause of {pause} s");
        clock.advance(Duration::from_nanos(1));
    }
    store.heal();
    fetch(&origin, None).await;
    assert_eq!(n_left(&store).await, 0);
    // All were for the same object.
    let locations = store.requests().into_iter().map(|request| request.location);
    let paths: HashSet<_> = locations.filter(is_of_probe).collect();
    assert_eq!(paths.len(), 1);
}

/// Their pauses are their own.
#[tokio::test]
async fn puts_that_cannot_be_verified_do_not_stop_reads() {
    let (store, origin, _) = with_object().await;
    let entry = fetch(&origin, None).await;
    let n_before = n_puts(&store);
    store.fault(Fault::error(FORBIDDEN).on(Operation::Put));
    for condition in [PutCondition::Absent, PutCondition::Matches(entry.version())] {
        for _ in 0..5 {
            let error = origin.put(&key(), "x".into(), condition.clone()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
    }
    assert_eq!(n_puts(&store), n_before + 2, "one probe for each kind of put");
    assert!(is_unchanged(&origin, &entry).await);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_not_probed_by_each_reader() {
    let store = FaultyStore::in_memory();
    let clock = Arc::new(ManualClock::new());
    let limit = Duration::from_secs(7);
    let origin =
        builder(&store).verify_store(true).origin_timeout(limit).clock(clock).build().unwrap();
    store.fault(Fault::hang());
    let begin = now();
    let errors = join_all((0..5).map(|_| error_of(&origin))).await;
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Timeout), "{errors:?}");
    // The put, and what is allowed for the clean-up.
    assert_eq!(now() - begin, limit + Duration::from_secs(5));
    assert_eq!(error_of(&origin).await.kind(), ErrorKind::Timeout);
    let operations: Vec<_> = store.requests().iter().map(|request| request.operation).collect();
    assert_eq!(operations, [Operation::Put, Operation::Delete]);
}

/// Whose caller went away, say. What it wrote is removed by the next.
#[tokio::test]
async fn a_probe_that_is_dropped_is_taken_over() {
    let (store, origin, _) = with_object().await;
    store.fault(Fault::hold().on(Operation::Get).once());
    let key = key();
    {
        let mut first = Box::pin(origin.validate(&key, None));
        futures_util::future::poll_immediate(&mut first).await;
        store.wait_until_held(1).await;
    }
    store.release_all();
    assert_eq!(n_left(&store).await, 1);
    fetch(&origin, None).await;
    assert_eq!(n_left(&store).await, 0);
}
