//! The contract of [`EvictionPolicy`], sentence by sentence.
//!
//! A rule gives a shard's policy entries by generated steps, as a backend would, and looks at whom
//! it names.
//!
//! What no suite can see from outside: that `on_hit` neither blocks nor allocates, uses relaxed
//! atomics only, and invents no hit; that `on_update` leaves an entry's rank as it is; that
//! `victim` forgets nothing, since its caller must remove whom it names. Nor does a suite judge
//! whom a policy names, as long as it may: `cargo xtask simulate` does.

mod noted;
mod rules;
mod slots;
mod steps;

use std::{fmt, sync::Arc, time::Duration};

use cache_core::{EvictionPolicy, Limits};

use self::noted::Noted;
pub use self::{
    rules::{
        a_new_weight_takes_the_place_of_the_old, a_shard_begins_empty, hits_come_many_at_once,
        hits_may_be_lost, only_slots_in_use_are_named, only_what_has_expired_is_named_as_expired,
        somebody_is_named_while_anybody_is_held, what_has_expired_is_found,
    },
    slots::Slots,
};
use super::{
    Broken, Fault, Outcome, PATIENCE, Report,
    bounds::{Calls, on_a_thread},
};

/// All rules, in the order in which [`check`] goes through them.
pub const RULES: &[Rule] = &[
    Rule { name: "a_shard_begins_empty", run: a_shard_begins_empty },
    Rule { name: "only_slots_in_use_are_named", run: only_slots_in_use_are_named },
    Rule {
        name: "somebody_is_named_while_anybody_is_held",
        run: somebody_is_named_while_anybody_is_held,
    },
    Rule {
        name: "only_what_has_expired_is_named_as_expired",
        run: only_what_has_expired_is_named_as_expired,
    },
    Rule { name: "what_has_expired_is_found", run: what_has_expired_is_found },
    Rule {
        name: "a_new_weight_takes_the_place_of_the_old",
        run: a_new_weight_takes_the_place_of_the_old,
    },
    Rule { name: "hits_may_be_lost", run: hits_may_be_lost },
    Rule { name: "hits_come_many_at_once", run: hits_come_many_at_once },
];

/// Checks all rules.
///
/// ```
/// use cache_testkit::conformance::policy;
/// # use cache_core::{EntryInfo, EvictionPolicy, Deadlines, Limits, Moment, EvictionReason, RemovalCause, Slot};
/// # #[derive(Default)]
/// # struct Newest(Vec<Slot>);
/// # impl EvictionPolicy for Newest {
/// #     fn for_shard(&self, _: &Limits) -> Self { Self::default() }
/// #     fn on_insert(&mut self, slot: Slot, _: &EntryInfo) { self.0.push(slot) }
/// #     fn on_update(&mut self, _: Slot, _: &EntryInfo) {}
/// #     fn on_hit(&self, _: Slot) {}
/// #     fn on_remove(&mut self, slot: Slot, _: RemovalCause) { self.0.retain(|held| *held != slot) }
/// #     fn victim(&mut self, _: Moment, pressure: EvictionReason, _: &dyn Deadlines) -> Option<Slot> {
/// #         self.0.last().copied().filter(|_| pressure == EvictionReason::Capacity)
/// #     }
/// # }
///
/// let suite = policy::Suite::new(policy::Capabilities::new(), Newest::default());
/// println!("{}", policy::check(&suite)?);
/// # Ok::<(), cache_testkit::conformance::Broken>(())
/// ```
///
/// # Errors
///
/// [`Broken`], with all that are broken.
pub fn check(suite: &Suite) -> Result<Report, Broken> {
    let mut report = Report { rules: Vec::new() };
    for rule in RULES {
        report.rules.push((rule.name, rule.run(suite)?));
    }
    Ok(report)
}

/// A rule. Unlike those of the other suites it needs no runtime.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The name of the function that checks it.
    pub name: &'static str,
    run: fn(&Suite) -> Result<Outcome, Broken>,
}

impl Rule {
    /// Checks this rule alone.
    ///
    /// # Errors
    ///
    /// [`Broken`] if it is broken.
    pub fn run(&self, suite: &Suite) -> Result<Outcome, Broken> {
        (self.run)(suite)
    }
}

/// What a policy can do. The default is the least: it names nobody as expired.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct Capabilities {
    finds_expired: bool,
}

impl Capabilities {
    /// Those of a policy that knows no deadlines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Under `EvictionReason::Expired` somebody is named as long as anybody held has expired, also
    /// if renewals moved the deadline away; a deadline that was moved nearer need not be found.
    pub fn finds_expired(mut self) -> Self {
        self.finds_expired = true;
        self
    }
}

/// A policy under test.
#[derive(Clone)]
pub struct Suite {
    for_shard: Arc<ForShard>,
    can: Capabilities,
    patience: Duration,
    calls: Calls,
}

type ForShard = dyn Fn(&Limits, &Calls) -> Box<dyn EvictionPolicy> + Send + Sync;

impl Suite {
    /// The policy whose pattern this is.
    pub fn new(capabilities: Capabilities, pattern: impl EvictionPolicy) -> Self {
        let for_shard: Arc<ForShard> =
            Arc::new(move |limits, calls| Box::new(Noted::of(&pattern, limits, calls)));
        Self { for_shard, can: capabilities, patience: PATIENCE, calls: Calls::new() }
    }

    /// How long a rule may make no progress before it is given up, and what it waits for is
    /// reported. Default: [`PATIENCE`]. Zero gives up what does not come at once.
    #[must_use]
    pub fn patience(mut self, span: Duration) -> Self {
        self.patience = span;
        self
    }

    /// The policy of one shard.
    fn for_shard(&self, limits: &Limits) -> Box<dyn EvictionPolicy> {
        (self.for_shard)(limits, &self.calls)
    }

    /// What became of `rule`, as `checked` finds it on a thread of its own.
    fn rule(
        &self,
        rule: &'static str,
        checked: impl FnOnce(&Self) -> Result<(), Fault> + Send + 'static,
    ) -> Result<Outcome, Broken> {
        let suite = Self { calls: Calls::new(), ..self.clone() };
        let calls = suite.calls.clone();
        let checked =
            on_a_thread(rule, "the policy", self.patience, &calls, move || checked(&suite));
        checked
            .and_then(|found| found)
            .map(|()| Outcome::Kept)
            .map_err(|what| Broken::new(rule, what, calls.were_given_up()))
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("can", &self.can).finish_non_exhaustive()
    }
}
