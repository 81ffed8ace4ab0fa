//! The events of one connection that its stream has not taken yet.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::mpsc;

use super::{BusEvent, Change, GapReason};

/// The end of an [`event_queue`] that the connection has. There is one for each queue, and one
/// thread uses it at a time.
#[derive(Debug)]
pub struct EventSender {
    sender: mpsc::Sender<BusEvent>,
    bytes: Arc<AtomicUsize>,
    /// Whether the last event is a gap, and messages are dropped.
    is_full: AtomicBool,
}

/// The end of an [`event_queue`] that the stream of [`ChangeBus::listen`](super::ChangeBus::listen)
/// has.
#[derive(Debug)]
pub struct EventReceiver {
    receiver: mpsc::Receiver<BusEvent>,
    bytes: Arc<AtomicUsize>,
}

/// Returns a queue of at most `capacity` events (zero is taken for one, more than 1,048,576 for
/// that) and about 32 MiB, and one gap: for a bus whose client has no bound, or does not tell where
/// messages were dropped.
///
/// ```
/// use cache_core::{BusEvent, GapReason, event_queue};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (sender, mut receiver) = event_queue(1);
/// sender.push(BusEvent::Connected);
/// sender.push(BusEvent::Unreadable); // No room.
/// assert_eq!(receiver.next().await, Some(BusEvent::Connected));
/// assert_eq!(receiver.next().await, Some(BusEvent::Gap(GapReason::SlowListener)));
/// # }
/// ```
pub fn event_queue(capacity: usize) -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::channel(capacity.clamp(1, CAPACITY_MAX) + 1);
    let bytes = Arc::<AtomicUsize>::default();
    let sender = EventSender { sender, bytes: Arc::clone(&bytes), is_full: AtomicBool::new(false) };
    (sender, EventReceiver { receiver, bytes })
}

const CAPACITY_MAX: usize = 1 << 20;
const BYTES_MAX: usize = 32 << 20;

impl EventSender {
    /// Adds `event`. If the queue is full, drops it: the last event of the queue is then a gap, so
    /// that the listener sees the gap where the dropped messages were.
    pub fn push(&self, event: BusEvent) {
        // Only this sender adds, so there is room until it has. A closed queue has no listener.
        // The last place is for the gap.
        if self.sender.capacity() > 1 && self.bytes.load(Relaxed) < BYTES_MAX {
            self.is_full.store(false, Relaxed);
            self.bytes.fetch_add(size(&event), Relaxed);
            let _ = self.sender.try_send(event);
        } else if !self.is_full.swap(true, Relaxed) {
            let _ = self.sender.try_send(BusEvent::Gap(GapReason::SlowListener));
        }
    }
}

impl EventReceiver {
    /// Returns the next event; `None` if the sender was dropped and all events were taken. A
    /// dropped future loses no event.
    pub async fn next(&mut self) -> Option<BusEvent> {
        let event = self.receiver.recv().await?;
        self.bytes.fetch_sub(size(&event), Relaxed);
        Some(event)
    }
}

/// The bytes that an event has on the heap. A gap has none, so that it need not be counted.
fn size(event: &BusEvent) -> usize {
    let BusEvent::Message(message) = event else { return 0 };
    match &message.change {
        Change::Key { key, e_tag } => {
            key.as_str().len() + e_tag.as_ref().map_or(0, |tag| tag.len())
        }
        Change::Prefix(prefix) => prefix.len(),
        _ => 0,
    }
}

#[cfg(all(test, not(object_cache_loom)))]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::{Announcement, Namespace};

    const GAP: BusEvent = BusEvent::Gap(GapReason::SlowListener);

    fn taken(receiver: &mut EventReceiver) -> Vec<BusEvent> {
        std::iter::from_fn(|| receiver.next().now_or_never().flatten()).collect()
    }

    #[test]
    fn a_full_queue_ends_with_one_gap() {
        let (sender, mut receiver) = event_queue(2);
        (0..10).for_each(|_| sender.push(BusEvent::Unreadable));
        assert_eq!(taken(&mut receiver), [BusEvent::Unreadable, BusEvent::Unreadable, GAP]);

        // It works again once it has room, also when only a part was taken.
        (0..10).for_each(|_| sender.push(BusEvent::Unreadable));
        for _ in 0..2 {
            assert_eq!(receiver.next().now_or_never(), Some(Some(BusEvent::Unreadable)));
            sender.push(BusEvent::Connected);
        }
        assert_eq!(taken(&mut receiver), [GAP, BusEvent::Connected]);
    }

    #[test]
    fn bytes_fill_a_queue_too() {
        let large = || {
            let change = Change::Prefix("p".repeat(1 << 20).into());
            let namespace = Namespace::named("s3://bucket");
            BusEvent::Message(Announcement { namespace, node: 1, seq: 1, change })
        };
        let (sender, mut receiver) = event_queue(CAPACITY_MAX);
        for _ in 0..2 {
            (0..100).for_each(|_| sender.push(large()));
            let events = taken(&mut receiver);
            assert_eq!(events.len(), 33);
            assert_eq!(events.last(), Some(&GAP));
        }
        (0..10).for_each(|_| sender.push(large()));
        assert_eq!(taken(&mut receiver).len(), 10);
        assert_eq!(receiver.bytes.load(Relaxed), 0);
    }

    #[test]
    fn no_capacity_is_too_small_or_too_large() {
        for capacity in [0, usize::MAX] {
            let (sender, mut receiver) = event_queue(capacity);
            sender.push(BusEvent::Connected);
            assert_eq!(taken(&mut receiver), [BusEvent::Connected]);
            drop(sender);
            assert_eq!(receiver.next().now_or_never(), Some(None));
        }
    }
}
