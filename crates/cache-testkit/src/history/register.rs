//! Whether a history of one register is linearizable.
//!
//! Wing and Gong's search [1] with Lowe's memory of what was tried [2]: some operation that no
//! other precedes must have taken effect first; try each, and never come twice to the same set of
//! operations with the same value. An operation without effect that may come first now is taken at
//! once: later it can only be in the way.
//!
//! [1] Wing, Gong, "Testing and verifying concurrent objects", J. Parallel Distrib. Comput. 17
//! (1993). [2] Lowe, "Testing for linearizability", Concurrency Computat. Pract. Exper. 29 (2017).

use std::collections::HashSet;

/// An operation on a register that holds a value or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// What it did.
    pub effect: Effect,
    /// When it was called.
    pub begun: u64,
    /// When it returned. `None`: its outcome is unknown. It may take effect at any time after
    /// `begun`, or never.
    pub ended: Option<u64>,
}

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It read this.
    Read(Option<u64>),
    /// It wrote this, and found what it needs.
    Write(Option<u64>, Needs),
    /// It did not write, because it did not find what it needs.
    Refused(Needs),
}

/// What a conditional write must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Anything or nothing.
    Nothing,
    /// Nothing there.
    Absent,
    /// This value.
    Value(u64),
    /// What never is there: a tag that names no state.
    Impossible,
}

impl Needs {
    /// Whether the register is as needed.
    pub fn are_met_by(self, register: Option<u64>) -> bool {
        match self {
            Self::Nothing => true,
            Self::Absent => register.is_none(),
            Self::Value(value) => register == Some(value),
            Self::Impossible => false,
        }
    }
}

impl Effect {
    /// What the register holds after the operation; `None` if it cannot have taken effect now.
    fn apply(self, register: Option<u64>) -> Option<Option<u64>> {
        match self {
            Self::Read(value) => (value == register).then_some(register),
            Self::Write(value, needs) => needs.are_met_by(register).then_some(value),
            Self::Refused(needs) => (!needs.are_met_by(register)).then_some(register),
        }
    }

    fn is_write(self) -> bool {
        matches!(self, Self::Write(..))
    }
}

/// Whether there is an order of the operations, each at some moment between its call and its
/// return, in which each could have done what it did, on a register that holds `initial` at first.
///
/// Exponential in the number of operations that overlap, unknown outcomes among them.
pub fn is_linearizable(operations: &[Operation], initial: Option<u64>) -> bool {
    let mut order: Vec<_> = operations.to_vec();
    // What must take effect soonest is tried first, what need not at all last.
    order.sort_by_key(|operation| (operation.ended.unwrap_or(u64::MAX), operation.begun));
    let taken = vec![0; order.len().div_ceil(64)].into_boxed_slice();
    Search { operations: &order, tried: HashSet::new() }.goes_on(&taken, initial)
}

/// Of `operations` that are not linearizable, as few as are needed to show it. Writes of what is
/// read are kept.
pub(super) fn smallest_contradiction(operations: &[Operation], initial: Option<u64>) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..operations.len()).collect();
    loop {
        let may_go = |&at: &usize| {
            let rest =
                kept.iter().filter(|&&other| other != at).map(|&other| operations[other].effect);
            match operations[at].effect {
                Effect::Write(value, _) => {
                    // Without it, what others found would have another explanation, or none.
                    rest.clone().all(|other| {
                        matches!(other, Effect::Read(seen) if seen != value)
                            || matches!(other, Effect::Write(_, Needs::Nothing))
                    })
                }
                _ => true,
            }
        };
        let is_shown_by = |without: usize| {
            let rest: Vec<_> =
                kept.iter().filter(|&&at| at != without).map(|&at| operations[at]).collect();
            !is_linearizable(&rest, initial)
        };
        match kept.iter().copied().find(|at| may_go(at) && is_shown_by(*at)) {
            Some(superfluous) => kept.retain(|&at| at != superfluous),
            None => return kept,
        }
    }
}

struct Search<'a> {
    operations: &'a [Operation],
    tried: HashSet<(Box<[u64]>, Option<u64>)>,
}

impl Search<'_> {
    /// Whether what is not `taken` can take effect from here on.
    fn goes_on(&mut self, taken: &[u64], register: Option<u64>) -> bool {
        if !self.tried.insert((taken.into(), register)) {
            return false;
        }
        let operations = self.operations;
        let open = || operations.iter().enumerate().filter(|(at, _)| !contains(taken, *at));
        // What began after another had returned comes after it.
        let Some(horizon) = open().filter_map(|(_, operation)| operation.ended).min() else {
            return true;
        };
        let first = || {
            open().filter(|(_, operation)| operation.begun < horizon).filter_map(
                |(at, operation)| Some((at, operation.effect, operation.effect.apply(register)?)),
            )
        };
        if let Some((at, ..)) = first().find(|(_, effect, _)| !effect.is_write()) {
            return self.goes_on(&with(taken, at), register);
        }
        first().any(|(at, _, written)| self.goes_on(&with(taken, at), written))
    }
}

fn contains(set: &[u64], at: usize) -> bool {
    set[at / 64] & 1 << (at % 64) != 0
}

fn with(set: &[u64], at: usize) -> Box<[u64]> {
    let mut set: Box<[u64]> = set.into();
    set[at / 64] |= 1 << (at % 64);
    set
}
