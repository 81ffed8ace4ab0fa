//! Servers on loopback, for as long as the measurement takes.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use cache_bus_nats::NatsBus;
use cache_bus_redis::RedisBus;
use cache_core::{BusEvent, ChangeBus, Result};
use futures_util::StreamExt as _;
use tokio::{runtime::Runtime, time::timeout};

/// A server that ends with this.
pub(super) struct Server {
    pub(super) name: &'static str,
    port: u16,
    process: Child,
}

impl Server {
    /// Starts redis-server; an error says why not.
    pub(super) fn redis() -> Result<Self, String> {
        let port = free_port()?;
        let args = format!("--port {port} --bind 127.0.0.1 --appendonly no");
        Self::start("redis", "redis-server", &format!("{args} --save ''"), port)
    }

    /// Starts nats-server; an error says why not.
    pub(super) fn nats() -> Result<Self, String> {
        let port = free_port()?;
        Self::start("nats", "nats-server", &format!("-a 127.0.0.1 -p {port}"), port)
    }

    fn start(name: &'static str, program: &str, args: &str, port: u16) -> Result<Self, String> {
        let args = args.split(' ').map(|arg| if arg == "''" { "" } else { arg });
        let process = Command::new(program)
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        Ok(Self { name, port, process })
    }

    /// Returns a bus over this server, once that answers.
    pub(super) fn bus(&self, runtime: &Runtime) -> Result<Arc<dyn ChangeBus>> {
        let (namespace, port) = (super::namespace(), self.port);
        let _inside = runtime.enter();
        let bus: Arc<dyn ChangeBus> = match self.name {
            "redis" => {
                let url = format!("redis://127.0.0.1:{port}");
                Arc::new(RedisBus::builder(url, namespace).build()?)
            }
            _ => {
                let url = format!("nats://127.0.0.1:{port}");
                Arc::new(NatsBus::builder(url, namespace).build()?)
            }
        };
        runtime.block_on(async {
            let mut events = bus.listen();
            let connected = async {
                while events.next().await.is_some_and(|event| event != BusEvent::Connected) {}
            };
            timeout(Duration::from_secs(20), connected).await.expect("the server answers");
        });
        Ok(bus)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> Result<u16, String> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    free.map(|address| address.port()).map_err(|error| format!("no port: {error}"))
}
