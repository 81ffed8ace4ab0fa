//! The switches of a run without keys.

use std::time::Duration;

use crate::{film::Switched, rule::Rule, world::World};

/// The remaining steps.
#[derive(Debug)]
pub(crate) struct Script {
    span: Duration,
    steps: std::slice::Iter<'static, (u32, Switched)>,
}

impl Script {
    /// The whole script, stretched to `span`.
    pub(crate) fn new(span: Duration) -> Self {
        Self { span, steps: STEPS.iter() }
    }

    /// The next step due at `at`, counted from the start.
    pub(crate) fn due(&mut self, at: Duration) -> Option<Switched> {
        let (share, what) = self.steps.as_slice().first()?;
        (at >= self.span * *share / 100).then(|| {
            self.steps.next();
            *what
        })
    }
}

/// Applies a switch.
pub(crate) fn switch(world: &World, what: Switched) {
    match what {
        Switched::Rule(rule) => world.set_rule(rule),
        Switched::OriginOff => world.bucket().set_up(false),
        Switched::OriginOn => world.bucket().set_up(true),
        Switched::BusCut => world.cut_bus(true),
        Switched::BusOn => world.cut_bus(false),
    }
}

/// Steps by percent of the run, which begins with [`Rule::Strong`].
const STEPS: &[(u32, Switched)] = &[
    (16, Switched::Rule(Rule::MaxAge)),
    (32, Switched::Rule(Rule::Notified)),
    (48, Switched::BusCut),
    (56, Switched::BusOn),
    (70, Switched::Rule(Rule::Stale)),
    (78, Switched::OriginOff),
    (90, Switched::OriginOn),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_when_they_are_due_each_once() {
        let mut script = Script::new(Duration::from_secs(10));
        let mut due = |millis| script.due(Duration::from_millis(millis));
        assert_eq!(due(0), None);
        assert_eq!(
            (due(1599), due(1600), due(1600)),
            (None, Some(Switched::Rule(Rule::MaxAge)), None)
        );
        // All that were missed, one after the other.
        assert_eq!(due(9999), Some(Switched::Rule(Rule::Notified)));
        assert_eq!((due(9999), due(9999)), (Some(Switched::BusCut), Some(Switched::BusOn)));
        assert_eq!(due(9999), Some(Switched::Rule(Rule::Stale)));
        assert_eq!((due(9999), due(9999)), (Some(Switched::OriginOff), Some(Switched::OriginOn)));
        assert_eq!(due(9999), None);
    }
}
