//! Generated schedules: reads in every freshness, writes, invalidations, dropped callers and a failing origin, on two
//! nodes over one origin, in virtual time. Every history is checked by the rules of the protocol.
//!
//! The origin is a register a key, whose states are numbered; a body says its state's number. An origin that answers
//! in one step is linearizable, so a read that was answered by a state that was current at some step between its
//! begin and its end is too.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Admission, Backend, Clock, Entry, Error, ErrorKind, Freshness, Key, Moment, Origin, PutCondition,
    ReadThrough, Result, Served, Status, Usage, Validation, Validator, Version,
};
use cache_policy::{Lru, MemoryBackend, MokaBackend, Ttl};
use cache_testkit::{MapBackend, TokioClock, WaitingBackend};
use proptest::prelude::*;
use tokio::time::Instant;

const KEYS: [&str; 2] = ["a/one", "b/two"];
const NODES: usize = 2;

/// One call, or one write by somebody who uses no cache.
#[derive(Debug, Clone)]
struct Op {
    at_ms: u64,
    node: usize,
    key: usize,
    call: Call,
    /// The caller goes away after so long.
    dropped_after_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Call {
    Get(Freshness),
    Put,
    PutIfAbsent,
    Delete,
    Invalidate,
    Expire,
    Prefix,
    Clear,
    ElsewherePut,
    ElsewhereDelete,
}

/// A whole schedule, with the seed of all latencies and faults.
#[derive(Debug, Clone)]
struct Schedule {
    ops: Vec<Op>,
    seed: u64,
    /// Of 256 requests, how many the origin fails or loses the reply of.
    faults: u8,
    patience: bool,
    negative: bool,
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let freshness = prop_oneof![
        3 => Just(Freshness::strong()),
        1 => Just(Freshness::strong().stale_if_error(ms(60))),
        2 => Just(Freshness::max_age(ms(20))),
        1 => Just(Freshness::max_age(ms(20)).stale_while_revalidate(ms(20))),
        1 => Just(Freshness::max_age(ms(10)).stale_if_error(ms(60))),
        3 => Just(Freshness::immutable()),
    ];
    let call = prop_oneof![
        10 => freshness.prop_map(Call::Get),
        3 => Just(Call::Put),
        1 => Just(Call::PutIfAbsent),
        1 => Just(Call::Delete),
        2 => Just(Call::Invalidate),
        2 => Just(Call::Expire),
        1 => Just(Call::Prefix),
        1 => Just(Call::Clear),
        3 => Just(Call::ElsewherePut),
        1 => Just(Call::ElsewhereDelete),
    ];
    let op = (0..100_u64, 0..NODES, 0..10_usize, call, prop::option::weighted(0.2, 0..15_u64)).prop_map(
        |(at_ms, node, key, call, dropped_after_ms)| Op { at_ms, node, key: key / 8, call, dropped_after_ms },
    );
    (prop::collection::vec(op, 1..40), any::<u64>(), prop_oneof![Just(0), Just(40)], any::<[bool; 2]>())
        .prop_map(|(ops, seed, faults, [patience, negative])| Schedule {
            ops,
            seed,
            faults,
            patience,
            negative,
        })
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The origin, and the record of all that happened.
struct World {
    random: AtomicU64,
    faults: u8,
    requests: AtomicU64,
    steps: AtomicU64,
    registers: Mutex<HashMap<String, Vec<State>>>,
}

/// From this step and instant on, until the next state, the object was so.
#[derive(Debug, Clone, Copy)]
struct State {
    exists: bool,
    step: u64,
    at: Instant,
}

impl World {
    fn new(schedule: &Schedule) -> Arc<Self> {
        Arc::new(Self {
            random: AtomicU64::new(schedule.seed),
            faults: schedule.faults,
            requests: AtomicU64::new(0),
            steps: AtomicU64::new(1),
            registers: Mutex::default(),
        })
    }

    fn draw(&self) -> u64 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The number of this event: all events are in one order.
    fn step(&self) -> u64 {
        self.steps.fetch_add(1, Ordering::Relaxed)
    }

    fn states(&self, key: &str) -> Vec<State> {
        self.registers
            .lock()
            .unwrap()
            .entry(key.to_owned())
            .or_insert_with(|| vec![absent_from_the_start()])
            .clone()
    }

    /// The number of the new state.
    fn set(&self, key: &str, exists: bool) -> usize {
        let mut registers = self.registers.lock().unwrap();
        let states = registers.entry(key.to_owned()).or_insert_with(|| vec![absent_from_the_start()]);
        states.push(State { exists, step: self.step(), at: now() });
        states.len() - 1
    }

    /// A request: takes a while, takes effect in one step, takes a while. Some fail before, some after that step.
    async fn request<T>(&self, effect: impl FnOnce() -> Result<T>) -> Result<T> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let drawn = self.draw();
        tokio::time::sleep(ms(drawn % 8)).await;
        let spoiled = (drawn >> 8) & 0xff < u64::from(self.faults);
        if spoiled && drawn & 0x10000 == 0 {
            return Err(Error::new(ErrorKind::Unavailable, "failed"));
        }
        let answer = effect();
        tokio::time::sleep(ms((drawn >> 24) % 8)).await;
        if spoiled {
            return Err(Error::new(ErrorKind::Timeout, "the reply was lost"));
        }
        answer
    }
}

#[expect(clippy::disallowed_methods, reason = "virtual time, for the record")]
fn now() -> Instant {
    Instant::now()
}

fn absent_from_the_start() -> State {
    State { exists: false, step: 0, at: now() - Duration::from_secs(1_000) }
}

fn body_of(state: usize) -> Bytes {
    Bytes::from(format!("state {state};").repeat(state % 3 + 1))
}

#[async_trait]
impl Validator for World {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let held = held.map(|held| held.e_tag().unwrap().to_owned());
        self.request(|| {
            let states = self.states(key.as_str());
            let latest = states.len() - 1;
            let e_tag = format!("\"{latest}\"");
            Ok(if !states[latest].exists {
                Validation::Gone
            } else if held.as_ref() == Some(&e_tag) {
                Validation::Unchanged
            } else {
                Validation::Changed(Entry::builder(key, body_of(latest)).e_tag(e_tag).build())
            })
        })
        .await
    }
}

#[async_trait]
impl Origin for World {
    async fn put(&self, key: &Key, _body: Bytes, condition: PutCondition) -> Result<Version> {
        self.request(|| {
            let exists = self.states(key.as_str()).last().unwrap().exists;
            if condition == PutCondition::Absent && exists {
                return Err(Error::new(ErrorKind::PreconditionFailed, "exists"));
            }
            let state = self.set(key.as_str(), true);
            Ok(Version {
                e_tag: Some(format!("\"{state}\"")),
                size: body_of(state).len() as u64,
                ..Version::default()
            })
        })
        .await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.request(|| {
            self.set(key.as_str(), false);
            Ok(())
        })
        .await
    }

    /// The caller of a put does not know its state's number, so the body is made here.
    fn entry_of_put(&self, key: &Key, _body: Bytes, version: &Version) -> Entry {
        let state = version.e_tag.as_deref().unwrap().trim_matches('"').parse().unwrap();
        Entry::builder(key, body_of(state)).version(version.clone()).build()
    }
}

/// What one call did.
#[derive(Debug)]
struct Event {
    op: Op,
    begun: u64,
    begun_at: Instant,
    ended: u64,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Read(usize, Status),
    NotFound,
    /// A put of this state.
    Put(usize),
    Done,
    Failed,
    Dropped,
}

/// Tokio's clock, whose window lies between two ticks.
struct TickingClock {
    exact: TokioClock,
    tick_ms: u64,
}

impl Clock for TickingClock {
    fn now(&self) -> Moment {
        self.exact.now()
    }

    fn window(&self) -> (Moment, Moment) {
        let tick = self.tick_ms * 1_000_000;
        let earlier = self.now().as_nanos() / tick * tick;
        (Moment::from_nanos(earlier), Moment::from_nanos(earlier + tick))
    }

    fn date(&self) -> SystemTime {
        self.exact.date()
    }
}

async fn run(
    schedule: &Schedule,
    backend: &dyn Fn(usize) -> Arc<dyn Backend>,
) -> std::result::Result<(), String> {
    let world = World::new(schedule);
    let nodes: Vec<_> = (0..NODES)
        .map(|node| {
            ReadThrough::builder(Arc::clone(&world), backend(node))
                .patience(schedule.patience.then_some(ms(9)))
                .negative_ttl(if schedule.negative { ms(15) } else { Duration::ZERO })
                .time_to_live(Some(ms(70)))
                .clock(Arc::new(TickingClock { exact: TokioClock::new(), tick_ms: [1, 8][node] }))
                .build()
                .unwrap()
        })
        .collect();
    let calls: Vec<_> = schedule
        .ops
        .iter()
        .map(|op| tokio::spawn(call(Arc::clone(&world), nodes[op.node].clone(), op.clone())))
        .collect();
    let mut events = Vec::new();
    for call in calls {
        // Rule 7: every call comes to an end.
        let ended = tokio::time::timeout(Duration::from_secs(60), call).await;
        events.push(ended.map_err(|_| "rule 7: a call never ended")?.map_err(|panic| panic.to_string())?);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    check_at_rest(&world, &nodes, &events)?;
    for event in &events {
        check_read(&world, event, &events)
            .map_err(|broken| format!("{broken}\n{event:?}\n{:?}", world.states(KEYS[event.op.key])))?;
    }
    Ok(())
}

async fn call(world: Arc<World>, cache: ReadThrough<World>, op: Op) -> Event {
    tokio::time::sleep(ms(op.at_ms)).await;
    let key = KEYS[op.key];
    let (begun, begun_at) = (world.step(), now());
    let outcome = async {
        let done = |result: Result<()>| if result.is_ok() { Outcome::Done } else { Outcome::Failed };
        match op.call {
            Call::Get(freshness) => match cache.get(key, Some(&freshness)).await {
                Ok(served) => read(&served),
                Err(error) if error.kind() == ErrorKind::NotFound => Outcome::NotFound,
                Err(_) => Outcome::Failed,
            },
            Call::Put | Call::PutIfAbsent => {
                let absent = matches!(op.call, Call::PutIfAbsent);
                let condition = if absent { PutCondition::Absent } else { PutCondition::Always };
                match cache.put(key, Bytes::new(), condition).await {
                    Ok(version) => Outcome::Put(version.e_tag.unwrap().trim_matches('"').parse().unwrap()),
                    Err(_) => Outcome::Failed,
                }
            }
            Call::Delete => done(cache.delete(key).await),
            Call::Invalidate => done(cache.invalidate(key).await),
            Call::Expire => done(cache.expire(key).await),
            Call::Prefix => done(cache.invalidate_prefix(&key[..2])),
            Call::Clear => done(cache.clear().await),
            Call::ElsewherePut => {
                world.set(key, true);
                Outcome::Done
            }
            Call::ElsewhereDelete => {
                world.set(key, false);
                Outcome::Done
            }
        }
    };
    let outcome = match op.dropped_after_ms {
        None => outcome.await,
        Some(span) => tokio::time::timeout(ms(span), outcome).await.unwrap_or(Outcome::Dropped),
    };
    Event { ended: world.step(), op, begun, begun_at, outcome }
}

/// Rule 5: body and version belong together.
fn read(served: &Served) -> Outcome {
    let state = served.entry.e_tag().unwrap().trim_matches('"').parse().unwrap();
    assert_eq!(*served.entry.body(), body_of(state), "rule 5: the body is of another version");
    Outcome::Read(state, served.status)
}

fn check_at_rest(
    world: &World,
    nodes: &[ReadThrough<World>],
    events: &[Event],
) -> std::result::Result<(), String> {
    let mut requests = 0;
    for (number, node) in nodes.iter().enumerate() {
        let stats = node.stats();
        requests += stats.origin.requests();
        let is_get = |event: &&Event| {
            event.op.node == number
                && matches!(event.op.call, Call::Get(_))
                && !matches!(event.outcome, Outcome::Dropped)
        };
        let gets = events.iter().filter(is_get).count() as u64;
        // A get that ended in the very instant in which it was dropped is counted too.
        if stats.gets() < gets || node.keys_in_flight() != 0 {
            return Err(format!("rule 6: {gets} gets, {} in flight, {stats:?}", node.keys_in_flight()));
        }
    }
    if requests != world.requests.load(Ordering::Relaxed) {
        return Err(format!("rule 6: {requests} requests counted"));
    }
    Ok(())
}

/// Checks one read against the origin's history and all that ended on its node before it began.
fn check_read(world: &World, event: &Event, events: &[Event]) -> std::result::Result<(), String> {
    let Call::Get(freshness) = event.op.call else { return Ok(()) };
    let states = world.states(KEYS[event.op.key]);
    let ended_step = |state: usize| states.get(state + 1).map_or(u64::MAX, |next| next.step);
    let (candidates, status): (Vec<usize>, _) = match event.outcome {
        Outcome::Read(state, status) => (vec![state], Some(status)),
        Outcome::NotFound => ((0..states.len()).filter(|&state| !states[state].exists).collect(), None),
        _ => return Ok(()),
    };
    // A state that was not there before the read ended is no answer.
    let mut possible: Vec<usize> =
        candidates.into_iter().filter(|&state| states[state].step < event.ended).collect();
    let mut narrow = |rule: &str, keeps: &dyn Fn(usize) -> bool| {
        possible.retain(|&state| keeps(state));
        if possible.is_empty() { Err(format!("{rule} is broken")) } else { Ok(()) }
    };
    narrow("rule 5 (an answer from the future)", &|_| true)?;

    let strong = freshness.is_strong() && status != Some(Status::Stale);
    if strong {
        narrow("rule 1 (strong reads are linearizable)", &|state| ended_step(state) > event.begun)?;
    }
    if !freshness.is_immutable() {
        // All windows of the schedule's rules together are at most 70 ms, and max_age alone at most 20.
        let bound = match status {
            Some(Status::Stale) => ms(70),
            _ => ms(20),
        };
        let fresh_enough =
            |state: usize| states.get(state + 1).is_none_or(|next| next.at + bound >= event.begun_at);
        narrow("rule 4 (bounded staleness)", &fresh_enough)?;
    }
    for earlier in
        events.iter().filter(|earlier| earlier.op.node == event.op.node && earlier.ended < event.begun)
    {
        let same_key = earlier.op.key == event.op.key;
        match (earlier.op.call, &earlier.outcome) {
            (Call::ElsewherePut | Call::ElsewhereDelete, _) => {}
            (Call::Get(_), Outcome::Read(seen, _)) if same_key => {
                narrow("rule 9 (monotonic reads)", &|state| state >= *seen)?;
            }
            (Call::Get(_), _) => {}
            (Call::Put | Call::PutIfAbsent, Outcome::Put(written)) if same_key => {
                narrow("rule 3 (read your writes)", &|state| {
                    state == *written || (state > *written && ended_step(state) > earlier.begun)
                })?;
            }
            (Call::Expire, _) if status == Some(Status::Stale) => {}
            // A window that allows stale answers does not reach back over a fence, but an outage covered by
            // what was kept across `expire` does.
            (Call::Clear, _) => {
                narrow("rule 2 (no resurrection, clear)", &|state| ended_step(state) > earlier.ended)?;
            }
            _ if same_key => {
                narrow("rule 2 (no resurrection)", &|state| ended_step(state) > earlier.ended)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_schedules(backend: impl Fn(u64, usize) -> Arc<dyn Backend>) {
    let explored = Cell::new(0_u64);
    let config = ProptestConfig { cases: cases(), max_shrink_iters: 4_000, ..ProptestConfig::default() };
    proptest!(config, |(schedule in schedules())| {
        explored.set(explored.get() + 1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let checked = runtime.block_on(run(&schedule, &|node| backend(schedule.seed, node)));
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
    });
}

/// More with the environment's `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400)
}

#[test]
fn the_rules_hold_over_a_plain_backend() {
    check_schedules(|_, _| Arc::new(MapBackend::new()));
}

#[test]
fn the_rules_hold_over_a_memory_backend_that_evicts() {
    check_schedules(|seed, _| {
        let backend = MemoryBackend::builder(Ttl::new(Lru::new())).max_entries(1 + seed % 2).build();
        Arc::new(backend.unwrap())
    });
}

#[test]
fn the_rules_hold_over_moka() {
    check_schedules(|seed, _| {
        Arc::new(MokaBackend::builder().max_capacity(500 + seed % 1_000).build().unwrap())
    });
}

#[test]
fn the_rules_hold_over_a_backend_that_waits() {
    check_schedules(|seed, node| waiting(0, seed ^ node as u64));
}

#[test]
fn the_rules_hold_over_a_backend_that_waits_refuses_and_fails() {
    check_schedules(|seed, node| waiting(50, seed ^ node as u64));
}

fn waiting(spoiled: u8, seed: u64) -> Arc<dyn Backend> {
    let latency_max = ms(3 + seed % 15);
    let inner = WaitingBackend::new(MapBackend::new(), spoiled, seed).with_latency_max(latency_max);
    Arc::new(OneAtATime { inner, changing: Mutex::default(), overlapped: AtomicBool::default() })
}

/// Checks what the protocol promises to a backend: the calls that change a key come one after the other, and
/// their futures are not dropped.
struct OneAtATime {
    inner: WaitingBackend,
    changing: Mutex<HashSet<String>>,
    overlapped: AtomicBool,
}

impl OneAtATime {
    async fn one<T>(&self, key: &str, call: impl Future<Output = T>) -> T {
        // A call whose future is dropped stays on record, and overlaps the next.
        if !self.changing.lock().unwrap().insert(key.to_owned()) {
            self.overlapped.store(true, Ordering::Relaxed);
        }
        let done = call.await;
        self.changing.lock().unwrap().remove(key);
        done
    }
}

#[async_trait]
impl Backend for OneAtATime {
    fn peek(&self, key: &str) -> Option<Entry> {
        self.inner.peek(key)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.inner.get(key).await
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        let key = entry.key().to_owned();
        self.one(&key, self.inner.insert(entry)).await
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        self.one(key, self.inner.remove(key)).await
    }

    async fn clear(&self) -> Result<()> {
        self.inner.clear().await
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        self.inner.sweep(now).await
    }

    fn usage(&self) -> Usage {
        // Asked at the end of every schedule.
        assert!(!self.overlapped.load(Ordering::Relaxed), "two calls that change one key overlap");
        self.inner.usage()
    }
}
