//! A schedule played: the nodes, and what callers do on them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    Backend, Change, Entry, Error, ErrorKind, Key, ListScope, Origin, PutCondition, ReadThrough,
    Result, Served, Status, Version,
};
use futures_util::StreamExt as _;
use tokio::task::unconstrained;

use super::{
    Backends, Listed, Plan, Planned, Schedule,
    backend::Watched,
    bus::{Bus, namespace},
    conductor::{Caller, Conductor, Ready},
    lists::{List, ListedKey},
    origin::{NodeOrigin, World, body_of, pause, tag_of, value_of},
    schedule::{KEYS, ms},
};
use crate::{
    TickingClock,
    history::{Act, CallId, History, Needs, Outcome, ReadRule, Rest},
    random::Random,
};

/// The history of `schedule`.
pub(super) async fn play(schedule: &Schedule, backends: &Backends<'_>) -> History {
    let world = World::new(schedule);
    let bus = schedule.bus.as_ref().map(|plan| Arc::new(Bus::new(plan, schedule.seed, &world)));
    let mut play = Play {
        schedule,
        backends,
        world,
        bus,
        instances: Cell::new(0),
        nodes: Vec::new(),
        retired: RefCell::default(),
        ready: Arc::default(),
    };
    play.nodes = (0..schedule.nodes)
        .map(|number| RefCell::new(play.node(number, play.backend(number))))
        .collect();
    let mut callers: Vec<Caller<'_>> = if schedule.one_at_a_time {
        vec![Box::pin(play.one_at_a_time())]
    } else {
        schedule
            .calls
            .iter()
            .enumerate()
            .map(|(number, planned)| -> Caller<'_> { Box::pin(play.at_its_time(number, planned)) })
            .collect()
    };
    for (bus, plan) in play.bus.iter().zip(&schedule.bus) {
        callers.extend(plan.troubles.iter().map(|&(at, trouble)| -> Caller<'_> {
            Box::pin(async move {
                tokio::time::sleep(at).await;
                bus.happens(trouble, schedule.nodes);
            })
        }));
    }
    let random = Random::stream(schedule.seed, CONDUCTOR);
    // Unconstrained, since tokio's budget for one poll would have calls wait that could return.
    let conductor = unconstrained(Conductor::new(callers, Arc::clone(&play.ready), random));
    // Whatever has not ended then never will.
    if !matches!(tokio::time::timeout(Duration::from_secs(3_600), conductor).await, Ok(true)) {
        return play.history();
    }
    play.come_to_rest().await;
    play.history()
}

struct Play<'a> {
    schedule: &'a Schedule,
    backends: &'a Backends<'a>,
    world: Arc<World>,
    bus: Option<Arc<Bus>>,
    /// How many caches there have been.
    instances: Cell<u64>,
    nodes: Vec<RefCell<Node>>,
    /// The caches before a restart.
    retired: RefCell<Vec<Node>>,
    ready: Arc<Ready>,
}

/// A cache.
struct Node {
    number: usize,
    instance: u64,
    cache: ReadThrough<NodeOrigin>,
    backend: Arc<Watched>,
    /// The versions that its callers saw last, and their values.
    seen: BTreeMap<String, (Version, u64)>,
    gets: u64,
    dropped_gets: u64,
}

impl Play<'_> {
    fn backend(&self, number: usize) -> Arc<Watched> {
        let seed = self.schedule.seed ^ self.instances.get() << 32;
        Arc::new(Watched::new((self.backends)(seed, number)))
    }

    fn node(&self, number: usize, backend: Arc<Watched>) -> Node {
        let instance = self.instances.get();
        self.instances.set(instance + 1);
        self.world.is_opened(number, instance);
        let origin = self.origin(number, instance);
        let tick = [1, 8, 3][number % 3];
        let mut builder = ReadThrough::builder(Arc::new(origin), Arc::clone(&backend) as _);
        if let Some((bus, plan)) = self.bus.as_ref().zip(self.schedule.bus.as_ref()) {
            let bus = Arc::new(bus.of(number, instance));
            builder = builder.bus(bus).announce_within(plan.announce_within);
        }
        let cache = builder
            .patience(self.schedule.patience)
            .max_in_flight(self.schedule.max_in_flight)
            .negative_ttl(self.schedule.negative_ttl)
            .time_to_live(self.schedule.time_to_live)
            .namespace(namespace())
            .clock(Arc::new(TickingClock::new(self.world.recorder.clock, ms(tick))))
            .build()
            .expect("no setting of a schedule is zero where it must not be");
        Node { number, instance, cache, backend, seen: BTreeMap::new(), gets: 0, dropped_gets: 0 }
    }

    fn origin(&self, number: usize, instance: u64) -> NodeOrigin {
        NodeOrigin::new(number, instance, Arc::clone(&self.world))
    }

    async fn one_at_a_time(&self) {
        for (number, planned) in self.schedule.calls.iter().enumerate() {
            tokio::time::sleep(ms(
                Random::stream(self.schedule.seed, PAUSES + number as u64).below(12)
            ))
            .await;
            self.call(planned).await;
        }
    }

    async fn at_its_time(&self, number: usize, planned: &Planned) {
        tokio::time::sleep(planned.at).await;
        let random = Random::stream(self.schedule.seed, PAUSES + number as u64);
        for _ in 0..random.below(3) {
            tokio::task::yield_now().await;
        }
        self.call(planned).await;
    }

    async fn call(&self, planned: &Planned) {
        if planned.node >= self.nodes.len() {
            self.write_elsewhere(planned);
            return;
        }
        if let Plan::Restart { closes, keeps } = planned.plan {
            self.restart(planned.node, closes, keeps).await;
            return;
        }
        if let Plan::List(_) | Plan::ListBeside(_) | Plan::GetPrefix(..) = planned.plan {
            self.list(planned).await;
            return;
        }
        let node = &self.nodes[planned.node];
        let (cache, instance) = (node.borrow().cache.clone(), node.borrow().instance);
        let (act, condition) = node.borrow().act(planned);
        let prefix = &planned.key[..2];
        let key = if act == Act::InvalidatePrefix { prefix } else { planned.key };
        let call = self.begin(planned.node, key, act);
        let is_replaced = || self.nodes[planned.node].borrow().instance != instance;
        let (recorder, calls) = (&self.world.recorder, [call]);
        let outcome = recorder.unless_dropped(&calls, planned.dropped, is_replaced, async {
            match (act, planned.plan) {
                (_, Plan::Get(rule)) => match cache.get(key, Some(&rule.freshness())).await {
                    Ok(served) => self.served(planned, instance, &served),
                    Err(error) if error.kind() == ErrorKind::NotFound => Outcome::NotFound,
                    Err(_) => Outcome::Failed,
                },
                (_, Plan::OpenWrite(value)) => {
                    let put = self.put_beside(&cache, planned, value).await;
                    if let Ok(version) = &put {
                        self.note(planned, instance, version.clone(), value);
                    }
                    self.written(put)
                }
                (Act::Put(value, _), _) => {
                    let put = cache.put(key, body_of(value), condition).await;
                    if let Ok(version) = &put {
                        self.note(planned, instance, version.clone(), value);
                    }
                    self.written(put)
                }
                (_, Plan::Delete) => self.written(cache.delete(key).await),
                (_, Plan::Invalidate) => done(&cache.invalidate(key).await),
                (_, Plan::Expire) => done(&cache.mark_stale(key).await),
                (_, Plan::ExpirePrefix) => done(&cache.mark_stale_prefix(prefix)),
                (_, Plan::ExpireAll) => done(&cache.mark_all_stale()),
                (_, Plan::Announce) => {
                    let key = Key::parse(key).expect("a key of a schedule is one");
                    done(&cache.announce(Change::Key { key, e_tag: None }).await)
                }
                (_, Plan::AnnouncePrefix) => {
                    done(&cache.announce(Change::Prefix(prefix.into())).await)
                }
                (_, Plan::AnnounceAll) => done(&cache.announce(Change::All).await),
                (_, Plan::HearChange) => {
                    let key = Key::parse(key).expect("a key of a schedule is one");
                    cache.hear_change(&Change::Key { key, e_tag: None }).await;
                    Outcome::Done
                }
                (_, Plan::InvalidatePrefix) => done(&cache.invalidate_prefix(prefix)),
                _ => done(&cache.clear().await),
            }
        });
        let outcome = outcome.await;
        self.count(planned, instance, outcome.is_some());
        self.end(call, outcome.unwrap_or(Outcome::Unknown));
        self.check_limits(planned.node);
    }

    /// A list is a read of each key that it may show.
    async fn list(&self, planned: &Planned) {
        let node = &self.nodes[planned.node];
        let (cache, instance) = (node.borrow().cache.clone(), node.borrow().instance);
        let (Plan::List(listed) | Plan::ListBeside(listed) | Plan::GetPrefix(listed, _)) =
            planned.plan
        else {
            return;
        };
        let prefix = match listed {
            Listed::All => "",
            Listed::Below => &planned.key[..2],
        };
        let act = match planned.plan {
            Plan::GetPrefix(..) => Act::Read(ReadRule::default()),
            _ => Act::List,
        };
        let keys = KEYS.into_iter().filter(|key| key.starts_with(prefix));
        let mut calls: BTreeMap<_, _> =
            keys.map(|key| (key, self.begin(planned.node, key, act))).collect();
        let all: Vec<_> = calls.values().copied().collect();
        let is_replaced = || self.nodes[planned.node].borrow().instance != instance;
        let recorder = &self.world.recorder;
        let listed = recorder.unless_dropped(&all, planned.dropped, is_replaced, async {
            match planned.plan {
                Plan::GetPrefix(_, parallel) => {
                    self.get_prefix(planned, &cache, prefix, parallel, &mut calls).await
                }
                Plan::ListBeside(_) => {
                    self.list_beside(planned, &cache, instance, prefix, &mut calls).await
                }
                _ => self.list_pages(planned, &cache, prefix, &mut calls).await,
            }
        });
        let rest = listed.await.unwrap_or(Outcome::Unknown);
        calls.values().for_each(|call| self.end(*call, rest.clone()));
        self.check_limits(planned.node);
    }

    /// The calls that have not ended are all of absent objects, or have failed.
    async fn list_pages(
        &self,
        planned: &Planned,
        cache: &ReadThrough<NodeOrigin>,
        prefix: &str,
        calls: &mut BTreeMap<&'static str, CallId>,
    ) -> Outcome {
        let mut pages = cache.list(prefix);
        let Some(list) = cache.origin().last_list() else { return Outcome::Failed };
        while let Some(page) = pages.next().await {
            if page.is_err() {
                return Outcome::Failed;
            }
            self.are_listed(list.heard(false), calls);
            self.pause(planned).await;
        }
        self.are_listed(list.heard(true), calls);
        Outcome::NotFound
    }

    async fn list_beside(
        &self,
        planned: &Planned,
        cache: &ReadThrough<NodeOrigin>,
        instance: u64,
        prefix: &str,
        calls: &mut BTreeMap<&'static str, CallId>,
    ) -> Outcome {
        let (list, listing) = List::begin(&self.world, (planned.node, instance), prefix, None);
        let scope = ListScope::new(prefix).ordered(listing.is_ordered);
        let (mut pages, mut observed) = (listing.pages, cache.observe_list(scope));
        let mut is_first = true;
        loop {
            observed.request_page();
            match pages.next().await {
                None => break,
                Some(Err(_)) => return Outcome::Failed,
                Some(Ok(page)) => {
                    if !is_first && !page.is_requested_when_polled {
                        observed.revoke_request();
                    }
                    observed.page(&page.objects, &[]).await;
                }
            }
            is_first = false;
            self.are_listed(list.heard(false), calls);
            self.pause(planned).await;
        }
        observed.end().await;
        self.are_listed(list.heard(true), calls);
        Outcome::NotFound
    }

    async fn get_prefix(
        &self,
        planned: &Planned,
        cache: &ReadThrough<NodeOrigin>,
        prefix: &str,
        parallel: usize,
        calls: &mut BTreeMap<&'static str, CallId>,
    ) -> Outcome {
        // Objects that are deleted after they were listed are counted too.
        self.nodes[planned.node].borrow_mut().dropped_gets += calls.len() as u64;
        let mut objects = cache.get_prefix(prefix, parallel);
        let mut rest = Outcome::NotFound;
        while let Some(object) = objects.next().await {
            match object {
                Ok(served) => {
                    let value = value_of(served.entry.body()).unwrap_or(0);
                    let tag = served.entry.e_tag().map(Into::into);
                    if let Some(call) = calls.remove(served.entry.key()) {
                        self.end(call, Outcome::Read(value, tag, served.status));
                    }
                }
                // Of which key is not known.
                Err(_) => rest = Outcome::Failed,
            }
            self.pause(planned).await;
        }
        rest
    }

    fn are_listed(&self, known: Vec<ListedKey>, calls: &mut BTreeMap<&'static str, CallId>) {
        for ListedKey { key, value, tag, .. } in known {
            let outcome =
                value.map_or(Outcome::NotFound, |value| Outcome::Read(value, tag, Status::Fetched));
            if let Some(call) = calls.remove(key) {
                self.end(call, outcome);
            }
        }
    }

    /// Between two pages or objects.
    async fn pause(&self, planned: &Planned) {
        let at = u64::try_from(planned.at.as_millis()).unwrap_or(0);
        let random = Random::stream(self.schedule.seed, PAUSES / 2 + at);
        if random.below(2) == 0 {
            tokio::time::sleep(ms(random.below(12))).await;
        }
    }

    /// By the node, but not by its cache, which is told.
    async fn put_beside(
        &self,
        cache: &ReadThrough<NodeOrigin>,
        planned: &Planned,
        value: u64,
    ) -> Result<Version> {
        let write = cache.open_write(planned.key).await?;
        // What the cache did not ask is not among its requests.
        let origin = self.origin(planned.node, 0);
        let put = origin.put(write.key(), body_of(value), PutCondition::Always).await;
        match put.as_ref().map_err(Error::kind) {
            Ok(version) => write.succeeded(version.e_tag.as_deref()).await,
            // Surely not done.
            Err(ErrorKind::PermissionDenied | ErrorKind::Unauthenticated) => write.refused(),
            Err(_) => drop(write),
        }
        put
    }

    /// By somebody without a cache, in one step.
    fn write_elsewhere(&self, planned: &Planned) {
        let (act, value) = match planned.plan {
            Plan::Put(value) => (Act::Put(value, Needs::Nothing), Some(value)),
            _ => (Act::Delete, None),
        };
        let call = self.begin(planned.node, planned.key, act);
        self.world.change(planned.key, value);
        self.end(call, Outcome::Done);
    }

    /// What was called on the old cache never returns.
    async fn restart(&self, number: usize, closes: bool, keeps: bool) {
        let call = self.begin(number, "", Act::Restart);
        let (old, held) = (
            self.nodes[number].borrow().cache.clone(),
            self.nodes[number].borrow().backend.clone(),
        );
        let backend = self.backend(number);
        for key in KEYS.iter().filter(|_| keeps) {
            if let Some(entry) =
                shown(&held, key).await.ok().flatten().filter(|entry| !entry.is_negative())
            {
                // A backend may refuse.
                let _ = backend.insert(read_back(&entry)).await;
            }
        }
        if closes {
            // If the backend fails to free its memory, it is closed all the same.
            let _ = old.close().await;
        }
        let new = self.node(number, backend);
        let old = self.nodes[number].replace(new);
        self.retired.borrow_mut().push(old);
        self.ready.wake_all();
        self.end(call, Outcome::Done);
    }

    fn served(&self, planned: &Planned, instance: u64, served: &Served) -> Outcome {
        // No schedule puts a value of zero.
        let value = value_of(served.entry.body()).unwrap_or(0);
        self.note(planned, instance, served.entry.version(), value);
        Outcome::Read(value, served.entry.e_tag().map(Into::into), served.status)
    }

    fn note(&self, planned: &Planned, instance: u64, version: Version, value: u64) {
        let mut node = self.nodes[planned.node].borrow_mut();
        if node.instance == instance {
            node.seen.insert(planned.key.to_owned(), (version, value));
        }
    }

    fn written<T>(&self, result: Result<T>) -> Outcome {
        use ErrorKind::{
            Closed, InvalidKey, NotFound, PermissionDenied, Unauthenticated, Unsupported,
        };
        match result.map_err(|error| error.kind()) {
            Ok(_) => Outcome::Done,
            Err(ErrorKind::PreconditionFailed) if !self.schedule.retries => Outcome::Refused,
            Err(
                Closed | InvalidKey | NotFound | PermissionDenied | Unauthenticated | Unsupported,
            ) => Outcome::Failed,
            Err(_) => Outcome::Unknown,
        }
    }

    fn count(&self, planned: &Planned, instance: u64, returned: bool) {
        if !matches!(planned.plan, Plan::Get(_)) {
            return;
        }
        let (mut node, mut retired) =
            (self.nodes[planned.node].borrow_mut(), self.retired.borrow_mut());
        let mut caches = std::iter::once(&mut *node).chain(retired.iter_mut());
        if let Some(node) = caches.find(|node| node.instance == instance) {
            if returned { node.gets += 1 } else { node.dropped_gets += 1 }
        }
    }

    fn check_limits(&self, number: usize) {
        let usage = self.nodes[number].borrow().backend.usage();
        if usage.capacity_bytes.is_some_and(|capacity| usage.bytes > capacity) {
            self.world.history().broken(format!("rule 8, limits are kept: {usage:?}"));
        }
    }

    fn history(&self) -> History {
        self.world.history().clone()
    }

    fn begin(&self, node: usize, key: &str, act: Act) -> CallId {
        self.world.recorder.begin(node, key, act)
    }

    fn end(&self, call: CallId, outcome: Outcome) {
        self.world.recorder.end(call, outcome);
    }

    /// Waits until nothing is in the air, and notes what is there then.
    async fn come_to_rest(&self) {
        let mut caches = self.retired.take();
        caches.extend(self.nodes.iter().map(|node| node.borrow().copy()));
        for _ in 0..ROUNDS_MAX {
            if caches.iter().all(|node| node.cache.keys_in_flight() == 0) {
                break;
            }
            tokio::time::sleep(ms(100)).await;
        }
        // A write's task may be a step behind its caller.
        pause(&Random::new(0)).await;
        for node in &caches {
            let rest = node.rest().await;
            let mut history = self.world.history();
            history.rest(rest);
            if node.backend.has_overlapped() {
                history.broken(
                    "two calls of a backend that change one key overlap, or one was dropped",
                );
            }
        }
    }
}

impl Node {
    /// What is to be done on this node now.
    fn act(&self, planned: &Planned) -> (Act, PutCondition) {
        let act = match planned.plan {
            Plan::Get(rule) => Act::Read(rule),
            Plan::Put(value) | Plan::OpenWrite(value) => Act::Put(value, Needs::Nothing),
            Plan::PutIfAbsent(value) => {
                return (Act::Put(value, Needs::Absent), PutCondition::Absent);
            }
            Plan::PutIfSame(value) => {
                return match self.seen.get(planned.key) {
                    None => (Act::Put(value, Needs::Absent), PutCondition::Absent),
                    Some((version, seen)) => {
                        let is_known = version.e_tag.as_deref() == Some(&*tag_of(*seen));
                        let needs = if is_known { Needs::Value(*seen) } else { Needs::Impossible };
                        (Act::Put(value, needs), PutCondition::Matches(version.clone()))
                    }
                };
            }
            Plan::Delete => Act::Delete,
            Plan::Invalidate => Act::Invalidate,
            Plan::Expire
            | Plan::ExpirePrefix
            | Plan::ExpireAll
            | Plan::Announce
            | Plan::AnnouncePrefix
            | Plan::AnnounceAll
            | Plan::HearChange => Act::Expire,
            Plan::InvalidatePrefix => Act::InvalidatePrefix,
            Plan::Clear => Act::Clear,
            Plan::Restart { .. } => Act::Restart,
            Plan::List(_) | Plan::ListBeside(_) | Plan::GetPrefix(..) => Act::List,
        };
        (act, PutCondition::Always)
    }

    /// The same cache.
    fn copy(&self) -> Self {
        Self {
            number: self.number,
            instance: self.instance,
            cache: self.cache.clone(),
            backend: Arc::clone(&self.backend),
            seen: BTreeMap::new(),
            gets: self.gets,
            dropped_gets: self.dropped_gets,
        }
    }

    async fn rest(&self) -> Rest {
        let before = self.backend.usage();
        let in_memory = KEYS.iter().filter_map(|key| self.backend.peek(key));
        let in_memory = in_memory.fold((0, 0), |(copies, bytes), entry| {
            (copies + u64::from(!entry.is_negative()), bytes + entry.weight())
        });
        let mut counted = Some((0, 0));
        for key in KEYS {
            counted = match (counted, shown(&self.backend, key).await) {
                (Some((copies, bytes)), Ok(Some(entry))) => {
                    Some((copies + u64::from(!entry.is_negative()), bytes + entry.weight()))
                }
                (counted, Ok(None)) => counted,
                _ => None,
            };
        }
        // What has been swept meanwhile cannot be counted.
        let counted = counted.filter(|_| self.backend.usage() == before);
        let stats = self.cache.stats();
        // A backend with a lower tier may count memory alone.
        let counts_memory =
            self.backend.lower_tier().is_some() && in_memory == (stats.entries, stats.bytes);
        let counted = if counts_memory { Some(in_memory) } else { counted };
        Rest {
            node: self.number,
            stats,
            keys_in_flight: self.cache.keys_in_flight(),
            shown: counted,
            gets: self.gets,
            dropped_gets: self.dropped_gets,
            // Whether the end of a list costs a request, the cache has to guess.
            requests: self.cache.origin().requests() + stats.origin.lists.requests(),
        }
    }
}

fn done(result: &Result<()>) -> Outcome {
    if result.is_ok() { Outcome::Done } else { Outcome::Failed }
}

async fn shown(backend: &Watched, key: &str) -> Result<Option<Entry>> {
    match backend.peek(key) {
        None => backend.get(key).await,
        at_hand => Ok(at_hand),
    }
}

/// The entry as a medium that outlives the process brings it back.
fn read_back(entry: &Entry) -> Entry {
    let key = Key::parse(entry.key()).expect("it is an entry's");
    let body = Bytes::copy_from_slice(entry.body());
    let builder =
        Entry::builder(&key, body).version(entry.version()).storability(entry.storability());
    builder.namespace(entry.namespace()).build()
}

const CONDUCTOR: u64 = 3;
/// One for each call.
const PAUSES: u64 = 1 << 40;
const ROUNDS_MAX: u32 = 1_000;
