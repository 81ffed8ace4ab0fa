//! A cache's side of its bus: the changes that wait to be announced, the state of its listener, and
//! the counters.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::sync::{Notify, oneshot};

use super::timer::within;
use crate::{
    BusStats, Change, ChangeBus, Error, ErrorKind, Moment, Namespace,
    bus::Listener,
    sync::{Mutex, atomic::Ordering, lock},
};

/// A cache's side of its bus.
pub(super) struct BusState {
    pub(super) bus: Arc<dyn ChangeBus>,
    /// How long a write waits until its change was announced.
    pub(super) announce_within: Option<Duration>,
    pub(super) listener: Mutex<Listener>,
    pub(super) queue: Mutex<Queue>,
    pub(super) queued: Notify,
    pub(super) counters: Counters,
    /// When it began or ceased to listen, and for how long it did not before.
    silence: Mutex<Silence>,
}

/// Changes that wait to be announced, each with those that are told whether it was sent. One
/// without a change is told when those before it were tried.
pub(super) type Queue = VecDeque<(Option<Change>, Vec<oneshot::Sender<bool>>)>;

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) announced: AtomicU64,
    pub(super) announce_errors: AtomicU64,
    pub(super) overflows: AtomicU64,
    pub(super) heartbeats_sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) heartbeats: AtomicU64,
    pub(super) own: AtomicU64,
    pub(super) marked: AtomicU64,
    pub(super) unmarked: AtomicU64,
    pub(super) other_namespace: AtomicU64,
    pub(super) unreadable: AtomicU64,
    pub(super) same_node: AtomicU64,
    pub(super) sequence_gaps: AtomicU64,
    pub(super) slow_listener_gaps: AtomicU64,
    pub(super) format_gaps: AtomicU64,
    pub(super) disconnects: AtomicU64,
    pub(super) listens: AtomicU64,
}

/// How long the cache has not listened.
#[derive(Debug)]
struct Silence {
    /// Since when it does not; `None` while it does.
    since: Option<Moment>,
    before: Duration,
}

impl BusState {
    pub(super) fn new(
        bus: Arc<dyn ChangeBus>,
        announce_within: Option<Duration>,
        namespace: Namespace,
        now: Moment,
    ) -> Self {
        Self {
            bus,
            announce_within,
            listener: Mutex::new(Listener::new(namespace, || Namespace::unique().bits())),
            queue: Mutex::default(),
            queued: Notify::new(),
            counters: Counters::default(),
            silence: Mutex::new(Silence { since: Some(now), before: Duration::ZERO }),
        }
    }

    /// Queues `change` to be announced. The receiver is told whether it was sent.
    pub(super) fn announce(&self, change: Change) -> oneshot::Receiver<bool> {
        let (told, receiver) = oneshot::channel();
        let mut queue = lock(&self.queue);
        if queue.len() >= QUEUE_MAX {
            count(&self.counters.overflows);
            let waiting = queue.drain(..).flat_map(|(_, waiting)| waiting);
            let waiting = waiting.chain([told]).collect();
            // One message for all objects takes the place of all that wait.
            // mutant: overflow_announces_all
            queue.push_back((Some(Change::All), waiting));
        } else {
            queue.push_back((Some(change), vec![told]));
        }
        drop(queue);
        self.queued.notify_one();
        receiver
    }

    /// Waits until the changes that are queued now were announced, or this was tried, for as long
    /// as one announcement may take.
    pub(super) async fn flush(&self) {
        let (told, receiver) = oneshot::channel();
        lock(&self.queue).push_back((None, vec![told]));
        self.queued.notify_one();
        within(ANNOUNCE_MAX, receiver).await;
    }

    pub(super) fn stats(&self, now: Moment) -> BusStats {
        let Counters {
            announced,
            announce_errors,
            overflows,
            heartbeats_sent,
            received,
            heartbeats,
            own,
            marked,
            unmarked,
            other_namespace,
            unreadable,
            same_node,
            sequence_gaps,
            slow_listener_gaps,
            format_gaps,
            disconnects,
            listens,
        } = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (since, ends) = {
            let listener = lock(&self.listener);
            (listener.since(), listener.proof_ends())
        };
        let since = since.filter(|_| ends.is_some_and(|ends| now < ends));
        let silence = lock(&self.silence);
        let silent = silence.since.map_or(Duration::ZERO, |since| now.saturating_since(since));
        BusStats {
            announced: read(announced),
            announce_errors: read(announce_errors),
            overflows: read(overflows),
            queued: lock(&self.queue).len() as u64,
            heartbeats_sent: read(heartbeats_sent),
            received: read(received),
            heartbeats: read(heartbeats),
            own: read(own),
            marked: read(marked),
            unmarked: read(unmarked),
            other_namespace: read(other_namespace),
            unreadable: read(unreadable),
            same_node: read(same_node),
            sequence_gaps: read(sequence_gaps),
            slow_listener_gaps: read(slow_listener_gaps),
            format_gaps: read(format_gaps),
            disconnects: read(disconnects),
            listens: read(listens),
            is_listening: since.is_some(),
            listening_for: since.map_or(Duration::ZERO, |since| now.saturating_since(since)),
            disconnected_for: silence.before.saturating_add(silent),
        }
    }

    /// Takes note of what the listener says now of listening.
    pub(super) fn note_listening(&self, listener: &Listener, now: Moment) {
        let mut silence = lock(&self.silence);
        match (listener.since(), silence.since) {
            (Some(_), Some(since)) => {
                silence.before = silence.before.saturating_add(now.saturating_since(since));
                silence.since = None;
                count(&self.counters.listens);
            }
            (None, None) => silence.since = Some(now),
            _ => {}
        }
    }
}

/// Returns the error of a call or a rule that needs a bus.
pub(super) fn no_bus() -> Error {
    Error::new(
        ErrorKind::Config,
        "a rule until_notified needs a change bus; set one with `bus`, or use max_age",
    )
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// How long one announcement may take.
pub(super) const ANNOUNCE_MAX: Duration = Duration::from_secs(2);
const QUEUE_MAX: usize = 10_000;
