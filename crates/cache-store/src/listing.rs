//! [`EtagValidator`](crate::EtagValidator)'s lists.

use std::{pin::pin, sync::Arc, time::Duration};

use cache_core::{Entry, Error, ErrorKind, Key, ListPage, ListedObject, Listing, Result};
use futures_util::{StreamExt as _, future::poll_immediate, stream};
use object_store::{ObjectMeta, ObjectStore, path::Path};
use tokio::time::timeout;

use crate::{
    ValidatorStrength,
    error::list_error,
    lists::{ListKind, StorePages, shown_by_list},
    verify::Verifier,
};

/// The parts of a validator that its lists need.
pub(crate) struct Lists {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) kind: ListKind,
    pub(crate) strength: ValidatorStrength,
    pub(crate) limit: Duration,
    pub(crate) verifier: Option<Arc<Verifier>>,
}

/// Lists the objects whose keys begin with `prefix`, behind `after`.
pub(crate) fn list(lists: Lists, prefix: &str, after: Option<&str>) -> Listing {
    let is_ordered = lists.kind.is_ordered;
    let pages = match folder_of(prefix) {
        Ok(folder) => {
            let range = Range { prefix: prefix.into(), after: after.map(Into::into) };
            let lister = Lister { lists, folder, range, pages: None, end: None };
            stream::unfold(Some(lister), Lister::next).boxed()
        }
        Err(error) => stream::iter([Err(error)]).boxed(),
    };
    Listing::new(pages).ordered(is_ordered)
}

/// Requests the pages of a list, one after the other.
struct Lister {
    lists: Lists,
    /// The deepest folder that has all keys of the range; `None` is the root.
    folder: Option<Path>,
    range: Range,
    /// `None` before the first request.
    pages: Option<StorePages>,
    /// The list has ended, or failed: so does the stream.
    end: Option<Result<(), object_store::Error>>,
}

/// The keys that begin with `prefix`, byte for byte, behind `after`.
struct Range {
    prefix: String,
    after: Option<String>,
}

impl Lister {
    /// Returns the next page, and the rest; `None` at the end. An error is the last item.
    async fn next(lister: Option<Self>) -> Option<(Result<ListPage>, Option<Self>)> {
        let mut lister = lister?;
        match lister.end.take() {
            None => {}
            Some(Ok(())) => return None,
            Some(Err(error)) => return Some((Err(lister.error(error)), None)),
        }
        let limit = lister.lists.limit;
        let page = {
            let mut page = pin!(lister.page());
            match poll_immediate(&mut page).await {
                Some(page) => Ok(page),
                None => timeout(limit, page).await,
            }
        };
        match page {
            Ok(Ok(Some(page))) => Some((Ok(page), Some(lister))),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some((Err(error), None)),
            Err(_) => Some((Err(late(&lister.range.prefix, limit)), None)),
        }
    }

    async fn page(&mut self) -> Result<Option<ListPage>> {
        if let Some(verifier) = self.lists.verifier.take() {
            // Boxed: the probes are large and run once.
            Box::pin(verifier.for_reads(self.lists.strength)).await?;
            Box::pin(verifier.for_lists()).await?;
        }
        // The store in memory reads the list when it is called for, not when it is polled.
        let pages = match &mut self.pages {
            Some(pages) => pages,
            none => none.insert(StorePages::new(
                self.range.list(&self.lists, self.folder.as_ref()),
                self.lists.kind,
            )),
        };
        let mut page = pages.next().await;
        self.end = page.end.take();
        if self.lists.kind.is_ordered
            && page.objects.last().is_some_and(|object| self.range.is_behind(&object.location))
        {
            self.end = Some(Ok(()));
        }
        let objects = page.without_markers().filter(|object| self.range.has(&object.location));
        let strength = self.lists.strength;
        let objects: Vec<_> = objects.filter_map(|object| listed(object, strength)).collect();
        if objects.is_empty() {
            match self.end.take() {
                Some(Ok(())) => return Ok(None),
                Some(Err(error)) => return Err(self.error(error)),
                None => {}
            }
        }
        let is_requested = page.is_requested_when_polled;
        Ok(Some(ListPage::new(objects).requested_when_polled(is_requested)))
    }

    fn error(&self, error: object_store::Error) -> Error {
        list_error(error, &self.range.prefix, &self.lists.store)
    }
}

impl Range {
    /// Lists `folder` from where the range begins, as far as that can be told to the store.
    fn list(
        &self,
        Lists { store, kind, .. }: &Lists,
        folder: Option<&Path>,
    ) -> stream::BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.offset(folder).filter(|_| kind.has_offsets) {
            Some(offset) => store.list_with_offset(folder, &offset),
            None => store.list(folder),
        }
    }

    /// Returns a path before which, or at which, there is nothing of the range.
    fn offset(&self, folder: Option<&Path>) -> Option<Path> {
        // As it is: a path that is written in another way may lie elsewhere.
        let path = |text: &str| Path::parse(text).ok().filter(|path| path.as_ref() == text);
        let of_prefix = before(&self.prefix).and_then(|before| path(&before));
        // Not a path of another folder.
        let of_prefix = of_prefix.filter(|path| folder.is_none_or(|folder| is_below(path, folder)));
        of_prefix.max(self.after.as_deref().and_then(path))
    }

    fn has(&self, location: &Path) -> bool {
        let path = location.as_ref();
        // A list of the store has whole segments.
        // mutant: prefix_by_bytes
        path.starts_with(&*self.prefix) && self.after.as_deref().is_none_or(|after| path > after)
    }

    /// Returns whether all of the range comes before `location`.
    fn is_behind(&self, location: &Path) -> bool {
        let path = location.as_ref();
        path > &*self.prefix && !path.starts_with(&*self.prefix)
    }
}

fn is_below(path: &Path, folder: &Path) -> bool {
    path.as_ref().strip_prefix(folder.as_ref()).is_some_and(|rest| rest.starts_with('/'))
}

/// Returns a text before all that begin with `prefix`, and behind most others that are: the last
/// character is one lower, and what follows it is as high as a name mostly goes.
fn before(prefix: &str) -> Option<String> {
    let last = prefix.bytes().next_back().filter(|last| last.is_ascii_graphic())?;
    // The prefix itself may be a key.
    // mutant: list_offset
    let lower = char::from(last - 1);
    Some(format!("{}{lower}~", &prefix[..prefix.len() - 1]))
}

/// Returns the deepest folder that has all keys that begin with `prefix`; `None` is the root.
///
/// # Errors
///
/// `InvalidKey` if no key can begin so.
fn folder_of(prefix: &str) -> Result<Option<Path>> {
    let Some((folder, _)) = prefix.rsplit_once('/') else { return Ok(None) };
    let path = Key::parse(folder).ok().and_then(|_| Path::parse(folder).ok());
    match path {
        Some(path) => Ok(Some(path)),
        None => Err(Error::new(
            ErrorKind::InvalidKey,
            format!(
                "no key begins with {prefix:?}: keys have no '/' at the beginning, and no empty, \
                    '.' or '..' segment"
            ),
        )),
    }
}

/// Returns `None` for an object whose path is no key.
fn listed(object: &ObjectMeta, strength: ValidatorStrength) -> Option<ListedObject> {
    let key = Key::parse(object.location.as_ref()).ok()?;
    let size_of = |entry: &Entry| Some(entry.body().len() as u64);
    Some(ListedObject::new(key, shown_by_list(object, strength, size_of)))
}

fn late(prefix: &str, limit: Duration) -> Error {
    let message = format!(
        "the store had not sent a page of the list of {prefix:?} within {limit:?} (origin_timeout)"
    );
    Error::new(ErrorKind::Timeout, message)
}
