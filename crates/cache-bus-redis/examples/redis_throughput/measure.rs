//! Messages a second, over any bus.

use std::{sync::Arc, time::Duration};

use cache_core::{
    Announcement, BusEvent, Change, ChangeBus, Error, ErrorKind, Key, Namespace, Result,
};
use futures_util::{StreamExt, TryStreamExt, future::try_join, stream, stream::BoxStream};

use crate::clock::Stopwatch;

pub(crate) fn namespace() -> Namespace {
    Namespace::named("throughput")
}

/// Prints the rates of messages that are announced one after the other, and of messages of which
/// several are announced at a time; and the median time from one announcement to its message.
pub(crate) async fn measure(bus: &Arc<dyn ChangeBus>) -> Result<()> {
    let mut stream = bus.listen();
    while stream.next().await != Some(BusEvent::Connected) {}
    let mut times = Vec::with_capacity(MESSAGES / 20);
    for seq in 0..MESSAGES / 20 {
        let watch = Stopwatch::start();
        bus.announce(&message(seq)?).await?;
        received(&mut stream, 1).await?;
        times.push(watch.elapsed());
    }
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() / 100 * 99]);
    println!("announced to received: p50 {p50:?}, p99 {p99:?}");
    for at_a_time in [1, 64] {
        let sender = tokio::spawn(send(Arc::clone(bus), at_a_time));
        let sender = async { sender.await.map_err(|error| failed(&error.to_string()))? };
        let watch = Stopwatch::start();
        let receiver = async {
            received(&mut stream, MESSAGES).await?;
            Ok(watch.elapsed())
        };
        let (sent, elapsed) = try_join(sender, receiver).await?;
        println!(
            "{at_a_time:>2} at a time: {} announced, {} received a second",
            rate(sent),
            rate(elapsed)
        );
    }
    Ok(())
}

const MESSAGES: usize = 200_000;

async fn send(bus: Arc<dyn ChangeBus>, at_a_time: usize) -> Result<Duration> {
    let watch = Stopwatch::start();
    let announced = stream::iter(0..MESSAGES).map(|seq| {
        let bus = &bus;
        async move { bus.announce(&message(seq)?).await }
    });
    announced.buffered(at_a_time).try_collect::<()>().await?;
    Ok(watch.elapsed())
}

async fn received(stream: &mut BoxStream<'static, BusEvent>, messages: usize) -> Result<()> {
    for _ in 0..messages {
        match stream.next().await {
            Some(BusEvent::Message(_)) => {}
            other => return Err(failed(&format!("{other:?} instead of a message"))),
        }
    }
    Ok(())
}

fn message(seq: usize) -> Result<Announcement> {
    let key = Key::parse("a/prefix/and/a/name.parquet")?;
    let change = Change::Key { key, e_tag: Some("\"6805f2cfc46c0f04559748bb039d69ae\"".into()) };
    Ok(Announcement { namespace: namespace(), node: 7, seq: seq as u64, change })
}

fn rate(elapsed: Duration) -> u128 {
    MESSAGES as u128 * 1_000_000 / elapsed.as_micros().max(1)
}

fn failed(message: &str) -> Error {
    Error::new(ErrorKind::Other, message)
}
