//! The options of one read.

use cache_core::Freshness;

/// Options of one read. The default reads with the settings of the cache.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct ReadOptions {
    freshness: Option<Freshness>,
}

impl ReadOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the freshness that this read requires. Default: the cache's rule for the key. The time
    /// to live is a property of the entry and stays the cache's.
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.freshness = Some(freshness);
        self
    }

    pub(crate) fn rule(&self) -> Option<&Freshness> {
        self.freshness.as_ref()
    }
}
