//! The probe finds what real servers were seen to break.

use std::{collections::BTreeMap, fmt, ops::Range, time::Duration};

use async_trait::async_trait;
use cache_core::{ErrorKind, Validator as _};
use cache_store::{Capabilities, EtagValidator, Support, ValidatorStrength, probe_capabilities};
use cache_testkit::{Failure, Fault, FaultyStore, Operation, TagFault};
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, Result, local::LocalFileSystem, memory::InMemory, path::Path,
};

use crate::{
    SECONDS,
    listed_store::{Listed, ListedStore},
};

async fn probe(store: &dyn ObjectStore) -> Capabilities {
    let seen = probe_capabilities(store, &Path::from("a/b")).await.unwrap();
    let left: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert!(left.is_empty(), "the probe leaves {left:?}");
    seen
}

async fn of_broken(fault: Broken) -> Capabilities {
    probe(&BrokenStore { inner: InMemory::new(), fault }).await
}

#[tokio::test]
async fn a_store_in_memory_keeps_everything() {
    let seen = probe(&InMemory::new()).await;
    for support in [
        seen.conditional_get,
        seen.pinned_range,
        seen.conditional_create,
        seen.conditional_update,
        seen.tag_per_version,
        seen.list_validation,
    ] {
        assert_eq!(support, Support::Honored, "{seen}");
    }
    assert_eq!(seen.strength, ValidatorStrength::Strong);
    assert_eq!(
        (
            seen.objection_to_validation(ValidatorStrength::Strong),
            seen.objection_to_conditional_puts()
        ),
        (None, None)
    );
}

#[tokio::test]
async fn local_disk_says_that_it_cannot_update() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let seen = probe_capabilities(&store, &Path::from("a")).await.unwrap();
    assert_eq!(seen.conditional_update, Support::Unsupported);
    assert_eq!(
        (seen.conditional_create, seen.conditional_get),
        (Support::Honored, Support::Honored)
    );
    assert_eq!(seen.objection_to_conditional_puts(), None);
    assert_eq!((seen.list_validation, seen.objection_to_lists()), (Support::Honored, None));
}

/// How the lists of `store` are seen to be.
async fn lists_of(store: impl ObjectStore) -> Support {
    let seen = probe_capabilities(&store, &Path::from("a/b")).await.unwrap();
    assert_eq!(seen.objection_to_lists().is_some(), seen.list_validation == Support::Racy);
    assert!(seen.to_string().contains("list validation"), "{seen}");
    seen.list_validation
}

fn listed(edit: impl Fn(ObjectMeta) -> ObjectMeta + Clone + Send + Sync + 'static) -> ListedStore {
    ListedStore::new("InMemory", move |objects| {
        objects.into_iter().map(&edit).map(Listed::Object).collect()
    })
}

#[tokio::test]
async fn lists_that_cannot_renew_are_found() {
    let without_tags = listed(|object| ObjectMeta { e_tag: None, ..object });
    assert_eq!(lists_of(without_tags).await, Support::Ignored);
    let other_tags = listed(|object| ObjectMeta { e_tag: Some("\"other\"".into()), ..object });
    assert_eq!(lists_of(other_tags).await, Support::Refused);
    let other_dates = listed(|mut object| {
        object.last_modified += Duration::from_secs(5);
        object
    });
    assert_eq!(lists_of(other_dates).await, Support::Refused);
    let without_quotes = listed(|mut object| {
        object.e_tag = object.e_tag.map(|tag| tag.trim_matches('"').to_owned());
        object
    });
    assert_eq!(lists_of(without_quotes).await, Support::Honored);
}

#[tokio::test]
async fn lists_that_lag_behind_are_found() {
    // After a put, after a rewrite, and after a delete.
    for lag in 0..3 {
        let earlier = std::sync::Mutex::new(BTreeMap::<Path, ObjectMeta>::new());
        let store = ListedStore::new("InMemory", move |objects| {
            let mut earlier = earlier.lock().unwrap();
            let mut shown: BTreeMap<_, _> =
                objects.into_iter().map(|object| (object.location.clone(), object)).collect();
            let now = shown.clone();
            match lag {
                0 => shown.retain(|path, _| earlier.contains_key(path)),
                1 => shown.extend(
                    earlier
                        .iter()
                        .filter(|(path, _)| now.contains_key(path))
                        .map(|(path, object)| (path.clone(), object.clone())),
                ),
                _ => earlier.iter().for_each(|(path, object)| {
                    shown.entry(path.clone()).or_insert_with(|| object.clone());
                }),
            }
            *earlier = now;
            shown.into_values().map(Listed::Object).collect()
        });
        assert_eq!(lists_of(store.clone()).await, Support::Racy, "{lag}");

        let origin = EtagValidator::builder(std::sync::Arc::new(store)).verify_store(true).build();
        let page = origin.unwrap().list("a/", None).pages.next().await.unwrap();
        assert_eq!(page.unwrap_err().kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn a_store_without_lists_is_found() {
    for failure in [Failure::NotImplemented, Failure::NotSupported, Failure::PermissionDenied] {
        let store = FaultyStore::in_memory();
        store.fault(Fault::error(failure).on(Operation::List));
        assert_eq!(lists_of(store).await, Support::Unsupported);
    }
    let store = FaultyStore::in_memory();
    store.fault(Fault::tag(TagFault::Missing));
    assert_eq!(lists_of(store).await, Support::Unsupported);

    let store = FaultyStore::in_memory();
    store.fault(Fault::error(Failure::Unavailable).on(Operation::List));
    let error = probe_capabilities(&store, &Path::from("a/b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// As Garage 2.5.
#[tokio::test]
async fn ignored_conditions_of_puts_are_found() {
    let seen = of_broken(Broken::IgnoresPutConditions).await;
    assert_eq!(
        (seen.conditional_create, seen.conditional_update),
        (Support::Ignored, Support::Ignored)
    );
    assert_eq!(seen.conditional_get, Support::Honored);
    assert!(
        seen.objection_to_conditional_puts().is_some()
            && seen.objection_to_validation(ValidatorStrength::Strong).is_none()
    );
}

/// As s3s-fs 0.14.
#[tokio::test]
async fn ignored_conditions_of_gets_are_found() {
    let seen = of_broken(Broken::IgnoresGetConditions).await;
    assert_eq!((seen.conditional_get, seen.pinned_range), (Support::Ignored, Support::Ignored));
    assert_eq!(seen.conditional_update, Support::Honored);
    assert_eq!(
        seen.objection_to_validation(ValidatorStrength::Strong),
        None,
        "it is right, only dear"
    );
}

/// As Ceph's gateway 16.2, to the very tag that it gave out.
#[tokio::test]
async fn a_right_version_that_is_refused_is_found() {
    let seen = of_broken(Broken::RefusesRightVersion).await;
    assert_eq!(
        (seen.conditional_create, seen.conditional_update),
        (Support::Honored, Support::Refused)
    );
    assert!(seen.objection_to_conditional_puts().is_some());
}

/// As moto with threads, and s3s-fs: looks first, then writes.
#[tokio::test]
async fn conditional_puts_that_both_win_are_found() {
    let seen = of_broken(Broken::LooksThenWrites).await;
    assert_eq!((seen.conditional_create, seen.conditional_update), (Support::Racy, Support::Racy));
    assert!(seen.objection_to_conditional_puts().is_some());
}

/// As s3s-fs: the tag is of one version, the body of the next.
#[tokio::test]
async fn a_body_with_the_tag_of_another_is_found() {
    let seen = of_broken(Broken::TagsBeforeBodies).await;
    assert_eq!((seen.tag_per_version, seen.strength), (Support::Racy, ValidatorStrength::None));
    assert!(seen.objection_to_validation(SECONDS).is_some());
}

#[tokio::test]
async fn a_not_modified_for_another_tag_is_found() {
    let seen = of_broken(Broken::ConfirmsEverything).await;
    assert_eq!(seen.conditional_get, Support::Refused);
    assert!(seen.objection_to_validation(ValidatorStrength::Strong).is_some());
}

/// As a web server whose tags are made of seconds and sizes.
#[tokio::test]
async fn one_tag_for_two_versions_is_found() {
    let store = FaultyStore::in_memory();
    store.fault(Fault::tag(TagFault::Replaced("\"6b03584e-8\"".into())));
    let seen = probe(&store).await;
    assert_eq!((seen.tag_per_version, seen.strength), (Support::Ignored, SECONDS));
    assert!(seen.objection_to_validation(ValidatorStrength::Strong).is_some());
    assert!(seen.objection_to_validation(SECONDS).is_none());
}

#[tokio::test]
async fn weak_and_missing_tags_are_found() {
    let store = FaultyStore::in_memory();
    store.fault(Fault::tag(TagFault::Weak));
    assert_eq!(probe(&store).await.strength, ValidatorStrength::Weak);
    store.heal();
    store.fault(Fault::tag(TagFault::Missing));
    let seen = probe(&store).await;
    assert_eq!(
        (seen.strength, seen.conditional_get),
        (ValidatorStrength::None, Support::Unsupported)
    );
    assert_eq!(seen.conditional_create, Support::Honored);
}

#[tokio::test]
async fn objects_that_may_not_be_deleted_are_counted_and_no_failure() {
    let store = FaultyStore::in_memory();
    store.fault(Fault::error(Failure::PermissionDenied).on(Operation::Delete));
    let seen = probe_capabilities(&store, &Path::from("a/b")).await.unwrap();
    for support in [
        seen.conditional_get,
        seen.pinned_range,
        seen.conditional_create,
        seen.conditional_update,
        seen.tag_per_version,
    ] {
        assert_eq!(support, Support::Honored, "{seen}");
    }
    let n_left = store.inner().list(Some(&Path::from("a/b"))).count().await;
    assert_eq!((seen.left_behind, n_left), (4, 4));
    assert!(seen.to_string().contains("left behind          4"), "{seen}");
}

#[tokio::test]
async fn an_error_of_the_probe_names_its_object() {
    let store = FaultyStore::in_memory();
    store.fault(Fault::error(Failure::PermissionDenied).on(Operation::Put));
    let error = probe_capabilities(&store, &Path::from("a/b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(error.key(), Some(store.requests()[0].location.as_ref()));
    assert_eq!(store.count(), 1, "there is nothing to clean up");
}

#[tokio::test]
async fn a_store_that_refuses_is_an_error_and_nothing_stays_behind() {
    let store = FaultyStore::in_memory();
    store.fault(Fault::error(Failure::PermissionDenied).on(Operation::Get));
    let error = probe_capabilities(&store, &Path::from("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(store.inner().list(None).count().await, 0);
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Broken {
    IgnoresPutConditions,
    IgnoresGetConditions,
    RefusesRightVersion,
    LooksThenWrites,
    TagsBeforeBodies,
    ConfirmsEverything,
}

#[derive(Debug)]
pub(crate) struct BrokenStore {
    pub(crate) inner: InMemory,
    pub(crate) fault: Broken,
}

impl BrokenStore {
    /// Whether `mode` allows a put now.
    async fn look(&self, path: &Path, mode: &PutMode) -> Result<()> {
        let held = self.inner.head(path).await.ok().and_then(|meta| meta.e_tag);
        match mode {
            PutMode::Create if held.is_some() => {
                Err(Error::AlreadyExists { path: path.to_string(), source: "there".into() })
            }
            PutMode::Update(version) if held != version.e_tag => Err(precondition(path)),
            _ => Ok(()),
        }
    }
}

fn precondition(path: &Path) -> Error {
    Error::Precondition { path: path.to_string(), source: "not at that version".into() }
}

impl fmt::Display for BrokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for BrokenStore {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        match self.fault {
            Broken::IgnoresPutConditions => options.mode = PutMode::Overwrite,
            Broken::RefusesRightVersion if matches!(options.mode, PutMode::Update(_)) => {
                return Err(precondition(path));
            }
            Broken::LooksThenWrites => {
                self.look(path, &options.mode).await?;
                tokio::task::yield_now().await;
                options.mode = PutMode::Overwrite;
            }
            _ => {}
        }
        self.inner.put_opts(path, payload, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        match self.fault {
            Broken::IgnoresGetConditions => {
                self.inner
                    .get_opts(path, GetOptions { if_match: None, if_none_match: None, ..options })
                    .await
            }
            Broken::ConfirmsEverything if options.if_none_match.is_some() => {
                Err(Error::NotModified { path: path.to_string(), source: "as ever".into() })
            }
            Broken::TagsBeforeBodies if !options.head => {
                let meta = self.inner.head(path).await?;
                tokio::task::yield_now().await;
                Ok(GetResult { meta, ..self.inner.get_opts(path, options).await? })
            }
            _ => self.inner.get_opts(path, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
