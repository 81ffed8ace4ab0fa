//! What all handles to a cache, and the bodies read from it, share.

use std::sync::Arc;

use cache_core::{ReadThrough, Validator};

use super::{
    blocks::Blocks, fetch_table::FetchTable, head::Heads, readahead::Readahead, upstream::Upstream,
};
use crate::lists::ListKind;

/// The parts of a cache.
pub(super) struct Shared {
    /// The wrapped store.
    pub(super) upstream: Arc<Upstream>,
    /// The current version of each object that was requested. Its keys are those of
    /// [`key_of`](super::version::key_of).
    pub(super) heads: ReadThrough<dyn Validator>,
    /// The validator of `heads`.
    pub(super) validator: Arc<Heads>,
    pub(super) fetch_table: Arc<FetchTable>,
    pub(super) parallel: usize,
    pub(super) readahead: Readahead,
    /// How the wrapped store lists.
    pub(super) list_kind: ListKind,
}

impl Shared {
    pub(super) fn blocks(&self) -> &Blocks {
        &self.fetch_table.blocks
    }
}
