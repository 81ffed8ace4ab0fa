//! Outages of the server, and bytes that no cache sends.

use cache_core::{BusEvent, GapReason};

use super::suite::{Channel, Client, Listener, Suite};
use crate::conformance::{Broken, Fault, Outcome, bounds::settle};

/// A lost connection is a `Gap`; the bus connects again *by itself*, yields `Connected` again, and
/// delivers what is announced from then on.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_lost_connection_is_a_gap_and_made_again(suite: &Suite) -> Result<Outcome, Broken> {
    suite
        .checked("a_lost_connection_is_a_gap_and_made_again", async |channel| {
            let (talker, listener) = (channel.open("A").await?, channel.open("B").await?);
            let mut stream = listener.connected().await?;
            for outage in 1..=3 {
                let first = channel.message(1, 10 * outage);
                talker.announce(&first).await?;
                stream.expect(&first, "while the server runs").await?;
                if !channel.stop().await? {
                    return Ok(Outcome::LeftOut(NO_OUTAGE));
                }
                gap(&mut stream, "a gap, when the server closed the connection").await?;
                // It may be an error, or be sent later.
                let _ = talker.try_announce(&channel.message(IN_OUTAGE, outage)).await?;
                channel.start().await?;
                connects(channel, &talker, &mut stream, 10 * outage + 1).await?;
            }
            Ok(Outcome::Kept)
        })
        .await
}

/// A stream that is opened while the server is down reports a gap, if anything, and connects when
/// the server is back.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_stream_opened_in_an_outage_connects_later(suite: &Suite) -> Result<Outcome, Broken> {
    suite
        .checked("a_stream_opened_in_an_outage_connects_later", async |channel| {
            let (talker, listener) = (channel.open("A").await?, channel.open("B").await?);
            if !channel.stop().await? {
                return Ok(Outcome::LeftOut(NO_OUTAGE));
            }
            let mut stream = listener.listen()?;
            gap(&mut stream, "a gap, while no connection can be made").await?;
            channel.start().await?;
            connects(channel, &talker, &mut stream, 1).await?;
            Ok(Outcome::Kept)
        })
        .await
}

/// Bytes that are no message are `Unreadable`, those of a newer format are a `Gap`, and what
/// follows is delivered.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn bytes_that_are_no_message_are_reported(suite: &Suite) -> Result<Outcome, Broken> {
    suite
        .checked("bytes_that_are_no_message_are_reported", async |channel| {
            let (talker, listener) = (channel.open("A").await?, channel.open("B").await?);
            let mut stream = listener.connected().await?;
            let whole = channel.message(3, 1).to_bytes();
            let mut newer = whole.clone();
            newer[VERSION_AT] = u8::MAX;
            let garbage = vec![b'\n'; 1 << 20];
            let newer_format = BusEvent::Gap(GapReason::NewerFormat);
            let cases = [
                (&whole[..20], BusEvent::Unreadable),
                (&newer, newer_format),
                (&b"garbage"[..], BusEvent::Unreadable),
                (&garbage, BusEvent::Unreadable),
            ];
            for (seq, (bytes, expected)) in (1..).zip(cases) {
                if !channel.send(bytes).await? {
                    return Ok(Outcome::LeftOut("the server sends no bytes for the suite"));
                }
                let said = format!("`{expected:?}` for {} bytes", bytes.len());
                let event = stream.next(&said).await?;
                if event != expected {
                    return Err(stream.unexpected(&event, &said));
                }
                let message = channel.message(1, seq);
                talker.announce(&message).await?;
                stream.expect(&message, "after bytes that are no message").await?;
            }
            Ok(Outcome::Kept)
        })
        .await
}

async fn gap(stream: &mut Listener, expected: &str) -> Result<(), Fault> {
    match stream.next(expected).await? {
        BusEvent::Gap(_) => Ok(()),
        event => Err(stream.unexpected(&event, expected)),
    }
}

/// Expects `Connected`, and a message that is announced after it.
async fn connects(
    channel: &Channel,
    talker: &Client<'_>,
    stream: &mut Listener,
    seq: u64,
) -> Result<(), Fault> {
    let expected = "`Connected`, after an outage";
    loop {
        match stream.next(expected).await? {
            BusEvent::Connected => break,
            BusEvent::Gap(_) => {}
            event => return Err(stream.unexpected(&event, expected)),
        }
    }
    // The client that announces may need a moment to connect again.
    let message = channel.message(1, seq);
    for _ in 0..ATTEMPTS_MAX {
        if talker.try_announce(&message).await?.is_ok() {
            break;
        }
        settle().await;
    }
    let expected = "the first message after an outage";
    loop {
        match stream.next(expected).await? {
            BusEvent::Message(heard) if heard == message => return Ok(()),
            // It was announced in the outage, and sent after it.
            BusEvent::Message(heard) if heard.node == IN_OUTAGE => {}
            event => return Err(stream.unexpected(&event, expected)),
        }
    }
}

/// The node of messages that are announced while the server is down.
const IN_OUTAGE: u64 = 2;
/// About 10 s.
const ATTEMPTS_MAX: usize = 5000;
/// Where `Announcement::to_bytes` writes it.
const VERSION_AT: usize = 4;
const NO_OUTAGE: &str = "the server cannot be stopped";
