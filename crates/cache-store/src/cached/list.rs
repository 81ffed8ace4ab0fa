//! Lists are the store's own. They show which version of an object is current, and are heard.

use std::sync::Arc;

use futures_util::{StreamExt, stream::BoxStream};
use object_store::{ObjectMeta, Result};

use super::Shared;

/// The same list; each object of it is noted as it comes by.
pub(super) fn noted(
    shared: &Arc<Shared>,
    listed: BoxStream<'static, Result<ObjectMeta>>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let shared = Arc::clone(shared);
    let noted = move |listed| {
        let shared = Arc::clone(&shared);
        async move {
            if let Ok(object) = &listed {
                note(&shared, object).await;
            }
            listed
        }
    };
    listed.then(noted).boxed()
}

/// Somebody has seen `object` in a list. One without a tag says nothing: there are stores whose lists have none.
pub(super) async fn note(shared: &Shared, object: &ObjectMeta) {
    if object.e_tag.is_some() {
        shared.note(&object.location, object.e_tag.as_deref()).await;
    }
}
