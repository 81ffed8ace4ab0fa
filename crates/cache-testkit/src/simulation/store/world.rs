//! The store: one in memory, which every node reaches through a [`FaultyStore`] of its own, late,
//! and with bodies that come in pieces.
//!
//! What is asked and answered is recorded, with what the answer shows of the object: that is what
//! the cache behind the node has heard.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::ErrorKind;
use futures_util::{FutureExt, StreamExt, TryStreamExt, future, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result, UploadPart, memory::InMemory, path::Path,
};

use super::Schedule;
use crate::{
    BodyFault, Failure, Fault, FaultyStore, Request,
    history::{RequestId, Shown},
    random::Random,
    simulation::{
        origin::pause,
        recorder::{Recorder, Streams},
        schedule::{KEYS, ms},
    },
};

/// The objects, and the record of all that happens to them.
pub(super) struct World {
    pub(super) recorder: Arc<Recorder>,
    objects: InMemory,
    faults: u8,
    streams: Streams,
    /// What each tag of a key names: the value, and the number of its state.
    tags: Mutex<BTreeMap<(String, String), (u64, usize)>>,
}

impl World {
    pub(super) fn new(schedule: &Schedule) -> Arc<Self> {
        Arc::new(Self {
            recorder: Recorder::new(schedule.time_to_live),
            objects: InMemory::new(),
            faults: schedule.faults,
            streams: Streams::new(schedule.seed, STORE),
            tags: Mutex::default(),
        })
    }

    /// What the tag names.
    pub(super) fn named(&self, key: &str, tag: &str) -> Option<(u64, usize)> {
        self.tags().get(&(key.to_owned(), tag.to_owned())).copied()
    }

    /// The object is written or, with `None`, deleted by somebody without a cache, in one step.
    pub(super) fn change(&self, key: &str, value: Option<u64>) {
        let path = Path::from(key);
        let done = match value {
            Some(value) => at_once(self.objects.put(&path, body_of(value).into())).map(|_| ()),
            None => at_once(self.objects.delete(&path)),
        };
        done.expect("a store in memory fails no write without a condition");
        self.note(key);
    }

    /// The value of the object as it is now, with its tag.
    fn current(&self, key: &str) -> Option<(u64, String)> {
        let answer = at_once(self.objects.get(&Path::from(key))).ok()?;
        let tag = answer.meta.e_tag.clone().unwrap_or_default();
        let body = at_once(answer.bytes()).ok()?;
        Some((value_of(0, &body).unwrap_or(EMPTY), tag))
    }

    /// Records the state that the object is in now, if it is another one.
    fn note(&self, key: &str) {
        let current = self.current(key);
        let now = self.recorder.now();
        let mut history = self.recorder.history();
        match current {
            Some((_, tag)) if self.named(key, &tag).is_some() => {}
            Some((value, tag)) => {
                let number = history.change(key, Some(value), now);
                history.tag(key, &tag, value);
                self.tags().insert((key.to_owned(), tag), (value, number));
            }
            None if history.states(key).last().is_some_and(|state| state.value.is_some()) => {
                history.change(key, None, now);
            }
            None => {}
        }
    }

    fn stream(&self, node: usize, key: &str, purpose: u64) -> Arc<Random> {
        self.streams.of(node, key, purpose)
    }

    fn tags(&self) -> MutexGuard<'_, BTreeMap<(String, String), (u64, usize)>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A date for what the tag names: the store's own is that of the machine.
    fn dated(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let named = meta.e_tag.as_deref().and_then(|tag| self.named(meta.location.as_ref(), tag));
        let since_start = Duration::from_secs(named.map_or(0, |(_, state)| state as u64));
        meta.last_modified = (SystemTime::UNIX_EPOCH + FIRST_DATE + since_start).into();
        meta
    }
}

/// The store as the cache of one node reaches it.
pub(super) struct NodeStore {
    node: usize,
    world: Arc<World>,
    faulty: FaultyStore,
}

impl NodeStore {
    pub(super) fn new(node: usize, world: Arc<World>) -> Arc<Self> {
        let faulty = FaultyStore::new(Arc::new(AtOnce { world: Arc::clone(&world) }));
        for fault in faults(node, &world) {
            faulty.fault(fault);
        }
        Arc::new(Self { node, world, faulty })
    }

    fn ask(&self, key: &str) -> RequestId {
        let recorder = &self.world.recorder;
        recorder.history().ask(self.node, key, recorder.now())
    }

    /// The answer to a request for `key`, which takes its time.
    async fn answered<T>(
        &self,
        key: &str,
        answer: impl Future<Output = Result<T>>,
        shown: impl FnOnce(&Result<T>, usize) -> Option<Shown>,
    ) -> Result<T> {
        let request = self.ask(key);
        let absent = self.first_absence(key);
        let way = self.world.stream(self.node, key, WAY);
        pause(&way).await;
        let answer = answer.await;
        if is_spoiled(&self.world, &way, 4) {
            tokio::time::sleep(ms(20 + way.below(300))).await;
        }
        pause(&way).await;
        self.close(key, request, answer.as_ref().err(), shown(&answer, absent));
        answer
    }

    fn close(&self, key: &str, request: RequestId, error: Option<&Error>, shown: Option<Shown>) {
        let recorder = &self.world.recorder;
        let mut history = recorder.history();
        // That there is none was true at some time since it was sent.
        let shown = shown.map(|shown| match shown {
            Shown::State(at_least) if matches!(error, Some(Error::NotFound { .. })) => {
                let states = history.states(key).iter().enumerate().skip(at_least);
                let absent =
                    states.filter(|(_, state)| state.value.is_none()).map(|(number, _)| number);
                Shown::State(absent.min().unwrap_or(at_least))
            }
            shown => shown,
        });
        if let Some(shown) = shown {
            history.show(request, shown);
        }
        history.answer(request, error.and_then(failure), recorder.now());
    }

    /// The state of now: what is absent from now on is so in this state or a later one.
    fn first_absence(&self, key: &str) -> usize {
        self.world.recorder.history().states(key).len() - 1
    }

    /// What the answer to a read says of the object.
    fn shown(
        &self,
        key: &str,
        options: &GetOptions,
        answer: &Result<GetResult>,
        absent: usize,
    ) -> Option<Shown> {
        let state = |tag: &Option<String>| Some(self.world.named(key, tag.as_deref()?)?.1);
        match answer {
            Ok(answer) => state(&answer.meta.e_tag).map(Shown::State),
            Err(Error::NotModified { .. }) => state(&options.if_none_match).map(Shown::State),
            Err(Error::Precondition { .. }) => {
                state(&options.if_match).map(|at| Shown::State(at + 1))
            }
            Err(Error::NotFound { .. }) => Some(Shown::State(absent)),
            Err(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => {
                Some(Shown::Denied)
            }
            Err(_) => None,
        }
    }

    /// A body that comes in pieces.
    fn in_pieces(
        &self,
        key: &str,
        body: BoxStream<'static, Result<Bytes>>,
    ) -> BoxStream<'static, Result<Bytes>> {
        let random = self.world.stream(self.node, key, BODY);
        let pieces = Arc::clone(&random);
        body.map_ok(move |chunk| {
            let len = 1 + pieces.index(24);
            let starts = (0..chunk.len().max(1)).step_by(len);
            let cut = move |from: usize| chunk.slice(from..chunk.len().min(from + len));
            stream::iter(starts.map(move |from| Ok(cut(from))))
        })
        .try_flatten()
        .then(move |piece| {
            let random = Arc::clone(&random);
            async move {
                for _ in 0..random.below(3) {
                    tokio::task::yield_now().await;
                }
                if random.below(4) == 0 {
                    tokio::time::sleep(ms(random.below(6))).await;
                }
                piece
            }
        })
        .boxed()
    }
}

impl fmt::Display for NodeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated store")
    }
}

impl fmt::Debug for NodeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeStore").field("node", &self.node).finish_non_exhaustive()
    }
}

/// A handle that streams can own.
#[derive(Debug, Clone)]
pub(super) struct Handle(pub(super) Arc<NodeStore>);

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Handle {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let Self(store) = self;
        let (key, random) =
            (location.as_ref(), store.world.stream(store.node, location.as_ref(), LINGERS));
        if is_spoiled(&store.world, &random, 6) {
            // The connection is lost, and the write lands later.
            let (store, location, later) = (self.clone(), location.clone(), ms(random.below(40)));
            tokio::spawn(async move {
                tokio::time::sleep(later).await;
                // Nobody hears of it.
                let _ = store.0.faulty.inner().put_opts(&location, payload, options).await;
            });
            return self.0.answered(key, future::err(outage()), |_, _| None).await;
        }
        store.answered(key, store.faulty.put_opts(location, payload, options), |_, _| None).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.0.faulty.put_multipart_opts(location, options);
        let upload = self.0.answered(location.as_ref(), upload, |_, _| None).await?;
        Ok(Box::new(Upload { store: self.clone(), location: location.clone(), upload }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (Self(store), key) = (self, location.as_ref());
        let shown = |answer: &_, absent| store.shown(key, &options, answer, absent);
        let answer =
            store.answered(key, store.faulty.get_opts(location, options.clone()), shown).await?;
        let GetResult { range, attributes, extensions, .. } = &answer;
        let (range, attributes, extensions) =
            (range.clone(), attributes.clone(), extensions.clone());
        let meta = store.world.dated(answer.meta.clone());
        let payload = GetResultPayload::Stream(store.in_pieces(key, answer.into_stream()));
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (Self(store), key) = (self, location.as_ref());
        let shown = |answer: &Result<Vec<Bytes>>, absent| match answer {
            Err(Error::NotFound { .. }) => Some(Shown::State(absent)),
            Err(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => {
                Some(Shown::Denied)
            }
            // There is no tag with it.
            _ => None,
        };
        store.answered(key, store.faulty.get_ranges(location, ranges), shown).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let (location, Self(store)) = (location?, &store);
                    let delete = store.faulty.delete(&location);
                    store.answered(location.as_ref(), delete, |_, _| None).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (handle, prefix) = (self.clone(), prefix.cloned());
        stream::once(async move {
            let listed = handle
                .listing(prefix.as_ref(), |store, prefix| store.list(prefix).try_collect().boxed());
            listed.await.map(|listed: Vec<ObjectMeta>| stream::iter(listed.into_iter().map(Ok)))
        })
        .try_flatten()
        .boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let offset = offset.clone();
        self.list(prefix).try_filter(move |object| future::ready(object.location > offset)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut common = Vec::new();
        let objects = self
            .listing(prefix, |store, prefix| {
                let common = &mut common;
                async move {
                    let listed = store.list_with_delimiter(prefix).await?;
                    *common = listed.common_prefixes;
                    Ok(listed.objects)
                }
                .boxed()
            })
            .await?;
        Ok(ListResult { objects, common_prefixes: common, extensions: Default::default() })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copy = self.0.faulty.copy_opts(from, to, options);
        self.0.answered(from.as_ref(), copy, of_source).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let rename = self.0.faulty.rename_opts(from, to, options);
        self.0.answered(from.as_ref(), rename, of_source).await
    }
}

/// What is heard of the source of a copy.
fn of_source(answer: &Result<()>, absent: usize) -> Option<Shown> {
    matches!(answer, Err(Error::NotFound { .. })).then_some(Shown::State(absent))
}

impl Handle {
    /// A list, which is a request for each key that it may show.
    async fn listing<'a>(
        &'a self,
        prefix: Option<&'a Path>,
        list: impl FnOnce(
            &'a FaultyStore,
            Option<&'a Path>,
        ) -> future::BoxFuture<'a, Result<Vec<ObjectMeta>>>,
    ) -> Result<Vec<ObjectMeta>> {
        let Self(store) = self;
        let name = prefix.map_or("", |prefix| prefix.as_ref());
        let asked: Vec<_> = KEYS
            .into_iter()
            .filter(|key| key.starts_with(name))
            .map(|key| (key, store.ask(key), store.first_absence(key)))
            .collect();
        let way = store.world.stream(store.node, name, WAY);
        pause(&way).await;
        let listed = list(&store.faulty, prefix).await;
        pause(&way).await;
        for (key, request, at_least) in asked {
            let shown = listed.as_ref().ok().and_then(|listed| {
                let object = listed.iter().find(|object| object.location.as_ref() == key);
                match object {
                    Some(object) => {
                        let tag = object.e_tag.as_deref()?;
                        store.world.named(key, tag).map(|(_, state)| Shown::Listed(state))
                    }
                    None => Some(Shown::LeftOut(at_least)),
                }
            });
            store.close(key, request, listed.as_ref().err(), shown);
        }
        Ok(listed?.into_iter().map(|object| store.world.dated(object)).collect())
    }
}

/// An upload, each step of which is a request.
#[derive(Debug)]
struct Upload {
    store: Handle,
    location: Path,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (store, location, part) =
            (self.store.clone(), self.location.clone(), self.upload.put_part(data));
        Box::pin(async move { store.0.answered(location.as_ref(), part, |_, _| None).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let Self { store, location, upload } = self;
        store.0.answered(location.as_ref(), upload.complete(), |_, _| None).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

/// The store itself, which does each thing in one step and records what became of the objects.
struct AtOnce {
    world: Arc<World>,
}

impl fmt::Display for AtOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated store")
    }
}

impl fmt::Debug for AtOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtOnce")
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for AtOnce {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let put = self.world.objects.put_opts(location, payload, options).await;
        self.world.note(location.as_ref());
        put
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.world.objects.put_multipart_opts(location, options).await?;
        Ok(Box::new(Noted { world: Arc::clone(&self.world), location: location.clone(), upload }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.world.objects.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // The store in memory panics at a range that begins behind the object.
        let meta = self.world.objects.head(location).await?;
        for range in ranges {
            let range = GetRange::Bounded(range.clone()).as_range(meta.size);
            range.map_err(|source| Error::Generic { store: "simulated", source: source.into() })?;
        }
        self.world.objects.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let world = Arc::clone(&self.world);
        let deleted = self.world.objects.delete_stream(locations);
        deleted.inspect_ok(move |location| world.note(location.as_ref())).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.world.objects.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.world.objects.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.world.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copied = options.extensions.get::<Copied>().cloned();
        self.world.objects.copy_opts(from, to, options).await?;
        self.copied(to, copied);
        Ok(())
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let copied = options.extensions.get::<Copied>().cloned();
        self.world.objects.rename_opts(from, to, options).await?;
        self.copied(to, copied);
        self.world.note(from.as_ref());
        Ok(())
    }
}

impl AtOnce {
    fn copied(&self, to: &Path, copied: Option<Copied>) {
        self.world.note(to.as_ref());
        if let (Some(Copied(written)), Some((value, _))) = (copied, self.world.current(to.as_ref()))
        {
            *written.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        }
    }
}

/// In the options of a copy or a rename: which value it has written.
#[derive(Debug, Clone, Default)]
pub(super) struct Copied(Arc<Mutex<Option<u64>>>);

impl Copied {
    pub(super) fn value(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An upload whose end is recorded.
#[derive(Debug)]
struct Noted {
    world: Arc<World>,
    location: Path,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for Noted {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let completed = self.upload.complete().await;
        self.world.note(self.location.as_ref());
        completed
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

/// What goes wrong with the requests of a node.
fn faults(node: usize, world: &Arc<World>) -> Vec<Fault> {
    use Failure::{PermissionDenied, Unauthenticated, Unavailable};
    let effects: [(fn() -> Fault, u64); 9] = [
        (|| Fault::error(Unavailable), 8),
        (|| Fault::error(PermissionDenied), 4),
        (|| Fault::error(Unauthenticated), 3),
        (|| Fault::error(Unavailable).late(), 6),
        (|| Fault::body(BodyFault::Fails(0)), 4),
        (|| Fault::body(BodyFault::Fails(9)), 6),
        (|| Fault::body(BodyFault::Truncated(0)), 3),
        (|| Fault::body(BodyFault::Truncated(11)), 4),
        (|| Fault::body(BodyFault::Overlong(3)), 3),
    ];
    let of = |(purpose, (fault, weight)): (u64, _)| {
        let (world, fault): (_, fn() -> Fault) = (Arc::clone(world), fault);
        fault().when(move |request: &Request| {
            let random = world.stream(node, request.location.as_ref(), FAULTS + purpose);
            is_spoiled(&world, &random, weight)
        })
    };
    (0..).zip(effects).map(of).collect()
}

/// Whether it happens, if of all that goes wrong so many in 48 go wrong so.
fn is_spoiled(world: &World, random: &Random, weight: u64) -> bool {
    random.below(256 * 48) < u64::from(world.faults) * weight
}

/// The kind of failure, unless the store has answered.
fn failure(error: &Error) -> Option<ErrorKind> {
    Some(match error {
        Error::NotFound { .. } | Error::NotModified { .. } => return None,
        Error::Precondition { .. } | Error::AlreadyExists { .. } => ErrorKind::PreconditionFailed,
        Error::PermissionDenied { .. } => ErrorKind::PermissionDenied,
        Error::Unauthenticated { .. } => ErrorKind::Unauthenticated,
        Error::Generic { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    })
}

fn outage() -> Error {
    Failure::Unavailable.error(&Path::ROOT)
}

/// What a future of the store in memory returns, which never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a store in memory answers at once")
}

/// The body of a value: each byte tells of which value it is, and where.
pub(super) fn body_of(value: u64) -> Bytes {
    let lens = [40, 16, 23, 5, 33, 8, 12];
    let len: u64 = if value == EMPTY { 0 } else { lens[usize::try_from(value % 7).unwrap_or(0)] };
    (0..len).map(|at| byte_of(value, at)).collect()
}

fn byte_of(value: u64, at: u64) -> u8 {
    value.wrapping_mul(7).wrapping_add(at.wrapping_mul(31)).to_le_bytes()[0]
}

/// The value whose body has these bytes from `start` on; `None` if there is none, or there are no
/// bytes.
pub(super) fn value_of(start: u64, bytes: &[u8]) -> Option<u64> {
    let first = u64::from(*bytes.first()?);
    // 183 is the inverse of 7, modulo 256.
    let value = first.wrapping_sub(start.wrapping_mul(31)).wrapping_mul(183) % 256;
    let (body, start) = (body_of(value), usize::try_from(start).ok()?);
    (body.get(start..start + bytes.len())? == bytes).then_some(value)
}

/// The value whose body is empty.
pub(super) const EMPTY: u64 = 6;

/// 2025-01-01T00:00:00Z.
const FIRST_DATE: Duration = Duration::from_secs(1_735_689_600);
const STORE: u64 = 12;
// What a stream of the store is for.
const WAY: u64 = 0;
const BODY: u64 = 1;
const LINGERS: u64 = 2;
const FAULTS: u64 = 3;
