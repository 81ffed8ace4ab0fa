//! The read paths: the fast one serves a fresh entry; the slow one joins a flight or starts one,
//! and waits for its outcome.
//!
//! A key has at most two flights, a running one and a next one that starts when the first has
//! ended, so a burst of any number of strong readers costs at most two requests per round trip.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch, task::yield_now};

use super::{
    backend_access::LookedUp,
    driver::{Arrival, Driver},
    epochs::Standing,
    flight::flight,
    key_state::{Drive, KeySnapshot, KeyState, NextFlight, Origins, Phase, State, Trigger},
    key_table::KeyGuard,
    outcome::{FlightOutcome, OutcomeReceiver, OutcomeSenders, not_found},
    parked::{Parked, spawn_parked},
    served::{Served, Status, Tier},
    shared::Shared,
    sweep,
    task_tracker::runtime,
    trace::Cause,
    watchdog::{Watchdog, relieve},
};
use crate::{
    Entry, Error, ErrorKind, Evaluation, Freshness, Moment, Result, Validator, epoch::Epoch,
    stats::Count, sync::MutexGuard,
};

impl<V: ?Sized> Shared<V> {
    /// Returns a fresh entry that is available at once, and counts the hit. The path of most reads:
    /// never awaits, allocates or parses.
    #[inline]
    pub(super) fn fresh(&self, key: &str, freshness: Option<&Freshness>) -> Option<Served> {
        let freshness = self.rule(key, freshness);
        if freshness.is_strong() {
            return None;
        }
        let entry = self.get_now(key).ok()??;
        // All that a closed cache held is void.
        // A void entry is older than an invalidation; a negative entry has no body.
        // mutant: fast_path_not_void
        if self.epochs.standing(&entry) != Standing::Valid || entry.is_negative() {
            return None;
        }
        // Fresh at the later bound is fresh now. Anything else is decided exactly, by the slow
        // path.
        let age_nanos =
            freshness.age_if_met(&entry, self.clock.coarse_bounds(), &self.listening)?;
        self.counters.add_hit(
            Count::Fresh,
            entry.body().len() as u64,
            Duration::from_nanos(age_nanos),
        );
        Some(Served { entry, status: Status::Fresh, tier: Some(Tier::Memory), age_nanos })
    }

    /// Returns how `entry` may be served without a request; an error if it remembers a missing
    /// object.
    fn servable(
        &self,
        key: &str,
        entry: Entry,
        tier: Option<Tier>,
        freshness: &Freshness,
    ) -> Result<Option<Servable>> {
        // A void entry must not be used, a stale one not before it was revalidated.
        // mutant: stale_is_not_servable
        if self.epochs.standing(&entry) != Standing::Valid {
            return Ok(None);
        }
        let now = self.clock.now();
        let served = |status, entry: Entry| {
            let validated_at = entry.validated_at();
            Served::new(entry, status, tier, validated_at, now)
        };
        let freshness = self.resolved(freshness, entry.validated_at(), now);
        Ok(match freshness.evaluate(&entry, now) {
            Evaluation::Fresh if entry.is_negative() => return Err(self.about(key, not_found())),
            Evaluation::Fresh => Some(Servable::Fresh(served(Status::Fresh, entry))),
            Evaluation::StaleWhileRevalidate if !entry.is_negative() => {
                Some(Servable::Refresh(served(Status::Stale, entry)))
            }
            Evaluation::StaleWhileRevalidate | Evaluation::MustRevalidate | Evaluation::Expired => {
                None
            }
        })
    }
}

/// How a cached entry may be served without a request.
enum Servable {
    /// As fresh.
    Fresh(Served),
    /// As stale, with a revalidation in the background.
    Refresh(Served),
}

/// Reads `key` on the slow path, and counts the read.
pub(super) async fn get<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &str,
    freshness: Option<&Freshness>,
    validator: Option<&Arc<dyn Validator>>,
) -> Result<Served> {
    if sweep::resume(shared) {
        // Such reads may be all that their runtime is driven for.
        yield_now().await;
    }
    let check = |rule: &Freshness| {
        rule.check()?;
        shared.check_bus(rule.is_until_notified())
    };
    let read = match freshness.map_or(Ok(()), check) {
        Ok(()) => read(shared, key, shared.rule(key, freshness), validator).await,
        Err(error) => Err(error),
    };
    shared.count_read(&read);
    read
}

/// Reads `key` on the slow path: looks once more, joins or starts a flight, and waits for it.
pub(super) async fn read<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &str,
    freshness: &Freshness,
    validator: Option<&Arc<dyn Validator>>,
) -> Result<Served> {
    // The cheap clock: most reads wait for less than two readings of the precise one cost.
    let (begun, _) = shared.clock.coarse_bounds();
    let waited = || {
        let (now, _) = shared.clock.coarse_bounds();
        shared.counters.add_wait(now.saturating_since(begun));
        now
    };
    for _ in 0..LOST_MAX {
        shared.tasks.check_open()?;
        let arrival = match join_or_start(shared, key, freshness, validator).await? {
            Start::Served(served) => return Ok(served),
            Start::Drive(driver) => driver.await,
            Start::Wait(key, ticket) => Arrival::Elsewhere(Some((key, ticket))),
        };
        let landed = match arrival {
            Arrival::Elsewhere(Some((key, ticket))) => wait(shared, &key, ticket).await,
            Arrival::Finished(landed) => landed,
            Arrival::Elsewhere(None) => None,
        };
        match landed {
            Some(FlightOutcome::Entry(entry, status, tier, asked_at)) => {
                return Ok(Served::new(entry, status, tier, Some(asked_at), waited()));
            }
            Some(FlightOutcome::Failed(error)) => {
                waited();
                return serve_stale_on_error(shared, key, freshness, error).await;
            }
            // Its runtime was shut down, or a backend panicked. Try again from here.
            None => {}
        }
    }
    let lost =
        Error::new(ErrorKind::Other, "the task that sent the request ended before the response");
    Err(shared.about(key, lost))
}

/// What a reader does at a key.
enum Start<'a, V: ?Sized> {
    Served(Served),
    Drive(Driver<'a, V>),
    Wait(Arc<KeyState>, OutcomeReceiver),
}

/// The state of a key before the look-up.
#[derive(PartialEq, Eq)]
struct BeforeLookUp {
    stamp: KeySnapshot,
    epoch: Epoch,
}

async fn join_or_start<'a, V: Validator + ?Sized>(
    shared: &'a Arc<Shared<V>>,
    key: &str,
    freshness: &Freshness,
    validator: Option<&Arc<dyn Validator>>,
) -> Result<Start<'a, V>> {
    let tracked = shared.table.enter(key).map_err(|error| shared.about(key, error))?;
    if freshness.is_strong() {
        // No cached entry can serve it: the flight does the look-up.
        let runtime = runtime()?;
        let mut state = tracked.lock();
        if let Some(joined) = join(shared, &mut state, key, None, freshness, &runtime, validator) {
            return Ok(joined.wait(&tracked, state));
        }
        let seq = record_flight(shared, state, shared.epochs.latest(), &runtime)?;
        return Ok(start_flight(shared, tracked, seq, runtime, None, validator));
    }
    let mut looks = 1;
    loop {
        let seen = BeforeLookUp { stamp: tracked.lock().stamp(), epoch: shared.epochs.latest() };
        let held = shared.look_up(key).await;
        if let Some(entry) = held.entry.clone() {
            match shared.servable(key, entry, held.tier, freshness)? {
                Some(Servable::Fresh(served)) => return Ok(Start::Served(served)),
                Some(Servable::Refresh(served)) => {
                    let (now, _) = shared.clock.coarse_bounds();
                    shared.warnings.stale(
                        &shared.settings.name,
                        shared.display_key(key),
                        served.age(),
                        None,
                        now,
                    );
                    refresh(shared, &tracked, held, &seen, now);
                    // This reader is ready at every poll, and its runtime may be driven for such
                    // reads only. Gives the background refresh a chance to run before the stale
                    // entry is returned.
                    // mutant: yields_to_refresh
                    yield_now().await;
                    return Ok(Start::Served(served));
                }
                None => {}
            }
        }
        let runtime = runtime()?;
        let now = shared.clock.now();
        let mut state = tracked.lock();
        if let Some(joined) =
            join(shared, &mut state, key, Some(now), freshness, &runtime, validator)
        {
            return Ok(joined.wait(&tracked, state));
        }
        let seen_now = BeforeLookUp { stamp: state.stamp(), epoch: shared.epochs.latest() };
        let is_as_seen = seen == seen_now;
        if !is_as_seen && looks < LOOKS_MAX {
            // A flight ended or a fence was raised since the look-up: there may be a fresh entry
            // now.
            looks += 1;
            continue;
        }
        // In the epoch that was compared: a floor raised from here on voids the looked-up entry.
        let seq = record_flight(shared, state, seen_now.epoch, &runtime)?;
        return Ok(start_flight(
            shared,
            tracked,
            seq,
            runtime,
            is_as_seen.then_some(held),
            validator,
        ));
    }
}

/// Registers a flight that its reader drives: see [`start_flight`].
///
/// # Errors
///
/// `Closed`.
fn record_flight<V: ?Sized>(
    shared: &Shared<V>,
    mut state: MutexGuard<'_, State>,
    epoch: Epoch,
    runtime: &Handle,
) -> Result<u64> {
    let token = shared.tasks.count();
    if let Err(closed) = shared.tasks.check_open() {
        // The waiters for the last call are woken outside of the lock.
        drop(state);
        return Err(closed);
    }
    // An open write may wait for the backend lock, which this flight may hold.
    let handoff_requested = state.writes > 0;
    let drive = Drive::Reader { handoff_requested };
    Ok(state.begin_flight(epoch, OutcomeSenders::default(), drive, first_on(runtime), token))
}

fn first_on(runtime: &Handle) -> Origins {
    Origins { runtime: Some(runtime.id()), is_second: false }
}

/// Has the reader drive the flight that was registered.
fn start_flight<'a, V: Validator + ?Sized>(
    shared: &'a Arc<Shared<V>>,
    tracked: KeyGuard,
    seq: u64,
    runtime: Handle,
    looked: Option<LookedUp>,
    validator: Option<&Arc<dyn Validator>>,
) -> Start<'a, V> {
    let key = tracked.state();
    let trigger = Trigger { cause: Cause::caller(), validator: validator.cloned() };
    let flight = flight(shared, &runtime, tracked, seq, looked, trigger);
    Start::Drive(Driver::new(shared, key, seq, runtime, flight))
}

/// Starts a background flight for a reader that was served a stale entry, unless one is running.
fn refresh<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    tracked: &KeyGuard,
    held: LookedUp,
    seen: &BeforeLookUp,
    now: Moment,
) {
    let Ok(runtime) = runtime() else { return };
    let Ok(token) = shared.tasks.enter() else { return };
    let mut state = tracked.lock();
    if let Some(running) = &mut state.current {
        let overdue = running.is_overdue(now, &shared.settings);
        // Its reader may not be polled for long.
        let parked = state.request_handoff();
        drop(state);
        spawn_parked(parked);
        // Its runtime may not be driven either, and no waiting reader would find out.
        if let Some(overdue) = overdue {
            relieve(shared, &tracked.state(), overdue);
        }
        return;
    }
    // A background revalidation never waits for a permit.
    if state.stamp() != seen.stamp || !shared.limiter.has_spare() {
        return;
    }
    let answers = OutcomeSenders::default();
    let seq = state.begin_flight(seen.epoch, answers, Drive::Task, first_on(&runtime), token);
    drop(state);
    let trigger = Trigger { cause: Cause::background(), validator: None };
    runtime.spawn(flight(shared, &runtime, tracked.clone(), seq, Some(held), trigger));
}

/// A receiver of the outcome of a flight that was joined.
struct Joined {
    ticket: OutcomeReceiver,
    parked: Option<Parked>,
}

impl Joined {
    /// Releases the key and waits.
    fn wait<'a, V: ?Sized>(self, tracked: &KeyGuard, state: MutexGuard<'_, State>) -> Start<'a, V> {
        drop(state);
        spawn_parked(self.parked);
        Start::Wait(tracked.state(), self.ticket)
    }
}

/// Joins the running flight if its response will be new enough, else the next one. `None` if no
/// flight is running. A strong reader needs no `now`.
fn join<V: ?Sized>(
    shared: &Shared<V>,
    state: &mut State,
    key: &str,
    now: Option<Moment>,
    freshness: &Freshness,
    runtime: &Handle,
    validator: Option<&Arc<dyn Validator>>,
) -> Option<Joined> {
    let parked = state.request_handoff();
    // A key has one current flight, so two responses cannot race to be published.
    // mutant: one_flight_per_key
    let running = state.current.as_mut()?;
    // A response requested before a soft floor must not reach readers that came after it.
    // mutant: joins_above_floors
    let unfenced = running.generation == state.generation
        && !shared.epochs.predates_a_floor(key, running.epoch);
    let in_time = match running.phase {
        Phase::LookingUp | Phase::Queued => true,
        // Something observed since the sending may be newer than the response.
        // A flight that publishes has its response already, and readers may still share it.
        // mutant: joins_publishing
        Phase::Sent(sent_at) | Phase::Publishing(sent_at) => {
            // A strong reader joins no request sent before it began or before something newer was
            // seen.
            // mutant: joins_by_sent_at
            running.heard.is_nothing()
                && now.is_some_and(|now| {
                    // Its result would have to be fresh for this reader.
                    // mutant: joins_while_disconnected
                    shared.resolved(freshness, Some(sent_at), now).accepts(sent_at, now)
                })
        }
    };
    // The response of a fenced flight may be older than the write that fenced it.
    // mutant: joins_unfenced
    let ticket = if unfenced && in_time {
        shared.count(Count::Coalesced);
        running.n_joined += 1;
        running.subscribe()
    } else if let Some(waiting) = &mut state.next {
        shared.count(Count::Coalesced);
        // The last reader that came is the likeliest to be there when it starts.
        waiting.runtime = runtime.clone();
        waiting.sender.subscribe()
    } else {
        let (answer, ticket) = watch::channel(None);
        let trigger = Trigger { cause: Cause::background(), validator: validator.cloned() };
        state.next = Some(NextFlight { sender: answer, runtime: runtime.clone(), trigger });
        ticket
    };
    Some(Joined { ticket, parked })
}

/// Waits for the outcome of the flight, or of the one that replaced it. `None` if it was lost.
async fn wait<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    key: &Arc<KeyState>,
    mut ticket: OutcomeReceiver,
) -> Option<FlightOutcome> {
    let mut landed = pin!(async { ticket.wait_for(Option::is_some).await.ok()?.clone() });
    let mut watchdog = Watchdog::default();
    poll_fn(|context| {
        loop {
            if let Poll::Ready(landed) = landed.as_mut().poll(context) {
                return Poll::Ready(landed);
            }
            let overdue = ready!(watchdog.poll(&shared.settings, key, context));
            relieve(shared, key, overdue);
        }
    })
    .await
}

/// Returns the cached entry if it may be served because the origin failed to answer; else the
/// error.
async fn serve_stale_on_error<V: ?Sized>(
    shared: &Shared<V>,
    key: &str,
    freshness: &Freshness,
    error: Error,
) -> Result<Served> {
    if error.is_outage() {
        // Looked up now: an entry that was removed since the request was sent is not served.
        let LookedUp { entry, tier, .. } = shared.look_up(key).await;
        if let Some(entry) = entry.filter(|entry| !entry.is_negative()) {
            let now = shared.clock.now();
            let freshness = shared.resolved(freshness, entry.validated_at(), now);
            if freshness.covers_outage(&entry, now) {
                let validated_at = entry.validated_at();
                let served = Served::new(entry, Status::Stale, tier, validated_at, now);
                shared.warnings.stale(
                    &shared.settings.name,
                    shared.display_key(key),
                    served.age(),
                    Some(&error),
                    now,
                );
                return Ok(served);
            }
        }
    }
    Err(shared.about(key, error))
}

/// How often a reader tries again when flights are lost. Its own is lost only with its runtime.
const LOST_MAX: usize = 3;

/// How often a reader looks up the entry if something happened to the key in the meantime.
const LOOKS_MAX: usize = 2;
