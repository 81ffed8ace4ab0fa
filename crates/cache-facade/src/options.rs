//! What one read may ask for.

use cache_core::Freshness;

/// Options of one read. The default is a read as the cache is set up.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct ReadOptions {
    freshness: Option<Freshness>,
}

impl ReadOptions {
    /// No options.
    pub fn new() -> Self {
        Self::default()
    }

    /// How old the copy may be for this read. Default: the rule of the cache for the key. The time
    /// to live stays the cache's: it belongs to the copy.
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.freshness = Some(freshness);
        self
    }

    pub(crate) fn rule(&self) -> Option<&Freshness> {
        self.freshness.as_ref()
    }
}
