//! Lists are the store's own. They show which version of an object is current, and are heard.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt, stream::BoxStream};
use object_store::{ObjectMeta, Result, path::Path};

use super::{
    request_counters::Op,
    shared::Shared,
    upstream::{Request, Upstream},
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

/// The same list; each request for a page of it is counted, from the first poll on until something
/// comes, or nothing.
fn counted(
    shared: &Arc<Shared>,
    listed: BoxStream<'static, Result<ObjectMeta>>,
    prefix: Path,
) -> impl Stream<Item = Result<ObjectMeta>> + Send + 'static {
    Pages { listed, upstream: Arc::clone(&shared.upstream), prefix, request: None, n_listed: None }
}

/// A list, page by page as far as that can be seen: a store's client asks for the next page when
/// the last one has been read, and then there is nothing for a while.
struct Pages {
    listed: BoxStream<'static, Result<ObjectMeta>>,
    upstream: Arc<Upstream>,
    prefix: Path,
    /// The one for the page that is waited for.
    request: Option<Request>,
    /// How many objects came since the last request; `None` before the first.
    n_listed: Option<usize>,
}

impl Stream for Pages {
    type Item = Result<ObjectMeta>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.n_listed.is_none() {
            self.send();
        }
        match self.listed.poll_next_unpin(context) {
            Poll::Ready(item) => {
                if let Some(request) = self.request.take() {
                    request.end(item.as_ref().and_then(|item| item.as_ref().err()));
                }
                self.n_listed = self.n_listed.map(|n| n + 1);
                Poll::Ready(item)
            }
            Poll::Pending => {
                // A list may also wait for another reason, with every object.
                if self.n_listed >= Some(PAGE) {
                    self.send();
                }
                Poll::Pending
            }
        }
    }
}

impl Pages {
    fn send(&mut self) {
        self.request = Some(Request::send(&self.upstream, Op::List, &self.prefix));
        self.n_listed = Some(0);
    }
}

/// As many objects as a page of S3 or GCS has. Those of Azure have five times as many.
const PAGE: usize = 1000;
