//! A tier below memory.

use std::{fmt, sync::Arc};

use crate::{Backend, Clock, Namespace, Result};

/// The settings of a tier that lies below memory, such as a disk: the argument of the builders'
/// `disk`.
pub trait LowerTier: Send + Sync {
    /// Returns a backend that shows what `memory` and this tier have.
    ///
    /// # Errors
    ///
    /// Of kind `Config`, if a setting is wrong. The builder that was given the settings returns it
    /// from its `build`.
    fn under(
        self: Box<Self>,
        memory: Arc<dyn Backend>,
        context: TierContext,
    ) -> Result<Arc<dyn Backend>>;
}

/// The properties of a cache that its lower tier needs.
#[derive(Clone)]
#[non_exhaustive]
pub struct TierContext {
    /// The namespace of the cache's entries. Entries of an earlier process are found again if it is
    /// the same.
    pub namespace: Namespace,
    /// The clock of the cache.
    pub clock: Arc<dyn Clock>,
    /// Returns the path of the object that an entry with this key belongs to.
    pub path_of: fn(&str) -> &str,
}

impl TierContext {
    /// Returns the context of a cache whose keys are the paths of its objects.
    pub fn new(namespace: Namespace, clock: Arc<dyn Clock>) -> Self {
        Self { namespace, clock, path_of: |key| key }
    }

    /// Sets how the path of an object is told from a key. Default: the key is the path.
    #[must_use]
    pub fn with_path_of(mut self, path_of: fn(&str) -> &str) -> Self {
        self.path_of = path_of;
        self
    }
}

impl fmt::Debug for TierContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TierContext").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
