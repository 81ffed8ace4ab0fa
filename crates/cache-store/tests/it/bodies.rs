use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{ErrorKind, Origin, Validation, Validator, Version};
use cache_testkit::{BodyFault, Fault, FaultyStore};
use object_store::ObjectStoreExt;

use crate::{builder, fetch, key, local_disk, origin, path, stored, write};

const OWN_BELOW: usize = 64 * 1024;

fn body(len: usize) -> Bytes {
    (0..=250).cycle().take(len).collect()
}

/// Whether `body` is all that its buffer holds. It must be its only handle.
#[track_caller]
fn assert_owns_its_buffer(body: Bytes) {
    assert!(body.is_empty() || body.is_unique());
    let buffer = Vec::from(body);
    assert_eq!(buffer.capacity(), buffer.len());
}

#[tokio::test]
async fn every_body_comes_whole_however_it_is_cut() {
    for len in [0, 1, 10, OWN_BELOW - 1, OWN_BELOW, OWN_BELOW + 1, 3 * OWN_BELOW] {
        let store = stored(body(len)).await;
        for chunk in [usize::MAX, len.max(2) - 1, 1000, 7] {
            store.heal();
            store.fault(Fault::body(BodyFault::Chunked(chunk)));
            let entry = fetch(&origin(&store), None).await;
            assert_eq!(entry.body(), &body(len), "{len} bytes by {chunk}");
        }
    }
}

#[tokio::test]
async fn a_small_body_and_one_of_many_chunks_own_their_buffers() {
    for (len, chunk) in
        [(10, 10), (OWN_BELOW - 1, OWN_BELOW), (OWN_BELOW - 1, 100), (3 * OWN_BELOW, 1000)]
    {
        let store = stored(body(len)).await;
        store.fault(Fault::body(BodyFault::Chunked(chunk)));
        let entry = fetch(&origin(&store), None).await;
        let kept = entry.body().clone();
        drop(entry);
        assert_owns_its_buffer(kept);
    }
}

#[tokio::test]
async fn a_large_body_of_one_chunk_is_not_copied() {
    let store = stored(body(OWN_BELOW)).await;
    let entry = fetch(&origin(&store), None).await;
    let held = store.inner().get(&path()).await.unwrap().bytes().await.unwrap();
    assert_eq!(entry.body().as_ptr(), held.as_ptr());
}

#[tokio::test]
async fn a_file_is_read_whole_into_a_buffer_of_its_own() {
    let (_folder, store) = local_disk();
    for len in [0, 10, 3 * OWN_BELOW] {
        write(&store, body(len)).await;
        let entry = fetch(&origin(&store), None).await;
        assert_eq!(entry.body(), &body(len));
        let kept = entry.body().clone();
        drop(entry);
        assert_owns_its_buffer(kept);
    }
}

#[tokio::test]
async fn a_file_cut_off_after_it_was_opened_is_an_outage() {
    // As a file, and as the stream that a wrapper makes of it, which never ends.
    for is_stream in [false, true] {
        let (folder, store) = local_disk();
        write(&store, body(100_000)).await;
        store.fault(Fault::hold().late());
        if is_stream {
            store.fault(Fault::body(BodyFault::Truncated(u64::MAX)));
        }
        let origin = origin(&store);
        let reader = tokio::spawn(async move { origin.validate(&key(), None).await });
        store.wait_until_held(1).await;
        let file = std::fs::OpenOptions::new().write(true).open(folder.path().join("a/b")).unwrap();
        file.set_len(50_000).unwrap();
        store.release_all();
        assert_eq!(reader.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_an_outage() {
    use BodyFault::{Fails, Overlong, Stalls, Truncated};
    for len in [10, OWN_BELOW, 3 * OWN_BELOW] {
        let n = len as u64;
        for fault in [
            Truncated(0),
            Truncated(1),
            Truncated(n - 1),
            Overlong(1),
            Overlong(len),
            Fails(0),
            Fails(n - 1),
            Fails(n),
            Stalls(0),
            Stalls(n - 1),
            Stalls(n),
        ] {
            for chunk in [1000, usize::MAX] {
                let chunked = stored(body(len)).await;
                chunked.fault(Fault::body(BodyFault::Chunked(chunk)));
                let store = FaultyStore::new(Arc::new(chunked));
                store.fault(Fault::body(fault));
                let error = origin(&store).validate(&key(), None).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{len} {fault:?} {chunk}");
                assert!(error.is_outage() && error.key() == Some("a/b"));
            }
        }
    }
}

#[tokio::test]
async fn an_object_over_the_limit_is_refused_before_its_body_is_read() {
    let store = stored(body(11)).await;
    let limited = builder(&store).max_object_size(10).build().unwrap();
    let error = limited.validate(&key(), None).await.unwrap_err();
    assert_eq!((error.kind(), store.body_bytes()), (ErrorKind::TooLarge, 0));
    write(&store, body(10)).await;
    assert_eq!(fetch(&limited, None).await.body().len(), 10);
}

/// The first body never comes, and has the room until its time is up.
#[tokio::test(start_paused = true)]
async fn a_body_for_which_there_is_no_room_waits_unread() {
    let store = stored(body(1500)).await;
    let limited = builder(&store).max_in_flight_bytes(2048).origin_timeout(Duration::from_secs(30));
    let origin = Arc::new(limited.build().unwrap());
    store.fault(Fault::body(BodyFault::Hangs(0)).once());
    let ask = || {
        let origin = Arc::clone(&origin);
        tokio::spawn(async move { origin.validate(&key(), None).await })
    };
    let first = ask();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let second = ask();
    tokio::time::sleep(Duration::from_secs(19)).await;
    assert_eq!(
        (store.count(), store.body_bytes()),
        (2, 0),
        "both were asked for, and no body was read"
    );
    assert_eq!(first.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert!(
        matches!(second.await.unwrap().unwrap(), Validation::Modified(entry) if entry.body().len() == 1500)
    );
    // One that there would never be room for comes alone.
    write(&store, body(5000)).await;
    assert_eq!(fetch(&origin, None).await.body().len(), 5000);
}

#[tokio::test]
async fn the_entry_of_a_put_owns_its_buffer() {
    let origin = origin(&stored("").await);
    let entry_of = |put: Bytes| origin.entry_of_put(&key(), put, &Version::default());
    let large = body(10 * OWN_BELOW);
    let mut spare = Vec::with_capacity(20 * OWN_BELOW);
    spare.extend_from_slice(&large);
    // The only handle of a larger buffer, from its start and from its middle.
    let start = Bytes::from(spare.clone()).split_to(OWN_BELOW);
    let middle = Bytes::from(spare).slice(OWN_BELOW..3 * OWN_BELOW);
    assert!(start.is_unique() && middle.is_unique());
    for (put, expected) in [
        (Bytes::new(), &[][..]),
        (Bytes::from_static(b"static"), b"static"),
        (large.slice(10..20), &large[10..20]),
        (large.slice(OWN_BELOW..3 * OWN_BELOW), &large[OWN_BELOW..3 * OWN_BELOW]),
        (start, &large[..OWN_BELOW]),
        (middle, &large[OWN_BELOW..3 * OWN_BELOW]),
    ] {
        let entry = entry_of(put);
        assert_eq!(entry.body(), expected);
        let kept = entry.body().clone();
        drop(entry);
        assert_owns_its_buffer(kept);
    }

    // Given away whole, a large one is taken over as it is.
    let given = body(OWN_BELOW);
    let at = given.as_ptr();
    assert_eq!(entry_of(given).body().as_ptr(), at);
}

#[tokio::test]
async fn reading_stops_at_the_first_chunk_too_many() {
    let overlong = stored(body(3000)).await;
    overlong.fault(Fault::body(BodyFault::Overlong(1_000_000)));
    let store = FaultyStore::new(Arc::new(overlong));
    store.fault(Fault::body(BodyFault::Chunked(1000)));
    origin(&store).validate(&key(), None).await.unwrap_err();
    assert_eq!(store.body_bytes(), 4000);
}
