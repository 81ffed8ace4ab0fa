//! Work at intervals and after signals, while a stream is polled.

use std::{
    future::poll_fn,
    panic::catch_unwind,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use cache_core::{Changes, Error, ErrorKind, Result};
use tokio::{
    runtime::{Handle, Id},
    task::JoinHandle,
    time::{Sleep, sleep, sleep_until},
};

/// Work that is done at once, and then once in each interval and after each signal, in tasks of the
/// runtimes in which it is awaited.
pub(super) struct Rounds<T> {
    every: Duration,
    /// Kept between two polls: a dropped one wakes nothing.
    signal: Signal,
    /// The time until the next round; `None` before the first.
    pause: Option<InRuntime<Pause>>,
    /// The round in progress.
    running: Option<InRuntime<JoinHandle<Result<T>>>>,
}

/// The next signal of a change.
type Signal = Pin<Box<dyn Future<Output = Changes> + Send>>;

/// The time until the next round.
struct Pause {
    /// It is due.
    end: Pin<Box<Sleep>>,
    /// It is due if a signal has come.
    soon: Pin<Box<Sleep>>,
    is_signalled: bool,
}

/// A value that makes progress only in the runtime that created it.
struct InRuntime<T> {
    home: Id,
    inner: T,
}

impl<T: Send + 'static> Rounds<T> {
    pub(super) fn new(every: Duration, changes: Changes) -> Result<Self> {
        if every.is_zero() {
            return Err(Error::new(ErrorKind::Config, "the span of a watch is zero; give one"));
        }
        Ok(Self { every, signal: next_signal(changes), pause: None, running: None })
    }

    /// Waits for the next round and returns its result. Dropping the future loses nothing.
    pub(super) async fn next<F>(&mut self, work: &(impl Fn() -> F + Sync)) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        if self.running.is_none() {
            poll_fn(|context| self.poll_pause(context)).await?;
        }
        poll_fn(|context| self.poll_round(work, context)).await
    }

    /// Works in a task: a watch may not be polled for long, and a request must not be left open.
    fn poll_round<F>(&mut self, work: &impl Fn() -> F, context: &mut Context<'_>) -> Poll<Result<T>>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let here = runtime()?;
        let running = match &mut self.running {
            Some(running) if running.home == here.id() => &mut running.inner,
            // Not started yet, or started in a runtime that may not be driven.
            other => {
                let inner = here.spawn(work());
                &mut other.insert(InRuntime { home: here.id(), inner }).inner
            }
        };
        let done = ready!(Pin::new(running).poll(context));
        self.running = None;
        Poll::Ready(done.unwrap_or_else(|lost| {
            let error =
                Error::new(ErrorKind::Other, "the runtime that ran the reading was shut down");
            Err(error.with_source(lost))
        }))
    }

    /// Waits until the next round is due, and starts the interval of the one after.
    fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let here = runtime()?.id();
        // The first round is due at once.
        if let Some(pause) = &mut self.pause {
            if pause.home != here {
                pause.inner.move_here(self.every)?;
                pause.home = here;
            }
            ready!(pause.inner.poll(&mut self.signal, context));
        }
        self.pause = Some(InRuntime { home: here, inner: Pause::begin(self.every)? });
        Poll::Ready(Ok(()))
    }
}

impl Pause {
    fn begin(every: Duration) -> Result<Self> {
        let soon = timer(SIGNAL_PAUSE.min(every))?;
        Ok(Self { end: timer(every)?, soon, is_signalled: false })
    }

    /// Goes on in the current runtime with the rest of the interval. The clocks of two runtimes
    /// differ if one is paused.
    fn move_here(&mut self, every: Duration) -> Result<()> {
        let most = Self::begin(every)?;
        for (timer, most) in [(&mut self.end, most.end), (&mut self.soon, most.soon)] {
            *timer = Box::pin(sleep_until(timer.deadline().min(most.deadline())));
        }
        Ok(())
    }

    fn poll(&mut self, signal: &mut Signal, context: &mut Context<'_>) -> Poll<()> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if !self.is_signalled
            && let Poll::Ready(changes) = signal.as_mut().poll(context)
        {
            self.is_signalled = true;
            *signal = next_signal(changes);
        }
        match self.is_signalled {
            true => self.soon.as_mut().poll(context),
            false => Poll::Pending,
        }
    }
}

fn next_signal(mut changes: Changes) -> Signal {
    Box::pin(async move {
        changes.changed().await;
        changes
    })
}

/// Between two rounds at least, however many signals come.
const SIGNAL_PAUSE: Duration = Duration::from_millis(100);

/// Returns whether a watch ends with an error of this kind.
pub(super) fn is_final(kind: ErrorKind) -> bool {
    use ErrorKind::{Closed, Config, InvalidKey};
    matches!(kind, Closed | Config | InvalidKey)
}

fn runtime() -> Result<Handle> {
    Handle::try_current().map_err(|outside| without_time().with_source(outside))
}

/// A timer of the current runtime.
fn timer(span: Duration) -> Result<Pin<Box<Sleep>>> {
    // tokio reports a runtime without time only by a panic.
    catch_unwind(|| Box::pin(sleep(span))).map_err(|_| without_time())
}

fn without_time() -> Error {
    Error::new(ErrorKind::Config, "a watch needs a tokio runtime with time enabled; poll it in one")
}
