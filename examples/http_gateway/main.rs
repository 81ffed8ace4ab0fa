//! Serves a bucket over HTTP through the cache: `cargo run --release --example http_gateway`, then
//! <http://127.0.0.1:8080/>.
#![forbid(unsafe_code)]

use std::{env, error, iter, process::ExitCode};

use cache_facade::{CachedStoreBuilder, Freshness};
use http_gateway::{Bucket, Gateway, Options, demo};
use tokio::{net::TcpListener, runtime::Runtime, signal::ctrl_c};

type Error = Box<dyn error::Error + Send + Sync>;

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", Options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("http_gateway: {error}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http_gateway: {}", causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Error> {
    let runtime = Runtime::new()?;
    let served = runtime.block_on(serve(options));
    // A read that hangs in a file system holds a thread: it would be waited for.
    runtime.shutdown_background();
    served
}

async fn serve(options: Options) -> Result<(), Error> {
    let bucket = match &options.bucket {
        Some(place) => Bucket::open(place, env::vars_os())?,
        None => Bucket::from(demo().await?),
    };
    let shown = bucket.store.to_string();
    let store = CachedStoreBuilder::new(bucket.store)
        .name("http_gateway")
        .validator_strength(bucket.strength)
        .freshness(Freshness::max_age(options.max_age))
        .max_capacity(options.capacity)
        .build()?;
    let gateway = Gateway::new(store.clone())
        .max_age(options.max_age)
        .metrics_path(&options.metrics)
        .on_failure(|key, error| eprintln!("{key}: {}", causes(error)));
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.map_err(|error| format!("cannot listen at {}: {error}", options.listen))?;
    println!("{shown} is at http://{}/", listener.local_addr()?);

    // After a Ctrl-C, who is being served is served to the end; after another one, nobody is waited for.
    let server = axum::serve(listener, gateway.router()).with_graceful_shutdown(interrupts(1));
    tokio::select! {
        ended = server => ended?,
        () = interrupts(2) => {}
    }
    let stats = store.stats();
    println!(
        "{} bytes came from the cache, {} from the bucket",
        stats.bytes_from_cache, stats.bytes_from_origin
    );
    Ok(())
}

async fn interrupts(n: usize) {
    for _ in 0..n {
        if let Err(error) = ctrl_c().await {
            eprintln!("http_gateway: Ctrl-C is not seen: {error}");
            std::future::pending::<()>().await;
        }
    }
}

/// The error, and what it came from.
fn causes(error: &(dyn error::Error + 'static)) -> String {
    let all: Vec<_> =
        iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    all.join(": ")
}
