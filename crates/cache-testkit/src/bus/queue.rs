//! The events that one listener has not read yet.

use std::{collections::VecDeque, task::Waker};

use bytes::Bytes;
use cache_core::GapReason;

/// An event before its bytes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Message(Bytes),
    Gap(GapReason),
    Connected,
}

/// A bounded queue: `capacity` items, up to two more, and the tail.
pub(super) struct Queue {
    items: VecDeque<Item>,
    capacity: usize,
    /// Comes after all items. However often the connection changes, it stays one gap and one
    /// `Connected`.
    tail: Tail,
    pub(super) waker: Option<Waker>,
}

#[derive(Default, Clone, Copy)]
struct Tail {
    gap: Option<GapReason>,
    connected: bool,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        let (items, tail) = (VecDeque::new(), Tail::default());
        Self { items, capacity: capacity.max(1), tail, waker: None }
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front().or_else(|| self.tail.pop());
        item.inspect(|_| self.waker = None)
    }

    /// Appends a message. `false` if there is no room for it: then a gap is reported.
    pub(super) fn push(&mut self, message: Bytes) -> bool {
        if self.is_full() {
            // A `Connected` that is not read yet promises nothing about this message.
            if !self.tail.connected {
                self.tail.gap.get_or_insert(GapReason::SlowListener);
            }
            return false;
        }
        self.flush_tail();
        self.items.push_back(Item::Message(message));
        true
    }

    /// Reports a gap. The message is lost for that listener if it was `Disconnected`.
    pub(super) fn push_gap(&mut self, reason: GapReason) {
        let is_other = self.tail.connected || self.tail.gap.is_some_and(|gap| gap != reason);
        if is_other && !self.is_full() {
            self.flush_tail();
        }
        if reason == GapReason::Disconnected {
            self.tail = Tail { gap: Some(reason), connected: false };
        } else if !self.tail.connected {
            self.tail.gap.get_or_insert(reason);
        }
    }

    pub(super) fn push_connected(&mut self) {
        self.tail.connected = true;
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many messages there are.
    pub(super) fn n_messages(&self) -> usize {
        self.items.iter().filter(|item| matches!(item, Item::Message(_))).count()
    }

    fn is_full(&self) -> bool {
        self.items.len() >= self.capacity
    }

    fn flush_tail(&mut self) {
        while let Some(item) = self.tail.pop() {
            self.items.push_back(item);
        }
    }
}

impl Tail {
    fn pop(&mut self) -> Option<Item> {
        match self.gap.take() {
            Some(reason) => Some(Item::Gap(reason)),
            None => std::mem::take(&mut self.connected).then_some(Item::Connected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut Queue) -> Vec<Item> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    fn message(byte: u8) -> Bytes {
        Bytes::copy_from_slice(&[byte])
    }

    #[test]
    fn a_full_queue_reports_one_gap_where_the_loss_is() {
        let mut queue = Queue::new(2);
        queue.push_connected();
        let pushed: Vec<_> = (0..5).map(|n| queue.push(message(n))).collect();
        // `Connected` takes a place too, once a message follows it.
        assert_eq!(pushed, [true, false, false, false, false]);
        assert_eq!(queue.pop(), Some(Item::Connected));
        assert!(queue.push(message(8)));
        let gap = Item::Gap(GapReason::SlowListener);
        assert_eq!(all(&mut queue), [Item::Message(message(0)), gap, Item::Message(message(8))]);
    }

    #[test]
    fn a_connection_that_flaps_takes_no_more_room() {
        let mut queue = Queue::new(3);
        assert!(queue.push(message(0)));
        for _ in 0..1000 {
            queue.push_gap(GapReason::Disconnected);
            queue.push_connected();
            queue.push_gap(GapReason::SlowListener);
        }
        queue.push_gap(GapReason::Disconnected);
        queue.push_connected();
        let items = all(&mut queue);
        assert!(items.len() <= 7, "{items:?}");
        let end = [Item::Gap(GapReason::Disconnected), Item::Connected];
        assert!(items.ends_with(&end), "{items:?}");
    }
}
