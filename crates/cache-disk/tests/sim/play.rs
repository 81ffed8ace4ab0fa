//! One schedule over one disk: calls of the backend, steps of the writer, faults and restarts, in
//! an order drawn from a seed.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    task::Poll,
    time::Duration,
};

use cache_core::{
    Admission, Backend, Clock as _, Entry, Key, Moment, Namespace, Result, Seal, Storability,
    TierContext, TierState, TierStats,
};
use cache_disk::{DiskAdmission, DiskTier, Step, TieredBackend, Writer};
use cache_testkit::{DiskFaults, FaultyDisk, Random, TokioClock};

use crate::{
    memories::{Memory, MemoryKind, poll},
    model::{Begun, Model, Number},
};

/// What happens to the disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// The process is killed, between two calls or within a write.
    pub(crate) kills: bool,
    pub(crate) power_losses: bool,
    /// Calls fail, work is dropped or takes longer than readers wait, the disk is full.
    pub(crate) errors: bool,
    pub(crate) damage: bool,
}

#[derive(Debug, Clone, Copy)]
struct Setup {
    memory: MemoryKind,
    admission: DiskAdmission,
    has_pins: bool,
    capacity: u64,
    queue: u64,
    budget: Option<u64>,
    has_ttl: bool,
    n_keys: usize,
    cached_reads: u8,
}

type Tier = TieredBackend<Memory>;
type Called<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

struct LookUp {
    key: String,
    begun: Begun,
    /// The moment of the last sweep when it began.
    swept: Moment,
    found: Called<Option<Entry>>,
}

enum ChangeKind {
    Insert(String),
    Remove(String),
    Clear,
}

struct Change {
    kind: ChangeKind,
    done: Called<()>,
}

/// A look-up that is polled in the midst of an insert.
struct Polled {
    look_up: Option<LookUp>,
    found: Option<Result<Option<Entry>>>,
}

/// A change in the midst of a call of the files.
struct Between {
    change: ChangeKind,
    entry: Option<Entry>,
    done: AtomicU8,
}

const NOT_DONE: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;

pub(crate) struct Play {
    random: Random,
    disk: FaultyDisk,
    clock: TokioClock,
    faults: Faults,
    setup: Setup,
    model: Model,
    backend: Arc<Tier>,
    writer: Writer,
    look_ups: Vec<LookUp>,
    changes: Vec<Change>,
    swept: Moment,
    /// The tier has read what earlier processes have written.
    has_started: bool,
    /// After a power loss, removed files were there again: more than the capacity allows.
    was_too_full: bool,
    /// Something was done to the disk after which records may be lost.
    is_damaged: bool,
    /// Entries may have expired, or never have been offered: the counters do not add up.
    has_expired: bool,
    log: Vec<String>,
    pub(crate) seen: Seen,
}

/// What a play has come to, to tell that schedules do what they are for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) hits: u64,
    pub(crate) recovered: u64,
    pub(crate) recycled: u64,
    pub(crate) rewritten: u64,
    pub(crate) must_find: u64,
    pub(crate) restarts: u64,
    pub(crate) corrupt: u64,
    pub(crate) errors: u64,
    pub(crate) queue_full: u64,
    pub(crate) renewed: u64,
    pub(crate) pins_lost: u64,
    /// Changes in the midst of a step of the writer.
    pub(crate) between: u64,
}

impl Play {
    pub(crate) fn run(seed: u64, faults: Faults, n_steps: usize) -> Result<Seen, String> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build();
        runtime.expect("there is a runtime").block_on(async {
            let mut play = Self::new(seed, faults);
            let played = play.steps(n_steps).await;
            let log = play.log.len().saturating_sub(LOG_MAX);
            played.map_err(|broken| {
                format!(
                    "seed {seed}: {broken}\n{:?} {:?}\n{}",
                    play.setup,
                    play.backend,
                    play.log[log..].join("\n")
                )
            })?;
            Ok(play.seen)
        })
    }

    fn new(seed: u64, faults: Faults) -> Self {
        let random = Random::new(seed);
        let of = |choices: &[u64]| choices[random.index(choices.len())];
        let setup = Setup {
            memory: MemoryKind {
                entries: of(&[1, 1, 3, 1000]),
                tells: of(&[0, 1, 1]) == 1,
                refuses: random.index(3) * 4 * random.index(2),
                waits: random.index(2) * random.index(5),
            },
            admission: match random.index(3) {
                0 => DiskAdmission::OnReuse,
                _ => DiskAdmission::Always,
            },
            has_pins: random.index(3) == 0,
            capacity: of(&[256, 256, 320, 512, 4096]) << 10,
            queue: of(&[8 << 10, 40 << 10, 1 << 20, 1 << 20, 1 << 20]),
            budget: (random.index(6) == 0).then_some(4000),
            has_ttl: random.index(4) == 0,
            n_keys: 2 + random.index(11),
            cached_reads: [0, 128, 255][random.index(3)],
        };
        let disk = FaultyDisk::new(seed);
        disk.set_cached_reads(setup.cached_reads);
        let clock = TokioClock::new();
        let (backend, writer) = open(&disk, clock, setup, random.draw());
        let mut keys: Vec<_> = (0..setup.n_keys).map(|n| format!("a/{n}")).collect();
        keys.extend(["pin/0", "pin/1", "never/0"].map(String::from));
        Self {
            random,
            disk,
            clock,
            faults,
            setup,
            model: Model::new(keys),
            backend,
            writer,
            look_ups: Vec::new(),
            changes: Vec::new(),
            swept: Moment::from_nanos(0),
            has_started: false,
            was_too_full: false,
            is_damaged: false,
            has_expired: setup.has_ttl || setup.admission == DiskAdmission::OnReuse,
            log: Vec::new(),
            seen: Seen::default(),
        }
    }

    async fn steps(&mut self, n_steps: usize) -> Result<(), String> {
        for _ in 0..n_steps {
            self.step().await?;
            if !self.disk.is_mounted() {
                // The write that was to be the last one has come.
                self.restart(End::Killed).await?;
            }
            self.check_limits()?;
        }
        self.heal().await
    }

    async fn step(&mut self) -> Result<(), String> {
        match self.random.index(100) {
            0..=23 => self.insert(),
            24..=26 => self.remove(),
            27 if self.random.index(4) == 0 => self.change(ChangeKind::Clear),
            27 => self.insert(),
            28..=37 => self.look_up(),
            38..=49 => {
                self.look_up()?;
                while self.disk.run_job() {}
                self.poll_some()
            }
            50..=52 => self.mark(),
            53..=58 => self.renew(),
            59 => self.sweep(),
            60..=71 => self.write().map(drop),
            72..=80 => self.drain().map(drop),
            81..=86 => self.poll_some(),
            87..=91 => self.run_job(),
            92..=93 => {
                let span =
                    [1, 900, 3000][self.random.index(if self.faults.errors { 3 } else { 2 })];
                // Readers wait for 2 s.
                if span == 900 && !self.faults.errors {
                    self.finish().await?;
                }
                self.advance(Duration::from_millis(span)).await;
                if span < 2000 {
                    return Ok(());
                }
                // A disk that hangs does not hang its readers.
                for at in (0..self.look_ups.len()).rev() {
                    if self.poll_look_up(at)?.is_none() {
                        return Err("a look-up waits for the disk for 3 s".into());
                    }
                }
                Ok(())
            }
            94..=95 => self.disturb(),
            _ => match self.random.index(20) {
                0..=1 => self.restart(End::Closed).await,
                2..=4 if self.faults.kills => self.restart(End::Killed).await,
                5..=6 if self.faults.power_losses => self.restart(End::PowerLost).await,
                7 if self.faults.kills => {
                    let n = self.random.index(5) as u64;
                    self.note(format!("killed at write {n}"));
                    self.disk.kill_at_write(n);
                    Ok(())
                }
                _ => Ok(()),
            },
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        self.log.push(what.into());
    }

    fn stats(&self) -> TierStats {
        self.backend.lower_tier().expect("it has a tier")
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    async fn advance(&mut self, span: Duration) {
        self.note(format!("{span:?} pass"));
        tokio::time::advance(span).await;
    }

    fn pick_key(&self) -> String {
        let keys: Vec<_> = self.model.keys().collect();
        keys[self.random.index(keys.len())].to_owned()
    }

    fn pick_settled(&self) -> Option<String> {
        Some(self.pick_key()).filter(|key| self.model.is_settled(key))
    }

    /// What the counters say is kept, waits or was dropped, but for what was found at the start,
    /// and how many entries memory has evicted: those that were not on disk are counted then.
    fn sum(&self) -> (i64, i64) {
        let stats = self.stats();
        let sum = stats.entries + stats.queue_entries + stats.dropped.total();
        let evicted = if self.setup.memory.tells { self.backend.usage().evicted } else { 0 };
        (sum.cast_signed() - stats.recovered.cast_signed(), evicted.cast_signed())
    }

    /// Checks that a call has changed the sum of the counters by one of `allowed`.
    fn conserves(
        &self,
        (before, evicted_before): (i64, i64),
        allowed: std::ops::RangeInclusive<i64>,
        call: &str,
    ) -> Result<(), String> {
        let (sum, evicted) = self.sum();
        let by = sum - before;
        // What is dropped while memory has it is counted when memory evicts it.
        let n_inserting = self.changes.len() as u64;
        let in_memory = if self.setup.memory.tells { self.backend.usage().entries } else { 0 };
        let first = *allowed.start() - (in_memory + n_inserting).cast_signed();
        let allowed = first..=*allowed.end() + evicted - evicted_before;
        // Of two records of a key that are found at the start, one is dropped without a count.
        if self.has_expired || !self.has_started || allowed.contains(&by) {
            Ok(())
        } else {
            Err(format!("the counters' sum changed by {by} in {call}: {:?}", self.stats()))
        }
    }

    /// The next version of a key.
    fn entry(&mut self, name: &str) -> Entry {
        let number = self.model.next();
        let random = &self.random;
        let len = match random.index(16) {
            0..=3 => random.index(100),
            4..=5 => random.index(1000),
            6..=14 => 4000 + random.index(20_000),
            _ => 20_000 + random.index(60_000),
        };
        let mut body = format!("{name}#{number}:").into_bytes();
        body.resize(body.len() + len, number.to_le_bytes()[0]);
        let key = Key::parse(name).expect("the key is right");
        let mut builder = Entry::builder(&key, body.into())
            .e_tag(format!("\"{number}\""))
            .namespace(Some(Namespace::named("test")));
        if random.index(8) == 0 {
            builder = builder.attributes([("content-type", "text/plain")].into_iter().collect());
        }
        let storability = match random.index(16) {
            0 => Storability::FreshOnly,
            _ => Storability::Revalidatable,
        };
        builder = builder.storability(storability);
        let ttl = self.time_to_live();
        if random.index(8) != 0 {
            builder = builder.validated(self.now(), ttl);
        }
        let entry = builder.build();
        self.note(format!("version {number} of {name}: {} bytes", entry.body().len()));
        entry
    }

    fn insert(&mut self) -> Result<(), String> {
        let Some(name) = self.pick_settled() else { return Ok(()) };
        let entry = self.entry(&name);
        self.note(format!("insert {:?} of {name}", entry.e_tag()));
        let polled = self.poll_within_insert();
        let before = self.sum();
        self.model.insert_begins(&entry);
        let inserted = self.backend.insert_now(entry);
        if let Some(polled) = polled {
            self.polled_within_insert(&polled)?;
        }
        match inserted {
            Ok(admission) => {
                self.note(format!("  {admission:?}"));
                self.model.insert_ends(&name);
                // One for what is to be written, and one less if that replaces another one.
                self.conserves(before, -1..=1, "insert_now")
            }
            Err(_) if self.random.index(2) == 0 => {
                self.note("  handed back: remove");
                self.model.insert_ends(&name);
                self.change(ChangeKind::Remove(name))
            }
            Err(entry) => {
                self.note("  handed back: insert");
                let backend = Arc::clone(&self.backend);
                let done = async move {
                    let _: Admission = backend.insert(entry).await?;
                    Ok(())
                };
                self.changes.push(Change { kind: ChangeKind::Insert(name), done: Box::pin(done) });
                self.poll_change(self.changes.len() - 1)
            }
        }
    }

    /// Has a look-up polled within the next insert, as soon as memory has stored the entry.
    fn poll_within_insert(&mut self) -> Option<Arc<Mutex<Polled>>> {
        if self.look_ups.is_empty() {
            return None;
        }
        let look_up = self.look_ups.swap_remove(self.random.index(self.look_ups.len()));
        let polled = Arc::new(Mutex::new(Polled { look_up: Some(look_up), found: None }));
        let of_memory = Arc::clone(&polled);
        self.backend.memory().after_insert(Box::new(move || {
            let polled = &mut *of_memory.lock().unwrap();
            let look_up = polled.look_up.as_mut().expect("it is there");
            if let Poll::Ready(found) = poll(look_up.found.as_mut()) {
                polled.found = Some(found);
            }
        }));
        Some(polled)
    }

    fn polled_within_insert(&mut self, polled: &Mutex<Polled>) -> Result<(), String> {
        self.backend.memory().after_insert(Box::new(|| {}));
        let Polled { look_up, found } = &mut *polled.lock().unwrap();
        let look_up = look_up.take().expect("it is there");
        match found.take() {
            Some(found) => {
                self.note("  within the insert:");
                self.found(look_up, found).map(drop)
            }
            None => {
                self.look_ups.push(look_up);
                Ok(())
            }
        }
    }

    fn time_to_live(&self) -> Option<Duration> {
        let has_one = self.setup.has_ttl && self.random.index(2) == 0;
        has_one.then(|| Duration::from_millis([1, 1000, 10_000][self.random.index(3)]))
    }

    fn remove(&mut self) -> Result<(), String> {
        match self.pick_settled() {
            Some(key) => self.change(ChangeKind::Remove(key)),
            None => Ok(()),
        }
    }

    /// Calls `remove` or `clear`, which wait for nothing.
    fn change(&mut self, kind: ChangeKind) -> Result<(), String> {
        let before = self.sum();
        let (called, allowed) = match &kind {
            ChangeKind::Remove(key) => {
                self.note(format!("remove {key}"));
                (ready(self.backend.remove(key)).map(drop), -1..=0)
            }
            _ => {
                self.note("clear");
                (ready(self.backend.clear()), 0..=0)
            }
        };
        called.map_err(|error| format!("{error}"))?;
        match kind {
            ChangeKind::Remove(key) => {
                self.model.removed(&key);
                self.conserves(before, allowed, "remove")
            }
            _ => {
                self.model.cleared();
                let stats = self.stats();
                if (stats.entries, stats.queue_entries, stats.queue_bytes) == (0, 0, 0) {
                    Ok(())
                } else {
                    Err(format!("not everything is cleared: {stats:?}"))
                }
            }
        }
    }

    fn look_up(&mut self) -> Result<(), String> {
        let key = self.pick_key();
        self.begin_look_up(&key)
    }

    fn begin_look_up(&mut self, key: &str) -> Result<(), String> {
        let begun = self.model.begins(key);
        let peeked = self.backend.peek(key);
        let contains = self.backend.contains(key);
        let now = self.backend.get_now(key);
        if peeked.as_ref().map(Entry::seal) != now.as_ref().map(Entry::seal) {
            return Err(format!("peek of {key} shows something else than get_now"));
        }
        if now.is_some() && contains != Some(true) {
            return Err(format!("contains of {key} is {contains:?} and get_now shows it"));
        }
        if let Some(shown) = now {
            self.note(format!("look up {key}: {:?} in memory", shown.e_tag()));
            return self.model.shown(key, begun, &shown);
        }
        self.note(format!("look up {key} on disk, contains: {contains:?}"));
        let (backend, name) = (Arc::clone(&self.backend), key.to_owned());
        let found = Box::pin(async move { backend.get(&name).await });
        let (key, swept) = (key.to_owned(), self.swept);
        self.look_ups.push(LookUp { key, begun, swept, found });
        let at = self.look_ups.len() - 1;
        let shown = self.poll_look_up(at)?;
        if contains == Some(false) && matches!(shown, Some(Some(_))) {
            return Err("contains is false, and a look-up shows it".into());
        }
        Ok(())
    }

    /// Returns the result, if the look-up has one.
    fn poll_look_up(&mut self, at: usize) -> Result<Option<Option<Entry>>, String> {
        let before = self.sum();
        let polled = poll(self.look_ups[at].found.as_mut());
        self.conserves(before, 0..=0, "get")?;
        let Poll::Ready(found) = polled else { return Ok(None) };
        let look_up = self.look_ups.swap_remove(at);
        self.found(look_up, found).map(Some)
    }

    /// Checks what a look-up has found.
    fn found(
        &mut self,
        LookUp { key, begun, swept, .. }: LookUp,
        found: Result<Option<Entry>>,
    ) -> Result<Option<Entry>, String> {
        let found = found.map_err(|error| format!("a look-up fails: {error}"))?;
        let Some(shown) = &found else {
            self.note(format!("  {key}: nothing"));
            return Ok(None);
        };
        self.note(format!("  {key}: {:?} {:?}", shown.e_tag(), shown.validated_at()));
        self.model.shown(&key, begun, shown)?;
        if shown.seal().has_expired(swept) && swept.as_nanos() > 0 {
            return Err(format!("{key} had expired before the sweep, and the disk shows it"));
        }
        self.seen.hits += 1;
        Ok(found)
    }

    fn poll_change(&mut self, at: usize) -> Result<(), String> {
        let before = self.sum();
        let polled = poll(self.changes[at].done.as_mut());
        self.conserves(before, -1..=1, "insert")?;
        if let Poll::Ready(done) = polled {
            let Change { kind, .. } = self.changes.swap_remove(at);
            done.map_err(|error| format!("{error}"))?;
            if let ChangeKind::Insert(key) = kind {
                self.note(format!("  {key} is inserted"));
                self.model.insert_ends(&key);
            }
        }
        Ok(())
    }

    fn poll_some(&mut self) -> Result<(), String> {
        if !self.changes.is_empty() {
            self.poll_change(self.random.index(self.changes.len()))?;
        }
        if !self.look_ups.is_empty() {
            self.poll_look_up(self.random.index(self.look_ups.len()))?;
        }
        Ok(())
    }

    fn run_job(&mut self) -> Result<(), String> {
        let before = self.sum();
        if self.faults.errors && self.random.index(8) == 0 {
            self.disk.drop_job();
        } else {
            self.disk.run_job();
        }
        self.conserves(before, 0..=0, "a read")
    }

    fn mark(&mut self) -> Result<(), String> {
        let Some(key) = self.pick_settled() else { return Ok(()) };
        self.note(format!("mark {key}"));
        self.model.marked(&key);
        ready(self.backend.mark_stale(&key)).map_err(|error| format!("{error}"))
    }

    fn renew(&mut self) -> Result<(), String> {
        let Some(handle) = self.pick_settled().and_then(|key| self.model.renewable(&key)) else {
            return Ok(());
        };
        self.note(format!("renew {} of {}", handle.e_tag().unwrap_or_default(), handle.key()));
        let key = Key::parse(handle.key()).expect("the key is right");
        let stamp = Entry::builder(&key, "".into()).validated(self.now(), self.time_to_live());
        handle.renew_from(&stamp.build());
        self.backend.renewed(&handle);
        self.model.renewed(&handle);
        self.seen.renewed += 1;
        Ok(())
    }

    fn sweep(&mut self) -> Result<(), String> {
        let now = self.now();
        self.note("sweep");
        ready(self.backend.sweep(now)).map_err(|error| format!("{error}"))?;
        self.swept = now;
        Ok(())
    }

    /// One step of the writer, sometimes with a change in the midst of one of its calls.
    fn write(&mut self) -> Result<Step, String> {
        let between = self.change_between();
        let before = self.sum();
        let step = self.writer.step();
        match between {
            Some(change) => self.changed_between(&change)?,
            None => self.conserves(before, 0..=0, "a step of the writer")?,
        }
        self.has_started |= step != Step::Progress || self.backend.state() == TierState::On;
        self.note(format!("step: {step:?}"));
        Ok(step)
    }

    /// Has a key changed, or marked, or everything cleared, within a coming call of the files.
    fn change_between(&mut self) -> Option<Arc<Between>> {
        if self.random.index(3) != 0 {
            return None;
        }
        let change = match self.random.index(8) {
            0 => ChangeKind::Clear,
            1..=3 => ChangeKind::Remove(self.pick_settled()?),
            _ => ChangeKind::Insert(self.pick_settled()?),
        };
        let entry = match &change {
            ChangeKind::Insert(key) => Some(self.entry(key)),
            _ => None,
        };
        let between = Arc::new(Between { change, entry, done: AtomicU8::new(NOT_DONE) });
        let (backend, of_disk) = (Arc::clone(&self.backend), Arc::clone(&between));
        self.disk.before_call(self.random.index(3) as u64, move || {
            let done = match (&of_disk.change, &of_disk.entry) {
                (ChangeKind::Insert(_), Some(entry)) => {
                    // Handed back: the caller removes it.
                    let inserted = backend.insert_now(entry.clone());
                    inserted.map(drop).or_else(|_| ready(backend.remove(entry.key())).map(drop))
                }
                (ChangeKind::Remove(key), _) => ready(backend.remove(key)).map(drop),
                _ => ready(backend.clear()),
            };
            of_disk.done.store(if done.is_ok() { DONE } else { FAILED }, Ordering::Relaxed);
        });
        Some(between)
    }

    fn changed_between(&mut self, between: &Between) -> Result<(), String> {
        self.disk.cancel_action();
        match between.done.load(Ordering::Relaxed) {
            NOT_DONE => return Ok(()),
            DONE => {}
            _ => return Err("a change fails".into()),
        }
        match (&between.change, &between.entry) {
            (ChangeKind::Insert(key), Some(entry)) => {
                self.note(format!("within the step: insert {:?} of {key}", entry.e_tag()));
                self.model.insert_begins(entry);
                self.model.insert_ends(key);
            }
            (ChangeKind::Remove(key), _) => {
                self.note(format!("within the step: remove {key}"));
                self.model.removed(key);
            }
            _ => {
                self.note("within the step: clear");
                self.model.cleared();
                let stats = self.stats();
                if (stats.entries, stats.queue_entries) != (0, 0) {
                    return Err(format!("not everything is cleared: {stats:?}"));
                }
            }
        }
        self.seen.between += 1;
        Ok(())
    }

    /// Steps until there is nothing to do. Returns whether all that waited was written.
    fn drain(&mut self) -> Result<bool, String> {
        for _ in 0..1000 {
            match self.write()? {
                Step::Progress => {}
                Step::Until(_) | Step::Done => return Ok(false),
                Step::Idle => {
                    self.note_what_is_on_disk();
                    return Ok(true);
                }
            }
        }
        Err("the writer does not end".into())
    }

    fn is_on_disk_alone(&self, key: &str) -> bool {
        self.backend.memory().contains(key) == Some(false)
            && self.backend.contains(key) == Some(true)
    }

    fn note_what_is_on_disk(&mut self) {
        let keys: Vec<_> = self.model.keys().map(String::from).collect();
        for key in keys {
            if self.is_on_disk_alone(&key) {
                self.model.is_on_disk(&key);
            }
        }
    }

    /// Does something to the disk.
    fn disturb(&mut self) -> Result<(), String> {
        if self.faults.power_losses {
            self.disk.write_back();
        }
        if self.faults.damage
            && self.random.index(2) == 0
            && let Some(what) = self.disk.damage()
        {
            self.is_damaged = true;
            self.note(what);
        }
        if self.faults.errors {
            self.is_damaged = true;
            match self.random.index(6) {
                0 => self.disk.set_faults(DiskFaults::all(30)),
                1 => self.disk.set_faults(DiskFaults::all(255)),
                2 => self.disk.set_room(self.setup.capacity / 2),
                3 => self.disk.set_room(self.disk.bytes() + 1000),
                _ => {
                    self.disk.set_faults(DiskFaults::default());
                    self.disk.set_room(u64::MAX);
                }
            }
            self.note(format!("faults: {:?}", self.disk));
        }
        Ok(())
    }

    fn check_limits(&mut self) -> Result<(), String> {
        let stats = self.stats();
        // Entries that are written again go beside the limit: pinned ones, at most a segment full,
        // with the memory that each takes beside its bytes.
        let beside = if self.setup.has_pins { SEGMENT } else { SEGMENT / 10 };
        let limit = self.setup.queue + beside + 16 * 512;
        if stats.queue_bytes > limit {
            return Err(format!("{} bytes wait, of {limit}", stats.queue_bytes));
        }
        let on_disk = self.disk.bytes();
        self.was_too_full &= on_disk > self.setup.capacity;
        if !self.is_damaged && !self.was_too_full && on_disk.max(stats.bytes) > self.setup.capacity
        {
            let capacity = self.setup.capacity;
            return Err(format!(
                "{on_disk} bytes are on disk, {} listed, of {capacity}",
                stats.bytes
            ));
        }
        Ok(())
    }

    /// Polls all calls to their ends.
    async fn finish(&mut self) -> Result<(), String> {
        for n in 0..100 {
            if self.look_ups.is_empty() && self.changes.is_empty() {
                return Ok(());
            }
            while self.disk.run_job() {}
            self.write()?;
            if n > 50 {
                // Pinned entries wait for room in the queue, for up to 10 s.
                self.advance(Duration::from_secs(1)).await;
            }
            for at in (0..self.changes.len()).rev() {
                self.poll_change(at)?;
            }
            for at in (0..self.look_ups.len()).rev() {
                self.poll_look_up(at)?;
            }
        }
        Err(format!("{} look-ups and {} changes hang", self.look_ups.len(), self.changes.len()))
    }

    /// The process ends, and another one begins.
    async fn restart(&mut self, end: End) -> Result<(), String> {
        let is_clean = !self.faults.errors && !self.is_damaged;
        let mut found = Vec::new();
        match end {
            End::Closed => found = self.close().await?,
            End::Killed | End::PowerLost => {
                let keys: Vec<_> = self.model.keys().map(String::from).collect();
                let known = |key: String| {
                    let number = self.model.on_disk(&key)?;
                    self.is_on_disk_alone(&key).then_some((key, number))
                };
                found.extend(keys.into_iter().filter_map(known));
                self.look_ups.clear();
                self.changes.clear();
                if end == End::Killed {
                    self.disk.kill();
                } else {
                    self.disk.lose_power();
                }
            }
        }
        if end == End::PowerLost || !is_clean {
            found.clear();
        }
        let Seen { recovered, recycled, rewritten, corrupt, errors, queue_full, .. } =
            &mut self.seen;
        let stats = self.backend.lower_tier().expect("it has a tier");
        *recovered += stats.recovered;
        *recycled += stats.dropped.recycled;
        *rewritten += stats.rewritten;
        *corrupt += stats.corrupt;
        *errors += stats.read_errors + stats.write_errors;
        *queue_full += stats.dropped.queue_full;
        self.seen.pins_lost += stats.pins_lost.total();
        self.seen.restarts += 1;
        self.note(format!("{end:?}: to be found {found:?}"));
        self.disk.set_faults(DiskFaults::default());
        let (backend, writer) = open(&self.disk, self.clock, self.setup, self.random.draw());
        (self.backend, self.writer) = (backend, writer);
        let of = |name: &str| found.iter().find(|(key, _)| key == name).map(|(_, number)| *number);
        self.model.restarted(of);
        self.swept = Moment::from_nanos(0);
        self.has_started = false;
        self.was_too_full = self.disk.bytes() > self.setup.capacity;
        if self.random.index(2) == 0 {
            self.find_all().await?;
        }
        Ok(())
    }

    /// Closes, and returns what the next process has to find.
    async fn close(&mut self) -> Result<Vec<(String, Number)>, String> {
        self.disk.set_faults(DiskFaults::default());
        self.disk.set_room(u64::MAX);
        self.finish().await?;
        self.note("close");
        let mut kept = Vec::new();
        // What waits and is not found by an index: only where nothing was dropped is all found.
        for key in self.model.keys() {
            let number = self.model.version(key).filter(|number| {
                let entry = self.model.inserted(*number);
                entry.storability() == Storability::Revalidatable && !key.starts_with("never/")
            });
            let is_there = self.backend.contains(key) == Some(true);
            kept.extend(number.filter(|_| is_there).map(|number| (key.to_owned(), number)));
        }
        let before = self.stats().dropped.total();
        let backend = Arc::clone(&self.backend);
        let mut closed: Called<()> = Box::pin(async move { backend.close().await });
        for n in 0.. {
            if let Poll::Ready(closed) = poll(closed.as_mut()) {
                closed.map_err(|error| format!("close: {error}"))?;
                break;
            }
            let step = self.writer.step();
            self.note(format!("step: {step:?}"));
            if n > 2000 {
                return Err("close hangs".into());
            }
        }
        if self.disk.is_mounted() {
            return Err("the directory is locked after close".into());
        }
        let keys: Vec<_> = self.model.keys().map(String::from).collect();
        for key in keys {
            if self.backend.get_now(&key).is_some()
                || !matches!(ready(self.backend.get(&key)), Ok(None))
            {
                return Err(format!("{key} is shown after close"));
            }
        }
        let stats = self.stats();
        if stats.state != TierState::Closed || stats.queue_entries > 0 {
            return Err(format!("it is not closed: {stats:?}"));
        }
        // What a silent memory has is written only when it is inserted.
        let was_kept = self.setup.memory.tells || before == 0;
        let is_complete = was_kept && stats.dropped.total() == before && !self.setup.has_ttl;
        Ok(if is_complete { kept } else { Vec::new() })
    }

    /// Waits for the end of the start, and looks up what has to be found.
    async fn find_all(&mut self) -> Result<(), String> {
        for _ in 0..1000 {
            if self.backend.state() != TierState::Starting {
                break;
            }
            self.writer.step();
        }
        self.has_started = true;
        self.advance(Duration::from_secs(400)).await;
        for (key, number) in self.model.must_find() {
            let begun = self.model.begins(&key);
            let shown = match self.backend.get_now(&key) {
                None => {
                    let (backend, name) = (Arc::clone(&self.backend), key.clone());
                    let mut get: Called<_> = Box::pin(async move { backend.get(&name).await });
                    let mut polled = poll(get.as_mut());
                    while polled.is_pending() && self.disk.run_job() {
                        polled = poll(get.as_mut());
                    }
                    let Poll::Ready(found) = polled else { return Err("a look-up hangs".into()) };
                    found.map_err(|error| format!("{error}"))?
                }
                shown => shown,
            };
            let Some(shown) = shown else {
                return Err(format!("version {number} of {key} is not found after a restart"));
            };
            self.model.shown(&key, begun, &shown)?;
            if shown.validated_at().is_some() || shown.seal() != Seal::none() {
                return Err(format!("{key} has a stamp after a restart"));
            }
            if shown.e_tag() != Some(&*format!("\"{number}\"")) {
                return Err(format!("{:?} of {key} instead of {number}", shown.e_tag()));
            }
            self.seen.must_find += 1;
        }
        Ok(())
    }

    /// Without faults and after a while, the tier works again.
    async fn heal(&mut self) -> Result<(), String> {
        self.disk.set_faults(DiskFaults::default());
        self.disk.kill_at_write(u64::MAX);
        self.disk.set_room(u64::MAX);
        self.finish().await?;
        for _ in 0..3 {
            self.advance(Duration::from_secs(400)).await;
            self.drain()?;
        }
        let (state, expected) = (self.backend.state(), TierState::On);
        if state != expected {
            return Err(format!("the tier is {state:?} after its faults have gone"));
        }
        let before = self.stats();
        if before.queue_entries > 0 {
            return Err(format!("entries still wait: {before:?}"));
        }
        let key = Key::parse("a/0").expect("the key is right");
        let entry = Entry::builder(&key, "healed".into()).e_tag("\"0\"").build();
        let mut insert = self.backend.insert(entry);
        while poll(insert.as_mut()).is_pending() {}
        drop(insert);
        self.drain()?;
        if self.stats().written <= before.written {
            return Err(format!("nothing is written after the faults: {:?}", self.stats()));
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Killed,
    PowerLost,
}

fn open(disk: &FaultyDisk, clock: TokioClock, setup: Setup, seed: u64) -> (Arc<Tier>, Writer) {
    let mut tier = DiskTier::new("unused")
        .max_capacity(setup.capacity)
        .segment_bytes(SEGMENT)
        .queue_bytes(setup.queue)
        .write_budget(setup.budget)
        .admission(setup.admission)
        .admission_for("never/", DiskAdmission::Never);
    if setup.has_pins {
        tier = tier.pin("pin/");
    }
    let context = TierContext::new(Namespace::named("test"), Arc::new(clock));
    let memory = Memory::new(setup.memory, seed);
    let opened = tier.open_with(memory, context, disk.mount());
    let (backend, writer) = opened.expect("the settings are right");
    (Arc::new(backend), writer)
}

/// The result of a call that waits for nothing.
fn ready<T>(mut called: Pin<Box<dyn Future<Output = Result<T>> + Send + '_>>) -> Result<T> {
    match poll(called.as_mut()) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits"),
    }
}

const SEGMENT: u64 = 64 << 10;
const LOG_MAX: usize = 400;

impl Seen {
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            recovered: self.recovered + other.recovered,
            recycled: self.recycled + other.recycled,
            rewritten: self.rewritten + other.rewritten,
            must_find: self.must_find + other.must_find,
            restarts: self.restarts + other.restarts,
            corrupt: self.corrupt + other.corrupt,
            errors: self.errors + other.errors,
            queue_full: self.queue_full + other.queue_full,
            renewed: self.renewed + other.renewed,
            pins_lost: self.pins_lost + other.pins_lost,
            between: self.between + other.between,
        }
    }
}
