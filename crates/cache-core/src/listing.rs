//! Lists of an origin.

use std::fmt;

use futures_util::{StreamExt as _, stream, stream::BoxStream};

use crate::{Error, ErrorKind, Key, Observation, Result, Version};

/// A list of an origin, page by page: the result of [`Validator::list`](crate::Validator::list).
#[non_exhaustive]
pub struct Listing {
    /// The pages. Nothing is requested before the stream is polled.
    pub pages: BoxStream<'static, Result<ListPage>>,
    /// The keys come in the order of their bytes, so that each page shows all keys between the last
    /// one of the page before and its own last one.
    pub is_ordered: bool,
}

/// A page of a list.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ListPage {
    /// The objects on it.
    pub objects: Vec<ListedObject>,
    /// The request for this page was sent when the stream was polled for it, not earlier: the page
    /// is of a moment after that. Otherwise it counts as requested with the first page.
    pub is_requested_when_polled: bool,
}

/// An object on a page of a list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListedObject {
    /// Its key.
    pub key: Key,
    /// The object as the list shows it: its version, or a condition if the list has no ETags.
    pub shown: Observation,
}

impl Listing {
    /// Returns a list of `pages`, whose keys come in any order.
    pub fn new(pages: BoxStream<'static, Result<ListPage>>) -> Self {
        Self { pages, is_ordered: false }
    }

    /// Sets that the keys come in the order of their bytes. Default: false.
    #[must_use]
    pub fn ordered(mut self, is_ordered: bool) -> Self {
        self.is_ordered = is_ordered;
        self
    }

    /// Returns the list of an origin that has none: one error of kind `Unsupported`.
    pub fn unsupported() -> Self {
        let message = "this origin has no lists; read each object by its key";
        let error = Error::new(ErrorKind::Unsupported, message);
        Self::new(stream::iter([Err(error)]).boxed())
    }
}

impl ListPage {
    /// Returns a page that counts as requested with the first page of its list.
    pub fn new(objects: Vec<ListedObject>) -> Self {
        Self { objects, is_requested_when_polled: false }
    }

    /// Sets that the request for this page was sent when the stream was polled for it. Default:
    /// false.
    #[must_use]
    pub fn requested_when_polled(mut self, is_requested_when_polled: bool) -> Self {
        self.is_requested_when_polled = is_requested_when_polled;
        self
    }
}

impl ListedObject {
    /// Returns an object of which a list has shown `shown`.
    pub fn new(key: Key, shown: Observation) -> Self {
        Self { key, shown }
    }

    /// Returns the version, if the list shows one.
    pub fn version(&self) -> Option<&Version> {
        match &self.shown {
            Observation::Version(version) => Some(version),
            _ => None,
        }
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("is_ordered", &self.is_ordered).finish_non_exhaustive()
    }
}
