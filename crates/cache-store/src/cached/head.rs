//! Heads: which version of an object is current, how large it is, and its attributes.
//!
//! A head is an entry whose body is the object's size, in 8 bytes, little endian.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{Clock, Entry, Keep, Key, Result, Validation, Validator};
use object_store::{GetOptions, GetResult, ObjectStore, path::Path};
use tokio::time::timeout;

use crate::{
    ValidatorStrength, attributes_from_store,
    error::{Action, error_of},
    tag,
    validator::{late, version_of},
};

/// Asks the store for heads.
pub(super) struct Heads {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    strength: ValidatorStrength,
    origin_timeout: Duration,
}

impl Heads {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        strength: ValidatorStrength,
        origin_timeout: Duration,
    ) -> Self {
        Self { store, clock, strength, origin_timeout }
    }

    async fn ask(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let tag = held.and_then(Entry::e_tag);
        let question = GetOptions::new().with_head(true).with_if_none_match(tag);
        let sent_at = self.clock.date();
        match self.store.get_opts(&path_of(key), question).await {
            Ok(answer) => {
                let keep = match self.strength.keep(&version_of(&answer.meta), sent_at, false) {
                    Keep::Confirmable
                        if answer.meta.e_tag.as_deref().is_some_and(|tag| !tag::is_weak(tag)) =>
                    {
                        Keep::Confirmable
                    }
                    _ => Keep::Never,
                };
                Ok(Validation::Changed(entry_of(key, &answer, keep)))
            }
            Err(object_store::Error::NotModified { .. }) if tag.is_some() => Ok(Validation::Unchanged),
            Err(object_store::Error::NotFound { .. }) => Ok(Validation::Gone),
            Err(error) => Err(error_of(error, Action::Read, &self.store)),
        }
    }
}

#[async_trait]
impl Validator for Heads {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let limit = self.origin_timeout;
        timeout(limit, self.ask(key, held)).await.unwrap_or_else(|_| Err(late(limit)))
    }
}

/// The key of the head of the object at `location`. That of the root, or of a path too long, is no key.
pub(super) fn key_of(location: &Path) -> String {
    prefix_of(location.as_ref())
}

/// The keys of the heads of all objects whose paths begin with `prefix` begin with this.
pub(super) fn prefix_of(prefix: &str) -> String {
    format!("{HEAD}{prefix}")
}

fn path_of(key: &Key) -> Path {
    Path::parse(&key.as_str()[HEAD.len()..]).expect("made from a path by `key_of`")
}

fn entry_of(key: &Key, answer: &GetResult, keep: Keep) -> Entry {
    let size = Bytes::copy_from_slice(&answer.meta.size.to_le_bytes());
    let attributes = attributes_from_store(&answer.attributes);
    Entry::builder(key, size).version(version_of(&answer.meta)).attributes(attributes).keep(keep).build()
}

const HEAD: &str = "h/";
