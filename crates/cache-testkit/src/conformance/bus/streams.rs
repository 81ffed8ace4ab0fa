//! Streams that are dropped, not polled, or outlive their client.

use cache_core::{BusEvent, GapReason};
use tokio::task::yield_now;

use super::suite::{Channel, Client, Heard, Listener, Suite};
use crate::conformance::{Broken, Fault, Outcome, bounds::settle, chain};

/// The caller *drops and opens streams at any time*: others go on, and `announce` succeeds also
/// where there is no stream at all.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_dropped_stream_disturbs_no_other(suite: &Suite) -> Result<Outcome, Broken> {
    suite
        .kept("a_dropped_stream_disturbs_no_other", async |channel| {
            let (a, b) = (channel.open("A").await?, channel.open("B").await?);
            a.announce(&channel.message(1, 1)).await?;
            let mut stays = b.connected().await?;
            for seq in 2..=9 {
                let (unpolled, connected) = (b.listen()?, b.connected().await?);
                a.announce(&channel.message(1, seq)).await?;
                // One has an unread message, and one was never connected.
                connected.close()?;
                unpolled.close()?;
                stays.expect(&channel.message(1, seq), "after other streams were dropped").await?;
            }
            stays.close()?;
            a.announce(&channel.message(1, 10)).await?;
            let mut again = b.connected().await?;
            a.announce(&channel.message(1, 11)).await?;
            again.expect(&channel.message(1, 11), "after all streams had been dropped").await
        })
        .await
}

/// A stream is `'static`, and *does not end*: also when its client was dropped.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_stream_outlives_its_client(suite: &Suite) -> Result<Outcome, Broken> {
    suite
        .kept("a_stream_outlives_its_client", async |channel| {
            let (talker, listener) = (channel.open("A").await?, channel.open("B").await?);
            let (mut polled, mut unpolled) = (listener.connected().await?, listener.listen()?);
            channel.suite.calls.returned("dropping B", || drop(listener))?;
            settle().await;
            let expected = "`Connected`, although its client was dropped";
            let first = unpolled.next(expected).await?;
            if first != BusEvent::Connected {
                return Err(unpolled.unexpected(&first, expected));
            }
            for seq in 1..=3 {
                let message = channel.message(1, seq);
                talker.announce(&message).await?;
                polled.expect(&message, "after its client was dropped").await?;
                unpolled.expect(&message, "after its client was dropped").await?;
            }
            Ok(())
        })
        .await
}

/// An announcement whose future was dropped *may have sent the message*, and does no more: later
/// ones are delivered, in order.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_dropped_announcement_disturbs_no_later_one(
    suite: &Suite,
) -> Result<Outcome, Broken> {
    suite
        .kept("a_dropped_announcement_disturbs_no_later_one", async |channel| {
            let (talker, listener) = (channel.open("A").await?, channel.open("B").await?);
            let mut stream = listener.connected().await?;
            for n_polls in 0..5 {
                let dropped = channel.large_message(2, n_polls + 1)?;
                let polls = usize::try_from(n_polls).unwrap_or(0);
                let call = format!("`announce`, dropped after {n_polls} polls");
                let announce = || talker.bus.announce(&dropped);
                channel.suite.calls.abandoned(call, polls, announce).await?;
                let message = channel.message(1, n_polls + 1);
                talker.announce(&message).await?;
                let expected = "the message after a dropped announcement";
                loop {
                    match stream.next(expected).await? {
                        BusEvent::Message(heard) if heard == message => break,
                        BusEvent::Message(heard) if heard == dropped => {}
                        event => return Err(stream.unexpected(&event, expected)),
                    }
                }
            }
            Ok(())
        })
        .await
}

/// A bus does *not keep messages without bound for a stream that is not polled: it drops them and
/// reports a gap*. When it is polled again, messages are delivered again.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn an_unread_stream_is_bounded_and_reports_the_loss(
    suite: &Suite,
) -> Result<Outcome, Broken> {
    suite
        .kept("an_unread_stream_is_bounded_and_reports_the_loss", async |channel| {
            let (talker, listener) = (channel.open("A").await?, channel.open("B").await?);
            let mut stream = listener.connected().await?;
            let n_messages = flood(channel, &talker).await?;
            loop {
                match stream.hear().await? {
                    Heard::Message(message) if message.seq == n_messages => {
                        return Err(format!(
                            "all of {n_messages} large messages were kept for a stream that was \
                             not polled: more than {} bytes; a bus that may keep more declares \
                             it by `unread_bytes_max`",
                            channel.suite.can.unread_bytes_max
                        ));
                    }
                    Heard::Message(_) => {}
                    Heard::Gap | Heard::Connected => break,
                }
            }
            delivers_again(channel, &talker, &mut stream).await
        })
        .await
}

/// A stream that is not polled holds up neither announcements nor other streams.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_slow_listener_disturbs_no_other(suite: &Suite) -> Result<Outcome, Broken> {
    suite
        .kept("a_slow_listener_disturbs_no_other", async |channel| {
            let (talker, listener) = (channel.open("A").await?, channel.open("B").await?);
            let other = channel.open("C").await?;
            let slow = listener.connected().await?;
            let (mut beside, mut fast) = (listener.connected().await?, other.connected().await?);
            flood(channel, &talker).await?;
            // A message that these two missed is reported; they are no slower from now on.
            for stream in [&mut beside, &mut fast] {
                delivers_again(channel, &talker, stream).await?;
            }
            slow.close()
        })
        .await
}

/// Announces more than a stream that is not polled may keep. Returns the number of messages.
async fn flood(channel: &Channel, talker: &Client<'_>) -> Result<u64, Fault> {
    let size = channel.large_message(1, 1)?.to_bytes().len();
    let bytes = channel.suite.can.unread_bytes_max;
    let n_messages = (bytes.saturating_add(bytes / 4) / size + 2) as u64;
    for seq in 1..=n_messages {
        let message = channel.large_message(1, seq)?;
        // A server that has so much to send may be late with an answer. The number is announced
        // until one succeeds, so that none is missing.
        let mut attempts_left = ATTEMPTS_MAX;
        while let Err(error) = talker.try_announce(&message).await? {
            attempts_left -= 1;
            if attempts_left == 0 {
                return Err(format!(
                    "`announce` failed {ATTEMPTS_MAX} times while a stream was not polled: {}",
                    chain(&error)
                ));
            }
        }
        yield_now().await;
    }
    Ok(n_messages)
}

/// Expects that a message is delivered after all that was missed. A gap or a new connection may
/// have come between: then the message is announced again.
async fn delivers_again(
    channel: &Channel,
    talker: &Client<'_>,
    stream: &mut Listener,
) -> Result<(), Fault> {
    for seq in 1..=AGAIN_MAX {
        let message = channel.message(AGAIN, seq);
        talker.announce(&message).await?;
        let expected = "a message that was announced after a gap, or another gap";
        loop {
            match stream.next(expected).await? {
                BusEvent::Message(heard) if heard == message => return Ok(()),
                // `Connected` follows.
                BusEvent::Message(_) | BusEvent::Gap(GapReason::Disconnected) => {}
                BusEvent::Gap(_) | BusEvent::Connected => break,
                event => return Err(stream.unexpected(&event, expected)),
            }
        }
    }
    Err(format!("after a gap, {AGAIN_MAX} more messages were each followed by another gap"))
}

/// The node of messages that are announced after a gap.
const AGAIN: u64 = 9;
const AGAIN_MAX: u64 = 1000;
const ATTEMPTS_MAX: u32 = 10;
