//! The contracts of [`Validator`] and [`Origin`], sentence by sentence.
//!
//! The suite is given the implementation and a [`Truth`]: a way to change and spoil what lies
//! behind it. Every rule works on keys of its own under one prefix, and so can run over a store
//! that others use; it leaves objects behind.
//!
//! What no suite can see from outside: that body and version come from one answer, where the
//! [`Truth`] neither counts requests nor changes an object between two of them (then that rule is
//! left out, unless it is seen to be broken); and what becomes of a write whose outcome is open.

mod questions;
mod writes;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{Entry, Key, Origin, PutCondition, Result, Storability, Validation, Validator};
use object_store::{ObjectStoreExt as _, path::Path};

pub use self::{
    questions::{
        a_body_comes_with_its_own_version, a_changed_object_comes_with_its_new_body,
        a_current_entry_is_unchanged, a_deleted_object_is_gone,
        a_dropped_question_leaves_nothing_behind, an_entry_is_built_anew, an_outage_is_an_error,
        each_call_asks_anew, each_key_has_its_own_answer, with_nothing_held_nothing_is_unchanged,
    },
    writes::{
        a_deleted_object_is_gone_for_all, a_put_if_absent_spares_what_is_there,
        a_put_if_matches_spares_what_has_changed, a_refused_put_changes_nothing,
        the_version_of_a_put_names_its_body, what_is_unsupported_says_so_and_changes_nothing,
    },
};
use super::{
    Broken, Fault, Outcome, PATIENCE, Report, Rule, Short, bounds::Calls, chain, check_all,
    checked, rules,
};
use crate::{Failure, Fault as StoreFault, FaultyOrigin, FaultyStore, MemoryOrigin, OriginFault};

/// All rules, in the order in which [`check`] goes through them. The last ones are left out for
/// what is no origin.
pub const RULES: &[Rule<Suite>] = rules![
    with_nothing_held_nothing_is_unchanged,
    a_current_entry_is_unchanged,
    a_changed_object_comes_with_its_new_body,
    a_deleted_object_is_gone,
    each_key_has_its_own_answer,
    each_call_asks_anew,
    an_entry_is_built_anew,
    a_body_comes_with_its_own_version,
    a_dropped_question_leaves_nothing_behind,
    an_outage_is_an_error,
    the_version_of_a_put_names_its_body,
    a_put_if_absent_spares_what_is_there,
    a_put_if_matches_spares_what_has_changed,
    what_is_unsupported_says_so_and_changes_nothing,
    a_refused_put_changes_nothing,
    a_deleted_object_is_gone_for_all,
];

/// Checks all rules.
///
/// ```
/// use std::sync::Arc;
///
/// use cache_testkit::{FaultyOrigin, conformance::validator};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cache_testkit::conformance::Broken> {
/// let origin = Arc::new(FaultyOrigin::in_memory());
/// let can = validator::Capabilities::new().puts_if_absent().puts_if_matches();
/// let suite = validator::Suite::of_origin(can, origin.clone(), origin);
/// println!("{}", validator::check(&suite).await?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Broken`], with all that are broken.
pub async fn check(suite: &Suite) -> Result<Report, Broken> {
    check_all(suite, RULES).await
}

/// What lies behind a validator: the objects, as another node would change them. Panics of its own
/// are taken for the validator's.
#[async_trait]
pub trait Truth: Send + Sync + 'static {
    /// Writes the object.
    async fn put(&self, key: &Key, body: Bytes);

    /// Deletes the object. Whether there is one or not.
    async fn delete(&self, key: &Key);

    /// How many requests of the validator came so far. Default: `None`, they are not counted.
    fn n_requests(&self) -> Option<u64> {
        None
    }

    /// Has the validator's next `n` requests be answered, and writes the object before the one
    /// after them is: while that waits. Returns when it is written; `false` at once, if this cannot
    /// be done (default). The caller drops the future if it does not come to so many requests: then
    /// nothing is left of it.
    async fn put_between_requests(&self, n: usize, key: &Key, body: Bytes) -> bool {
        let _ = (n, key, body);
        false
    }

    /// Has the next request of the validator fail. Whether this can be done; default: no.
    fn trouble(&self, trouble: Trouble) -> bool {
        let _ = trouble;
        false
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// The origin fails, or cannot be reached.
    Outage,
    /// The origin refuses: the credentials are not good for this, or not known.
    Refusal,
}

/// An origin's own writes as the [`Truth`] behind it, where nothing else is at hand.
#[derive(Clone)]
pub struct OwnWrites(pub Arc<dyn Origin>);

#[async_trait]
impl Truth for OwnWrites {
    async fn put(&self, key: &Key, body: Bytes) {
        let put = self.0.put(key, body, PutCondition::Always).await;
        assert!(put.is_ok(), "a put without a condition failed: {put:?}");
    }

    async fn delete(&self, key: &Key) {
        // A missing one may be an error.
        let _ = self.0.delete(key).await;
    }
}

impl fmt::Debug for OwnWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnWrites").finish_non_exhaustive()
    }
}

#[async_trait]
impl Truth for MemoryOrigin {
    async fn put(&self, key: &Key, body: Bytes) {
        self.write(key.as_str(), body);
    }

    async fn delete(&self, key: &Key) {
        self.erase(key.as_str());
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Truth + ?Sized> Truth for FaultyOrigin<T> {
    async fn put(&self, key: &Key, body: Bytes) {
        self.inner().put(key, body).await;
    }

    async fn delete(&self, key: &Key) {
        self.inner().delete(key).await;
    }

    fn n_requests(&self) -> Option<u64> {
        Some(self.count() as u64)
    }

    async fn put_between_requests(&self, n: usize, key: &Key, body: Bytes) -> bool {
        let holding = Holding::after(n);
        let holds = holding.held();
        self.fault(OriginFault::hold().when(move |_| holds.takes()));
        self.wait_until_held(1).await;
        self.inner().put(key, body).await;
        self.release(1);
        true
    }

    fn trouble(&self, trouble: Trouble) -> bool {
        let kind = match trouble {
            Trouble::Outage => cache_core::ErrorKind::Unavailable,
            Trouble::Refusal => cache_core::ErrorKind::PermissionDenied,
        };
        self.fault(OriginFault::error(kind).once());
        true
    }
}

/// For those who ask through it: the objects are changed behind their back. Panics if the store
/// fails.
#[async_trait]
impl Truth for FaultyStore {
    async fn put(&self, key: &Key, body: Bytes) {
        let put = self.inner().put(&path(key), body.into()).await;
        assert!(put.is_ok(), "the store failed: {put:?}");
    }

    async fn delete(&self, key: &Key) {
        match self.inner().delete(&path(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => panic!("the store failed: {error}"),
        }
    }

    fn n_requests(&self) -> Option<u64> {
        Some(self.count() as u64)
    }

    async fn put_between_requests(&self, n: usize, key: &Key, body: Bytes) -> bool {
        let holding = Holding::after(n);
        let holds = holding.held();
        self.fault(StoreFault::hold().when(move |_| holds.takes()));
        self.wait_until_held(1).await;
        Truth::put(self, key, body).await;
        self.release(1);
        true
    }

    fn trouble(&self, trouble: Trouble) -> bool {
        self.fault(
            StoreFault::error(match trouble {
                Trouble::Outage => Failure::Unavailable,
                Trouble::Refusal => Failure::PermissionDenied,
            })
            .once(),
        );
        true
    }
}

/// Which request is to be held: one, after some others. None any more, when the first handle is
/// dropped.
struct Holding(Arc<AtomicUsize>);

impl Holding {
    fn after(n: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(n + 1)))
    }

    fn held(&self) -> Held {
        Held(Arc::clone(&self.0))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

/// What a fault knows of it.
struct Held(Arc<AtomicUsize>);

impl Held {
    /// Whether this request is the one.
    fn takes(&self) -> bool {
        let left =
            self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left == Ok(1)
    }
}

fn path(key: &Key) -> Path {
    Path::parse(key.as_str()).expect("keys are canonical paths")
}

/// What a validator can do, and what it cannot help. The default: it can confirm what it has just
/// fetched, and an origin knows no conditional puts.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct Capabilities {
    never_confirms: bool,
    blocks: bool,
    puts_if_absent: bool,
    puts_if_matches: bool,
}

impl Capabilities {
    /// The default ones.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was just fetched is never `Storability::Revalidatable`: the origin has only weak tags,
    /// or dates that are too young.
    pub fn never_confirms(mut self) -> Self {
        self.never_confirms = true;
        self
    }

    /// Its calls block the thread that polls them, or hand their work to a thread for blocking
    /// work, as a client without async does: what was sent cannot be taken back when the future is
    /// dropped. Each question is then asked in a task of a runtime with several threads, and one
    /// that was dropped may reach the origin later.
    pub fn blocks(mut self) -> Self {
        self.blocks = true;
        self
    }

    /// `PutCondition::Absent` is obeyed. Otherwise it must be `Unsupported`.
    pub fn puts_if_absent(mut self) -> Self {
        self.puts_if_absent = true;
        self
    }

    /// `PutCondition::Matches` is obeyed. Otherwise it must be `Unsupported`.
    pub fn puts_if_matches(mut self) -> Self {
        self.puts_if_matches = true;
        self
    }
}

/// A validator or an origin under test.
#[derive(Clone)]
pub struct Suite {
    validator: Arc<dyn Validator>,
    origin: Option<Arc<dyn Origin>>,
    truth: Arc<dyn Truth>,
    can: Capabilities,
    prefix: String,
    patience: Duration,
    calls: Calls,
}

impl Suite {
    /// A validator in front of `truth`. The rules for origins are left out.
    pub fn of_validator(
        capabilities: Capabilities,
        validator: Arc<dyn Validator>,
        truth: Arc<dyn Truth>,
    ) -> Self {
        let (prefix, calls) = (PREFIX.into(), Calls::new());
        Self {
            validator,
            origin: None,
            truth,
            can: capabilities,
            prefix,
            patience: PATIENCE,
            calls,
        }
    }

    /// An origin in front of `truth`; [`OwnWrites`] if there is no other way to it.
    pub fn of_origin(
        capabilities: Capabilities,
        origin: Arc<dyn Origin>,
        truth: Arc<dyn Truth>,
    ) -> Self {
        let validator = Self::of_validator(capabilities, origin.clone(), truth);
        Self { origin: Some(origin), ..validator }
    }

    /// Has all keys begin with `prefix` and a slash: for a bucket in which several checks run at
    /// once. Default: `conformance`.
    ///
    /// # Errors
    ///
    /// `InvalidKey` if keys cannot begin so.
    pub fn under(mut self, prefix: impl Into<String>) -> Result<Self> {
        self.prefix = prefix.into();
        Key::parse(&self.prefix).map(|_| self)
    }

    /// How long a rule may make no progress before it is given up, and what it waits for is
    /// reported. Default: [`PATIENCE`]. Zero gives up what does not come at once.
    #[must_use]
    pub fn patience(mut self, span: Duration) -> Self {
        self.patience = span;
        self
    }

    /// What became of `rule`, as `checking` finds it.
    async fn checked(
        &self,
        rule: &'static str,
        checking: impl AsyncFnOnce(&Self) -> Result<Outcome, Fault> + Send + 'static,
    ) -> Result<Outcome, Broken> {
        let suite = Self { calls: Calls::new(), ..self.clone() };
        let calls = suite.calls.clone();
        let n_threads_min = if self.can.blocks { THREADS_OF_BLOCKING } else { 1 };
        checked(rule, self.patience, calls, n_threads_min, async move || checking(&suite).await)
            .await
    }

    /// A key of `rule`.
    fn key(&self, rule: &str, name: &str) -> Result<Key, Fault> {
        let key = format!("{}/{rule}/{name}", self.prefix);
        Key::parse(&key)
            .map_err(|error| format!("with the prefix that was given, a key is not one: {error}"))
    }

    async fn put(&self, key: &Key, body: impl Into<Bytes>) -> Result<(), Fault> {
        let body = body.into();
        self.calls.answered(format!("the truth's put of {key}"), || self.truth.put(key, body)).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Fault> {
        self.calls.answered(format!("the truth's delete of {key}"), || self.truth.delete(key)).await
    }

    /// The answer. Of an entry that cannot be confirmed nothing is sent, as the contract has it.
    async fn ask(&self, key: &Key, held: Option<&Entry>) -> Result<Result<Validation>, Fault> {
        let held = held.filter(|held| held.storability() == Storability::Revalidatable);
        if !self.can.blocks {
            return self
                .calls
                .answered(asking(key, held), || self.validator.validate(key, held))
                .await;
        }
        // Others go on meanwhile: what blocks its thread is polled on another one.
        let (validator, key, held) = (Arc::clone(&self.validator), key.clone(), held.cloned());
        let name = asking(&key, held.as_ref());
        let asked = async move { validator.validate(&key, held.as_ref()).await };
        let asked = self.calls.answered(&name, || tokio::spawn(asked)).await?;
        asked.map_err(|error| format!("{name} panicked: {error}"))
    }

    /// The entry that the answer brings.
    async fn ask_for(
        &self,
        key: &Key,
        held: Option<&Entry>,
        body: &[u8],
        when: &str,
    ) -> Result<Entry, Fault> {
        let answer = self.ask(key, held).await?;
        match &answer {
            Ok(Validation::Modified(entry))
                if entry.body() == body && entry.key() == key.as_str() =>
            {
                Ok(entry.clone())
            }
            _ => Err(unexpected(
                &asking(key, held),
                when,
                &answer,
                &format!("`Changed` with {}", text(body)),
            )),
        }
    }

    async fn fetch(&self, key: &Key, body: &[u8], when: &str) -> Result<Entry, Fault> {
        self.ask_for(key, None, body, when).await
    }

    async fn is_gone(&self, key: &Key, held: Option<&Entry>, when: &str) -> Result<(), Fault> {
        let answer = self.ask(key, held).await?;
        match &answer {
            Ok(Validation::NotFound) => Ok(()),
            _ => Err(unexpected(&asking(key, held), when, &answer, "`Gone`")),
        }
    }

    async fn is_unchanged(&self, key: &Key, held: &Entry, when: &str) -> Result<(), Fault> {
        if held.storability() != Storability::Revalidatable {
            return Ok(());
        }
        let answer = self.ask(key, Some(held)).await?;
        match &answer {
            Ok(Validation::NotModified) => Ok(()),
            _ => Err(unexpected(&asking(key, Some(held)), when, &answer, "`Unchanged`")),
        }
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("can", &self.can).finish_non_exhaustive()
    }
}

fn asking(key: &Key, held: Option<&Entry>) -> String {
    let key = Short(key.as_str());
    match held.map(Entry::e_tag) {
        None => format!("`validate({key}, None)`"),
        Some(Some(tag)) => format!("`validate({key}, Some(entry with the tag {tag}))`"),
        Some(None) => format!("`validate({key}, Some(entry without a tag))`"),
    }
}

fn unexpected(call: &str, when: &str, answer: &Result<Validation>, expected: &str) -> Fault {
    let seen = match answer {
        Ok(Validation::NotModified) => "`Unchanged`".to_owned(),
        Ok(Validation::NotFound) => "`Gone`".to_owned(),
        Ok(Validation::Modified(entry)) => {
            format!(
                "`Changed` with {}, under {:?} at {:?}",
                text(entry.body()),
                entry.key(),
                entry.e_tag()
            )
        }
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("an error of kind `{:?}` ({})", error.kind(), chain(error)),
    };
    format!("{call}, {when}, answered {seen}; expected {expected}")
}

fn text(body: &[u8]) -> String {
    if body.len() > 60 {
        format!("{} bytes", body.len())
    } else {
        format!("{:?}", String::from_utf8_lossy(body))
    }
}

/// One for the rule, one for the question, and one more for what the question needs.
const THREADS_OF_BLOCKING: usize = 3;
const PREFIX: &str = "conformance";
