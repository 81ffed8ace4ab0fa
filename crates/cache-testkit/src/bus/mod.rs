//! A change bus within one process, with faults.

mod channel;
mod counts;
mod fault;
mod queue;
mod rates;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{Announcement, BusEvent, ChangeBus, Error, Result};
use futures_util::{Stream, StreamExt as _, stream::BoxStream};
use tokio::sync::watch;

use self::{channel::Channel, fault::Effect};
pub use self::{
    counts::BusCounts,
    fault::{BusFault, BusPassage},
    rates::FaultRates,
};
use crate::faults::Faults;

/// A [`ChangeBus`] within one process, that drops, repeats, delays and reorders messages, and more,
/// when a test tells it to.
///
/// A clone is another handle of the same bus. Each handle belongs to one node, a number of the
/// test's choice ([`node`](Self::node); 0 for the first handle): faults can be narrowed down to
/// nodes. It has nothing to do with [`Announcement::node`].
///
/// Messages go through [`Announcement::to_bytes`] and [`BusEvent::from_bytes`]. The bus has no
/// timers, starts no tasks and needs no runtime: a message is in the queues of all listeners when
/// `announce` returns, so that a run on one thread is the same every time. A listener may leave
/// 1,024 messages unread ([`set_queue_len`](Self::set_queue_len)); further ones are dropped, and a
/// [`Gap`](BusEvent::Gap) is reported.
///
/// ```
/// use cache_core::{Announcement, BusEvent, Change, ChangeBus, Namespace};
/// use cache_testkit::{BusFault, LocalBus};
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> cache_core::Result<()> {
/// let bus = LocalBus::new();
/// let mut events = bus.node(1).listen();
/// assert_eq!(events.next().await, Some(BusEvent::Connected));
///
/// bus.fault(BusFault::drop_silently().to(1).once());
/// for seq in 1..=2 {
///     let (namespace, change) = (Namespace::named("s3://bucket"), Change::All);
///     bus.announce(&Announcement { namespace, node: 7, seq, change }).await?;
/// }
/// let Some(BusEvent::Message(message)) = events.next().await else { panic!("no message") };
/// assert_eq!(message.seq, 2);
/// assert_eq!(bus.counts().dropped, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LocalBus {
    shared: Arc<Shared>,
    node: usize,
}

struct Shared {
    channel: Mutex<Channel>,
    faults: Faults<BusFault>,
    /// Counts the changes, for those that wait for one.
    n_changes: watch::Sender<u64>,
}

impl LocalBus {
    /// Returns a bus without faults, as node 0.
    pub fn new() -> Self {
        Self::seeded(0, FaultRates::NONE)
    }

    /// Returns a bus on which faults happen that are drawn from `seed`, beside those that are
    /// scripted. The same calls in the same order meet the same faults.
    pub fn seeded(seed: u64, rates: FaultRates) -> Self {
        let shared = Shared {
            channel: Mutex::new(Channel::new(seed, rates)),
            faults: Faults::default(),
            n_changes: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared), node: 0 }
    }

    /// Returns a handle of this bus for another node.
    #[must_use]
    pub fn node(&self, node: usize) -> Self {
        Self { shared: Arc::clone(&self.shared), node }
    }

    /// Sets how often faults are drawn from now on.
    pub fn set_rates(&self, rates: FaultRates) {
        self.shared.change(|channel| channel.rates = rates);
    }

    /// Sets how many messages each stream that is opened from now on may leave unread. Default:
    /// 1,024. Zero is taken for one.
    pub fn set_queue_len(&self, messages: usize) {
        self.shared.change(|channel| channel.queue_len = messages);
    }

    /// Adds a fault. Faults that were added first come first.
    pub fn fault(&self, fault: BusFault) {
        self.shared.faults.add(fault);
    }

    /// Disconnects a node: its streams report a gap, also those that it opens later, and
    /// connect again at [`heal`](Self::heal). Its announcements fail and are not sent.
    pub fn cut(&self, node: usize) {
        self.shared.change(|channel| channel.cut(Some(node)));
    }

    /// [`cut`](Self::cut)s all nodes.
    pub fn cut_all(&self) {
        self.shared.change(|channel| channel.cut(None));
    }

    /// Splits the nodes into groups that do not hear each other, and are not told. Nodes that are
    /// in none are one more group. Takes the place of an earlier split.
    pub fn split(&self, groups: &[&[usize]]) {
        self.shared.change(|channel| channel.split(groups.iter().copied()));
    }

    /// Has a node hear nothing more, not even its own messages, without being told: it stays
    /// connected, and streams that it opens report [`Connected`](BusEvent::Connected). Its
    /// announcements are delivered to others.
    pub fn blackhole(&self, node: usize) {
        self.shared.change(|channel| channel.blackhole(Some(node)));
    }

    /// [`blackhole`](Self::blackhole)s all nodes.
    pub fn blackhole_all(&self) {
        self.shared.change(|channel| channel.blackhole(None));
    }

    /// Ends the open streams of a node, once they have been read.
    pub fn end(&self, node: usize) {
        self.shared.change(|channel| channel.end(Some(node)));
    }

    /// Ends all open streams, once they have been read.
    pub fn end_all(&self) {
        self.shared.change(|channel| channel.end(None));
    }

    /// Delivers bytes to all streams that are connected, whether they are a message or not.
    pub fn inject(&self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.shared.change(|channel| channel.inject(None, &bytes));
    }

    /// Delivers bytes to the streams of a node that are connected.
    pub fn inject_to(&self, node: usize, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.shared.change(|channel| channel.inject(Some(node), &bytes));
    }

    /// Returns the latest 1,024 messages that were sent, oldest first: to be injected again.
    pub fn sent(&self) -> Vec<Bytes> {
        self.shared.change(|channel| channel.sent())
    }

    /// Delivers the messages that are delayed, and one that waits for the next. Lets the
    /// announcements go on that hang. Faults stay.
    pub fn release(&self) {
        self.shared.change(Channel::release);
        self.shared.faults.release(usize::MAX);
    }

    /// Takes away all faults that were scripted, ends cuts, splits and blackholes, whether they
    /// were scripted or drawn, and [`release`](Self::release)s. Streams that were disconnected
    /// report [`Connected`](BusEvent::Connected). Rates stay.
    pub fn heal(&self) {
        self.shared.faults.heal();
        self.shared.change(|channel| {
            channel.release();
            channel.connect_all();
        });
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> BusCounts {
        self.shared.channel().counts
    }

    /// Waits until `condition` holds of the counts.
    pub async fn wait_until(&self, condition: impl Fn(&BusCounts) -> bool) {
        let mut changes = self.shared.n_changes.subscribe();
        while !condition(&self.counts()) {
            // The sender is this handle's.
            let _ = changes.changed().await;
        }
    }

    /// Waits until `n` announcements hang.
    pub async fn wait_until_held(&self, n: usize) {
        self.shared.faults.wait_until_held(n).await;
    }
}

impl Default for LocalBus {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LocalBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBus")
            .field("node", &self.node)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ChangeBus for LocalBus {
    async fn announce(&self, message: &Announcement) -> Result<()> {
        let bytes = Bytes::from(message.to_bytes());
        let (number, drawn) = self.shared.change(|channel| channel.begin(self.node));
        let message = Arc::new(message.clone());
        let passage = BusPassage { number, from: self.node, to: None, listener: None, message };
        let (faults, since) = self.shared.faults.now();
        let scripted = || faults.iter().find_map(|fault| fault.take(&passage));
        match drawn.or_else(scripted) {
            Some((Effect::Fail(kind), late)) => {
                if late {
                    self.send(passage, &bytes);
                }
                self.shared.change(|channel| channel.counts.failed += 1);
                Err(Error::new(kind, "injected fault: the announcement failed"))
            }
            Some((_, late)) => {
                if late {
                    self.send(passage.clone(), &bytes);
                }
                self.shared.change(|channel| channel.counts.hung += 1);
                self.shared.faults.hold(since).await;
                if !late {
                    self.send(passage, &bytes);
                }
                Ok(())
            }
            None => {
                self.send(passage, &bytes);
                Ok(())
            }
        }
    }

    fn listen(&self) -> BoxStream<'static, BusEvent> {
        Listening { bus: self.clone(), id: None }.boxed()
    }
}

impl LocalBus {
    fn send(&self, passage: BusPassage, bytes: &Bytes) {
        let (faults, _) = self.shared.faults.now();
        if self.shared.change(|channel| channel.send(passage, bytes, &faults)) {
            self.shared.faults.release(usize::MAX);
        }
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut Channel) -> T) -> T {
        let mut channel = self.channel();
        let changed = change(&mut channel);
        let wakers = channel.take_wakers();
        // A waker may call the bus.
        drop(channel);
        wakers.into_iter().for_each(Waker::wake);
        self.n_changes.send_modify(|n_changes| *n_changes = n_changes.wrapping_add(1));
        changed
    }

    fn channel(&self) -> MutexGuard<'_, Channel> {
        // A condition of a fault that panicked leaves nothing half done that a test relies on.
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of events. Subscribes when it is first polled.
struct Listening {
    bus: LocalBus,
    id: Option<u64>,
}

impl Stream for Listening {
    type Item = BusEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<BusEvent>> {
        let (node, id) = (self.bus.node, self.id);
        let (id, event) = self.bus.shared.change(|channel| {
            let id = id.unwrap_or_else(|| channel.subscribe(node));
            (id, channel.next(id, context.waker()))
        });
        self.id = Some(id);
        event
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.bus.shared.change(|channel| channel.unsubscribe(id));
        }
    }
}
