//! The backend, as the protocol calls it: a panic in it is an error, and an error never leaves an entry in doubt.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use super::Shared;
use crate::{Admission, Entry, Error, ErrorKind, Key, Result, stats::Count};

/// What is held of a key.
#[derive(Default)]
pub(super) struct Held {
    /// The entry that may be asked about.
    pub(super) entry: Option<Entry>,
    /// The backend shows an entry, but a prefix or the whole was voided since.
    pub(super) void: bool,
}

impl<V: ?Sized> Shared<V> {
    /// Looks up `key`. A backend that fails holds nothing.
    pub(super) async fn look_up(&self, key: &Key) -> Held {
        let shown = match self.backend.peek(key.as_str()) {
            Some(entry) => Some(entry),
            None => self.backend_call(self.backend.get(key.as_str())).await.unwrap_or(None),
        };
        match shown {
            Some(entry) if self.epochs.is_void(key.as_str(), entry.epoch()) => {
                Held { entry: None, void: true }
            }
            entry => Held { entry, void: false },
        }
    }

    /// Keeps `entry`, or removes what was held before it. In the key's turn.
    pub(super) async fn keep(&self, key: &Key, entry: Entry) {
        if let Ok(Admission::Stored) = self.backend_call(self.backend.insert(entry)).await {
            return;
        }
        self.count(Count::Refusals);
        self.drop_held(key).await;
    }

    /// Removes what is held of `key`, or voids it if the backend fails. In the key's turn. Whether something was
    /// held.
    pub(super) async fn drop_held(&self, key: &Key) -> bool {
        // The memory of a missing object is no copy.
        let remembers = !self.settings.negative_ttl.is_zero();
        let absent = remembers && self.backend.peek(key.as_str()).is_some_and(|entry| entry.is_absent());
        match self.backend_call(self.backend.remove(key.as_str())).await {
            Ok(removed) => removed && !absent,
            Err(_) => {
                self.epochs.raise_key(key.as_str());
                false
            }
        }
    }

    pub(super) async fn backend_call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let result = caught(call).await;
        if result.is_err() {
            self.count(Count::BackendErrors);
        }
        result
    }
}

/// `call`, with a panic as an error.
pub(super) async fn caught<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<&str>()
            .map(|said| (*said).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Err(Error::new(ErrorKind::Panicked, format!("code that was plugged in panicked: {said}")))
    })
}

/// Whether two handles are of entries of one version.
pub(super) fn is_same_version(one: &Entry, other: &Entry) -> bool {
    one.is_same(other)
        || (one.e_tag(), one.version_id()) == (other.e_tag(), other.version_id())
            && (one.e_tag().is_some()
                || one.version_id().is_some()
                || (one.last_modified(), one.body().len()) == (other.last_modified(), other.body().len()))
}
