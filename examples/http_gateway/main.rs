//! Serves a bucket over HTTP through the cache: `cargo run --release --example http_gateway`, then
//! <http://127.0.0.1:8080/>.
#![forbid(unsafe_code)]

use std::{
    env, error, fs,
    future::pending,
    io::{self, Write as _},
    iter,
    net::SocketAddr,
    pin::pin,
    process::ExitCode,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use http_gateway::{Bucket, Gateway, Health, Options, Server, demo, describe};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};

type Error = Box<dyn error::Error + Send + Sync>;

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            say(Options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(&error);
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Error> {
    let (log, written) = match options.access_log {
        true => AccessLog::start(),
        false => (None, None),
    };
    let runtime = Runtime::new()?;
    let served = runtime.block_on(serve(options, log));
    // A read that hangs in a file system holds a thread: it would be waited for.
    runtime.shutdown_background();
    if let Some(written) = written {
        let _ = written.recv_timeout(LINES_TIMEOUT);
    }
    served
}

async fn serve(options: Options, log: Option<AccessLog>) -> Result<(), Error> {
    let mut limits = options.limits;
    // A response may need an open file as well as its connection.
    if let Some(room) = open_files_max().map(|max| (max.saturating_sub(FILES_KEPT) / 2).max(1))
        && room < limits.connections
    {
        complain(&format!(
            "serves {room} connections at a time: this process may not open more files"
        ));
        limits.connections = room;
    }
    // From here on no signal ends the process by itself.
    let mut signals = Signals::new()?;
    let bucket = match &options.bucket {
        Some(place) => Bucket::open_with(place, env::vars_os(), options.opened)?,
        None => Bucket::from(demo().await?),
    };
    let shown = bucket.store.to_string();
    if options.check {
        tokio::select! {
            checked = bucket.check() => checked?,
            () = signals.next() => return Ok(()),
        }
    }
    let store = options.store(bucket).build()?;
    let redirect_folders = options.redirect_folders();
    let health = Health::new();
    let gateway = Gateway::new(store.clone())
        .rules(options.rules)
        .obey_cache_control(options.obey_cache_control)
        .redirect_folders(redirect_folders)
        .wait_max(options.wait_max)
        .wait_poll(options.wait_poll)
        // The others are for requests that do not wait.
        .waiting_max(options.waiting_max.min(limits.connections / 2))
        .health(&health)
        .on_failure(|key, error| complain(&format!("{key}: {}", describe(error))));
    let listener = listen(options.listen).await?;
    if let Some(address) = options.admin {
        let listener = listen(address).await?;
        say(&format!("/healthz and /metrics are at http://{}/", listener.local_addr()?));
        let server = Server::new().limits(limits);
        // It goes on until the process ends.
        tokio::spawn(server.serve(listener, gateway.admin(&health), pending()));
    }
    say(&format!("{shown} is at http://{}/", listener.local_addr()?));

    let mut server = Server::new().limits(limits);
    if let Some(log) = log {
        server = server.on_request(move |access| log.add(access.to_string()));
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let router = gateway.router();
    let mut serving = pin!(server.serve(listener, router, async move { _ = stopped.await }));
    tokio::select! {
        _ = &mut serving => {}
        () = signals.next() => {}
    }
    health.drain();
    let _ = stop.send(());
    tokio::select! {
        n_cut = &mut serving => if n_cut > 0 {
            complain(&format!("{n_cut} connections were cut after {:?}", limits.drain_timeout));
        },
        () = signals.next() => complain("stopped at once"),
    }
    let stats = store.stats();
    say(&format!(
        "{} bytes came from the cache, {} from the bucket",
        stats.bytes_from_cache, stats.bytes_from_origin
    ));
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| format!("cannot listen at {address}: {error}").into())
}

/// SIGTERM and Ctrl-C.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "it can fail elsewhere")]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            pending::<()>().await;
        }
    }
}

/// How many files this process may have open, where the system tells.
fn open_files_max() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Writes lines from a thread, so that nobody waits for whoever reads them. If that is too slow,
/// lines are lost.
struct AccessLog(SyncSender<String>);

impl AccessLog {
    /// The receiver ends when all lines are written, after this was dropped.
    fn start() -> (Option<Self>, Option<Receiver<()>>) {
        let (sender, lines) = sync_channel::<String>(LINES_MAX);
        let (writing, written) = sync_channel::<()>(0);
        thread::spawn(move || {
            let _writing = writing;
            lines.iter().for_each(|line| say(&line));
        });
        (Some(Self(sender)), Some(written))
    }

    fn add(&self, line: String) {
        let _ = self.0.try_send(line);
    }
}

/// Whether anybody reads that is none of our business: `println!` would end the program.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "http_gateway: {line}");
}

/// The error, and what it came from.
fn causes(error: &(dyn error::Error + 'static)) -> String {
    let all: Vec<_> =
        iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    all.join(": ")
}

/// For all that is no client: listeners, the runtime, connections to the bucket.
const FILES_KEPT: usize = 32;

const LINES_MAX: usize = 10_000;

const LINES_TIMEOUT: Duration = Duration::from_secs(1);
