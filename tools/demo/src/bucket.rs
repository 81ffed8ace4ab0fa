//! The store: a bucket in memory, a round trip away, that counts requests and can be stopped.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_facade::object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory, path::Path,
};
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};

/// A store in memory. Each GET and each PUT takes one round trip, also when it fails.
#[derive(Debug)]
pub(crate) struct Bucket {
    inner: InMemory,
    round_trip: Duration,
    is_down: AtomicBool,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    gets: AtomicU64,
    puts: AtomicU64,
    failed: AtomicU64,
    bytes: Arc<AtomicU64>,
}

/// The requests so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    pub(crate) gets: u64,
    pub(crate) puts: u64,
    /// GETs and PUTs that failed.
    pub(crate) failed: u64,
    /// Bytes of bodies sent.
    pub(crate) bytes: u64,
}

impl Bucket {
    /// Creates an empty bucket that is up.
    pub(crate) fn new(round_trip: Duration) -> Self {
        let (is_down, counts) = (AtomicBool::new(false), Counts::default());
        Self { inner: InMemory::new(), round_trip, is_down, counts }
    }

    /// The store without latency and without counting.
    pub(crate) fn inner(&self) -> &InMemory {
        &self.inner
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.is_down.load(Ordering::SeqCst)
    }

    /// Stops or starts the store. While it is down, requests fail, including those in flight.
    pub(crate) fn set_up(&self, up: bool) {
        self.is_down.store(!up, Ordering::SeqCst);
    }

    pub(crate) fn requests(&self) -> Requests {
        let Counts { gets, puts, failed, bytes } = &self.counts;
        let [gets, puts, failed, bytes] =
            [gets, puts, failed, bytes].map(|count| count.load(Ordering::SeqCst));
        Requests { gets, puts, failed, bytes }
    }

    /// A round trip, at whose end the bucket must be up.
    async fn answer(&self) -> Result<()> {
        tokio::time::sleep(self.round_trip).await;
        if self.is_up() {
            return Ok(());
        }
        add(&self.counts.failed, 1);
        Err(Error::Generic { store: "bucket", source: "it is switched off".into() })
    }
}

fn add(count: &AtomicU64, n: u64) {
    count.fetch_add(n, Ordering::SeqCst);
}

impl fmt::Display for Bucket {
    /// The name of the wrapped store, whose ETags these are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        add(&self.counts.puts, 1);
        self.answer().await?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        add(&self.counts.gets, 1);
        self.answer().await?;
        let answer = self.inner.get_opts(location, options).await?;
        let GetResult { range, meta, attributes, extensions, .. } = &answer;
        let (range, meta) = (range.clone(), meta.clone());
        let (attributes, extensions) = (attributes.clone(), extensions.clone());
        let bytes = Arc::clone(&self.counts.bytes);
        let chunks =
            answer.into_stream().inspect_ok(move |chunk| add(&bytes, chunk.len() as u64)).boxed();
        Ok(GetResult {
            payload: GetResultPayload::Stream(chunks),
            meta,
            range,
            attributes,
            extensions,
        })
    }

    // Not used by the demo.

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
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
}

#[cfg(test)]
mod tests {
    use cache_facade::object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted_and_take_a_round_trip() {
        let (bucket, path) = (Bucket::new(Duration::from_millis(40)), Path::from("k"));
        let clock = cache_testkit::TokioClock::new();
        bucket.put(&path, "body".into()).await.unwrap();
        let tag = bucket.get(&path).await.unwrap().meta.e_tag;
        let unless = GetOptions { if_none_match: tag, ..GetOptions::default() };
        assert!(matches!(bucket.get_opts(&path, unless).await, Err(Error::NotModified { .. })));
        assert_eq!(bucket.get(&path).await.unwrap().bytes().await.unwrap(), "body");
        // The first body was not read.
        assert_eq!(bucket.requests(), Requests { gets: 3, puts: 1, failed: 0, bytes: 4 });
        assert_eq!(cache_facade::Clock::now(&clock).as_nanos(), 160_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_store_answers_and_writes_nothing() {
        let (bucket, path) = (Bucket::new(Duration::from_millis(40)), Path::from("k"));
        bucket.set_up(false);
        assert!(matches!(bucket.put(&path, "body".into()).await, Err(Error::Generic { .. })));
        assert!(matches!(bucket.get(&path).await, Err(Error::Generic { .. })));
        bucket.set_up(true);
        assert!(matches!(bucket.get(&path).await, Err(Error::NotFound { .. })));
        assert_eq!(bucket.requests(), Requests { gets: 2, puts: 1, failed: 2, bytes: 0 });
    }
}
