//! A kind of bus under test, and the streams that the rules read.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use cache_core::{Announcement, BusEvent, Change, ChangeBus, Key, Namespace};
use futures_util::{StreamExt as _, future::BoxFuture, stream::BoxStream};

use crate::{
    LocalBus,
    conformance::{Broken, Fault, Outcome, PATIENCE, bounds::Calls, chain, checked},
};

/// The properties of a bus that it declares.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Capabilities {
    pub(super) unread_bytes_max: usize,
}

impl Capabilities {
    /// Returns the default: at most 64 MiB are kept for a stream that is not polled.
    pub fn new() -> Self {
        Self { unread_bytes_max: 64 << 20 }
    }

    /// Sets how many bytes of messages the client and the server may keep for a stream that is not
    /// polled, buffers of sockets included. Default: 64 MiB. The suite sends a quarter more than
    /// that.
    pub fn unread_bytes_max(mut self, bytes: usize) -> Self {
        self.unread_bytes_max = bytes;
        self
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::new()
    }
}

/// The server of a bus, for rules about outages and about bytes that no cache sends. A method that
/// returns `false`, as all do by default, has done nothing; its rules are then left out.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Closes the connections of all clients, and accepts no new ones. Returns once it is done.
    async fn stop(&self) -> bool {
        false
    }

    /// Accepts connections again.
    async fn start(&self) {}

    /// Sends bytes as a message on the channel of `namespace`.
    async fn send(&self, namespace: Namespace, bytes: &[u8]) -> bool {
        let _ = (namespace, bytes);
        false
    }
}

/// The bus is its own server.
#[async_trait]
impl Broker for LocalBus {
    async fn stop(&self) -> bool {
        self.cut_all();
        true
    }

    async fn start(&self) {
        self.heal();
    }

    async fn send(&self, _: Namespace, bytes: &[u8]) -> bool {
        self.inject(bytes.to_vec());
        true
    }
}

/// A kind of bus under test.
#[derive(Clone)]
pub struct Suite {
    open: Arc<Open>,
    pub(super) can: Capabilities,
    broker: Option<Arc<dyn Broker>>,
    patience: Duration,
    pub(super) calls: Calls,
}

type Open = dyn Fn(Namespace) -> BoxFuture<'static, Arc<dyn ChangeBus>> + Send + Sync;

impl Suite {
    /// Returns a suite over buses that `open` opens: each is a client of its own, as another
    /// process would have it, of the channel of that namespace. Each rule uses other namespaces.
    pub fn new<F>(
        capabilities: Capabilities,
        open: impl Fn(Namespace) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Arc<dyn ChangeBus>> + Send + 'static,
    {
        let open = Arc::new(move |namespace| Box::pin(open(namespace)) as BoxFuture<'static, _>);
        let (patience, calls) = (PATIENCE, Calls::new());
        Self { open, can: capabilities, broker: None, patience, calls }
    }

    /// Sets the server of the bus. Default: none, and the rules that need one are left out.
    #[must_use]
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = Some(broker);
        self
    }

    /// Sets how long a rule may make no progress before it is given up, and the calls that it waits
    /// for are reported. Default: [`PATIENCE`]. Zero gives up a call that does not return at once.
    #[must_use]
    pub fn patience(mut self, span: Duration) -> Self {
        self.patience = span;
        self
    }

    /// Runs `checking` as the rule `rule`, over a channel that no other rule uses.
    pub(super) async fn checked(
        &self,
        rule: &'static str,
        checking: impl AsyncFnOnce(&Channel) -> Result<Outcome, Fault> + Send + 'static,
    ) -> Result<Outcome, Broken> {
        let suite = Self { calls: Calls::new(), ..self.clone() };
        let calls = suite.calls.clone();
        let channel = Channel { suite, namespace: Namespace::unique() };
        checked(rule, self.patience, calls, 1, async move || checking(&channel).await).await
    }

    /// Runs `checking`, which finds nothing or a fault.
    pub(super) async fn kept(
        &self,
        rule: &'static str,
        checking: impl AsyncFnOnce(&Channel) -> Result<(), Fault> + Send + 'static,
    ) -> Result<Outcome, Broken> {
        self.checked(rule, async move |channel| checking(channel).await.map(|()| Outcome::Kept))
            .await
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("can", &self.can).finish_non_exhaustive()
    }
}

/// The channel of one rule.
pub(super) struct Channel {
    pub(super) suite: Suite,
    namespace: Namespace,
}

impl Channel {
    /// Opens a client.
    pub(super) async fn open(&self, name: &'static str) -> Result<Client<'_>, Fault> {
        let open = || (self.suite.open)(self.namespace);
        let bus = self.suite.calls.answered(format!("opening {name}"), open).await?;
        Ok(Client { channel: self, bus, name })
    }

    /// A message about a key.
    pub(super) fn message(&self, node: u64, seq: u64) -> Announcement {
        self.message_of(node, seq, Change::Prefix(format!("{node}/{seq}").into()))
    }

    /// A message that is nearly as large as one can be.
    pub(super) fn large_message(&self, node: u64, seq: u64) -> Result<Announcement, Fault> {
        let change = Change::Key { key: large_key()?, e_tag: Some(large_tag().into()) };
        Ok(self.message_of(node, seq, change))
    }

    pub(super) fn message_of(&self, node: u64, seq: u64, change: Change) -> Announcement {
        Announcement { namespace: self.namespace, node, seq, change }
    }

    /// Stops the server. `false` if it cannot be stopped.
    pub(super) async fn stop(&self) -> Result<bool, Fault> {
        let Some(broker) = &self.suite.broker else { return Ok(false) };
        self.suite.calls.answered("the broker's `stop`", || broker.stop()).await
    }

    pub(super) async fn start(&self) -> Result<(), Fault> {
        let Some(broker) = &self.suite.broker else { return Ok(()) };
        self.suite.calls.answered("the broker's `start`", || broker.start()).await
    }

    /// Sends bytes. `false` if that cannot be done.
    pub(super) async fn send(&self, bytes: &[u8]) -> Result<bool, Fault> {
        let Some(broker) = &self.suite.broker else { return Ok(false) };
        let send = || broker.send(self.namespace, bytes);
        self.suite.calls.answered("the broker's `send`", send).await
    }
}

/// A client of the channel.
pub(super) struct Client<'a> {
    channel: &'a Channel,
    pub(super) bus: Arc<dyn ChangeBus>,
    name: &'static str,
}

impl Client<'_> {
    /// Announces a message, and expects that this succeeds.
    pub(super) async fn announce(&self, message: &Announcement) -> Result<(), Fault> {
        self.try_announce(message).await?.map_err(|error| {
            let (name, shown) = (self.name, Shown(message));
            format!("`announce` of {shown} by {name} failed: {}", chain(&error))
        })
    }

    pub(super) async fn try_announce(
        &self,
        message: &Announcement,
    ) -> Result<cache_core::Result<()>, Fault> {
        let name = format!("`announce` of {} by {}", Shown(message), self.name);
        self.channel.suite.calls.answered(name, || self.bus.announce(message)).await
    }

    /// Opens a stream that is not polled.
    pub(super) fn listen(&self) -> Result<Listener, Fault> {
        let calls = self.channel.suite.calls.clone();
        let events = calls.returned(format!("`listen` of {}", self.name), || self.bus.listen())?;
        Ok(Listener { events: Some(events), name: self.name, calls, seen: BTreeMap::new() })
    }

    /// Opens a stream, and expects `Connected` of it.
    pub(super) async fn connected(&self) -> Result<Listener, Fault> {
        let mut listener = self.listen()?;
        let expected = "`Connected`, first of all";
        match listener.next(expected).await? {
            BusEvent::Connected => Ok(listener),
            event => Err(listener.unexpected(&event, expected)),
        }
    }
}

/// A stream of one client.
pub(super) struct Listener {
    events: Option<BoxStream<'static, BusEvent>>,
    name: &'static str,
    calls: Calls,
    /// The greatest number of each node that was seen.
    seen: BTreeMap<u64, u64>,
}

/// The next event of a stream of numbered messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Message(Announcement),
    /// Messages may be missing from here on.
    Gap,
    Connected,
}

impl Listener {
    /// The next event. If there is none, the fault says that `expected` did not come.
    pub(super) async fn next(&mut self, expected: &str) -> Result<BusEvent, Fault> {
        let name = self.name;
        let Some(events) = &mut self.events else { return Err("the stream was dropped".into()) };
        let call = format!("the next event of a stream of {name}, expected to be {expected},");
        let event = self.calls.answered(call, || events.next()).await?;
        event.ok_or_else(|| format!("a stream of {name} ended; it must not, and connects again"))
    }

    /// Expects this message; repeats of earlier ones are skipped.
    pub(super) async fn expect(&mut self, message: &Announcement, when: &str) -> Result<(), Fault> {
        let expected = format!("{} {when}", Shown(message));
        loop {
            match self.next(&expected).await? {
                BusEvent::Message(heard) if heard == *message => {
                    self.seen.insert(heard.node, heard.seq);
                    return Ok(());
                }
                BusEvent::Message(heard) if self.has_seen(&heard) => {}
                event => return Err(self.unexpected(&event, &expected)),
            }
        }
    }

    /// Reads on in the numbers of each node, from 1: one that is left out must be a gap.
    pub(super) async fn hear(&mut self) -> Result<Heard, Fault> {
        loop {
            match self.next("a message or a gap").await? {
                BusEvent::Message(heard) if self.has_seen(&heard) => {}
                BusEvent::Message(heard) => {
                    let before = self.seen.insert(heard.node, heard.seq).unwrap_or(0);
                    if before + 1 == heard.seq {
                        return Ok(Heard::Message(heard));
                    }
                    let (name, node, seq) = (self.name, heard.node, heard.seq);
                    return Err(format!(
                        "a stream of {name} brought number {seq} of node {node} after number \
                         {before} and reported no gap; `announce` was called with them one after \
                         another"
                    ));
                }
                BusEvent::Connected => return Ok(Heard::Connected),
                BusEvent::Gap(_) => return Ok(Heard::Gap),
                event => return Err(self.unexpected(&event, "a message or a gap")),
            }
        }
    }

    /// Drops the stream.
    pub(super) fn close(mut self) -> Result<(), Fault> {
        let events = self.events.take();
        self.calls.returned(format!("dropping a stream of {}", self.name), || drop(events))
    }

    pub(super) fn unexpected(&self, event: &BusEvent, expected: &str) -> Fault {
        let seen = match event {
            BusEvent::Message(message) => Shown(message).to_string(),
            event => format!("`{event:?}`"),
        };
        format!("a stream of {} brought {seen}; expected {expected}", self.name)
    }

    fn has_seen(&self, heard: &Announcement) -> bool {
        self.seen.get(&heard.node).is_some_and(|seen| heard.seq <= *seen)
    }
}

/// A message in few words.
pub(super) struct Shown<'a>(pub(super) &'a Announcement);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Announcement { node, seq, change, .. } = self.0;
        write!(f, "message {seq} of node {node} (")?;
        match change {
            Change::Key { key, e_tag } => {
                let tag_len = e_tag.as_ref().map_or(0, |tag| tag.len());
                write!(f, "a key of {} bytes, a tag of {tag_len}", key.as_str().len())?;
            }
            Change::Prefix(prefix) if prefix.len() < 80 => write!(f, "prefix {prefix:?}")?,
            Change::Prefix(prefix) => write!(f, "a prefix of {} bytes", prefix.len())?,
            Change::All => f.write_str("all")?,
            Change::Heartbeat { beat, last_seq } => write!(f, "beat {beat}, last {last_seq}")?,
            _ => f.write_str("another change")?,
        }
        f.write_str(")")
    }
}

pub(super) fn key(text: &str) -> Result<Key, Fault> {
    Key::parse(text).map_err(|error| format!("the suite made a key that is none: {error}"))
}

/// The longest key.
pub(super) fn large_key() -> Result<Key, Fault> {
    key(&"k".repeat(Key::LEN_MAX))
}

/// The longest ETag that a message may have.
pub(super) fn large_tag() -> String {
    "t".repeat(16 * 1024)
}
