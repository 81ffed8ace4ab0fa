//! Any store of object_store 0.14 as one of object_store 0.13.
//!
//! The two versions have the same types under two names, but for what 0.14 added: extensions of
//! results. So most of this file renames, field by field: a field that a later version adds fails
//! to compile here, and is not forgotten.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt, TryFutureExt, TryStreamExt, future, stream, stream::BoxStream,
};
use object_store_013::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, RenameTargetMode, Result, TagSet, UpdateVersion,
    UploadPart, path::Path,
};

/// A store of object_store 0.14 that is a store of object_store 0.13.
///
/// For those who give a store to a crate that is still on 0.13: DataFusion 55, delta-rs 1.1, Polars
/// 0.55. It adds no request and copies no body; every method is the wrapped store's own method of
/// that name. A clone shares the wrapped store.
///
/// * Options, conditions, tags and attributes reach the wrapped store as they are, and so do the
///   extensions of options: both versions have the same type for them. What a store puts into the
///   extensions of a *result* is lost: 0.13 has no place for it.
/// * An error is of the same kind, about the same path, and has the same source. If a source is
///   itself an error of object_store 0.14, it stays one.
/// * A body that the wrapped store gives as a file stays a file, with the feature `fs`; without, it
///   is a stream.
/// * A dropped future, stream or upload leaves behind what it leaves behind in the wrapped store.
/// * `Display` names the wrapped store.
///
/// ```
/// use std::sync::Arc;
/// use cache_store::ObjectStore013;
/// use object_store::{ObjectStoreExt, memory::InMemory};
/// use object_store_013::ObjectStoreExt as _;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Arc::new(InMemory::new());
/// store.put(&"a".into(), "body".into()).await?;
///
/// let old = ObjectStore013::new(store);
/// assert_eq!(old.get(&"a".into()).await?.bytes().await?, "body");
/// assert!(matches!(old.get(&"b".into()).await, Err(object_store_013::Error::NotFound { .. })));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ObjectStore013 {
    inner: Arc<dyn object_store::ObjectStore>,
}

impl ObjectStore013 {
    /// Wraps `inner`. Sends no request.
    pub fn new(inner: Arc<dyn object_store::ObjectStore>) -> Self {
        Self { inner }
    }
}

impl fmt::Display for ObjectStore013 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStore013({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for ObjectStore013 {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (location, options) = (path(location)?, put_options(options)?);
        let answer = self.inner.put_opts(&location, put_payload(payload), options).await;
        answer.map(put_result).map_err(to_013::error)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let PutMultipartOptions { tags, attributes, extensions } = options;
        let (tags, attributes) = (tag_set(&tags), attributes_014(&attributes)?);
        let options = object_store::PutMultipartOptions { tags, attributes, extensions };
        let answer = self.inner.put_multipart_opts(&path(location)?, options).await;
        Ok(Box::new(Upload(answer.map_err(to_013::error)?)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let answer = self.inner.get_opts(&path(location)?, get_options(options)).await;
        get_result(answer.map_err(to_013::error)?)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(&path(location)?, ranges).await.map_err(to_013::error)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let locations = locations.map(|location| to_014::path(&location.map_err(to_014::error)?));
        let deleted = self.inner.delete_stream(locations.boxed());
        deleted.map(|location| to_013::path(&location.map_err(to_013::error)?)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match prefix.map(path).transpose() {
            Ok(prefix) => metas(self.inner.list(prefix.as_ref())),
            Err(error) => stream::once(future::err(error)).boxed(),
        }
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match prefix.map(path).transpose().and_then(|prefix| Ok((prefix, path(offset)?))) {
            Ok((prefix, offset)) => metas(self.inner.list_with_offset(prefix.as_ref(), &offset)),
            Err(error) => stream::once(future::err(error)).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.map(path).transpose()?;
        let answer =
            self.inner.list_with_delimiter(prefix.as_ref()).await.map_err(to_013::error)?;
        let object_store::ListResult { common_prefixes, objects, extensions: _ } = answer;
        Ok(ListResult {
            common_prefixes: common_prefixes.iter().map(to_013::path).collect::<Result<_>>()?,
            objects: objects.into_iter().map(meta).collect::<Result<_>>()?,
        })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let CopyOptions { mode, extensions } = options;
        let mode = match mode {
            CopyMode::Overwrite => object_store::CopyMode::Overwrite,
            CopyMode::Create => object_store::CopyMode::Create,
        };
        let options = object_store::CopyOptions { mode, extensions };
        self.inner.copy_opts(&path(from)?, &path(to)?, options).await.map_err(to_013::error)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let RenameOptions { target_mode, extensions } = options;
        let target_mode = match target_mode {
            RenameTargetMode::Overwrite => object_store::RenameTargetMode::Overwrite,
            RenameTargetMode::Create => object_store::RenameTargetMode::Create,
        };
        let options = object_store::RenameOptions { target_mode, extensions };
        self.inner.rename_opts(&path(from)?, &path(to)?, options).await.map_err(to_013::error)
    }
}

/// A multipart upload of object_store 0.14.
#[derive(Debug)]
struct Upload(Box<dyn object_store::MultipartUpload>);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.0.put_part(put_payload(data)).map_err(to_013::error).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.0.complete().await.map(put_result).map_err(to_013::error)
    }

    async fn abort(&mut self) -> Result<()> {
        self.0.abort().await.map_err(to_013::error)
    }
}

/// What goes both ways, from the crate `$from` to the crate `$to`.
macro_rules! conversions {
    ($module:ident: $from:ident => $to:ident) => {
        mod $module {
            use std::{io, path::PathBuf};

            /// The same path. One with an empty part, which cannot be parsed, stays as it is, too.
            pub(super) fn path(path: &$from::path::Path) -> $to::Result<$to::path::Path> {
                let text = path.as_ref();
                let mut same = $to::path::Path::ROOT;
                for part in text.split($from::path::DELIMITER) {
                    let refused =
                        |source| $to::path::Error::BadSegment { path: text.to_owned(), source };
                    same = same.join($to::path::PathPart::parse(part).map_err(refused)?);
                }
                Ok(same)
            }

            /// `None`, if the other version has no such attribute.
            pub(super) fn attribute(attribute: &$from::Attribute) -> Option<$to::Attribute> {
                use $from::Attribute::*;
                Some(match attribute {
                    ContentDisposition => $to::Attribute::ContentDisposition,
                    ContentEncoding => $to::Attribute::ContentEncoding,
                    ContentLanguage => $to::Attribute::ContentLanguage,
                    ContentType => $to::Attribute::ContentType,
                    CacheControl => $to::Attribute::CacheControl,
                    StorageClass => $to::Attribute::StorageClass,
                    Metadata(name) => $to::Attribute::Metadata(name.clone()),
                    _ => return None,
                })
            }

            /// An error of the same kind; a `Generic` one, if the other version has no such kind.
            pub(super) fn error(error: $from::Error) -> $to::Error {
                use $from::Error::*;
                match error {
                    Generic { store, source } => $to::Error::Generic { store, source },
                    NotFound { path, source } => $to::Error::NotFound { path, source },
                    InvalidPath { source } => {
                        $to::Error::InvalidPath { source: path_error(source) }
                    }
                    JoinError { source } => $to::Error::JoinError { source },
                    NotSupported { source } => $to::Error::NotSupported { source },
                    AlreadyExists { path, source } => $to::Error::AlreadyExists { path, source },
                    Precondition { path, source } => $to::Error::Precondition { path, source },
                    NotModified { path, source } => $to::Error::NotModified { path, source },
                    NotImplemented { operation, implementer } => {
                        $to::Error::NotImplemented { operation, implementer }
                    }
                    PermissionDenied { path, source } => {
                        $to::Error::PermissionDenied { path, source }
                    }
                    Unauthenticated { path, source } => {
                        $to::Error::Unauthenticated { path, source }
                    }
                    UnknownConfigurationKey { store, key } => {
                        $to::Error::UnknownConfigurationKey { store, key }
                    }
                    unknown => {
                        $to::Error::Generic { store: stringify!($from), source: unknown.into() }
                    }
                }
            }

            fn path_error(error: $from::path::Error) -> $to::path::Error {
                use $from::path::Error::*;
                match error {
                    EmptySegment { path } => $to::path::Error::EmptySegment { path },
                    BadSegment { path, source } => match $to::path::Path::parse(&path) {
                        Err(same @ $to::path::Error::BadSegment { .. }) => same,
                        // Not an error of `Path::parse`. What is wrong cannot be told in the other
                        // version's words.
                        _ => foreign(path.into(), source),
                    },
                    Canonicalize { path, source } => {
                        $to::path::Error::Canonicalize { path, source }
                    }
                    InvalidPath { path } => $to::path::Error::InvalidPath { path },
                    NonUnicode { path, source } => $to::path::Error::NonUnicode { path, source },
                    PrefixMismatch { path, prefix } => {
                        $to::path::Error::PrefixMismatch { path, prefix }
                    }
                    unknown => foreign(PathBuf::new(), unknown),
                }
            }

            fn foreign(
                path: PathBuf,
                source: impl std::error::Error + Send + Sync + 'static,
            ) -> $to::path::Error {
                $to::path::Error::Canonicalize {
                    path,
                    source: io::Error::new(io::ErrorKind::InvalidInput, source),
                }
            }
        }
    };
}

conversions!(to_013: object_store => object_store_013);
conversions!(to_014: object_store_013 => object_store);

fn path(path: &Path) -> Result<object_store::path::Path> {
    to_014::path(path).map_err(to_013::error)
}

fn put_options(options: PutOptions) -> Result<object_store::PutOptions> {
    let PutOptions { mode, tags, attributes, extensions } = options;
    let mode = match mode {
        PutMode::Overwrite => object_store::PutMode::Overwrite,
        PutMode::Create => object_store::PutMode::Create,
        PutMode::Update(UpdateVersion { e_tag, version }) => {
            object_store::PutMode::Update(object_store::UpdateVersion { e_tag, version })
        }
    };
    let (tags, attributes) = (tag_set(&tags), attributes_014(&attributes)?);
    Ok(object_store::PutOptions { mode, tags, attributes, extensions })
}

/// The chunks themselves, not a copy of them.
fn put_payload(payload: PutPayload) -> object_store::PutPayload {
    payload.into_iter().collect()
}

fn tag_set(tags: &TagSet) -> object_store::TagSet {
    let mut same = object_store::TagSet::default();
    for (key, value) in form_urlencoded::parse(tags.encoded().as_bytes()) {
        same.push(&key, &value);
    }
    same
}

/// What is to be kept with an object: an error, if it cannot be.
fn attributes_014(attributes: &Attributes) -> Result<object_store::Attributes> {
    let renamed = attributes.iter().map(|(attribute, value)| match to_014::attribute(attribute) {
        Some(attribute) => Ok((attribute, value.as_ref().to_owned())),
        None => Err(Error::NotSupported {
            source: format!("object_store 0.14 has no attribute {attribute:?}").into(),
        }),
    });
    renamed.collect()
}

/// What was kept with an object. An attribute that 0.13 does not know is left out.
fn attributes_013(attributes: &object_store::Attributes) -> Attributes {
    let renamed = attributes.iter().filter_map(|(attribute, value)| {
        Some((to_013::attribute(attribute)?, value.as_ref().to_owned()))
    });
    renamed.collect()
}

fn put_result(result: object_store::PutResult) -> PutResult {
    let object_store::PutResult { e_tag, version, extensions: _ } = result;
    PutResult { e_tag, version }
}

fn get_options(options: GetOptions) -> object_store::GetOptions {
    let GetOptions {
        if_match,
        if_none_match,
        if_modified_since,
        if_unmodified_since,
        range,
        version,
        head,
        extensions,
    } = options;
    let range = range.map(|range| match range {
        GetRange::Bounded(range) => object_store::GetRange::Bounded(range),
        GetRange::Offset(start) => object_store::GetRange::Offset(start),
        GetRange::Suffix(len) => object_store::GetRange::Suffix(len),
    });
    object_store::GetOptions {
        if_match,
        if_none_match,
        if_modified_since,
        if_unmodified_since,
        range,
        version,
        head,
        extensions,
    }
}

fn get_result(result: object_store::GetResult) -> Result<GetResult> {
    let meta = meta(result.meta.clone())?;
    let (range, attributes) = (result.range.clone(), attributes_013(&result.attributes));
    Ok(GetResult { payload: get_payload(result), meta, range, attributes })
}

#[cfg(all(feature = "fs", not(target_arch = "wasm32")))]
fn get_payload(result: object_store::GetResult) -> GetResultPayload {
    match result.payload {
        object_store::GetResultPayload::File(file, path) => GetResultPayload::File(file, path),
        object_store::GetResultPayload::Stream(body) => GetResultPayload::Stream(chunks(body)),
    }
}

/// object_store may have files all the same, if somebody else turned its feature `fs` on.
#[cfg(not(all(feature = "fs", not(target_arch = "wasm32"))))]
fn get_payload(result: object_store::GetResult) -> GetResultPayload {
    GetResultPayload::Stream(chunks(result.into_stream()))
}

fn chunks(
    body: BoxStream<'static, object_store::Result<Bytes>>,
) -> BoxStream<'static, Result<Bytes>> {
    body.map_err(to_013::error).boxed()
}

fn metas(
    metas: BoxStream<'static, object_store::Result<object_store::ObjectMeta>>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    metas.map(|of_object| meta(of_object.map_err(to_013::error)?)).boxed()
}

fn meta(meta: object_store::ObjectMeta) -> Result<ObjectMeta> {
    let object_store::ObjectMeta { location, last_modified, size, e_tag, version } = meta;
    Ok(ObjectMeta { location: to_013::path(&location)?, last_modified, size, e_tag, version })
}
