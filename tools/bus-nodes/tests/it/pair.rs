//! A store and a bus that are tested together.

use std::io::Write as _;

use bus_nodes::Store;

use crate::server::{Program, Server};

#[derive(Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) name: &'static str,
    pub(crate) store: Store,
    broker: Program,
    scheme: &'static str,
}

pub(crate) const MOTO_AND_REDIS: Pair = Pair {
    name: "moto and Redis",
    store: Store::S3,
    broker: Program {
        names: &["redis-server", "valkey-server"],
        debian_package: "redis-server",
        args: |port| {
            let port = port.to_string();
            let args = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
            // It cuts off subscribers that are slow, here earlier than by default.
            let limit = ["--client-output-buffer-limit", "pubsub", "256kb", "256kb", "1"];
            args.iter().chain(&limit).map(ToString::to_string).collect()
        },
        ready: "Ready to accept connections",
    },
    scheme: "redis",
};

pub(crate) const AZURITE_AND_NATS: Pair = Pair {
    name: "azurite and NATS",
    store: Store::Azure,
    broker: Program {
        names: &["nats-server", "/usr/sbin/nats-server"],
        debian_package: "nats-server",
        args: |port| {
            let port = port.to_string();
            ["-a", "127.0.0.1", "-p", &port].map(ToOwned::to_owned).to_vec()
        },
        ready: "Server is ready",
    },
    scheme: "nats",
};

impl Pair {
    /// Returns whether the store's server can be reached; says so if not, past the test harness,
    /// which hides what tests print.
    pub(crate) fn is_there(self) -> bool {
        let Err(error) = self.store.open() else { return true };
        let needed = std::env::var_os("OBJECT_CACHE_TEST_SERVERS_NEEDED").is_some();
        let has_feature = match self.store {
            Store::S3 => cfg!(feature = "aws"),
            Store::Azure => cfg!(feature = "azure"),
        };
        assert!(!needed || !has_feature, "{error}, but servers are needed here");
        let text = format!("left out: {}: {error}\n", self.name);
        let _ = std::io::stderr().write_all(text.as_bytes());
        false
    }

    /// Starts a server for the bus; `None`, and a line that says so, if it is not installed.
    pub(crate) fn broker(self) -> Option<Server> {
        Server::start(self.broker, &[])
    }

    pub(crate) fn url(self, port: u16) -> String {
        format!("{}://127.0.0.1:{port}", self.scheme)
    }
}
