//! Faults of a bus that a test scripts.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use cache_core::{Announcement, ErrorKind};

use crate::{faults::Holding, narrow::Narrow};

/// A fault of a [`LocalBus`](super::LocalBus), and to which messages it happens.
///
/// The constructor says what happens. By default it happens to every message, for each listener;
/// the methods narrow that down. The first fault whose conditions hold happens to a message, and no
/// other one.
#[must_use = "give it to `LocalBus::fault`"]
pub struct BusFault {
    effect: Effect,
    late: bool,
    narrow: Narrow<BusPassage>,
}

/// A message on its way: an announcement by a node, or its delivery to one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusPassage {
    /// The number of the announcement on this bus, from 0.
    pub number: u64,
    /// The node that announces it, as [`LocalBus::node`](super::LocalBus::node) numbers it.
    pub from: usize,
    /// The node that it is delivered to; `None` while it is announced.
    pub to: Option<usize>,
    /// The number of the stream that it is delivered to, in the order of their first polls, from
    /// 0; `None` while it is announced.
    pub listener: Option<u64>,
    /// The message.
    pub message: Arc<Announcement>,
}

/// The effect of a fault on a message.
#[derive(Clone)]
pub(super) enum Effect {
    Drop,
    DropReported,
    Repeat,
    Delay,
    Reorder,
    Cut,
    Edit(Arc<dyn Fn(Bytes) -> Bytes + Send + Sync>),
    Fail(ErrorKind),
    Hang,
}

impl BusFault {
    /// The message is dropped for the listener, and nothing is reported.
    pub fn drop_silently() -> Self {
        Self::new(Effect::Drop)
    }

    /// The message is dropped for the listener, and a gap is reported in its place.
    pub fn drop_with_gap() -> Self {
        Self::new(Effect::DropReported)
    }

    /// The message is delivered twice, one after the other.
    pub fn repeat() -> Self {
        Self::new(Effect::Repeat)
    }

    /// The message waits until [`LocalBus::release`](super::LocalBus::release); later ones are
    /// delivered before it. As many messages of a listener wait as its queue has room for; further
    /// ones are dropped.
    pub fn delay() -> Self {
        Self::new(Effect::Delay)
    }

    /// The message is delivered directly after the next one. Where this happens to every message,
    /// each two change places.
    pub fn reorder() -> Self {
        Self::new(Effect::Reorder)
    }

    /// The listener is disconnected before the message is delivered, until
    /// [`LocalBus::heal`](super::LocalBus::heal).
    pub fn cut() -> Self {
        Self::new(Effect::Cut)
    }

    /// The bytes of the message are edited.
    pub fn edit(edit: impl Fn(Bytes) -> Bytes + Send + Sync + 'static) -> Self {
        Self::new(Effect::Edit(Arc::new(edit)))
    }

    /// `announce` fails, and nothing is sent. It happens to announcements, not to deliveries.
    pub fn fail(kind: ErrorKind) -> Self {
        Self::new(Effect::Fail(kind))
    }

    /// `announce` waits until [`LocalBus::release`](super::LocalBus::release), and sends the
    /// message then. It happens to announcements, not to deliveries.
    pub fn hang() -> Self {
        Self::new(Effect::Hang)
    }

    /// The message was sent already when `announce` fails or waits. Changes nothing for faults
    /// that happen to deliveries.
    pub fn late(mut self) -> Self {
        self.late = true;
        self
    }

    /// Happens once.
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Happens the next `n` times that all conditions hold. Zero: never.
    pub fn times(mut self, n: usize) -> Self {
        self.narrow = self.narrow.times(n);
        self
    }

    /// Happens only where `condition` holds, and all other conditions do. They are evaluated in the
    /// order in which they were added, until one does not hold. A condition must not call the bus.
    pub fn when(mut self, condition: impl Fn(&BusPassage) -> bool + Send + Sync + 'static) -> Self {
        self.narrow = self.narrow.when(condition);
        self
    }

    /// Happens only to deliveries to this node.
    pub fn to(self, node: usize) -> Self {
        self.when(move |passage| passage.to == Some(node))
    }

    /// Happens only to messages of this node.
    pub fn from(self, node: usize) -> Self {
        self.when(move |passage| passage.from == node)
    }

    /// Happens only to deliveries to this stream; see [`BusPassage::listener`].
    pub fn listener(self, listener: u64) -> Self {
        self.when(move |passage| passage.listener == Some(listener))
    }

    /// Happens to every `n`th of the messages for which all conditions so far hold. Zero is taken
    /// for one.
    pub fn every(self, n: u64) -> Self {
        let count = AtomicU64::new(0);
        self.when(move |_| {
            (count.fetch_add(1, Ordering::Relaxed).wrapping_add(1)).is_multiple_of(n.max(1))
        })
    }

    /// Happens to about one in `n` of the messages for which all conditions so far hold, drawn from
    /// `seed`. Zero is taken for one.
    pub fn one_in(mut self, n: u64, seed: u64) -> Self {
        self.narrow = self.narrow.one_in(n, seed);
        self
    }

    /// The effect, if it happens to `passage`. Counts one use if so.
    pub(super) fn take(&self, passage: &BusPassage) -> Option<(Effect, bool)> {
        let is_of_announcements = matches!(self.effect, Effect::Fail(_) | Effect::Hang);
        let can_happen = is_of_announcements == passage.to.is_none();
        (can_happen && self.narrow.take(passage)).then(|| (self.effect.clone(), self.late))
    }

    fn new(effect: Effect) -> Self {
        Self { effect, late: false, narrow: Narrow::default() }
    }
}

impl fmt::Debug for BusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusFault")
            .field("effect", &self.effect)
            .field("late", &self.late)
            .field("narrow", &self.narrow)
            .finish()
    }
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drop => "drop",
            Self::DropReported => "drop with a gap",
            Self::Repeat => "repeat",
            Self::Delay => "delay",
            Self::Reorder => "reorder",
            Self::Cut => "cut",
            Self::Edit(_) => "edit",
            Self::Fail(_) => "fail",
            Self::Hang => "hang",
        })
    }
}

impl Holding for BusFault {
    fn is_hold(&self) -> bool {
        matches!(self.effect, Effect::Hang)
    }
}
