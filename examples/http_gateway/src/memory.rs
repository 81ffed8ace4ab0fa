//! A bucket in memory.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
};

use async_trait::async_trait;
use cache_facade::object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
    memory::InMemory, path::Path,
};
use futures_util::{StreamExt, stream::BoxStream};

/// A bucket in memory whose tags are its own: `InMemory` counts from zero, so that after a restart
/// a browser's copy would have the tag of another object.
#[derive(Debug)]
pub struct Memory {
    store: InMemory,
    tags: Tags,
}

/// From the tags of `InMemory` (`"7"`) to those of this bucket, and back.
#[derive(Debug, Clone, Copy)]
struct Tags {
    bucket: u64,
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        // Random for each.
        let bucket = RandomState::new().hash_one(());
        Self { store: InMemory::new(), tags: Tags { bucket } }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Tags {
    fn shown(self, tag: Option<String>) -> Option<String> {
        let n: u64 = tag?.trim_matches('"').parse().ok()?;
        Some(format!("\"{:016x}{n:016x}\"", self.bucket))
    }

    /// Of a tag, or a list of tags.
    fn inner(self, list: Option<String>) -> Option<String> {
        let inner = |tag: &str| match tag.trim() {
            "*" => "*".to_owned(),
            tag => self.number(tag).map_or_else(|| NONE.to_owned(), |n| format!("\"{n}\"")),
        };
        Some(list?.split(',').map(inner).collect::<Vec<_>>().join(","))
    }

    fn number(self, tag: &str) -> Option<u64> {
        let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
        let n = digits.strip_prefix(&format!("{:016x}", self.bucket))?;
        u64::from_str_radix(n, 16).ok().filter(|_| n.len() == 16)
    }

    fn shown_meta(self, mut meta: ObjectMeta) -> ObjectMeta {
        meta.e_tag = self.shown(meta.e_tag);
        meta
    }

    fn shown_put(self, mut put: PutResult) -> PutResult {
        put.e_tag = self.shown(put.e_tag);
        put
    }
}

#[async_trait]
impl ObjectStore for Memory {
    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        options.if_match = self.tags.inner(options.if_match);
        options.if_none_match = self.tags.inner(options.if_none_match);
        let mut answer = self.store.get_opts(location, options).await?;
        answer.meta = self.tags.shown_meta(answer.meta);
        Ok(answer)
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        if let PutMode::Update(version) = &mut options.mode {
            version.e_tag = self.tags.inner(version.e_tag.take());
        }
        Ok(self.tags.shown_put(self.store.put_opts(location, payload, options).await?))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.store.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload { upload, tags: self.tags }))
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let tags = self.tags;
        self.store.list(prefix).map(move |meta| Ok(tags.shown_meta(meta?))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.store.list_with_delimiter(prefix).await?;
        listed.objects =
            listed.objects.into_iter().map(|meta| self.tags.shown_meta(meta)).collect();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Memory {
    /// What its tags are worth is judged by the store inside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[derive(Debug)]
struct Upload {
    upload: Box<dyn MultipartUpload>,
    tags: Tags,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        Ok(self.tags.shown_put(self.upload.complete().await?))
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

/// A tag that `InMemory` never gives.
const NONE: &str = "\"none\"";

#[cfg(test)]
mod tests {
    use cache_facade::object_store::{Error, ObjectStoreExt};

    use super::*;

    #[tokio::test]
    async fn a_tag_is_good_in_its_own_bucket_alone() {
        let (one, other) = (Memory::new(), Memory::new());
        let path = Path::from("a");
        let put = one.put(&path, "words".into()).await.unwrap();
        let tag = put.e_tag.unwrap();
        assert_eq!(one.head(&path).await.unwrap().e_tag.as_ref(), Some(&tag));
        assert_eq!(
            one.list_with_delimiter(None).await.unwrap().objects[0].e_tag.as_ref(),
            Some(&tag)
        );
        other.put(&path, "other words".into()).await.unwrap();
        let ask = async |bucket: &Memory, tag: &str| {
            bucket
                .get_opts(&path, GetOptions::new().with_if_none_match(Some(tag)))
                .await
                .map(|_| ())
        };
        assert!(matches!(ask(&one, &tag).await, Err(Error::NotModified { .. })));
        assert!(matches!(
            ask(&one, &format!("\"x\", {tag}")).await,
            Err(Error::NotModified { .. })
        ));
        ask(&other, &tag).await.unwrap();
        // The inner tag is none.
        ask(&one, "\"0\"").await.unwrap();
        assert!(matches!(ask(&one, "*").await, Err(Error::NotModified { .. })));
    }
}
