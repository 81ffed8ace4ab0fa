//! What happens, written down as it happens.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use cache_core::{Clock, Moment};

use super::Leaves;
use crate::{
    TokioClock,
    history::{Act, CallId, History, Outcome},
    random::Random,
};

/// A history and its clock.
pub(super) struct Recorder {
    pub(super) clock: TokioClock,
    history: Mutex<History>,
}

impl Recorder {
    /// A clock that begins now, and an empty history.
    pub(super) fn new(time_to_live: Option<Duration>) -> Arc<Self> {
        Arc::new(Self { clock: TokioClock::new(), history: Mutex::new(History::new(time_to_live)) })
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since the start.
    pub(super) fn now(&self) -> Duration {
        self.clock.now().saturating_since(Moment::from_nanos(0))
    }

    pub(super) fn begin(&self, node: usize, key: &str, act: Act) -> CallId {
        self.history().begin(node, key, act, self.now())
    }

    pub(super) fn end(&self, call: CallId, outcome: Outcome) {
        self.history().end(call, outcome, self.now());
    }

    /// What `work` returns, which does `calls`; `None` if its caller leaves, or is gone for another
    /// reason.
    pub(super) async fn unless_dropped<T>(
        self: &Arc<Self>,
        calls: &[CallId],
        leaves: Option<Leaves>,
        is_gone: impl Fn() -> bool,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = Box::pin(work);
        let mut polls_left = match leaves {
            Some(Leaves::AtPoll(n)) => n,
            _ => u32::MAX,
        };
        let mut goes = match leaves {
            Some(Leaves::After(span)) => Some(Box::pin(tokio::time::sleep(span))),
            _ => None,
        };
        poll_fn(|context| {
            if is_gone() {
                return Poll::Ready(None);
            }
            let (recorder, caller) = (Arc::clone(self), context.waker().clone());
            let waker = Waker::from(Arc::new(Noting { recorder, calls: calls.into(), caller }));
            if let Poll::Ready(ended) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(Some(ended));
            }
            let mut history = self.history();
            calls.iter().for_each(|call| history.sleep(*call));
            drop(history);
            // A call that was never polled has not begun.
            polls_left -= 1;
            let is_late = goes.as_mut().is_some_and(|goes| goes.as_mut().poll(context).is_ready());
            if polls_left == 0 || is_late { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}

/// The waker of a caller: notes that it is woken, and wakes it.
struct Noting {
    recorder: Arc<Recorder>,
    calls: Box<[CallId]>,
    caller: Waker,
}

impl Wake for Noting {
    fn wake(self: Arc<Self>) {
        let now = self.recorder.now();
        let mut history = self.recorder.history();
        self.calls.iter().for_each(|call| history.wake(*call, now));
        drop(history);
        self.caller.wake_by_ref();
    }
}

/// Random numbers for what lies behind the caches: a node, a key and a use have their own, so that
/// less of a schedule changes little of the rest.
pub(super) struct Streams {
    seed: u64,
    /// What they are for, beside the other streams of the seed.
    first: u64,
    streams: Mutex<BTreeMap<(usize, String, u64), Arc<Random>>>,
}

impl Streams {
    pub(super) fn new(seed: u64, first: u64) -> Self {
        Self { seed, first, streams: Mutex::default() }
    }

    pub(super) fn of(&self, node: usize, key: &str, purpose: u64) -> Arc<Random> {
        // By name, not by the order of coming.
        let name =
            key.bytes().fold(node as u64, |name, byte| name.wrapping_mul(31) + u64::from(byte));
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = streams.entry((node, key.to_owned(), purpose));
        let new =
            || Arc::new(Random::stream(self.seed, self.first + (purpose << 8) + (name << 16)));
        Arc::clone(stream.or_insert_with(new))
    }
}
