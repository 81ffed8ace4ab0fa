//! The backend argument of a builder.

use std::sync::Arc;

use crate::{Backend, Result};

/// A backend, or the settings that one is made from: the argument of the builders that need a
/// backend.
///
/// An `Arc` of a [`Backend`] converts to itself. `cache_facade::Memory` converts to a new memory
/// backend with its settings. Implement it for settings of your own, so that a wrong setting is an
/// error of the cache's `build` rather than one more error to handle before it.
pub trait IntoBackend {
    /// Returns the backend.
    ///
    /// # Errors
    ///
    /// Of kind `Config`, if a setting is wrong. The builder that was given the settings returns it
    /// from its `build`.
    fn into_backend(self) -> Result<Arc<dyn Backend>>;
}

impl IntoBackend for Arc<dyn Backend> {
    fn into_backend(self) -> Result<Arc<dyn Backend>> {
        Ok(self)
    }
}

impl<B: Backend> IntoBackend for Arc<B> {
    fn into_backend(self) -> Result<Arc<dyn Backend>> {
        Ok(self)
    }
}
