//! Reads of many objects by their keys.

use cache_core::{ErrorKind, Result, Served, Status};
use cache_testkit::{
    MapBackend, OriginFault, OriginOperation, PageFault, SimulatedDisk, TwoTierBackend,
};
use futures_util::StreamExt as _;

use crate::support::{FOREVER, Rig, rules, secs, text};

/// A cache in which the objects `keys` are cached, each with its key as the body.
async fn cached(rig: Rig, keys: &[String]) -> Rig {
    for key in keys {
        rig.origin.inner().write(key, key.clone());
        rig.cache.get(key, Some(&FOREVER)).await.unwrap();
    }
    rig.clock.advance(secs(1));
    rig.origin.reset();
    rig
}

async fn read(rig: &Rig, keys: &[String]) -> Vec<Result<Served>> {
    rig.cache.get_many(keys, 10).collect().await
}

async fn statuses(rig: &Rig, keys: &[String]) -> Vec<Status> {
    read(rig, keys).await.into_iter().map(|served| served.unwrap().status).collect()
}

/// Returns how many pages and how many objects were requested.
fn requests(rig: &Rig) -> (usize, usize) {
    let requests = rig.origin.requests();
    let n_lists = requests.iter().filter(|it| it.operation == OriginOperation::List).count();
    (n_lists, requests.len() - n_lists)
}

fn numbered(prefix: &str, numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|n| format!("{prefix}{n:05}")).collect()
}

#[tokio::test]
async fn cached_objects_that_follow_one_another_are_read_for_one_page() {
    let keys = numbered("a/", 0..1000);
    let rig = cached(Rig::new(), &keys).await;
    assert_eq!(statuses(&rig, &keys).await, [Status::RevalidatedByList; 1000]);
    assert_eq!(requests(&rig), (1, 0));

    rig.clock.advance(secs(1));
    rig.origin.inner().write(&keys[7], "new");
    let read = read(&rig, &keys).await;
    assert_eq!(text(read[7].as_ref().unwrap()), "new");
    assert_eq!(requests(&rig), (2, 1));
}

#[tokio::test]
async fn objects_come_in_the_order_of_their_keys_and_each_once() {
    let keys = numbered("a/", 0..3);
    let rig = cached(Rig::new(), &keys[..2]).await;
    let wanted = ["a/00002", "b//", "a/00000", "", "a/00001", "a/00000"].map(String::from);
    let read = read(&rig, &wanted).await;
    let read: Vec<_> = read
        .iter()
        .map(|read| match read {
            Ok(served) => Ok(served.entry.key()),
            Err(error) => Err((error.kind(), error.key().map(str::to_owned))),
        })
        .collect();
    assert_eq!(
        read[1..4],
        [Ok("a/00000"), Ok("a/00001"), Err((ErrorKind::NotFound, Some("a/00002".to_owned())))]
    );
    for invalid in [&read[0], &read[4]] {
        assert_eq!(invalid.as_ref().unwrap_err().0, ErrorKind::InvalidKey);
    }
    assert_eq!(read.len(), 5);
}

#[tokio::test]
async fn objects_that_are_not_cached_or_alone_are_not_listed() {
    let keys = numbered("a/", 0..10);
    let rig = cached(Rig::new(), &keys[..1]).await;
    for key in &keys[1..] {
        rig.origin.inner().write(key, key.clone());
    }
    read(&rig, &keys).await;
    assert_eq!(requests(&rig), (0, 10));
    assert_eq!(rig.cache.get_many(Vec::<String>::new(), 1).count().await, 0);
    assert_eq!(requests(&rig), (0, 10));
}

#[tokio::test]
async fn an_object_that_was_deleted_is_an_error_of_its_key() {
    let keys = numbered("a/", 0..5);
    for n in 0..5 {
        let rig = cached(Rig::new(), &keys).await;
        rig.origin.inner().erase(&keys[n]);
        let read = read(&rig, &keys).await;
        for (at, read) in read.iter().enumerate() {
            assert_eq!(read.is_err(), at == n, "{n}: {read:?}");
        }
        let error = read[n].as_ref().unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::NotFound, Some(&*keys[n])));
        assert_eq!(requests(&rig), (1, 1));
        assert!(rig.cache.get(&keys[n], Some(&FOREVER)).await.is_err());
    }
}

/// A page for each of them would cost as much as a request for each, and on some stores more.
#[tokio::test]
async fn keys_that_are_far_apart_are_read_by_themselves() {
    let all = numbered("a/", 0..2000);
    let rig = Rig::new();
    for key in &all {
        rig.origin.inner().write(key, key.clone());
    }
    rig.origin.inner().set_page_size(10);
    let keys: Vec<_> = all.iter().step_by(20).cloned().collect();
    let rig = cached(rig, &keys).await;
    statuses(&rig, &keys).await;
    let (n_pages, n_gets) = requests(&rig);
    assert!(n_pages <= 7 && n_pages + n_gets <= 101, "{n_pages} pages, {n_gets} objects");
    // Of what each read has shown, nothing is marked.
    for key in &keys {
        assert_eq!(rig.cache.get(key, Some(&FOREVER)).await.unwrap().status, Status::Fresh);
    }
}

#[tokio::test]
async fn folders_of_one_object_each_are_listed_together() {
    let keys: Vec<_> = (0..500).map(|n| format!("table/day={n:03}/part.parquet")).collect();
    let rig = cached(Rig::new(), &keys).await;
    assert_eq!(statuses(&rig, &keys).await, [Status::RevalidatedByList; 500]);
    assert_eq!(requests(&rig), (1, 0));
    let folders: Vec<_> = (0..50).flat_map(|n| numbered(&format!("b/{n:02}/"), 0..3)).collect();
    let rig = cached(Rig::new(), &folders).await;
    assert_eq!(statuses(&rig, &folders).await, [Status::RevalidatedByList; 150]);
    let (n_pages, n_gets) = requests(&rig);
    assert!(n_pages <= 4 && n_gets == 0, "{n_pages} pages, {n_gets} objects");
}

#[tokio::test]
async fn other_entries_of_the_folder_stay_as_they_are() {
    let keys = numbered("a/", 0..9);
    let rig = cached(Rig::new(), &keys).await;
    rig.origin.inner().write(&keys[4], "new");
    statuses(&rig, &[keys[3].clone(), keys[5].clone()]).await;
    assert_eq!(requests(&rig), (1, 0));
    for (n, key) in keys.iter().enumerate() {
        let status = rig.cache.get(key, Some(&FOREVER)).await.unwrap().status;
        assert_eq!(status, if n == 4 { Status::Refetched } else { Status::Fresh }, "{n}");
    }
}

#[tokio::test]
async fn origins_that_do_not_list_in_order_or_fail_to_cost_at_most_a_request() {
    let keys = numbered("a/", 0..9);
    let rig = cached(Rig::new(), &keys).await;
    rig.origin.inner().list_in_order(false);
    assert_eq!(statuses(&rig, &keys).await, [Status::Revalidated; 9]);
    assert_eq!(requests(&rig), (0, 9));
    for fault in [
        OriginFault::error(ErrorKind::PermissionDenied).on(OriginOperation::List),
        OriginFault::panic().on(OriginOperation::List),
        OriginFault::page(PageFault::Reversed),
        OriginFault::page(PageFault::Repeated),
    ] {
        let rig = cached(Rig::new(), &keys).await;
        rig.origin.fault(fault);
        assert_eq!(statuses(&rig, &keys).await, [Status::Revalidated; 9]);
        assert_eq!(requests(&rig), (1, 9));
    }
}

#[tokio::test]
async fn entries_on_disk_are_listed_too() {
    let keys = numbered("a/", 0..9);
    let disk = SimulatedDisk::new();
    let over = || {
        Rig::with(TwoTierBackend::new(1).on(&disk), |builder| {
            builder.namespace(cache_core::Namespace::named("many")).freshness_rules(rules(FOREVER))
        })
    };
    cached(over(), &keys).await.cache.close().await.unwrap();
    let rig = over();
    for key in &keys {
        rig.origin.inner().write(key, key.clone());
    }
    rig.clock.advance(secs(1));
    assert_eq!(statuses(&rig, &keys).await, [Status::RevalidatedByList; 9]);
    assert_eq!(requests(&rig), (1, 0));
}

/// Whatever is cached, changed, deleted and between the keys.
#[tokio::test]
async fn there_are_at_most_twice_as_many_requests_and_no_result_is_old() {
    for seed in 0..300_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % n
        };
        let rig = Rig::over(MapBackend::new());
        rig.origin.inner().set_page_size(1 + below(9));
        let (n_objects, n_folders) = (1 + below(60), 1 + below(6));
        let mut keys: Vec<_> = (0..n_objects)
            .map(|n| format!("{}/{}{n:02}", below(n_folders), ["", "x/"][below(2)]))
            .collect();
        for key in &keys {
            rig.origin.inner().write(key, "old");
        }
        let (changes, deletes, density) = (1 + below(8), 1 + below(8), 1 + below(4));
        keys.retain(|_| below(density) == 0);
        for key in &keys {
            if below(8) > 0 {
                rig.cache.get(key, Some(&FOREVER)).await.unwrap();
            }
        }
        rig.clock.advance(secs(1));
        for key in &keys {
            match (below(changes) == 0, below(deletes) == 0) {
                (true, _) => drop(rig.origin.inner().write(key, "new")),
                (_, true) => rig.origin.inner().erase(key),
                _ => {}
            }
        }
        rig.origin.reset();
        let read = read(&rig, &keys).await;
        let (n_pages, n_gets) = requests(&rig);
        assert!(n_pages + n_gets <= 2 * keys.len(), "seed {seed}: {n_pages} {n_gets}");
        keys.sort_unstable();
        assert_eq!(read.len(), keys.len());
        for (key, read) in keys.iter().zip(&read) {
            let expected = rig.cache.get(key, None).await;
            match (read, &expected) {
                (Ok(read), Ok(expected)) => assert_eq!(text(read), text(expected), "{seed} {key}"),
                (Err(read), Err(expected)) => assert_eq!(read.kind(), expected.kind()),
                _ => panic!("seed {seed}: {read:?}, {expected:?}"),
            }
        }
    }
}
