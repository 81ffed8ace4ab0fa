//! The origin: a register a key, behind a [`FaultyOrigin`] a node that answers late, wrongly and
//! not at all, as the seed says.
//!
//! It answers in one step: a request takes a while, takes effect or is evaluated, and its answer
//! takes a while.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Entry, Error, ErrorKind, Key, Listing, Origin, PutCondition, Result, Storability, Validation,
    Validator, Version,
};

use super::{
    Schedule,
    lists::List,
    recorder::{Recorder, Streams},
    schedule::ms,
};
use crate::{
    FaultyOrigin, OriginFault, OriginOperation, OriginRequest, history::History, random::Random,
};

/// The objects, and the record of all that happens to them.
pub(super) struct World {
    pub(super) recorder: Arc<Recorder>,
    faults: u8,
    odd_tags: u8,
    retries: bool,
    streams: Streams,
    /// The current cache of each node.
    instances: Mutex<BTreeMap<usize, u64>>,
}

/// The origin as one cache reaches it. What is asked of it and answered is recorded.
pub(super) struct NodeOrigin {
    node: usize,
    instance: u64,
    /// The last list that began.
    list: Mutex<Option<Arc<List>>>,
    world: Arc<World>,
    faulty: FaultyOrigin<Registers>,
}

/// The origin, which answers at once.
struct Registers {
    node: usize,
    world: Arc<World>,
}

impl World {
    pub(super) fn new(schedule: &Schedule) -> Arc<Self> {
        let &Schedule { seed, faults, odd_tags, retries, time_to_live, .. } = schedule;
        Arc::new(Self {
            recorder: Recorder::new(time_to_live),
            faults,
            odd_tags,
            retries,
            streams: Streams::new(seed, ORIGIN),
            instances: Mutex::default(),
        })
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.recorder.history()
    }

    /// Since the start.
    pub(super) fn now(&self) -> Duration {
        self.recorder.now()
    }

    pub(super) fn change(&self, key: &str, value: Option<u64>) {
        let now = self.now();
        let mut history = self.history();
        history.change(key, value, now);
        if let Some(value) = value {
            history.tag(key, &tag_of(value), value);
        }
    }

    /// `instance` is the cache of `node` from now on.
    pub(super) fn is_opened(&self, node: usize, instance: u64) {
        self.instances().insert(node, instance);
    }

    /// Whether `instance` is the cache of `node`: what an earlier one hears says nothing of it.
    pub(super) fn is_current(&self, node: usize, instance: u64) -> bool {
        self.instances().get(&node) == Some(&instance)
    }

    fn instances(&self) -> MutexGuard<'_, BTreeMap<usize, u64>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self, key: &str) -> Option<u64> {
        self.current_state(key).0
    }

    /// The object, and the number of that state.
    pub(super) fn current_state(&self, key: &str) -> (Option<u64>, usize) {
        let history = self.history();
        let states = history.states(key);
        (states.last().and_then(|state| state.value), states.len().saturating_sub(1))
    }

    /// Whether a page of a list fails.
    pub(super) fn fails(&self, random: &Random) -> bool {
        is_spoiled(self, random, 12)
    }

    /// Whether a tag is odd.
    pub(super) fn is_odd(&self, random: &Random) -> bool {
        random.happens(self.odd_tags)
    }

    pub(super) fn stream(&self, node: usize, key: &str, purpose: u64) -> Arc<Random> {
        self.streams.of(node, key, purpose)
    }

    /// A tag for an answer with `value`, mostly the right one. It may be repeated, but never names
    /// anything else.
    fn some_tag(&self, node: usize, key: &str, value: u64) -> Option<String> {
        let random = self.stream(node, key, TAGS);
        if !random.happens(self.odd_tags) {
            return Some(tag_of(value));
        }
        let tag = match random.below(3) {
            0 => return None,
            1 => format!("W/{}", tag_of(value)),
            _ => format!("\"{value} as of {}\"", random.draw()),
        };
        self.history().tag(key, &tag, value);
        Some(tag)
    }
}

impl NodeOrigin {
    pub(super) fn new(node: usize, instance: u64, world: Arc<World>) -> Self {
        let faulty = FaultyOrigin::new(Arc::new(Registers { node, world: Arc::clone(&world) }));
        for fault in faults(node, &world) {
            faulty.fault(fault);
        }
        Self { node, instance, list: Mutex::default(), world, faulty }
    }

    pub(super) fn requests(&self) -> u64 {
        self.faulty.count() as u64
    }

    /// The list that began last.
    pub(super) fn last_list(&self) -> Option<Arc<List>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn recorded<T>(&self, key: &Key, answer: impl Future<Output = Result<T>>) -> Result<T> {
        let request = self.world.history().ask(self.node, key.as_str(), self.world.now());
        let answer = answer.await;
        let failure = answer.as_ref().err().map(Error::kind);
        self.world.history().answer(request, failure, self.world.now());
        answer
    }
}

#[async_trait]
impl Validator for NodeOrigin {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        self.recorded(key, self.faulty.validate(key, held)).await
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> Listing {
        let (list, listing) = List::begin(&self.world, (self.node, self.instance), prefix, after);
        *self.list.lock().unwrap_or_else(PoisonError::into_inner) = Some(list);
        listing
    }
}

#[async_trait]
impl Origin for NodeOrigin {
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version> {
        self.recorded(key, self.faulty.put(key, body, condition)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.recorded(key, self.faulty.delete(key)).await
    }

    fn entry_of_put(&self, key: &Key, body: Bytes, version: &Version) -> Entry {
        self.faulty.entry_of_put(key, body, version)
    }
}

#[async_trait]
impl Validator for Registers {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let Some(value) = self.world.current(key.as_str()) else { return Ok(Validation::NotFound) };
        if held.and_then(Entry::e_tag).is_some_and(|held| held == tag_of(value)) {
            return Ok(Validation::NotModified);
        }
        let e_tag = self.world.some_tag(self.node, key.as_str(), value);
        let version = Version::default().with_e_tag(e_tag);
        Ok(Validation::Modified(entry(key, body_of(value), version)))
    }
}

#[async_trait]
impl Origin for Registers {
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version> {
        let current = self.world.current(key.as_str());
        let holds = match &condition {
            PutCondition::Absent => current.is_none(),
            PutCondition::Matches(version) => {
                current.map(tag_of) == version.e_tag && current.is_some()
            }
            _ => true,
        };
        if !holds {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                "the object is at another version",
            ));
        }
        let value = value_of(&body)
            .ok_or_else(|| Error::new(ErrorKind::Other, "nobody puts such a body"))?;
        self.world.change(key.as_str(), Some(value));
        let e_tag = self.world.some_tag(self.node, key.as_str(), value);
        Ok(Version::default().with_e_tag(e_tag).with_size(body.len() as u64))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.world.change(key.as_str(), None);
        Ok(())
    }

    fn entry_of_put(&self, key: &Key, body: Bytes, version: &Version) -> Entry {
        entry(key, body, version.clone())
    }
}

/// A weak tag confirms nothing; without one nothing is kept.
fn entry(key: &Key, body: Bytes, version: Version) -> Entry {
    let is_weak = version.e_tag.as_deref().is_some_and(|tag| tag.starts_with("W/"));
    let entry = Entry::builder(key, body).version(version);
    if is_weak { entry.storability(Storability::FreshOnly).build() } else { entry.build() }
}

/// What happens to the requests of a node, and goes wrong with them.
fn faults(node: usize, world: &Arc<World>) -> Vec<OriginFault> {
    use ErrorKind::{
        Other, PermissionDenied, PreconditionFailed, Timeout, Unauthenticated, Unavailable,
    };
    let (there, back) = (Arc::clone(world), Arc::clone(world));
    let mut faults = vec![
        OriginFault::meanwhile(move |request| {
            let random = there.stream(node, &request.key, WAY);
            async move { pause(&random).await }
        }),
        OriginFault::meanwhile(move |request| {
            let random = back.stream(node, &request.key, WAY);
            let hangs = is_spoiled(&back, &random, 4);
            async move {
                if hangs {
                    tokio::time::sleep(ms(20 + random.below(3_000))).await;
                }
                pause(&random).await;
            }
        })
        .late(),
    ];
    let mut add = |fault: OriginFault, weight: u64| {
        let (world, purpose) = (Arc::clone(world), FAULTS + faults.len() as u64);
        let is_spoiled = move |request: &OriginRequest| {
            is_spoiled(&world, &world.stream(node, &request.key, purpose), weight)
        };
        faults.push(fault.when(is_spoiled));
    };
    let refusals = [(PermissionDenied, 3), (Unauthenticated, 3)];
    for (kind, weight) in refusals.into_iter().chain([(Unavailable, 7), (Timeout, 3), (Other, 4)]) {
        add(OriginFault::error(kind), weight);
    }
    for kind in [Unavailable, Timeout, Other] {
        add(OriginFault::error(kind).late(), 4);
    }
    for delay_ms in [0, 6, 19, 39] {
        add(OriginFault::linger(ms(delay_ms)), if world.retries { 1 } else { 2 });
    }
    // "Not modified", though nothing was asked about.
    add(OriginFault::unchanged().when(|request| request.e_tag.is_none()), 4);
    if world.retries {
        // It takes effect, its answer is lost, and so its condition fails when it is repeated.
        let is_conditional =
            |request: &OriginRequest| request.condition != Some(PutCondition::Always);
        let repeated = OriginFault::error(PreconditionFailed).late();
        add(repeated.on(OriginOperation::Put).when(is_conditional), 4);
    }
    faults
}

/// Whether it happens, if of all that goes wrong so many in 48 go wrong so.
fn is_spoiled(world: &World, random: &Random, weight: u64) -> bool {
    random.below(256 * 48) < u64::from(world.faults) * weight
}

/// On the way, or back: now and then a long one.
pub(super) async fn pause(random: &Random) {
    for _ in 0..random.below(4) {
        tokio::task::yield_now().await;
    }
    let ms_max = random.pick(&[8, 8, 8, 40]);
    tokio::time::sleep(ms(random.below(ms_max))).await;
}

/// The tag of a value. Where values are put again, tags are repeated.
pub(super) fn tag_of(value: u64) -> String {
    format!("\"v{value}\"")
}

/// Bodies differ in their length too.
pub(super) fn body_of(value: u64) -> Bytes {
    let times = usize::try_from(value % 3).unwrap_or(0) * 20 + 1;
    Bytes::from(format!("value {value};").repeat(times))
}

/// `None` if it is not the body of any value.
pub(super) fn value_of(body: &Bytes) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let value = text.strip_prefix("value ")?.split(';').next()?.parse().ok()?;
    (body_of(value) == body).then_some(value)
}

const ORIGIN: u64 = 2;
// What a stream of the origin is for.
const WAY: u64 = 0;
const TAGS: u64 = 1;
const FAULTS: u64 = 2;
