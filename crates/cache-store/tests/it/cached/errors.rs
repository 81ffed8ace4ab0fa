//! What errors of a cached store say.

use std::{error::Error as _, iter, time::Duration};

use cache_core::{Error, Freshness};
use cache_testkit::{BodyFault, Failure, Fault};
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, path::Path};

use super::{HOUR, builder, cached, with_object};
use crate::path;

/// Every cause of `error` that names a key names `path`, and one does.
#[track_caller]
fn check(error: &object_store::Error, path: &Path) {
    let causes = iter::successors(error.source(), |error| (*error).source());
    let keys: Vec<_> = causes.filter_map(|cause| cause.downcast_ref::<Error>()?.key()).collect();
    assert!(!keys.is_empty() && keys.iter().all(|key| *key == path.as_ref()), "{error}: {keys:?}");
}

#[tokio::test]
async fn an_error_names_the_objects_path() {
    for failure in [
        Failure::NotFound,
        Failure::PermissionDenied,
        Failure::Unauthenticated,
        Failure::Precondition,
        Failure::NotSupported,
        Failure::Unavailable,
        Failure::Other,
    ] {
        let store = with_object(20).await;
        let cached = cached(&store);
        store.fault(Fault::error(failure));
        check(&cached.get(&path()).await.unwrap_err(), &path());
        check(&cached.head(&path()).await.unwrap_err(), &path());
    }
}

/// Objects may be called like inner keys.
#[tokio::test]
async fn a_path_like_an_inner_key_is_named_whole() {
    let cached = cached(&with_object(20).await);
    for path in ["h/h", "h/h/h", "h", "h/a"].map(Path::from) {
        check(&cached.get(&path).await.unwrap_err(), &path);
    }
}

#[tokio::test]
async fn a_failing_body_names_the_objects_path() {
    let store = with_object(20).await;
    let cached = cached(&store);
    for fault in [BodyFault::Fails(7), BodyFault::Truncated(7)] {
        cached.clear().await.unwrap();
        store.fault(Fault::body(fault));
        check(&cached.get(&path()).await.unwrap().bytes().await.unwrap_err(), &path());
        store.heal();
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_names_the_objects_path() {
    let store = with_object(20).await;
    let cached = builder(&store).origin_timeout(Duration::from_secs(1)).build().unwrap();
    store.fault(Fault::hold());
    check(&cached.get(&path()).await.unwrap_err(), &path());
}

#[tokio::test]
async fn an_absence_that_is_known_names_the_objects_path() {
    let store = with_object(20).await;
    let cached = builder(&store).freshness(Freshness::max_age(HOUR)).build().unwrap();
    for _ in 0..2 {
        check(&cached.get(&Path::from("none")).await.unwrap_err(), &Path::from("none"));
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_cached_is_named_as_it_is() {
    let cached = cached(&with_object(20).await);
    let long = Path::from("a".repeat(5000));
    let error = cached.invalidate(&long).await.unwrap_err();
    assert!(error.key().is_some_and(|key| key.starts_with('a')), "{:?}", error.key());
    let options = GetOptions::new();
    assert!(cached.get_opts(&long, options).await.is_err());
}
