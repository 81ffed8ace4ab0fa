//! The store, in a process of its own, so that its memory is not counted as the caches'.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    io::{self, BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use cache_testkit::{BodyFault, Operation, S3Fault, S3Server, TagFault};
use serde_json::{Value, json};

use super::bodies;

/// A handle to the server process, which ends with its standard input.
pub(crate) struct Child {
    pub(crate) address: SocketAddr,
    process: std::process::Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    pub(crate) fn start(seed: u64) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.args([SERVE, &seed.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).ok_or("the server has no pipes")?;
        let mut stdout = BufReader::new(stdout);
        let mut address = String::new();
        stdout.read_line(&mut address)?;
        Ok(Self { address: address.trim().parse()?, process, stdin, stdout })
    }

    /// Ends all faults.
    pub(crate) fn heal(&mut self) -> io::Result<()> {
        writeln!(self.stdin, "heal")?;
        self.stdin.flush()
    }

    /// Stops the server. Returns the number of its requests by status.
    pub(crate) fn end(mut self) -> Result<Value, Box<dyn Error>> {
        drop(self.stdin);
        let mut counts = String::new();
        self.stdout.read_line(&mut counts)?;
        self.process.wait()?;
        Ok(serde_json::from_str(&counts)?)
    }
}

/// The first argument of the server process.
pub(crate) const SERVE: &str = "--serve";

/// Serves until the standard input ends.
pub(crate) fn serve(seed: u64) -> Result<(), Box<dyn Error>> {
    let server = Arc::new(S3Server::start()?);
    (0..bodies::KEYS).for_each(|number| {
        server.put(&bodies::key(number), bodies::body(number, 0));
    });
    faults(seed).into_iter().for_each(|fault| server.fault(fault));
    let tally = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
    thread::spawn({
        let (server, tally) = (Arc::clone(&server), Arc::clone(&tally));
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.expect("a runtime can be built").block_on(async {
                loop {
                    // The record keeps the bodies of puts, and must stay small.
                    server.wait_until(|requests| requests.len() >= 256).await;
                    count(&server, &tally);
                }
            });
        }
    });
    println!("{}", server.address());
    for line in io::stdin().lines() {
        if line? == "heal" {
            server.heal();
        }
    }
    count(&server, &tally);
    println!("{}", json!(*tally.lock().expect("nothing panics under this lock")));
    Ok(())
}

/// Counts the requests in the record, and clears it.
fn count(server: &S3Server, tally: &Mutex<BTreeMap<String, u64>>) {
    let mut tally = tally.lock().expect("nothing panics under this lock");
    for request in server.requests() {
        let status = request.status.map_or("none".to_owned(), |status| status.to_string());
        *tally.entry(status).or_default() += 1;
    }
    server.reset();
}

/// Every kind of fault, each independent of the others; about one request in ten meets one.
fn faults(seed: u64) -> Vec<S3Fault> {
    let mut n = 0;
    let mut one_in = |fault: S3Fault, of: u64| {
        n += 1;
        fault.one_in(of, seed.wrapping_mul(1000).wrapping_add(n))
    };
    vec![
        one_in(S3Fault::tag(TagFault::Weak), 100),
        one_in(S3Fault::tag(TagFault::Missing).on(Operation::Get), 100),
        one_in(S3Fault::header("etag", "\"another\""), 200),
        one_in(S3Fault::content_length(100).on(Operation::Get), 300),
        one_in(S3Fault::content_length(100_000).on(Operation::Get), 300),
        one_in(S3Fault::body(BodyFault::Truncated(700)), 100),
        one_in(S3Fault::body(BodyFault::Overlong(700)), 200),
        one_in(S3Fault::body(BodyFault::Fails(700)), 100),
        one_in(S3Fault::body(BodyFault::Hangs(700)), 2000),
        one_in(S3Fault::body(BodyFault::Chunked(100)), 200),
        one_in(S3Fault::status(503), 50),
        one_in(S3Fault::status(500).late(), 100),
        one_in(S3Fault::status(429), 200),
        one_in(S3Fault::status(409).on(Operation::Put), 50),
        one_in(S3Fault::status(412).on(Operation::Put), 50),
        one_in(S3Fault::status(403), 500),
        one_in(S3Fault::status(304), 1000),
        one_in(S3Fault::hang_up(), 100),
        one_in(S3Fault::hang_up().late(), 100),
        one_in(S3Fault::hang(), 2000),
    ]
}
