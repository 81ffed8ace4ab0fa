//! A folder of this machine as a bucket, whose objects are the regular files in it.
//!
//! A symbolic link is followed as long as it stays in the folder. One that leads out of it is
//! refused: whoever may write into the folder could else show the world any file that this process
//! can read.

use std::{fmt, fs, io, path::PathBuf};

use async_trait::async_trait;
use cache_facade::object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    local::LocalFileSystem, path::Path,
};
use futures_util::stream::BoxStream;
use tokio::task::spawn_blocking;

/// Those objects of a folder that lie in it.
#[derive(Debug)]
pub(crate) struct Folder {
    store: LocalFileSystem,
    /// Without symbolic links.
    root: PathBuf,
}

impl Folder {
    /// # Errors
    ///
    /// If there is no such folder.
    pub(crate) fn new(folder: &std::path::Path) -> Result<Self> {
        let root = fs::canonicalize(folder)
            .map_err(|error| Error::Generic { store: STORE, source: error.into() })?;
        Ok(Self { store: LocalFileSystem::new_with_prefix(&root)?, root })
    }

    /// The file that `location` names, unless the store knows better what to say of it.
    async fn look_at(&self, location: &Path) -> Result<Option<fs::Metadata>> {
        let (root, path) = (self.root.clone(), self.store.path_to_filesystem(location)?);
        let looked = spawn_blocking(move || -> io::Result<_> {
            let real = fs::canonicalize(path)?;
            let metadata = fs::metadata(&real)?;
            Ok(real.starts_with(root).then_some(metadata))
        });
        let looked = looked.await.map_err(|source| Error::JoinError { source })?;
        let refused = |why: &str| (location.to_string(), why.to_owned().into());
        match looked {
            Ok(Some(metadata)) if metadata.is_file() || metadata.is_dir() => Ok(Some(metadata)),
            Ok(Some(_)) => {
                // To open a pipe would wait for whoever writes into it.
                let (path, source) = refused("it is neither a file nor a folder");
                Err(Error::NotFound { path, source })
            }
            Ok(None) => {
                let (path, source) = refused("a symbolic link leads out of the folder");
                Err(Error::PermissionDenied { path, source })
            }
            Err(_) => Ok(None),
        }
    }
}

#[async_trait]
impl ObjectStore for Folder {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let looked_at = self.look_at(location).await?;
        let answer = self.store.get_opts(location, options).await?;
        // Meanwhile a link may have been put in its place.
        let is_same = match (&answer.payload, looked_at) {
            (GetResultPayload::File(file, _), Some(looked_at)) => {
                file.metadata().is_ok_and(|opened| is_same(&looked_at, &opened))
            }
            (_, looked_at) => looked_at.is_some(),
        };
        if is_same {
            return Ok(answer);
        }
        let (path, source) = (location.to_string(), "it was replaced while it was opened".into());
        Err(Error::Precondition { path, source })
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Folder {
    /// What its tags are worth is judged by the store inside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[cfg(unix)]
fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

const STORE: &str = "LocalFileSystem";
