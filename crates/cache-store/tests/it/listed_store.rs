//! A store whose lists are told what to do.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_testkit::FaultyStore;
use futures_util::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    path::Path,
};

/// The result of a poll of a list.
#[derive(Debug, Clone)]
pub(crate) enum Listed {
    Object(ObjectMeta),
    /// A request is sent.
    Request,
    /// Its response is still awaited.
    Wait,
    Error,
}

type Script = dyn Fn(Vec<ObjectMeta>) -> Vec<Listed> + Send + Sync;

/// A store that lists as its script says, from the objects that it has. All else is recorded by the
/// store inside.
#[derive(Clone)]
pub(crate) struct ListedStore {
    pub(crate) inner: FaultyStore,
    name: &'static str,
    script: Arc<Script>,
    n_requests: Arc<AtomicUsize>,
}

impl ListedStore {
    /// A store in memory that shows itself as `name`.
    pub(crate) fn new(
        name: &'static str,
        script: impl Fn(Vec<ObjectMeta>) -> Vec<Listed> + Send + Sync + 'static,
    ) -> Self {
        let (inner, n_requests) = (FaultyStore::in_memory(), Arc::default());
        Self { inner, name, script: Arc::new(script), n_requests }
    }

    /// The same with pages of these sizes, which are requested when they are polled.
    pub(crate) fn paged(name: &'static str, sizes: &'static [usize]) -> Self {
        Self::new(name, move |objects| {
            let mut objects = objects.into_iter().map(Listed::Object);
            let mut listed = Vec::new();
            for size in sizes {
                listed.extend([Listed::Request, Listed::Wait]);
                listed.extend(objects.by_ref().take(*size));
            }
            assert!(objects.next().is_none(), "there are pages for all objects");
            listed
        })
    }

    /// How many requests lists have sent.
    pub(crate) fn requests(&self) -> usize {
        self.n_requests.load(Ordering::SeqCst)
    }

    fn run(
        &self,
        mut objects: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let mut script = None;
        stream::poll_fn(move |context| {
            if script.is_none() {
                let mut all = Vec::new();
                while let Poll::Ready(Some(object)) = objects.try_poll_next_unpin(context) {
                    all.push(object?);
                }
                script = Some((store.script)(all).into_iter());
            }
            match script.as_mut().and_then(Iterator::next) {
                None => Poll::Ready(None),
                Some(Listed::Object(object)) => Poll::Ready(Some(Ok(object))),
                Some(Listed::Error) => {
                    let source = "the list breaks off".into();
                    Poll::Ready(Some(Err(Error::Generic { store: "listed", source })))
                }
                Some(Listed::Request) => {
                    store.n_requests.fetch_add(1, Ordering::SeqCst);
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Listed::Wait) => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        })
        .boxed()
    }
}

impl fmt::Display for ListedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Debug for ListedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[async_trait]
impl ObjectStore for ListedStore {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.run(self.inner.inner().list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.run(self.inner.inner().list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.n_requests.fetch_add(1, Ordering::SeqCst);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
