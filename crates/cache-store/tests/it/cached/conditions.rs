use std::sync::Arc;

use cache_core::Status;
use cache_store::{AnsweredFromCache, CachedStore};
use cache_testkit::{Failure, Fault, FaultyStore, S3Server, TagFault};
use object_store::{GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, Result};

use super::{HOUR, asked, bounded, builder, cached, get, lasting, read, read_all, with_object};
use crate::{local_disk, path, write};

/// What a caller sees of an answer: its range and bytes, or the kind of the error.
async fn seen(answer: Result<GetResult>) -> Result<(std::ops::Range<u64>, bytes::Bytes), Failure> {
    match answer {
        Ok(answer) => Ok((answer.range.clone(), answer.bytes().await.unwrap())),
        Err(error) => Err(Failure::of(&error)),
    }
}

fn all_ranges() -> Vec<Option<GetRange>> {
    let mut ranges = vec![None];
    for from in [0, 1, 4, 5, 9, 16, 17, 18, 1000, u64::MAX] {
        for to in [0, 1, 5, 9, 10, 16, 17, 18, 1000, u64::MAX] {
            ranges.push(bounded(from..to));
        }
        ranges.extend([Some(GetRange::Offset(from)), Some(GetRange::Suffix(from))]);
    }
    ranges
}

async fn every_range_is_answered_as_by(store: &FaultyStore, len: usize) {
    write(store, super::body(len)).await;
    for range in all_ranges() {
        let options = GetOptions { range: range.clone(), ..GetOptions::new() };
        let bare = seen(store.inner().get_opts(&path(), options.clone()).await).await;
        let (strong, lasting) = (cached(store), lasting(store));
        for cached in [&strong, &strong, &lasting, &lasting] {
            let ours = seen(cached.get_opts(&path(), options.clone()).await).await;
            assert_eq!(ours, bare, "{range:?} of {len} bytes");
        }
        read_all(&strong).await;
        let ours = seen(strong.get_opts(&path(), options.clone()).await).await;
        assert_eq!(ours, bare, "{range:?} of {len} bytes, all of which are held");

        // Given one that ends before it begins, or with others one that begins behind the end, the
        // S3 client panics.
        let Some(GetRange::Bounded(range)) = range.filter(|range| range.is_valid().is_ok()) else {
            continue;
        };
        let mut several = vec![vec![range.clone()]];
        if range.start < len as u64 {
            several.extend([vec![0..1, range.clone()], vec![range.clone(), 2..4]]);
        }
        for ranges in several {
            let kind = |error| Failure::of(&error);
            let bare = store.inner().get_ranges(&path(), &ranges).await.map_err(kind);
            for cached in [&strong, &lasting] {
                let ours = cached.get_ranges(&path(), &ranges).await.map_err(kind);
                assert_eq!(ours, bare, "{ranges:?} of {len} bytes");
            }
        }
    }
}

#[tokio::test]
async fn every_range_is_answered_as_by_a_store_in_memory() {
    for len in [0, 1, 5, 17, 20] {
        every_range_is_answered_as_by(&FaultyStore::in_memory(), len).await;
    }
}

#[tokio::test]
async fn every_range_is_answered_as_by_local_disk() {
    for len in [0, 17] {
        every_range_is_answered_as_by(&local_disk().1, len).await;
    }
}

#[tokio::test]
async fn every_range_is_answered_as_over_s3() {
    let server = S3Server::start().unwrap();
    let store = FaultyStore::new(Arc::new(server.client()));
    for len in [0, 17] {
        every_range_is_answered_as_by(&store, len).await;
    }
}

#[tokio::test]
async fn a_range_that_is_not_there_does_not_hurt_those_who_ask_at_the_same_time() {
    let store = with_object(17).await;
    let cached = lasting(&store);
    store.fault(Fault::hold().once());
    let (beyond, within) = tokio::join!(
        async { cached.get_opts(&path(), GetOptions::new().with_range(Some(100..200))).await },
        async {
            store.wait_until_held(1).await;
            let read = read(&cached, 3..8);
            tokio::pin!(read);
            assert!(futures_util::poll!(read.as_mut()).is_pending());
            store.release_all();
            read.await
        },
    );
    assert!(matches!(beyond, Err(object_store::Error::Generic { .. })));
    assert_eq!(within, super::part(3..8));
}

#[tokio::test]
async fn conditions_are_answered_as_by_the_store() {
    let store = with_object(17).await;
    let meta = store.inner().head(&path()).await.unwrap();
    let tag = meta.e_tag.unwrap();
    let (before, after) = (meta.last_modified - HOUR, meta.last_modified + HOUR);
    let list = format!("\"x\", {tag}");
    let new = GetOptions::new;
    let conditions = [
        new().with_if_match(Some(&tag)),
        new().with_if_match(Some("*")),
        new().with_if_match(Some(&list)),
        new().with_if_match(Some("\"x\"")),
        new().with_if_match(Some("")),
        new().with_if_none_match(Some(&tag)),
        new().with_if_none_match(Some("*")),
        new().with_if_none_match(Some("\"x\"")),
        new().with_if_modified_since(Some(before)),
        new().with_if_modified_since(Some(after)),
        new().with_if_unmodified_since(Some(before)),
        new().with_if_unmodified_since(Some(after)),
        new().with_if_match(Some(&tag)).with_if_none_match(Some(&tag)),
        new().with_if_match(Some(&tag)).with_if_unmodified_since(Some(before)),
        new().with_if_match(Some("\"x\"")).with_if_none_match(Some("\"x\"")),
    ];
    let (strong, lasting) = (cached(&store), lasting(&store));
    for condition in conditions {
        for range in [None, bounded(3..12), Some(GetRange::Suffix(2)), bounded(20..30)] {
            for head in [false, true] {
                let options = GetOptions { range: range.clone(), head, ..condition.clone() };
                let bare = seen(store.inner().get_opts(&path(), options.clone()).await).await;
                for cached in [&strong, &lasting] {
                    let ours = cached.get_opts(&path(), options.clone()).await;
                    if head
                        && range.is_none()
                        && let (Ok(ours), Ok((range, _))) = (&ours, &bare)
                    {
                        // The store in memory gives the body all the same.
                        assert_eq!((&ours.range, &ours.meta.e_tag), (range, &Some(tag.clone())));
                        continue;
                    }
                    assert_eq!(seen(ours).await, bare, "{options:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn if_match_is_answered_from_a_head_that_is_fresh_enough() {
    let store = with_object(17).await;
    let tag = store.inner().head(&path()).await.unwrap().e_tag;
    let with = |tag: Option<String>| GetOptions::new().with_if_match(tag);
    let (strong, lasting) = (cached(&store), lasting(&store));
    for cached in [&strong, &lasting] {
        read_all(cached).await;
    }
    store.reset();
    lasting.get_opts(&path(), with(tag.clone())).await.unwrap();
    lasting.get_opts(&path(), with(Some("*".into()))).await.unwrap();
    assert_eq!(store.count(), 0);
    strong.get_opts(&path(), with(tag.clone())).await.unwrap();
    assert_eq!((store.count(), store.body_bytes()), (1, 0));
    store.reset();
    // Another tag may be that of a version which is not known here yet.
    write(&store, "new").await;
    let new = store.inner().head(&path()).await.unwrap().e_tag;
    let answer = lasting.get_opts(&path(), with(new)).await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), "new");
    let old = strong.get_opts(&path(), with(tag)).await;
    assert!(matches!(old, Err(object_store::Error::Precondition { .. })));
}

/// A gateway's readers, who have the object themselves.
#[tokio::test]
async fn a_condition_is_judged_by_a_head_that_is_fresh_enough() {
    let store = with_object(17).await;
    let meta = store.inner().head(&path()).await.unwrap();
    let (tag, date) = (meta.e_tag.unwrap(), meta.last_modified);
    let new = GetOptions::new;
    let not_modified = [
        new().with_if_none_match(Some(&tag)),
        new().with_if_none_match(Some(format!("\"x\", W/{tag}"))),
        new().with_if_none_match(Some("*")),
        new().with_if_modified_since(Some(date)),
        new().with_if_match(Some(&tag)).with_if_none_match(Some(&tag)),
    ];
    let held = [
        new().with_if_none_match(Some("\"x\"")),
        new().with_if_modified_since(Some(date - HOUR)),
        new().with_if_match(Some(format!("\"x\", {tag}"))),
        new().with_if_match(Some("*")),
        new().with_if_unmodified_since(Some(date)),
    ];
    let failed = [
        new().with_if_unmodified_since(Some(date - HOUR)),
        new().with_if_match(Some(format!("W/{tag}"))),
        new().with_if_match(Some("\"x\"")).with_if_none_match(Some(&tag)),
    ];
    let (strong, lasting) = (cached(&store), lasting(&store));
    for (cached, requests) in [(&strong, 1), (&lasting, 0)] {
        read_all(cached).await;
        for head in [false, true] {
            for options in &not_modified {
                store.reset();
                let answer = cached.get_opts(&path(), options.clone().with_head(head)).await;
                assert!(
                    matches!(answer, Err(object_store::Error::NotModified { .. })),
                    "{options:?}"
                );
                assert_eq!((store.count(), store.body_bytes()), (requests, 0), "{options:?}");
            }
            for options in &held {
                store.reset();
                let answer =
                    cached.get_opts(&path(), options.clone().with_head(head)).await.unwrap();
                if !head {
                    assert_eq!(answer.bytes().await.unwrap(), super::body(17));
                }
                assert_eq!((store.count(), store.body_bytes()), (requests, 0), "{options:?}");
            }
            for options in &failed {
                store.reset();
                let answer = cached.get_opts(&path(), options.clone().with_head(head)).await;
                assert!(
                    matches!(answer, Err(object_store::Error::Precondition { .. })),
                    "{options:?}"
                );
                assert_eq!(store.body_bytes(), 0);
                // A tag that is not known here may be that of a later version.
                assert!(store.count() <= 1, "{options:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_error_says_that_the_cache_compared_the_conditions_and_by_which_version() {
    let store = with_object(17).await;
    let meta = store.inner().head(&path()).await.unwrap();
    let by = async |cached: &CachedStore, options: &GetOptions| {
        let error = cached.get_opts(&path(), options.clone()).await.unwrap_err();
        let source = std::error::Error::source(&error)?;
        Some(source.downcast_ref::<AnsweredFromCache>()?.status())
    };
    let not_modified = GetOptions::new().with_if_none_match(meta.e_tag);
    let failed = GetOptions::new().with_if_unmodified_since(Some(meta.last_modified - HOUR));
    for (cached, outcome) in
        [(cached(&store), Status::Revalidated), (lasting(&store), Status::Fresh)]
    {
        assert_eq!(by(&cached, &not_modified).await, None, "the store answers");
        read_all(&cached).await;
        for options in [&not_modified, &failed] {
            assert_eq!(by(&cached, options).await, Some(outcome), "{options:?}");
        }
    }
}

/// Nothing is cached: the caller's condition goes to the store, and what comes is kept.
#[tokio::test]
async fn a_conditional_read_is_the_validation_itself() {
    let store = with_object(17).await;
    let tag = store.inner().head(&path()).await.unwrap().e_tag;
    let with = |tag: Option<&str>| GetOptions::new().with_if_none_match(tag);
    for cached in [cached(&store), lasting(&store)] {
        store.reset();
        let answer = cached.get_opts(&path(), with(tag.as_deref())).await;
        assert!(matches!(answer, Err(object_store::Error::NotModified { .. })));
        assert_eq!((store.count(), store.body_bytes()), (1, 0));
        store.reset();
        let answer = cached.get_opts(&path(), with(Some("\"old\""))).await.unwrap();
        assert_eq!(answer.bytes().await.unwrap(), super::body(17));
        assert_eq!((store.count(), store.body_bytes()), (1, 17));
        store.reset();
        // Both the head and the body were kept.
        assert_eq!(read_all(&cached).await, super::body(17));
        assert!(store.count() <= 1 && store.body_bytes() == 0);
    }
}

#[tokio::test]
async fn a_conditional_read_sees_a_new_version() {
    let store = with_object(17).await;
    let old = store.inner().head(&path()).await.unwrap().e_tag;
    let strong = cached(&store);
    read_all(&strong).await;
    write(&store, "new").await;
    let new = store.inner().head(&path()).await.unwrap().e_tag;
    store.reset();
    let answer = strong.get_opts(&path(), GetOptions::new().with_if_none_match(new)).await;
    assert!(matches!(answer, Err(object_store::Error::NotModified { .. })));
    assert_eq!((store.count(), store.body_bytes()), (1, 0));
    let answer = strong.get_opts(&path(), GetOptions::new().with_if_none_match(old)).await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), "new");
}

/// They share a request, and it is refused for what one of them wants: I-43.
#[tokio::test]
async fn a_condition_of_one_reader_is_not_the_answer_to_another() {
    let store = with_object(17).await;
    let tag = store.inner().head(&path()).await.unwrap().e_tag;
    let cached = lasting(&store);
    store.fault(Fault::hold().once());
    let conditional = tokio::spawn({
        let cached = cached.clone();
        async move { cached.get_opts(&path(), GetOptions::new().with_if_none_match(tag)).await }
    });
    store.wait_until_held(1).await;
    let others: Vec<_> = (0..20)
        .map(|_| {
            let cached = cached.clone();
            tokio::spawn(async move { read(&cached, 3..8).await })
        })
        .collect();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    store.release_all();
    assert!(matches!(conditional.await.unwrap(), Err(object_store::Error::NotModified { .. })));
    for other in others {
        assert_eq!(other.await.unwrap(), super::part(3..8));
    }
    assert!(store.count() <= 3, "{:?}", store.requests());
}

/// The caller's extensions reach the store with the caller's own request.
#[tokio::test]
async fn extensions_go_with_the_request_of_their_reader() {
    #[derive(Clone, PartialEq, Debug)]
    struct Mine(u32);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let store = super::scripted_store::ScriptedStore::hears({
        let seen = Arc::clone(&seen);
        move |options| {
            seen.lock().unwrap().push(options.extensions.get::<Mine>().cloned());
            options
        }
    });
    write(&store, super::body(17)).await;
    let strong = cached(&store);
    let options = |n, range| {
        let mut extensions = object_store::Extensions::new();
        extensions.insert(Mine(n));
        GetOptions::new().with_range(range).with_extensions(extensions)
    };
    // Cold; all of it cached; some of it missing; the head alone; a range past the end.
    let ranges = [Some(0..5), Some(0..5), Some(0..12)];
    for (n, range) in (0..).zip(ranges) {
        let answer =
            strong.get_opts(&path(), options(n, range.map(GetRange::Bounded))).await.unwrap();
        answer.bytes().await.unwrap();
    }
    strong.get_opts(&path(), options(3, None).with_head(true)).await.unwrap();
    assert!(strong.get_opts(&path(), options(4, Some((30..40).into()))).await.is_err());
    let expected: Vec<_> = (0..5).map(|n| Some(Mine(n))).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn whether_a_weak_tag_matches_is_for_the_store_to_say() {
    let store = with_object(17).await;
    store.fault(Fault::tag(TagFault::Weak));
    // It never does, by RFC 9110 section 13.1.1.
    store.fault(Fault::error(Failure::Precondition).when(|request| request.if_match.is_some()));
    let cached = lasting(&store);
    let tag = cached.head(&path()).await.unwrap().e_tag;
    let answer = cached.get_opts(&path(), GetOptions::new().with_if_match(tag)).await;
    assert!(matches!(answer, Err(object_store::Error::Precondition { .. })));
}

#[tokio::test]
async fn a_version_is_the_stores_affair() {
    let store = with_object(17).await;
    let cached = lasting(&store);
    read_all(&cached).await;
    store.reset();
    let options = GetOptions::new().with_version(Some("7"));
    cached.get_opts(&path(), options).await.unwrap().bytes().await.unwrap();
    assert_eq!(store.requests()[0].version.as_deref(), Some("7"));
    read_all(&cached).await;
    assert_eq!(asked(&store), [(None, false)]);
}

#[tokio::test]
async fn every_kind_of_error_comes_through() {
    use Failure::*;
    let store = with_object(17).await;
    let strong = builder(&store).build().unwrap();
    for failure in
        [Unavailable, NotFound, PermissionDenied, Unauthenticated, NotSupported, InvalidPath]
    {
        store.fault(Fault::error(failure));
        let whole = strong.get(&path()).await.unwrap_err();
        let part = super::get(&strong, 3..8).await.unwrap_err();
        let head = strong.head(&path()).await.unwrap_err();
        let parts = strong.get_ranges(&path(), &[3..8]).await.unwrap_err();
        for error in [whole, part, head, parts] {
            assert_eq!(Failure::of(&error), failure);
            // The store's own error is at the end of the chain.
            let mut chain = vec![error.to_string()];
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                chain.push(error.to_string());
                cause = error.source();
            }
            assert!(
                chain.iter().any(|error| error.contains("injected fault") || error.contains("a/b")),
                "{chain:?}"
            );
        }
        store.heal();
    }
}

#[tokio::test]
async fn a_suffix_of_an_empty_object_is_one_request() {
    let store = with_object(0).await;
    for is_cached in [false, true] {
        for range in [GetRange::Suffix(4), GetRange::Suffix(u64::MAX)] {
            let ahead = builder(&store).readahead(20).build().unwrap();
            for cached in [builder(&store).build().unwrap(), lasting(&store), ahead] {
                if is_cached {
                    read_all(&cached).await;
                }
                store.reset();
                let answer = get(&cached, range.clone()).await.unwrap();
                assert_eq!(answer.range, 0..0);
                assert!(answer.bytes().await.unwrap().is_empty());
                assert_eq!(store.count(), 1, "{range:?}, cached: {is_cached}");
            }
        }
    }
}
