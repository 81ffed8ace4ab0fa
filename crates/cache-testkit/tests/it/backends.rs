//! A backend of two tiers that keeps its contract, and what each of its faults breaks.

use std::{
    collections::{HashMap, VecDeque},
    future::{pending, ready},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use async_trait::async_trait;
use cache_core::{
    Admission, Backend, Entry, Error, ErrorKind, EvictionListener, Key, Moment, Rejection, Result,
    Storability, Usage,
};
use cache_testkit::conformance::backend::{self, Capabilities, RULES, Suite};
use tokio::task::yield_now;

use crate::{SHORT, block, broken, covered};

/// What is wrong with a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    KeysLoseTheirCase,
    KeysAreCut,
    DropsAttributes,
    DropsIdentity,
    ConfirmsWhatItShouldNot,
    ShowsCopies,
    AnswersInGetToo,
    KeepsStampsOnDisk,
    RemovesAboveAlone,
    RemoveSaysNo,
    ClearsAboveAlone,
    KeepsTheOldEntry,
    RefusesAndKeepsTheOldEntry,
    LeavesOldOnesBelow,
    InsertsBehind,
    ClearsWhenCalled,
    SweepsAll,
    SweepsByTheFirstDeadline,
    SweepsNothing,
    HasNoLimit,
    HasNoLimitOfEntries,
    CountsBodiesAlone,
    CountsReplacedTwice,
    ForgetsToCountEvictions,
    PeekWaitsForInserts,
    PeekPanics,
    InsertsWhatCameLast,
    InsertNeverReturns,
    InsertSpins,
    InsertBlocks,
    PeekBlocks,
    DropBlocks,
    InsertPanics,
    InsertFails,
    RefusesAll,
    DropPanics,
    HasNoRoom,
    UsageIsAbsurd,
    PromotesWhatItHasRead,
    LandsBehindABurst,
    ForgetsStampsAfterAClear,
    ShowsWhatWasClosed,
    PeekCountsAUse,
    ContainsCountsAUse,
    PeekShowsNothing,
    ContainsSaysYes,
    ContainsSaysNo,
    LosesWhatItTakesAtOnce,
    HandsAnotherBack,
    ClosesNothing,
    ClearsWhenClosed,
    InsertsWhenCalled,
    ReportsNoExpiry,
    ReportsNoEviction,
    ReportsTwice,
    ReportsRemovals,
    ReportsReplacements,
    ReportsRejections,
    ReportsCopies,
    ReportsNothingAtClose,
    ReportsUnderTheLock,
    TakesTwoListeners,
}

/// For each rule, what must be caught by it.
const CASES: &[(&str, &[Fault])] = &[
    (
        "each_key_shows_its_own_entry",
        &[Fault::KeysLoseTheirCase, Fault::KeysAreCut, Fault::RefusesAll],
    ),
    (
        "an_entry_comes_back_whole",
        &[Fault::DropsAttributes, Fault::DropsIdentity, Fault::ConfirmsWhatItShouldNot],
    ),
    ("a_look_up_shows_the_inserted_entry_itself", &[Fault::ShowsCopies]),
    ("memory_answers_in_peek_alone", &[Fault::AnswersInGetToo]),
    ("what_outlives_the_process_comes_back_without_a_stamp", &[Fault::KeepsStampsOnDisk]),
    ("a_peek_counts_no_use", &[Fault::PeekCountsAUse, Fault::ContainsCountsAUse]),
    ("a_peek_shows_what_is_at_hand", &[Fault::PeekShowsNothing]),
    ("contains_agrees_with_look_ups", &[Fault::ContainsSaysYes, Fault::ContainsSaysNo]),
    ("what_is_stored_at_once_is_shown", &[Fault::LosesWhatItTakesAtOnce, Fault::HandsAnotherBack]),
    ("a_closed_backend_shows_no_stamp", &[Fault::ClosesNothing, Fault::ClearsWhenClosed]),
    ("a_removed_entry_is_not_shown", &[Fault::RemovesAboveAlone, Fault::RemoveSaysNo]),
    ("after_a_clear_nothing_is_shown", &[Fault::ClearsAboveAlone]),
    ("a_replaced_entry_is_not_shown", &[Fault::KeepsTheOldEntry]),
    ("a_refused_entry_drops_the_earlier_one", &[Fault::RefusesAndKeepsTheOldEntry]),
    ("an_evicted_entry_uncovers_no_older_one", &[Fault::LeavesOldOnesBelow]),
    ("a_look_up_under_way_brings_nothing_back", &[Fault::PromotesWhatItHasRead]),
    ("an_entry_replaced_in_a_burst_is_not_shown", &[Fault::LandsBehindABurst]),
    ("what_is_read_after_a_clear_is_served_again", &[Fault::ForgetsStampsAfterAClear]),
    (
        "what_a_closed_cache_held_is_not_shown",
        &[Fault::ClearsAboveAlone, Fault::ShowsWhatWasClosed],
    ),
    (
        "a_dropped_future_has_no_later_effect",
        &[Fault::InsertsBehind, Fault::ClearsWhenCalled, Fault::InsertsWhenCalled],
    ),
    ("a_sweep_spares_what_has_not_expired", &[Fault::SweepsAll, Fault::SweepsByTheFirstDeadline]),
    ("a_sweep_drops_what_has_expired", &[Fault::SweepsNothing]),
    ("the_limits_hold_after_each_call", &[Fault::HasNoLimit, Fault::HasNoLimitOfEntries]),
    ("usage_counts_what_is_shown", &[Fault::CountsBodiesAlone, Fault::CountsReplacedTwice]),
    ("whoever_left_is_counted_once", &[Fault::ForgetsToCountEvictions]),
    ("peek_does_not_block", &[Fault::PeekWaitsForInserts, Fault::PeekPanics]),
    ("many_tasks_at_once_find_their_own", &[Fault::InsertsWhatCameLast]),
    (
        "each_entry_that_leaves_is_reported_once",
        &[
            Fault::ReportsNoExpiry,
            Fault::ReportsNoEviction,
            Fault::ReportsTwice,
            Fault::ReportsRemovals,
            Fault::ReportsReplacements,
            Fault::ReportsRejections,
            Fault::ReportsCopies,
            Fault::ReportsNothingAtClose,
            Fault::ReportsUnderTheLock,
            Fault::TakesTwoListeners,
        ],
    ),
];

#[tokio::test]
async fn for_each_rule_something_broken_is_caught() {
    for (rule, faults) in CASES {
        let checks = RULES.iter().find(|known| known.name == *rule).unwrap();
        for fault in *faults {
            let suite = suite(*fault);
            broken(rule, fault, checks.run(&suite).await);
        }
    }
}

#[tokio::test]
async fn without_a_fault_all_rules_are_kept() {
    let memory = backend::check(&suite(Fault::None)).await.unwrap();
    // What differs between memory and a disk is left out of one of them.
    let both = backend::check(&on_disk(Fault::None)).await.unwrap();
    let left_out: Vec<_> = memory.left_out().map(|(rule, _)| rule).collect();
    assert_eq!(
        left_out,
        [
            "what_outlives_the_process_comes_back_without_a_stamp",
            "a_closed_backend_keeps_to_its_word"
        ]
    );
    let mut all = both;
    all.rules.extend(memory.rules);
    let of_tiers = crate::tiers::CASES.iter().map(|(rule, _)| *rule);
    covered(&all, CASES.iter().map(|(rule, _)| *rule).chain(of_tiers));
}

/// Each ends the check, whatever rule it meets first.
#[tokio::test]
async fn a_call_that_does_not_end_or_ends_badly_is_reported_as_such() {
    for (fault, said) in [
        (Fault::InsertNeverReturns, "did not return within 1s: it waits, and nobody wakes it"),
        (Fault::InsertSpins, "times and asks to be polled again and again"),
        (
            Fault::InsertBlocks,
            "10 bytes did not return within 1s: it blocks its thread; look for a lock",
        ),
        (Fault::PeekBlocks, "`get_now(\"a\")` did not return within 1s: it blocks its thread"),
        (Fault::DropBlocks, "no call was open, and yet the rule did not end within 1s"),
        (Fault::InsertPanics, "panicked: told to"),
        (Fault::InsertFails, "declares `fails`"),
        (Fault::RefusesAll, "declares `refuses`"),
        (Fault::DropPanics, "something that was dropped panicked: told to"),
        (Fault::HasNoRoom, "was refused (TooLarge)"),
    ] {
        let broken = backend::check(&suite(fault)).await.unwrap_err();
        println!("{broken}");
        assert!(broken.what.contains(said), "{broken}");
    }
}

#[tokio::test]
async fn whatever_usage_says_no_rule_panics() {
    for fault in [Fault::UsageIsAbsurd, Fault::HasNoRoom] {
        for can in
            [memory(), memory().forgets().max_entries(u64::MAX), memory().refuses().max_entries(0)]
        {
            let suite = opening(fault, can);
            for rule in RULES {
                // Whatever comes of it: one with no room at all, that may forget, keeps them all.
                let _ = rule.run(&suite).await;
            }
        }
    }
}

#[tokio::test]
async fn what_is_declared_is_not_held_against_a_backend() {
    for (fault, can) in [
        (Fault::InsertFails, memory().fails()),
        (Fault::RefusesAll, memory().refuses()),
        (Fault::RefusesAll, memory().forgets()),
        (Fault::AnswersInGetToo, memory().waits()),
    ] {
        backend::check(&opening(fault, can)).await.unwrap();
    }
}

fn suite(fault: Fault) -> Suite {
    match fault {
        Fault::KeepsStampsOnDisk | Fault::ClearsWhenClosed => on_disk(fault),
        // Two tiers show the difference.
        Fault::RemovesAboveAlone
        | Fault::ClearsAboveAlone
        | Fault::LeavesOldOnesBelow
        | Fault::PromotesWhatItHasRead => opening(fault, memory().waits()),
        _ => opening(fault, memory()),
    }
}

fn memory() -> Capabilities {
    Capabilities::new().sweeps().max_entries(ENTRIES_MAX as u64)
}

fn on_disk(fault: Fault) -> Suite {
    let can = memory().waits().outlives_the_process();
    opening_at(fault, can, true)
}

fn opening(fault: Fault, can: Capabilities) -> Suite {
    opening_at(fault, can, false)
}

fn opening_at(fault: Fault, can: Capabilities, outlives: bool) -> Suite {
    let media: Mutex<HashMap<u64, Arc<Mutex<State>>>> = Mutex::default();
    let suite = Suite::new(can, move |number| {
        let mut media = media.lock().unwrap();
        let medium = Arc::clone(media.entry(number).or_default());
        medium.lock().unwrap().reopen(fault);
        let tiers = Tiers {
            fault,
            outlives,
            state: medium,
            inserting: Default::default(),
            listener: Default::default(),
        };
        async move { Arc::new(tiers) as Arc<dyn Backend> }
    });
    match fault {
        Fault::InsertNeverReturns
        | Fault::InsertSpins
        | Fault::InsertBlocks
        | Fault::PeekBlocks
        | Fault::DropBlocks
        | Fault::PeekWaitsForInserts
        | Fault::ReportsUnderTheLock => suite.patience(SHORT),
        _ => suite,
    }
}

struct Tiers {
    fault: Fault,
    outlives: bool,
    state: Arc<Mutex<State>>,
    inserting: tokio::sync::Mutex<()>,
    listener: OnceLock<EvictionListener>,
}

/// First in, first out, from the upper tier into the lower one, and out of that.
#[derive(Default)]
struct State {
    upper: HashMap<String, Entry>,
    lower: HashMap<String, Entry>,
    order: VecDeque<String>,
    lower_order: VecDeque<String>,
    deadlines: HashMap<String, Moment>,
    last: Option<Entry>,
    is_busy: bool,
    queued: Vec<Entry>,
    was_cleared: bool,
    miscount: u64,
    evicted: u64,
    expired: u64,
    refused: u64,
    /// Evicted or expired, and not reported yet.
    left: Vec<Entry>,
}

const CAPACITY: u64 = 1 << 20;
const ENTRIES_MAX: usize = 60;
const UPPER_MAX: usize = 15;

impl Drop for Tiers {
    fn drop(&mut self) {
        assert!(!self.is(Fault::DropPanics) || std::thread::panicking(), "told to");
        if self.is(Fault::DropBlocks) {
            block();
        }
    }
}

impl Tiers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn capacity(&self) -> u64 {
        if self.is(Fault::HasNoRoom) { 0 } else { CAPACITY }
    }

    fn named(&self, key: &str) -> String {
        match self.fault {
            Fault::KeysLoseTheirCase => key.to_lowercase(),
            Fault::KeysAreCut => key.chars().take(255).collect(),
            _ => key.to_owned(),
        }
    }

    fn shown(&self, entry: Entry) -> Entry {
        let key = Key::parse(entry.key()).unwrap();
        let copy = Entry::builder(&key, entry.body().clone())
            .version(entry.version())
            .namespace(entry.namespace());
        match self.fault {
            Fault::DropsAttributes => copy.storability(entry.storability()).build(),
            Fault::DropsIdentity => {
                let copy = copy.namespace(None).storability(entry.storability());
                copy.attributes(entry.attributes().clone()).build()
            }
            Fault::ConfirmsWhatItShouldNot => copy
                .storability(Storability::Revalidatable)
                .attributes(entry.attributes().clone())
                .build(),
            Fault::ForgetsStampsAfterAClear if self.state().was_cleared => {
                copy.storability(entry.storability()).attributes(entry.attributes().clone()).build()
            }
            Fault::ShowsCopies => {
                let copy =
                    copy.storability(entry.storability()).attributes(entry.attributes().clone());
                match entry.validated_at() {
                    Some(at) => copy.validated(at, None).build(),
                    None => copy.build(),
                }
            }
            _ => entry,
        }
    }

    fn put(&self, entry: Entry) -> Admission {
        let key = self.named(entry.key());
        let mut state = self.state();
        if self.is(Fault::RefusesAll) {
            state.take(&key, self.fault);
            state.refused += 1;
            return Admission::Rejected(Rejection::Policy);
        }
        if entry.weight() > self.capacity() && !self.is(Fault::HasNoLimit) {
            state.refused += 1;
            if !self.is(Fault::RefusesAndKeepsTheOldEntry) {
                state.take(&key, self.fault);
            }
            if self.is(Fault::ReportsRejections) {
                state.left.push(entry);
            }
            return Admission::Rejected(Rejection::TooLarge);
        }
        if self.is(Fault::KeepsTheOldEntry) && state.upper.contains_key(&key) {
            return Admission::Stored;
        }
        let replaced = match self.fault {
            Fault::LeavesOldOnesBelow => state.upper.remove(&key),
            _ => state.take(&key, Fault::None),
        };
        if self.is(Fault::ReportsReplacements) {
            state.left.extend(replaced.clone());
        }
        if self.is(Fault::CountsReplacedTwice) && replaced.is_some() {
            state.miscount += 1;
        }
        match entry.expires_at() {
            Some(at) => state.deadlines.insert(key.clone(), at),
            None => state.deadlines.remove(&key),
        };
        state.order.retain(|held| *held != key);
        state.order.push_back(key.clone());
        state.upper.insert(key, entry);
        state.shrink(self.fault);
        Admission::Stored
    }

    /// Reports what has left since the last report.
    fn report(&self) {
        let mut state = self.state();
        let left = std::mem::take(&mut state.left);
        let _locked = if self.is(Fault::ReportsUnderTheLock) {
            Some(state)
        } else {
            drop(state);
            None
        };
        let Some(listener) = self.listener.get() else { return };
        for entry in left {
            if self.is(Fault::ReportsTwice) {
                listener(entry.clone());
            }
            listener(if self.is(Fault::ReportsCopies) { rebuilt(&entry) } else { entry });
        }
    }

    async fn inserted(&self, entry: Entry) -> Result<Admission> {
        match self.fault {
            Fault::InsertNeverReturns => pending().await,
            Fault::InsertSpins => loop {
                yield_now().await;
            },
            Fault::InsertBlocks => block(),
            Fault::InsertPanics => panic!("told to"),
            Fault::InsertFails => {
                self.state().take(entry.key(), Fault::None);
                return Err(Error::new(ErrorKind::Backend, "told to"));
            }
            Fault::InsertsWhatCameLast => {
                self.state().last = Some(entry);
                yield_now().await;
                let last = self.state().last.clone().unwrap();
                return Ok(self.put(last));
            }
            Fault::InsertsBehind => {
                let state = Arc::clone(&self.state);
                let (fault, outlives) = (self.fault, self.outlives);
                let (inserting, listener) = (Default::default(), Default::default());
                let behind = Self { fault, outlives, state, inserting, listener };
                let task = tokio::spawn(async move {
                    yield_now().await;
                    yield_now().await;
                    behind.put(entry)
                });
                return Ok(task.await.unwrap());
            }
            Fault::LandsBehindABurst => {
                let is_busy = std::mem::replace(&mut self.state().is_busy, true);
                if is_busy && !self.state().upper.contains_key(entry.key()) {
                    // Shown at once, and written when the queue has been worked off.
                    self.state().queued.push(entry.clone());
                    return Ok(self.put(entry));
                }
                let admission = self.put(entry);
                yield_now().await;
                yield_now().await;
                let queued = std::mem::take(&mut self.state().queued);
                for entry in queued {
                    let _ = self.put(entry);
                }
                self.state().is_busy = false;
                return Ok(admission);
            }
            Fault::PeekWaitsForInserts => {
                let _inserting = self.inserting.lock().await;
                yield_now().await;
                return Ok(self.put(entry));
            }
            _ => {}
        }
        Ok(self.put(entry))
    }
}

impl State {
    fn reopen(&mut self, fault: Fault) {
        if fault == Fault::KeepsStampsOnDisk {
            return;
        }
        for entry in self.upper.values_mut().chain(self.lower.values_mut()) {
            let key = Key::parse(entry.key()).unwrap();
            let copy = Entry::builder(&key, entry.body().clone()).version(entry.version());
            let copy = copy.storability(entry.storability()).namespace(entry.namespace());
            *entry = copy.attributes(entry.attributes().clone()).build();
        }
    }

    /// Shows an entry, and keeps it from leaving the upper tier next.
    fn used(&mut self, key: &str) -> Option<Entry> {
        if self.upper.contains_key(key) {
            self.order.retain(|held| held != key);
            self.order.push_back(key.to_owned());
        }
        self.look_up(key)
    }

    fn look_up(&self, key: &str) -> Option<Entry> {
        self.upper.get(key).or_else(|| self.lower.get(key)).cloned()
    }

    /// Takes the entry out of both tiers.
    fn take(&mut self, key: &str, fault: Fault) -> Option<Entry> {
        let above = self.upper.remove(key);
        if fault == Fault::RemovesAboveAlone {
            return above;
        }
        let below = self.lower.remove(key);
        above.or(below)
    }

    fn held(&self) -> impl Iterator<Item = &Entry> {
        self.upper.values().chain(self.lower.values())
    }

    fn is_over(&self, fault: Fault) -> bool {
        let n = self.upper.len() + self.lower.len();
        let bytes: u64 = self.held().map(Entry::weight).sum();
        bytes > CAPACITY && fault != Fault::HasNoLimit
            || n > ENTRIES_MAX && fault != Fault::HasNoLimitOfEntries
    }

    fn shrink(&mut self, fault: Fault) {
        while self.is_over(fault) || self.upper.len() > UPPER_MAX {
            if self.upper.len() > UPPER_MAX || self.lower.is_empty() {
                // What was removed meanwhile may still stand in the order.
                let Some(first) = self.order.pop_front() else { break };
                let Some(entry) = self.upper.remove(&first) else { continue };
                self.lower_order.push_back(first.clone());
                // Saves a write, where the key is below already.
                if fault != Fault::LeavesOldOnesBelow || !self.lower.contains_key(&first) {
                    self.lower.insert(first, entry);
                }
            } else {
                let Some(first) = self.lower_order.pop_front() else { break };
                let Some(entry) = self.lower.remove(&first) else { continue };
                if fault != Fault::ForgetsToCountEvictions {
                    self.evicted += 1;
                }
                if fault != Fault::ReportsNoEviction {
                    self.left.push(entry);
                }
            }
        }
    }
}

/// The same entry, as another handle.
fn rebuilt(entry: &Entry) -> Entry {
    let key = Key::parse(entry.key()).unwrap();
    Entry::builder(&key, entry.body().clone()).version(entry.version()).build()
}

#[async_trait]
impl Backend for Tiers {
    fn get_now(&self, key: &str) -> Option<Entry> {
        let key = self.named(key);
        // The insert would go on, on this very thread.
        if self.is(Fault::PeekWaitsForInserts) && self.inserting.try_lock().is_err() {
            block();
        }
        assert!(!self.is(Fault::PeekPanics), "told to");
        if self.is(Fault::PeekBlocks) {
            block();
        }
        match self.fault {
            // As a tier that waits: what is below is not at hand.
            Fault::RemovesAboveAlone
            | Fault::ClearsAboveAlone
            | Fault::LeavesOldOnesBelow
            | Fault::PromotesWhatItHasRead => self.state().upper.get(&key).cloned(),
            _ => {
                let shown = self.state().used(&key);
                shown.map(|entry| self.shown(entry))
            }
        }
    }

    fn peek(&self, key: &str) -> Option<Entry> {
        match self.fault {
            Fault::None
            | Fault::ContainsCountsAUse
            | Fault::InsertFails
            | Fault::RefusesAll
            | Fault::AnswersInGetToo => self.state().look_up(&self.named(key)),
            Fault::PeekShowsNothing => None,
            _ => self.get_now(key),
        }
    }

    fn contains(&self, key: &str) -> Option<bool> {
        let key = self.named(key);
        Some(match self.fault {
            Fault::ContainsSaysYes => true,
            Fault::ContainsSaysNo => false,
            Fault::ContainsCountsAUse => self.state().used(&key).is_some(),
            _ => self.state().look_up(&key).is_some(),
        })
    }

    fn insert_now(&self, entry: Entry) -> Result<Admission, Entry> {
        match self.fault {
            Fault::None => {
                let admission = self.put(entry);
                self.report();
                Ok(admission)
            }
            Fault::LosesWhatItTakesAtOnce => Ok(Admission::Stored),
            Fault::HandsAnotherBack => {
                let key = Key::parse(entry.key()).unwrap();
                Err(Entry::builder(&key, entry.body().clone()).build())
            }
            _ => Err(entry),
        }
    }

    fn close<'a, 'f>(&'a self) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'f>>
    where
        'a: 'f,
    {
        match self.fault {
            Fault::ClosesNothing => Box::pin(ready(Ok(()))),
            Fault::ClearsWhenClosed => self.clear(),
            _ if self.outlives => Box::pin(async {
                self.state().reopen(Fault::None);
                Ok(())
            }),
            _ => Box::pin(async {
                if !self.is(Fault::ReportsNothingAtClose) {
                    let mut state = self.state();
                    let all: Vec<_> = state.held().cloned().collect();
                    state.left.extend(all);
                }
                self.clear().await?;
                self.report();
                Ok(())
            }),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        Ok(match self.fault {
            Fault::AnswersInGetToo => self.state().look_up(key),
            Fault::RemovesAboveAlone | Fault::ClearsAboveAlone | Fault::LeavesOldOnesBelow => {
                self.state().lower.get(key).cloned()
            }
            Fault::PromotesWhatItHasRead => {
                let read = self.state().lower.get(key).cloned();
                // It is read from a slow medium, and then moved into memory.
                yield_now().await;
                if let Some(entry) = read.clone() {
                    let mut state = self.state();
                    state.lower.remove(key);
                    state.upper.insert(key.to_owned(), entry);
                }
                read
            }
            _ => None,
        })
    }

    fn insert<'a, 'f>(
        &'a self,
        entry: Entry,
    ) -> Pin<Box<dyn Future<Output = Result<Admission>> + Send + 'f>>
    where
        'a: 'f,
    {
        if self.is(Fault::InsertsWhenCalled) {
            return Box::pin(ready(Ok(self.put(entry))));
        }
        Box::pin(async {
            let admission = self.inserted(entry).await;
            self.report();
            admission
        })
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        let key = self.named(key);
        let taken = self.state().take(&key, self.fault);
        let removed = taken.is_some();
        if self.is(Fault::ReportsRemovals) {
            self.state().left.extend(taken);
            self.report();
        }
        Ok(removed && !self.is(Fault::RemoveSaysNo))
    }

    fn on_eviction(&self, listener: EvictionListener) -> bool {
        self.listener.set(listener).is_ok() || self.is(Fault::TakesTwoListeners)
    }

    fn clear<'a, 'f>(&'a self) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'f>>
    where
        'a: 'f,
    {
        let clear = || {
            let mut state = self.state();
            state.was_cleared = true;
            if self.is(Fault::ShowsWhatWasClosed) {
                // It is freed later, and until then hidden by the number of the clear; which nobody
                // looks at.
                state.upper.retain(|key, _| key == "a/b");
            } else {
                state.upper.clear();
            }
            if !self.is(Fault::ClearsAboveAlone) {
                state.lower.clear();
            }
        };
        if self.is(Fault::ClearsWhenCalled) {
            clear();
        }
        Box::pin(async move {
            clear();
            Ok(())
        })
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        let mut state = self.state();
        let expired: Vec<String> = match self.fault {
            Fault::SweepsNothing => Vec::new(),
            Fault::SweepsAll => state.upper.keys().chain(state.lower.keys()).cloned().collect(),
            Fault::SweepsByTheFirstDeadline => state
                .deadlines
                .iter()
                .filter(|(_, at)| **at <= now)
                .map(|(key, _)| key.clone())
                .collect(),
            _ => {
                let expired =
                    state.held().filter(|entry| entry.expires_at().is_some_and(|at| at <= now));
                expired.map(|entry| self.named(entry.key())).collect()
            }
        };
        for key in expired {
            let taken = state.take(&key, Fault::None);
            state.expired += u64::from(taken.is_some());
            if !self.is(Fault::ReportsNoExpiry) {
                state.left.extend(taken);
            }
        }
        drop(state);
        self.report();
        Ok(())
    }

    fn usage(&self) -> Usage {
        if self.is(Fault::UsageIsAbsurd) {
            let (entries, bytes, evicted, expired, refused) =
                (u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX);
            let (capacity_bytes, capacity_entries) = (Some(0), Some(0));
            return Usage::new(entries, bytes)
                .with_capacity_bytes(capacity_bytes)
                .with_capacity_entries(capacity_entries)
                .with_evicted(evicted)
                .with_expired(expired)
                .with_rejected(refused);
        }
        let state = self.state();
        let bytes = state.held().map(|entry| match self.fault {
            Fault::CountsBodiesAlone => entry.body().len() as u64,
            _ => entry.weight(),
        });
        Usage::new((state.upper.len() + state.lower.len()) as u64 + state.miscount, bytes.sum())
            .with_capacity_bytes(Some(self.capacity()))
            .with_capacity_entries(Some(ENTRIES_MAX as u64))
            .with_evicted(state.evicted)
            .with_expired(state.expired)
            .with_rejected(state.refused)
    }
}
