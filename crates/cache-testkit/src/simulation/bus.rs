//! The bus: a [`LocalBus`] with faults of the seed, and for each cache a handle that delays what it
//! hears and records what it must have made of that.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{Announcement, BusEvent, Change, ChangeBus, GapReason, Namespace, Result};
use futures_util::{Stream, StreamExt as _, stream::BoxStream};
use tokio::time::{Sleep, sleep};

use super::{
    origin::World,
    schedule::{BusPlan, KEYS, Trouble, ms},
};
use crate::{FaultRates, LocalBus, history::Source, random::Random};

/// The bus of a schedule.
pub(super) struct Bus {
    plan: BusPlan,
    seed: u64,
    local: LocalBus,
    world: Arc<World>,
    said: Mutex<Vec<Said>>,
    moods: Mutex<BTreeMap<usize, Mood>>,
}

/// A message that was announced.
struct Said {
    message: Announcement,
    /// The cache that did.
    instance: u64,
    /// The keys that it is about, each with the number of a state that is not newer than what it
    /// tells.
    states: Vec<(&'static str, usize)>,
}

/// The faults of a node's listeners.
#[derive(Debug, Default, Clone, Copy)]
struct Mood {
    /// They are not polled until then.
    lags_until: Duration,
    /// They are told next that the bus has connected, which it has not.
    lies: bool,
}

impl Bus {
    pub(super) fn new(plan: &BusPlan, seed: u64, world: &Arc<World>) -> Self {
        let local = LocalBus::seeded(seed, plan.rates);
        local.set_queue_len(plan.queue_len);
        if plan.is_deaf {
            local.blackhole_all();
        }
        if plan.is_faultless() && plan.latency_max <= ms(LATENCY_MS) {
            world.history().announcements_take(ms(PROMPT_MS));
        }
        let (said, moods) = (Mutex::default(), Mutex::default());
        Self { plan: plan.clone(), seed, local, world: Arc::clone(world), said, moods }
    }

    /// The bus as the cache `instance` of `node` has it, which is the node's current one from now
    /// on.
    pub(super) fn of(self: &Arc<Self>, node: usize, instance: u64) -> NodeBus {
        self.world.history().listen(node, None, self.world.now());
        NodeBus {
            node,
            instance,
            local: self.local.node(node),
            model: Arc::default(),
            latency: Arc::new(Random::stream(self.seed, LATENCY + instance)),
            bus: Arc::clone(self),
        }
    }

    /// Lets `trouble` happen.
    pub(super) fn happens(&self, trouble: Trouble, nodes: usize) {
        match trouble {
            Trouble::Cut(node) => self.local.cut(node),
            Trouble::Blackhole(node) => self.local.blackhole(node),
            Trouble::End(node) => self.local.end(node),
            Trouble::Split(groups) => {
                let (one, other): (Vec<_>, Vec<_>) =
                    (0..nodes).partition(|node| groups >> (node % 8) & 1 == 1);
                self.local.split(&[&one, &other]);
            }
            Trouble::Heal => self.local.heal(),
            Trouble::Release => self.local.release(),
            Trouble::Replay(n) => {
                let sent = self.local.sent();
                if let Some(bytes) = sent.get(n % sent.len().max(1)) {
                    self.local.inject(bytes.clone());
                }
            }
            Trouble::Garbage(bytes) => self.local.inject(bytes.to_le_bytes().to_vec()),
            Trouble::Lag(node, span) => {
                let until = self.world.now().saturating_add(span);
                lock(&self.moods).entry(node).or_default().lags_until = until;
            }
            Trouble::Lie(node) => lock(&self.moods).entry(node).or_default().lies = true,
        }
    }

    fn mood(&self, node: usize) -> Mood {
        lock(&self.moods).get(&node).copied().unwrap_or_default()
    }

    /// The content of a message: see [`Said::states`].
    fn states_of(&self, change: &Change) -> Vec<(&'static str, usize)> {
        let history = self.world.history();
        let current = |key: &str| history.states(key).len() - 1;
        let below = |prefix: &str| {
            let keys = KEYS.into_iter().filter(|key| key.starts_with(prefix));
            keys.map(|key| (key, current(key))).collect()
        };
        match change {
            Change::Key { key, e_tag } => {
                let Some(key) = KEYS.into_iter().find(|it| *it == key.as_str()) else {
                    return Vec::new();
                };
                let state = match e_tag.as_deref().filter(|e_tag| !e_tag.starts_with("W/")) {
                    // All that is cached is marked.
                    None => Some(current(key)),
                    // A state with this tag is not.
                    Some(e_tag) => history.first_state_of(key, e_tag),
                };
                state.map(|state| (key, state)).into_iter().collect()
            }
            Change::Prefix(prefix) => below(prefix),
            Change::All => below(""),
            _ => Vec::new(),
        }
    }
}

/// The bus as one cache has it.
#[derive(Clone)]
pub(super) struct NodeBus {
    node: usize,
    instance: u64,
    bus: Arc<Bus>,
    local: LocalBus,
    model: Arc<Mutex<Model>>,
    latency: Arc<Random>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChangeBus for NodeBus {
    async fn announce(&self, message: &Announcement) -> Result<()> {
        let states = self.bus.states_of(&message.change);
        let (message_of, instance) = (message.clone(), self.instance);
        lock(&self.bus.said).push(Said { message: message_of, instance, states });
        if matches!(message.change, Change::Heartbeat { .. }) {
            lock(&self.model).beat(message, self.bus.world.now());
        }
        self.local.announce(message).await
    }

    fn listen(&self) -> BoxStream<'static, BusEvent> {
        let events = self.local.listen();
        Ear { bus: self.clone(), events, wait: None, next: None, acting_on: Vec::new() }.boxed()
    }
}

/// A stream of events, as the cache hears them.
struct Ear {
    bus: NodeBus,
    events: BoxStream<'static, BusEvent>,
    wait: Option<Pin<Box<Sleep>>>,
    /// Is under way.
    next: Option<Option<BusEvent>>,
    /// The messages that the cache has acted on when it listens again.
    acting_on: Vec<(&'static str, usize)>,
}

impl Stream for Ear {
    type Item = BusEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<BusEvent>> {
        let this = &mut *self;
        let (node, world) = (this.bus.node, Arc::clone(&this.bus.bus.world));
        for (key, state) in this.acting_on.drain(..) {
            if this.bus.is_current() {
                world.history().hear(node, key, Source::Announcement, state, world.now());
            }
        }
        loop {
            if let Some(wait) = &mut this.wait {
                std::task::ready!(wait.as_mut().poll(context));
                this.wait = None;
            }
            let mood = this.bus.bus.mood(node);
            if mood.lags_until > world.now() {
                this.wait = Some(Box::pin(sleep(mood.lags_until - world.now())));
                continue;
            }
            if mood.lies && this.bus.is_current() {
                lock(&this.bus.bus.moods).entry(node).or_default().lies = false;
                return Poll::Ready(this.hears(Some(BusEvent::Connected)));
            }
            if let Some(event) = this.next.take() {
                return Poll::Ready(this.hears(event));
            }
            let event = std::task::ready!(this.events.poll_next_unpin(context));
            let latency_max = this.bus.bus.plan.latency_max;
            let latency_ms = u64::try_from(latency_max.as_millis()).unwrap_or(0);
            let latency = ms(this.bus.latency.below(latency_ms + 1));
            this.next = Some(event);
            if !latency.is_zero() {
                this.wait = Some(Box::pin(sleep(latency)));
            }
        }
    }
}

impl Ear {
    /// Records what the cache makes of an event that it hears now.
    fn hears(&mut self, event: Option<BusEvent>) -> Option<BusEvent> {
        let NodeBus { node, instance, bus, model, .. } = &self.bus;
        let (said, now) = (lock(&bus.said), bus.world.now());
        let saying: Vec<_> = match &event {
            Some(BusEvent::Message(message)) => {
                said.iter().filter(|said| said.message == *message).collect()
            }
            _ => Vec::new(),
        };
        // Of several that said the same, it is not known which one this is.
        if let Some(first) = saying.first()
            && saying.iter().all(|said| said.instance != *instance)
        {
            self.acting_on.clone_from(&first.states);
        }
        let mut speakers: Vec<_> = saying.iter().map(|said| said.instance).collect();
        speakers.dedup();
        let listening = lock(model).hear(event.as_ref(), &speakers, *instance, now);
        if let Some(listening) = listening
            && self.bus.is_current()
        {
            bus.world.history().listen(*node, listening, now);
        }
        drop(said);
        event
    }
}

impl NodeBus {
    fn is_current(&self) -> bool {
        self.bus.world.is_current(self.node, self.instance)
    }
}

/// Since when a cache listens without a gap, and until when it has proof: by what it has heard, and
/// by which cache has said it, whatever number it gives itself.
#[derive(Debug, Default)]
struct Model {
    is_connected: bool,
    since_until: Option<(Duration, Duration)>,
    /// Own heartbeats of this number or a greater one count.
    first_beat: usize,
    /// Own heartbeats that were sent earlier do not count either.
    first_beat_at: Duration,
    /// Own heartbeats, with the moments at which they were sent.
    beats: Vec<(Announcement, Duration)>,
    /// The last number of each other cache.
    last: BTreeMap<u64, u64>,
}

/// Since when it listens now, and until when it has proof, if that has changed.
type Changed = Option<Option<(Duration, Duration)>>;

impl Model {
    fn beat(&mut self, message: &Announcement, now: Duration) {
        self.beats.push((message.clone(), now));
    }

    /// `speakers` are the caches that have announced such a message, if it is one.
    fn hear(
        &mut self,
        event: Option<&BusEvent>,
        speakers: &[u64],
        me: u64,
        now: Duration,
    ) -> Changed {
        let before = self.since_until;
        if let Some((_, until)) = before
            && now >= until
        {
            // When it has noticed that is not known: it may have sent more since.
            (self.since_until, self.first_beat_at) = (None, until);
        }
        match event {
            Some(BusEvent::Connected) => {
                self.lose();
                self.last.clear();
                self.is_connected = true;
            }
            None | Some(BusEvent::Gap(GapReason::Disconnected)) => {
                self.lose();
                self.is_connected = false;
            }
            Some(BusEvent::Gap(_)) => self.lose(),
            Some(BusEvent::Message(message)) if message.namespace == namespace() => {
                match message.change {
                    Change::Heartbeat { .. } if speakers.contains(&me) => {
                        self.hear_own_beat(message, now);
                    }
                    Change::Heartbeat { last_seq, .. } => {
                        self.hear_number(speakers, last_seq, last_seq, now);
                    }
                    _ if speakers.contains(&me) => {}
                    _ => {
                        self.hear_number(speakers, message.seq.saturating_sub(1), message.seq, now);
                    }
                }
            }
            _ => {}
        }
        (self.since_until != before).then_some(self.since_until)
    }

    fn hear_own_beat(&mut self, message: &Announcement, now: Duration) {
        let sent = self.beats.iter().position(|(beat, _)| beat == message);
        let Some(number) = sent else { return };
        let until = self.beats[number].1 + PROOF;
        let counts = number >= self.first_beat && self.beats[number].1 >= self.first_beat_at;
        if !self.is_connected || !counts || until <= now {
            return;
        }
        let (since, before) = self.since_until.unwrap_or((now, until));
        self.since_until = Some((since, until.max(before)));
    }

    /// A cache shows that `known` messages of it came before this one, and that its last one is
    /// `last`.
    fn hear_number(&mut self, speakers: &[u64], known: u64, last: u64, now: Duration) {
        let &[speaker] = speakers else { return };
        let is_first = !self.last.contains_key(&speaker);
        let heard = self.last.entry(speaker).or_default();
        // Whether one was missed before the connection was made is not known.
        let is_gap = known > *heard || is_first && known > 0;
        *heard = last.max(*heard);
        if is_gap && let Some((since, _)) = &mut self.since_until {
            *since = now;
        }
    }

    fn lose(&mut self) {
        self.since_until = None;
        self.first_beat = self.beats.len();
    }
}

impl BusPlan {
    /// Whether nothing goes wrong on the bus.
    pub(super) fn is_faultless(&self) -> bool {
        self.rates == FaultRates::NONE && self.troubles.is_empty() && !self.is_deaf
    }
}

/// That of every cache of a simulation.
pub(super) fn namespace() -> Namespace {
    Namespace::named("the simulated origin")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a heartbeat proves that a cache is connected, from its sending on.
const PROOF: Duration = Duration::from_secs(3);
/// Within this span a write is announced and heard, if nothing goes wrong: a backend may wait now
/// and then.
const PROMPT_MS: u64 = 150;
/// If no message takes longer.
const LATENCY_MS: u64 = 15;
const LATENCY: u64 = 1 << 41;
