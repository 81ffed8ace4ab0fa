//! A server of its own for each test, which the test can kill, start again, and pause.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How a server is started.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    /// Where it can be.
    pub(crate) names: &'static [&'static str],
    pub(crate) debian_package: &'static str,
    /// Given the port.
    pub(crate) args: fn(u16) -> Vec<String>,
    /// Part of the line that it prints when it accepts connections.
    pub(crate) ready: &'static str,
}

/// A server on a free port of the loopback interface. Dropping it kills it.
pub(crate) struct Server {
    program: Program,
    name: &'static str,
    more: Vec<String>,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts a server with more arguments; `None`, and a line that says so, if it is not
    /// installed.
    pub(crate) fn start(program: Program, more: &[&str]) -> Option<Self> {
        let mut server = Self::stopped(program, more)?;
        // The port was free a moment ago.
        for _ in 0..20 {
            if server.try_restart() {
                return Some(server);
            }
            server.port = free_port();
        }
        panic!("{} does not start on a free port", server.name);
    }

    /// A server that [`restart`](Self::restart) starts.
    pub(crate) fn stopped(program: Program, more: &[&str]) -> Option<Self> {
        let is_installed = |name: &&&str| Command::new(name).arg("--version").output().is_ok();
        let Some(name) = program.names.iter().find(is_installed) else {
            let package = program.debian_package;
            let needed = std::env::var_os("OBJECT_CACHE_TEST_BUSES_NEEDED").is_some();
            assert!(!needed, "no {}; Debian's package is {package}", program.names[0]);
            println!("left out: no {} (Debian's package: {package})", program.names[0]);
            return None;
        };
        let more = more.iter().map(ToString::to_string).collect();
        Some(Self { program, name, more, port: free_port(), child: None })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a server that runs");
            child.wait().expect("a server that ended");
        }
    }

    /// Starts it on the same port as before.
    pub(crate) fn restart(&mut self) {
        // Connections of the last server can still have the port for a moment.
        assert!((0..100).any(|_| self.try_restart()), "{} does not start", self.name);
    }

    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("a server that runs").id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().expect("kill");
        assert!(status.success());
    }

    fn try_restart(&mut self) -> bool {
        self.kill();
        let mut child = Command::new(self.name)
            .args((self.program.args)(self.port))
            .args(&self.more)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a server that can be started");
        let (sender, ready) = mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("a piped output")),
            Box::new(child.stderr.take().expect("a piped output")),
        ];
        for output in outputs {
            let (sender, expected) = (sender.clone(), self.program.ready);
            // Reads to the end: a full pipe would stop the server.
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if line.contains(expected) {
                        let _ = sender.send(());
                    }
                }
            });
        }
        drop(sender);
        self.child = Some(child);
        // Both outputs close when it ends.
        ready.recv_timeout(Duration::from_secs(60)).is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error says that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket").port()
}
