//! An origin that keeps its contracts, and what each of its faults breaks.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Entry, Error, ErrorKind, Key, Origin, PutCondition, Result, Storability, Validation, Validator,
    Version,
};
use cache_testkit::{
    Failure, FaultyStore,
    conformance::validator::{self, Capabilities, RULES, Suite, Trouble, Truth},
};
use object_store::{ObjectStoreExt as _, path::Path};
use tokio::task::yield_now;

use crate::{SHORT, block, broken, covered};

/// What is wrong with an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    EmptyIsUnchanged,
    GoneIsAnError,
    KeysLoseTheirFolder,
    NeverUnchanged,
    NeverRevalidatable,
    UnchangedByLength,
    TagOfTheOldBody,
    DeletedIsUnchanged,
    RemembersWhatIsGone,
    RemembersBodies,
    AsksWhenCalled,
    HandsOutOneEntry,
    StampsEntries,
    TagBeforeBody,
    BodyBeforeTag,
    HeadThenGet,
    BlocksWhilePolled,
    AsksOnAnotherThread,
    FailsForAReason,
    StaysBusy,
    AsksBehind,
    OutageIsGone,
    OutageIsUnchanged,
    RefusalIsAnOutage,
    VersionOfALaterAnswer,
    PutHasAnOldVersion,
    EntryOfAnotherKey,
    AbsentOverwrites,
    MatchesOverwrites,
    MatchesByLength,
    ConditionsAreIgnored,
    ConditionsAreUnmet,
    WritesBeforeItIsRefused,
    DeletesNothing,
    MissingIsAnOutage,
    ValidateNeverReturns,
    ValidateBlocks,
    PutBlocks,
}

/// For each rule, what must be caught by it.
const CASES: &[(&str, &[Fault])] = &[
    ("with_nothing_held_nothing_is_unchanged", &[Fault::EmptyIsUnchanged, Fault::GoneIsAnError]),
    ("each_key_has_its_own_answer", &[Fault::KeysLoseTheirFolder]),
    ("a_current_entry_is_unchanged", &[Fault::NeverUnchanged, Fault::NeverRevalidatable]),
    (
        "a_changed_object_comes_with_its_new_body",
        &[Fault::UnchangedByLength, Fault::TagOfTheOldBody],
    ),
    ("a_deleted_object_is_gone", &[Fault::DeletedIsUnchanged]),
    (
        "each_call_asks_anew",
        &[Fault::RemembersWhatIsGone, Fault::RemembersBodies, Fault::AsksWhenCalled],
    ),
    ("an_entry_is_built_anew", &[Fault::HandsOutOneEntry, Fault::StampsEntries]),
    (
        "a_body_comes_with_its_own_version",
        &[Fault::TagBeforeBody, Fault::BodyBeforeTag, Fault::HeadThenGet],
    ),
    ("a_dropped_question_leaves_nothing_behind", &[Fault::StaysBusy, Fault::AsksBehind]),
    (
        "an_outage_is_an_error",
        &[Fault::OutageIsGone, Fault::OutageIsUnchanged, Fault::RefusalIsAnOutage],
    ),
    (
        "the_version_of_a_put_names_its_body",
        &[Fault::VersionOfALaterAnswer, Fault::PutHasAnOldVersion, Fault::EntryOfAnotherKey],
    ),
    ("a_put_if_absent_spares_what_is_there", &[Fault::AbsentOverwrites]),
    (
        "a_put_if_matches_spares_what_has_changed",
        &[Fault::MatchesOverwrites, Fault::MatchesByLength],
    ),
    (
        "what_is_unsupported_says_so_and_changes_nothing",
        &[Fault::ConditionsAreIgnored, Fault::ConditionsAreUnmet],
    ),
    ("a_refused_put_changes_nothing", &[Fault::WritesBeforeItIsRefused]),
    ("a_deleted_object_is_gone_for_all", &[Fault::DeletesNothing, Fault::MissingIsAnOutage]),
];

#[tokio::test]
async fn for_each_rule_something_broken_is_caught() {
    for (rule, faults) in CASES {
        let checks = RULES.iter().find(|known| known.name == *rule).unwrap();
        for fault in *faults {
            broken(rule, fault, checks.run(&suite(*fault)).await);
        }
    }
}

/// Each ends the check, whatever rule it meets first.
#[tokio::test]
async fn a_call_that_does_not_end_is_reported_as_such() {
    for (fault, said) in [
        (Fault::ValidateNeverReturns, "did not return within 1s: it waits, and nobody wakes it"),
        (Fault::ValidateBlocks, "missing\", None)` did not return within 1s: it blocks its thread"),
        (Fault::PutBlocks, "/a, …)` did not return within 1s: it blocks its thread"),
    ] {
        let broken = validator::check(&suite(fault)).await.unwrap_err();
        println!("{broken}");
        assert!(broken.what.contains(said), "{broken}");
    }
}

#[tokio::test]
async fn without_a_fault_all_rules_are_kept() {
    let mut all = validator::check(&suite(Fault::None)).await.unwrap();
    let without = validator::check(&without_conditions(Fault::None)).await.unwrap();
    all.rules.extend(without.rules);
    covered(&all, CASES.iter().map(|(rule, _)| *rule));
}

#[tokio::test]
async fn all_keys_are_under_the_prefix() {
    let shelf = Shelf { fault: Fault::None, conditions: true, state: Arc::default() };
    let suite = of(shelf.clone(), all()).under("a/b").unwrap();
    validator::check(&suite).await.unwrap();
    assert!(shelf.state().objects.keys().all(|key| key.starts_with("a/b/")));
    assert_eq!(suite.under("/a").unwrap_err().kind(), ErrorKind::InvalidKey);
}

#[tokio::test]
async fn what_is_declared_is_not_held_against_a_validator() {
    let report =
        validator::check(&with_conditions(Fault::NeverRevalidatable, all().never_confirms()))
            .await
            .unwrap();
    assert!(report.left_out().any(|(rule, _)| rule == "a_current_entry_is_unchanged"));
}

/// A client without async: on a thread for blocking work, which goes on when its caller has gone,
/// or right where it is polled.
#[tokio::test]
async fn a_client_that_blocks_is_declared_as_such() {
    for fault in [Fault::BlocksWhilePolled, Fault::AsksOnAnotherThread] {
        let report = validator::check(&with_conditions(fault, all().blocks())).await.unwrap();
        assert!(
            report.kept().any(|rule| rule == "a_body_comes_with_its_own_version"),
            "{fault:?}: {report}"
        );
        let left_out: Vec<_> = report.left_out().map(|(rule, _)| rule).collect();
        assert_eq!(
            left_out,
            ["what_is_unsupported_says_so_and_changes_nothing"],
            "{fault:?}: {report}"
        );
    }
    let broken =
        validator::check(&with_conditions(Fault::AsksOnAnotherThread, all())).await.unwrap_err();
    assert_eq!(broken.rules().collect::<Vec<_>>(), ["a_dropped_question_leaves_nothing_behind"]);
    // What blocks is no excuse for what is wrong.
    let suite = with_conditions(Fault::HeadThenGet, all().blocks());
    let broken = validator::check(&suite).await.unwrap_err();
    assert_eq!(broken.rules().collect::<Vec<_>>(), ["a_body_comes_with_its_own_version"]);
}

/// All that is broken is told at once, and what is not, too; and what lies behind an error.
#[tokio::test]
async fn a_check_goes_on_after_a_broken_rule() {
    let broken = validator::check(&suite(Fault::OutageIsGone)).await.unwrap_err();
    assert_eq!(broken.rules().collect::<Vec<_>>(), ["an_outage_is_an_error"]);
    let broken = validator::check(&suite(Fault::NeverRevalidatable)).await.unwrap_err();
    assert!(broken.report.kept().any(|rule| rule == "each_key_has_its_own_answer"), "{broken}");
    let broken = validator::check(&suite(Fault::DeletedIsUnchanged)).await.unwrap_err();
    let rules: Vec<_> = broken.rules().collect();
    assert!(rules.len() > 1 && rules.len() + broken.report.rules.len() == RULES.len(), "{broken}");
    let said = broken.to_string();
    assert!(rules.iter().all(|rule| said.contains(&format!("(`{rule}`)"))), "{said}");
    assert!(broken.report.kept().all(|rule| said.contains(&format!("kept      {rule}"))), "{said}");

    let broken = validator::check(&suite(Fault::FailsForAReason)).await.unwrap_err();
    assert!(broken.what.contains("the origin failed: no route to the host: cable cut"), "{broken}");
}

#[tokio::test]
async fn after_two_rules_that_had_to_be_given_up_no_other_is_begun() {
    let broken = validator::check(&suite(Fault::ValidateNeverReturns)).await.unwrap_err();
    assert_eq!(broken.rules().count(), 2, "{broken}");
    assert_eq!(broken.report.left_out().count(), RULES.len() - 2, "{broken}");
}

/// One request for the tag, and one for the body.
struct HeadThenGet(FaultyStore);

#[async_trait]
impl Validator for HeadThenGet {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let path = Path::parse(key.as_str()).unwrap();
        let kind = |error: object_store::Error| match Failure::of(&error) {
            Failure::PermissionDenied => {
                Error::new(ErrorKind::PermissionDenied, "the store refuses")
            }
            _ => Error::new(ErrorKind::Unavailable, "the store fails"),
        };
        let meta = match self.0.head(&path).await {
            Ok(meta) => meta,
            Err(object_store::Error::NotFound { .. }) => return Ok(Validation::NotFound),
            Err(error) => return Err(kind(error)),
        };
        if held.is_some() && held.and_then(Entry::e_tag) == meta.e_tag.as_deref() {
            return Ok(Validation::NotModified);
        }
        let body = self.0.get(&path).await.map_err(kind)?.bytes().await.map_err(kind)?;
        Ok(Validation::Modified(Entry::builder(key, body).e_tag(meta.e_tag.unwrap()).build()))
    }
}

/// Objects that are changed, and nothing more.
struct ChangesAlone(FaultyStore);

#[async_trait]
impl Truth for ChangesAlone {
    async fn put(&self, key: &Key, body: Bytes) {
        Truth::put(&self.0, key, body).await;
    }
    async fn delete(&self, key: &Key) {
        Truth::delete(&self.0, key).await;
    }
}

#[tokio::test]
async fn the_tag_of_one_answer_with_the_body_of_another_is_caught_or_left_out() {
    let rule = "a_body_comes_with_its_own_version";
    let store = FaultyStore::in_memory();
    let suite = Suite::of_validator(
        Capabilities::new(),
        Arc::new(HeadThenGet(store.clone())),
        Arc::new(store.clone()),
    );
    let found = validator::check(&suite).await.unwrap_err();
    assert_eq!(found.rules().collect::<Vec<_>>(), [rule], "{found}");
    assert!(found.what.contains("must come from one answer"), "{found}");
    // What was held and not needed is not held for good.
    assert!(store.head(&Path::from("nothing")).await.is_err());

    let truth = Arc::new(ChangesAlone(store.clone()));
    let suite = Suite::of_validator(Capabilities::new(), Arc::new(HeadThenGet(store)), truth);
    let report = validator::check(&suite).await.unwrap();
    assert!(report.left_out().any(|(left_out, _)| left_out == rule), "{report}");
}

fn all() -> Capabilities {
    Capabilities::new().puts_if_absent().puts_if_matches()
}

fn suite(fault: Fault) -> Suite {
    match fault {
        Fault::ConditionsAreIgnored | Fault::ConditionsAreUnmet => without_conditions(fault),
        _ => with_conditions(fault, all()),
    }
}

/// Waits for `future` on this thread, as a client without async does.
fn on_this_thread<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn with_conditions(fault: Fault, can: Capabilities) -> Suite {
    of(Shelf { fault, conditions: true, state: Arc::default() }, can)
}

fn without_conditions(fault: Fault) -> Suite {
    of(Shelf { fault, conditions: false, state: Arc::default() }, Capabilities::new())
}

fn of(shelf: Shelf, can: Capabilities) -> Suite {
    let fault = shelf.fault;
    let suite = Suite::of_origin(can, Arc::new(shelf.clone()), Arc::new(TruthOf(shelf)));
    match fault {
        Fault::StaysBusy
        | Fault::ValidateNeverReturns
        | Fault::ValidateBlocks
        | Fault::PutBlocks => suite.patience(SHORT),
        _ => suite,
    }
}

/// Objects with the number of the write as their tag. Each request waits for a turn of the
/// scheduler on its way there and back.
#[derive(Clone)]
struct Shelf {
    fault: Fault,
    /// Whether conditions are known.
    conditions: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: HashMap<String, (String, Bytes)>,
    n_writes: u64,
    n_requests: u64,
    trouble: Option<Trouble>,
    gone: HashSet<String>,
    bodies: HashMap<String, Entry>,
    is_busy: bool,
    last_tag: String,
    /// Before which request of those to come an object is written.
    between: Option<(usize, String, Bytes)>,
}

impl State {
    fn write(&mut self, name: String, body: Bytes) -> String {
        self.n_writes += 1;
        let tag = format!("\"{}\"", self.n_writes);
        self.objects.insert(name, (tag.clone(), body));
        tag
    }

    fn arrive(&mut self) -> Result<()> {
        self.n_requests += 1;
        match &mut self.between {
            Some((0, ..)) => {
                let (_, name, body) = self.between.take().unwrap();
                self.write(name, body);
            }
            Some((left, ..)) => *left -= 1,
            None => {}
        }
        let kind = match self.trouble.take() {
            None => return Ok(()),
            Some(Trouble::Outage) => ErrorKind::Unavailable,
            Some(_) => ErrorKind::PermissionDenied,
        };
        Err(Error::new(kind, "told to"))
    }
}

struct TruthOf(Shelf);

#[async_trait]
impl Truth for TruthOf {
    async fn put(&self, key: &Key, body: Bytes) {
        self.0.state().write(self.0.name(key), body);
    }
    async fn delete(&self, key: &Key) {
        let name = self.0.name(key);
        self.0.state().objects.remove(&name);
    }
    fn n_requests(&self) -> Option<u64> {
        Some(self.0.state().n_requests)
    }
    async fn put_between_requests(&self, n: usize, key: &Key, body: Bytes) -> bool {
        /// Whoever gives up waiting leaves nothing behind.
        struct Undone<'a>(&'a Shelf);
        impl Drop for Undone<'_> {
            fn drop(&mut self) {
                self.0.state().between = None;
            }
        }
        let _undone = Undone(&self.0);
        let name = self.0.name(key);
        self.0.state().between = Some((n, name, body));
        while self.0.state().between.is_some() {
            yield_now().await;
        }
        true
    }
    fn trouble(&self, trouble: Trouble) -> bool {
        self.0.state().trouble = Some(trouble);
        true
    }
}

impl Shelf {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn name(&self, key: &Key) -> String {
        match self.fault {
            Fault::KeysLoseTheirFolder => key.as_str().replace("d/x", "p"),
            _ => key.as_str().to_owned(),
        }
    }

    fn built(&self, key: &Key, tag: &str, body: Bytes) -> Entry {
        let entry = Entry::builder(key, body).e_tag(tag);
        match self.fault {
            Fault::NeverRevalidatable => entry.storability(Storability::FreshOnly).build(),
            Fault::StampsEntries => {
                entry.validated(cache_core::Moment::from_nanos(5), None).build()
            }
            _ => entry.build(),
        }
    }

    fn current(&self, key: &Key) -> Option<(String, Bytes)> {
        self.state().objects.get(&self.name(key)).cloned()
    }

    async fn answer(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        self.state().arrive()?;
        let found = self.current(key);
        yield_now().await;
        let Some((tag, body)) = found else {
            return match self.fault {
                Fault::GoneIsAnError => Err(Error::new(ErrorKind::NotFound, "gone")),
                Fault::DeletedIsUnchanged if held.is_some() => Ok(Validation::NotModified),
                _ => Ok(Validation::NotFound),
            };
        };
        let is_current = match self.fault {
            Fault::EmptyIsUnchanged if body.is_empty() => true,
            Fault::NeverUnchanged => false,
            Fault::UnchangedByLength => held.is_some_and(|held| held.body().len() == body.len()),
            _ => held.is_some_and(|held| held.e_tag() == Some(&tag)),
        };
        if is_current {
            return Ok(Validation::NotModified);
        }
        // What another request would find.
        let later = self.current(key).unwrap_or_default();
        let entry = match (self.fault, held) {
            (Fault::TagOfTheOldBody, Some(held)) => self.built(key, held.e_tag().unwrap(), body),
            (Fault::TagBeforeBody, _) => self.built(key, &tag, later.1),
            (Fault::BodyBeforeTag, _) => self.built(key, &later.0, body),
            (Fault::HeadThenGet, None) => {
                // The tag of one answer, and the body of the next.
                self.state().arrive()?;
                self.built(key, &tag, self.current(key).unwrap_or_default().1)
            }
            (Fault::HandsOutOneEntry, _) => {
                let mut state = self.state();
                let last = state
                    .bodies
                    .get(key.as_str())
                    .filter(|last| last.e_tag() == Some(&tag))
                    .cloned();
                let entry = last.unwrap_or_else(|| self.built(key, &tag, body));
                state.bodies.insert(key.as_str().to_owned(), entry.clone());
                entry
            }
            _ => self.built(key, &tag, body),
        };
        Ok(Validation::Modified(entry))
    }
}

impl Validator for Shelf {
    fn validate<'a, 'b, 'c, 'f>(
        &'a self,
        key: &'b Key,
        held: Option<&'c Entry>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Validation>> + Send + 'f>>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
    {
        let when_called = self.current(key);
        Box::pin(async move {
            match self.fault {
                Fault::AsksWhenCalled => {
                    self.state().arrive()?;
                    return Ok(match when_called {
                        None => Validation::NotFound,
                        Some((tag, _)) if held.and_then(Entry::e_tag) == Some(&tag) => {
                            Validation::NotModified
                        }
                        Some((tag, body)) => Validation::Modified(self.built(key, &tag, body)),
                    });
                }
                Fault::RemembersWhatIsGone if self.state().gone.contains(key.as_str()) => {
                    return Ok(Validation::NotFound);
                }
                Fault::RemembersBodies if held.is_none() => {
                    let last = self.state().bodies.get(key.as_str()).cloned();
                    if let Some(last) = last {
                        return Ok(Validation::Modified(last));
                    }
                }
                Fault::StaysBusy => {
                    while std::mem::replace(&mut self.state().is_busy, true) {
                        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    }
                }
                Fault::ValidateNeverReturns => std::future::pending().await,
                Fault::FailsForAReason => {
                    let cause = std::io::Error::other("cable cut");
                    let cause = Error::new(ErrorKind::Unavailable, "no route to the host")
                        .with_source(cause);
                    return Err(
                        Error::new(ErrorKind::Unavailable, "the origin failed").with_source(cause)
                    );
                }
                Fault::BlocksWhilePolled => {
                    let (shelf, key, held) = (self.clone(), key.clone(), held.cloned());
                    let asks =
                        move || on_this_thread(async { shelf.answer(&key, held.as_ref()).await });
                    return std::thread::spawn(asks).join().unwrap();
                }
                Fault::AsksOnAnotherThread => {
                    let (shelf, key, held) = (self.clone(), key.clone(), held.cloned());
                    let asks =
                        move || on_this_thread(async { shelf.answer(&key, held.as_ref()).await });
                    return tokio::task::spawn_blocking(asks).await.unwrap();
                }
                Fault::ValidateBlocks => block(),
                Fault::AsksBehind => {
                    let (shelf, key, held) = (self.clone(), key.clone(), held.cloned());
                    let task = tokio::spawn(async move {
                        yield_now().await;
                        yield_now().await;
                        shelf.answer(&key, held.as_ref()).await
                    });
                    return task.await.unwrap();
                }
                _ => yield_now().await,
            }
            let answer = self.answer(key, held).await;
            yield_now().await;
            let mut state = self.state();
            state.is_busy = false;
            match (&answer, self.fault) {
                (Ok(Validation::NotFound), _) => {
                    state.gone.insert(key.as_str().to_owned());
                }
                (Ok(Validation::Modified(entry)), Fault::RemembersBodies) => {
                    state.bodies.insert(key.as_str().to_owned(), entry.clone());
                }
                (Err(_), Fault::OutageIsGone) => return Ok(Validation::NotFound),
                (Err(_), Fault::OutageIsUnchanged) if held.is_some() => {
                    return Ok(Validation::NotModified);
                }
                (Err(_), Fault::RefusalIsAnOutage) => {
                    return Err(Error::new(ErrorKind::Unavailable, "told to"));
                }
                _ => {}
            }
            answer
        })
    }
}

#[async_trait]
impl Origin for Shelf {
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version> {
        yield_now().await;
        if self.is(Fault::PutBlocks) {
            block();
        }
        let size = body.len() as u64;
        let tag = {
            let mut state = self.state();
            if self.is(Fault::WritesBeforeItIsRefused) {
                state.write(self.name(key), body.clone());
            }
            state.arrive()?;
            let current = state.objects.get(key.as_str()).cloned();
            let holds = match (&condition, self.fault) {
                (PutCondition::Absent, Fault::AbsentOverwrites) => true,
                (PutCondition::Absent, _) => current.is_none(),
                (PutCondition::Matches(_), Fault::MatchesOverwrites) => true,
                (PutCondition::Matches(version), Fault::MatchesByLength) => {
                    current.is_some_and(|(_, body)| body.len() as u64 >= version.size)
                }
                (PutCondition::Matches(version), _) => {
                    current.is_some_and(|(tag, _)| version.e_tag.as_ref() == Some(&tag))
                }
                _ => true,
            };
            if condition != PutCondition::Always && !self.conditions {
                match self.fault {
                    Fault::ConditionsAreIgnored => {}
                    Fault::ConditionsAreUnmet => {
                        return Err(Error::new(ErrorKind::PreconditionFailed, "unmet"));
                    }
                    _ => return Err(Error::new(ErrorKind::Unsupported, "no conditions")),
                }
            } else if !holds {
                return Err(Error::new(ErrorKind::PreconditionFailed, "unmet"));
            }
            let tag = state.write(self.name(key), body);
            match self.fault {
                Fault::PutHasAnOldVersion => std::mem::replace(&mut state.last_tag, tag),
                _ => tag,
            }
        };
        yield_now().await;
        let tag = match self.fault {
            Fault::VersionOfALaterAnswer => self.current(key).unwrap_or_default().0,
            _ => tag,
        };
        Ok(Version::default().with_e_tag(Some(tag)).with_size(size))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        yield_now().await;
        let mut state = self.state();
        state.arrive()?;
        if self.is(Fault::DeletesNothing) {
            return Ok(());
        }
        match state.objects.remove(&self.name(key)) {
            None if self.is(Fault::MissingIsAnOutage) => {
                Err(Error::new(ErrorKind::Unavailable, "told to"))
            }
            None => Err(Error::new(ErrorKind::NotFound, "there is none")),
            Some(_) => Ok(()),
        }
    }

    fn entry_of_put(&self, key: &Key, body: Bytes, version: &Version) -> Entry {
        let other = Key::parse("other").unwrap();
        let key = if self.is(Fault::EntryOfAnotherKey) { &other } else { key };
        let entry = Entry::builder(key, body).version(version.clone());
        if self.is(Fault::NeverRevalidatable) {
            entry.storability(Storability::FreshOnly).build()
        } else {
            entry.build()
        }
    }
}
