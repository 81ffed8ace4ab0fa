//! Lists through a cache, counted at the store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cache_core::{ErrorKind, Freshness, Moment, ReadThrough, Served, Status, Validator};
use cache_store::{EtagValidator, EtagValidatorBuilder, ValidatorStrength};
use cache_testkit::{Failure, Fault, FaultyStore, ManualClock, MapBackend, Operation, S3Server};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::{Error, ObjectStore, ObjectStoreExt as _, path::Path};

use crate::{
    cached::scripted_store::ScriptedStore,
    listed_store::{Listed, ListedStore},
    local_disk,
};

const S3: &str = "AmazonS3(bucket)";
const AZURE: &str = "MicrosoftAzure { account: account, container: container }";

struct Rig {
    cache: ReadThrough<EtagValidator>,
    clock: Arc<ManualClock>,
}

impl Rig {
    fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self::with(EtagValidator::builder(store))
    }

    fn with(builder: EtagValidatorBuilder) -> Self {
        let clock = Arc::new(ManualClock::new());
        let origin = builder.build().unwrap();
        let cache = ReadThrough::builder(Arc::new(origin), Arc::new(MapBackend::new()));
        Self { cache: cache.clock(Arc::clone(&clock) as _).build().unwrap(), clock }
    }

    /// Later than all that was read before.
    async fn get_prefix(&self, prefix: &str) -> Vec<Served> {
        self.clock.advance(Duration::from_secs(1));
        self.cache.get_prefix(prefix, 8).try_collect().await.unwrap()
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        self.get_prefix(prefix).await.iter().map(|served| served.entry.key().into()).collect()
    }

    /// How the objects were read.
    async fn statuses(&self, prefix: &str) -> BTreeMap<String, Status> {
        let read = self.get_prefix(prefix).await;
        read.iter().map(|served| (served.entry.key().into(), served.status)).collect()
    }

    /// Of each page the number of its objects and the moment of its request. The clock moves
    /// between two polls.
    async fn pages(&self, prefix: &str) -> Vec<(usize, Moment)> {
        let mut listed = self.cache.list(prefix);
        let mut pages = Vec::new();
        while let Some(page) = listed.next().await {
            let page = page.unwrap();
            pages.push((page.objects.len(), page.sent_at));
            self.clock.advance(Duration::from_secs(1));
        }
        pages
    }
}

fn name(n: usize) -> String {
    format!("models/{n:05}")
}

fn server_with(n: usize) -> S3Server {
    let server = S3Server::start().unwrap();
    for n in 0..n {
        server.put(&name(n), format!("body {n}"));
    }
    server
}

async fn filled(store: &dyn ObjectStore, names: impl IntoIterator<Item = &str>) {
    for name in names {
        store.put(&Path::from(name), name.to_owned().into()).await.unwrap();
    }
}

fn counts(server: &S3Server) -> (usize, usize) {
    let counts = (server.count_of(Operation::List), server.count_of(Operation::Get));
    assert_eq!(server.count(), counts.0 + counts.1);
    server.reset();
    counts
}

#[tokio::test]
async fn a_thousand_unchanged_objects_cost_one_list() {
    let server = server_with(1000);
    let rig = Rig::over(Arc::new(server.client()));
    assert_eq!(rig.get_prefix("models/").await.len(), 1000);
    assert_eq!(counts(&server), (1, 1000));
    let read = rig.statuses("models/").await;
    assert_eq!(read.len(), 1000);
    assert!(read.values().all(|status| *status == Status::RevalidatedByList));
    assert_eq!(counts(&server), (1, 0));

    for n in 0..10 {
        server.put(&name(n * 7), "changed");
    }
    server.remove(&name(999));
    let read = rig.statuses("models/").await;
    let fetched = read.values().filter(|status| **status == Status::Refetched).count();
    assert_eq!((read.len(), fetched), (999, 10));
    assert_eq!(counts(&server), (1, 10));
}

#[tokio::test]
async fn each_page_is_a_request_and_is_sent_when_it_is_wanted() {
    let server = server_with(2500);
    let rig = Rig::over(Arc::new(server.client()));
    let sizes_and_moments = rig.pages("models/").await;
    let sizes: Vec<_> = sizes_and_moments.iter().map(|page| page.0).collect();
    assert_eq!(sizes, [1000, 1000, 500]);
    assert!(sizes_and_moments.is_sorted_by(|one, next| one.1 < next.1), "{sizes_and_moments:?}");
    assert_eq!(counts(&server), (3, 0));
    assert_eq!(rig.cache.stats().origin.lists.succeeded, 3);

    let mut listed = rig.cache.list("models/");
    listed.next().await.unwrap().unwrap();
    assert_eq!(counts(&server), (1, 0));
    drop(listed);
    assert_eq!(counts(&server), (0, 0));
}

#[tokio::test]
async fn a_prefix_is_meant_byte_for_byte() {
    let names = ["a", "a-c", "a/b", "a/b/c", "a/bc", "a/bcd", "ab", "b"];
    let server = S3Server::start().unwrap();
    let disk = local_disk();
    let stores: [Arc<dyn ObjectStore>; 4] = [
        Arc::new(FaultyStore::in_memory()),
        Arc::new(server.client()),
        Arc::new(ListedStore::paged(AZURE, &[2, 3, 3, 0])),
        Arc::new(disk.1),
    ];
    for (at, store) in stores.into_iter().enumerate() {
        let is_disk = at == 3;
        // A file cannot be a folder.
        let names = names.iter().filter(|name| !is_disk || !["a", "a/b"].contains(*name));
        let names: Vec<&str> = names.copied().collect();
        filled(&store, names.iter().copied()).await;
        let rig = Rig::over(Arc::clone(&store));
        for prefix in ["", "a", "a/", "a/b", "a/bc", "a/bcd", "a/b/", "a/b/c", "b", "c", "a-"] {
            let expected: Vec<_> =
                names.iter().copied().filter(|name| name.starts_with(prefix)).collect();
            assert_eq!(rig.keys(prefix).await, expected, "{store}: {prefix:?}");
            for after in ["a/b", "a/bc", "aa", "", "z"] {
                let listing = rig.cache.origin().list(prefix, Some(after));
                let pages: Vec<_> = listing.pages.try_collect().await.unwrap();
                let keys = pages.iter().flat_map(|page| &page.objects);
                let mut keys: Vec<_> = keys.map(|object| object.key.as_str()).collect();
                keys.sort_unstable();
                let expected: Vec<_> =
                    expected.iter().copied().filter(|name| *name > after).collect();
                assert_eq!(keys, expected, "{store}: {prefix:?} after {after:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_object_beside_a_prefix_is_not_requested() {
    let server = S3Server::start().unwrap();
    for folder in ["a/aa", "a/ab", "a/zz"] {
        for n in 0..1500 {
            server.put(&format!("{folder}{n:04}"), "body");
        }
    }
    let rig = Rig::over(Arc::new(server.client()));
    for (prefix, after, n_pages, n_requests) in
        [("a/ab", "a/aa~", 2, 2), ("a/ab0", "a/ab/~", 1, 2), ("a/ab1", "a/ab0~", 1, 1)]
    {
        assert_eq!(rig.cache.list(prefix).count().await, n_pages);
        assert_eq!(server.requests()[0].parameter("start-after"), Some(after));
        assert_eq!(counts(&server), (n_requests, 0), "it ends behind {prefix}");
    }
    rig.cache.list("a/").next().await.unwrap().unwrap();
    assert_eq!(server.requests()[0].parameter("start-after"), None);
}

#[tokio::test]
async fn a_prefix_that_no_key_begins_with_is_an_error() {
    let store = FaultyStore::in_memory();
    let rig = Rig::over(Arc::new(store.clone()));
    for prefix in ["/", "/a", "a//", "a/../b", "./", "a\n/b"] {
        let error = rig.cache.list(prefix).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey, "{prefix:?}");
        assert!(error.to_string().contains(&format!("{prefix:?}")), "{error}");
    }
    assert_eq!(store.count(), 0);
}

/// As Azure's, whose pages have 5,000 objects: what is there at once was requested earlier.
#[tokio::test]
async fn a_part_of_a_page_is_of_the_moment_of_the_whole() {
    let store = ListedStore::paged(AZURE, &[2500, 10, 10]);
    let names: Vec<_> = (0..2520).map(name).collect();
    filled(&store, names.iter().map(String::as_str)).await;
    let rig = Rig::over(Arc::new(store.clone()));
    let pages = rig.pages("models/").await;
    let sizes: Vec<_> = pages.iter().map(|page| page.0).collect();
    assert_eq!(sizes, [1000, 1000, 500, 10, 10]);
    let first = pages[0].1;
    // The third saw that nothing more was there, and so sent the request for the fourth.
    assert!(pages[..5].iter().all(|page| page.1 == first), "{pages:?}");
    assert_eq!(store.requests(), 3);

    let store = ListedStore::paged(AZURE, &[2000, 1000]);
    filled(&store, names[..2100].iter().map(String::as_str)).await;
    let pages = Rig::over(Arc::new(store)).pages("models/").await;
    assert_eq!(pages[1].1, pages[0].1);
    assert!(pages[2].1 > pages[1].1, "{pages:?}");
}

/// It may read ahead.
#[tokio::test]
async fn all_pages_of_an_unknown_store_are_of_the_first_moment() {
    for name in ["PrefixStore(a)", "InMemory", "LimitStore(2, AmazonS3(bucket))", "HttpStore"] {
        let store = ListedStore::paged(name, &[1000, 1000]);
        let names: Vec<_> = (0..1100).map(self::name).collect();
        filled(&store, names.iter().map(String::as_str)).await;
        let pages = Rig::over(Arc::new(store)).pages("models/").await;
        assert_eq!((pages.len(), pages[1].1), (2, pages[0].1), "{name}");
    }
}

#[tokio::test]
async fn a_directory_bucket_may_list_in_any_order() {
    for name in ["AmazonS3(bucket--use1-az4--x-s3)", "AmazonS3(alias--use1-az4--xa-s3)", AZURE] {
        let store = ListedStore::new(name, |objects| {
            objects.into_iter().rev().map(Listed::Object).collect()
        });
        let names = ["a/1", "a/2", "a/3", "a/b/4"];
        filled(&store, names).await;
        let rig = Rig::over(Arc::new(store));
        for _ in 0..2 {
            assert_eq!(rig.keys("a/").await, names, "{name}");
        }
        assert!(rig.statuses("a/").await.values().all(|it| *it == Status::RevalidatedByList));
    }
}

#[tokio::test]
async fn a_list_without_quotes_renews() {
    let server = server_with(0);
    let store = ScriptedStore::lists(Arc::new(server.client()), |mut object| {
        object.e_tag = object.e_tag.map(|tag| tag.trim_matches('"').to_owned());
        object
    });
    let store = FaultyStore::new(Arc::new(store));
    filled(&store, ["models/a", "models/b"]).await;
    let rig = Rig::over(Arc::new(store.clone()));
    rig.get_prefix("models/").await;
    store.reset();
    let read = rig.statuses("models/").await;
    assert!(read.len() == 2 && read.values().all(|it| *it == Status::RevalidatedByList));
    assert_eq!((store.count(), store.gets()), (1, 0));
}

#[tokio::test]
async fn weak_tags_renew_nothing() {
    let weak = |mut object: object_store::ObjectMeta| {
        object.e_tag = object.e_tag.map(|tag| format!("W/{tag}"));
        object
    };
    let lists_weak = |store: &FaultyStore| ScriptedStore::lists(Arc::clone(store.inner()), weak);
    for accept_weak in [false, true] {
        for (n, strength) in [ValidatorStrength::Weak, ValidatorStrength::Strong].iter().enumerate()
        {
            let store = FaultyStore::in_memory();
            filled(&store, ["a/b", "a/c"]).await;
            // A weak strength, and lists that are weak.
            let store = match n {
                0 => store,
                _ => FaultyStore::new(Arc::new(lists_weak(&store))),
            };
            let builder = EtagValidator::builder(Arc::new(store.clone()));
            let builder = builder.validator_strength(*strength).accept_weak_validators(accept_weak);
            let rig = Rig::with(builder);
            rig.get_prefix("a/").await;
            store.reset();
            let read = rig.statuses("a/").await;
            assert!(!read.values().any(|status| *status == Status::RevalidatedByList), "{read:?}");
            assert_eq!((store.count(), store.gets()), (3, 2));
        }
    }
}

/// An entry that was too young when it was read is fetched again, and then is not.
#[tokio::test]
async fn timestamps_renew_what_was_old_enough() {
    let (_folder, store) = local_disk();
    filled(&store, ["a/b"]).await;
    let grain = |grain| {
        let builder = EtagValidator::builder(Arc::new(store.clone()));
        builder.validator_strength(ValidatorStrength::Timestamp(grain))
    };
    for (builder, status) in [
        (grain(Duration::from_secs(3600)), Status::Refetched),
        (grain(Duration::from_nanos(1)), Status::RevalidatedByList),
    ] {
        let rig = Rig::with(builder);
        rig.get_prefix("a/").await;
        assert_eq!(rig.statuses("a/").await["a/b"], status);
    }
    let rig = Rig::with(grain(Duration::from_nanos(1)));
    rig.get_prefix("a/").await;
    filled(&store, ["a/b"]).await;
    assert_eq!(rig.statuses("a/").await["a/b"], Status::Refetched);
}

#[tokio::test]
async fn objects_without_a_tag_are_only_compared() {
    let lists = ScriptedStore::lists(Arc::new(FaultyStore::in_memory()), |mut object| {
        object.e_tag = None;
        object
    });
    let store = FaultyStore::new(Arc::new(lists));
    filled(&store, ["a/b"]).await;
    let rig = Rig::over(Arc::new(store.clone()));
    let lasting = Freshness::immutable();
    let read = || async {
        let served = rig.cache.get("a/b", Some(&lasting)).await.unwrap();
        (served.entry.body().clone(), served.status)
    };
    rig.get_prefix("a/").await;
    rig.get_prefix("a/").await;
    assert_eq!(read().await.1, Status::Fresh);
    store.put(&Path::from("a/b"), "longer".into()).await.unwrap();
    assert_eq!(read().await.1, Status::Fresh);
    rig.cache.list("a/").try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(read().await, ("longer".into(), Status::Refetched));
}

/// The rest of a list that fails is not missing.
#[tokio::test]
async fn a_list_that_fails_in_the_middle_ends_with_the_error() {
    let fails = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_failing = Arc::clone(&fails);
    let store = ListedStore::new("InMemory", move |objects| {
        let mut listed: Vec<_> = objects.into_iter().map(Listed::Object).collect();
        if is_failing.load(std::sync::atomic::Ordering::Relaxed) {
            listed.truncate(2);
            listed.push(Listed::Error);
        }
        listed
    });
    filled(&store, ["a/1", "a/2", "a/3"]).await;
    let rig = Rig::over(Arc::new(store.clone()));
    rig.get_prefix("a/").await;
    fails.store(true, std::sync::atomic::Ordering::Relaxed);
    let read: Vec<_> = rig.cache.get_prefix("a/", 8).collect().await;
    assert!(read.len() == 3 && read[0].is_ok() && read[1].is_ok());
    let error = read[2].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("\"a/\""), "{error}");
    let last = rig.cache.get("a/3", Some(&Freshness::immutable())).await.unwrap();
    assert_eq!(last.status, Status::Fresh);
}

#[tokio::test]
async fn a_list_that_repeats_or_misorders_pages_is_an_error_and_nothing_stale() {
    for name in [S3, "PrefixStore(a)"] {
        for is_repeated in [true, false] {
            let store = ListedStore::new(name, move |objects| {
                let (first, second) = objects.split_at(objects.len() / 2);
                let pages =
                    if is_repeated { [first, second, second] } else { [second, first, &[]] };
                pages.concat().into_iter().map(Listed::Object).collect()
            });
            filled(&store, ["a/1", "a/2", "a/3", "a/4"]).await;
            let rig = Rig::over(Arc::new(store.clone()));
            for _ in 0..2 {
                let read: Vec<_> = rig.cache.get_prefix("a/", 8).collect().await;
                let errors: Vec<_> = read.iter().filter_map(|read| read.as_ref().err()).collect();
                assert_eq!(errors.len(), usize::from(name == S3), "{name} {is_repeated}: {read:?}");
                assert!(name == S3 || read.len() == 4);
            }
            for n in 1..=4 {
                let path = Path::from(format!("a/{n}"));
                rig.cache.get(path.as_ref(), Some(&Freshness::immutable())).await.unwrap();
                store.inner.inner().put(&path, "news".into()).await.unwrap();
            }
            rig.cache.list("a/").try_collect::<Vec<_>>().await.unwrap();
            for n in 1..=4 {
                let read = rig.cache.get(&format!("a/{n}"), Some(&Freshness::immutable())).await;
                assert_eq!(read.unwrap().entry.body(), "news", "{name} {is_repeated}");
            }
        }
    }
}

/// Consoles make an object `a/b/` to show a folder; object_store calls it `a/b`.
#[tokio::test]
async fn markers_of_folders_do_not_misorder_a_list() {
    let server = S3Server::start().unwrap();
    for key in ["a/b/", "a/b-c", "a/b/d", "a/e", "a/e/", "a/f/"] {
        server.put(key, if key.ends_with('/') { "" } else { "body" });
    }
    let rig = Rig::over(Arc::new(server.client()));
    for _ in 0..2 {
        assert_eq!(rig.keys("a/").await, ["a/b-c", "a/b/d", "a/e"]);
    }
    assert_eq!(rig.statuses("a/").await["a/e"], Status::RevalidatedByList);
}

#[tokio::test]
async fn an_error_of_a_list_names_its_prefix() {
    for (failure, kind) in [
        (Failure::Unavailable, ErrorKind::Unavailable),
        (Failure::PermissionDenied, ErrorKind::PermissionDenied),
        (Failure::Unauthenticated, ErrorKind::Unauthenticated),
        (Failure::NotFound, ErrorKind::NotFound),
        (Failure::NotImplemented, ErrorKind::Unsupported),
        (Failure::InvalidPath, ErrorKind::InvalidKey),
    ] {
        let store = FaultyStore::in_memory();
        store.fault(Fault::error(failure).on(Operation::List));
        let rig = Rig::over(Arc::new(store));
        let error = rig.cache.get_prefix("a/b", 1).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains("InMemory cannot list \"a/b\""), "{error}");
    }
}

/// As a web server's without WebDAV, in the words of object_store's client.
#[tokio::test]
async fn a_web_server_without_webdav_cannot_list() {
    for (source, kind) in [
        ("Server returned non-2xx status code: 405 Method Not Allowed: ", ErrorKind::Unsupported),
        ("Error decoding PROPFIND response: no element", ErrorKind::Unsupported),
        ("Server returned non-2xx status code: 503 Service Unavailable: ", ErrorKind::Unavailable),
    ] {
        let store = FaultyStore::in_memory();
        let error = move |_: &_| Error::Generic { store: "HTTP", source: source.into() };
        store.fault(Fault::error_with(error).on(Operation::List));
        let rig = Rig::over(Arc::new(store));
        let error = rig.cache.get_prefix("", 1).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.to_string().contains("WebDAV"), kind == ErrorKind::Unsupported, "{error}");
    }
}

#[tokio::test]
async fn an_object_whose_path_is_no_path_is_an_error() {
    let server = S3Server::start().unwrap();
    server.put("a//b", "body");
    let rig = Rig::over(Arc::new(server.client()));
    let error = rig.cache.get_prefix("a/", 1).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_does_not_come_is_a_timeout() {
    let store = FaultyStore::in_memory();
    store.fault(Fault::hang().on(Operation::List));
    let builder = EtagValidator::builder(Arc::new(store));
    let rig = Rig::with(builder.origin_timeout(Duration::from_secs(3)));
    let error = rig.cache.list("a/").try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("\"a/\" within 3s (origin_timeout)"), "{error}");
}

/// I-36: whatever the rule, a read after a list is not older than the list showed.
#[tokio::test]
async fn a_read_after_a_list_is_not_older_than_it_showed() {
    for freshness in [Freshness::max_age(Duration::from_secs(3600)), Freshness::immutable()] {
        for is_deleted in [false, true] {
            let store = FaultyStore::in_memory();
            let path = Path::from("a/b");
            filled(&store, ["a/b", "a/c"]).await;
            let rig = Rig::over(Arc::new(store.clone()));
            rig.cache.list("a/").try_collect::<Vec<_>>().await.unwrap();
            store.fault(Fault::hold().late().once().on(Operation::Get));
            let cache = rig.cache.clone();
            let late = tokio::spawn(async move { cache.get("a/b", Some(&freshness)).await });
            store.wait_until_held(1).await;
            match is_deleted {
                true => store.inner().delete(&path).await.unwrap(),
                false => drop(store.inner().put(&path, "news".into()).await.unwrap()),
            }
            rig.cache.list("a/").try_collect::<Vec<_>>().await.unwrap();
            store.release_all();
            late.await.unwrap().ok();
            let read = rig.cache.get("a/b", Some(&freshness)).await;
            match is_deleted {
                true => assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound),
                false => assert_eq!(read.unwrap().entry.body(), "news"),
            }
        }
    }
}

/// A renewed entry is fresh for as long as it would be after a request of its own.
#[tokio::test]
async fn a_list_renews_what_is_just_past_its_max_age() {
    let store = FaultyStore::in_memory();
    let names: Vec<_> = (0..100).map(name).collect();
    filled(&store, names.iter().map(String::as_str)).await;
    let rig = Rig::over(Arc::new(store.clone()));
    let rule = Freshness::max_age(SECONDS_10);
    let read_all = || async {
        for name in &names {
            rig.cache.get(name, Some(&rule)).await.unwrap();
        }
    };
    read_all().await;
    rig.clock.advance(SECONDS_10 + Duration::from_secs(1));
    store.reset();
    rig.cache.list("models/").try_collect::<Vec<_>>().await.unwrap();
    rig.clock.advance(SECONDS_10 - Duration::from_secs(1));
    read_all().await;
    assert_eq!(store.count(), 1);
    rig.clock.advance(Duration::from_secs(2));
    read_all().await;
    assert_eq!(store.count(), 101);
}

#[tokio::test]
async fn a_store_that_is_verified_is_so_before_its_lists_are_relied_upon() {
    let store = FaultyStore::in_memory();
    store.fault(Fault::tag(cache_testkit::TagFault::Replaced("\"same\"".into())));
    let rig = Rig::with(EtagValidator::builder(Arc::new(store)).verify_store(true));
    let error = rig.cache.list("").try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

const SECONDS_10: Duration = Duration::from_secs(10);
