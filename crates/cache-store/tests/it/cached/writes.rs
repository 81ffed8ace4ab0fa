//! Writes: what the store is asked to do, and what is read after them.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::Freshness;
use cache_store::CachedStore;
use cache_testkit::{Failure, Fault, FaultyStore, MapBackend, Operation};
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    Attribute, Attributes, CopyMode, CopyOptions, Extensions, GetOptions, GetResult, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode, Result, TagSet,
    UpdateVersion, memory::InMemory, path::Path,
};
use tokio::task::{JoinHandle, yield_now};

use super::{HOUR, body, builder, cached, lasting, part, read_all, with_object};
use crate::{path, write};

/// A way to change the object.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Put,
    PutIfSame,
    Multipart,
    CopyTo,
    CopyToIfAbsent,
    RenameTo,
    RenameFrom,
    Delete,
    DeleteAmongOthers,
}

const WAYS: [Way; 9] = [
    Way::Put,
    Way::PutIfSame,
    Way::Multipart,
    Way::CopyTo,
    Way::CopyToIfAbsent,
    Way::RenameTo,
    Way::RenameFrom,
    Way::Delete,
    Way::DeleteAmongOthers,
];

impl Way {
    /// The request that changes the object.
    fn operation(self) -> Operation {
        match self {
            Self::Put | Self::PutIfSame => Operation::Put,
            Self::Multipart => Operation::CompleteMultipart,
            Self::CopyTo | Self::CopyToIfAbsent => Operation::Copy,
            Self::RenameTo | Self::RenameFrom => Operation::Rename,
            Self::Delete | Self::DeleteAmongOthers => Operation::Delete,
        }
    }

    async fn write(self, cached: &CachedStore, tag: Option<String>) -> Result<()> {
        let (path, other) = (path(), other());
        match self {
            Self::Put => cached.put(&path, new().into()).await.map(drop),
            Self::PutIfSame => {
                let version = UpdateVersion { e_tag: tag, version: None };
                cached
                    .put_opts(&path, new().into(), PutMode::Update(version).into())
                    .await
                    .map(drop)
            }
            Self::Multipart => {
                let mut upload = cached.put_multipart(&path).await?;
                upload.put_part(new().into()).await?;
                upload.complete().await.map(drop)
            }
            Self::CopyTo => cached.copy(&other, &path).await,
            Self::CopyToIfAbsent => cached.copy_if_not_exists(&other, &path).await,
            Self::RenameTo => cached.rename(&other, &path).await,
            Self::RenameFrom => cached.rename(&path, &other).await,
            Self::Delete => cached.delete(&path).await,
            Self::DeleteAmongOthers => {
                let locations = [Path::from("none"), path, other].map(Ok);
                let results =
                    cached.delete_stream(stream::iter(locations).boxed()).collect::<Vec<_>>().await;
                results.into_iter().try_for_each(|result| result.map(drop))
            }
        }
    }
}

/// How a write ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Succeeds,
    Fails,
    /// The store does it, and the answer is lost.
    LosesReply,
    Panics,
    /// Before the store has done it.
    DroppedEarly,
    /// When the store has done it.
    DroppedLate,
}

const ENDS: [End; 6] =
    [End::Succeeds, End::Fails, End::LosesReply, End::Panics, End::DroppedEarly, End::DroppedLate];

/// Who reads besides.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reads {
    Nobody,
    /// Somebody, while the write is open: before it has taken effect, and then.
    During,
    /// Somebody whose question is answered before the write, and comes after it.
    LateFromBefore,
    /// Somebody whose question is answered while the write is open, and comes after it.
    LateFromDuring,
}

const READS: [Reads; 4] =
    [Reads::Nobody, Reads::During, Reads::LateFromBefore, Reads::LateFromDuring];

fn other() -> Path {
    Path::from("other")
}

fn new() -> Bytes {
    Bytes::from(vec![b'n'; 23])
}

/// The requests for bytes can be held on the way to the caller without holding writes, which are
/// held nearer to the store.
struct Rig {
    near: FaultyStore,
    far: FaultyStore,
    cached: CachedStore,
}

impl Rig {
    async fn new(freshness: Freshness) -> Self {
        let near = with_object(17).await;
        near.inner().put(&other(), new().into()).await.unwrap();
        let far = FaultyStore::new(Arc::new(near.clone()));
        let cached = builder(&far).freshness(freshness).build().unwrap();
        Self { near, far, cached }
    }

    /// What the store has.
    async fn truth(&self) -> Option<Bytes> {
        let answer = self.near.inner().get(&path()).await.ok()?;
        Some(answer.bytes().await.unwrap())
    }

    /// What a read gets, of the whole and of a part.
    async fn seen(&self) -> Option<Bytes> {
        let whole = seen(&self.cached).await;
        let range = self.cached.get_range(&path(), 3..12).await.ok();
        assert_eq!(range, whole.as_ref().map(|whole| whole.slice(3..12)));
        whole
    }

    /// A read whose answer the store has given, and which has not come.
    async fn lagging(&self) -> JoinHandle<Option<Bytes>> {
        let is_read = |request: &cache_testkit::Request| {
            matches!(request.operation, Operation::Get | Operation::Head)
        };
        self.far.fault(Fault::hold().late().when(is_read).once());
        let cached = self.cached.clone();
        let reader = tokio::spawn(async move { seen(&cached).await });
        self.far.wait_until_held(1).await;
        reader
    }
}

async fn seen(cached: &CachedStore) -> Option<Bytes> {
    match cached.get(&path()).await {
        Ok(answer) => Some(answer.bytes().await.unwrap()),
        Err(object_store::Error::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

/// I-7, I-9, I-16, I-18: however a write is made and ends, whoever reads after it sees what the
/// store has, in any freshness, and whoever reads meanwhile does not spoil that.
#[tokio::test]
async fn no_read_after_a_write_is_older_than_it() {
    for way in WAYS {
        for end in ENDS {
            for freshness in [Freshness::strong(), Freshness::max_age(HOUR), Freshness::immutable()]
            {
                for held in [false, true] {
                    for reads in READS {
                        check(way, end, freshness, held, reads).await;
                    }
                }
            }
        }
    }
}

async fn check(way: Way, end: End, freshness: Freshness, held: bool, reads: Reads) {
    let case = format!("{way:?} {end:?}, {freshness:?}, held: {held}, reads: {reads:?}");
    let rig = Rig::new(freshness).await;
    if way == Way::CopyToIfAbsent {
        rig.near.inner().delete(&path()).await.unwrap();
    }
    let old = rig.truth().await;
    if held {
        assert_eq!(rig.seen().await, old, "{case}");
    }
    let mut lagging = Vec::new();
    // What is held and fresh asks for nothing.
    let asks = !held || freshness.is_strong() || old.is_none();
    if reads == Reads::LateFromBefore && asks {
        lagging.push(rig.lagging().await);
    }
    let is_it = move |fault: Fault| {
        let is_ours = move |request: &cache_testkit::Request| {
            request.operation != Operation::Delete || request.location == path()
        };
        fault.on(way.operation()).when(is_ours).once()
    };
    // The write is held before and after it has taken effect.
    rig.near.fault(is_it(Fault::hold()));
    match end {
        End::Fails => rig.near.fault(is_it(Fault::error(Failure::Unavailable))),
        _ => rig.near.fault(is_it(Fault::hold().late())),
    }
    match end {
        End::LosesReply => rig.near.fault(is_it(Fault::error(Failure::Unavailable).late())),
        End::Panics => rig.near.fault(is_it(Fault::panic().late())),
        _ => {}
    }
    let tag = rig.near.inner().head(&path()).await.ok().and_then(|meta| meta.e_tag);
    let cached = rig.cached.clone();
    let writing = tokio::spawn(async move { way.write(&cached, tag).await });
    rig.near.wait_until_held(1).await;
    if reads == Reads::During {
        assert_eq!(rig.seen().await, old, "{case}");
    }
    if reads == Reads::LateFromDuring {
        lagging.push(rig.lagging().await);
    }
    if end != End::DroppedEarly {
        rig.near.release(1);
        if end != End::Fails {
            rig.near.wait_until_held(1).await;
            if reads == Reads::During {
                assert_eq!(rig.seen().await, rig.truth().await, "{case}");
            }
        }
    }
    if matches!(end, End::DroppedEarly | End::DroppedLate) {
        writing.abort();
    }
    rig.near.release_all();
    match (end, writing.await) {
        (End::Succeeds, Ok(Ok(()))) => {}
        (End::Fails | End::LosesReply, Ok(Err(error))) => {
            assert_eq!(Failure::of(&error), Failure::Unavailable);
        }
        (End::Panics, Err(error)) if error.is_panic() => {}
        (End::DroppedEarly | End::DroppedLate, Err(error)) if error.is_cancelled() => {}
        (_, ended) => panic!("{case}: {ended:?}"),
    }
    let has_taken_effect = !matches!(end, End::Fails | End::DroppedEarly);
    assert_eq!(rig.truth().await != old, has_taken_effect, "{case}");
    // A reader that arrives while the answers of the early ones have not come.
    let reading = (!lagging.is_empty()).then(|| {
        let cached = rig.cached.clone();
        tokio::spawn(async move { seen(&cached).await })
    });
    settle().await;
    rig.far.release_all();
    for lagging in lagging {
        assert_eq!(lagging.await.unwrap(), old, "{case}");
    }
    if let Some(reading) = reading {
        assert_eq!(reading.await.unwrap(), rig.truth().await, "{case}");
    }
    for _ in 0..2 {
        assert_eq!(rig.seen().await, rig.truth().await, "{case}");
    }
}

/// What is held before a write covers no outage after it.
#[tokio::test]
async fn what_was_held_before_a_write_is_not_served_stale_after_it() {
    for way in WAYS.into_iter().filter(|way| *way != Way::CopyToIfAbsent) {
        let stale = Freshness::max_age(HOUR).stale_if_error(HOUR).stale_while_revalidate(HOUR);
        let rig = Rig::new(stale).await;
        assert_eq!(rig.seen().await.unwrap(), body(17));
        let tag = rig.near.inner().head(&path()).await.unwrap().e_tag;
        way.write(&rig.cached, tag).await.unwrap();
        rig.near.fault(Fault::error(Failure::Unavailable));
        let error = rig.cached.get(&path()).await.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::Unavailable, "{way:?}");
        rig.near.heal();
        assert_eq!(rig.seen().await, rig.truth().await, "{way:?}");
    }
}

#[tokio::test]
async fn a_write_is_one_request_with_the_answer_of_the_store() {
    let store = with_object(17).await;
    let cached = lasting(&store);
    read_all(&cached).await;
    store.reset();
    let put = cached.put(&path(), new().into()).await.unwrap();
    assert_eq!(put.e_tag, store.inner().head(&path()).await.unwrap().e_tag);
    let mut upload = cached.put_multipart(&path()).await.unwrap();
    upload.put_part(new().into()).await.unwrap();
    let put = upload.complete().await.unwrap();
    assert_eq!(put.e_tag, store.inner().head(&path()).await.unwrap().e_tag);
    cached.put_multipart(&path()).await.unwrap().abort().await.unwrap();
    cached.copy(&path(), &other()).await.unwrap();
    cached.rename(&other(), &path()).await.unwrap();
    cached.delete(&path()).await.unwrap();
    let made: Vec<_> = store.requests().iter().map(|request| request.operation).collect();
    use Operation::{
        AbortMultipart, CompleteMultipart, Copy, Delete, Put, PutPart, Rename, StartMultipart,
    };
    let uploads = [StartMultipart, PutPart, CompleteMultipart, StartMultipart, AbortMultipart];
    assert_eq!(made, [&[Put][..], &uploads, &[Copy, Rename, Delete]].concat());
}

/// I-17.
#[tokio::test]
async fn the_store_alone_judges_conditions() {
    let store = with_object(17).await;
    let cached = lasting(&store);
    read_all(&cached).await;
    let held = cached.head(&path()).await.unwrap();
    write(&store, new()).await;
    let at = path();
    let put = |mode: PutMode| cached.put_opts(&at, "x".into(), mode.into());
    let version = |e_tag| PutMode::Update(UpdateVersion { e_tag, version: Some("7".into()) });
    for (mode, failure) in [
        (PutMode::Create, Failure::AlreadyExists),
        // What is held says otherwise.
        (version(held.e_tag), Failure::Precondition),
    ] {
        store.reset();
        assert_eq!(Failure::of(&put(mode.clone()).await.unwrap_err()), failure);
        assert_eq!((store.count(), &store.requests()[0].put_mode), (1, &Some(mode)));
        assert_eq!(read_all(&cached).await, new());
    }
    let current = cached.head(&path()).await.unwrap().e_tag;
    put(PutMode::Update(UpdateVersion { e_tag: current, version: None })).await.unwrap();
    assert_eq!(read_all(&cached).await, "x");
    // The object that is held is gone.
    store.inner().delete(&path()).await.unwrap();
    put(PutMode::Create).await.unwrap();
    let copied = cached.copy_if_not_exists(&other(), &path()).await.unwrap_err();
    assert_eq!(Failure::of(&copied), Failure::NotFound);
}

#[tokio::test]
async fn errors_are_those_of_the_store() {
    for failure in [
        Failure::Unavailable,
        Failure::NotFound,
        Failure::AlreadyExists,
        Failure::Precondition,
        Failure::PermissionDenied,
        Failure::Unauthenticated,
        Failure::NotSupported,
        Failure::NotImplemented,
        Failure::InvalidPath,
    ] {
        for way in WAYS {
            let store = with_object(17).await;
            let cached = cached(&store);
            store.fault(Fault::error(failure).on(way.operation()));
            let ours = way.write(&cached, None).await.unwrap_err();
            assert_eq!(Failure::of(&ours), failure, "{way:?}");
        }
    }
}

#[tokio::test]
async fn an_upload_changes_nothing_before_it_is_completed() {
    let store = with_object(17).await;
    let cached = lasting(&store);
    read_all(&cached).await;
    store.reset();
    let mut upload = cached.put_multipart(&path()).await.unwrap();
    assert!(format!("{upload:?}").contains("a/b"));
    assert_eq!(read_all(&cached).await, body(17));
    assert_eq!(store.count(), 2, "what a store makes of the begin is the store's to say");
    upload.put_part(new().into()).await.unwrap();
    store.reset();
    // Held, and fresh.
    assert_eq!(read_all(&cached).await, body(17));
    assert_eq!(store.count(), 0);
    drop(upload);
    assert_eq!(read_all(&cached).await, body(17));

    let mut upload = cached.put_multipart(&path()).await.unwrap();
    upload.put_part(new().into()).await.unwrap();
    store.fault(Fault::error(Failure::Unavailable).late().on(Operation::CompleteMultipart).once());
    upload.complete().await.unwrap_err();
    assert_eq!(read_all(&cached).await, new());
    // An abort may come too late; who knows what it does.
    write(&store, part(0..3)).await;
    let _ = upload.abort().await;
    assert_eq!(read_all(&cached).await, part(0..3));
}

#[tokio::test]
async fn results_of_deletes_are_those_of_the_store() {
    let paths = ["a", "none", "b", "a", "c"].map(Path::from);
    let fail =
        |at: &Path| object_store::Error::Generic { store: "list", source: at.to_string().into() };
    let locations = || {
        let failed = stream::iter([Err(fail(&paths[0])), Ok(Path::from("d"))]);
        stream::iter(paths.clone()).map(Ok).chain(failed).boxed()
    };
    let said = |results: Vec<Result<Path>>| -> Vec<_> {
        results.into_iter().map(|result| result.map_err(|error| error.to_string())).collect()
    };
    for kind in 0..2 {
        let store = || -> Arc<dyn ObjectStore> {
            match kind {
                0 => Arc::new(InMemory::new()),
                _ => Arc::new(Heard::default()),
            }
        };
        let (bare, wrapped) = (store(), store());
        let cached = CachedStore::builder(Arc::clone(&wrapped), Arc::new(MapBackend::new()))
            .build()
            .unwrap();
        for path in &paths[2..] {
            bare.put(path, "x".into()).await.unwrap();
            cached.put(path, "x".into()).await.unwrap();
        }
        let expected = said(bare.delete_stream(locations()).collect().await);
        let results = said(cached.delete_stream(locations()).collect().await);
        assert_eq!(results, expected);
        assert!(results.len() > 3);
    }
}

/// A cache under `max_age` that holds three objects.
async fn with_three(store: &FaultyStore) -> (CachedStore, [Path; 3]) {
    let paths = ["a", "b", "c"].map(Path::from);
    let cached = lasting(store);
    for path in &paths {
        store.inner().put(path, "old".into()).await.unwrap();
        cached.get(path).await.unwrap().bytes().await.unwrap();
    }
    store.reset();
    (cached, paths)
}

fn deleting(cached: &CachedStore, paths: &[Path]) -> BoxStream<'static, Result<Path>> {
    cached.delete_stream(stream::iter(paths.to_vec()).map(Ok).boxed())
}

async fn exists(cached: &CachedStore, path: &Path) -> bool {
    match cached.get(path).await {
        Ok(answer) => answer.bytes().await.is_ok(),
        Err(error) => panic_unless_missing(&error),
    }
}

fn panic_unless_missing(error: &object_store::Error) -> bool {
    assert_eq!(Failure::of(error), Failure::NotFound, "{error}");
    false
}

/// I-18: the error does not say of which of them it is.
#[tokio::test]
async fn deletes_after_an_error_are_seen_too() {
    let store = FaultyStore::in_memory();
    let (cached, paths) = with_three(&store).await;
    let second = paths[1].clone();
    let lost =
        Fault::error(Failure::Unavailable).late().when(move |request| request.location == second);
    store.fault(lost.on(Operation::Delete));
    let mut deletes = deleting(&cached, &paths);
    assert_eq!(deletes.next().await.unwrap().unwrap(), paths[0]);
    assert!(deletes.next().await.unwrap().is_err());
    assert!(!exists(&cached, &paths[0]).await);
    assert!(!exists(&cached, &paths[1]).await, "it was deleted all the same");
    assert!(exists(&cached, &paths[2]).await);
    assert_eq!(deletes.next().await.unwrap().unwrap(), paths[2]);
    assert!(deletes.next().await.is_none() && deletes.next().await.is_none());
    for path in &paths {
        assert!(!exists(&cached, path).await);
    }
}

/// The write of one that failed ends with the stream, also if nobody drops it.
#[tokio::test]
async fn what_failed_to_be_deleted_is_kept_again_when_all_results_are_there() {
    let store = FaultyStore::in_memory();
    let (cached, paths) = with_three(&store).await;
    store.fault(Fault::error(Failure::Unavailable).on(Operation::Delete).once());
    let mut deletes = deleting(&cached, &paths[..1]);
    assert!(deletes.next().await.unwrap().is_err());
    for ended in [false, true] {
        if ended {
            assert!(deletes.next().await.is_none());
        }
        exists(&cached, &paths[0]).await;
        store.reset();
        assert!(exists(&cached, &paths[0]).await);
        assert_eq!(store.count(), usize::from(!ended));
    }
    drop(deletes);
}

#[tokio::test]
async fn deletes_that_are_given_up_half_way_are_seen() {
    for late in [false, true] {
        let store = FaultyStore::in_memory();
        let (cached, paths) = with_three(&store).await;
        let mut deletes = deleting(&cached, &paths);
        deletes.next().await.unwrap().unwrap();
        let hold = Fault::hold().on(Operation::Delete);
        store.fault(if late { hold.late() } else { hold });
        assert!(futures_util::poll!(deletes.next()).is_pending());
        while store.count() < 2 {
            settle().await;
            assert!(futures_util::poll!(deletes.next()).is_pending());
        }
        drop(deletes);
        assert!(!exists(&cached, &paths[0]).await);
        assert_eq!(exists(&cached, &paths[1]).await, !late);
        store.reset();
        // It never went in, and is held.
        assert!(exists(&cached, &paths[2]).await);
        assert_eq!(store.count(), 0);
    }
    let store = FaultyStore::in_memory();
    let (cached, paths) = with_three(&store).await;
    drop(deleting(&cached, &paths));
    assert!(exists(&cached, &paths[0]).await);
    assert_eq!(store.count(), 0);
}

/// A million deletions are not a million open writes.
#[tokio::test]
async fn a_location_whose_deletion_was_reported_is_held_again() {
    let store = FaultyStore::in_memory();
    let (cached, paths) = with_three(&store).await;
    let twice = [paths[0].clone(), paths[0].clone(), paths[1].clone()];
    let mut deletes = deleting(&cached, &twice);
    for n in 0..2 {
        assert_eq!(deletes.next().await.unwrap().unwrap(), paths[0]);
        store.inner().put(&paths[0], "new".into()).await.unwrap();
        store.reset();
        for _ in 0..2 {
            assert!(exists(&cached, &paths[0]).await);
        }
        // This store takes them one by one.
        assert_eq!(store.count(), 1, "after {n}");
        cached.invalidate(&paths[0]).await.unwrap();
    }
    let bulk = Arc::new(Heard::default());
    let cached = CachedStore::builder(Arc::clone(&bulk) as _, Arc::new(MapBackend::new()))
        .freshness(Freshness::max_age(HOUR))
        .build()
        .unwrap();
    let mut deletes = deleting(&cached, &twice);
    assert_eq!(deletes.next().await.unwrap().unwrap(), paths[0]);
    cached.inner().put(&paths[0], "new".into()).await.unwrap();
    // That one went in twice and came out once.
    for (result, body) in [(1, "two"), (2, "three"), (2, "three")] {
        let seen = cached.get(&paths[0]).await.unwrap().bytes().await.unwrap();
        assert_ne!(seen, body);
        cached.inner().put(&paths[0], body.into()).await.unwrap();
        if result == 1 {
            deletes.next().await.unwrap().unwrap();
        }
    }
    let seen = cached.get(&paths[0]).await.unwrap().bytes().await.unwrap();
    assert_eq!(seen, "two", "from now on it is held");
}

/// A store that takes many before it deletes any, as S3 does.
#[tokio::test]
async fn every_location_that_went_in_is_being_written() {
    let store = Arc::new(Heard::default());
    let cached = CachedStore::builder(Arc::clone(&store) as _, Arc::new(MapBackend::new()))
        .freshness(Freshness::immutable())
        .build()
        .unwrap();
    let paths = ["a", "b", "c"].map(Path::from);
    for path in &paths {
        cached.put(path, "old".into()).await.unwrap();
        assert!(exists(&cached, path).await);
    }
    let mut deletes = deleting(&cached, &paths);
    deletes.next().await.unwrap().unwrap();
    // The last one is still on its way in.
    assert!(!exists(&cached, &paths[0]).await && !exists(&cached, &paths[1]).await);
    assert!(exists(&cached, &paths[2]).await);
    assert_eq!(deletes.try_collect::<Vec<_>>().await.unwrap(), paths[1..]);
    assert!(!exists(&cached, &paths[2]).await);
}

#[tokio::test]
async fn options_and_their_extensions_pass_as_they_are() {
    let store = Arc::new(Heard::default());
    let cached =
        CachedStore::builder(Arc::clone(&store) as _, Arc::new(MapBackend::new())).build().unwrap();
    let mut tags = TagSet::default();
    tags.push("project", "x");
    let attributes = Attributes::from_iter([(Attribute::ContentType, "text/plain")]);
    let mut extensions = Extensions::new();
    extensions.insert(Mark("of the caller"));
    let version = UpdateVersion { e_tag: Some("\"t\"".into()), version: Some("7".into()) };
    let put = PutOptions {
        mode: PutMode::Update(version),
        tags: tags.clone(),
        attributes: attributes.clone(),
        extensions: extensions.clone(),
    };
    // Its condition does not hold.
    cached.put_opts(&path(), "x".into(), put.clone()).await.unwrap_err();
    let upload = PutMultipartOptions { tags, attributes, extensions: extensions.clone() };
    let mut begun = cached.put_multipart_opts(&path(), upload.clone()).await.unwrap();
    begun.put_part("x".into()).await.unwrap();
    begun.complete().await.unwrap();
    let copy = CopyOptions { mode: CopyMode::Create, extensions: extensions.clone() };
    cached.copy_opts(&path(), &other(), copy.clone()).await.unwrap();
    let rename = RenameOptions { target_mode: RenameTargetMode::Create, extensions };
    cached.rename_opts(&other(), &Path::from("c"), rename.clone()).await.unwrap();
    let heard = store.heard.lock().unwrap();
    assert_eq!(
        *heard,
        [
            format!("a/b {put:?} of the caller"),
            format!("a/b {upload:?} of the caller"),
            format!("a/b other {copy:?} of the caller"),
            format!("other c {rename:?} of the caller"),
        ]
    );
}

/// Nothing is held, so nothing has to be forgotten.
#[tokio::test]
async fn writes_to_a_cache_that_was_closed_go_to_the_store() {
    let store = with_object(17).await;
    let cached = lasting(&store);
    let mut upload = cached.put_multipart(&path()).await.unwrap();
    upload.put_part(new().into()).await.unwrap();
    cached.close().await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(store.inner().head(&path()).await.unwrap().size, 23);
    cached.put(&path(), part(0..5).into()).await.unwrap();
    assert_eq!(store.inner().head(&path()).await.unwrap().size, 5);
    cached.delete(&path()).await.unwrap();
    assert!(store.inner().head(&path()).await.is_err());
    assert!(cached.get(&path()).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_held_can_be_written() {
    let store = FaultyStore::in_memory();
    let cached = lasting(&store);
    for location in [Path::from("x".repeat(2000)), Path::ROOT] {
        for bytes in [body(17), new()] {
            cached.put(&location, bytes.clone().into()).await.unwrap();
            assert_eq!(cached.get(&location).await.unwrap().bytes().await.unwrap(), bytes);
        }
        cached.copy(&location, &other()).await.unwrap();
        cached.rename(&other(), &location).await.unwrap();
        cached.delete(&location).await.unwrap();
        assert!(cached.get(&location).await.is_err());
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Mark(&'static str);

/// A store that notes the options of writes, and deletes by twos.
#[derive(Debug, Default)]
struct Heard {
    inner: Arc<InMemory>,
    heard: Mutex<Vec<String>>,
}

impl Heard {
    fn hear(&self, what: &str, extensions: &Extensions) {
        let mark = extensions.get::<Mark>().map_or("", |mark| mark.0);
        self.heard.lock().unwrap().push(format!("{what} {mark}"));
    }
}

impl fmt::Display for Heard {
    /// It is trusted like the store that it wraps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Heard {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if options.extensions.get::<Mark>().is_some() {
            self.hear(&format!("{location} {options:?}"), &options.extensions);
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.hear(&format!("{location} {options:?}"), &options.extensions);
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let inner = Arc::clone(&self.inner);
        let delete = move |locations: Result<Vec<Path>, _>| {
            let inner = Arc::clone(&inner);
            async move {
                let locations = locations.map_err(|error: stream::TryChunksError<_, _>| error.1)?;
                for location in &locations {
                    inner.delete(location).await?;
                }
                Ok::<_, object_store::Error>(stream::iter(locations).map(Ok))
            }
        };
        locations.try_chunks(2).then(delete).try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.hear(&format!("{from} {to} {options:?}"), &options.extensions);
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.hear(&format!("{from} {to} {options:?}"), &options.extensions);
        self.inner.rename_opts(from, to, options).await
    }
}
