//! Calls to code that may panic, wait for ever, or block its thread.
//!
//! A rule runs on a thread of its own, and notes the calls that it makes. Whoever wants to know
//! what became of it waits for the thread; when nothing has begun or returned for a while, it gives
//! the rule up, and the calls that are open say why. So all that does not end is found in one way,
//! and no thread that somebody else needs is ever blocked.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{oneshot, watch},
    task::yield_now,
};

use super::Fault;

/// How long a rule may make no progress, neither beginning a call nor ending one, before it is
/// given up, unless the suite is told otherwise. It is the machine's time, whatever tokio's clock
/// does.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The calls that a rule makes.
#[derive(Clone)]
pub(super) struct Calls(Arc<Inner>);

struct Inner {
    noted: Mutex<Noted>,
    given_up: watch::Sender<bool>,
}

#[derive(Default)]
struct Noted {
    /// How many have begun, and have ended.
    n_changes: u64,
    /// Those that have not returned, by their number.
    open: BTreeMap<u64, Arc<Open>>,
}

/// A call that has not returned.
struct Open {
    name: String,
    /// Whether the code under test is running, on some thread.
    is_inside: AtomicBool,
    n_polls: AtomicU32,
}

/// Notes that the call has ended, when it is dropped.
struct Noting<'a> {
    calls: &'a Calls,
    number: u64,
    open: Arc<Open>,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner { noted: Mutex::default(), given_up: watch::Sender::new(false) }))
    }

    /// What `future` returns, if it does. It is made in there: a call may do its work before it is
    /// polled.
    pub(super) async fn answered<T, F: Future<Output = T>>(
        &self,
        name: impl fmt::Display,
        future: impl FnOnce() -> F,
    ) -> Result<T, Fault> {
        let call = self.begin(name);
        let mut future = Box::pin(call.caught(future)?);
        let answer = poll_fn(|context| call.polled(future.as_mut(), context)).await?;
        call.caught(|| drop(future))?;
        Ok(answer)
    }

    /// Polls `future` at most `n` times, letting others run in between, and drops it. Whether it
    /// came to its end.
    pub(super) async fn abandoned<T, F: Future<Output = T>>(
        &self,
        name: impl fmt::Display,
        n_polls: usize,
        future: impl FnOnce() -> F,
    ) -> Result<bool, Fault> {
        let call = self.begin(name);
        let mut future = Box::pin(call.caught(future)?);
        let mut has_ended = false;
        for _ in 0..n_polls {
            has_ended = call.caught(|| poll_once(future.as_mut()).is_ready())?;
            if has_ended {
                break;
            }
            yield_now().await;
        }
        call.caught(|| drop(future))?;
        Ok(has_ended)
    }

    /// Polls `future` `n` times, letting others run in between, and, if it `settles`, what runs on
    /// other threads for it; then has `meanwhile` come to its end, and then the future. `None`, if
    /// the future came to its end before; then `meanwhile` is not begun.
    ///
    /// `meanwhile` may wait for what the future holds: if it takes long, both go on together.
    pub(super) async fn interrupted<T, U, F: Future<Output = T>>(
        &self,
        name: impl fmt::Display,
        (n_polls, settles): (usize, bool),
        future: impl FnOnce() -> F,
        meanwhile: impl Future<Output = Result<U, Fault>>,
    ) -> Result<Option<U>, Fault> {
        let call = self.begin(name);
        let mut future = Box::pin(call.caught(future)?);
        for _ in 0..n_polls {
            if call.caught(|| poll_once(future.as_mut()).is_ready())? {
                call.caught(|| drop(future))?;
                return Ok(None);
            }
            yield_now().await;
        }
        if settles {
            settle().await;
        }
        let mut rest = Box::pin(poll_fn(|context| call.polled(future.as_mut(), context)));
        let mut meanwhile = pin!(meanwhile);
        let done = match tokio::time::timeout(ALONE, meanwhile.as_mut()).await {
            Ok(done) => {
                let done = done?;
                rest.as_mut().await?;
                done
            }
            Err(_) => {
                let (ended, done) = tokio::join!(rest.as_mut(), meanwhile);
                ended?;
                done?
            }
        };
        drop(rest);
        call.caught(|| drop(future))?;
        Ok(Some(done))
    }

    /// What a call that does not wait returns.
    pub(super) fn returned<T>(
        &self,
        name: impl fmt::Display,
        function: impl FnOnce() -> T,
    ) -> Result<T, Fault> {
        self.begin(name).caught(function)
    }

    /// What a call that does not wait returns. A panic goes on.
    pub(super) fn noted<T>(&self, name: impl fmt::Display, function: impl FnOnce() -> T) -> T {
        self.begin(name).inside(function)
    }

    fn begin(&self, name: impl fmt::Display) -> Noting<'_> {
        let open = Arc::new(Open {
            name: name.to_string(),
            is_inside: false.into(),
            n_polls: AtomicU32::new(0),
        });
        let mut noted = self.lock();
        noted.n_changes += 1;
        let number = noted.n_changes;
        noted.open.insert(number, Arc::clone(&open));
        Noting { calls: self, number, open }
    }

    /// Has the rule stop, where it can, and says what it was about.
    fn give_up(&self, patience: Duration) -> Fault {
        // Before the rule learns of it, and drops its calls.
        let said = self.blamed(patience);
        self.0.given_up.send_replace(true);
        said
    }

    fn blamed(&self, patience: Duration) -> Fault {
        let open: Vec<_> = self.lock().open.values().cloned().collect();
        // One that runs has all the others wait, if anything has.
        let running: Vec<_> =
            open.iter().filter(|call| call.is_inside.load(Ordering::SeqCst)).collect();
        let blamed = if running.is_empty() { open.iter().collect() } else { running };
        if blamed.is_empty() {
            return format!(
                "no call was open, and yet the rule did not end within {patience:?}: look for \
                    something that blocks its \
                 thread when it is dropped"
            );
        }
        let blamed: Vec<_> = blamed.into_iter().map(|call| call.blamed(patience)).collect();
        blamed.join("; and ")
    }

    /// Whether the rule was given up.
    pub(super) fn were_given_up(&self) -> bool {
        *self.0.given_up.borrow()
    }

    async fn given_up(&self) {
        // An error would say that nobody can give it up any more.
        let _ = self.0.given_up.subscribe().wait_for(|given_up| *given_up).await;
    }

    fn n_changes(&self) -> u64 {
        self.lock().n_changes
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn blamed(&self, patience: Duration) -> Fault {
        let (name, n_polls) = (&self.name, self.n_polls.load(Ordering::Relaxed));
        let why = if n_polls > POLLS_MAX {
            format!(
                "it was polled {n_polls} times and asks to be polled again and again; look for a \
                    future that wakes itself \
                 while it waits"
            )
        } else if self.is_inside.load(Ordering::SeqCst) {
            "it blocks its thread; look for a lock that is never released, a wait for another \
                thread, or a loop without an \
             end"
            .to_owned()
        } else {
            "it waits, and nobody wakes it".to_owned()
        };
        format!("{name} did not return within {patience:?}: {why}")
    }
}

impl Noting<'_> {
    fn polled<F: Future>(
        &self,
        future: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<Result<F::Output, Fault>> {
        self.open.n_polls.fetch_add(1, Ordering::Relaxed);
        match self.caught(|| future.poll(context)) {
            Ok(polled) => polled.map(Ok),
            Err(fault) => Poll::Ready(Err(fault)),
        }
    }

    fn caught<T>(&self, function: impl FnOnce() -> T) -> Result<T, Fault> {
        let returned = catch_unwind(AssertUnwindSafe(|| self.inside(function)));
        returned.map_err(|panic| panicked(&self.open.name, &*panic))
    }

    fn inside<T>(&self, function: impl FnOnce() -> T) -> T {
        self.open.is_inside.store(true, Ordering::SeqCst);
        let returned = function();
        self.open.is_inside.store(false, Ordering::SeqCst);
        returned
    }
}

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        let mut noted = self.calls.lock();
        noted.n_changes += 1;
        noted.open.remove(&self.number);
    }
}

/// What `rule` returns, which is run on a thread of its own, named `name`, and makes `calls`. A
/// thread that does not come back is left behind. Blocks the caller; a panic that is in no call is
/// one of `what`.
pub(super) fn on_a_thread<T: Send + 'static>(
    name: &str,
    what: &str,
    patience: Duration,
    calls: &Calls,
    rule: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let (sender, receiver) = mpsc::channel();
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Nobody listens any more if it took too long.
        let _ = sender.send(catch_unwind(AssertUnwindSafe(rule)));
    });
    spawned.map_err(|error| format!("no thread could be started: {error}"))?;
    let mut n_changes = calls.n_changes();
    loop {
        match receiver.recv_timeout(patience) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(panic)) => return Err(panicked(what, &*panic)),
            Err(RecvTimeoutError::Disconnected) => return Err(format!("{what} ended its thread")),
            Err(RecvTimeoutError::Timeout) => {
                let before = std::mem::replace(&mut n_changes, calls.n_changes());
                if before == n_changes {
                    return Err(calls.give_up(patience));
                }
            }
        }
    }
}

/// What `rule` returns, which is run on a thread and a runtime of its own and makes `calls`. The
/// runtime has several threads if the caller's has, and `n_threads_min` at least. Dropped, it
/// leaves the rule to come to its end.
pub(super) async fn in_a_runtime<T: Send + 'static>(
    name: &'static str,
    patience: Duration,
    calls: Calls,
    n_threads_min: usize,
    rule: impl AsyncFnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let n_threads =
        Handle::try_current().map_or(1, |handle| handle.metrics().num_workers()).max(n_threads_min);
    let (sender, receiver) = oneshot::channel();
    let in_there = calls.clone();
    let run = move || {
        let runtime = runtime(n_threads)?;
        let found = runtime.block_on(async {
            match select(pin!(rule()), pin!(in_there.given_up())).await {
                Either::Left((found, _)) => found,
                Either::Right(_) => Err("it was given up".to_owned()),
            }
        });
        // Something may block its threads.
        runtime.shutdown_background();
        found
    };
    let waits = move || {
        let found = on_a_thread(name, "something that was dropped", patience, &calls, run);
        // Nobody listens any more if the caller went away.
        let _ = sender.send(found.and_then(|found| found));
    };
    let spawned = thread::Builder::new().name("watch".to_owned()).spawn(waits);
    spawned.map_err(|error| format!("no thread could be started: {error}"))?;
    receiver.await.unwrap_or_else(|_| Err("the thread that waits for the rule ended".to_owned()))
}

fn runtime(n_threads: usize) -> Result<Runtime, Fault> {
    let runtime = match n_threads {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().worker_threads(n_threads).enable_all().build(),
    };
    runtime.map_err(|error| format!("no runtime could be started: {error}"))
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
    tokio::time::sleep(SETTLING).await;
    for _ in 0..100 {
        yield_now().await;
    }
}

fn panicked(call: &str, panic: &(dyn Any + Send)) -> Fault {
    let said = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(said), _) => said,
        (_, Some(said)) => said.as_str(),
        _ => "no message",
    };
    format!("{call} panicked: {said}")
}

/// Nothing that is woken by what it waits for is polled so often.
const POLLS_MAX: u32 = 10_000;
/// How long one call may take while another is not polled.
const ALONE: Duration = Duration::from_millis(200);
const SETTLING: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    fn left_behind(rule: impl FnOnce(&Calls) + Send + 'static) -> Fault {
        let calls = Calls::new();
        let in_there = calls.clone();
        on_a_thread("rule", "the rule", SHORT, &calls, move || rule(&in_there)).unwrap_err()
    }

    /// A call that ends as soon as its rule is given up.
    struct Ends(Mutex<Option<Noting<'static>>>);

    impl Wake for Ends {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().take();
        }
    }

    #[test]
    fn what_was_open_is_named_however_fast_the_rule_stops() {
        let calls: &'static Calls = Box::leak(Box::new(Calls::new()));
        let ends = Arc::new(Ends(Mutex::new(Some(calls.begin("`insert`")))));
        let waker = Waker::from(Arc::clone(&ends));
        let mut given_up = pin!(calls.given_up());
        assert!(given_up.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let fault = calls.give_up(SHORT);
        assert!(ends.0.lock().unwrap().is_none(), "the rule has learnt of it");
        assert!(fault.starts_with("`insert` did not return"), "{fault}");
    }

    #[test]
    fn what_blocks_its_thread_is_named_and_left_behind() {
        let (_open, gate) = mpsc::channel::<()>();
        let fault = left_behind(move |calls| {
            let _ = calls.returned("first", || ());
            let _ = calls.returned("second", || gate.recv());
        });
        assert!(
            fault.starts_with("second did not return within 50ms: it blocks its thread"),
            "{fault}"
        );
    }

    #[test]
    fn calls_that_wait_for_each_other_are_all_named() {
        let (_open, gate) = mpsc::channel::<()>();
        let fault = left_behind(move |calls| {
            let _ = calls.noted("one", || calls.noted("other", || gate.recv()));
        });
        assert!(
            fault.contains("one did not return") && fault.contains("; and other did"),
            "{fault}"
        );
    }

    #[test]
    fn what_blocks_in_no_call_is_told_as_such() {
        let (_open, gate) = mpsc::channel::<()>();
        let fault = left_behind(move |_| {
            let _ = gate.recv();
        });
        assert!(fault.starts_with("no call was open"), "{fault}");
    }

    #[test]
    fn a_panic_is_that_of_the_call_or_of_the_rule() {
        let calls = Calls::new();
        let said = calls.returned("a call", || panic!("told to"));
        assert_eq!(said, Err::<(), _>("a call panicked: told to".to_owned()));
        let said = on_a_thread("rule", "the rule", PATIENCE, &calls, || panic!("told to"));
        assert_eq!(said, Err::<(), _>("the rule panicked: told to".to_owned()));
    }

    const SHORT: Duration = Duration::from_millis(50);
}
