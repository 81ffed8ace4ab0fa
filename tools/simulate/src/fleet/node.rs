//! One node: its reads, its writes and its messages, in the order of virtual time.
//!
//! Nodes share the store and nothing else, and what the store has at each moment does not depend on
//! reads. So each node is replayed by itself.

use std::{
    cmp::Ordering,
    collections::{HashMap, VecDeque},
};

use super::{
    plan::{Plan, Stream, nanos},
    rule::Rule,
    times::Times,
};
use crate::{
    Result,
    ours::{Contents, contents},
    trace::Request,
};

/// The counts of one or more nodes, within the time that is counted.
#[derive(Debug)]
pub struct Counts {
    /// Reads of the program.
    pub reads: u64,
    /// Those of them that were served without a request.
    pub hits: u64,
    /// GET requests that were answered with a body.
    pub bodies: u64,
    /// Conditional GET requests that were answered with 304.
    pub not_modified: u64,
    /// LIST requests: pages.
    pub lists: u64,
    /// Bytes of bodies that were read.
    pub body_bytes: u128,
    /// Bytes of the pages of lists.
    pub list_bytes: u128,
    /// Reads that were served a version that was superseded before they began.
    pub stale: u64,
    /// The most GET requests in flight on one node at one moment.
    pub in_flight: u64,
    /// Of each read: the time from the sending of the request that validated the
    /// entry to the start of the read; zero if the read came first.
    pub ages: Times,
    /// Of each read: the time from the moment at which the served version was
    /// superseded to the start of the read; zero if it was current.
    pub staleness: Times,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            reads: 0,
            hits: 0,
            bodies: 0,
            not_modified: 0,
            lists: 0,
            body_bytes: 0,
            list_bytes: 0,
            stale: 0,
            in_flight: 0,
            ages: Times::new(),
            staleness: Times::new(),
        }
    }

    /// Adds the counts of other nodes.
    pub(super) fn add(&mut self, other: &Self) -> Result<()> {
        self.reads += other.reads;
        self.hits += other.hits;
        self.bodies += other.bodies;
        self.not_modified += other.not_modified;
        self.lists += other.lists;
        self.body_bytes += other.body_bytes;
        self.list_bytes += other.list_bytes;
        self.stale += other.stale;
        self.in_flight = self.in_flight.max(other.in_flight);
        self.ages.add(&other.ages)?;
        self.staleness.add(&other.staleness)?;
        Ok(())
    }
}

/// Replays node number `number` of `plan` under `rule`.
pub(super) fn replay(plan: &Plan<'_>, rule: Rule, number: u32) -> Result<Counts> {
    let mut node = Node::new(plan, rule, number)?;
    node.count_lists();
    let events = node.events();
    let mut events = events.into_iter().peekable();
    for (at, object) in plan.reads(number) {
        while let Some((at, event)) = events.next_if(|(event_at, _)| *event_at <= at) {
            node.complete_until(at)?;
            node.happens(at, event);
        }
        node.complete_until(at)?;
        node.read(at, object)?;
    }
    for (at, event) in events {
        node.complete_until(at)?;
        node.happens(at, event);
    }
    node.complete_until(u64::MAX)?;
    Ok(node.counts)
}

struct Node<'a> {
    plan: &'a Plan<'a>,
    rule: Rule,
    number: u32,
    /// The time that is counted, in nanoseconds.
    counted: std::ops::Range<u64>,
    round_trip: u64,
    time_to_live: u64,
    lists: Option<Lists>,
    contents: Box<dyn Contents>,
    /// By object. May be of an entry that was evicted.
    cached: Vec<Option<Cached>>,
    flights: HashMap<u32, Flight>,
    /// When the flights end, in order: all take as long.
    ends: VecDeque<(u64, u32)>,
    /// Writes that were sent and not yet acknowledged, by object.
    open: HashMap<u32, OpenWrites>,
    listening: Listening,
    counts: Counts,
}

#[derive(Debug, Clone, Copy)]
struct Cached {
    version: u32,
    /// When the request was sent that validated it.
    validated: u64,
    /// A message said that it changed.
    is_marked: bool,
}

struct Flight {
    sent: u64,
    /// The version that the store has when it processes the request.
    version: u32,
    is_conditional: bool,
    /// A write of this node, or a message that names another version: the response is not
    /// published.
    is_void: bool,
    /// A message named the object: later readers do not join.
    is_closed: bool,
    /// A reader waits for the next flight.
    has_next: bool,
}

#[derive(Default)]
struct OpenWrites {
    n: u32,
    is_contended: bool,
}

/// The time in which messages are heard.
#[derive(Default)]
struct Listening {
    since: Option<u64>,
    /// When the own heartbeat was sent that was heard last.
    beat: Option<u64>,
}

impl Listening {
    fn since(&self, now: u64) -> Option<u64> {
        let is_heard = self.beat.is_some_and(|sent| now - sent < BEATS_LATE);
        self.since.filter(|_| is_heard)
    }
}

/// An event of a node besides reads and ends of flights.
#[derive(Clone, Copy)]
enum Event {
    /// The node hears its own heartbeat.
    Beat { sent: u64 },
    /// The node learns that it missed a message.
    Gap,
    /// Another node has announced a version.
    Message { object: u32, version: u32 },
    /// The node sends a PUT.
    Put { object: u32 },
    /// The PUT is acknowledged.
    Acknowledged { object: u32, version: u32, sent: u64 },
}

/// The background lists of one node.
struct Lists {
    first: u64,
    interval: u64,
    n_pages: u64,
    objects: u64,
}

/// A page of a list that was answered.
struct Page {
    sent: u64,
    answered: u64,
    /// The version that it shows.
    version: u32,
}

impl<'a> Node<'a> {
    fn new(plan: &'a Plan<'a>, rule: Rule, number: u32) -> Result<Self> {
        let fleet = &plan.fleet;
        let round_trip = nanos(fleet.round_trip);
        let lists = match rule {
            Rule::List { every, .. } => {
                let objects = fleet.listed.unwrap_or(0).max(plan.trace.n_distinct());
                let n_pages = objects.div_ceil(PAGE_OBJECTS);
                let interval = nanos(every).max(n_pages.saturating_mul(round_trip));
                Some(Lists { first: plan.first_list(number, every), interval, n_pages, objects })
            }
            _ => None,
        };
        let start = nanos(fleet.warm_up);
        Ok(Self {
            plan,
            rule,
            number,
            counted: start..start + nanos(fleet.span),
            round_trip,
            time_to_live: nanos(fleet.time_to_live),
            lists,
            contents: contents(fleet.capacity)?,
            cached: vec![None; usize::try_from(plan.trace.n_distinct())?],
            flights: HashMap::new(),
            ends: VecDeque::new(),
            open: HashMap::new(),
            listening: Listening::default(),
            counts: Counts::new(),
        })
    }

    /// The events of the node, in order.
    fn events(&self) -> Vec<(u64, Event)> {
        let fleet = &self.plan.fleet;
        let mut rng = self.plan.rng(Stream::Bus(self.number));
        let mut events = Vec::new();
        let delay = nanos(fleet.bus_delay);
        let is_bus = matches!(self.rule, Rule::Bus { .. });
        for write in self.plan.writes() {
            let (object, version, sent) = (write.object, write.version, write.at);
            let acknowledged = sent + self.round_trip;
            if write.node == self.number {
                events.push((sent, Event::Put { object }));
                events.push((acknowledged, Event::Acknowledged { object, version, sent }));
            } else if is_bus && write.is_announced {
                if rng.f64() >= fleet.lost {
                    events.push((acknowledged + delay, Event::Message { object, version }));
                } else if let Some(beats) = lost_in_a_row(&mut rng, fleet.lost) {
                    // The heartbeats of the sender come at any moment of a second.
                    let beat = rng.u64(0..BEAT).saturating_add(beats.saturating_mul(BEAT));
                    events.push((acknowledged.saturating_add(beat + delay), Event::Gap));
                }
            }
        }
        if is_bus {
            for sent in (0..self.counted.end).step_by(usize::try_from(BEAT).unwrap_or(usize::MAX)) {
                if rng.f64() >= fleet.lost {
                    events.push((sent + delay, Event::Beat { sent }));
                }
            }
        }
        events.sort_by_key(|(at, _)| *at);
        events
    }

    fn happens(&mut self, now: u64, event: Event) {
        match event {
            Event::Beat { sent } => {
                if now - sent >= BEATS_LATE {
                    return;
                }
                if self.listening.since(now).is_none() {
                    self.listening.since = Some(now);
                }
                self.listening.beat = Some(sent);
            }
            // The missed change may be of any entry: each is revalidated before it is next served.
            Event::Gap => {
                if self.listening.since(now).is_some() {
                    self.listening.since = Some(now);
                }
            }
            Event::Message { object, version } => {
                if let Some(flight) = self.flights.get_mut(&object) {
                    flight.is_closed = true;
                    flight.is_void |= flight.version != version;
                }
                if let Some(cached) = &mut self.cached[object as usize] {
                    cached.is_marked |= cached.version != version;
                }
            }
            Event::Put { object } => {
                let is_in_flight = self.fence(object);
                let open = self.open.entry(object).or_default();
                open.is_contended |= is_in_flight || open.n > 0;
                open.n += 1;
                self.remove(object);
            }
            Event::Acknowledged { object, version, sent } => {
                let Some(open) = self.open.get_mut(&object) else { return };
                open.n -= 1;
                let (n, is_contended) = (open.n, open.is_contended);
                if n == 0 {
                    self.open.remove(&object);
                }
                if !is_contended {
                    self.insert(object, version, sent);
                }
                self.fence(object);
            }
        }
    }

    /// No request of `object` that was sent before may publish its response. Returns whether there
    /// is one.
    fn fence(&mut self, object: u32) -> bool {
        let flight = self.flights.get_mut(&object);
        flight.is_some_and(|flight| {
            (flight.is_void, flight.is_closed) = (true, true);
            true
        })
    }

    fn read(&mut self, now: u64, object: u32) -> Result<()> {
        let is_cached = self.contents.get(object);
        let cached = &mut self.cached[object as usize];
        if !is_cached {
            *cached = None;
        }
        let is_counted = self.counted.contains(&now);
        if let Some(cached) = *cached
            && let Some(validated) = self.fresh_since(object, cached, now)
        {
            self.counts.hits += u64::from(is_counted);
            return self.served(now, object, cached.version, validated);
        }
        match self.flights.get(&object) {
            None => {
                let version = self.start(now, object);
                self.served(now, object, version, now)
            }
            Some(flight) if self.can_join(object, flight, now) => {
                let (version, sent) = (flight.version, flight.sent);
                self.served(now, object, version, sent)
            }
            Some(flight) => {
                let sent = flight.sent + self.round_trip;
                let version = self.plan.version_at(object, sent + self.round_trip / 2);
                if let Some(flight) = self.flights.get_mut(&object) {
                    flight.has_next = true;
                }
                self.served(now, object, version, sent)
            }
        }
    }

    /// When `cached` was validated, if it may be served without a request.
    fn fresh_since(&self, object: u32, cached: Cached, now: u64) -> Option<u64> {
        let validated = match self.page(object, now) {
            None => cached.validated,
            Some(page) if page.version == cached.version => cached.validated.max(page.sent),
            // The entry was requested after the page was received: it may be newer.
            Some(page) if cached.validated > page.answered => cached.validated,
            Some(_) => return None,
        };
        (!cached.is_marked && self.is_young(validated, now)).then_some(validated)
    }

    /// Whether an entry that was validated then may be served without a request, marks aside.
    fn is_young(&self, validated: u64, now: u64) -> bool {
        // A limit of zero is strong: no entry is younger.
        let is_young = now - validated < nanos(self.rule.max_age()).min(self.time_to_live);
        let is_heard = match self.rule {
            Rule::Bus { .. } => self.listening.since(now).is_some_and(|since| since < validated),
            _ => true,
        };
        is_young && is_heard
    }

    fn can_join(&self, object: u32, flight: &Flight, now: u64) -> bool {
        let is_listed = self.page(object, now).is_some_and(|page| page.answered > flight.sent);
        !flight.is_closed && !is_listed && self.is_young(flight.sent, now)
    }

    /// Starts a flight and returns the version that it will bring.
    fn start(&mut self, now: u64, object: u32) -> u32 {
        let version = self.plan.version_at(object, now + self.round_trip / 2);
        let expires = |cached: Cached| {
            let renewed = self.page(object, now).filter(|page| page.version == cached.version);
            let validated = cached.validated.max(renewed.map_or(0, |page| page.sent));
            validated.saturating_add(self.time_to_live)
        };
        let cached = self.cached[object as usize].filter(|cached| expires(*cached) > now);
        let is_conditional = cached.is_some();
        if self.counted.contains(&now) {
            if cached.is_some_and(|cached| cached.version == version) {
                self.counts.not_modified += 1;
            } else {
                self.counts.bodies += 1;
                self.counts.body_bytes += u128::from(self.plan.size(object));
            }
        }
        // A put that overlaps a flight does not publish.
        if let Some(open) = self.open.get_mut(&object) {
            open.is_contended = true;
        }
        let flight = Flight {
            sent: now,
            version,
            is_conditional,
            // One that starts during a write is fenced at the end of that, which comes first.
            is_void: false,
            is_closed: false,
            has_next: false,
        };
        self.flights.insert(object, flight);
        self.ends.push_back((now.saturating_add(self.round_trip), object));
        self.counts.in_flight = self.counts.in_flight.max(self.flights.len() as u64);
        version
    }

    /// Ends the flights whose response comes until `now`, and starts those that wait for them.
    fn complete_until(&mut self, now: u64) -> Result<()> {
        while let Some(&(at, object)) = self.ends.front().filter(|(at, _)| *at <= now) {
            self.ends.pop_front();
            let flight = self.flights.remove(&object).ok_or("a flight ends twice")?;
            self.publish(at, object, &flight);
            if flight.has_next {
                self.start(at, object);
            }
        }
        Ok(())
    }

    fn publish(&mut self, now: u64, object: u32, flight: &Flight) {
        let cached = self.cached[object as usize];
        let is_same = cached.is_some_and(|cached| cached.version == flight.version);
        let is_shown_other = self
            .page(object, now)
            .is_some_and(|page| page.answered > flight.sent && page.version != flight.version);
        match (flight.is_void || is_shown_other, flight.is_conditional && is_same) {
            (true, true) => {}
            (true, false) => self.remove(object),
            (false, true) => {
                self.cached[object as usize] = Some(Cached {
                    version: flight.version,
                    validated: flight.sent,
                    is_marked: false,
                });
            }
            (false, false) => self.insert(object, flight.version, flight.sent),
        }
    }

    fn insert(&mut self, object: u32, version: u32, validated: u64) {
        self.contents.insert(Request { object, size: self.plan.size(object) });
        self.cached[object as usize] = Some(Cached { version, validated, is_marked: false });
    }

    fn remove(&mut self, object: u32) {
        self.contents.remove(object);
        self.cached[object as usize] = None;
    }

    /// Records a read that began now and is served `version`, validated then.
    fn served(&mut self, now: u64, object: u32, version: u32, validated: u64) -> Result<()> {
        if !self.counted.contains(&now) {
            return Ok(());
        }
        self.counts.reads += 1;
        self.counts.ages.record(now.saturating_sub(validated))?;
        let superseded = self.plan.superseded_at(object, version);
        let staleness = superseded.map_or(0, |at| now.saturating_sub(at));
        self.counts.stale += u64::from(staleness > 0);
        self.counts.staleness.record(staleness)?;
        Ok(())
    }

    /// The last page with `object` that was answered until `now`.
    fn page(&self, object: u32, now: u64) -> Option<Page> {
        let lists = self.lists.as_ref()?;
        // The objects of the trace are spread over the pages.
        let rank = u128::from(object) * u128::from(lists.objects);
        let rank = rank / u128::from(self.plan.trace.n_distinct().max(1));
        let page = u64::try_from(rank).unwrap_or(u64::MAX) / PAGE_OBJECTS;
        let first = lists.first.saturating_add(page.saturating_mul(self.round_trip));
        let since = now.checked_sub(first.saturating_add(self.round_trip))?;
        let sent = first + since / lists.interval * lists.interval;
        let version = self.plan.version_at(object, sent + self.round_trip / 2);
        Some(Page { sent, answered: sent + self.round_trip, version })
    }

    fn count_lists(&mut self) {
        let Some(lists) = &self.lists else { return };
        let mut start = lists.first;
        while start < self.counted.end {
            // Those sent within the time that is counted; one comes a round trip after the other.
            let sent_before = |end: u64| match self.round_trip {
                0 => {
                    if start < end {
                        lists.n_pages
                    } else {
                        0
                    }
                }
                round_trip => end.saturating_sub(start).div_ceil(round_trip).min(lists.n_pages),
            };
            let pages = sent_before(self.counted.end) - sent_before(self.counted.start);
            self.counts.lists += pages;
            let objects = u128::from(lists.objects) * u128::from(pages) / u128::from(lists.n_pages);
            self.counts.list_bytes += objects * LISTED_BYTES;
            start = start.saturating_add(lists.interval);
        }
    }
}

/// How many heartbeats in a row are lost; `None` if all are.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded down")]
fn lost_in_a_row(rng: &mut fastrand::Rng, lost: f64) -> Option<u64> {
    match lost.partial_cmp(&1.0) {
        Some(Ordering::Less) if lost > 0.0 => {
            Some(((-rng.f64()).ln_1p() / lost.ln()).floor() as u64)
        }
        Some(Ordering::Less) => Some(0),
        _ => None,
    }
}

/// Of a page of a list, at most.
const PAGE_OBJECTS: u64 = 1_000;
/// About what S3 sends for one object of a list.
const LISTED_BYTES: u128 = 300;
/// From one heartbeat of a node to the next.
const BEAT: u64 = 1_000_000_000;
/// A node listens while it has heard an own heartbeat that was sent less than this long ago.
const BEATS_LATE: u64 = 3 * BEAT;
