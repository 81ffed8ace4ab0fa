//! Messages a second between one sender and one listener, over a server on this machine:
//!
//! ```sh
//! redis-server --port 6399 --save "" &
//! cargo run --release -p cache-bus-redis --example redis_throughput -- redis://127.0.0.1:6399
//! ```

#![forbid(unsafe_code)]

mod clock;
mod measure;

use std::{sync::Arc, time::Duration};

use cache_bus_redis::RedisBus;
use cache_core::{ChangeBus, Error, ErrorKind, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).ok_or_else(|| {
        Error::new(ErrorKind::Config, "give the address of a server: redis://127.0.0.1:6379")
    })?;
    let bus = RedisBus::builder(url, measure::namespace()).buffer(1 << 20);
    // Long enough on a busy machine.
    let bus = bus.time_limit(Duration::from_secs(30)).build()?;
    bus.check().await?;
    let bus: Arc<dyn ChangeBus> = Arc::new(bus);
    measure::measure(&bus).await
}
