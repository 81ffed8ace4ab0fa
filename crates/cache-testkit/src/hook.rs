//! A backend that calls a closure before each call of another one.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;
use cache_core::{
    Admission, Backend, Entry, Error, EvictionListener, Moment, Rejection, Result, TierStats, Usage,
};

use crate::Gate;

/// A call of a [`Backend`], as the hook of a [`HookBackend`] receives it.
///
/// There is no variant for [`Backend::insert_now`]: a [`HookBackend`] hands those entries back, so
/// that each of them arrives in `Insert`, which can be delayed.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum BackendCall<'a> {
    /// [`Backend::get_now`] for this key.
    GetNow(&'a str),
    /// [`Backend::peek`] for this key.
    Peek(&'a str),
    /// [`Backend::get`] for this key.
    Get(&'a str),
    /// [`Backend::insert`] of this entry.
    Insert(&'a Entry),
    /// [`Backend::remove`] of this key.
    Remove(&'a str),
    /// [`Backend::mark_stale`] for this key.
    MarkStale(&'a str),
    /// [`Backend::renewed`] with this entry.
    Renewed(&'a Entry),
    /// [`Backend::clear`].
    Clear,
    /// [`Backend::close`].
    Close,
    /// [`Backend::sweep`] at this time.
    Sweep(Moment),
}

/// What a [`HookBackend`] does with a call.
#[non_exhaustive]
pub enum BackendAction {
    /// Passes the call on to the inner backend.
    Proceed,
    /// Returns no entry from a look-up. Other calls are passed on.
    Miss,
    /// Returns the error; the inner backend is not called. `get_now` and `peek` return `None`, and
    /// `renewed` does nothing.
    Fail(Error),
    /// Rejects the entry of an insert and removes the earlier entry of its key. Other calls are
    /// passed on.
    Reject(Rejection),
    /// Awaits the future, then takes the action it returns. Calls that cannot wait do as for
    /// `Fail`.
    Wait(Pin<Box<dyn Future<Output = BackendAction> + Send>>),
}

impl fmt::Debug for BackendAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proceed => f.write_str("Proceed"),
            Self::Miss => f.write_str("Miss"),
            Self::Fail(error) => f.debug_tuple("Fail").field(error).finish(),
            Self::Reject(reason) => f.debug_tuple("Reject").field(reason).finish(),
            Self::Wait(_) => f.debug_tuple("Wait").finish_non_exhaustive(),
        }
    }
}

impl BackendAction {
    /// Waits at the gate, then passes the call on.
    pub fn hold(gate: &Arc<Gate>) -> Self {
        let gate = Arc::clone(gate);
        Self::wait(async move {
            gate.pass().await;
            Self::Proceed
        })
    }

    /// Awaits the future, then takes the action it returns.
    pub fn wait(action: impl Future<Output = Self> + Send + 'static) -> Self {
        Self::Wait(Box::pin(action))
    }
}

/// A backend that calls a hook before each call of an inner backend, to count, delay, reject or
/// fail it.
///
/// The hook runs when a future is first polled, not when the method is called. It may panic, as a
/// faulty backend would. Dropping a future that waits leaves the inner backend untouched.
///
/// ```
/// use cache_core::{Backend, Entry, Error, ErrorKind, Key};
/// use cache_testkit::{BackendAction, BackendCall, HookBackend, MapBackend};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> cache_core::Result<()> {
/// let backend = HookBackend::new(MapBackend::new(), |call| match call {
///     BackendCall::Remove(_) => {
///         BackendAction::Fail(Error::new(ErrorKind::Backend, "the disk is read-only"))
///     }
///     _ => BackendAction::Proceed,
/// });
/// let entry = Entry::builder(&Key::parse("a")?, "body".into()).build();
/// assert!(backend.insert(entry).await?.is_stored());
/// assert_eq!(backend.remove("a").await.unwrap_err().kind(), ErrorKind::Backend);
/// assert!(backend.peek("a").is_some());
/// # Ok(())
/// # }
/// ```
pub struct HookBackend {
    inner: Box<dyn Backend>,
    hook: Box<dyn Fn(BackendCall<'_>) -> BackendAction + Send + Sync>,
    map_entry: Box<dyn Fn(Entry) -> Entry + Send + Sync>,
    map_usage: Box<dyn Fn(Usage) -> Usage + Send + Sync>,
}

impl HookBackend {
    /// Returns a backend that calls `hook` before each call of `inner`.
    pub fn new(
        inner: impl Backend,
        hook: impl Fn(BackendCall<'_>) -> BackendAction + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner: Box::new(inner),
            hook: Box::new(hook),
            map_entry: Box::new(|entry| entry),
            map_usage: Box::new(|usage| usage),
        }
    }

    /// Changes each entry that a look-up returns. Default: returned as stored.
    #[must_use]
    pub fn map_entry(mut self, map: impl Fn(Entry) -> Entry + Send + Sync + 'static) -> Self {
        self.map_entry = Box::new(map);
        self
    }

    /// Changes the usage that the inner backend reports, such as its capacity. Default: as
    /// reported.
    #[must_use]
    pub fn map_usage(mut self, map: impl Fn(Usage) -> Usage + Send + Sync + 'static) -> Self {
        self.map_usage = Box::new(map);
        self
    }

    /// Returns whether a look-up that cannot wait is passed on.
    fn proceeds_now(&self, call: BackendCall<'_>) -> bool {
        matches!((self.hook)(call), BackendAction::Proceed | BackendAction::Reject(_))
    }

    /// Calls the hook, awaits its waits, and returns the first action that is not one.
    ///
    /// # Errors
    ///
    /// That of [`BackendAction::Fail`].
    async fn decide(&self, call: BackendCall<'_>) -> Result<BackendAction> {
        let mut action = (self.hook)(call);
        while let BackendAction::Wait(next) = action {
            action = next.await;
        }
        match action {
            BackendAction::Fail(error) => Err(error),
            action => Ok(action),
        }
    }
}

impl fmt::Debug for HookBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookBackend").finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for HookBackend {
    fn get_now(&self, key: &str) -> Option<Entry> {
        if !self.proceeds_now(BackendCall::GetNow(key)) {
            return None;
        }
        self.inner.get_now(key).map(&self.map_entry)
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        if !self.proceeds_now(BackendCall::Peek(key)) {
            return None;
        }
        self.inner.peek(key).map(&self.map_entry)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        if let BackendAction::Miss = self.decide(BackendCall::Get(key)).await? {
            return Ok(None);
        }
        // An entry in memory that the hook hid from `get_now` is found here, as one on disk is.
        let entry = match self.inner.get_now(key) {
            Some(entry) => Some(entry),
            None => self.inner.get(key).await?,
        };
        Ok(entry.map(&self.map_entry))
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        if let BackendAction::Reject(reason) = self.decide(BackendCall::Insert(&entry)).await? {
            self.inner.remove(entry.key()).await?;
            return Ok(Admission::rejected(reason));
        }
        self.inner.insert(entry).await
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        self.decide(BackendCall::Remove(key)).await?;
        self.inner.remove(key).await
    }

    async fn mark_stale(&self, key: &str) -> Result<()> {
        self.decide(BackendCall::MarkStale(key)).await?;
        self.inner.mark_stale(key).await
    }

    fn renewed(&self, entry: &Entry) {
        let action = (self.hook)(BackendCall::Renewed(entry));
        if !matches!(action, BackendAction::Fail(_) | BackendAction::Wait(_)) {
            self.inner.renewed(entry);
        }
    }

    fn on_eviction(&self, listener: EvictionListener) -> bool {
        self.inner.on_eviction(listener)
    }

    fn lower_tier(&self) -> Option<TierStats> {
        self.inner.lower_tier()
    }

    async fn clear(&self) -> Result<()> {
        self.decide(BackendCall::Clear).await?;
        self.inner.clear().await
    }

    async fn close(&self) -> Result<()> {
        self.decide(BackendCall::Close).await?;
        self.inner.close().await
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        self.decide(BackendCall::Sweep(now)).await?;
        self.inner.sweep(now).await
    }

    fn usage(&self) -> Usage {
        (self.map_usage)(self.inner.usage())
    }

    fn negative_entries(&self) -> u64 {
        self.inner.negative_entries()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use cache_core::{ErrorKind, Key};

    use super::*;
    use crate::MapBackend;

    #[tokio::test]
    async fn a_hook_sees_marks_and_renewals() {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let backend = HookBackend::new(MapBackend::new(), {
            let seen = Arc::clone(&seen);
            move |call| match call {
                BackendCall::MarkStale(key) => {
                    seen.lock().unwrap().push(format!("mark {key}"));
                    let error = Error::new(ErrorKind::Backend, "no marks");
                    if key == "b" { BackendAction::Fail(error) } else { BackendAction::Proceed }
                }
                BackendCall::Renewed(entry) => {
                    seen.lock().unwrap().push(format!("renewed {}", entry.key()));
                    BackendAction::Proceed
                }
                _ => BackendAction::Proceed,
            }
        });
        let stamped = |key| {
            let key = Key::parse(key).unwrap();
            Entry::builder(&key, "body".into()).validated(Moment::from_nanos(5), None).build()
        };
        let (a, b) = (stamped("a"), stamped("b"));
        for entry in [&a, &b] {
            assert!(backend.insert(entry.clone()).await.unwrap().is_stored());
        }
        backend.mark_stale("a").await.unwrap();
        assert_eq!(backend.mark_stale("b").await.unwrap_err().kind(), ErrorKind::Backend);
        assert_eq!((a.must_revalidate(), b.must_revalidate()), (true, false));
        backend.renewed(&a);
        assert_eq!(*seen.lock().unwrap(), ["mark a", "mark b", "renewed a"]);
    }
}
