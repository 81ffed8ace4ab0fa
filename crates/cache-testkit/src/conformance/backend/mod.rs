//! The contract of [`Backend`], sentence by sentence.
//!
//! A rule opens a backend of its own, or several, calls it as `ReadThrough` would, and looks. After
//! each call a rule expects what the backend has declared: see [`Capabilities`].
//!
//! What no suite can see from outside: that `get_now` reads no clock, and counts as one use of the
//! entry. And a backend that holds nothing keeps every rule but those that want what was inserted
//! back; see [`Capabilities::forgets`].

mod begun;
mod counted;
mod evictions;
mod gone;
mod looks;
mod many;
mod probe;
mod shown;
mod stamps;
mod walk;

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::Backend;
use futures_util::future::BoxFuture;

use self::probe::Probe;
pub use self::{
    begun::{
        a_look_up_under_way_brings_nothing_back, an_entry_replaced_in_a_burst_is_not_shown,
        what_a_closed_cache_held_is_not_shown, what_is_read_after_a_clear_is_served_again,
    },
    counted::{
        a_sweep_drops_what_has_expired, a_sweep_spares_what_has_not_expired,
        the_limits_hold_after_each_call, usage_counts_what_is_shown, whoever_left_is_counted_once,
    },
    evictions::{a_closed_backend_keeps_to_its_word, each_entry_that_leaves_is_reported_once},
    gone::{
        a_dropped_future_has_no_later_effect, a_refused_entry_drops_the_earlier_one,
        a_removed_entry_is_not_shown, a_replaced_entry_is_not_shown,
        after_a_clear_nothing_is_shown, an_evicted_entry_uncovers_no_older_one,
    },
    looks::{
        a_closed_backend_shows_no_stamp, a_peek_counts_no_use, a_peek_shows_what_is_at_hand,
        contains_agrees_with_look_ups, what_is_stored_at_once_is_shown,
    },
    many::{many_tasks_at_once_find_their_own, peek_does_not_block},
    shown::{
        a_look_up_shows_the_inserted_entry_itself, an_entry_comes_back_whole,
        each_key_shows_its_own_entry, memory_answers_in_peek_alone,
        what_outlives_the_process_comes_back_without_a_stamp,
    },
    stamps::{
        a_mark_is_never_lost, a_renewal_of_a_replaced_entry_renews_nothing,
        a_stamp_is_as_the_last_call_left_it,
    },
};
use super::{
    Broken, Fault, Outcome, PATIENCE, Report, Rule, bounds::Calls, check_all, checked, rules,
};

/// All rules, in the order in which [`check`] goes through them.
pub const RULES: &[Rule<Suite>] = rules![
    each_key_shows_its_own_entry,
    an_entry_comes_back_whole,
    a_look_up_shows_the_inserted_entry_itself,
    memory_answers_in_peek_alone,
    what_outlives_the_process_comes_back_without_a_stamp,
    a_peek_counts_no_use,
    a_peek_shows_what_is_at_hand,
    contains_agrees_with_look_ups,
    what_is_stored_at_once_is_shown,
    a_removed_entry_is_not_shown,
    after_a_clear_nothing_is_shown,
    a_replaced_entry_is_not_shown,
    a_refused_entry_drops_the_earlier_one,
    an_evicted_entry_uncovers_no_older_one,
    a_look_up_under_way_brings_nothing_back,
    an_entry_replaced_in_a_burst_is_not_shown,
    what_is_read_after_a_clear_is_served_again,
    what_a_closed_cache_held_is_not_shown,
    a_closed_backend_shows_no_stamp,
    a_closed_backend_keeps_to_its_word,
    a_mark_is_never_lost,
    a_stamp_is_as_the_last_call_left_it,
    a_renewal_of_a_replaced_entry_renews_nothing,
    each_entry_that_leaves_is_reported_once,
    a_dropped_future_has_no_later_effect,
    a_sweep_spares_what_has_not_expired,
    a_sweep_drops_what_has_expired,
    the_limits_hold_after_each_call,
    usage_counts_what_is_shown,
    whoever_left_is_counted_once,
    peek_does_not_block,
    many_tasks_at_once_find_their_own,
];

/// Checks all rules.
///
/// # Errors
///
/// [`Broken`], with all that are broken.
pub async fn check(suite: &Suite) -> Result<Report, Broken> {
    check_all(suite, RULES).await
}

/// What a backend can do, and what it cannot help. The default is the strictest: memory that holds
/// what it stored, never fails, and never looks at deadlines.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Capabilities {
    waits: bool,
    fails: bool,
    refuses: bool,
    forgets: bool,
    sweeps: bool,
    outlives: bool,
    max_entries: Option<u64>,
}

impl Capabilities {
    /// Those of plain memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// `get` may show what `get_now` did not: a disk, a remote cache. Otherwise `get` shows
    /// nothing.
    pub fn waits(mut self) -> Self {
        self.waits = true;
        self
    }

    /// Calls may end in an error. Otherwise an error breaks the rule.
    pub fn fails(mut self) -> Self {
        self.fails = true;
        self
    }

    /// An entry may be refused although there is room for it. Not for refusing somebody when it is
    /// full: every backend may do that.
    pub fn refuses(mut self) -> Self {
        self.refuses = true;
        self
    }

    /// An entry that was stored may leave at any time, uncounted. Then nothing shows whether
    /// anything is held at all.
    pub fn forgets(mut self) -> Self {
        self.forgets = true;
        self
    }

    /// `sweep` drops all that has expired. Otherwise it need not find any of it.
    pub fn sweeps(mut self) -> Self {
        self.sweeps = true;
        self
    }

    /// Entries are found again after the backend was dropped: opened again under its number, it
    /// shows what it held.
    pub fn outlives_the_process(mut self) -> Self {
        self.outlives = true;
        self
    }

    /// The most entries that are held, if there is such a limit: between 40 and 5,000, or it is not
    /// reached. What limits the bytes, `usage` says itself.
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.max_entries = Some(entries);
        self
    }

    /// Whether all that was stored is shown while there is room.
    fn holds(&self) -> bool {
        !(self.fails || self.refuses || self.forgets)
    }
}

/// A kind of backend under test.
#[derive(Clone)]
pub struct Suite {
    open: Arc<Open>,
    can: Capabilities,
    n_opened: Arc<AtomicU64>,
    patience: Duration,
    calls: Calls,
}

type Open = dyn Fn(u64) -> BoxFuture<'static, Arc<dyn Backend>> + Send + Sync;

impl Suite {
    /// Backends that `open` opens. Each number that it is called with stands for a medium of its
    /// own, which is empty the first time: memory ignores the number, what lives on disk makes a
    /// folder's name of it. A number comes again only if the backend [outlives the
    /// process](Capabilities::outlives_the_process).
    ///
    /// Open them small: some rules fill a backend, and leave one alone whose capacity is more than
    /// 16 MiB. Right are 1 MiB and, where entries are limited, 50; it must have room for 40
    /// entries, and for a body of 256 KiB.
    pub fn new<F>(
        capabilities: Capabilities,
        open: impl Fn(u64) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Arc<dyn Backend>> + Send + 'static,
    {
        let open = Arc::new(move |number| Box::pin(open(number)) as BoxFuture<'static, _>);
        let (n_opened, calls) = (Arc::default(), Calls::new());
        Self { open, can: capabilities, n_opened, patience: PATIENCE, calls }
    }

    /// How long a rule may make no progress before it is given up, and what it waits for is
    /// reported. Default: [`PATIENCE`]. Zero gives up what does not come at once.
    #[must_use]
    pub fn patience(mut self, span: Duration) -> Self {
        self.patience = span;
        self
    }

    /// A backend on a medium that nobody has seen.
    async fn open(&self) -> Result<Probe, Fault> {
        self.open_at(self.number()).await
    }

    fn number(&self) -> u64 {
        self.n_opened.fetch_add(1, Ordering::Relaxed)
    }

    async fn open_at(&self, number: u64) -> Result<Probe, Fault> {
        let backend = self.calls.answered("opening the backend", || (self.open)(number)).await?;
        Ok(Probe::new(backend, self.can.clone(), self.calls.clone()))
    }

    /// What became of `rule`, as `checking` finds it.
    async fn checked(
        &self,
        rule: &'static str,
        checking: impl AsyncFnOnce(&Self) -> Result<Outcome, Fault> + Send + 'static,
    ) -> Result<Outcome, Broken> {
        let suite = Self { calls: Calls::new(), ..self.clone() };
        let calls = suite.calls.clone();
        checked(rule, self.patience, calls, 1, async move || checking(&suite).await).await
    }

    /// What became of `rule`, in which `checking` finds nothing or a fault.
    async fn kept(
        &self,
        rule: &'static str,
        checking: impl AsyncFnOnce(&Self) -> Result<(), Fault> + Send + 'static,
    ) -> Result<Outcome, Broken> {
        self.checked(rule, async move |suite| checking(suite).await.map(|()| Outcome::Kept)).await
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("can", &self.can).finish_non_exhaustive()
    }
}
