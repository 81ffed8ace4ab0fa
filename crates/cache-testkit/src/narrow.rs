//! To which requests a fault happens.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::random::Random;

/// What a fault asks of a request `R` before it happens to it. By default nothing.
pub(crate) struct Narrow<R> {
    conditions: Vec<Condition<R>>,
    uses_left: AtomicUsize,
}

impl<R> Narrow<R> {
    pub(crate) fn times(mut self, n: usize) -> Self {
        self.uses_left = AtomicUsize::new(n);
        self
    }

    pub(crate) fn when(mut self, condition: impl Fn(&R) -> bool + Send + Sync + 'static) -> Self {
        self.conditions.push(Box::new(condition));
        self
    }

    pub(crate) fn one_in(self, n: u64, seed: u64) -> Self {
        let random = Random::new(seed);
        self.when(move |_| random.below(n.max(1)) == 0)
    }

    /// Whether the fault happens to `request`. Counts one use if so.
    pub(crate) fn take(&self, request: &R) -> bool {
        let less = |uses: usize| if uses == ALWAYS { Some(ALWAYS) } else { uses.checked_sub(1) };
        self.conditions.iter().all(|holds| holds(request))
            && self.uses_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

impl<R> Default for Narrow<R> {
    fn default() -> Self {
        Self { conditions: Vec::new(), uses_left: AtomicUsize::new(ALWAYS) }
    }
}

impl<R> fmt::Debug for Narrow<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uses_left = self.uses_left.load(Ordering::Relaxed);
        f.debug_struct("Narrow")
            .field("conditions", &self.conditions.len())
            .field("uses_left", &(uses_left != ALWAYS).then_some(uses_left))
            .finish()
    }
}

/// The methods that narrow a fault down, for each kind of fault the same. It has its [`Narrow`] in
/// a field `narrow`, and its requests say their `operation`.
macro_rules! narrowing_methods {
    ($request:ty, $operation:ty) => {
        /// Happens to one request.
        pub fn once(self) -> Self {
            self.times(1)
        }

        /// Happens to the next `n` requests for which all conditions hold. Zero: to none.
        pub fn times(mut self, n: usize) -> Self {
            self.narrow = self.narrow.times(n);
            self
        }

        /// Happens only to requests for which `condition` holds, and all other conditions do. The
        /// conditions are asked in the order in which they were added, until one does not hold.
        pub fn when(
            mut self,
            condition: impl Fn(&$request) -> bool + Send + Sync + 'static,
        ) -> Self {
            self.narrow = self.narrow.when(condition);
            self
        }

        /// Happens only to requests for `operation`.
        pub fn on(self, operation: $operation) -> Self {
            self.when(move |request| request.operation == operation)
        }

        /// Happens to about one in `n` of the requests for which all conditions so far hold; `seed`
        /// says to which of them, by the order in which they come. Zero is taken for one.
        pub fn one_in(mut self, n: u64, seed: u64) -> Self {
            self.narrow = self.narrow.one_in(n, seed);
            self
        }
    };
}
pub(crate) use narrowing_methods;

type Condition<R> = Box<dyn Fn(&R) -> bool + Send + Sync>;

const ALWAYS: usize = usize::MAX;
