//! Who is polled next is drawn.
//!
//! The callers are no tasks of tokio: tokio wakes those who wait for one answer in an order of its
//! own, which differs from run to run. Here they are woken into a set, and the seed says which of
//! them goes on, or whether tokio's tasks go first.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use crate::random::Random;

/// Polls callers until all have ended.
pub(super) struct Conductor<'a> {
    callers: Vec<Option<Caller<'a>>>,
    ready: Arc<Ready>,
    random: Random,
    polls_left: u32,
}

pub(super) type Caller<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Which callers have been woken.
#[derive(Debug, Default)]
pub(super) struct Ready(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    n_callers: usize,
    woken: BTreeSet<usize>,
    conductor: Option<Waker>,
}

/// The waker of a caller.
struct Call {
    ready: Arc<Ready>,
    number: usize,
}

impl<'a> Conductor<'a> {
    pub(super) fn new(callers: Vec<Caller<'a>>, ready: Arc<Ready>, random: Random) -> Self {
        ready.lock().n_callers = callers.len();
        ready.wake_all();
        Self {
            callers: callers.into_iter().map(Some).collect(),
            ready,
            random,
            polls_left: POLLS_MAX,
        }
    }

    /// Takes one of those who are ready; `None` if nobody is, or nobody is to go on now.
    fn next(&self) -> Option<usize> {
        let mut state = self.ready.lock();
        let choice = self.random.index(state.woken.len() + 1);
        let number = state.woken.iter().nth(choice).copied()?;
        state.woken.remove(&number);
        Some(number)
    }
}

impl Future for Conductor<'_> {
    /// Whether all have ended. Else they wake each other for ever.
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        self.ready.lock().conductor = Some(context.waker().clone());
        while let Some(number) = self.next() {
            let Some(left) = self.polls_left.checked_sub(1) else { return Poll::Ready(false) };
            self.polls_left = left;
            let waker = Waker::from(Arc::new(Call { ready: Arc::clone(&self.ready), number }));
            let Some(caller) = &mut self.callers[number] else { continue };
            if caller.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.callers[number] = None;
            }
        }
        if self.callers.iter().all(Option::is_none) {
            return Poll::Ready(true);
        }
        if !self.ready.lock().woken.is_empty() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Ready {
    /// Wakes all callers.
    pub(super) fn wake_all(&self) {
        let mut state = self.lock();
        let all = 0..state.n_callers;
        state.woken.extend(all);
        if let Some(conductor) = &state.conductor {
            conductor.wake_by_ref();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        let mut state = self.ready.lock();
        state.woken.insert(self.number);
        if let Some(conductor) = &state.conductor {
            conductor.wake_by_ref();
        }
    }
}

const POLLS_MAX: u32 = 1_000_000;
