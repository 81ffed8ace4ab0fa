use std::error::Error as _;

use cache_core::Freshness;
use cache_core::Status;
use cache_store::{Bypass, NotCached, OnlyIfCached};
use object_store::{
    Extensions, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, Result,
};

use super::{
    HOUR, asked, body, builder, cached, lasting, part, read, read_all, status, with_object,
};
use crate::{path, write};

async fn get_with(
    cached: &cache_store::CachedStore,
    range: Option<GetRange>,
    edit: impl FnOnce(&mut Extensions),
) -> Result<GetResult> {
    let mut options = GetOptions { range, ..GetOptions::new() };
    edit(&mut options.extensions);
    cached.get_opts(&path(), options).await
}

#[tokio::test]
async fn a_single_read_may_have_its_own_freshness() {
    let store = with_object(17).await;
    let (strong, lasting) = (cached(&store), lasting(&store));
    for cached in [&strong, &lasting] {
        read_all(cached).await;
    }
    store.reset();
    let fresh = |extensions: &mut Extensions| {
        extensions.insert(Freshness::max_age(HOUR));
    };
    let answer = get_with(&strong, None, fresh).await.unwrap();
    assert_eq!(status(&answer).status(), Status::Fresh);
    assert_eq!((answer.bytes().await.unwrap(), store.count()), (body(17), 0));

    let ask = |extensions: &mut Extensions| {
        extensions.insert(Freshness::strong());
    };
    let answer = get_with(&lasting, None, ask).await.unwrap();
    assert_eq!(status(&answer).status(), Status::Revalidated);
    assert_eq!(
        (answer.bytes().await.unwrap(), store.count(), store.body_bytes()),
        (body(17), 1, 0)
    );

    let wrong = |extensions: &mut Extensions| {
        extensions.insert(Freshness::strong().stale_while_revalidate(HOUR));
    };
    assert!(matches!(
        get_with(&strong, None, wrong).await,
        Err(object_store::Error::Generic { .. })
    ));
}

#[tokio::test]
async fn only_what_is_held_and_fresh_is_served_if_that_is_asked_for() {
    let store = with_object(17).await;
    let cached = lasting(&store);
    let only = |extensions: &mut Extensions| {
        extensions.insert(OnlyIfCached);
    };
    let not_cached = |result: Result<GetResult>| {
        let error = result.unwrap_err();
        assert!(matches!(error, object_store::Error::Generic { .. }), "{error}");
        assert!(error.source().is_some_and(|source| source.is::<NotCached>()));
    };
    not_cached(get_with(&cached, None, only).await);
    read(&cached, 3..12).await;
    store.reset();
    for range in [None, Some((3..16).into()), Some(GetRange::Suffix(1)), Some(GetRange::Suffix(0))]
    {
        not_cached(get_with(&cached, range, only).await);
    }
    let answer = get_with(&cached, Some((1..15).into()), only).await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), part(1..15));
    let strong = |extensions: &mut Extensions| {
        extensions.insert(OnlyIfCached);
        extensions.insert(Freshness::strong());
    };
    not_cached(get_with(&cached, Some((1..15).into()), strong).await);
    let extensions = || {
        let mut extensions = Extensions::new();
        only(&mut extensions);
        extensions
    };
    let held = GetOptions::new().with_range(Some(1..15)).with_extensions(extensions());
    let other = Some("\"x\"");
    let answer = cached.get_opts(&path(), held.clone().with_if_none_match(other)).await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), part(1..15));
    let tag = store.inner().head(&path()).await.unwrap().e_tag;
    let answer = cached.get_opts(&path(), held.clone().with_if_none_match(tag)).await;
    assert!(matches!(answer, Err(object_store::Error::NotModified { .. })));
    // There may be a version with that tag.
    not_cached(cached.get_opts(&path(), held.with_if_match(other)).await);
    let head = GetOptions::new().with_head(true).with_extensions(extensions());
    assert_eq!(cached.get_opts(&path(), head).await.unwrap().meta.size, 17);
    assert_eq!(store.count(), 0);
}

#[tokio::test]
async fn the_store_answers_if_that_is_asked_for() {
    let store = with_object(17).await;
    let cached = lasting(&store);
    read_all(&cached).await;
    store.reset();
    let bypass = |extensions: &mut Extensions| {
        extensions.insert(Bypass);
    };
    let answer = get_with(&cached, Some((3..12).into()), bypass).await.unwrap();
    let status = status(&answer);
    assert_eq!((status.status(), status.age().as_nanos()), (Status::Bypass, 0));
    assert_eq!(answer.bytes().await.unwrap(), part(3..12));
    assert_eq!(asked(&store), [(Some((3..12).into()), false)]);
    assert_eq!(cached.stats().passed_through, 1);
}

#[tokio::test]
async fn what_went_by_shows_that_the_object_has_changed() {
    let store = with_object(17).await;
    let cached = lasting(&store);
    read_all(&cached).await;
    write(&store, "new").await;
    let bypass = |extensions: &mut Extensions| {
        extensions.insert(Bypass);
    };
    assert_eq!(get_with(&cached, None, bypass).await.unwrap().bytes().await.unwrap(), "new");
    // A later read is never of an older version.
    assert_eq!(read_all(&cached).await, "new");
}

#[tokio::test]
async fn freshness_goes_by_the_prefix_of_the_path() {
    let store = with_object(17).await;
    let cached = builder(&store).freshness_for("a/", Freshness::max_age(HOUR)).build().unwrap();
    let other = object_store::path::Path::from("b/a");
    use object_store::ObjectStoreExt;
    store.inner().put(&other, body(17).into()).await.unwrap();
    for _ in 0..2 {
        read_all(&cached).await;
        cached.get(&other).await.unwrap().bytes().await.unwrap();
    }
    assert_eq!(store.requests().iter().filter(|request| request.location == other).count(), 2);
    assert_eq!(store.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stale_head_is_served_and_asked_about_behind() {
    use cache_testkit::TokioClock;
    let store = with_object(17).await;
    let clock = std::sync::Arc::new(TokioClock::new());
    let rule = Freshness::max_age(HOUR).stale_while_revalidate(HOUR);
    let cached = builder(&store).time_to_live(None).freshness(rule).clock(clock).build().unwrap();
    read_all(&cached).await;
    tokio::time::advance(HOUR + HOUR / 2).await;
    store.reset();
    let answer = cached.get_opts(&path(), GetOptions::new()).await.unwrap();
    assert_eq!(status(&answer).status(), Status::Stale);
    assert!(status(&answer).age() > HOUR);
    assert_eq!(answer.bytes().await.unwrap(), body(17));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!((store.count(), store.body_bytes()), (1, 0));
    let answer = cached.get_opts(&path(), GetOptions::new()).await.unwrap();
    assert_eq!((status(&answer).status(), store.count()), (Status::Fresh, 1));
}

#[tokio::test]
async fn an_outage_is_covered_where_the_blocks_are_held() {
    use cache_testkit::{Failure, Fault};
    let store = with_object(17).await;
    let rule = Freshness::strong().stale_if_error(HOUR);
    let cached = builder(&store).freshness(rule).build().unwrap();
    read(&cached, 0..10).await;
    store.fault(Fault::error(Failure::Unavailable));
    let answer = cached.get_opts(&path(), GetOptions::new().with_range(Some(3..8))).await.unwrap();
    assert_eq!(status(&answer).status(), Status::Stale);
    assert_eq!(answer.bytes().await.unwrap(), part(3..8));
    let missing = cached.get_opts(&path(), GetOptions::new().with_range(Some(3..12))).await;
    assert!(matches!(missing, Err(object_store::Error::Generic { .. })));
}
