//! Lists are the store's own. They show which version of an object is current, and are heard.

use std::{future::ready, sync::Arc};

use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use object_store::{ObjectMeta, Result, path::Path};

use super::{
    Shared,
    request::{Op, Request},
};

/// The same list; each object of it is heard as it comes by.
pub(super) fn heard(
    shared: &Arc<Shared>,
    listed: BoxStream<'static, Result<ObjectMeta>>,
    prefix: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let listed = counted(shared, listed, prefix.unwrap_or(&Path::ROOT).clone());
    let shared = Arc::clone(shared);
    let heard = move |listed| {
        let shared = Arc::clone(&shared);
        async move {
            if let Ok(object) = &listed {
                shared.hear_listed(object).await;
            }
            listed
        }
    };
    listed.then(heard).boxed()
}

/// The same list; its request is counted from the first poll on, and has ended when something comes, or nothing.
fn counted(
    shared: &Arc<Shared>,
    listed: BoxStream<'static, Result<ObjectMeta>>,
    prefix: Path,
) -> impl Stream<Item = Result<ObjectMeta>> + Send + 'static {
    let fills = Arc::clone(&shared.fills);
    let begun = async move {
        let mut request = Some(Request::send(&fills, Op::Other, &prefix));
        listed.map(Some).chain(stream::once(ready(None))).filter_map(move |item| {
            if let Some(request) = request.take() {
                request.end(item.as_ref().and_then(|item| item.as_ref().err()));
            }
            ready(item)
        })
    };
    stream::once(begun).flatten()
}
