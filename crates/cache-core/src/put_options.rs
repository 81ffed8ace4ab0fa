//! What a put may say beside the body.

use crate::{Attributes, Version};

/// Options of one put. The default is an unconditional put without attributes.
///
/// ```
/// use cache_core::{PutCondition, PutOptions};
///
/// let options = PutOptions::new()
///     .condition(PutCondition::Absent)
///     .attributes([("content-type", "text/css"), ("metadata.owner", "web")]);
/// assert_eq!(options.attributes.get("content-type"), Some("text/css"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct PutOptions {
    /// When the put may take effect. Default: always.
    pub condition: PutCondition,
    /// The attributes that the object gets, in place of all that it had. Default: none.
    pub attributes: Attributes,
}

impl PutOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets when the put may take effect: always, if the object is absent, or if it is at a
    /// version.
    pub fn condition(mut self, condition: impl Into<PutCondition>) -> Self {
        self.condition = condition.into();
        self
    }

    /// Sets the attributes of the object, by the names of [`Attributes`]. They replace all that the
    /// object had; none leaves it without.
    pub fn attributes(mut self, attributes: impl Into<Attributes>) -> Self {
        self.attributes = attributes.into();
        self
    }
}

/// When a put may take effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutCondition {
    /// Always.
    #[default]
    Always,
    /// Only if there is no such object yet (`If-None-Match: *`).
    Absent,
    /// Only if the object is at this version (`If-Match`).
    Matches(Version),
}

impl From<Version> for PutCondition {
    fn from(version: Version) -> Self {
        Self::Matches(version)
    }
}

impl From<PutCondition> for PutOptions {
    fn from(condition: PutCondition) -> Self {
        Self::new().condition(condition)
    }
}

impl From<Version> for PutOptions {
    fn from(version: Version) -> Self {
        Self::new().condition(version)
    }
}

impl From<Attributes> for PutOptions {
    fn from(attributes: Attributes) -> Self {
        Self::new().attributes(attributes)
    }
}
