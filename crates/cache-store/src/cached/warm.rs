//! Reading before anybody asks.

use std::sync::Arc;

use cache_core::Moment;
use futures_util::{
    StreamExt, future,
    stream::{self, BoxStream},
};
use object_store::{GetOptions, Result, path::Path};

use super::{
    CacheStatus, CachedStore,
    error::{not_kept, pins_lost, replaced, store_error},
    list,
    read::{PreparedRead, RESTARTS_MAX, Unknown},
    shared::Shared,
};

/// What became of one object that was to be warmed.
#[derive(Debug)]
#[non_exhaustive]
pub struct WarmResult {
    /// The object; the prefix, or the root, if the list failed or pinned entries were lost.
    pub location: Path,
    /// How the object was read, to its end: what it has from the store came just now, what it has
    /// from the cache was held. [`Status::Bypass`](cache_core::Status::Bypass) for one that cannot
    /// be held: it was not read. Or why that failed, or that not all of it was kept.
    pub result: Result<CacheStatus>,
}

impl CachedStore {
    /// Reads all of these objects, at most `parallel` at a time (zero is taken for one), so that
    /// later reads find them held. What is held and fresh costs no request, what is held otherwise
    /// one without a body.
    ///
    /// The stream has one item for each object, in the order in which they are done: that is the
    /// progress. The error of one does not end the others. Nothing happens unless it is polled;
    /// dropped, it drops the reads under way, of which whole blocks are kept.
    ///
    /// Objects that do not fit into the cache evict others there, like any read. Each read takes
    /// the memory of some blocks, and goes on as the backend takes them. A block that the backend
    /// rejects, or does not take within `origin_timeout`, is an error of its object, of kind
    /// `TooLarge`, that says how many bytes were not kept.
    ///
    /// If a lower tier has lost entries under pinned prefixes since the stream was first polled,
    /// one more item, the last, is an error that says how many, of how many bytes at most, and
    /// which setting to raise. The tier counts them for all its users, so they may be those of a
    /// concurrent read; without such an item none was lost.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use cache_store::CachedStore;
    /// use cache_testkit::{FaultyStore, MapBackend};
    /// use futures_util::StreamExt;
    /// use object_store::{ObjectStoreExt, path::Path};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = FaultyStore::in_memory();
    /// store.put(&Path::from("models/a"), "weights".into()).await?;
    /// let cached = CachedStore::builder(Arc::new(store), Arc::new(MapBackend::new())).build()?;
    ///
    /// let (mut n_done, mut bytes) = (0, 0);
    /// let mut warmed = cached.warm_prefix(Some(&Path::from("models")), 8);
    /// while let Some(object) = warmed.next().await {
    ///     n_done += 1;
    ///     bytes += object.result?.bytes_from_origin();
    ///     println!("{n_done} objects, {bytes} bytes: {}", object.location);
    /// }
    /// assert_eq!((n_done, bytes), (1, 7));
    /// # Ok(())
    /// # }
    /// ```
    pub fn warm(
        &self,
        locations: impl IntoIterator<Item = Path, IntoIter: Send + 'static>,
        parallel: usize,
    ) -> BoxStream<'static, WarmResult> {
        let shared = Arc::clone(&self.shared);
        let warmed = stream::iter(locations)
            .map(move |location| warm(Arc::clone(&shared), location, None))
            .buffer_unordered(parallel.max(1));
        with_pins(Arc::clone(&self.shared), Path::ROOT, warmed.boxed())
    }

    /// The same for all objects below `prefix`, as [`list`](object_store::ObjectStore::list) takes
    /// it: all objects, if there is none. Those that the list shows to be larger than
    /// `max_object_size` are not requested. If the list fails, the error is an item.
    ///
    /// The list renews the heads of all objects on it that are cached and have not changed, so
    /// those whose blocks are cached too cost no request, whatever the freshness rule: each object
    /// is as of a moment after the stream was first polled.
    pub fn warm_prefix(
        &self,
        prefix: Option<&Path>,
        parallel: usize,
    ) -> BoxStream<'static, WarmResult> {
        let shared = Arc::clone(&self.shared);
        let prefix = prefix.cloned();
        let failed = prefix.clone().unwrap_or(Path::ROOT);
        let prefixed = failed.clone();
        let max = shared.validator.max_object_size();
        let begin = async move {
            let begun = shared.upstream.clock.now();
            let listed = list::list(&shared, prefix.as_ref(), None);
            let warmed = listed.map(move |listed| {
                let (shared, failed) = (Arc::clone(&shared), failed.clone());
                async move {
                    match listed {
                        Ok(meta) if max.is_some_and(|max| meta.size > max) => WarmResult {
                            location: meta.location,
                            result: Ok(CacheStatus::bypass()),
                        },
                        Ok(meta) => warm(shared, meta.location, Some(begun)).await,
                        Err(error) => WarmResult { location: failed, result: Err(error) },
                    }
                }
            });
            warmed.buffer_unordered(parallel.max(1))
        };
        let warmed = stream::once(begin).flatten().boxed();
        with_pins(Arc::clone(&self.shared), prefixed, warmed)
    }
}

/// Adds an item if pinned entries were lost between the first poll and the end of `warmed`.
fn with_pins(
    shared: Arc<Shared>,
    location: Path,
    warmed: BoxStream<'static, WarmResult>,
) -> BoxStream<'static, WarmResult> {
    let lost = move || shared.blocks().lower_tier().map(|tier| (tier, shared.blocks().bytes_of(1)));
    let begin = async move {
        let before = lost();
        let end = async move {
            let ((before, _), (now, block_size)) = (before?, lost()?);
            let error = pins_lost(&before, &now, block_size)?;
            Some(WarmResult { result: Err(store_error(&location, error)), location })
        };
        warmed.chain(stream::once(end).filter_map(future::ready))
    };
    stream::once(begin).flatten().boxed()
}

async fn warm(shared: Arc<Shared>, location: Path, since: Option<Moment>) -> WarmResult {
    let result = read_in(&shared, &location, since).await;
    WarmResult { location, result }
}

/// Reads an object into the cache. A head that was validated since `since` needs no request.
async fn read_in(
    shared: &Arc<Shared>,
    location: &Path,
    mut since: Option<Moment>,
) -> Result<CacheStatus> {
    for _ in 0..RESTARTS_MAX {
        let options = GetOptions::new();
        // A head that the list has renewed needs no request.
        // mutant: warm_since
        let known = match since.take() {
            Some(since) => shared.head_since(location, since).await,
            None => None,
        };
        let known = match known {
            Some(known) => known.map_err(Unknown::Failed),
            None => shared.resolve_head(location, None, &options).await,
        };
        let known = match known {
            Ok(known) if known.snapshot.is_pinned() => known,
            Ok(_) | Err(Unknown::ForTheStore) => return Ok(CacheStatus::bypass()),
            Err(Unknown::Failed(error)) => return Err(store_error(location, error)),
        };
        let Some(begun) = PreparedRead::new(shared, known, &options) else { break };
        let status = begun.status.clone();
        match begun.reader.read_in().await {
            Ok(0) => return Ok(status),
            Ok(bytes) => return Err(store_error(location, not_kept(bytes))),
            // The head is asked for again.
            Err(object_store::Error::Precondition { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(store_error(location, replaced()))
}
