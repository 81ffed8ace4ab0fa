//! Histories known good, and for each rule some that break it.

use std::time::Duration;

use cache_core::{ErrorKind, Status};

use super::*;
use crate::random::Random;

fn read(value: Option<u64>, begun: u64, ended: u64) -> Operation {
    Operation { effect: Effect::Read(value), begun, ended: Some(ended) }
}

fn write(value: u64, begun: u64, ended: u64) -> Operation {
    write_if(value, Needs::Nothing, begun, Some(ended))
}

fn write_if(value: u64, needs: Needs, begun: u64, ended: Option<u64>) -> Operation {
    Operation { effect: Effect::Write(Some(value), needs), begun, ended }
}

#[test]
fn a_read_may_take_either_side_of_a_write_that_overlaps_it() {
    for seen in [None, Some(1)] {
        assert!(is_linearizable(&[write(1, 0, 10), read(seen, 5, 6)], None));
    }
}

#[test]
fn a_read_after_a_write_sees_it() {
    assert!(is_linearizable(&[write(1, 0, 10), read(Some(1), 11, 12)], None));
    assert!(!is_linearizable(&[write(1, 0, 10), read(None, 11, 12)], None));
}

#[test]
fn nobody_goes_back_behind_what_another_saw() {
    let new_then_old = [write(1, 0, 20), read(Some(1), 5, 6), read(None, 7, 8)];
    assert!(!is_linearizable(&new_then_old, None));
    // They overlap: either may be first.
    assert!(is_linearizable(&[write(1, 0, 20), read(Some(1), 5, 8), read(None, 7, 9)], None));
}

#[test]
fn what_nobody_wrote_is_not_read() {
    assert!(!is_linearizable(&[write(1, 0, 1), read(Some(2), 2, 3)], None));
    assert!(is_linearizable(&[read(Some(2), 2, 3)], Some(2)));
}

#[test]
fn a_write_whose_reply_was_lost_takes_effect_at_any_later_time_or_never() {
    let lost = write_if(1, Needs::Nothing, 0, None);
    assert!(is_linearizable(&[lost, read(None, 50, 51)], None));
    assert!(is_linearizable(&[lost, read(None, 50, 51), read(Some(1), 52, 53)], None));
    // Not before it was called, not twice, and not undone.
    assert!(!is_linearizable(&[Operation { begun: 10, ..lost }, read(Some(1), 5, 6)], None));
    assert!(!is_linearizable(&[lost, read(Some(1), 50, 51), read(None, 52, 53)], None));
    let again =
        [lost, read(Some(1), 3, 4), write(2, 5, 6), read(Some(2), 7, 8), read(Some(1), 9, 10)];
    assert!(!is_linearizable(&again, None));
}

#[test]
fn conditions_hold_where_a_write_took_effect_and_not_where_it_was_refused() {
    let absent = |value, begun, ended| write_if(value, Needs::Absent, begun, Some(ended));
    assert!(!is_linearizable(&[absent(1, 0, 10), absent(2, 5, 15)], None));
    let refused = |needs| Operation { effect: Effect::Refused(needs), begun: 5, ended: Some(15) };
    assert!(is_linearizable(&[absent(1, 0, 10), refused(Needs::Absent)], None));
    assert!(!is_linearizable(&[refused(Needs::Absent)], None));
    assert!(is_linearizable(&[refused(Needs::Impossible)], None));
    let swap = |from, to, begun| write_if(to, Needs::Value(from), begun, Some(begun + 1));
    assert!(is_linearizable(&[write(1, 0, 1), swap(1, 2, 3), swap(2, 3, 5)], None));
    assert!(!is_linearizable(&[write(1, 0, 1), swap(1, 2, 3), swap(1, 3, 5)], None));
}

#[test]
fn a_contradiction_is_shown_by_as_few_operations_as_it_takes() {
    let noise = (0..20).map(|n| write(100 + n, 30 + 2 * n, 31 + 2 * n));
    let mut history =
        vec![write(1, 0, 1), read(Some(1), 2, 3), write(2, 10, 20), read(Some(2), 12, 13)];
    history.push(read(Some(1), 14, 15));
    history.extend(noise);
    assert_eq!(register::smallest_contradiction(&history, None), [0, 2, 3, 4]);
}

/// All orders, one after the other; each subset of those with an unknown outcome.
fn is_linearizable_by_force(operations: &[Operation], register: Option<u64>) -> bool {
    if operations.iter().all(|operation| operation.ended.is_none()) {
        return true;
    }
    (0..operations.len()).any(|at| {
        let mut rest = operations.to_vec();
        let first = rest.remove(at);
        let is_preceded =
            rest.iter().any(|other| other.ended.is_some_and(|ended| ended < first.begun));
        let written = match first.effect {
            Effect::Read(seen) if seen == register => register,
            Effect::Refused(needs) if !needs.are_met_by(register) => register,
            Effect::Write(value, needs) if needs.are_met_by(register) => value,
            _ => return false,
        };
        !is_preceded && is_linearizable_by_force(&rest, written)
    })
}

#[test]
fn the_search_agrees_with_brute_force_on_small_histories() {
    let mut found = [0, 0];
    for seed in 0..20_000 {
        let random = Random::new(seed);
        let needs =
            [Needs::Nothing, Needs::Nothing, Needs::Absent, Needs::Value(1), Needs::Impossible];
        let operations: Vec<_> = (0..=random.below(6))
            .map(|_| {
                let value = [None, Some(1), Some(2)];
                let effect = match random.below(8) {
                    0..4 => Effect::Read(random.pick(&value)),
                    4 => Effect::Refused(random.pick(&needs[2..])),
                    _ => Effect::Write(random.pick(&value), random.pick(&needs)),
                };
                let begun = random.below(12);
                let ended = (!effect.is_write_like() || random.below(4) > 0)
                    .then(|| begun + 1 + random.below(6));
                // No two events at once, as in a history.
                Operation { effect, begun: 2 * begun, ended: ended.map(|ended| 2 * ended - 1) }
            })
            .collect();
        let expected = is_linearizable_by_force(&operations, None);
        assert_eq!(is_linearizable(&operations, None), expected, "seed {seed}: {operations:?}");
        found[usize::from(expected)] += 1;
    }
    assert!(found[0] > 2_000 && found[1] > 2_000, "{found:?}");
}

impl Effect {
    fn is_write_like(self) -> bool {
        matches!(self, Self::Write(..))
    }
}

/// A history of the key `k`, told call after call: each begins when the one before has ended.
#[derive(Default)]
struct Tale {
    history: History,
    ms: u64,
}

const STRONG: ReadRule = ReadRule {
    max_age: Duration::ZERO,
    stale_while_revalidate: Duration::ZERO,
    stale_if_error: Duration::ZERO,
    when_disconnected: None,
};
/// For as long as the bus tells, and else 10 ms.
const NOTIFIED: ReadRule = ReadRule {
    max_age: Duration::from_secs(60),
    when_disconnected: Some(Duration::from_millis(10)),
    ..STRONG
};
const AGED: ReadRule = ReadRule { max_age: Duration::from_millis(10), ..STRONG };
const FOREVER: ReadRule = ReadRule { max_age: Duration::MAX, ..STRONG };

impl Tale {
    fn now(&self) -> Duration {
        Duration::from_millis(self.ms)
    }

    fn later(&mut self, ms: u64) -> &mut Self {
        self.ms += ms;
        self
    }

    /// Node 9, which has no cache, writes.
    fn written_elsewhere(&mut self, value: u64) -> &mut Self {
        self.put(9, value, Outcome::Done)
    }

    fn deleted_elsewhere(&mut self) -> &mut Self {
        let now = self.now();
        let call = self.history.begin(9, "k", Act::Delete, now);
        self.history.change("k", None, now);
        self.history.end(call, Outcome::Done, now);
        self
    }

    fn put(&mut self, node: usize, value: u64, outcome: Outcome) -> &mut Self {
        let now = self.now();
        let call = self.history.begin(node, "k", Act::Put(value, Needs::Nothing), now);
        self.history.change("k", Some(value), now);
        self.history.tag("k", &format!("\"{value}\""), value);
        self.history.end(call, outcome, now);
        self
    }

    fn act(&mut self, act: Act, outcome: Outcome) -> &mut Self {
        let key = if act == Act::InvalidatePrefix { "" } else { "k" };
        let call = self.history.begin(0, key, act, self.now());
        self.history.end(call, outcome, self.now());
        self
    }

    /// Node 0 acts on what it is told.
    fn hears(&mut self, source: Source, state: usize) -> &mut Self {
        self.history.hear(0, "k", source, state, self.now());
        self
    }

    /// Node 0 listens, in milliseconds.
    fn listens(&mut self, since_until: Option<(u64, u64)>) -> &mut Self {
        let ms = Duration::from_millis;
        let since_until = since_until.map(|(since, until)| (ms(since), ms(until)));
        self.history.listen(0, since_until, self.now());
        self
    }

    fn not_found(&mut self) -> &mut Self {
        let now = self.now();
        let call = self.history.begin(0, "k", Act::Read(STRONG), now);
        let request = self.history.ask(0, "k", now);
        self.history.answer(request, None, now);
        self.history.end(call, Outcome::NotFound, now);
        self
    }

    /// Asked for, if it is not fresh.
    fn read(&mut self, rule: ReadRule, value: u64, status: Status) -> &mut Self {
        self.read_with(rule, value, status, None)
    }

    fn read_with(
        &mut self,
        rule: ReadRule,
        value: u64,
        status: Status,
        failure: Option<ErrorKind>,
    ) -> &mut Self {
        let now = self.now();
        let call = self.history.begin(0, "k", Act::Read(rule), now);
        if status != Status::Fresh {
            let request = self.history.ask(0, "k", now);
            self.history.answer(request, failure, now);
        }
        self.history.end(call, Outcome::Read(value, Some(format!("\"{value}\"")), status), now);
        self
    }

    #[track_caller]
    fn holds(&self) {
        assert_eq!(self.history.check(), Ok(()));
    }

    #[track_caller]
    fn breaks(&self, rule: Rule) -> Violation {
        let violation = self.history.check().unwrap_err();
        assert_eq!(violation.rule, rule, "{violation}");
        violation
    }
}

#[test]
fn a_history_in_which_everything_is_in_order_holds() {
    let mut tale = Tale::default();
    tale.act(Act::Read(STRONG), Outcome::Failed).written_elsewhere(1).read(
        STRONG,
        1,
        Status::Fetched,
    );
    tale.written_elsewhere(2).later(5).read(AGED, 1, Status::Fresh).read(FOREVER, 1, Status::Fresh);
    tale.put(0, 3, Outcome::Unknown).read(AGED, 3, Status::Fetched).act(Act::Expire, Outcome::Done);
    tale.later(1_000).read(FOREVER, 3, Status::Revalidated).holds();
}

#[test]
fn rule_1_a_strong_read_of_what_was_overwritten_is_not_linearizable() {
    let mut tale = Tale::default();
    tale.written_elsewhere(1).written_elsewhere(2).read(STRONG, 1, Status::Revalidated);
    let said = tale.history.strong_reads_are_linearizable().unwrap_err();
    assert_eq!(
        (said.rule, said.key.as_str(), said.events.len()),
        (Rule::Linearizable, "k", 3),
        "{said}"
    );
}

#[test]
fn rule_1_a_strong_read_that_nobody_asked_for_is_found_though_it_is_current() {
    let mut tale = Tale::default();
    tale.written_elsewhere(1).read(STRONG, 1, Status::Fetched).read(STRONG, 1, Status::Fresh);
    tale.breaks(Rule::Asked);
}

#[test]
fn rule_2_what_was_over_at_a_fence_is_not_served_after_it() {
    let fences = [
        Act::Invalidate,
        Act::Expire,
        Act::InvalidatePrefix,
        Act::Clear,
        Act::Delete,
        Act::Restart,
    ];
    for act in fences {
        for outcome in [Outcome::Done, Outcome::Failed, Outcome::Unknown] {
            let mut tale = Tale::default();
            tale.written_elsewhere(1).written_elsewhere(2).act(act, outcome).read(
                FOREVER,
                1,
                Status::Fresh,
            );
            let said = tale.breaks(Rule::NoResurrection);
            assert!(said.to_string().contains("state 1, over at"), "{said}");
        }
    }
    let mut tale = Tale::default();
    tale.written_elsewhere(1).act(Act::Clear, Outcome::Done).written_elsewhere(2).read(
        AGED,
        1,
        Status::Fresh,
    );
    tale.holds();
}

/// The fence is up and its caller woken; before the caller runs, a read is sent, answered, and out
/// of date.
#[test]
fn rule_2_a_call_takes_effect_when_its_caller_is_woken_and_not_when_it_gets_to_run() {
    let told = |wakes: &[bool]| {
        let mut tale = Tale::default();
        tale.written_elsewhere(1);
        let fence = tale.history.begin(0, "k", Act::Expire, tale.now());
        for is_last in wakes {
            tale.history.wake(fence, tale.now());
            if !is_last {
                tale.history.sleep(fence);
            }
        }
        tale.written_elsewhere(2);
        tale.history.wake(fence, tale.now());
        tale.history.end(fence, Outcome::Done, tale.now());
        tale.read(AGED, 1, Status::Fresh);
        tale
    };
    told(&[true]).holds();
    told(&[false, true]).holds();
    // What it was woken for before was something else.
    told(&[]).breaks(Rule::NoResurrection);
    told(&[false]).breaks(Rule::NoResurrection);
    let mut tale = told(&[true]);
    tale.written_elsewhere(3).act(Act::Expire, Outcome::Done).read(AGED, 2, Status::Fresh);
    tale.breaks(Rule::NoResurrection);
}

#[test]
fn rule_3_a_node_reads_what_it_wrote() {
    let mut tale = Tale::default();
    tale.written_elsewhere(1).put(0, 2, Outcome::Done).read(FOREVER, 1, Status::Fresh);
    tale.breaks(Rule::ReadYourWrites);
    let mut tale = Tale::default();
    tale.written_elsewhere(1).put(1, 2, Outcome::Done).read(FOREVER, 1, Status::Fresh).holds();
}

#[test]
fn rule_4_nothing_is_served_past_its_age() {
    let told = |rule, status, ms| {
        let mut tale = Tale::default();
        tale.written_elsewhere(1).written_elsewhere(2).later(ms).read(rule, 1, status);
        tale
    };
    told(AGED, Status::Fresh, 10).holds();
    told(AGED, Status::Fresh, 11).breaks(Rule::BoundedStaleness);
    let tolerant = ReadRule { stale_while_revalidate: Duration::from_millis(5), ..AGED };
    told(tolerant, Status::Stale, 15).holds();
    told(tolerant, Status::Fresh, 15).breaks(Rule::BoundedStaleness);
    let mut mortal = told(FOREVER, Status::Fresh, 31);
    mortal.holds();
    mortal.history.time_to_live = Some(Duration::from_millis(30));
    mortal.breaks(Rule::BoundedStaleness);
}

#[test]
fn rule_4_an_answer_that_is_no_outage_is_not_covered() {
    let tolerant = ReadRule { stale_if_error: Duration::from_millis(5), ..STRONG };
    let told = |failure| {
        let mut tale = Tale::default();
        tale.written_elsewhere(1).read_with(tolerant, 1, Status::Stale, failure);
        tale
    };
    told(Some(ErrorKind::Unavailable)).holds();
    told(Some(ErrorKind::PermissionDenied)).breaks(Rule::OutagesAlone);
    told(None).breaks(Rule::OutagesAlone);
}

#[test]
fn rule_5_a_body_has_its_own_tag_and_was_there() {
    let mut tale = Tale::default();
    tale.written_elsewhere(1).written_elsewhere(2);
    tale.act(Act::Read(FOREVER), Outcome::Read(1, Some("\"2\"".into()), Status::Fetched));
    tale.breaks(Rule::BytesAndVersion);
    let mut tale = Tale::default();
    tale.read(FOREVER, 1, Status::Fetched).written_elsewhere(1).breaks(Rule::BytesAndVersion);
}

#[test]
fn rule_6_what_is_not_counted_is_found() {
    let rest = Rest {
        node: 0,
        stats: Stats::default(),
        keys_in_flight: 0,
        shown: None,
        gets: 0,
        dropped_gets: 0,
        requests: 0,
    };
    let wrong = [
        Rest { gets: 1, ..rest },
        Rest { requests: 1, ..rest },
        Rest { keys_in_flight: 1, ..rest },
    ];
    let mut tale = Tale::default();
    tale.history.rest(rest);
    tale.holds();
    for wrong in wrong {
        let mut tale = Tale::default();
        tale.history.rest(wrong);
        tale.breaks(Rule::Conservation);
    }
}

#[test]
fn rule_7_a_call_without_an_end_is_found() {
    let mut tale = Tale::default();
    tale.history.begin(0, "k", Act::Read(STRONG), Duration::ZERO);
    tale.breaks(Rule::NoLostWakeUp);
}

#[test]
fn rule_8_a_backend_that_miscounts_or_is_too_full_is_found() {
    let mut stats = Stats::default();
    (stats.entries, stats.bytes, stats.capacity_bytes) = (1, 100, Some(200));
    let rest = Rest {
        node: 0,
        stats,
        keys_in_flight: 0,
        shown: Some((1, 100)),
        gets: 0,
        dropped_gets: 0,
        requests: 0,
    };
    let mut tale = Tale::default();
    tale.history.rest(rest);
    tale.holds();
    tale.history.rest(Rest { shown: Some((1, 99)), ..rest });
    tale.breaks(Rule::Capacity);
    let mut tale = Tale::default();
    stats.capacity_bytes = Some(99);
    tale.history.rest(Rest { stats, ..rest });
    tale.breaks(Rule::Capacity);
}

#[test]
fn rule_9_a_read_sees_nothing_older_than_the_one_before() {
    let mut tale = Tale::default();
    tale.written_elsewhere(1).written_elsewhere(2);
    tale.read(STRONG, 2, Status::Fetched)
        .read(FOREVER, 1, Status::Fresh)
        .breaks(Rule::MonotonicReads);
    // The same body was written again: it may be the newer one.
    let mut tale = Tale::default();
    tale.written_elsewhere(1).written_elsewhere(2).read(STRONG, 2, Status::Fetched);
    tale.written_elsewhere(1).read(FOREVER, 1, Status::Fetched).holds();
}

#[test]
fn rule_9_what_was_not_found_is_not_read_from_a_copy() {
    let mut tale = Tale::default();
    tale.written_elsewhere(1).deleted_elsewhere().not_found().read(FOREVER, 1, Status::Fresh);
    tale.breaks(Rule::MonotonicAbsences);
    // It was written again.
    let mut tale = Tale::default();
    tale.written_elsewhere(1).deleted_elsewhere().not_found().written_elsewhere(1);
    tale.read(FOREVER, 1, Status::Fresh).holds();
}

/// An answer about the object, whatever it was asked for, of which nobody's read tells.
#[test]
fn what_an_answer_shows_is_not_forgotten() {
    let told = |shown, rule| {
        let mut tale = Tale::default();
        tale.written_elsewhere(1).written_elsewhere(2);
        let request = tale.history.ask(0, "k", tale.now());
        tale.history.show(request, shown);
        tale.history.answer(request, None, tale.now());
        tale.later(1).read(FOREVER, 1, Status::Fresh);
        if let Some(rule) = rule {
            let said = tale.breaks(rule);
            assert!(said.to_string().contains("shows"), "{said}");
        } else {
            tale.holds();
        }
    };
    told(Shown::State(2), Some(Rule::AnswersAreHeard));
    told(Shown::Listed(2), Some(Rule::ListsAreHeard));
    told(Shown::LeftOut(2), Some(Rule::AbsencesAreHeard));
    told(Shown::State(1), None);
    told(Shown::Listed(1), None);
    told(Shown::LeftOut(1), None);
}

/// The abandoned cache hears it, and the new one does not.
#[test]
fn an_answer_to_a_cache_that_was_replaced_meanwhile_tells_the_new_one_nothing() {
    let told = |restarts_first: bool| {
        let mut tale = Tale::default();
        tale.written_elsewhere(1).written_elsewhere(2);
        let restart = |tale: &mut Tale| {
            let call = tale.history.begin(0, "", Act::Restart, tale.now());
            tale.history.end(call, Outcome::Done, tale.now());
        };
        let request = tale.history.ask(0, "k", tale.now());
        tale.history.show(request, Shown::State(2));
        if restarts_first {
            restart(&mut tale);
        }
        tale.history.answer(request, None, tale.now());
        if !restarts_first {
            restart(&mut tale);
        }
        tale.later(1).read(
            ReadRule { max_age: Duration::from_secs(1), ..STRONG },
            1,
            Status::Fetched,
        );
        tale.history.answers_are_heard().is_ok()
    };
    assert!(told(true));
    assert!(!told(false));
}

#[test]
fn what_a_call_shows_that_is_passed_on_is_not_forgotten() {
    let told = |act, outcome| {
        let mut tale = Tale::default();
        tale.written_elsewhere(1).written_elsewhere(2);
        if outcome == Outcome::NotFound {
            tale.deleted_elsewhere();
        }
        let call = tale.history.begin(0, "k", act, tale.now());
        let request = tale.history.ask(0, "k", tale.now());
        tale.history.answer(request, None, tale.now());
        tale.history.end(call, outcome, tale.now());
        tale.read(FOREVER, 1, Status::Fresh);
        tale
    };
    let seen = || Outcome::Read(2, Some("\"2\"".into()), Status::Fetched);
    told(Act::Pass(STRONG), seen()).breaks(Rule::AnswersAreHeard);
    told(Act::List, seen()).breaks(Rule::ListsAreHeard);
    told(Act::List, Outcome::NotFound).breaks(Rule::AbsencesAreHeard);
    let left_out = [Rule::ListsAreHeard, Rule::AbsencesAreHeard];
    assert_eq!(told(Act::List, seen()).history.check_but(&left_out), Ok(()));
}

#[test]
fn what_was_denied_is_asked_for_before_it_is_served_again() {
    let told = |asks: bool| {
        let mut tale = Tale::default();
        tale.written_elsewhere(1).read(STRONG, 1, Status::Fetched);
        let request = tale.history.ask(0, "k", tale.now());
        tale.history.show(request, Shown::Denied);
        tale.history.answer(request, Some(ErrorKind::PermissionDenied), tale.now());
        if asks {
            tale.later(1).read(STRONG, 1, Status::Revalidated);
        }
        tale.later(1).read(FOREVER, 1, Status::Fresh);
        tale
    };
    told(true).holds();
    told(false).breaks(Rule::DenialsAreHeard);
}

/// Its caller went away before it could hear it, perhaps.
#[test]
fn what_nobody_may_have_heard_may_be_forgotten() {
    let mut tale = Tale::default();
    tale.written_elsewhere(1).written_elsewhere(2);
    let call = tale.history.begin(0, "k", Act::Read(STRONG), tale.now());
    let request = tale.history.ask(0, "k", tale.now());
    tale.history.show(request, Shown::State(2));
    tale.history.answer(request, None, tale.now());
    tale.history.end(call, Outcome::Unknown, tale.now());
    tale.later(1).read(FOREVER, 1, Status::Fresh).holds();
}

#[test]
fn rules_10_and_11_another_answer_over_another_backend_is_found() {
    let told = |value| {
        let mut tale = Tale::default();
        tale.written_elsewhere(1).written_elsewhere(2).read(FOREVER, value, Status::Fetched);
        tale.history
    };
    assert_eq!(told(1).has_the_answers_of(&told(1)), Ok(()));
    assert_eq!(told(1).has_the_answers_of(&told(2)).unwrap_err().rule, Rule::SameAnswers);
}

#[test]
fn nothing_older_is_served_than_what_was_heard() {
    for (source, rule) in [
        (Source::Announcement, Rule::AnnouncementsAreHeard),
        (Source::List, Rule::ListsAreHeard),
        (Source::LeftOut, Rule::AbsencesAreHeard),
    ] {
        let told = |heard, read: ReadRule, status| {
            let mut tale = Tale::default();
            tale.written_elsewhere(1).read(AGED, 1, Status::Fetched).written_elsewhere(2);
            tale.hears(source, heard).read_with(read, 1, status, Some(ErrorKind::Unavailable));
            tale
        };
        told(1, AGED, Status::Fresh).holds();
        told(2, AGED, Status::Fresh).breaks(rule);
        // A marked entry may cover an outage.
        let tolerant = ReadRule { stale_if_error: Duration::from_millis(5), ..AGED };
        told(2, tolerant, Status::Stale).holds();
    }
}

#[test]
fn a_write_is_announced_within_the_span_if_nothing_goes_wrong() {
    let told = |outcome, later, rule| {
        let mut tale = Tale::default();
        tale.listens(None).listens(Some((0, 90_000)));
        tale.later(1).written_elsewhere(1).read(rule, 1, Status::Fetched).later(1);
        tale.history.listen(1, None, tale.now());
        tale.put(1, 2, outcome).later(later).read(rule, 1, Status::Fresh);
        tale.history.announcements_take(Duration::from_millis(100));
        tale
    };
    told(Outcome::Done, 100, NOTIFIED).holds();
    told(Outcome::Done, 101, NOTIFIED).breaks(Rule::WritesAreAnnounced);
    told(Outcome::Unknown, 101, NOTIFIED).breaks(Rule::WritesAreAnnounced);
    told(Outcome::Done, 101, FOREVER).holds();
    // With faults it is not.
    let mut faulty = told(Outcome::Done, 101, NOTIFIED);
    faulty.history.prompt = None;
    faulty.holds();
}

#[test]
fn an_entry_validated_before_the_cache_listened_is_as_old_as_the_rule_without_a_bus_allows() {
    let told = |since_until: Option<(u64, u64)>, later| {
        let mut tale = Tale::default();
        tale.written_elsewhere(1).later(20).read(NOTIFIED, 1, Status::Fetched).later(5);
        tale.written_elsewhere(2).listens(since_until).later(later);
        tale.read(NOTIFIED, 1, Status::Fresh);
        tale
    };
    // The request was sent at 20 ms.
    told(Some((19, 100)), 30).holds();
    told(Some((20, 100)), 30).breaks(Rule::ListeningIsProved);
    told(Some((19, 55)), 30).breaks(Rule::ListeningIsProved);
    told(None, 30).breaks(Rule::ListeningIsProved);
    told(None, 10).holds();
}
