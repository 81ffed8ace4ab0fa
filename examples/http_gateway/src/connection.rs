//! One client's connection: what it waits for, and for how long it may.
//!
//! ```text
//!  accepted            first byte of    request          last byte of
//!                      a request        complete         the response
//!  |--- header_timeout ------------------|-- no limit -----|
//!                                                          |--- idle_timeout ---| first byte …
//!                      |- header_timeout -|
//! ```
//!
//! Beside that, the client has to take some bytes of a response within each `write_timeout`. A body
//! that the store sends slowly is the cached store's to limit (`origin_timeout`).
//!
//! One future drives the connection and looks at its limits after each poll: they only change while
//! it is polled, so that no timer needs a task of its own.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::{Sleep, sleep},
};

use crate::server::Limits;

/// What is known of a connection while it lasts.
pub(crate) struct Connection {
    limits: Limits,
    all: Arc<Connections>,
    state: Mutex<State>,
    /// It has to make room for another one.
    closed: Notify,
    /// Where it is in the list of those that wait, whose lock guards this.
    place: AtomicU64,
}

#[derive(Default)]
struct State {
    /// A request is complete, and its response is not.
    is_serving: bool,
    /// Bytes of the next request have come.
    has_begun: bool,
    reading: Limit,
    /// As long as the client takes no bytes.
    writing: Limit,
}

/// A span that may pass from when it was set. Setting it again begins it anew.
#[derive(Default)]
struct Limit {
    n_set: u64,
    span: Option<Duration>,
}

/// The timer for a limit.
#[derive(Default)]
struct Timer {
    n_set: u64,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// All connections of a server.
#[derive(Default)]
pub(crate) struct Connections {
    waiting: Mutex<Waiting>,
    /// One more waits for a request.
    pub(crate) one_waits: Notify,
}

/// Those that wait for a request, by when they began to.
#[derive(Default)]
struct Waiting {
    next: u64,
    connections: BTreeMap<u64, Arc<Connection>>,
}

impl Connections {
    pub(crate) fn add(self: &Arc<Self>, limits: Limits) -> Arc<Connection> {
        let mut state = State::default();
        state.reading.set(Some(limits.header_timeout));
        let connection = Arc::new(Connection {
            limits,
            all: Arc::clone(self),
            state: Mutex::new(state),
            closed: Notify::new(),
            place: AtomicU64::new(0),
        });
        lock(&self.waiting).insert(&connection);
        connection
    }

    /// Closes the connection that has waited longest for a request. False, if none waits.
    pub(crate) fn close_oldest(&self) -> bool {
        let mut waiting = lock(&self.waiting);
        let oldest = waiting.connections.iter().find(|(_, connection)| !connection.is_writing());
        let Some((&at, _)) = oldest else { return false };
        if let Some(connection) = waiting.connections.remove(&at) {
            connection.closed.notify_one();
        }
        true
    }
}

impl Waiting {
    fn insert(&mut self, connection: &Arc<Connection>) {
        connection.place.store(self.next, Ordering::Relaxed);
        self.connections.insert(self.next, Arc::clone(connection));
        self.next += 1;
    }

    fn remove(&mut self, connection: &Connection) {
        self.connections.remove(&connection.place.load(Ordering::Relaxed));
    }
}

impl Connection {
    /// A request is complete.
    pub(crate) fn begin_response(&self) {
        lock(&self.all.waiting).remove(self);
        let mut state = self.state();
        state.is_serving = true;
        state.has_begun = false;
        state.reading.set(None);
    }

    /// The whole response was handed over, or never will be.
    pub(crate) fn end_response(self: &Arc<Self>) {
        let mut state = self.state();
        state.is_serving = false;
        state.reading.set(Some(self.limits.idle_timeout));
        drop(state);
        lock(&self.all.waiting).insert(self);
        self.all.one_waits.notify_one();
    }

    /// Drives the connection until it ends by itself, a limit has passed, or it has to make room.
    /// `None`, if it did not end by itself.
    pub(crate) async fn drive<F: Future>(&self, driven: F) -> Option<F::Output> {
        let mut driven = std::pin::pin!(driven);
        let mut closed = std::pin::pin!(self.closed.notified());
        let (mut reading, mut writing) = (Timer::default(), Timer::default());
        poll_fn(|cx| {
            if let Poll::Ready(output) = driven.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            let state = self.state();
            let is_late = match state.writing.span {
                // It still takes the end of a response: what it will request next can wait.
                Some(_) => writing.has_passed(&state.writing, cx),
                None => reading.has_passed(&state.reading, cx),
            };
            drop(state);
            if is_late || closed.as_mut().poll(cx).is_ready() {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Bytes of the client have come.
    fn note_read(&self) {
        let mut state = self.state();
        if !state.is_serving && !state.has_begun {
            state.has_begun = true;
            // The first request of a connection is due since that was accepted.
            if state.reading.n_set > 1 {
                state.reading.set(Some(self.limits.header_timeout));
            }
        }
    }

    fn note_write(&self, written: &Poll<io::Result<usize>>) {
        let mut state = self.state();
        match written {
            Poll::Pending if state.writing.span.is_none() => {
                state.writing.set(Some(self.limits.write_timeout));
            }
            Poll::Ready(_) if state.writing.span.is_some() => {
                state.writing.set(None);
                if !state.is_serving && !state.has_begun {
                    state.reading.set(Some(self.limits.idle_timeout));
                }
            }
            _ => {}
        }
    }

    fn is_writing(&self) -> bool {
        self.state().writing.span.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Limit {
    fn set(&mut self, span: Option<Duration>) {
        self.n_set += 1;
        self.span = span;
    }
}

impl Timer {
    fn has_passed(&mut self, limit: &Limit, cx: &mut Context<'_>) -> bool {
        if self.n_set != limit.n_set {
            self.n_set = limit.n_set;
            self.sleep = limit.span.map(|span| Box::pin(sleep(span)));
        }
        self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready())
    }
}

/// Leaves the list of those that wait when the connection ends.
pub(crate) struct Listed(pub(crate) Arc<Connection>);

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.0.all.waiting).remove(&self.0);
    }
}

/// A client's stream, whose connection hears of what passes.
pub(crate) struct Stream {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl Stream {
    pub(crate) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.connection.note_read();
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.connection.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.connection.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
