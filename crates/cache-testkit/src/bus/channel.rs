//! The listeners of a bus, and the way of a message to each of them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    task::{Poll, Waker},
};

use bytes::Bytes;
use cache_core::{BusEvent, ErrorKind, GapReason};

use super::{
    counts::BusCounts,
    fault::{BusFault, BusPassage, Effect},
    queue::{Item, Queue},
    rates::{FaultRates, garbage},
};
use crate::random::Random;

/// All that changes, under one lock: a message reaches all listeners before the next one does.
pub(super) struct Channel {
    pub(super) counts: BusCounts,
    pub(super) queue_len: usize,
    pub(super) rates: FaultRates,
    random: Random,
    listeners: BTreeMap<u64, Listener>,
    n_listeners: u64,
    n_announced: u64,
    /// The latest messages, oldest first.
    sent: VecDeque<Bytes>,
    cut: Nodes,
    blackholes: Nodes,
    /// The group of each node; those that are not named are in one of their own.
    groups: BTreeMap<usize, usize>,
    /// To be woken once the lock is released.
    wakers: Vec<Waker>,
}

struct Listener {
    node: usize,
    is_connected: bool,
    has_ended: bool,
    queue: Queue,
    delayed: VecDeque<Bytes>,
    /// Is delivered after the next message.
    reordered: Option<Bytes>,
}

/// Some nodes, or all.
#[derive(Default)]
struct Nodes {
    all: bool,
    some: BTreeSet<usize>,
}

impl Channel {
    pub(super) fn new(seed: u64, rates: FaultRates) -> Self {
        Self {
            counts: BusCounts::default(),
            queue_len: QUEUE_LEN,
            rates,
            random: Random::stream(seed, STREAM),
            listeners: BTreeMap::new(),
            n_listeners: 0,
            n_announced: 0,
            sent: VecDeque::new(),
            cut: Nodes::default(),
            blackholes: Nodes::default(),
            groups: BTreeMap::new(),
            wakers: Vec::new(),
        }
    }

    /// The wakers of listeners for which there is something new.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    /// Begins an announcement. Returns its number, and an effect that was drawn for it.
    pub(super) fn begin(&mut self, from: usize) -> (u64, Option<(Effect, bool)>) {
        let number = self.n_announced;
        self.n_announced += 1;
        self.counts.announced += 1;
        let (rates, random) = (self.rates, &self.random);
        let fail = Effect::Fail(ErrorKind::Unavailable);
        // A node that is disconnected reaches nothing, whatever is drawn.
        let effect = if self.cut.has(from) || random.happens(rates.fail) {
            Some((fail, false))
        } else if random.happens(rates.fail_late) {
            Some((fail, true))
        } else {
            random.happens(rates.hang).then_some((Effect::Hang, false))
        };
        (number, effect)
    }

    /// Sends `bytes` to all listeners, each with a fault of its own. Returns whether announcements
    /// that hang shall go on.
    pub(super) fn send(
        &mut self,
        mut passage: BusPassage,
        bytes: &Bytes,
        faults: &[Arc<BusFault>],
    ) -> bool {
        self.counts.sent += 1;
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(bytes.clone());
        let from_group = self.groups.get(&passage.from).copied();
        for (id, listener) in &mut self.listeners {
            if listener.has_ended || !listener.is_connected {
                self.counts.disconnected += 1;
                continue;
            }
            let is_apart = self.groups.get(&listener.node).copied() != from_group;
            if is_apart || self.blackholes.has(listener.node) {
                self.counts.dropped += 1;
                continue;
            }
            (passage.to, passage.listener) = (Some(listener.node), Some(*id));
            let scripted = faults.iter().find_map(|fault| fault.take(&passage));
            let drawn = || self.rates.draw(&self.random);
            let effect = scripted.map(|(effect, _)| effect).or_else(drawn);
            listener.deliver(bytes, effect, &mut self.counts, &mut self.wakers);
        }
        self.draw_events()
    }

    /// Delivers `bytes` to the listeners of `node`, or all, without a fault.
    pub(super) fn inject(&mut self, node: Option<usize>, bytes: &Bytes) {
        self.counts.injected += 1;
        for listener in self.listeners.values_mut().filter(|listener| listener.is_of(node)) {
            if listener.has_ended || !listener.is_connected {
                self.counts.disconnected += 1;
            } else {
                listener.deliver(bytes, None, &mut self.counts, &mut self.wakers);
            }
        }
    }

    pub(super) fn sent(&self) -> Vec<Bytes> {
        self.sent.iter().cloned().collect()
    }

    /// Adds a listener, and returns its number.
    pub(super) fn subscribe(&mut self, node: usize) -> u64 {
        let id = self.n_listeners;
        self.n_listeners += 1;
        let mut listener = Listener {
            node,
            is_connected: false,
            has_ended: false,
            queue: Queue::new(self.queue_len),
            delayed: VecDeque::new(),
            reordered: None,
        };
        if self.cut.has(node) {
            listener.queue.push_gap(GapReason::Disconnected);
            self.counts.cuts += 1;
        } else {
            listener.connect(&mut self.counts, &mut self.wakers);
        }
        self.listeners.insert(id, listener);
        self.counts.listeners += 1;
        id
    }

    pub(super) fn unsubscribe(&mut self, id: u64) {
        let Some(mut listener) = self.listeners.remove(&id) else { return };
        let kept = listener.delayed.len() + usize::from(listener.reordered.is_some());
        self.counts.unread += (listener.queue.n_messages() + kept) as u64;
        self.counts.listeners -= 1;
        self.counts.connected -= u64::from(listener.is_connected);
        listener.is_connected = false;
    }

    /// Returns the next event of a listener; its waker is woken when there is one.
    pub(super) fn next(&mut self, id: u64, waker: &Waker) -> Poll<Option<BusEvent>> {
        let Some(listener) = self.listeners.get_mut(&id) else { return Poll::Ready(None) };
        let event = match listener.queue.pop() {
            Some(Item::Message(bytes)) => {
                self.counts.delivered += 1;
                BusEvent::from_bytes(&bytes)
            }
            Some(Item::Gap(reason)) => BusEvent::Gap(reason),
            Some(Item::Connected) => BusEvent::Connected,
            None if listener.has_ended => return Poll::Ready(None),
            None => {
                listener.queue.waker = Some(waker.clone());
                return Poll::Pending;
            }
        };
        Poll::Ready(Some(event))
    }

    /// Disconnects a node, or all, also those that listen later.
    pub(super) fn cut(&mut self, node: Option<usize>) {
        self.cut.add(node);
        for listener in self.listeners.values_mut().filter(|listener| listener.is_of(node)) {
            listener.cut(&mut self.counts, &mut self.wakers);
        }
    }

    pub(super) fn blackhole(&mut self, node: Option<usize>) {
        self.blackholes.add(node);
    }

    pub(super) fn split<'a>(&mut self, groups: impl Iterator<Item = &'a [usize]>) {
        self.groups = groups
            .enumerate()
            .flat_map(|(group, nodes)| nodes.iter().map(move |node| (*node, group)))
            .collect();
    }

    pub(super) fn end(&mut self, node: Option<usize>) {
        for listener in self.listeners.values_mut().filter(|listener| listener.is_of(node)) {
            listener.has_ended = true;
            self.wakers.extend(listener.queue.waker.take());
        }
    }

    /// Ends cuts, splits and blackholes.
    pub(super) fn connect_all(&mut self) {
        self.cut = Nodes::default();
        self.blackholes = Nodes::default();
        self.groups.clear();
        for listener in self.listeners.values_mut().filter(|listener| !listener.is_connected) {
            listener.connect(&mut self.counts, &mut self.wakers);
        }
    }

    /// Delivers the messages that wait, oldest first.
    pub(super) fn release(&mut self) {
        for listener in self.listeners.values_mut() {
            let waiting: Vec<_> =
                listener.reordered.take().into_iter().chain(listener.delayed.drain(..)).collect();
            for bytes in waiting {
                if listener.is_connected && !listener.has_ended {
                    listener.push(&bytes, &mut self.counts, &mut self.wakers);
                } else {
                    self.counts.disconnected += 1;
                }
            }
        }
    }

    /// Draws what happens between two messages. Returns whether announcements that hang shall go
    /// on.
    fn draw_events(&mut self) -> bool {
        let (rates, has_sent) = (self.rates, !self.sent.is_empty());
        if self.random.happens(rates.heal) {
            self.connect_all();
        }
        if has_sent && self.random.happens(rates.replay) {
            let bytes = self.sent[self.random.index(self.sent.len())].clone();
            self.inject(None, &bytes);
        }
        if self.random.happens(rates.cut) {
            let node = self.draw_node();
            node.into_iter().for_each(|node| self.cut(Some(node)));
        }
        if self.random.happens(rates.split) {
            let nodes = self.nodes();
            self.groups = nodes.into_iter().map(|node| (node, self.random.index(2))).collect();
        }
        if self.random.happens(rates.blackhole) {
            let node = self.draw_node();
            node.into_iter().for_each(|node| self.blackhole(Some(node)));
        }
        if self.random.happens(rates.end) {
            let node = self.draw_node();
            node.into_iter().for_each(|node| self.end(Some(node)));
        }
        let releases = self.random.happens(rates.release);
        if releases {
            self.release();
        }
        releases
    }

    fn draw_node(&self) -> Option<usize> {
        let nodes: Vec<_> = self.nodes().into_iter().collect();
        (!nodes.is_empty()).then(|| nodes[self.random.index(nodes.len())])
    }

    fn nodes(&self) -> BTreeSet<usize> {
        self.listeners.values().map(|listener| listener.node).collect()
    }
}

impl Listener {
    fn is_of(&self, node: Option<usize>) -> bool {
        node.is_none_or(|node| self.node == node)
    }

    fn connect(&mut self, counts: &mut BusCounts, wakers: &mut Vec<Waker>) {
        self.is_connected = true;
        counts.connects += 1;
        counts.connected += 1;
        self.queue.push_connected();
        wakers.extend(self.queue.waker.take());
    }

    fn cut(&mut self, counts: &mut BusCounts, wakers: &mut Vec<Waker>) {
        if std::mem::take(&mut self.is_connected) {
            counts.cuts += 1;
            counts.connected -= 1;
            self.queue.push_gap(GapReason::Disconnected);
            wakers.extend(self.queue.waker.take());
        }
    }

    fn deliver(
        &mut self,
        bytes: &Bytes,
        effect: Option<Effect>,
        counts: &mut BusCounts,
        wakers: &mut Vec<Waker>,
    ) {
        match effect {
            Some(Effect::Drop) => counts.dropped += 1,
            Some(Effect::DropReported) => {
                counts.gaps += 1;
                self.queue.push_gap(GapReason::SlowListener);
                wakers.extend(self.queue.waker.take());
            }
            Some(Effect::Delay) if self.delayed.len() < self.queue.capacity() => {
                counts.delayed += 1;
                self.delayed.push_back(bytes.clone());
            }
            Some(Effect::Delay) => counts.dropped += 1,
            Some(Effect::Reorder) if self.reordered.is_none() => {
                counts.reordered += 1;
                self.reordered = Some(bytes.clone());
            }
            Some(Effect::Cut) => {
                counts.disconnected += 1;
                self.cut(counts, wakers);
            }
            Some(Effect::Repeat) => {
                counts.repeated += 1;
                self.push(bytes, counts, wakers);
                self.push(bytes, counts, wakers);
            }
            Some(Effect::Edit(edit)) => {
                counts.edited += 1;
                self.push(&edit(bytes.clone()), counts, wakers);
            }
            None | Some(Effect::Reorder | Effect::Fail(_) | Effect::Hang) => {
                self.push(bytes, counts, wakers);
            }
        }
    }

    /// Appends a message to the queue, and one that waits for this behind it.
    fn push(&mut self, bytes: &Bytes, counts: &mut BusCounts, wakers: &mut Vec<Waker>) {
        for bytes in std::iter::once(bytes.clone()).chain(self.reordered.take()) {
            counts.overflowed += u64::from(!self.queue.push(bytes));
        }
        wakers.extend(self.queue.waker.take());
    }
}

impl Nodes {
    fn has(&self, node: usize) -> bool {
        self.all || self.some.contains(&node)
    }

    fn add(&mut self, node: Option<usize>) {
        match node {
            Some(node) => self.some.extend([node]),
            None => self.all = true,
        }
    }
}

impl FaultRates {
    /// Draws the fault of a message for one listener.
    fn draw(&self, random: &Random) -> Option<Effect> {
        let garbled = || {
            let random = Random::new(random.draw());
            Effect::Edit(Arc::new(move |bytes| garbage(&bytes, &random)))
        };
        if random.happens(self.drop) {
            Some(Effect::Drop)
        } else if random.happens(self.drop_reported) {
            Some(Effect::DropReported)
        } else if random.happens(self.delay) {
            Some(Effect::Delay)
        } else if random.happens(self.reorder) {
            Some(Effect::Reorder)
        } else if random.happens(self.garbage) {
            Some(garbled())
        } else {
            random.happens(self.repeat).then_some(Effect::Repeat)
        }
    }
}

/// How many messages a listener may leave unread, unless it is set.
pub(super) const QUEUE_LEN: usize = 1024;
/// How many messages are kept to be sent again.
pub(super) const SENT_MAX: usize = 1024;
/// The random numbers of the bus are others than those of other parts of a simulation.
const STREAM: u64 = 0x0b05;
