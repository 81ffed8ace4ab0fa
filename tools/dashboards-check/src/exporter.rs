//! What Prometheus scrapes: the example `http_gateway`, over a cached store of its own, and with the figures of others.

use std::{
    error::Error,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use axum::{extract::Request, middleware::map_request};
use cache_facade::{CachedStoreBuilder, Freshness, cache_metrics::Registry};
use http_gateway::{Gateway, demo};
use tokio::runtime::Builder;
use ureq::Agent;

/// Answers until the process ends.
pub(crate) struct Exporter {
    address: SocketAddr,
    /// One for each scrape, before it is answered.
    scrapes: Receiver<()>,
    agent: Agent,
}

impl Exporter {
    /// Shows the figures of `registry`, to which it adds its own, on a port of its own of the loopback interface.
    pub(crate) fn start(registry: Registry) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;

        let runtime = Builder::new_current_thread().enable_all().build()?;
        let site = CachedStoreBuilder::new(Arc::new(runtime.block_on(demo())?));
        let site = site.name("site").freshness(Freshness::max_age(MAX_AGE)).build()?;
        registry.add(&site);
        let (sender, scrapes) = mpsc::channel();
        let told = move |request: Request| {
            if request.uri().path() == METRICS {
                // Nobody hears of it when the process ends.
                let _ = sender.send(());
            }
            std::future::ready(request)
        };
        let router =
            Gateway::new(site).registry(registry).metrics_path(METRICS).router().layer(map_request(told));
        thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, router).await
            })
        });
        let config =
            Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).proxy(None);
        Ok(Self { address, scrapes, agent: config.build().into() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The status of the answer to a GET of `path` with `headers`, whose body comes whole.
    pub(crate) fn visit(&self, path: &str, headers: &[(&str, &str)]) -> Result<u16, ureq::Error> {
        let request = self.agent.get(format!("http://{}{path}", self.address));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let mut answer = request.call()?;
        answer.body_mut().read_to_vec()?;
        Ok(answer.status().as_u16())
    }

    /// Waits until Prometheus has what is exported now: it asks again only when it has stored the answer before.
    ///
    /// # Errors
    ///
    /// It does not ask for a while.
    pub(crate) fn wait_until_scraped(&self) -> Result<(), String> {
        while self.scrapes.try_recv().is_ok() {}
        for _ in 0..2 {
            let next = self.scrapes.recv_timeout(PATIENCE);
            next.map_err(|_| format!("Prometheus did not ask for {PATIENCE:?}"))?;
        }
        Ok(())
    }
}

const METRICS: &str = "/metrics";
const MAX_AGE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(30);
