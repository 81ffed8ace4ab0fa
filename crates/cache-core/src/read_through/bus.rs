//! The tasks of a cache at its bus: one announces changes and heartbeats, one hears those of all
//! caches.
//!
//! A message only ever marks. It fences first: a request that was sent before it was heard may
//! bring an older version. Then it compares the version with the cached one, and marks that if it
//! is another.

use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::join};
use tokio::{sync::oneshot, time::sleep};

use super::{
    background::Progress,
    bus_state::{ANNOUNCE_MAX, BusState, Counters, count},
    observe::{Observed, Sighting, observe},
    shared::Shared,
    timer::within,
};
use crate::{
    Announcement, BusEvent, Change, Clock, GapReason, Observation, Validator, Version,
    bus::{Heard, Noticed},
    sync::{caught, lock},
    tag,
};

/// The task of a cache at its bus: see [`Background`](super::background::Background).
pub(super) async fn run<V: Validator + ?Sized>(cache: Weak<Shared<V>>, progress: Progress) {
    let Some(shared) = cache.upgrade() else { return };
    let Some(bus) = shared.bus.clone() else { return };
    let clock = Arc::clone(&shared.clock);
    let task = {
        let mut listener = lock(&bus.listener);
        let task = listener.restart(&shared.listening);
        bus.note_listening(&listener, clock.now());
        task
    };
    drop(shared);
    // A runtime without time has no bus; one attempt is enough to find out.
    let both = async {
        join(listen(&cache, &bus, task), announce_all(&cache, &bus, &*clock, &progress)).await;
        Ok(())
    };
    if caught(both).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Announces what is queued, one change after the other, and a heartbeat each second.
async fn announce_all<V: Validator + ?Sized>(
    cache: &Weak<Shared<V>>,
    bus: &BusState,
    clock: &dyn Clock,
    progress: &Progress,
) {
    let mut next_beat = pin!(sleep(Duration::ZERO));
    // Kept: a new timer in its place is not over when it is first polled.
    let mut is_beat = false;
    // After a heartbeat it is a change's turn: on a bus that takes a second for each, the next
    // heartbeat is due already.
    let mut was_beat = false;
    loop {
        let Some(shared) = cache.upgrade() else { return };
        // A lost proof is also counted where nothing is heard.
        let now = clock.now();
        {
            let mut listener = lock(&bus.listener);
            listener.check_proof(now, &shared.listening);
            bus.note_listening(&listener, now);
        }
        drop(shared);
        progress.expect(now.saturating_add(STUCK_AFTER));
        // Also while changes wait: they do not delay it.
        is_beat = is_beat || next_beat.as_mut().now_or_never().is_some();
        let next = if is_beat && !was_beat { None } else { lock(&bus.queue).pop_front() };
        was_beat = is_beat && next.is_none();
        let (message, told) = match next {
            None if !is_beat => {
                tokio::select! {
                    () = bus.queued.notified() => {}
                    () = next_beat.as_mut() => is_beat = true,
                }
                continue;
            }
            None => {
                is_beat = false;
                next_beat.set(sleep(BEAT_EVERY));
                // The moment before it is sent: see `Listener`.
                // mutant: beat_sent_at
                (lock(&bus.listener).beat(now), Vec::new())
            }
            Some((Some(change), told)) => (lock(&bus.listener).number(change), told),
            Some((None, told)) => {
                tell(told, true);
                continue;
            }
        };
        let sent = caught(async { Ok(within(ANNOUNCE_MAX, bus.bus.announce(&message)).await) });
        let is_sent = matches!(sent.await, Ok(Some(Ok(()))));
        let Counters { announced, announce_errors, heartbeats_sent, .. } = &bus.counters;
        match (is_sent, message.change) {
            (true, Change::Heartbeat { .. }) => count(heartbeats_sent),
            (true, _) => count(announced),
            (false, Change::Heartbeat { .. }) => {}
            (false, _) => count(announce_errors),
        }
        tell(told, is_sent);
    }
}

/// Tells those that wait for an announcement whether it was sent.
fn tell(waiting: Vec<oneshot::Sender<bool>>, is_sent: bool) {
    for told in waiting {
        // It may not wait for it any more.
        let _ = told.send(is_sent);
    }
}

/// Hears what all caches announce.
async fn listen<V: Validator + ?Sized>(cache: &Weak<Shared<V>>, bus: &BusState, task: u64) {
    loop {
        // In an async block, so that a panic is caught also where the call itself does the work.
        let ended = caught(async {
            let mut events = bus.bus.listen();
            while let Some(event) = events.next().await {
                let Some(shared) = cache.upgrade() else { return Ok(true) };
                hear(&shared, bus, task, event).await;
            }
            Ok(false)
        });
        if matches!(ended.await, Ok(true)) {
            return;
        }
        let Some(shared) = cache.upgrade() else { return };
        // A stream that ended is a lost connection.
        // mutant: ended_stream
        hear(&shared, bus, task, BusEvent::Gap(GapReason::Disconnected)).await;
        drop(shared);
        sleep(LISTEN_AGAIN).await;
    }
}

/// Takes note of an event, which the task of this number has heard.
async fn hear<V: Validator + ?Sized>(
    shared: &Arc<Shared<V>>,
    bus: &BusState,
    task: u64,
    event: BusEvent,
) {
    let counters = &bus.counters;
    let is_heartbeat =
        matches!(&event, BusEvent::Message(Announcement { change: Change::Heartbeat { .. }, .. }));
    if matches!(event, BusEvent::Message(_) | BusEvent::Unreadable) {
        count(&counters.received);
    }
    let now = shared.clock.now();
    let (heard, Noticed { gap, twin }) = {
        let mut listener = lock(&bus.listener);
        if !listener.is_current(task) {
            return;
        }
        let heard = listener.hear(event, now, &shared.listening);
        bus.note_listening(&listener, now);
        heard
    };
    if gap {
        count(&counters.sequence_gaps);
    }
    if twin {
        count(&counters.same_node);
    }
    match &heard {
        Heard::Change(change) => {
            let is_marked = apply(shared, change).await;
            count(if is_marked { &counters.marked } else { &counters.unmarked });
        }
        Heard::Nothing if is_heartbeat => count(&counters.heartbeats),
        Heard::Nothing => count(&counters.own),
        Heard::Foreign => count(&counters.other_namespace),
        Heard::Unreadable => count(&counters.unreadable),
        Heard::Gap(GapReason::Disconnected) => count(&counters.disconnects),
        Heard::Gap(GapReason::SlowListener) => count(&counters.slow_listener_gaps),
        Heard::Gap(GapReason::NewerFormat) => count(&counters.format_gaps),
        Heard::Connected => {}
    }
    if gap || matches!(heard, Heard::Gap(_) | Heard::Connected) {
        // A change may have been missed.
        shared.signals.prefix("");
    }
}

/// Applies a change: fences the requests for its objects, and marks entries of another version.
/// Returns whether anything was marked, or may have been.
pub(super) async fn apply<V: Validator + ?Sized>(shared: &Arc<Shared<V>>, change: &Change) -> bool {
    let key_prefix = shared.settings.key_prefix;
    let inner = |name: &str| format!("{key_prefix}{name}");
    match change {
        Change::Key { key, e_tag } => {
            let sighting = Sighting::hint(shared.clock.now());
            let shown = match e_tag {
                // A weak tag may be that of other bytes.
                // mutant: hint_is_strong
                Some(e_tag) if !tag::is_weak(e_tag) => {
                    let e_tag = Some(String::from(&**e_tag));
                    Observation::Version(Version { e_tag, ..Version::default() })
                }
                _ => Observation::Changed,
            };
            let observed = match key_prefix.is_empty() {
                true => observe(shared, key.as_str(), &shown, sighting).await,
                false => observe(shared, &inner(key.as_str()), &shown, sighting).await,
            };
            shared.signals.key(key.as_str());
            observed == Observed::Marked
        }
        Change::Prefix(prefix) => {
            // Of all tiers, without a look at each entry.
            // mutant: message_marks_all
            shared.epochs.mark_stale_prefix(&inner(prefix));
            shared.signals.prefix(prefix);
            true
        }
        Change::All => {
            shared.epochs.mark_stale_prefix(key_prefix);
            shared.signals.prefix("");
            true
        }
        Change::Heartbeat { .. } => false,
    }
}

const BEAT_EVERY: Duration = Duration::from_secs(1);
/// After a stream of events has ended.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// A task that made no progress for so long is on a runtime that is not driven.
const STUCK_AFTER: Duration = Duration::from_secs(10);
