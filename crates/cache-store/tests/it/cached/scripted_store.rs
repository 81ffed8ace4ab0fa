//! A store that hears and answers otherwise than it should.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_testkit::{FaultyStore, Gate};
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    memory::InMemory, path::Path,
};

type Edit<T> = Box<dyn Fn(T) -> T + Send + Sync>;

pub(crate) struct ScriptedStore {
    inner: Arc<dyn ObjectStore>,
    hears: Edit<GetOptions>,
    answers: Edit<GetResult>,
    lists: Arc<dyn Fn(ObjectMeta) -> ObjectMeta + Send + Sync>,
}

impl ScriptedStore {
    pub(crate) fn hears(
        edit: impl Fn(GetOptions) -> GetOptions + Send + Sync + 'static,
    ) -> FaultyStore {
        Self::store(Box::new(edit), Box::new(|answer| answer))
    }

    pub(crate) fn answers(
        edit: impl Fn(GetResult) -> GetResult + Send + Sync + 'static,
    ) -> FaultyStore {
        Self::store(Box::new(|options| options), Box::new(edit))
    }

    /// What it says to a HEAD is edited.
    pub(crate) fn heads(
        edit: impl Fn(GetResult) -> GetResult + Send + Sync + 'static,
    ) -> FaultyStore {
        let is_head = Arc::new(AtomicBool::new(false));
        let answered = Arc::clone(&is_head);
        let hears = move |options: GetOptions| {
            is_head.store(options.head, Ordering::Relaxed);
            options
        };
        Self::store(
            Box::new(hears),
            Box::new(move |answer| match answered.load(Ordering::Relaxed) {
                true => edit(answer),
                false => answer,
            }),
        )
    }

    /// Bodies come in chunks of so many bytes, each of which has to pass the gate.
    pub(crate) fn gated(gate: &Arc<Gate>, len: usize) -> FaultyStore {
        let gate = Arc::clone(gate);
        Self::answers(move |answer| {
            let gate = Arc::clone(&gate);
            with_body(answer, |body| {
                let chunks = body
                    .map_ok(move |chunk| {
                        let starts = (0..chunk.len()).step_by(len);
                        let cut =
                            move |from: usize| Ok(chunk.slice(from..chunk.len().min(from + len)));
                        stream::iter(starts).map(cut)
                    })
                    .try_flatten();
                let pass = move |chunk| {
                    let gate = Arc::clone(&gate);
                    async move {
                        gate.pass().await;
                        chunk
                    }
                };
                chunks.then(pass).boxed()
            })
        })
    }

    fn store(hears: Edit<GetOptions>, answers: Edit<GetResult>) -> FaultyStore {
        let inner = Arc::new(InMemory::new());
        FaultyStore::new(Arc::new(Self { inner, hears, answers, lists: Arc::new(|object| object) }))
    }

    /// `inner`, whose lists show something else.
    pub(crate) fn lists(
        inner: Arc<dyn ObjectStore>,
        edit: impl Fn(ObjectMeta) -> ObjectMeta + Send + Sync + 'static,
    ) -> Self {
        let (hears, answers): (Edit<_>, Edit<_>) =
            (Box::new(|options| options), Box::new(|answer| answer));
        Self { inner, hears, answers, lists: Arc::new(edit) }
    }
}

/// `answer` with another body.
pub(crate) fn with_body(
    answer: GetResult,
    edit: impl FnOnce(BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>>,
) -> GetResult {
    let GetResult { range, meta, attributes, extensions, .. } = &answer;
    let (range, meta) = (range.clone(), meta.clone());
    let (attributes, extensions) = (attributes.clone(), extensions.clone());
    let payload = GetResultPayload::Stream(edit(answer.into_stream()));
    GetResult { payload, range, meta, attributes, extensions }
}

impl fmt::Debug for ScriptedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptedStore")
    }
}

/// It is trusted like the store that it wraps.
impl fmt::Display for ScriptedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for ScriptedStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, (self.hears)(options)).await.map(&self.answers)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let edit = Arc::clone(&self.lists);
        self.inner.list(prefix).map_ok(move |object| edit(object)).boxed()
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
