//! Writes: what is held of an object is forgotten before the store is asked to write it, and again afterwards.

use std::sync::Arc;

use futures_util::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, MultipartUpload, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, path::Path,
};

use super::{Shared, head, read::store_error};

pub(super) async fn put(
    shared: &Shared,
    location: &Path,
    payload: PutPayload,
    options: PutOptions,
) -> Result<PutResult> {
    forget(shared, location).await?;
    let answer = shared.store.put_opts(location, payload, options).await;
    forget(shared, location).await?;
    answer
}

pub(super) async fn start_multipart(
    shared: &Shared,
    location: &Path,
    options: PutMultipartOptions,
) -> Result<Box<dyn MultipartUpload>> {
    forget(shared, location).await?;
    let answer = shared.store.put_multipart_opts(location, options).await;
    forget(shared, location).await?;
    answer
}

pub(super) fn delete_stream(
    shared: &Arc<Shared>,
    locations: BoxStream<'static, Result<Path>>,
) -> BoxStream<'static, Result<Path>> {
    let shared = Arc::clone(shared);
    let delete = move |location: Result<Path>| {
        let shared = Arc::clone(&shared);
        async move {
            let location = location?;
            forget(&shared, &location).await?;
            let answer = shared.store.delete(&location).await;
            forget(&shared, &location).await?;
            answer.map(|()| location)
        }
    };
    locations.then(delete).boxed()
}

pub(super) async fn copy(shared: &Shared, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
    forget(shared, to).await?;
    let answer = shared.store.copy_opts(from, to, options).await;
    forget(shared, to).await?;
    answer
}

pub(super) async fn rename(shared: &Shared, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
    for path in [from, to] {
        forget(shared, path).await?;
    }
    let answer = shared.store.rename_opts(from, to, options).await;
    for path in [from, to] {
        forget(shared, path).await?;
    }
    answer
}

/// Under a path that is no key nothing is held.
async fn forget(shared: &Shared, location: &Path) -> Result<()> {
    match shared.heads.invalidate(&head::key_of(location)).await {
        Err(error) if error.kind() != cache_core::ErrorKind::InvalidKey => Err(store_error(location, error)),
        _ => Ok(()),
    }
}
