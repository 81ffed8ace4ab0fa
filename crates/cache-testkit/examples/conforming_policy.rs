//! An eviction policy of one's own, and its check: whoever has the nearest deadline leaves first.
//!
//! `cargo run -p cache-testkit --example conforming_policy`

use std::collections::BTreeSet;

use cache_core::{Cost, EvictionPolicy, Held, Limits, Moment, Pressure, Removal, Slot};
use cache_testkit::conformance::{Broken, policy};

#[derive(Default)]
struct Nearest(BTreeSet<Slot>);

impl EvictionPolicy for Nearest {
    fn for_shard(&self, _limits: &Limits) -> Self {
        Self::default()
    }

    fn on_insert(&mut self, slot: Slot, _cost: &Cost) {
        self.0.insert(slot);
    }

    fn on_update(&mut self, _slot: Slot, _cost: &Cost) {}

    fn on_hit(&self, _slot: Slot) {}

    fn on_remove(&mut self, slot: Slot, _why: Removal) {
        self.0.remove(&slot);
    }

    /// Looks at every slot: fine for a few hundred.
    fn victim(&mut self, now: Moment, pressure: Pressure, held: &dyn Held) -> Option<Slot> {
        // Deadlines are asked for, not remembered: a renewal moves them and does not call the policy.
        let deadline = |slot: &Slot| held.expires_at(*slot).unwrap_or(Moment::MAX);
        let nearest = self.0.iter().copied().min_by_key(deadline)?;
        let may_leave = match pressure {
            Pressure::Full => true,
            Pressure::Expired => held.expires_at(nearest).is_some_and(|at| at <= now),
        };
        may_leave.then_some(nearest)
    }
}

fn main() -> Result<(), Broken> {
    let suite = policy::Suite::new(policy::Capabilities::new().finds_expired(), Nearest::default());
    let report = policy::check(&suite)?;
    println!("{report}");
    assert_eq!(report.left_out().count(), 0);
    Ok(())
}
