//! A schedule played: the nodes, and what callers do on them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Range,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use cache_core::Status;
use futures_util::TryStreamExt;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ObjectMeta, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, RenameOptions, Result, UpdateVersion, path::Path,
};
use tokio::task::unconstrained;

use super::{
    CachedObjects, Opening, Opens, Part, Plan, Planned, Schedule,
    world::{Copied, EMPTY, Handle, NodeStore, World, body_of, value_of},
};
use crate::{
    TickingClock,
    history::{Act, CallId, History, Needs, Outcome, ReadRule},
    random::Random,
    simulation::{
        conductor::{Caller, Conductor, Ready},
        schedule::{KEYS, ms},
    },
};

/// The history of `schedule`.
pub(super) async fn play(schedule: &Schedule, opens: &Opens<'_>) -> History {
    let world = World::new(schedule);
    let mut play = Play {
        schedule,
        opens,
        world,
        instances: Cell::new(0),
        nodes: Vec::new(),
        ready: Arc::default(),
    };
    play.nodes = (0..schedule.nodes).map(|number| RefCell::new(play.node(number))).collect();
    let hearing = play.nodes.iter().map(|node| node.borrow().cache.hearing_takes()).max();
    play.world.recorder.history().hearing_takes(hearing.unwrap_or_default());
    let callers = (0..).zip(&schedule.calls);
    let callers =
        callers.map(|(number, planned)| Box::pin(play.at_its_time(number, planned)) as Caller<'_>);
    let random = Random::stream(schedule.seed, CONDUCTOR);
    // Unconstrained, since tokio's budget for one poll would have calls wait that could return.
    let conductor =
        unconstrained(Conductor::new(callers.collect(), Arc::clone(&play.ready), random));
    // Whatever has not ended then never will: `History::every_call_ends` says so.
    let _ = tokio::time::timeout(Duration::from_secs(3_600), conductor).await;
    play.world.recorder.history().clone()
}

struct Play<'a> {
    schedule: &'a Schedule,
    opens: &'a Opens<'a>,
    world: Arc<World>,
    /// How many caches there have been.
    instances: Cell<u64>,
    nodes: Vec<RefCell<Node>>,
    ready: Arc<Ready>,
}

/// A cache.
struct Node {
    instance: u64,
    cache: Arc<dyn CachedObjects>,
    /// The tags that its callers saw last, and their values.
    seen: BTreeMap<String, (String, u64)>,
}

/// What a read got.
struct Seen {
    value: u64,
    tag: Option<String>,
    status: Status,
}

impl Play<'_> {
    fn node(&self, number: usize) -> Node {
        let instance = self.instances.get();
        self.instances.set(instance + 1);
        let tick = ms([1, 8, 3][number % 3]);
        let cache = (self.opens)(&Opening {
            seed: self.schedule.seed ^ instance << 32,
            node: number,
            store: Arc::new(Handle(NodeStore::new(number, Arc::clone(&self.world)))),
            clock: Arc::new(TickingClock::new(self.world.recorder.clock, tick)),
            freshness: self.schedule.default_rule().freshness(),
            schedule: self.schedule,
        });
        Node { instance, cache, seen: BTreeMap::new() }
    }

    async fn at_its_time(&self, number: u64, planned: &Planned) {
        tokio::time::sleep(planned.at).await;
        let random = Random::stream(self.schedule.seed, PAUSES + number);
        for _ in 0..random.below(3) {
            tokio::task::yield_now().await;
        }
        if planned.node >= self.nodes.len() {
            return self.write_elsewhere(planned);
        }
        match planned.plan {
            Plan::Restart { closes } => self.restart(planned.node, closes).await,
            Plan::List => self.list(planned, "").await,
            Plan::ListFolder => {
                self.list(planned, planned.key.split('/').next().unwrap_or("")).await;
            }
            Plan::RenameFrom(from) => self.rename(planned, from).await,
            _ => self.call(planned).await,
        }
    }

    /// By somebody without a cache, in one step.
    fn write_elsewhere(&self, planned: &Planned) {
        let (act, value) = match planned.plan {
            Plan::Put(value) => (put(value), Some(value)),
            _ => (Act::Delete, None),
        };
        let call = self.world.recorder.begin(planned.node, planned.key, act);
        self.world.change(planned.key, value);
        self.world.recorder.end(call, Outcome::Done);
    }

    /// What was called on the old cache never returns.
    async fn restart(&self, number: usize, closes: bool) {
        let call = self.world.recorder.begin(number, "", Act::Restart);
        let old = Arc::clone(&self.nodes[number].borrow().cache);
        if closes {
            old.close().await;
        }
        let new = self.node(number);
        self.nodes[number].replace(new);
        self.ready.wake_all();
        self.world.recorder.end(call, Outcome::Done);
    }

    /// A list is a read of each key that it may show.
    async fn list(&self, planned: &Planned, folder: &str) {
        let recorder = &self.world.recorder;
        let keys: Vec<_> = KEYS.into_iter().filter(|key| key.starts_with(folder)).collect();
        let calls: Vec<_> =
            keys.iter().map(|key| recorder.begin(planned.node, key, Act::List)).collect();
        let prefix = Path::from(folder);
        let prefix = Some(&prefix).filter(|_| !folder.is_empty());
        let listed = self.unless_dropped(planned, &calls, async |cache| {
            match prefix {
                // Both kinds of list.
                Some(_) => {
                    cache.objects().list_with_delimiter(prefix).await.map(|listed| listed.objects)
                }
                None => cache.objects().list(None).try_collect::<Vec<ObjectMeta>>().await,
            }
        });
        let listed = listed.await;
        for (key, call) in keys.into_iter().zip(calls) {
            let of = |listed: &Vec<ObjectMeta>| match listed
                .iter()
                .find(|it| it.location.as_ref() == key)
            {
                None => Outcome::NotFound,
                Some(object) => {
                    let named = object.e_tag.as_deref().and_then(|tag| self.world.named(key, tag));
                    let value = named.map_or(TORN, |(value, _)| value);
                    Outcome::Read(value, object.e_tag.clone(), Status::Fetched)
                }
            };
            let outcome = match &listed {
                None => Outcome::Unknown,
                Some(listed) => listed.as_ref().map_or(Outcome::Failed, of),
            };
            recorder.end(call, outcome);
        }
    }

    /// A write of one key and a delete of the other.
    async fn rename(&self, planned: &Planned, from: &'static str) {
        let recorder = &self.world.recorder;
        let to_call = recorder.begin(planned.node, planned.key, put(TORN));
        let from_call = recorder.begin(planned.node, from, Act::Delete);
        let (from, to) = (Path::from(from), Path::from(planned.key));
        let (copied, calls) = (Copied::default(), [to_call, from_call]);
        let renamed = self.unless_dropped(planned, &calls, async |cache| {
            let mut options = RenameOptions::default();
            options.extensions.insert(copied.clone());
            cache.objects().rename_opts(&from, &to, options).await
        });
        let outcome = renamed.await.map_or(Outcome::Unknown, |renamed| written(&renamed));
        self.amend(to_call, &copied);
        recorder.end(to_call, outcome.clone());
        recorder.end(from_call, outcome);
    }

    async fn call(&self, planned: &Planned) {
        let act = self.act(planned);
        let prefix = &planned.key[..2];
        let key = if act == Act::InvalidatePrefix { prefix } else { planned.key };
        let call = self.world.recorder.begin(planned.node, key, act);
        let (copied, passed, calls) = (Copied::default(), Cell::new(false), [call]);
        let path = Path::from(planned.key);
        let seen = self.seen(planned);
        let outcome = self.unless_dropped(planned, &calls, async |cache| {
            let objects = cache.objects();
            match planned.plan {
                Plan::Head(rule) => {
                    let options = self.options(rule, Part::All).with_head(true);
                    self.read(cache, planned, options, &seen, &passed).await
                }
                Plan::Get(rule, part) => {
                    self.read(cache, planned, self.options(rule, part), &seen, &passed).await
                }
                Plan::OnlyIfCached(rule, part) => {
                    let options = cache.only_if_cached(self.options(rule, part));
                    self.read(cache, planned, options, &seen, &passed).await
                }
                Plan::Bypass(part) => {
                    let options = cache.past_the_cache(self.options(ReadRule::default(), part));
                    self.read(cache, planned, options, &seen, &passed).await
                }
                Plan::IfNoneMatch(rule) => {
                    let tag = seen.clone().map(|(tag, _)| tag);
                    let options = self.options(rule, Part::All).with_if_none_match(tag);
                    self.read(cache, planned, options, &seen, &passed).await
                }
                Plan::IfMatch(rule, part) => {
                    let tag = seen.clone().map(|(tag, _)| tag);
                    let options = self.options(rule, part).with_if_match(tag);
                    self.read(cache, planned, options, &seen, &passed).await
                }
                Plan::Ranges(ranges) => {
                    let ranges = ranges.map(|(from, len)| from..from + len);
                    match objects.get_ranges(&path, &ranges).await {
                        Ok(parts) => match value_of_parts(&ranges, &parts) {
                            // Of what cannot be cached, ranges that are far from each other may be
                            // of two versions.
                            Some(TORN) if self.schedule.max_object_size < u64::MAX => {
                                Outcome::Failed
                            }
                            Some(value) => Outcome::Read(value, None, Status::Fetched),
                            None => Outcome::Failed,
                        },
                        Err(error) => failed(&error),
                    }
                }
                Plan::Put(value) => self.put(cache, planned, value, PutMode::Overwrite).await,
                Plan::PutIfAbsent(value) => self.put(cache, planned, value, PutMode::Create).await,
                Plan::PutIfSame(value) => {
                    let mode = match &seen {
                        None => PutMode::Create,
                        Some((tag, _)) => PutMode::Update(UpdateVersion {
                            e_tag: Some(tag.clone()),
                            version: None,
                        }),
                    };
                    self.put(cache, planned, value, mode).await
                }
                Plan::Multipart(value) => written(&upload(cache, &path, body_of(value)).await),
                Plan::Delete => written(&objects.delete(&path).await),
                Plan::CopyFrom(from) => {
                    let mut options = CopyOptions::default();
                    options.extensions.insert(copied.clone());
                    written(&objects.copy_opts(&Path::from(from), &path, options).await)
                }
                Plan::Invalidate => done(cache.invalidate(&path).await),
                Plan::InvalidatePrefix => done(cache.invalidate_prefix(prefix)),
                _ => done(cache.clear().await),
            }
        });
        let outcome = outcome.await.unwrap_or(Outcome::Unknown);
        self.amend(call, &copied);
        if let (true, Act::Read(rule)) = (passed.get(), act) {
            // The store has answered in the place of the cache.
            self.world.recorder.history().amend(call, Act::Pass(rule));
        }
        if let (Outcome::Refused, Act::Put(value, Needs::Value(needed))) = (&outcome, act) {
            // A copy has another tag than another copy of that value: which one was wanted, the
            // value does not tell.
            let mut history = self.world.recorder.history();
            let states = history.states(planned.key).iter();
            if states.filter(|state| state.value == Some(needed)).count() > 1 {
                history.amend(call, Act::Put(value, Needs::Impossible));
            }
        }
        self.world.recorder.end(call, outcome);
    }

    /// `None` if the caller goes away, or the cache does.
    async fn unless_dropped<T>(
        &self,
        planned: &Planned,
        calls: &[CallId],
        work: impl AsyncFnOnce(&dyn CachedObjects) -> T,
    ) -> Option<T> {
        let (cache, instance) = {
            let node = self.nodes[planned.node].borrow();
            (Arc::clone(&node.cache), node.instance)
        };
        let is_replaced = || self.nodes[planned.node].borrow().instance != instance;
        let recorder = &self.world.recorder;
        recorder.unless_dropped(calls, planned.dropped, is_replaced, work(&*cache)).await
    }

    fn options(&self, rule: ReadRule, part: Part) -> GetOptions {
        let mut options = GetOptions::new().with_range(part.range());
        options.extensions.insert(rule.freshness());
        options
    }

    /// Reads to the end.
    async fn read(
        &self,
        cache: &dyn CachedObjects,
        planned: &Planned,
        options: GetOptions,
        seen: &Option<(String, u64)>,
        passed: &Cell<bool>,
    ) -> Outcome {
        let (head, key) = (options.head, planned.key);
        let answer = match cache.objects().get_opts(&Path::from(key), options).await {
            Ok(answer) => answer,
            // What the caller has is the current version.
            Err(error @ Error::NotModified { .. }) => {
                let status = cache.status_of_error(&error);
                passed.set(status.is_none());
                let (tag, value) =
                    seen.clone().map_or((None, TORN), |(tag, value)| (Some(tag), value));
                return Outcome::Read(value, tag, status.unwrap_or(Status::Fetched));
            }
            Err(error) => return failed(&error),
        };
        let status = cache.status(&answer);
        passed.set(status.is_none());
        match self.seen_in(key, answer, head, status).await {
            Ok(None) => Outcome::Failed,
            Ok(Some(Seen { value, tag, status })) => {
                if let Some(tag) = tag.clone() {
                    self.note(planned, tag, value);
                }
                Outcome::Read(value, tag, status)
            }
            // Bytes may have come before: that it is gone now says nothing of what they are.
            Err(Error::NotFound { .. }) => Outcome::Failed,
            Err(error) => failed(&error),
        }
    }

    /// What an answer shows, with its body; `None` if the store itself gave a body that is too
    /// short or too long.
    async fn seen_in(
        &self,
        key: &str,
        answer: GetResult,
        head: bool,
        status: Option<Status>,
    ) -> Result<Option<Seen>> {
        let (tag, range, size) =
            (answer.meta.e_tag.clone(), answer.range.clone(), answer.meta.size);
        let named =
            tag.as_deref().and_then(|tag| self.world.named(key, tag)).map(|(value, _)| value);
        let expected = body_of(named.unwrap_or(EMPTY));
        let is_whole = |body: &Bytes| body.len() as u64 == range.end - range.start;
        let value = if head {
            named.filter(|_| size == expected.len() as u64)
        } else {
            let body = answer.bytes().await?;
            if !is_whole(&body) && status.is_none() {
                return Ok(None);
            }
            let value = if body.is_empty() { named } else { value_of(range.start, &body) };
            value.filter(|_| is_whole(&body) && size == expected.len() as u64)
        };
        Ok(Some(Seen {
            value: value.unwrap_or(TORN),
            tag,
            status: status.unwrap_or(Status::Fetched),
        }))
    }

    async fn put(
        &self,
        cache: &dyn CachedObjects,
        planned: &Planned,
        value: u64,
        mode: PutMode,
    ) -> Outcome {
        let options = PutOptions { mode, ..PutOptions::default() };
        let payload = PutPayload::from(body_of(value));
        let put = cache.objects().put_opts(&Path::from(planned.key), payload, options).await;
        if let Ok(put) = &put
            && let Some(tag) = &put.e_tag
        {
            self.note(planned, tag.clone(), value);
        }
        written(&put)
    }

    fn seen(&self, planned: &Planned) -> Option<(String, u64)> {
        self.nodes[planned.node].borrow().seen.get(planned.key).cloned()
    }

    fn note(&self, planned: &Planned, tag: String, value: u64) {
        self.nodes[planned.node].borrow_mut().seen.insert(planned.key.to_owned(), (tag, value));
    }

    /// What is to be done now.
    fn act(&self, planned: &Planned) -> Act {
        match planned.plan {
            Plan::Get(rule, _)
            | Plan::Head(rule)
            | Plan::OnlyIfCached(rule, _)
            | Plan::IfNoneMatch(rule)
            | Plan::IfMatch(rule, _) => Act::Read(rule),
            Plan::Ranges(_) => Act::Read(self.schedule.default_rule()),
            Plan::Bypass(_) => Act::Pass(ReadRule::default()),
            Plan::List | Plan::ListFolder => Act::List,
            Plan::Put(value) | Plan::Multipart(value) => put(value),
            Plan::CopyFrom(_) | Plan::RenameFrom(_) => put(TORN),
            Plan::PutIfAbsent(value) => Act::Put(value, Needs::Absent),
            Plan::PutIfSame(value) => match self.seen(planned) {
                None => Act::Put(value, Needs::Absent),
                Some((tag, seen)) => {
                    let is_known = self.world.named(planned.key, &tag).is_some();
                    let needs = if is_known { Needs::Value(seen) } else { Needs::Impossible };
                    Act::Put(value, needs)
                }
            },
            Plan::Delete => Act::Delete,
            Plan::Invalidate => Act::Invalidate,
            Plan::InvalidatePrefix => Act::InvalidatePrefix,
            Plan::Clear => Act::Clear,
            Plan::Restart { .. } => Act::Restart,
        }
    }

    /// Says what a copy has written, if it has.
    fn amend(&self, call: CallId, copied: &Copied) {
        if let Some(value) = copied.value() {
            self.world.recorder.history().amend(call, Act::Put(value, Needs::Nothing));
        }
    }
}

fn put(value: u64) -> Act {
    Act::Put(value, Needs::Nothing)
}

/// The one value that all parts are of; `None` if they have no byte.
fn value_of_parts(ranges: &[Range<u64>], parts: &[Bytes]) -> Option<u64> {
    let values =
        ranges.iter().zip(parts).filter(|(_, part)| !part.is_empty()).map(|(range, part)| {
            let value = value_of(range.start, part)?;
            let end = range.end.min(body_of(value).len() as u64);
            (range.start + part.len() as u64 == end).then_some(value)
        });
    let values: Vec<_> = values.collect();
    let first = *values.first()?;
    Some(first.filter(|_| values.iter().all(|value| *value == first)).unwrap_or(TORN))
}

async fn upload(cache: &dyn CachedObjects, path: &Path, body: Bytes) -> Result<()> {
    let mut upload = cache.objects().put_multipart(path).await?;
    let half = body.len() / 2;
    for part in [body.slice(..half), body.slice(half..)] {
        upload.put_part(part.into()).await?;
    }
    upload.complete().await.map(|_| ())
}

fn done(succeeded: bool) -> Outcome {
    if succeeded { Outcome::Done } else { Outcome::Failed }
}

/// What a read came to that has failed.
fn failed(error: &Error) -> Outcome {
    match error {
        Error::NotFound { .. } => Outcome::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Outcome::Denied,
        _ => Outcome::Failed,
    }
}

fn written<T>(result: &Result<T>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => Outcome::Refused,
        Err(
            Error::NotFound { .. } | Error::PermissionDenied { .. } | Error::Unauthenticated { .. },
        ) => Outcome::Failed,
        Err(_) => Outcome::Unknown,
    }
}

/// The value of bytes that are of no version, or of several: no schedule puts it.
const TORN: u64 = 0;
const CONDUCTOR: u64 = 13;
/// One for each call.
const PAUSES: u64 = 1 << 41;
