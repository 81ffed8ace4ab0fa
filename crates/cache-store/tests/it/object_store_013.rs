//! A store of object_store 0.14, used as one of 0.13.

use std::{
    error::Error as _,
    fmt,
    future::{self, Future},
    io, mem,
    ops::Range,
    str,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_store::ObjectStore013;
use cache_testkit::{Failure, Fault, FaultyStore};
use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store_013::{
    Attribute, Attributes, CopyMode, CopyOptions, Error, GetOptions, GetRange, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, RenameOptions,
    RenameTargetMode, TagSet, UpdateVersion, integration,
    path::{self, Path},
};
use proptest::prelude::*;
use tokio::task::JoinError;

use crate::local_disk;

fn in_memory() -> ObjectStore013 {
    ObjectStore013::new(Arc::new(object_store::memory::InMemory::new()))
}

fn over(store: &FaultyStore) -> ObjectStore013 {
    ObjectStore013::new(Arc::new(store.clone()))
}

/// What the stores of 0.13 in memory and on local disk pass, but for the traits that are not
/// `ObjectStore`.
async fn suite(store: &ObjectStore013) {
    integration::put_get_delete_list(store).await;
    integration::list_with_offset_exclusivity(store).await;
    integration::get_opts(store).await;
    integration::list_uses_directories_correctly(store).await;
    integration::list_with_delimiter(store).await;
    integration::rename_and_copy(store).await;
    integration::copy_if_not_exists(store).await;
    integration::copy_rename_nonexistent_object(store).await;
    integration::stream_get(store).await;
    integration::multipart_race_condition(store, true).await;
    integration::multipart_out_of_order(store).await;
}

#[tokio::test]
async fn the_suite_of_013_passes_over_memory() {
    let store = in_memory();
    suite(&store).await;
    integration::put_opts(&store, true).await;
    integration::put_get_attributes(&store).await;
}

#[tokio::test]
async fn the_suite_of_013_passes_over_local_disk() {
    let (_folder, store) = local_disk();
    let store = over(&store);
    suite(&store).await;
    integration::put_opts(&store, false).await;
}

/// The calls of each method, as their arguments print themselves: the types of both versions do so
/// alike.
fn call(
    method: &str,
    arguments: &impl fmt::Debug,
    extensions: &object_store::Extensions,
) -> String {
    format!("{method} {arguments:?} {:?}", extensions.get::<Marker>())
}

/// What a caller puts into the extensions of its options.
#[derive(Debug, Clone, PartialEq)]
struct Marker(u8);

fn marked(marker: Option<u8>) -> object_store_013::Extensions {
    let mut extensions = object_store_013::Extensions::new();
    if let Some(marker) = marker {
        extensions.insert(Marker(marker));
    }
    extensions
}

/// A store of 0.14 that notes what it is asked, and answers with what is in no store of the suite.
#[derive(Debug, Clone, Default)]
struct Noting(Arc<Mutex<Vec<String>>>);

impl Noting {
    fn note(&self, method: &str, arguments: &impl fmt::Debug) {
        self.note_with(method, arguments, &Default::default());
    }

    fn note_with(
        &self,
        method: &str,
        arguments: &impl fmt::Debug,
        extensions: &object_store::Extensions,
    ) {
        self.0.lock().unwrap().push(call(method, arguments, extensions));
    }

    fn old(&self) -> ObjectStore013 {
        ObjectStore013::new(Arc::new(self.clone()))
    }

    /// What was noted since the last time.
    fn take(&self) -> Vec<String> {
        mem::take(&mut *self.0.lock().unwrap())
    }

    fn put_result() -> object_store::PutResult {
        let (e_tag, version) = (Some("\"tag\"".to_owned()), Some("v7".to_owned()));
        object_store::PutResult { e_tag, version, extensions: Default::default() }
    }

    fn meta(location: &str) -> object_store::ObjectMeta {
        object_store::ObjectMeta {
            location: location.into(),
            last_modified: DateTime::from_timestamp_nanos(1_000_000_007),
            size: 9,
            e_tag: Some("\"tag\"".to_owned()),
            version: Some("v7".to_owned()),
        }
    }

    fn get_result() -> object_store::GetResult {
        let body = stream::iter([
            Ok(Bytes::from("bc")),
            Err(Failure::PermissionDenied.error(&"a".into())),
        ]);
        object_store::GetResult {
            payload: object_store::GetResultPayload::Stream(body.boxed()),
            meta: Self::meta("a"),
            range: 1..4,
            attributes: [(object_store::Attribute::StorageClass, "COLD")].into_iter().collect(),
            extensions: Default::default(),
        }
    }
}

impl fmt::Display for Noting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Noting")
    }
}

type Result014<T> = object_store::Result<T>;
type Path014 = object_store::path::Path;

#[async_trait]
impl object_store::ObjectStore for Noting {
    async fn put_opts(
        &self,
        location: &Path014,
        payload: object_store::PutPayload,
        options: object_store::PutOptions,
    ) -> Result014<object_store::PutResult> {
        self.note_with("put", &(location, payload, &options), &options.extensions);
        Ok(Self::put_result())
    }

    async fn put_multipart_opts(
        &self,
        location: &Path014,
        options: object_store::PutMultipartOptions,
    ) -> Result014<Box<dyn object_store::MultipartUpload>> {
        self.note_with("multipart", &(location, &options), &options.extensions);
        Ok(Box::new(self.clone()))
    }

    async fn get_opts(
        &self,
        location: &Path014,
        options: object_store::GetOptions,
    ) -> Result014<object_store::GetResult> {
        self.note_with("get", &(location, &options), &options.extensions);
        Ok(Self::get_result())
    }

    async fn get_ranges(&self, location: &Path014, ranges: &[Range<u64>]) -> Result014<Vec<Bytes>> {
        self.note("ranges", &(location, ranges));
        Ok(vec![Bytes::from("b")])
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result014<Path014>>,
    ) -> BoxStream<'static, Result014<Path014>> {
        let store = self.clone();
        locations.inspect(move |location| store.note("delete", location)).boxed()
    }

    fn list(
        &self,
        prefix: Option<&Path014>,
    ) -> BoxStream<'static, Result014<object_store::ObjectMeta>> {
        self.note("list", &prefix);
        stream::iter([Ok(Self::meta("b")), Err(Failure::Unauthenticated.error(&"c".into()))])
            .boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path014>,
        offset: &Path014,
    ) -> BoxStream<'static, Result014<object_store::ObjectMeta>> {
        self.note("list after", &(prefix, offset));
        stream::iter([Ok(Self::meta("b"))]).boxed()
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&Path014>,
    ) -> Result014<object_store::ListResult> {
        self.note("delimiter", &prefix);
        Ok(object_store::ListResult {
            common_prefixes: vec!["p".into()],
            objects: vec![Self::meta("b")],
            extensions: Default::default(),
        })
    }

    async fn copy_opts(
        &self,
        from: &Path014,
        to: &Path014,
        options: object_store::CopyOptions,
    ) -> Result014<()> {
        self.note_with("copy", &(from, to, &options), &options.extensions);
        Ok(())
    }

    async fn rename_opts(
        &self,
        from: &Path014,
        to: &Path014,
        options: object_store::RenameOptions,
    ) -> Result014<()> {
        self.note_with("rename", &(from, to, &options), &options.extensions);
        Ok(())
    }
}

#[async_trait]
impl object_store::MultipartUpload for Noting {
    fn put_part(&mut self, data: object_store::PutPayload) -> object_store::UploadPart {
        self.note("part", &data);
        future::ready(Ok(())).boxed()
    }

    async fn complete(&mut self) -> Result014<object_store::PutResult> {
        self.note("complete", &());
        Ok(Self::put_result())
    }

    async fn abort(&mut self) -> Result014<()> {
        self.note("abort", &());
        Ok(())
    }
}

#[tokio::test]
async fn each_method_is_the_method_of_that_name() {
    let noting = Noting::default();
    let old = noting.old();
    let (a, b, prefix) = (Path::from("a"), Path::from("b"), Path::from("p"));
    let none = Default::default();

    assert_eq!(old.get_ranges(&a, &[1..3, 4..5]).await.unwrap(), ["b"]);
    assert_eq!(noting.take(), [call("ranges", &(&a, [1..3, 4..5]), &none)]);

    let deleted = old.delete_stream(stream::iter([Ok(a.clone()), Ok(b.clone())]).boxed());
    assert_eq!(deleted.try_collect::<Vec<_>>().await.unwrap(), [a.clone(), b.clone()]);
    let each = [&a, &b].map(|path| call("delete", &Ok::<_, ()>(path), &none));
    assert_eq!(noting.take(), each);

    for prefix in [None, Some(&prefix)] {
        let listed: Vec<_> = old.list(prefix).collect().await;
        assert_eq!(
            format!("{:?}", listed[0].as_ref().unwrap()),
            format!("{:?}", Noting::meta("b"))
        );
        assert!(
            matches!(&listed[..], [Ok(_), Err(Error::Unauthenticated { path, .. })] if path == "c")
        );
        assert_eq!(noting.take(), [call("list", &prefix, &none)]);

        let listed: Vec<_> = old.list_with_offset(prefix, &a).try_collect().await.unwrap();
        assert_eq!(format!("{listed:?}"), format!("{:?}", [Noting::meta("b")]));
        assert_eq!(noting.take(), [call("list after", &(prefix, &a), &none)]);

        let listed = old.list_with_delimiter(prefix).await.unwrap();
        assert_eq!(listed.common_prefixes, [Path::from("p")]);
        assert_eq!(format!("{:?}", listed.objects), format!("{:?}", [Noting::meta("b")]));
        assert_eq!(noting.take(), [call("delimiter", &prefix, &none)]);
    }

    let mut upload = old.put_multipart(&a).await.unwrap();
    upload.put_part("1".into()).await.unwrap();
    upload.put_part("22".into()).await.unwrap();
    let result = upload.complete().await.unwrap();
    assert_eq!((result.e_tag, result.version), (Some("\"tag\"".to_owned()), Some("v7".to_owned())));
    upload.abort().await.unwrap();
    let parts = ["1", "22"].map(|part| call("part", &PutPayload::from(part), &none));
    assert_eq!(
        noting.take()[1..],
        [&parts[..], &["complete", "abort"].map(|step| call(step, &(), &none))].concat()
    );
}

#[tokio::test]
async fn an_answer_arrives_as_it_was_given() {
    let old = Noting::default().old();
    let result = old.put(&"a".into(), "body".into()).await.unwrap();
    assert_eq!((result.e_tag, result.version), (Some("\"tag\"".to_owned()), Some("v7".to_owned())));

    let answer = old.get(&"a".into()).await.unwrap();
    assert_eq!(format!("{:?}", answer.meta), format!("{:?}", Noting::meta("a")));
    assert_eq!(answer.range, 1..4);
    assert_eq!(answer.attributes, Attributes::from_iter([(Attribute::StorageClass, "COLD")]));
    let chunks: Vec<_> = answer.into_stream().collect().await;
    assert!(
        matches!(&chunks[..], [Ok(chunk), Err(Error::PermissionDenied { .. })] if chunk == "bc")
    );
}

fn a_path() -> impl Strategy<Value = Path> {
    let joined =
        |parts: Vec<String>| parts.iter().fold(Path::ROOT, |path, part| path.join(part.as_str()));
    // An empty part, too.
    prop::collection::vec(".{0,3}|[.]{1,2}", 0..4).prop_map(joined)
}

fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        Just(Attribute::CacheControl),
        Just(Attribute::ContentDisposition),
        Just(Attribute::ContentEncoding),
        Just(Attribute::ContentLanguage),
        Just(Attribute::ContentType),
        Just(Attribute::StorageClass),
        ".{0,8}".prop_map(|name| Attribute::Metadata(name.into())),
    ]
}

/// At most one, since several print themselves in any order.
fn attributes() -> impl Strategy<Value = Attributes> {
    prop::option::of((attribute(), ".{0,8}")).prop_map(|one| one.into_iter().collect())
}

fn tags() -> impl Strategy<Value = TagSet> {
    prop::collection::vec((".{0,4}", ".{0,4}"), 0..4).prop_map(|pairs| {
        let mut tags = TagSet::default();
        pairs.iter().for_each(|(key, value)| tags.push(key, value));
        tags
    })
}

fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(".{0,4}")
}

fn date() -> impl Strategy<Value = Option<DateTime<Utc>>> {
    prop::option::of(any::<i64>().prop_map(DateTime::from_timestamp_nanos))
}

fn range() -> impl Strategy<Value = GetRange> {
    let bounded = any::<(u64, u64)>().prop_map(|(start, end)| GetRange::Bounded(start..end));
    prop_oneof![
        bounded,
        any::<u64>().prop_map(GetRange::Offset),
        any::<u64>().prop_map(GetRange::Suffix)
    ]
}

fn get_options() -> impl Strategy<Value = GetOptions> {
    let conditions = (text(), text(), date(), date());
    let rest = (prop::option::of(range()), text(), any::<bool>(), any::<Option<u8>>());
    (conditions, rest).prop_map(
        |((if_match, if_none_match, if_modified_since, if_unmodified_since), rest)| {
            let (range, version, head, marker) = rest;
            GetOptions {
                if_match,
                if_none_match,
                if_modified_since,
                if_unmodified_since,
                range,
                version,
                head,
                extensions: marked(marker),
            }
        },
    )
}

fn put_options() -> impl Strategy<Value = PutOptions> {
    let update = (text(), text())
        .prop_map(|(e_tag, version)| PutMode::Update(UpdateVersion { e_tag, version }));
    let mode = prop_oneof![Just(PutMode::Overwrite), Just(PutMode::Create), update];
    (mode, tags(), attributes(), any::<Option<u8>>()).prop_map(
        |(mode, tags, attributes, marker)| PutOptions {
            mode,
            tags,
            attributes,
            extensions: marked(marker),
        },
    )
}

fn payload() -> impl Strategy<Value = PutPayload> {
    prop::collection::vec(".{0,4}", 0..4)
        .prop_map(|chunks| chunks.into_iter().map(Bytes::from).collect())
}

/// The answer of a future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the store never waits")
}

proptest! {
    #[test]
    fn what_is_asked_arrives_as_it_was_said(
        path in a_path(),
        to in a_path(),
        get in get_options(),
        put in put_options(),
        payload in payload(),
        create in any::<bool>(),
        marker in any::<Option<u8>>(),
    ) {
        let noting = Noting::default();
        let old = noting.old();

        now(old.get_opts(&path, get.clone())).unwrap();
        prop_assert_eq!(noting.take(), [call("get", &(&path, &get), &get.extensions)]);

        now(old.put_opts(&path, payload.clone(), put.clone())).unwrap();
        prop_assert_eq!(noting.take(), [call("put", &(&path, &payload, &put), &put.extensions)]);

        let PutOptions { tags, attributes, extensions, .. } = put;
        let multipart = PutMultipartOptions { tags, attributes, extensions };
        now(old.put_multipart_opts(&path, multipart.clone())).unwrap();
        prop_assert_eq!(noting.take(), [call("multipart", &(&path, &multipart), &multipart.extensions)]);

        let mode = if create { CopyMode::Create } else { CopyMode::Overwrite };
        let copy = CopyOptions { mode, extensions: marked(marker) };
        now(old.copy_opts(&path, &to, copy.clone())).unwrap();
        prop_assert_eq!(noting.take(), [call("copy", &(&path, &to, &copy), &copy.extensions)]);

        let target_mode = if create { RenameTargetMode::Create } else { RenameTargetMode::Overwrite };
        let rename = RenameOptions { target_mode, extensions: marked(marker) };
        now(old.rename_opts(&path, &to, rename.clone())).unwrap();
        prop_assert_eq!(noting.take(), [call("rename", &(&path, &to, &rename), &rename.extensions)]);
    }
}

#[test]
fn every_attribute_of_an_object_arrives() {
    let all = [
        (Attribute::CacheControl, "1"),
        (Attribute::ContentDisposition, "2"),
        (Attribute::ContentEncoding, "3"),
        (Attribute::ContentLanguage, "4"),
        (Attribute::ContentType, "5"),
        (Attribute::StorageClass, "6"),
        (Attribute::Metadata("a".into()), "7"),
        (Attribute::Metadata("b".into()), "8"),
    ];
    let (store, all) = (in_memory(), Attributes::from_iter(all));
    now(store.put_opts(&"a".into(), "body".into(), all.clone().into())).unwrap();
    assert_eq!(now(store.get(&"a".into())).unwrap().attributes, all);
}

#[test]
fn a_body_is_not_copied() {
    let (store, body) = (in_memory(), Bytes::from(vec![7; 1000]));
    now(store.put(&"a".into(), body.clone().into())).unwrap();
    let got = now(now(store.get(&"a".into())).unwrap().bytes()).unwrap();
    assert_eq!((got.as_ptr(), got.len()), (body.as_ptr(), body.len()));
}

#[cfg(feature = "fs")]
#[tokio::test]
async fn a_file_stays_a_file() {
    let (_folder, store) = local_disk();
    let old = over(&store);
    old.put(&"a".into(), "0123456789".into()).await.unwrap();
    let options = GetOptions::new().with_range(Some(2..5));
    let answer = old.get_opts(&"a".into(), options).await.unwrap();
    assert!(matches!(answer.payload, object_store_013::GetResultPayload::File(..)));
    assert_eq!(answer.bytes().await.unwrap(), "234");
}

/// One error of each kind of the crate `$version`, and of each kind of path error.
macro_rules! errors {
    ($version:ident, $join_error:expr) => {{
        use $version::{Error::*, path};
        let path = || "a/b".to_owned();
        let source = || Box::new(io::Error::new(io::ErrorKind::TimedOut, "slow"));
        let bad = path::Path::parse("a/../b").unwrap_err();
        let invalid_path = || path::Error::InvalidPath { path: "x".into() };
        #[expect(invalid_from_utf8, reason = "there must be an error")]
        let non_unicode = str::from_utf8(b"\xff").unwrap_err();
        [
            Generic { store: "S3", source: source() },
            NotFound { path: path(), source: source() },
            JoinError { source: $join_error },
            NotSupported { source: source() },
            AlreadyExists { path: path(), source: source() },
            Precondition { path: path(), source: source() },
            NotModified { path: path(), source: source() },
            NotImplemented { operation: "put".into(), implementer: "S3".into() },
            PermissionDenied { path: path(), source: source() },
            Unauthenticated { path: path(), source: source() },
            UnknownConfigurationKey { store: "S3", key: "key".into() },
            InvalidPath { source: path::Error::EmptySegment { path: path() } },
            InvalidPath { source: bad },
            InvalidPath {
                source: path::Error::Canonicalize { path: "x".into(), source: *source() },
            },
            InvalidPath { source: invalid_path() },
            InvalidPath { source: path::Error::NonUnicode { path: path(), source: non_unicode } },
            InvalidPath {
                source: path::Error::PrefixMismatch { path: path(), prefix: "p".into() },
            },
        ]
    }};
}

async fn join_error() -> JoinError {
    let task = tokio::spawn(future::pending::<()>());
    task.abort();
    task.await.unwrap_err()
}

/// The error that a get gives whose store gives `error`.
async fn got(error: object_store::Error) -> Error {
    let (store, error) = (FaultyStore::in_memory(), Mutex::new(Some(error)));
    store.fault(Fault::error_with(move |_| error.lock().unwrap().take().unwrap()).once());
    over(&store).get(&"a".into()).await.unwrap_err()
}

#[tokio::test]
async fn each_error_stays_of_its_kind_and_keeps_its_path_and_source() {
    for error in errors!(object_store, join_error().await) {
        // Both versions print an error alike: its kind, its path and its source, down to the last.
        let (debug, display) = (format!("{error:?}"), error.to_string());
        let got = got(error).await;
        assert_eq!((format!("{got:?}"), got.to_string()), (debug, display));
    }
    let source = || Box::new(io::Error::new(io::ErrorKind::TimedOut, "slow"));
    let error = got(object_store::Error::NotFound { path: "a".into(), source: source() }).await;
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::TimedOut));
}

/// The stream of what to delete may have errors, which go through the wrapped store.
#[tokio::test]
async fn each_error_that_goes_in_comes_out() {
    for error in errors!(object_store_013, join_error().await) {
        let before = format!("{error:?}");
        let deleted = in_memory().delete_stream(stream::iter([Err(error), Ok("a".into())]).boxed());
        let deleted: Vec<_> = deleted.collect().await;
        assert!(
            matches!(&deleted[..], [Err(error), Ok(_)] if format!("{error:?}") == before),
            "{before}"
        );
    }
}

#[tokio::test]
async fn an_error_about_a_path_that_cannot_be_told_again_stays_one_about_a_path() {
    let source = object_store::path::PathPart::parse("..").unwrap_err();
    let said = source.to_string();
    let error = object_store::path::Error::BadSegment { path: "this/is/fine".into(), source };
    let error = got(error.into()).await;
    assert!(
        matches!(&error, Error::InvalidPath { source: path::Error::Canonicalize { .. } }),
        "{error:?}"
    );
    assert!(error.to_string().contains(&said), "{error}");
}

#[test]
fn it_names_the_wrapped_store() {
    assert_eq!(in_memory().to_string(), "ObjectStore013(InMemory)");
    assert!(format!("{:?}", in_memory()).contains("InMemory"));
}
