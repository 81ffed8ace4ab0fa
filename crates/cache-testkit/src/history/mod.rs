//! What happened: calls and their outcomes, requests, and the states of the origin, in one order;
//! and the rules that must hold over it.

mod register;
mod rules;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use cache_core::{ErrorKind, Freshness, Stats, Status};

pub use self::{
    register::{Effect, Needs, Operation, is_linearizable},
    rules::{Rule, Violation},
};

/// A record of everything that happened to some keys of one origin, by nodes that each have a
/// cache, and by others.
///
/// Whoever runs the nodes writes it, as things happen: each line gets the next place in the one
/// order of all events. [`History::check`] holds it against the rules of the protocol. Bodies are
/// numbers here, *values*; what a body says is the recorder's affair.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    steps: u64,
    calls: Vec<Call>,
    requests: Vec<Request>,
    states: BTreeMap<String, Vec<State>>,
    tags: BTreeSet<(String, String, u64)>,
    rests: Vec<Rest>,
    broken: Vec<String>,
    heard: Vec<Heard>,
    /// Of each node, the oldest first.
    listening: BTreeMap<usize, Vec<Listens>>,
    time_to_live: Option<Duration>,
    hearing: Duration,
    prompt: Option<Duration>,
}

/// A place in the order of all events, and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The number of the event.
    pub step: u64,
    /// Since the start, in virtual time.
    pub at: Duration,
}

/// What a node was asked to do, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Who did it. Rules about one node are about one number.
    pub node: usize,
    /// The key; for [`Act::InvalidatePrefix`] the prefix.
    pub key: String,
    /// What was to be done.
    pub act: Act,
    /// When it began.
    pub begun: Point,
    /// When its caller was woken to return, if that was recorded: what it does was done by then.
    pub woken: Option<Point>,
    /// When it ended: it returned, or its future was dropped.
    pub ended: Option<Point>,
    /// What came of it; [`Outcome::Unknown`] until it ended.
    pub outcome: Outcome,
}

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Act {
    /// A read.
    Read(ReadRule),
    /// A read that the store answers in the place of the cache.
    Pass(ReadRule),
    /// What a list of the store shows of the key.
    List,
    /// A put of a value.
    Put(u64, Needs),
    /// A delete at the origin.
    Delete,
    /// The copy is forgotten.
    Invalidate,
    /// The copy is marked.
    Expire,
    /// The copies of all keys with a prefix are forgotten.
    InvalidatePrefix,
    /// All copies are forgotten.
    Clear,
    /// The cache is replaced by a new one. Whatever that one holds from before must be asked about.
    Restart,
}

/// The parts of a [`Freshness`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadRule {
    /// Zero: strong. `Duration::MAX`: immutable.
    pub max_age: Duration,
    /// Beyond `max_age`.
    pub stale_while_revalidate: Duration,
    /// Beyond `max_age`.
    pub stale_if_error: Duration,
    /// `max_age` is the fallback of a rule `until_notified`, and this the `max_age` of the rule
    /// that applies when the cache is disconnected. `None`: the rule does not depend on a bus.
    pub when_disconnected: Option<Duration>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A read got this value, with this tag.
    Read(u64, Option<String>, Status),
    /// A read got: no such object.
    NotFound,
    /// It succeeded.
    Done,
    /// A conditional put whose condition did not hold.
    Refused,
    /// A read that the origin refuses: with 401 or 403.
    Denied,
    /// It failed, and surely changed nothing at the origin.
    Failed,
    /// It failed, or its future was dropped, and it is open whether it changed something at the
    /// origin, or will.
    Unknown,
}

/// A question or a write that reached the origin's side.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The node that sent it.
    pub node: usize,
    /// The key.
    pub key: String,
    /// When its future was first polled.
    pub begun: Point,
    /// When it was answered; `None` if it was given up.
    pub ended: Option<Point>,
    /// The error that it was answered with.
    pub failure: Option<ErrorKind>,
    /// What it says of the object, if that was recorded.
    pub shown: Option<Shown>,
}

/// What the answer to a request says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// This state is over, or on: the object is in it or in a later one. Told by an answer about
    /// the object alone.
    State(usize),
    /// The same, told by a list that has the object.
    Listed(usize),
    /// The same, told by a list that leaves the object out.
    LeftOut(usize),
    /// That the origin denies access to it.
    Denied,
}

/// Something that a cache has acted on by now: reads on its node that begin later see nothing
/// older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The node whose cache it is.
    pub node: usize,
    /// The key.
    pub key: String,
    /// By which way it was told.
    pub source: Source,
    /// The number of the state that it has shown, or of an older one.
    pub state: usize,
    /// When the cache had acted on it.
    pub at: Point,
}

/// How a cache is told of a state other than by the response to a request for the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// By a message of another cache on the bus.
    Announcement,
    /// By a list that shows the object.
    List,
    /// By a list that leaves the object out.
    LeftOut,
}

/// How the cache of a node listens to its bus, until the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listens {
    /// From when on this is so.
    pub at: Point,
    /// Since when it has listened without a gap, and until when it has proof. `None` if it does not
    /// listen.
    pub since_until: Option<(Duration, Duration)>,
}

/// A state of an object at the origin, until the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// What was there; `None`: nothing.
    pub value: Option<u64>,
    /// From when on.
    pub since: Point,
}

/// A cache at rest: nothing is in the air.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rest {
    /// The node whose cache it is, or was before a restart.
    pub node: usize,
    /// Its counters.
    pub stats: Stats,
    /// Keys in flight.
    pub keys_in_flight: usize,
    /// The entries that look-ups show, and their weight; `None` if they cannot be counted.
    pub shown: Option<(u64, u64)>,
    /// Gets that returned.
    pub gets: u64,
    /// Gets whose future was dropped: one that ended in that very instant is counted too.
    pub dropped_gets: u64,
    /// Requests that reached the origin.
    pub requests: u64,
}

/// A call of a [`History`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallId(usize);

/// A request of a [`History`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(usize);

impl History {
    /// Nothing happened, and no object exists. Copies live for `time_to_live` without being
    /// confirmed.
    pub fn new(time_to_live: Option<Duration>) -> Self {
        Self { time_to_live, ..Self::default() }
    }

    /// A cache may take so long to act on what an answer shows: its backend waits. Default: no
    /// time, so that it has done so before time goes on.
    pub fn hearing_takes(&mut self, span: Duration) {
        self.hearing = span;
    }

    /// The bus has no faults: a write is announced and heard by all nodes within `span`. Default:
    /// it may have some.
    pub fn announcements_take(&mut self, span: Duration) {
        self.prompt = Some(span);
    }

    /// The cache of a node has acted on what it was told of a key, which was in this state.
    pub fn hear(&mut self, node: usize, key: &str, source: Source, state: usize, at: Duration) {
        let (key, at) = (key.to_owned(), self.point(at));
        self.heard.push(Heard { node, key, source, state, at });
    }

    /// The cache of a node listens to its bus since a moment, with proof until another; or it does
    /// not.
    pub fn listen(&mut self, node: usize, since_until: Option<(Duration, Duration)>, at: Duration) {
        let at = self.point(at);
        self.listening.entry(node).or_default().push(Listens { at, since_until });
    }

    /// A call begins.
    pub fn begin(&mut self, node: usize, key: &str, act: Act, at: Duration) -> CallId {
        let begun = self.point(at);
        let (key, outcome) = (key.to_owned(), Outcome::Unknown);
        self.calls.push(Call { node, key, act, begun, woken: None, ended: None, outcome });
        CallId(self.calls.len() - 1)
    }

    /// The caller of a call that has not ended is woken. If the call returns when it is next
    /// polled, this is the moment by which it has done what it does: other things may happen before
    /// its caller gets to run. Of several wakes the first counts. A wake is no event, since callers
    /// that wait for one answer are woken in no particular order: its place is that of the event
    /// before it.
    pub fn wake(&mut self, call: CallId, at: Duration) {
        let step = self.steps;
        self.calls[call.0].woken.get_or_insert(Point { step, at });
    }

    /// The call was polled and has not returned: what its caller was [woken](Self::wake) for was
    /// something else.
    pub fn sleep(&mut self, call: CallId) {
        self.calls[call.0].woken = None;
    }

    /// A call returned, or its future was dropped.
    pub fn end(&mut self, call: CallId, outcome: Outcome, at: Duration) {
        let ended = Some(self.point(at));
        let call = &mut self.calls[call.0];
        (call.ended, call.outcome) = (ended, outcome);
    }

    /// A request is sent.
    pub fn ask(&mut self, node: usize, key: &str, at: Duration) -> RequestId {
        let begun = self.point(at);
        self.requests.push(Request {
            node,
            key: key.to_owned(),
            begun,
            ended: None,
            failure: None,
            shown: None,
        });
        RequestId(self.requests.len() - 1)
    }

    /// A request was answered, with an error or not.
    pub fn answer(&mut self, request: RequestId, failure: Option<ErrorKind>, at: Duration) {
        let ended = Some(self.point(at));
        let request = &mut self.requests[request.0];
        (request.ended, request.failure) = (ended, failure);
    }

    /// What the answer to a request will say of the object, as the origin has just made out.
    pub fn show(&mut self, request: RequestId, shown: Shown) {
        self.requests[request.0].shown = Some(shown);
    }

    /// What a call does, once it is known: a copy writes what it finds.
    pub fn amend(&mut self, call: CallId, act: Act) {
        self.calls[call.0].act = act;
    }

    /// The object at the origin is now so. The number of the state: the first, in which it does not
    /// exist, is 0.
    pub fn change(&mut self, key: &str, value: Option<u64>, at: Duration) -> usize {
        let since = self.point(at);
        let states = self.states.entry(key.to_owned()).or_insert_with(|| vec![ABSENT]);
        states.push(State { value, since });
        states.len() - 1
    }

    /// The origin says this tag of this value.
    pub fn tag(&mut self, key: &str, tag: &str, value: u64) {
        self.tags.insert((key.to_owned(), tag.to_owned(), value));
    }

    /// A cache came to rest.
    pub fn rest(&mut self, rest: Rest) {
        self.rests.push(rest);
    }

    /// The recorder saw a rule broken that a history does not show: two calls of a backend that
    /// must not overlap, say.
    pub fn broken(&mut self, what: impl Into<String>) {
        self.broken.push(what.into());
    }

    /// All calls, in the order in which they began.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// All requests, in the order in which they were sent.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// The states of an object, the oldest first: there is always one.
    pub fn states(&self, key: &str) -> &[State] {
        self.states.get(key).map_or(&[ABSENT], Vec::as_slice)
    }

    /// The number of the first state of an object whose value the origin gave this tag.
    pub(crate) fn first_state_of(&self, key: &str, tag: &str) -> Option<usize> {
        let (_, _, value) = self.tags.iter().find(|(of, its, _)| of == key && its == tag)?;
        self.states(key).iter().position(|state| state.value == Some(*value))
    }

    /// When the last thing happened.
    pub fn length(&self) -> Duration {
        let begun = self
            .calls
            .iter()
            .map(|call| call.begun)
            .chain(self.requests.iter().map(|sent| sent.begun));
        let ended = self.calls.iter().filter_map(|call| call.ended);
        let answered = self.requests.iter().filter_map(|request| request.ended);
        begun.chain(ended).chain(answered).max().map_or(Duration::ZERO, |last| last.at)
    }

    /// The caches that came to rest.
    pub fn rests(&self) -> &[Rest] {
        &self.rests
    }

    /// The keys that were read, written or changed.
    pub fn keys(&self) -> BTreeSet<&str> {
        let called =
            self.calls.iter().filter(|call| call.act.is_of_one_key()).map(|call| call.key.as_str());
        called.chain(self.states.keys().map(String::as_str)).collect()
    }

    fn point(&mut self, at: Duration) -> Point {
        self.steps += 1;
        Point { step: self.steps, at }
    }
}

impl Call {
    /// Whether it is about `key`.
    fn touches(&self, key: &str) -> bool {
        match self.act {
            Act::Clear | Act::Restart => true,
            Act::InvalidatePrefix => key.starts_with(&self.key),
            _ => self.key == key,
        }
    }

    /// Whether it had ended when `other` began.
    fn is_before(&self, other: &Self) -> bool {
        self.ended.is_some_and(|ended| ended.step < other.begun.step)
    }

    /// By when it has taken effect: not later than its caller was woken to return.
    fn effective_by(&self) -> Point {
        self.woken.or(self.ended).unwrap_or(self.begun)
    }
}

impl Act {
    fn is_of_one_key(self) -> bool {
        !matches!(self, Self::InvalidatePrefix | Self::Clear | Self::Restart)
    }
}

impl ReadRule {
    /// Whether every read asks.
    pub fn is_strong(&self) -> bool {
        self.max_age.is_zero()
    }

    /// The rule as a cache takes it.
    pub fn freshness(&self) -> Freshness {
        let freshness = match self.when_disconnected {
            None => Freshness::max_age(self.max_age),
            Some(max_age) => Freshness::until_notified(self.max_age)
                .when_disconnected(Freshness::max_age(max_age)),
        };
        freshness
            .stale_while_revalidate(self.stale_while_revalidate)
            .stale_if_error(self.stale_if_error)
    }
}

/// Event after event, each call and request where it began.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.calls.iter().map(|call| (call.begun.step, call.to_string()));
        let requests =
            self.requests.iter().map(|request| (request.begun.step, request.to_string()));
        let states = self.states.iter().flat_map(|(key, states)| {
            states.iter().enumerate().map(move |(number, State { value, since })| {
                (since.step, format!("{since}  {key} is in state {number}: {value:?}"))
            })
        });
        let heard = self.heard.iter().map(|heard| (heard.at.step, heard.to_string()));
        let listening = self.listening.iter().flat_map(|(node, listening)| {
            listening.iter().map(move |listens| {
                (listens.at.step, format!("{}  node {node} {listens}", listens.at))
            })
        });
        let lines = calls.chain(requests).chain(states).chain(heard).chain(listening);
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        lines.iter().try_for_each(|(_, line)| writeln!(f, "{line}"))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}–", self.begun)?;
        match self.ended {
            Some(ended) => write!(f, "{ended}")?,
            None => write!(f, "given up")?,
        }
        write!(f, "  request of node {}, {}", self.node, self.key)?;
        self.failure.map_or(Ok(()), |failure| write!(f, ": {failure:?}"))?;
        self.shown.map_or(Ok(()), |shown| write!(f, ", shows {shown:?}"))
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, key, source, state, at } = self;
        write!(f, "{at}  node {node} has heard of {key} in state {state}: {source:?}")
    }
}

impl fmt::Display for Listens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.since_until {
            Some((since, until)) => {
                write!(f, "listens since {since:?}, with proof until {until:?}")
            }
            None => f.write_str("does not listen"),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}–", self.begun)?;
        match self.ended {
            Some(ended) => write!(f, "{ended}")?,
            None => write!(f, "…")?,
        }
        if let Some(woken) = self.woken {
            write!(f, " (woken at {woken})")?;
        }
        write!(f, "  node {} {:?} {}: {:?}", self.node, self.act, self.key, self.outcome)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {:?}", self.step, self.at)
    }
}

/// Before everything.
const ABSENT: State = State { value: None, since: Point { step: 0, at: Duration::ZERO } };
