//! Messages a second between one sender and one listener, over a server on this machine:
//!
//! ```sh
//! nats-server -p 4299 &
//! cargo run --release -p cache-bus-nats --example nats_throughput -- nats://127.0.0.1:4299
//! ```

#![forbid(unsafe_code)]

#[path = "../../../cache-bus-redis/examples/redis_throughput/clock.rs"]
mod clock;
#[path = "../../../cache-bus-redis/examples/redis_throughput/measure.rs"]
mod measure;

use std::{sync::Arc, time::Duration};

use cache_bus_nats::NatsBus;
use cache_core::{ChangeBus, Error, ErrorKind, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).ok_or_else(|| {
        Error::new(ErrorKind::Config, "give the address of a server: nats://127.0.0.1:4222")
    })?;
    let bus = NatsBus::builder(url, measure::namespace()).buffer(1 << 20);
    // Long enough on a busy machine.
    let bus = bus.time_limit(Duration::from_secs(30)).build()?;
    bus.check().await?;
    let bus: Arc<dyn ChangeBus> = Arc::new(bus);
    measure::measure(&bus).await
}
