//! Signals for those that wait for a change of an object, or below a prefix.

use std::{collections::HashMap, fmt, sync::Arc};

use tokio::sync::watch;

use crate::sync::{Mutex, lock};

/// The signals that are waited for.
#[derive(Debug, Default)]
pub(super) struct Signals(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    keys: HashMap<Box<str>, watch::Sender<()>>,
    prefixes: HashMap<Box<str>, watch::Sender<()>>,
}

/// Tells of changes of one object, or of objects below a prefix. Made by
/// [`ReadThrough::changes`](super::ReadThrough::changes) and
/// [`changes_below`](super::ReadThrough::changes_below).
///
/// It is a hint: it may come without a change, and a change may come without it.
pub struct Changes {
    signals: Arc<Signals>,
    scope: Scope,
    receiver: watch::Receiver<()>,
}

#[derive(Debug, Clone)]
pub(super) enum Scope {
    Key(Box<str>),
    Prefix(Box<str>),
}

impl Changes {
    /// Waits for a change since this was made, or since it last returned. Several changes may be
    /// told as one.
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            // The cache was dropped.
            std::future::pending::<()>().await;
        }
    }
}

impl Signals {
    pub(super) fn listen(self: &Arc<Self>, scope: Scope) -> Changes {
        let mut inner = lock(&self.0);
        let (map, name) = match &scope {
            Scope::Key(key) => (&mut inner.keys, key),
            Scope::Prefix(prefix) => (&mut inner.prefixes, prefix),
        };
        let sender = map.entry(name.clone()).or_insert_with(|| watch::channel(()).0);
        let receiver = sender.subscribe();
        drop(inner);
        Changes { signals: Arc::clone(self), scope, receiver }
    }

    /// `key` may have changed.
    pub(super) fn key(&self, key: &str) {
        let inner = lock(&self.0);
        if let Some(sender) = inner.keys.get(key) {
            sender.send_replace(());
        }
        for (_, sender) in inner.prefixes.iter().filter(|(prefix, _)| key.starts_with(&***prefix)) {
            sender.send_replace(());
        }
    }

    /// Any key that begins with `prefix` may have changed.
    pub(super) fn prefix(&self, prefix: &str) {
        let inner = lock(&self.0);
        let keys = inner.keys.iter().filter(|(key, _)| key.starts_with(prefix));
        let prefixes = inner.prefixes.iter();
        let prefixes = prefixes
            .filter(|(other, _)| other.starts_with(prefix) || prefix.starts_with(&***other));
        for (_, sender) in keys.chain(prefixes) {
            sender.send_replace(());
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        let mut inner = lock(&self.signals.0);
        let (map, name) = match &self.scope {
            Scope::Key(key) => (&mut inner.keys, key),
            Scope::Prefix(prefix) => (&mut inner.prefixes, prefix),
        };
        // This one is counted until the field is dropped.
        if map.get(name).is_some_and(|sender| sender.receiver_count() <= 1) {
            map.remove(name);
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("scope", &self.scope).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(object_cache_loom)))]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_signal_wakes_its_key_and_the_prefixes_above() {
        let signals = Arc::new(Signals::default());
        let listen = |scope: Scope| signals.listen(scope);
        let mut key = listen(Scope::Key("a/b".into()));
        let mut above = listen(Scope::Prefix("a/".into()));
        let mut beside = listen(Scope::Prefix("b".into()));
        let mut is_told = |changes: &[bool; 3]| {
            let told = [&mut key, &mut above, &mut beside]
                .map(|changes| changes.changed().now_or_never().is_some());
            assert_eq!(told, *changes);
        };
        is_told(&[false, false, false]);
        signals.key("a/b");
        is_told(&[true, true, false]);
        is_told(&[false, false, false]);
        signals.key("a/c");
        is_told(&[false, true, false]);
        signals.prefix("a/b");
        is_told(&[true, true, false]);
        signals.prefix("");
        is_told(&[true, true, true]);
        drop((key, above, beside));
        let inner = lock(&signals.0);
        assert!(inner.keys.is_empty() && inner.prefixes.is_empty());
    }
}
