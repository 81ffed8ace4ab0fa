//! Calls to code that may panic, wait for ever, or not come back.

use std::{
    any::Any,
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::mpsc::{self, RecvTimeoutError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{task::yield_now, time::timeout};

use super::Fault;

/// How long a call may take before a suite reports that it never returns. The time is tokio's, which a test may pause,
/// but for what runs on a thread of its own.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What `future` returns, if it does. It is made in there: a call may do its work before it is polled.
pub(super) async fn answered<T, F: Future<Output = T>>(
    call: impl fmt::Display,
    future: impl FnOnce() -> F,
) -> Result<T, Fault> {
    let made = catch_unwind(AssertUnwindSafe(future)).map_err(|panic| panicked(&call, &*panic))?;
    let mut future = pin!(AssertUnwindSafe(made).catch_unwind());
    let mut n_polls = 0_u32;
    // A future that wakes itself whenever it is polled keeps a paused clock from going on.
    let counted = poll_fn(|context| {
        n_polls += 1;
        match future.as_mut().poll(context) {
            Poll::Pending if n_polls == POLLS_MAX => Poll::Ready(None),
            polled => polled.map(Some),
        }
    });
    match timeout(PATIENCE, counted).await {
        Ok(Some(Ok(value))) => Ok(value),
        Ok(Some(Err(panic))) => Err(panicked(&call, &*panic)),
        Ok(None) => Err(format!("{call} had not returned when it had been polled {POLLS_MAX} times")),
        Err(_) => Err(format!("{call} did not return within {PATIENCE:?}")),
    }
}

/// What `future` returns, however long it takes. It is dropped in there, whether it panics or not.
pub(super) async fn caught<T>(call: &str, future: impl Future<Output = T>) -> Result<T, Fault> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| panicked(&call, &*panic))
}

/// What a call that does not wait returns.
pub(super) fn returned<T>(call: impl fmt::Display, function: impl FnOnce() -> T) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|panic| panicked(&call, &*panic))
}

/// What `function` returns on a thread of its own. One that does not come back is left behind.
pub(super) fn on_a_thread<T: Send + 'static>(
    call: impl fmt::Display,
    patience: Duration,
    function: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more if it took too long.
        let _ = sender.send(catch_unwind(AssertUnwindSafe(function)));
    });
    match receiver.recv_timeout(patience) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(panic)) => Err(panicked(&call, &*panic)),
        Err(RecvTimeoutError::Timeout) => Err(format!("{call} did not come back within {patience:?}")),
        Err(RecvTimeoutError::Disconnected) => Err(format!("{call} ended its thread")),
    }
}

/// Polls `future` at most `n` times, letting others run in between, and drops it. Whether it came to its end.
pub(super) async fn abandoned<T, F: Future<Output = T>>(
    call: impl fmt::Display,
    n_polls: usize,
    future: impl FnOnce() -> F,
) -> Result<bool, Fault> {
    let made = catch_unwind(AssertUnwindSafe(future)).map_err(|panic| panicked(&call, &*panic))?;
    let mut future = pin!(AssertUnwindSafe(made).catch_unwind());
    for _ in 0..n_polls {
        match poll_once(future.as_mut()) {
            Poll::Ready(Ok(_)) => return Ok(true),
            Poll::Ready(Err(panic)) => return Err(panicked(&call, &*panic)),
            Poll::Pending => yield_now().await,
        }
    }
    Ok(false)
}

/// Polls `future` with nobody to wake.
pub(super) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets everything go on that has been left running.
pub(super) async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
    // For what runs on other threads, or waits for time.
    tokio::time::sleep(Duration::from_millis(10)).await;
    for _ in 0..100 {
        yield_now().await;
    }
}

fn panicked(call: &impl fmt::Display, panic: &(dyn Any + Send)) -> Fault {
    let said = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(said), _) => said,
        (_, Some(said)) => said.as_str(),
        _ => "no message",
    };
    format!("{call} panicked: {said}")
}

const POLLS_MAX: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_back_is_left_behind() {
        let (open, gate) = mpsc::channel::<()>();
        let left = on_a_thread("a call", Duration::from_millis(1), move || gate.recv().is_ok());
        assert_eq!(left, Err("a call did not come back within 1ms".to_owned()));
        drop(open);
        let panicked = on_a_thread("a call", PATIENCE, || panic!("told to"));
        assert_eq!(panicked, Err::<(), _>("a call panicked: told to".to_owned()));
    }
}
