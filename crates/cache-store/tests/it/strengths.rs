use std::sync::Arc;

use cache_core::{Origin, PutCondition, Storability, Validator, Version};
use cache_store::{CachedStore, EtagValidator, ValidatorStrength};
use cache_testkit::{Fault, FaultyStore, MapBackend, S3Server, TagFault};
use object_store::{
    ObjectStore, ObjectStoreExt, chunked::ChunkedStore, limit::LimitStore, local::LocalFileSystem,
    memory::InMemory, prefix::PrefixStore, throttle::ThrottledStore,
};

use crate::{
    SECONDS, builder,
    clock::{SetClock, date},
    fetch, is_unchanged, key, local_disk, origin, path, stored, write,
};

/// A store whose tag stays when an object is rewritten with as many bytes, at 100.9 seconds.
async fn repeating(body: &'static str) -> FaultyStore {
    let store = stored(body).await;
    store.fault(Fault::tag(TagFault::Replaced("\"100-3\"".into())));
    store.fault(Fault::last_modified(Some(date(100.9))));
    store
}

#[tokio::test]
async fn a_repeating_tag_never_confirms_a_young_version_under_a_timestamp() {
    let store = repeating("old").await;
    let clock = SetClock::at(100.95);
    let origin = builder(&store).validator_strength(SECONDS).clock(clock.clone()).build().unwrap();
    let old = fetch(&origin, None).await;
    assert_eq!(old.storability(), Storability::FreshOnly);
    write(&store, "new").await;
    // However old it is by now: it was young when it was fetched.
    clock.set(1000.0);
    let new = fetch(&origin, Some(&old)).await;
    assert_eq!((new.body().as_ref(), new.e_tag()), (b"new".as_slice(), old.e_tag()));
    assert_eq!(new.storability(), Storability::Revalidatable);
    assert!(is_unchanged(&origin, &new).await);
}

#[tokio::test]
async fn the_same_tag_taken_for_a_strong_one_confirms_other_bytes() {
    let store = repeating("old").await;
    let origin = builder(&store).validator_strength(ValidatorStrength::Strong).build().unwrap();
    let old = fetch(&origin, None).await;
    write(&store, "new").await;
    // This is why the strength is chosen by the kind of store.
    assert!(is_unchanged(&origin, &old).await);
}

#[tokio::test]
async fn the_age_counts_from_when_the_request_was_sent() {
    let store = repeating("old").await;
    let clock = SetClock::at(102.0);
    let origin = builder(&store).validator_strength(SECONDS).clock(clock.clone()).build().unwrap();
    store.fault(Fault::hold().late());
    let reader = tokio::spawn(async move { fetch(&origin, None).await });
    store.wait_until_held(1).await;
    clock.set(1000.0);
    store.release_all();
    assert_eq!(reader.await.unwrap().storability(), Storability::FreshOnly);
}

#[tokio::test]
async fn a_weak_tag_confirms_only_if_accepted() {
    let store = stored("old").await;
    store.fault(Fault::tag(TagFault::Weak));
    for (accept, keep) in [(false, Storability::FreshOnly), (true, Storability::Revalidatable)] {
        let origin = builder(&store).accept_weak_validators(accept).build().unwrap();
        let entry = fetch(&origin, None).await;
        assert_eq!((entry.e_tag(), entry.storability()), (Some("W/\"0\""), keep));
        store.reset();
        assert_eq!(is_unchanged(&origin, &entry).await, accept);
        assert_eq!(store.requests()[0].if_none_match.is_some(), accept);
    }
}

#[tokio::test]
async fn under_weak_strength_every_tag_is_weak() {
    let store = stored("old").await;
    for (accept, keep) in [(false, Storability::FreshOnly), (true, Storability::Revalidatable)] {
        let origin = builder(&store)
            .validator_strength(ValidatorStrength::Weak)
            .accept_weak_validators(accept)
            .build()
            .unwrap();
        assert_eq!(fetch(&origin, None).await.storability(), keep);
    }
}

#[tokio::test]
async fn under_no_strength_nothing_is_kept() {
    let store = stored("old").await;
    let origin = builder(&store).validator_strength(ValidatorStrength::None).build().unwrap();
    let entry = fetch(&origin, None).await;
    assert_eq!(entry.storability(), Storability::NoStore);
    fetch(&origin, Some(&entry)).await;
    assert_eq!(store.requests()[1].if_none_match, None);
}

#[tokio::test]
async fn what_was_just_put_is_confirmable_only_by_a_strong_tag() {
    use ValidatorStrength as S;
    let version = |e_tag: Option<&str>| Version::default().with_e_tag(e_tag.map(Into::into));
    let store = stored("").await;
    for (strength, e_tag, expected) in [
        (S::Strong, Some("\"1\""), Storability::Revalidatable),
        (S::Strong, Some("W/\"1\""), Storability::FreshOnly),
        (S::Strong, None, Storability::NoStore),
        (SECONDS, Some("\"1\""), Storability::FreshOnly),
        (SECONDS, None, Storability::NoStore),
        (S::Weak, Some("\"1\""), Storability::FreshOnly),
        (S::None, Some("\"1\""), Storability::NoStore),
    ] {
        let origin = builder(&store).validator_strength(strength).build().unwrap();
        let entry = origin.entry_of_put(&key(), "body".into(), &version(e_tag));
        assert_eq!(
            (entry.storability(), entry.e_tag()),
            (expected, e_tag),
            "{strength:?} {e_tag:?}"
        );
    }

    // However old an origin of its own kind says that the version is.
    let origin = builder(&store).validator_strength(SECONDS).build().unwrap();
    let dated = version(Some("\"1\"")).with_last_modified(Some(date(1.0)));
    assert_eq!(
        origin.entry_of_put(&key(), "body".into(), &dated).storability(),
        Storability::FreshOnly
    );
}

#[tokio::test]
async fn the_entry_of_a_put_is_confirmed_by_the_next_question() {
    let store = FaultyStore::in_memory();
    let origin = origin(&store);
    let version = origin.put(&key(), "body".into(), PutCondition::Always).await.unwrap();
    let entry = origin.entry_of_put(&key(), "body".into(), &version);
    assert!(is_unchanged(&origin, &entry).await);
    assert_eq!((store.count(), store.body_bytes()), (2, 0));
}

#[tokio::test]
async fn the_kind_of_store_decides() {
    #[track_caller]
    fn check(store: impl ObjectStore, expected: ValidatorStrength) {
        assert_eq!(ValidatorStrength::of(&store), expected, "{store}");
        let shown = store.to_string();
        let origin = EtagValidator::builder(Arc::new(store)).build().unwrap();
        assert_eq!(origin.validator_strength(), expected, "{shown}");
    }
    const BY_FORM: ValidatorStrength = ValidatorStrength::ByForm;
    let memory = || Arc::new(InMemory::new()) as Arc<dyn ObjectStore>;
    check(InMemory::new(), ValidatorStrength::Strong);
    check(memory(), ValidatorStrength::Strong);
    check(ThrottledStore::new(InMemory::new(), Default::default()), ValidatorStrength::Strong);
    check(LimitStore::new(InMemory::new(), 2), ValidatorStrength::Strong);
    check(ChunkedStore::new(memory(), 2), ValidatorStrength::Strong);
    let nested = ThrottledStore::new(InMemory::new(), Default::default());
    check(LimitStore::new(ChunkedStore::new(Arc::new(nested), 2), 2), ValidatorStrength::Strong);
    // Shows its prefix, but not its store; and a prefix may look like anything.
    check(PrefixStore::new(InMemory::new(), "tenant"), BY_FORM);
    check(PrefixStore::new(InMemory::new(), "InMemory"), BY_FORM);
    check(LimitStore::new(PrefixStore::new(InMemory::new(), "tenant"), 2), BY_FORM);
}

/// What most programs have: a bucket behind a wrapper that hides its kind.
#[tokio::test]
async fn behind_a_wrapper_the_tags_of_a_bucket_are_known_by_their_form() {
    let server = S3Server::start().unwrap();
    let bucket = PrefixStore::new(server.client(), "tenant");
    let store = FaultyStore::new(Arc::new(bucket));
    let origin = builder(&store).build().unwrap();
    // A put is followed by a hit, and what is young is confirmed.
    let version = origin.put(&key(), "one".into(), PutCondition::Always).await.unwrap();
    assert_eq!(
        origin.entry_of_put(&key(), "one".into(), &version).storability(),
        Storability::Revalidatable
    );
    let entry = fetch(&origin, None).await;
    assert!(is_unchanged(&origin, &entry).await);
    // As for CachedStore.
    let cached = CachedStore::builder(Arc::new(store.clone()), Arc::new(MapBackend::new()));
    let cached = cached.build().unwrap();
    for body_bytes in [3, 0] {
        store.reset();
        assert_eq!(cached.get(&path()).await.unwrap().bytes().await.unwrap(), "one");
        assert_eq!((store.count(), store.body_bytes()), (1, body_bytes));
    }
    // The override is kept.
    let origin = builder(&store).validator_strength(ValidatorStrength::Weak).build().unwrap();
    assert_eq!(fetch(&origin, None).await.storability(), Storability::FreshOnly);
}

#[cfg(feature = "aws")]
#[test]
fn s3_is_strong() {
    let store = object_store::aws::AmazonS3Builder::new()
        .with_bucket_name("bucket")
        .with_access_key_id("id")
        .with_secret_access_key("not-to-be-shown")
        .build()
        .unwrap();
    assert_eq!(ValidatorStrength::of(&store), ValidatorStrength::Strong);
    let origin = EtagValidator::builder(Arc::new(store)).build().unwrap();
    assert!(!format!("{origin:?}").contains("not-to-be-shown"));
}

#[cfg(feature = "gcp")]
#[test]
fn gcs_is_strong() {
    let store = object_store::gcp::GoogleCloudStorageBuilder::new()
        .with_bucket_name("bucket")
        .with_service_account_key(
            r#"{"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": true}"#,
        )
        .build()
        .unwrap();
    assert_eq!(ValidatorStrength::of(&store), ValidatorStrength::Strong);
}

#[cfg(feature = "azure")]
#[test]
fn azure_is_strong() {
    let store = object_store::azure::MicrosoftAzureBuilder::new()
        .with_use_emulator(true)
        .with_container_name("container")
        .build()
        .unwrap();
    assert_eq!(ValidatorStrength::of(&store), ValidatorStrength::Strong);
}

#[cfg(feature = "http")]
#[test]
fn http_counts_seconds() {
    let store =
        object_store::http::HttpBuilder::new().with_url("https://example.com").build().unwrap();
    assert_eq!(ValidatorStrength::of(&store), SECONDS);
}

#[tokio::test]
async fn local_disk_is_judged_by_its_file_system_also_through_wrappers() {
    let (folder, store) = local_disk();
    let disk = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let strength = ValidatorStrength::of(&disk);
    assert!(matches!(strength, ValidatorStrength::Strong | ValidatorStrength::Timestamp(_)));
    assert_eq!(ValidatorStrength::of(&store), strength);
    assert_eq!(ValidatorStrength::of(&LimitStore::new(disk, 1)), strength);
    // Below the root of the machine lie file systems of every kind.
    #[cfg(target_os = "linux")]
    assert_eq!(ValidatorStrength::of(&LocalFileSystem::new()), SECONDS);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_system_that_keeps_nanoseconds_is_not_taken_for_a_coarse_one() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if !mounts.lines().any(|line| line.contains(" /dev/shm ") && line.contains(" - tmpfs ")) {
        eprintln!("left out: there is no tmpfs at /dev/shm");
        return;
    }
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let disk = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    assert_ne!(ValidatorStrength::of(&disk), SECONDS);
}

/// On any kernel and file system: that is what the strength is found out for.
#[tokio::test]
async fn a_quick_rewrite_of_equal_size_on_local_disk_is_always_seen() {
    let (_folder, store) = local_disk();
    let origin = origin(&store);
    write(&store, "00000").await;
    let mut held = fetch(&origin, None).await;
    for n in 1..1000 {
        let body = format!("{n:05}");
        write(&store, body.clone()).await;
        assert!(!is_unchanged(&origin, &held).await, "{n}");
        held = fetch(&origin, Some(&held)).await;
        assert_eq!(held.body(), &body);
    }
}

#[tokio::test]
async fn an_entry_that_the_store_cannot_confirm_is_not_asked_about() {
    let store = stored("body").await;
    let origin = origin(&store);
    let version = fetch(&origin, None).await.version();
    let key = key();
    let entry = cache_core::Entry::builder(&key, "other".into());
    let entry = entry.version(version).storability(Storability::FreshOnly).build();
    origin.validate(&key, Some(&entry)).await.unwrap();
    assert_eq!(store.requests()[1].if_none_match, None);
}
