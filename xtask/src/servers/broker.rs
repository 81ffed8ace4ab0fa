//! The servers of the change buses, as Debian has them: nothing to install here. One that is not on
//! this machine is left out.

use std::{net::TcpListener, process::Stdio};

use super::server::Server;
use crate::shell::{Result, command};

/// A server of a change bus.
pub(super) struct Broker {
    pub(super) name: &'static str,
    /// Where it can be.
    programs: &'static [&'static str],
    /// Given the port.
    args: fn(&str) -> Vec<&str>,
    /// Part of the line that it prints when it accepts connections.
    ready: &'static str,
    /// Names its address for the tests.
    pub(super) variable: &'static str,
}

pub(super) const BROKERS: [Broker; 2] = [
    Broker {
        name: "redis",
        programs: &["redis-server", "valkey-server"],
        args: |port| vec!["--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", "/tmp"],
        ready: "Ready to accept connections",
        variable: "OBJECT_CACHE_TEST_REDIS_URL",
    },
    Broker {
        name: "nats",
        // Debian has it where users do not search.
        programs: &["nats-server", "/usr/sbin/nats-server"],
        args: |port| vec!["-a", "127.0.0.1", "-p", port],
        ready: "Server is ready",
        variable: "OBJECT_CACHE_TEST_NATS_URL",
    },
];

impl Broker {
    /// Starts it on a free port; says so and returns `None` if it is not installed.
    pub(super) fn start(&self) -> Result<Option<Server>> {
        let Self { name, programs, ready, .. } = *self;
        let Some(program) = programs.iter().find(|program| is_installed(program)) else {
            eprintln!("left out: no {} (a package of Debian)", programs[0]);
            return Ok(None);
        };
        // It is free until the server has it, as good as always.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port().to_string();
        let mut shell = command("sh");
        shell.args(["-c", END_WITH_STDIN, program]).args((self.args)(&port));
        let url = format!("{name}://127.0.0.1:{port}");
        let server =
            Server::start(name, &mut shell, move |line| line.contains(ready).then(|| url.clone()))?;
        Ok(Some(server))
    }
}

fn is_installed(program: &str) -> bool {
    let mut version = command(program);
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Runs the program that is named as `$0`. A process beside it kills it when the standard input of
/// both closes; the shell's `$$` is the program's id after `exec`.
const END_WITH_STDIN: &str =
    r#"exec 3<&0; (cat <&3; kill -9 $$) >/dev/null 2>&1 & exec "$0" "$@" </dev/null 3<&- 2>&1"#;
