//! The rules, each a function over a history.
//!
//! Which state a read was answered by is not always certain: a value may have been written twice,
//! and "no such object" is an answer of every state without one. A rule is broken if it is by all
//! states that can have been the answer.

use std::{collections::BTreeMap, fmt, time::Duration};

use cache_core::{ErrorKind, Status};

use super::{
    Act, Call, History, Listens, Outcome, Point, ReadRule, Request, Shown, Source, State,
    register::{Effect, Needs, Operation, smallest_contradiction},
};

/// What must hold. The numbers are those of the project's design; `Asked` is its invariant
/// I-13.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// 1: strong reads are linearizable with all writes of all nodes.
    Linearizable,
    /// 1: a strong read is answered by a question that was sent after it began.
    Asked,
    /// 2: what was asked before a fence took effect is not served after it.
    NoResurrection,
    /// 3: who wrote reads what was written, or something newer.
    ReadYourWrites,
    /// 4: no answer is older than the reader allows.
    BoundedStaleness,
    /// 4: what may be served if the origin fails is not served if it answers. Invariant I-12.
    OutagesAlone,
    /// 5: bytes and version belong together.
    BytesAndVersion,
    /// 6: everything is counted once.
    Conservation,
    /// 7: every call comes to an end.
    NoLostWakeUp,
    /// 8: what a backend says it holds is what it holds, and within its limits.
    Capacity,
    /// 9: no read sees something older than one that returned before it began.
    MonotonicReads,
    /// 9: no read sees something older than that there was no object, which one was told that
    /// returned before it began.
    MonotonicAbsences,
    /// 10 and 11: what is evicted or refused, and the backend, change no answer.
    SameAnswers,
    /// I-36: nothing older is served than an answer about the object has shown.
    AnswersAreHeard,
    /// I-36: nothing older is served than a list has shown of the object.
    ListsAreHeard,
    /// I-36: an object that a list leaves out is not served from a copy.
    AbsencesAreHeard,
    /// I-36: what the origin denied is not served from a copy.
    DenialsAreHeard,
    /// I-38: nothing older is served than a message on the bus has announced.
    AnnouncementsAreHeard,
    /// I-39: on a bus without faults, a write is announced.
    WritesAreAnnounced,
    /// I-40: what was validated before the cache listened to the bus is revalidated.
    ListeningIsProved,
    /// What the recorder says is broken.
    Recorded,
}

/// A rule that is broken, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The key it is broken for; empty if it is not about one.
    pub key: String,
    /// The few events that contradict each other, and what they cannot be.
    pub events: Vec<String>,
}

type Checked = Result<(), Violation>;
type Check = fn(&History) -> Checked;

impl Rule {
    /// All that [`History::check`] looks at.
    pub const ALL: [Self; CHECKS.len()] = {
        let mut all = [Self::Recorded; CHECKS.len()];
        let mut n = 0;
        while n < all.len() {
            all[n] = CHECKS[n].0;
            n += 1;
        }
        all
    };
}

/// In the order in which they are checked: those first that others build upon.
const CHECKS: [(Rule, Check); 20] = [
    (Rule::Recorded, History::is_sound),
    (Rule::NoLostWakeUp, History::every_call_ends),
    (Rule::BytesAndVersion, History::bytes_belong_to_their_version),
    (Rule::Asked, History::strong_reads_are_asked_for),
    (Rule::NoResurrection, History::nothing_is_resurrected),
    (Rule::ReadYourWrites, History::writes_are_read_back),
    (Rule::BoundedStaleness, History::staleness_is_bounded),
    (Rule::OutagesAlone, History::outages_alone_are_covered),
    (Rule::MonotonicReads, History::reads_are_monotonic),
    (Rule::MonotonicAbsences, History::absences_are_monotonic),
    (Rule::Linearizable, History::strong_reads_are_linearizable),
    (Rule::AnswersAreHeard, History::answers_are_heard),
    (Rule::ListsAreHeard, History::lists_are_heard),
    (Rule::AbsencesAreHeard, History::absences_are_heard),
    (Rule::DenialsAreHeard, History::denials_are_heard),
    (Rule::AnnouncementsAreHeard, History::announcements_are_heard),
    (Rule::WritesAreAnnounced, History::writes_are_announced),
    (Rule::ListeningIsProved, History::listening_is_proved),
    (Rule::Conservation, History::everything_is_counted),
    (Rule::Capacity, History::limits_are_kept),
];

impl History {
    /// Holds all that happened against every rule.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn check(&self) -> Checked {
        self.check_but(&[])
    }

    /// Holds all that happened against every rule but some.
    ///
    /// # Errors
    ///
    /// The first rule that is broken, of those that are not left out.
    pub fn check_but(&self, left_out: &[Rule]) -> Checked {
        let mut checked = CHECKS.iter().filter(|(rule, _)| !left_out.contains(rule));
        checked.try_for_each(|(_, check)| check(self))
    }

    /// Rule 1, from what callers saw alone: strong reads, puts, conditional puts and deletes of
    /// each key are linearizable.
    ///
    /// # Errors
    ///
    /// As few calls as are needed to show that there is no order for them.
    pub fn strong_reads_are_linearizable(&self) -> Checked {
        for key in self.keys() {
            let (calls, operations): (Vec<_>, Vec<_>) =
                self.calls_of(key).filter_map(|call| Some((call, operation(call)?))).unzip();
            if !super::is_linearizable(&operations, None) {
                let few = smallest_contradiction(&operations, None);
                let events = few.into_iter().map(|at| calls[at].to_string());
                return Err(violation(Rule::Linearizable, key, events));
            }
        }
        Ok(())
    }

    /// Rule 1, as counted at the origin: every strong read that succeeded was asked for between its
    /// begin and its end.
    ///
    /// # Errors
    ///
    /// The read that was not.
    pub fn strong_reads_are_asked_for(&self) -> Checked {
        for read in self.reads().filter(|read| read.is_strong()) {
            let (begun, ended) = (read.call.begun.step, read.ended.step);
            let is_asked = self.requests.iter().any(|request| {
                request.node == read.call.node
                    && request.key == read.call.key
                    && request.begun.step > begun
                    && request.ended.is_some_and(|answered| answered.step < ended)
            });
            if !is_asked {
                return Err(
                    read.breaks(Rule::Asked, ["no request was sent and answered meanwhile".into()])
                );
            }
        }
        Ok(())
    }

    /// Rule 2: after `invalidate`, `delete`, `put`, `mark_stale`, `invalidate_prefix`, `clear` or a
    /// restart has ended on a node, or its future was dropped, no read on it that begins later is
    /// answered by a state that was over when the call took effect.
    ///
    /// A call takes effect between its beginning and its end: when its caller is woken to return,
    /// at the latest. An answer requested after that, while the caller has yet to run, is as good
    /// as one requested after the return, and the object may have changed in between. A dropped
    /// call takes effect when it is dropped, at the latest.
    ///
    /// # Errors
    ///
    /// The fence and the read.
    pub fn nothing_is_resurrected(&self) -> Checked {
        self.each_read_after(|call, read, states| match (call.act, &call.outcome) {
            // Rule 3 is about those that succeeded: they may publish what they wrote.
            (Act::Read(_) | Act::Pass(_) | Act::List, _) | (Act::Put(..), Outcome::Done) => Ok(()),
            // What `mark_stale` keeps may cover an outage.
            (Act::Expire, _) if read.status == Some(Status::Stale) => Ok(()),
            (..) => {
                let fence = call.effective_by();
                if states.iter().any(|state| state.is_on_after(fence)) {
                    return Ok(());
                }
                Err(read.breaks(Rule::NoResurrection, [call.to_string(), over(states)]))
            }
        })
    }

    /// Rule 3: after a put succeeded on a node, reads on it that begin later see that value or a
    /// newer one.
    ///
    /// # Errors
    ///
    /// The put and the read.
    pub fn writes_are_read_back(&self) -> Checked {
        self.each_read_after(|call, read, states| {
            let (Act::Put(value, _), Outcome::Done, Some(ended)) =
                (call.act, &call.outcome, call.ended)
            else {
                return Ok(());
            };
            let written = (0..).zip(self.states(&call.key)).find(|(_, state)| {
                state.value == Some(value) && call.begun < state.since && state.since < ended
            });
            match written {
                Some((written, _)) if states.iter().all(|state| state.number < written) => {
                    Err(read.breaks(Rule::ReadYourWrites, [call.to_string(), over(states)]))
                }
                _ => Ok(()),
            }
        })
    }

    /// Rule 4: a read is answered by a state that was on within what its rule allows before it
    /// began.
    ///
    /// # Errors
    ///
    /// The read.
    pub fn staleness_is_bounded(&self) -> Checked {
        for read in self.reads() {
            let states = self.possible(&read);
            let bound = read.age_max(self.time_to_live);
            if !states.iter().any(|state| state.is_on_within(bound, read.call.begun)) {
                let allowed = format!("it may be {bound:?} old; {}", over(&states));
                return Err(read.breaks(Rule::BoundedStaleness, [allowed]));
            }
        }
        Ok(())
    }

    /// Rule 4, where `stale_if_error` alone allows a stale answer: the origin failed to answer a
    /// request meanwhile.
    ///
    /// # Errors
    ///
    /// The read.
    pub fn outages_alone_are_covered(&self) -> Checked {
        let is_covered = |read: &Read<'_>| {
            read.status == Some(Status::Stale) && read.rule.stale_while_revalidate.is_zero()
        };
        for read in self.reads().filter(is_covered) {
            let failed = self.requests.iter().any(|request| {
                request.node == read.call.node
                    && request.key == read.call.key
                    && request.ended.is_some_and(|at| read.call.begun < at && at < read.ended)
                    && matches!(request.failure, Some(ErrorKind::Timeout | ErrorKind::Unavailable))
            });
            if !failed {
                return Err(read.breaks(Rule::OutagesAlone, ["no request failed meanwhile".into()]));
            }
        }
        Ok(())
    }

    /// Rule 5: what a read got is a body that the origin had before the read ended, and gave that
    /// tag.
    ///
    /// # Errors
    ///
    /// The read.
    pub fn bytes_belong_to_their_version(&self) -> Checked {
        for read in self.reads() {
            let fault = match &read.call.outcome {
                _ if self.possible(&read).is_empty() => {
                    "the origin never was in such a state before"
                }
                Outcome::Read(value, Some(tag), _)
                    if !self.tags.contains(&(read.call.key.clone(), tag.clone(), *value)) =>
                {
                    "the origin never gave that tag to that body"
                }
                _ => continue,
            };
            return Err(read.breaks(Rule::BytesAndVersion, [fault.into()]));
        }
        Ok(())
    }

    /// Rule 6: gets are counted once each, requests as the origin counts them, and nothing stays in
    /// flight.
    ///
    /// # Errors
    ///
    /// The cache whose counters are wrong.
    pub fn everything_is_counted(&self) -> Checked {
        for rest in &self.rests {
            let gets = rest.stats.gets();
            let are_gets_counted = rest.gets <= gets && gets <= rest.gets + rest.dropped_gets;
            let is_disk_a_part = rest.stats.hits_from_disk <= rest.stats.hits()
                && rest.stats.bytes_from_disk <= rest.stats.bytes_from_cache;
            if !are_gets_counted
                || !is_disk_a_part
                || rest.stats.origin.requests() != rest.requests
                || rest.keys_in_flight != 0
            {
                return Err(violation(Rule::Conservation, "", [format!("{rest:?}")]));
            }
        }
        Ok(())
    }

    /// Rule 7: every call ended.
    ///
    /// # Errors
    ///
    /// The calls that did not.
    pub fn every_call_ends(&self) -> Checked {
        let open: Vec<_> = self.calls.iter().filter(|call| call.ended.is_none()).collect();
        match open.first() {
            None => Ok(()),
            Some(first) => Err(violation(
                Rule::NoLostWakeUp,
                &first.key,
                open.iter().map(|call| call.to_string()),
            )),
        }
    }

    /// Rule 8: caches at rest are within their limits, and say what they hold.
    ///
    /// # Errors
    ///
    /// The cache that is not, or does not.
    pub fn limits_are_kept(&self) -> Checked {
        for rest in &self.rests {
            let said = (rest.stats.entries, rest.stats.bytes);
            let is_over = rest.stats.capacity_bytes.is_some_and(|most| rest.stats.bytes > most);
            if is_over || rest.shown.is_some_and(|shown| shown != said) {
                return Err(violation(Rule::Capacity, "", [format!("{rest:?}")]));
            }
        }
        Ok(())
    }

    /// Rule 9: on one node, a read sees nothing older than what another saw that had returned
    /// before it began.
    ///
    /// # Errors
    ///
    /// The two reads.
    pub fn reads_are_monotonic(&self) -> Checked {
        let reads =
            |call: &Call| matches!((call.act, &call.outcome), (Act::Read(_), Outcome::Read(..)));
        self.later_reads_see_what(Rule::MonotonicReads, reads)
    }

    /// Rule 9: on one node, a read sees nothing older than an absence that another saw that had
    /// returned before it began.
    ///
    /// # Errors
    ///
    /// The two reads.
    pub fn absences_are_monotonic(&self) -> Checked {
        let reads =
            |call: &Call| matches!((call.act, &call.outcome), (Act::Read(_), Outcome::NotFound));
        self.later_reads_see_what(Rule::MonotonicAbsences, reads)
    }

    /// I-36: after the origin has answered a request of a node, with an object, "not modified", "no
    /// such object" or "another version", reads on that node that begin later see nothing older
    /// than the answer showed.
    ///
    /// # Errors
    ///
    /// The request, or the read that passed the cache, and the later read.
    pub fn answers_are_heard(&self) -> Checked {
        self.later_reads_see(Rule::AnswersAreHeard, |shown| match shown {
            Shown::State(state) => Some(state),
            _ => None,
        })?;
        self.later_reads_see_what(Rule::AnswersAreHeard, |call| matches!(call.act, Act::Pass(_)))
    }

    /// I-36: after a list that shows an object, reads that begin later on its node see nothing
    /// older of the object.
    ///
    /// # Errors
    ///
    /// The list and the read.
    pub fn lists_are_heard(&self) -> Checked {
        self.later_reads_see(Rule::ListsAreHeard, |shown| match shown {
            Shown::Listed(state) => Some(state),
            _ => None,
        })?;
        let lists = |call: &Call| call.act == Act::List && call.outcome != Outcome::NotFound;
        self.later_reads_see_what(Rule::ListsAreHeard, lists)?;
        self.later_reads_see_heard(Rule::ListsAreHeard, Source::List)
    }

    /// I-36: after a list that leaves an object out, reads that begin later on its node see nothing
    /// older of it.
    ///
    /// # Errors
    ///
    /// The list and the read.
    pub fn absences_are_heard(&self) -> Checked {
        self.later_reads_see(Rule::AbsencesAreHeard, |shown| match shown {
            Shown::LeftOut(state) => Some(state),
            _ => None,
        })?;
        let lists = |call: &Call| call.act == Act::List && call.outcome == Outcome::NotFound;
        self.later_reads_see_what(Rule::AbsencesAreHeard, lists)?;
        self.later_reads_see_heard(Rule::AbsencesAreHeard, Source::LeftOut)
    }

    /// I-36: after the origin denied a node access to an object, what it serves of it was asked for
    /// since.
    ///
    /// # Errors
    ///
    /// The request that was denied and the read.
    pub fn denials_are_heard(&self) -> Checked {
        for denied in self.requests.iter().filter(|request| request.shown == Some(Shown::Denied)) {
            for read in self.reads_that_heard(denied) {
                let is_asked = self.requests.iter().any(|request| {
                    (request.node, &request.key) == (denied.node, &denied.key)
                        && request.begun > denied.begun
                        && request.failure.is_none()
                        && request.ended.is_some_and(|answered| answered < read.ended)
                });
                if !is_asked && read.status != Some(Status::Stale) {
                    return Err(read.breaks(Rule::DenialsAreHeard, [denied.to_string()]));
                }
            }
        }
        Ok(())
    }

    /// I-38: after a cache has acted on a message of another one, reads on its node that begin
    /// later see nothing older than what was announced, under every rule.
    ///
    /// # Errors
    ///
    /// The message and the read.
    pub fn announcements_are_heard(&self) -> Checked {
        self.later_reads_see_heard(Rule::AnnouncementsAreHeard, Source::Announcement)
    }

    /// I-39: on a bus without faults, a write through a cache is announced to all nodes: reads
    /// under `until_notified` that begin some time after it has ended see what it wrote or
    /// something newer. Also after a write whose outcome its caller does not know, if it took
    /// effect before it ended.
    ///
    /// # Errors
    ///
    /// The write and the read.
    pub fn writes_are_announced(&self) -> Checked {
        let Some(span) = self.prompt else { return Ok(()) };
        let writes = self.calls.iter().filter_map(|call| Some((call, self.announced(call)?)));
        for (write, written) in writes {
            let heard_at = write.ended.map_or(Duration::MAX, |ended| ended.at.saturating_add(span));
            // The cache that was to announce it may have been closed first.
            let is_replaced = self.calls.iter().any(|call| {
                call.act == Act::Restart
                    && call.node == write.node
                    && write.begun < call.begun
                    && call.begun.at <= heard_at
            });
            if is_replaced {
                continue;
            }
            for read in self.reads().filter(|read| {
                read.rule.when_disconnected.is_some()
                    && read.call.key == write.key
                    && read.call.begun.at > heard_at
                    && read.may_not_cover_outage()
            }) {
                let states = self.possible(&read);
                if states.iter().all(|state| state.number < written) {
                    let why = [write.to_string(), over(&states)];
                    return Err(read.breaks(Rule::WritesAreAnnounced, why));
                }
            }
        }
        Ok(())
    }

    /// The number of the state that a call has written, if it is to be announced.
    fn announced(&self, call: &Call) -> Option<usize> {
        let value = match call.act {
            Act::Put(value, _) => Some(value),
            Act::Delete => None,
            _ => return None,
        };
        let is_by_a_cache = self.requests.iter().any(|request| request.node == call.node)
            || self.listening.contains_key(&call.node);
        let is_sure = match call.outcome {
            Outcome::Done => true,
            // The state may be that of another write.
            Outcome::Unknown => {
                let same =
                    |other: &&Call| matches!(other.act, Act::Put(same, _) if Some(same) == value);
                value.is_some() && self.calls.iter().filter(same).count() == 1
            }
            _ => false,
        };
        let ended = call.ended.filter(|_| is_by_a_cache && is_sure)?;
        let mut states = (0..).zip(self.states(&call.key));
        let is_written =
            |state: &State| state.value == value && call.begun < state.since && state.since < ended;
        states.find(|(_, state)| is_written(state)).map(|(number, _)| number)
    }

    /// I-40: a read under `until_notified` is answered by a state that was on within what
    /// `when_disconnected` allows, or that was validated while the cache listened: by a request
    /// that was sent later than it has listened since, for which it had proof.
    ///
    /// # Errors
    ///
    /// The read, and how the cache listened.
    pub fn listening_is_proved(&self) -> Checked {
        for read in self.reads().filter(Read::may_not_cover_outage) {
            let Some(max_age) = read.rule.when_disconnected else { continue };
            let (begun, states) = (read.call.begun, self.possible(&read));
            if states.iter().any(|state| state.is_on_within(max_age, begun)) {
                continue;
            }
            let listening = self.listening_during(&read);
            let since = listening.iter().filter_map(|listens| listens.since_until).min();
            let is_validated = since.is_some_and(|(since, _)| {
                self.requests.iter().any(|request| {
                    (request.node, &request.key) == (read.call.node, &read.call.key)
                        && request.begun.at > since
                        && request.ended.is_some_and(|answered| answered < read.ended)
                        && states.iter().any(|state| state.is_on_after(request.begun))
                })
            });
            if !is_validated {
                let listening = listening.iter().map(|listens| format!("it {listens}"));
                let why = listening.chain([over(&states)]);
                return Err(read.breaks(Rule::ListeningIsProved, why));
            }
        }
        Ok(())
    }

    /// How the node of a read listened while the read ran: all that was so in between.
    fn listening_during(&self, read: &Read<'_>) -> Vec<Listens> {
        let all = self.listening.get(&read.call.node).map_or(&[][..], Vec::as_slice);
        let (begun, ended) = (read.call.begun, read.ended);
        let until = |at: usize| all.get(at + 1).map(|next| next.at);
        let is_during = |(at, listens): &(usize, &Listens)| {
            listens.at < ended
                && until(*at).is_none_or(|until| until > begun)
                && listens.since_until.is_none_or(|(_, until)| until > begun.at)
        };
        all.iter().enumerate().filter(is_during).map(|(_, listens)| *listens).collect()
    }

    /// Rules 10 and 11: two histories of one schedule, run one call after the other without faults,
    /// over two kinds of backends, have the same answers.
    ///
    /// # Errors
    ///
    /// The calls that were answered differently.
    pub fn has_the_answers_of(&self, other: &Self) -> Checked {
        let answer = |call: &Call| match &call.outcome {
            Outcome::Read(value, ..) => Some(Some(*value)),
            Outcome::NotFound => Some(None),
            _ => None,
        };
        let lines =
            |history: &Self| history.calls.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (one, same) in self.calls.iter().zip(&other.calls) {
            if (one.act, &one.key) != (same.act, &same.key) || answer(one) != answer(same) {
                return Err(violation(
                    Rule::SameAnswers,
                    &one.key,
                    [one.to_string(), same.to_string()],
                ));
            }
        }
        if self.calls.len() != other.calls.len() {
            return Err(violation(Rule::SameAnswers, "", [lines(self), lines(other)].concat()));
        }
        Ok(())
    }

    /// What the recorder saw.
    fn is_sound(&self) -> Checked {
        match self.broken.first() {
            None => Ok(()),
            Some(what) => Err(violation(Rule::Recorded, "", [what.clone()])),
        }
    }

    /// Whatever a request showed, as `seen` has it, reads that begin later see that or something
    /// newer.
    fn later_reads_see(&self, rule: Rule, seen: impl Fn(Shown) -> Option<usize>) -> Checked {
        for request in &self.requests {
            let Some(seen) = request.shown.and_then(&seen) else { continue };
            for read in self.reads_that_heard(request) {
                let states = self.possible(&read);
                // What is marked may cover an outage.
                if read.status != Some(Status::Stale)
                    && states.iter().all(|state| state.number < seen)
                {
                    return Err(read.breaks(rule, [request.to_string(), over(&states)]));
                }
            }
        }
        Ok(())
    }

    /// Whatever a cache has heard from `source`, reads on its node that begin later see that or
    /// something newer.
    fn later_reads_see_heard(&self, rule: Rule, source: Source) -> Checked {
        for heard in self.heard.iter().filter(|heard| heard.source == source) {
            let is_later = |read: &Read<'_>| {
                (read.call.node, &read.call.key) == (heard.node, &heard.key)
                    && read.call.begun > heard.at
                    && read.may_not_cover_outage()
            };
            for read in self.reads().filter(is_later) {
                let states = self.possible(&read);
                if states.iter().all(|state| state.number < heard.state) {
                    return Err(read.breaks(rule, [heard.to_string(), over(&states)]));
                }
            }
        }
        Ok(())
    }

    /// Whatever a call saw that returned, reads that begin later see that or something newer.
    fn later_reads_see_what(&self, rule: Rule, is_heard: impl Fn(&Call) -> bool) -> Checked {
        let heard = self.reads().filter(|read| is_heard(read.call));
        let oldest: BTreeMap<_, _> = heard
            .filter_map(|read| Some((read.call.begun.step, self.likely(&read).first()?.number)))
            .collect();
        self.each_read_after(|call, read, states| {
            let Some(&seen) = oldest.get(&call.begun.step) else { return Ok(()) };
            // A marked entry may cover an outage; a response is not cached beside something older.
            let may_be_marked = !matches!(call.act, Act::Read(_)) && !read.may_not_cover_outage();
            if may_be_marked
                || call.key != read.call.key
                || states.iter().any(|state| state.number >= seen)
            {
                return Ok(());
            }
            let seen = format!("the earlier one saw state {seen} or a later one; {}", over(states));
            Err(read.breaks(rule, [call.to_string(), seen]))
        })
    }

    /// The reads that began when a request had been answered and the cache had time to hear it:
    /// later in virtual time. None, if somebody who may have been the one to hear it went away, or
    /// the cache that had sent it was replaced before the answer came.
    fn reads_that_heard<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = Read<'a>> {
        let answered = request.ended.filter(|answered| {
            !self.calls.iter().filter(|call| call.node == request.node).any(|call| match call.act {
                Act::Restart => request.begun < call.begun && call.begun < *answered,
                _ => {
                    call.outcome == Outcome::Unknown
                        && call.key == request.key
                        && call.begun < *answered
                        && call.ended.is_none_or(|ended| ended > *answered)
                }
            })
        });
        self.reads().filter(move |read| {
            (read.call.node, &read.call.key) == (request.node, &request.key)
                && matches!(read.call.act, Act::Read(_))
                && answered.is_some_and(|answered| answered.at + self.hearing < read.call.begun.at)
        })
    }

    fn calls_of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Call> {
        self.calls.iter().filter(move |call| call.act.is_of_one_key() && call.key == key)
    }

    /// The reads that were answered.
    fn reads(&self) -> impl Iterator<Item = Read<'_>> {
        self.calls.iter().filter_map(Read::of)
    }

    /// Every answered read, with each call of its node that touches its key and had ended when it
    /// began.
    fn each_read_after(&self, check: impl Fn(&Call, &Read<'_>, &[Possible]) -> Checked) -> Checked {
        for read in self.reads() {
            let states = self.possible(&read);
            let earlier = self.calls.iter().filter(|call| {
                call.node == read.call.node
                    && call.touches(&read.call.key)
                    && call.is_before(read.call)
            });
            for call in earlier {
                check(call, &read, &states)?;
            }
        }
        Ok(())
    }

    /// The states that can have been the answer, going by what was read alone.
    fn possible(&self, read: &Read<'_>) -> Vec<Possible> {
        let states = self.states(&read.call.key);
        let possible = |(number, state): (usize, &State)| {
            let until = states.get(number + 1).map(|next| next.since);
            (state.value == read.value && state.since < read.ended)
                .then_some(Possible { number, until })
        };
        states.iter().enumerate().filter_map(possible).collect()
    }

    /// Those that can have been, if rules 1 and 4 hold.
    fn likely(&self, read: &Read<'_>) -> Vec<Possible> {
        let (begun, bound) = (read.call.begun, read.age_max(self.time_to_live));
        let mut states = self.possible(read);
        states.retain(|state| {
            state.is_on_within(bound, begun) && (!read.is_strong() || state.is_on_after(begun))
        });
        states
    }
}

/// A read that was answered.
struct Read<'a> {
    call: &'a Call,
    rule: ReadRule,
    ended: Point,
    value: Option<u64>,
    /// `None` if there was no such object.
    status: Option<Status>,
}

impl<'a> Read<'a> {
    fn of(call: &'a Call) -> Option<Self> {
        let ended = call.ended?;
        let rule = match call.act {
            Act::Read(rule) | Act::Pass(rule) => rule,
            Act::List => ReadRule::default(),
            _ => return None,
        };
        let (value, status) = match &call.outcome {
            Outcome::Read(value, _, status) => (Some(*value), Some(*status)),
            Outcome::NotFound => (None, None),
            _ => return None,
        };
        Some(Self { call, rule, ended, value, status })
    }

    /// Whether the answer must be the one of its own moment.
    fn is_strong(&self) -> bool {
        self.rule.is_strong() && self.status != Some(Status::Stale)
    }

    /// Whether it was not served what is marked because the origin failed.
    fn may_not_cover_outage(&self) -> bool {
        self.status != Some(Status::Stale) || self.rule.stale_if_error.is_zero()
    }

    fn age_max(&self, time_to_live: Option<Duration>) -> Duration {
        let age_max = self.rule.max_age;
        match self.status {
            Some(Status::Fresh) => age_max.min(time_to_live.unwrap_or(Duration::MAX)),
            Some(Status::Stale) => {
                let more = self.rule.stale_while_revalidate.max(self.rule.stale_if_error);
                age_max.saturating_add(more).min(time_to_live.unwrap_or(Duration::MAX))
            }
            // The time to live is that of a copy: an answer on its way has none yet.
            _ => age_max,
        }
    }

    fn breaks(&self, rule: Rule, why: impl IntoIterator<Item = String>) -> Violation {
        let events = [self.call.to_string()].into_iter().chain(why);
        violation(rule, &self.call.key, events)
    }
}

/// A state that can have been the answer of a read.
#[derive(Clone, Copy)]
struct Possible {
    number: usize,
    until: Option<Point>,
}

impl Possible {
    fn is_on_after(&self, point: Point) -> bool {
        self.until.is_none_or(|until| until > point)
    }

    fn is_on_within(&self, span: Duration, before: Point) -> bool {
        self.until.is_none_or(|until| until.at.saturating_add(span) >= before.at)
    }
}

/// A call as an operation on the register of its key; `None` if it is none, or says nothing.
fn operation(call: &Call) -> Option<Operation> {
    let (begun, ended) = (call.begun.step, call.ended.map(|ended| ended.step));
    let write = match call.act {
        Act::Put(value, needs) => Effect::Write(Some(value), needs),
        Act::Delete => Effect::Write(None, Needs::Nothing),
        _ => {
            let read = Read::of(call).filter(Read::is_strong)?;
            return Some(Operation { effect: Effect::Read(read.value), begun, ended });
        }
    };
    Some(match (&call.outcome, call.act) {
        (Outcome::Done, _) => Operation { effect: write, begun, ended },
        (Outcome::Refused, Act::Put(_, needs)) => {
            Operation { effect: Effect::Refused(needs), begun, ended }
        }
        (Outcome::Unknown, _) => Operation { effect: write, begun, ended: None },
        _ => return None,
    })
}

/// What to say of states that cannot be the answer.
fn over(states: &[Possible]) -> String {
    let each = states.iter().map(|state| match state.until {
        Some(until) => format!("state {}, over at {until}", state.number),
        None => format!("state {}", state.number),
    });
    format!("it can only have seen {}", each.collect::<Vec<_>>().join(" or "))
}

fn violation(rule: Rule, key: &str, events: impl IntoIterator<Item = String>) -> Violation {
    Violation { rule, key: key.to_owned(), events: events.into_iter().collect() }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}", self.rule)?;
        if !self.key.is_empty() {
            write!(f, ", key {:?}", self.key)?;
        }
        self.events.iter().try_for_each(|event| write!(f, "\n  {event}"))
    }
}

impl std::error::Error for Violation {}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linearizable => "rule 1, strong reads are linearizable",
            Self::Asked => "rule 1, strong reads are asked for",
            Self::NoResurrection => "rule 2, nothing is resurrected",
            Self::ReadYourWrites => "rule 3, writes are read back",
            Self::BoundedStaleness => "rule 4, staleness is bounded",
            Self::OutagesAlone => "rule 4, outages alone are covered",
            Self::BytesAndVersion => "rule 5, bytes belong to their version",
            Self::Conservation => "rule 6, everything is counted",
            Self::NoLostWakeUp => "rule 7, every call ends",
            Self::Capacity => "rule 8, limits are kept",
            Self::MonotonicReads => "rule 9, reads are monotonic",
            Self::MonotonicAbsences => "rule 9, absences are monotonic",
            Self::SameAnswers => "rules 10 and 11, no backend changes an answer",
            Self::AnswersAreHeard => "I-36, answers are heard",
            Self::ListsAreHeard => "I-36, lists are heard",
            Self::AbsencesAreHeard => "I-36, absences in lists are heard",
            Self::DenialsAreHeard => "I-36, denials are heard",
            Self::AnnouncementsAreHeard => "I-38, announcements are heard",
            Self::WritesAreAnnounced => "I-39, writes are announced",
            Self::ListeningIsProved => "I-40, listening is proved",
            Self::Recorded => "what the recorder watches",
        })
    }
}
