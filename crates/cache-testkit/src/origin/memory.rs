//! The plainest origin.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Entry, Error, ErrorKind, Key, Origin, PutCondition, Result, Validation, Validator, Version,
};

/// An origin over a map, which answers at once: one request, one answer, each version with an ETag
/// of its own.
///
/// [`FaultyOrigin`](crate::FaultyOrigin) around it records, holds and spoils what it is asked.
#[derive(Debug, Default)]
pub struct MemoryOrigin {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<String, (Bytes, String)>,
    written: u64,
}

impl MemoryOrigin {
    /// An empty origin.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes an object as another node would: unseen by any cache. Its ETag.
    pub fn write(&self, key: &str, body: impl Into<Bytes>) -> String {
        self.lock().write(key, body.into())
    }

    /// Deletes an object as another node would.
    pub fn erase(&self, key: &str) {
        self.lock().objects.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Validator for MemoryOrigin {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let sent = held.and_then(Entry::e_tag);
        Ok(match self.lock().objects.get(key.as_str()) {
            None => Validation::NotFound,
            Some((_, e_tag)) if Some(e_tag.as_str()) == sent => Validation::NotModified,
            Some((body, e_tag)) => Validation::Modified(
                Entry::builder(key, body.clone()).e_tag(e_tag.as_str()).build(),
            ),
        })
    }
}

#[async_trait]
impl Origin for MemoryOrigin {
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version> {
        let mut state = self.lock();
        let current = state.objects.get(key.as_str()).map(|(_, e_tag)| e_tag);
        let holds = match &condition {
            PutCondition::Absent => current.is_none(),
            PutCondition::Matches(version) => {
                current.is_some() && current == version.e_tag.as_ref()
            }
            _ => true,
        };
        if !holds {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                "the object is at another version",
            ));
        }
        let size = body.len() as u64;
        let e_tag = state.write(key.as_str(), body);
        Ok(Version::default().with_e_tag(Some(e_tag)).with_size(size))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.erase(key.as_str());
        Ok(())
    }
}

impl State {
    fn write(&mut self, key: &str, body: Bytes) -> String {
        self.written += 1;
        let e_tag = format!("\"{}\"", self.written);
        self.objects.insert(key.to_owned(), (body, e_tag.clone()));
        e_tag
    }
}
