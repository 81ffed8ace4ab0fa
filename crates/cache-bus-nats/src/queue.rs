//! The messages of one connection that its stream has not taken yet.

use std::sync::atomic::{AtomicBool, Ordering};

use cache_core::{BusEvent, GapReason};
use tokio::sync::mpsc;

/// The end that the connection has. There is one for each queue, and one thread uses it at a time.
pub(crate) struct QueueSender {
    sender: mpsc::Sender<BusEvent>,
    /// Whether the last place has a gap, and messages are dropped.
    is_full: AtomicBool,
}

/// A queue of at most `capacity` messages, and one gap.
pub(crate) fn queue(capacity: usize) -> (QueueSender, mpsc::Receiver<BusEvent>) {
    let (sender, receiver) = mpsc::channel(capacity.clamp(1, CAPACITY_MAX) + 1);
    (QueueSender { sender, is_full: AtomicBool::new(false) }, receiver)
}

const CAPACITY_MAX: usize = 1 << 20;

impl QueueSender {
    /// Adds `event`. If the queue is full, drops it: the last event of the queue is then a gap, so
    /// that the listener sees the gap where the dropped messages were.
    pub(crate) fn push(&self, event: BusEvent) {
        if self.sender.capacity() > 1 {
            self.is_full.store(false, Ordering::Relaxed);
            // Only this sender adds, so there is room. A closed queue has no listener.
            let _ = self.sender.try_send(event);
        } else if !self.is_full.swap(true, Ordering::Relaxed) {
            let _ = self.sender.try_send(BusEvent::Gap(GapReason::SlowListener));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(receiver: &mut mpsc::Receiver<BusEvent>) -> Vec<BusEvent> {
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    #[test]
    fn a_full_queue_ends_with_one_gap() {
        let gap = BusEvent::Gap(GapReason::SlowListener);
        let (sender, mut receiver) = queue(2);
        (0..10).for_each(|_| sender.push(BusEvent::Unreadable));
        assert_eq!(taken(&mut receiver), [BusEvent::Unreadable, BusEvent::Unreadable, gap.clone()]);

        // It works again once it has room, also when only a part was taken.
        (0..10).for_each(|_| sender.push(BusEvent::Unreadable));
        receiver.try_recv().expect("an event");
        sender.push(BusEvent::Connected);
        receiver.try_recv().expect("an event");
        sender.push(BusEvent::Connected);
        assert_eq!(taken(&mut receiver), [gap, BusEvent::Connected]);
    }

    #[test]
    fn no_capacity_is_too_small_or_too_large() {
        for capacity in [0, usize::MAX] {
            let (sender, mut receiver) = queue(capacity);
            sender.push(BusEvent::Connected);
            assert_eq!(taken(&mut receiver), [BusEvent::Connected]);
        }
    }
}
