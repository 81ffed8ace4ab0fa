//! A store with latency that counts requests.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cache_testkit::FaultyStore;
use futures_util::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart, coalesce_ranges, path::Path,
};
use tokio::time::sleep;

/// Objects behind a network: each request takes [`LATENCY`](Self::LATENCY) and is counted.
///
/// Ranges are read like those of cloud stores: neighbours in one request, others in concurrent
/// requests. A list is one request, however long. A clone is another handle.
#[derive(Debug, Clone)]
pub struct Remote {
    counted: FaultyStore,
}

impl Remote {
    /// The time to the first byte of a store in the same region.
    pub const LATENCY: Duration = Duration::from_millis(20);

    /// Adds latency to `objects`.
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { counted: FaultyStore::new(objects) }
    }

    /// The number of requests since the start or the last [`reset`](Self::reset).
    pub fn requests(&self) -> usize {
        self.counted.count()
    }

    /// The bytes of the bodies sent.
    pub fn bytes(&self) -> u64 {
        self.counted.body_bytes()
    }

    /// Counts from zero.
    pub fn reset(&self) {
        self.counted.reset();
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counted.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Remote {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        sleep(Remote::LATENCY).await;
        self.counted.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        sleep(Remote::LATENCY).await;
        Ok(Box::new(RemoteUpload(self.counted.put_multipart_opts(location, options).await?)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        sleep(Remote::LATENCY).await;
        self.counted.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        coalesce_ranges(ranges, |range| self.get_range(location, range), OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let late = |location| async {
            sleep(Remote::LATENCY).await;
            location
        };
        self.counted.delete_stream(locations.then(late).boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        late(self.counted.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        late(self.counted.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        sleep(Remote::LATENCY).await;
        self.counted.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        sleep(Remote::LATENCY).await;
        self.counted.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        sleep(Remote::LATENCY).await;
        self.counted.rename_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct RemoteUpload(Box<dyn MultipartUpload>);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for RemoteUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        // The order of the parts is that of the calls.
        let part = self.0.put_part(data);
        Box::pin(async {
            sleep(Remote::LATENCY).await;
            part.await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        sleep(Remote::LATENCY).await;
        self.0.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        sleep(Remote::LATENCY).await;
        self.0.abort().await
    }
}

fn late(listed: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
    let late = async {
        sleep(Remote::LATENCY).await;
        listed
    };
    stream::once(late).flatten().boxed()
}
