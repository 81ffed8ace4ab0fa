//! Decides from the events of a bus since when the cache has listened without a gap.
//!
//! *Proof.* A bus may be cut off without saying so. So the cache announces a heartbeat each second,
//! and listens only while it hears its own heartbeats: the proof of one lasts for 3 s from the
//! moment at which it was *sent*, since a listener that lags hears old ones.
//!
//! *Numbers.* Each sender numbers its changes from 1, and its heartbeats carry the number of its
//! last change. A number greater than the next is a gap: entries that were validated before it was
//! noticed may have changed unheard. A number that is not greater is a repetition, or is late; it
//! only marks. The first message of a sender since the connection was made is a gap, unless it
//! shows that nothing was missed.
//!
//! *Own messages.* The sender's number is drawn at random, so a message under it is the cache's own
//! if the cache remembers it. Any other one is taken for another cache's.

use std::collections::{HashMap, VecDeque};

use super::{Announcement, BusEvent, Change, GapReason, listening::Listening};
use crate::{Moment, Namespace};

/// The state of a listener, without its tasks and its bus.
#[derive(Debug)]
pub(crate) struct Listener {
    namespace: Namespace,
    node: u64,
    /// The number of the task that hears the events.
    task: u64,
    is_connected: bool,
    /// `None` while it does not listen.
    since: Option<Moment>,
    /// Until when there is proof.
    until: Moment,
    /// Own heartbeats of this number or a greater one were sent after the connection was made, or
    /// after the last loss.
    first_beat: u64,
    next_beat: u64,
    /// Own heartbeats under way, with the moments before they were sent.
    beats: VecDeque<(u64, Moment)>,
    /// The number of the last change of this cache.
    last_seq: u64,
    /// The last own changes.
    own: VecDeque<Announcement>,
    /// The last number of each other sender, and when it was heard.
    peers: HashMap<u64, Peer>,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    last_seq: u64,
    heard_at: Moment,
}

/// The consequence of an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A change to apply.
    Change(Change),
    /// An own message, or a heartbeat.
    Nothing,
    /// A message of another namespace.
    Foreign,
    /// A message that could not be read.
    Unreadable,
    /// The bus reported a gap.
    Gap(GapReason),
    /// The bus has connected.
    Connected,
}

/// Notes beside: whether the numbers of a sender had a gap, and whether a change arrived
/// under the cache's own number that it has not sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noticed {
    pub(crate) gap: bool,
    pub(crate) twin: bool,
}

impl Listener {
    /// Returns a listener that is not connected. `random` draws the sender's number and that of its
    /// first heartbeat, which nothing that another process sent has.
    pub(crate) fn new(namespace: Namespace, mut random: impl FnMut() -> u64) -> Self {
        // A number that another process has used would hide what is missed of its messages.
        // mutant: node_is_drawn
        let (node, next_beat) = (random(), random() >> 1);
        Self {
            namespace,
            node,
            task: 0,
            is_connected: false,
            since: None,
            until: Moment::from_nanos(0),
            first_beat: next_beat,
            next_beat,
            beats: VecDeque::new(),
            last_seq: 0,
            own: VecDeque::new(),
            peers: HashMap::new(),
        }
    }

    /// Returns the message that announces `change`, the next one of this cache.
    pub(crate) fn number(&mut self, change: Change) -> Announcement {
        self.last_seq += 1;
        let message = self.message(self.last_seq, change);
        if self.own.len() == OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(message.clone());
        message
    }

    /// Returns a heartbeat that is sent right after this.
    pub(crate) fn beat(&mut self, now: Moment) -> Announcement {
        let beat = self.next_beat;
        self.next_beat += 1;
        if self.beats.len() == BEATS_MAX {
            self.beats.pop_front();
        }
        self.beats.push_back((beat, now));
        self.message(0, Change::Heartbeat { beat, last_seq: self.last_seq })
    }

    fn message(&self, seq: u64, change: Change) -> Announcement {
        Announcement { namespace: self.namespace, node: self.node, seq, change }
    }

    /// Takes note of an event that was heard at `now`. `listening` is what readers see.
    pub(crate) fn hear(
        &mut self,
        event: BusEvent,
        now: Moment,
        listening: &Listening,
    ) -> (Heard, Noticed) {
        self.check_proof(now, listening);
        match event {
            BusEvent::Connected => {
                self.lose(listening);
                self.is_connected = true;
                // Numbers that were missed meanwhile are not known.
                // mutant: forgets_numbers
                self.peers.clear();
                (Heard::Connected, Noticed::default())
            }
            BusEvent::Gap(reason) => {
                self.lose(listening);
                if reason == GapReason::Disconnected {
                    self.is_connected = false;
                }
                (Heard::Gap(reason), Noticed::default())
            }
            BusEvent::Unreadable => (Heard::Unreadable, Noticed::default()),
            BusEvent::Message(message) => self.hear_message(message, now, listening),
        }
    }

    fn hear_message(
        &mut self,
        message: Announcement,
        now: Moment,
        listening: &Listening,
    ) -> (Heard, Noticed) {
        if message.namespace != self.namespace {
            return (Heard::Foreign, Noticed::default());
        }
        let mut noticed = Noticed::default();
        if message.node == self.node {
            match message.change {
                Change::Heartbeat { beat, .. } => {
                    self.hear_own_beat(beat, now, listening);
                    return (Heard::Nothing, noticed);
                }
                _ if self.is_own(&message) => return (Heard::Nothing, noticed),
                change => {
                    noticed.twin = true;
                    return (Heard::Change(change), noticed);
                }
            }
        }
        let (seq, is_complete, heard) = match message.change {
            // The first word of a sender shows that nothing was missed only if it has sent no
            // change before.
            // mutant: first_heartbeat
            Change::Heartbeat { last_seq, .. } => (last_seq, last_seq == 0, Heard::Nothing),
            // mutant: first_message
            change => (message.seq, message.seq == 1, Heard::Change(change)),
        };
        let is_heartbeat = heard == Heard::Nothing;
        noticed.gap = match self.peers.get_mut(&message.node) {
            None => {
                self.make_room(now, listening);
                self.peers.insert(message.node, Peer { last_seq: seq, heard_at: now });
                !is_complete
            }
            Some(peer) => {
                peer.heard_at = now;
                let next = peer.last_seq.saturating_add(u64::from(!is_heartbeat));
                // A number that is not greater is a repetition: taken for gaps, repetitions would
                // cost most of the listening.
                peer.last_seq = peer.last_seq.max(seq);
                seq > next
            }
        };
        // A change that was missed may be of any entry.
        // mutant: sequence_gap
        if noticed.gap && self.since.is_some() {
            self.since = Some(now);
            listening.set(now, self.until);
        }
        (heard, noticed)
    }

    /// Returns whether this is one of the last changes that the cache has sent.
    fn is_own(&self, message: &Announcement) -> bool {
        let first = self.own.front().map_or(0, |first| first.seq);
        let at = message.seq.checked_sub(first).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.own.get(at)) == Some(message)
    }

    /// Own heartbeats prove that the cache was connected when they were sent.
    fn hear_own_beat(&mut self, beat: u64, now: Moment, listening: &Listening) {
        let sent = self.beats.iter().find(|(number, _)| *number == beat);
        let Some(&(_, sent_at)) = sent else { return };
        // A heartbeat that was sent before the loss may have been on its way meanwhile.
        // mutant: beat_after_loss
        if !self.is_connected || beat < self.first_beat {
            return;
        }
        // From the sending: one that comes late proves nothing of now.
        // mutant: beat_by_sending
        let until = sent_at.saturating_add(PROOF);
        if until <= now {
            return;
        }
        self.until = self.until.max(until);
        // The messages of the time before were not all heard.
        // mutant: listens_from_proof
        let since = *self.since.get_or_insert(now);
        listening.set(since, self.until);
    }

    /// Takes note that the proof is over, if it is. To be called before anything is heard, and
    /// when [`until`](Self::proof_ends) has come.
    pub(crate) fn check_proof(&mut self, now: Moment, listening: &Listening) {
        if self.since.is_some() && now >= self.until {
            self.lose(listening);
        }
    }

    /// Returns when the proof ends, if there is one.
    pub(crate) fn proof_ends(&self) -> Option<Moment> {
        self.since.map(|_| self.until)
    }

    /// Returns since when it listens without a gap.
    pub(crate) fn since(&self) -> Option<Moment> {
        self.since
    }

    /// The task that hears the events starts again, and so does the connection. Returns the number
    /// of the new task: what an earlier one still hears is not heard.
    pub(crate) fn restart(&mut self, listening: &Listening) -> u64 {
        self.lose(listening);
        self.is_connected = false;
        self.task += 1;
        self.task
    }

    /// Returns whether the task of this number is the current one.
    pub(crate) fn is_current(&self, task: u64) -> bool {
        // An earlier task may be at its last poll, on a runtime that was not driven.
        // mutant: current_task
        self.task == task
    }

    fn lose(&mut self, listening: &Listening) {
        self.since = None;
        self.until = Moment::from_nanos(0);
        self.first_beat = self.next_beat;
        listening.lose();
    }

    /// Keeps the table of senders bounded. A sender that is forgotten and heard again is a gap.
    fn make_room(&mut self, now: Moment, listening: &Listening) {
        if self.peers.len() < PEERS_MAX {
            return;
        }
        self.peers.retain(|_, peer| now.saturating_since(peer.heard_at) < FORGET_AFTER);
        if self.peers.len() >= PEERS_MAX {
            self.lose(listening);
            self.peers.clear();
        }
    }
}

/// How long a heartbeat proves that the cache listens, from its sending on.
const PROOF: std::time::Duration = std::time::Duration::from_secs(3);
/// A sender that is silent for so long has ended: others send a heartbeat each second.
const FORGET_AFTER: std::time::Duration = std::time::Duration::from_secs(60);
const BEATS_MAX: usize = 16;
const OWN_MAX: usize = 1024;
const PEERS_MAX: usize = 64 * 1024;

#[cfg(all(test, not(object_cache_loom)))]
mod tests {
    use super::*;
    use crate::Key;

    const PEER: u64 = 77;

    struct Rig {
        listener: Listener,
        listening: Listening,
        now: u64,
    }

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    impl Rig {
        fn new() -> Self {
            let mut n = 1000;
            let random = move || {
                n += 1;
                n
            };
            let listener = Listener::new(Namespace::named("n"), random);
            Self { listener, listening: Listening::default(), now: 0 }
        }

        /// That listens since 1 ms, with proof until 3 s.
        fn listening() -> Self {
            let mut rig = Self::new();
            rig.hear(BusEvent::Connected);
            let beat = rig.listener.beat(at(0));
            rig.now = 1;
            rig.hear(BusEvent::Message(beat));
            assert_eq!(rig.since(), Some(at(1)));
            rig
        }

        fn hear(&mut self, event: BusEvent) -> (Heard, Noticed) {
            self.listener.hear(event, at(self.now), &self.listening)
        }

        fn say(&mut self, seq: u64, change: Change) -> (Heard, Noticed) {
            let namespace = Namespace::named("n");
            self.hear(BusEvent::Message(Announcement { namespace, node: PEER, seq, change }))
        }

        fn since(&self) -> Option<Moment> {
            // The two never differ.
            let covers = |millis| self.listening.covers(at(millis), at(self.now));
            let since = self.listener.since().filter(|_| at(self.now) < self.listener.until);
            if let Some(since) = since {
                let since = since.as_nanos() / 1_000_000;
                assert!(!covers(since) && covers(since + 1));
            } else {
                assert!(!self.listening.is_on(at(self.now)));
            }
            since
        }
    }

    fn key() -> Change {
        Change::Key { key: Key::parse("a").expect("a key"), e_tag: None }
    }

    fn beat(last_seq: u64) -> Change {
        Change::Heartbeat { beat: 5, last_seq }
    }

    #[test]
    fn it_listens_from_its_own_first_heartbeat_on_for_three_seconds_from_its_sending() {
        let mut rig = Rig::new();
        let early = rig.listener.beat(at(0));
        rig.hear(BusEvent::Message(early.clone()));
        assert_eq!(rig.since(), None, "not connected");
        rig.hear(BusEvent::Connected);
        rig.hear(BusEvent::Message(early));
        assert_eq!(rig.since(), None, "sent before it was connected");
        let first = rig.listener.beat(at(0));
        rig.now = 2999;
        rig.hear(BusEvent::Message(first));
        assert_eq!(rig.since(), Some(at(2999)));
        let second = rig.listener.beat(at(2999));
        rig.now = 3000;
        assert_eq!(rig.since(), None);
        rig.hear(BusEvent::Message(second));
        assert_eq!(rig.since(), None, "sent before the loss was noticed");
        let third = rig.listener.beat(at(3000));
        rig.now = 5000;
        rig.hear(BusEvent::Message(third));
        assert_eq!(rig.since(), Some(at(5000)));
        rig.now = 5999;
        assert_eq!(rig.since(), Some(at(5000)));
    }

    #[test]
    fn a_heartbeat_in_time_keeps_the_since() {
        let mut rig = Rig::listening();
        for now in [1000, 2000, 3000, 4000, 5000, 6000] {
            let beat = rig.listener.beat(at(now));
            rig.now = now + 5;
            rig.hear(BusEvent::Message(beat));
            assert_eq!(rig.since(), Some(at(1)));
        }
    }

    #[test]
    fn a_gap_of_the_bus_ends_it_until_a_later_heartbeat() {
        for reason in [GapReason::Disconnected, GapReason::SlowListener, GapReason::NewerFormat] {
            let mut rig = Rig::listening();
            let under_way = rig.listener.beat(at(1));
            assert_eq!(rig.hear(BusEvent::Gap(reason)).0, Heard::Gap(reason));
            assert_eq!(rig.since(), None);
            if reason == GapReason::Disconnected {
                let beat = rig.listener.beat(at(1));
                rig.hear(BusEvent::Message(beat));
                assert_eq!(rig.since(), None);
                rig.hear(BusEvent::Connected);
            }
            rig.hear(BusEvent::Message(under_way));
            assert_eq!(rig.since(), None, "{reason}");
            let beat = rig.listener.beat(at(1));
            rig.now = 7;
            rig.hear(BusEvent::Message(beat));
            assert_eq!(rig.since(), Some(at(7)), "{reason}");
        }
    }

    #[test]
    fn numbers_that_follow_each_other_are_no_gap() {
        let mut rig = Rig::listening();
        rig.now = 5;
        for seq in [1, 2, 3, 2, 3, 1, 4] {
            assert_eq!(rig.say(seq, key()), (Heard::Change(key()), Noticed::default()), "{seq}");
        }
        for last_seq in [4, 3, 0] {
            assert_eq!(rig.say(0, beat(last_seq)), (Heard::Nothing, Noticed::default()));
        }
        assert_eq!(rig.since(), Some(at(1)));
    }

    #[test]
    fn a_number_too_great_is_a_gap_at_once() {
        for (seq, change) in [(3, key()), (0, beat(2)), (u64::MAX, Change::All)] {
            let mut rig = Rig::listening();
            rig.say(1, key());
            rig.now = 9;
            assert!(rig.say(seq, change).1.gap);
            assert_eq!(rig.since(), Some(at(9)));
        }
    }

    #[test]
    fn the_first_word_of_a_sender_is_a_gap_unless_nothing_was_missed() {
        for (seq, change, is_gap) in
            [(1, key(), false), (0, beat(0), false), (2, key(), true), (0, beat(1), true)]
        {
            let mut rig = Rig::listening();
            rig.now = 9;
            assert_eq!(rig.say(seq, change.clone()).1.gap, is_gap, "{seq} {change:?}");
            assert_eq!(rig.since(), Some(at(if is_gap { 9 } else { 1 })));
            // The same after it was connected again.
            rig.hear(BusEvent::Connected);
            assert_eq!(rig.say(seq, change).1.gap, is_gap);
        }
    }

    #[test]
    fn a_gap_while_it_does_not_listen_makes_it_not_listen() {
        let mut rig = Rig::new();
        rig.hear(BusEvent::Connected);
        assert!(rig.say(7, key()).1.gap);
        assert_eq!(rig.since(), None);
    }

    #[test]
    fn own_messages_are_known_and_others_under_the_own_number_are_applied() {
        let mut rig = Rig::listening();
        let own = rig.listener.number(key());
        assert_eq!(rig.hear(BusEvent::Message(own.clone())).0, Heard::Nothing);
        let twin = Announcement { change: Change::All, ..own };
        let (heard, noticed) = rig.hear(BusEvent::Message(twin));
        assert_eq!((heard, noticed.twin), (Heard::Change(Change::All), true));
        assert_eq!(rig.since(), Some(at(1)));
    }

    #[test]
    fn messages_of_another_namespace_are_dropped() {
        let mut rig = Rig::listening();
        let message = Announcement {
            namespace: Namespace::named("other"),
            node: PEER,
            seq: 9,
            change: Change::All,
        };
        assert_eq!(rig.hear(BusEvent::Message(message)), (Heard::Foreign, Noticed::default()));
        assert_eq!(rig.hear(BusEvent::Unreadable).0, Heard::Unreadable);
        assert_eq!(rig.since(), Some(at(1)));
    }

    #[test]
    fn a_task_that_was_replaced_hears_nothing() {
        let mut rig = Rig::listening();
        let first = rig.listener.restart(&rig.listening);
        assert_eq!(rig.since(), None);
        let second = rig.listener.restart(&rig.listening);
        assert!(!rig.listener.is_current(first) && rig.listener.is_current(second));
    }

    #[test]
    fn senders_without_end_take_a_bounded_place() {
        let mut rig = Rig::listening();
        let say = |rig: &mut Rig, n: u64| {
            let node = (1 << 32) + n;
            let namespace = Namespace::named("n");
            rig.hear(BusEvent::Message(Announcement { namespace, node, seq: 1, change: key() }));
        };
        for node in 0..PEERS_MAX as u64 {
            say(&mut rig, node);
        }
        assert_eq!(rig.since(), Some(at(1)));
        say(&mut rig, 1 << 33);
        assert_eq!(rig.since(), None);
        assert_eq!(rig.listener.peers.len(), 1);
        for node in 0..PEERS_MAX as u64 - 1 {
            say(&mut rig, node);
        }
        rig.now = 61_000;
        say(&mut rig, 1 << 40);
        assert_eq!(rig.listener.peers.len(), 1);
    }
}
