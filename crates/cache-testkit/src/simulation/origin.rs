//! The origin: a register a key, which answers late, wrongly and not at all, as the seed says.
//!
//! It answers in one step: a request takes a while, takes effect or is evaluated, and its answer takes a while.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Clock, Entry, Error, ErrorKind, Keep, Key, Moment, Origin, PutCondition, Result, Validation, Validator,
    Version,
};

use super::{Schedule, schedule::ms};
use crate::{TokioClock, history::History, random::Random};

/// The objects, and the record of all that happens to them.
pub(super) struct World {
    pub(super) clock: TokioClock,
    history: Mutex<History>,
    seed: u64,
    faults: u8,
    odd_tags: u8,
    retries: bool,
    /// A node and a key have their own, so that less of a schedule changes little of the rest.
    streams: Mutex<BTreeMap<(usize, String), Arc<Random>>>,
}

/// The origin as one cache reaches it.
pub(super) struct NodeOrigin {
    pub(super) node: usize,
    pub(super) world: Arc<World>,
    pub(super) requests: AtomicU64,
}

/// What goes wrong with a request.
#[derive(Clone, Copy)]
enum Fault {
    /// It does not reach the origin, which refuses it, or fails.
    Fails(ErrorKind),
    /// It takes effect, and its answer is lost.
    LosesReply(ErrorKind),
    /// It is given up, and takes effect later.
    Lingers,
    /// Its answer comes much later.
    Hangs,
    /// Of a read: the answer is "unchanged", though nothing was asked about.
    ClaimsUnchanged,
    /// Of a conditional put: it takes effect, its answer is lost, and so its condition fails when it is repeated.
    Repeats,
}

impl World {
    pub(super) fn new(schedule: &Schedule) -> Arc<Self> {
        let &Schedule { seed, faults, odd_tags, retries, time_to_live, .. } = schedule;
        Arc::new(Self {
            clock: TokioClock::new(),
            history: Mutex::new(History::new(time_to_live)),
            seed,
            faults,
            odd_tags,
            retries,
            streams: Mutex::default(),
        })
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since the start.
    pub(super) fn now(&self) -> Duration {
        self.clock.now().saturating_since(Moment::from_nanos(0))
    }

    pub(super) fn change(&self, key: &str, value: Option<u64>) {
        let now = self.now();
        let mut history = self.history();
        history.change(key, value, now);
        if let Some(value) = value {
            history.tag(key, &tag_of(value), value);
        }
    }

    fn current(&self, key: &str) -> Option<u64> {
        self.history().states(key).last().and_then(|state| state.value)
    }

    fn stream(&self, node: usize, key: &str) -> Arc<Random> {
        // By name, not by the order of coming.
        let name = key.bytes().fold(node as u64, |name, byte| name.wrapping_mul(31) + u64::from(byte));
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = streams.entry((node, key.to_owned()));
        Arc::clone(stream.or_insert_with(|| Arc::new(Random::stream(self.seed, ORIGIN + (name << 8)))))
    }

    /// A tag for an answer with `value`, mostly the right one. It may be repeated, but never names anything else.
    fn some_tag(&self, random: &Random, key: &str, value: u64) -> Option<String> {
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
    async fn request<T: Send + 'static>(
        &self,
        key: &Key,
        may: impl Fn(Fault) -> bool + Send,
        effect: impl FnOnce(&World, &Random, Option<Fault>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (world, random) = (Arc::clone(&self.world), self.world.stream(self.node, key.as_str()));
        self.requests.fetch_add(1, Ordering::Relaxed);
        let request = world.history().ask(self.node, key.as_str(), world.now());
        let fault =
            random.happens(world.faults).then(|| fault(&random, world.retries)).filter(|fault| may(*fault));
        pause(&random).await;
        let answer = match fault {
            Some(Fault::Fails(kind)) => Err(Error::new(kind, "the origin was told to fail")),
            Some(Fault::LosesReply(kind)) => {
                let _ = effect(&world, &random, fault);
                Err(Error::new(kind, "the reply was lost"))
            }
            Some(Fault::Repeats) => effect(&world, &random, fault).and_then(|_| {
                Err(Error::new(ErrorKind::PreconditionFailed, "repeated, it met its own work"))
            }),
            Some(Fault::Lingers) => {
                let (world, random) = (Arc::clone(&world), Arc::clone(&random));
                tokio::spawn(async move {
                    tokio::time::sleep(ms(random.below(40))).await;
                    let _ = effect(&world, &random, fault);
                });
                Err(Error::new(ErrorKind::Timeout, "the origin was told to be slow"))
            }
            Some(Fault::Hangs) => {
                let answer = effect(&world, &random, fault);
                tokio::time::sleep(ms(20 + random.below(3_000))).await;
                answer
            }
            Some(Fault::ClaimsUnchanged) | None => effect(&world, &random, fault),
        };
        pause(&random).await;
        let failure = answer.as_ref().err().map(Error::kind);
        world.history().answer(request, failure, world.now());
        answer
    }
}

#[async_trait]
impl Validator for NodeOrigin {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let (held, asked) = (held.and_then(|held| held.e_tag().map(String::from)), key.clone());
        let nothing_held = held.is_none();
        let may = move |fault| match fault {
            Fault::ClaimsUnchanged => nothing_held,
            Fault::Lingers | Fault::Repeats => false,
            _ => true,
        };
        self.request(key, may, move |world, random, fault| {
            let Some(value) = world.current(asked.as_str()) else { return Ok(Validation::Gone) };
            let is_held = held.is_some_and(|held| held == tag_of(value));
            if is_held || matches!(fault, Some(Fault::ClaimsUnchanged)) {
                return Ok(Validation::Unchanged);
            }
            let e_tag = world.some_tag(random, asked.as_str(), value);
            let version = Version { e_tag, ..Version::default() };
            Ok(Validation::Changed(entry(&asked, body_of(value), version)))
        })
        .await
    }
}

#[async_trait]
impl Origin for NodeOrigin {
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version> {
        let written = key.clone();
        let is_conditional = condition != PutCondition::Always;
        let may = move |fault| match fault {
            Fault::ClaimsUnchanged => false,
            Fault::Repeats => is_conditional,
            _ => true,
        };
        self.request(key, may, move |world, random, _| {
            let current = world.current(written.as_str());
            let holds = match &condition {
                PutCondition::Absent => current.is_none(),
                PutCondition::Matches(version) => current.map(tag_of) == version.e_tag && current.is_some(),
                _ => true,
            };
            if !holds {
                return Err(Error::new(ErrorKind::PreconditionFailed, "the object is at another version"));
            }
            let value =
                value_of(&body).ok_or_else(|| Error::new(ErrorKind::Other, "nobody puts such a body"))?;
            world.change(written.as_str(), Some(value));
            let e_tag = world.some_tag(random, written.as_str(), value);
            Ok(Version { e_tag, size: body.len() as u64, ..Version::default() })
        })
        .await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let deleted = key.clone();
        let may = |fault| !matches!(fault, Fault::ClaimsUnchanged | Fault::Repeats);
        self.request(key, may, move |world, _, _| {
            world.change(deleted.as_str(), None);
            Ok(())
        })
        .await
    }

    fn entry_of_put(&self, key: &Key, body: Bytes, version: &Version) -> Entry {
        entry(key, body, version.clone())
    }
}

/// A weak tag confirms nothing; without one nothing is kept.
fn entry(key: &Key, body: Bytes, version: Version) -> Entry {
    let is_weak = version.e_tag.as_deref().is_some_and(|tag| tag.starts_with("W/"));
    let entry = Entry::builder(key, body).version(version);
    if is_weak { entry.keep(Keep::Unconfirmable).build() } else { entry.build() }
}

fn fault(random: &Random, retries: bool) -> Fault {
    use ErrorKind::{Other, PermissionDenied, Timeout, Unauthenticated, Unavailable};
    match random.below(12) {
        0..4 => {
            Fault::Fails(random.pick(&[Unavailable, Unavailable, Timeout, PermissionDenied, Unauthenticated]))
        }
        4 => Fault::Fails(Other),
        5..8 => Fault::LosesReply(random.pick(&[Unavailable, Timeout, Other])),
        8 => Fault::Lingers,
        9 => Fault::Hangs,
        10 if retries => Fault::Repeats,
        10 => Fault::Lingers,
        _ => Fault::ClaimsUnchanged,
    }
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
