//! Messages that are announced are delivered.

use cache_core::{Change, Key};
use tokio::task::yield_now;

use super::suite::{Heard, Suite, key, large_key, large_tag};
use crate::conformance::{Broken, Fault, Outcome};

/// A stream yields `Connected` before anything else, also while others announce.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn the_first_event_is_connected(suite: &Suite) -> Result<Outcome, Broken> {
    suite
        .kept("the_first_event_is_connected", async |channel| {
            let (talker, listener) = (channel.open("A").await?, channel.open("B").await?);
            for seq in 1..=5 {
                talker.announce(&channel.message(1, 2 * seq)).await?;
                let stream = listener.listen()?;
                talker.announce(&channel.message(1, 2 * seq + 1)).await?;
                stream.close()?;
                listener.connected().await?.close()?;
            }
            Ok(())
        })
        .await
}

/// `Connected` comes *only after the server has confirmed the subscription*: a message that is
/// announced after it was read is delivered.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_message_after_connected_is_delivered(suite: &Suite) -> Result<Outcome, Broken> {
    suite
        .kept("a_message_after_connected_is_delivered", async |channel| {
            let (talker, listener) = (channel.open("A").await?, channel.open("B").await?);
            for round in 1..=ROUNDS {
                let mut stream = listener.connected().await?;
                // The second one shows that the first is lost, and not late.
                for seq in [2 * round - 1, 2 * round] {
                    talker.announce(&channel.message(1, seq)).await?;
                }
                let when = "as the first message after `Connected`";
                stream.expect(&channel.message(1, 2 * round - 1), when).await?;
                stream.close()?;
            }
            Ok(())
        })
        .await
}

/// A cache is delivered *its own announcements too*: by the same client, and as often.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_listener_hears_its_own_client(suite: &Suite) -> Result<Outcome, Broken> {
    suite
        .kept("a_listener_hears_its_own_client", async |channel| {
            let (own, other) = (channel.open("A").await?, channel.open("B").await?);
            let mut stream = own.connected().await?;
            for seq in 1..=ROUNDS {
                own.announce(&channel.message(1, seq)).await?;
                stream.expect(&channel.message(1, seq), "of the client that listens").await?;
                other.announce(&channel.message(2, seq)).await?;
                stream.expect(&channel.message(2, seq), "of another client").await?;
            }
            Ok(())
        })
        .await
}

/// A message is delivered with the content that it was announced with: every kind of change, the
/// largest keys and tags, the greatest numbers, and bytes that protocols of text lines split at.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_message_is_delivered_whole(suite: &Suite) -> Result<Outcome, Broken> {
    suite
        .kept("a_message_is_delivered_whole", async |channel| {
            let (talker, listener) = (channel.open("A").await?, channel.open("B").await?);
            let mut stream = listener.connected().await?;
            let changes = [
                Change::Key { key: key("a")?, e_tag: None },
                Change::Key { key: key("a/\u{e9} \u{1f980}")?, e_tag: Some("W/\"x\"".into()) },
                Change::Key { key: large_key()?, e_tag: None },
                Change::Key { key: large_key()?, e_tag: Some(large_tag().into()) },
                Change::Prefix("".into()),
                Change::Prefix("line\r\nline\0".into()),
                Change::Prefix("p".repeat(Key::LEN_MAX).into()),
                Change::All,
                Change::Heartbeat { beat: u64::MAX, last_seq: 0 },
            ];
            for node in [0, 0x0a0d_0a0d_0000_2020, u64::MAX] {
                for (seq, change) in (1..).zip(&changes) {
                    let message = channel.message_of(node, seq, change.clone());
                    talker.announce(&message).await?;
                    stream.expect(&message, "as it was announced").await?;
                }
            }
            let message = channel.message(1, u64::MAX);
            talker.announce(&message).await?;
            stream.expect(&message, "as it was announced").await
        })
        .await
}

/// Every stream gets every message: those of other clients, and several of one.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn each_listener_hears_each_message(suite: &Suite) -> Result<Outcome, Broken> {
    suite
        .kept("each_listener_hears_each_message", async |channel| {
            let (a, b) = (channel.open("A").await?, channel.open("B").await?);
            let c = channel.open("C").await?;
            let mut streams = [a.connected().await?, b.connected().await?, b.connected().await?];
            for seq in 1..=ROUNDS {
                for (node, client) in [(1, &a), (2, &b), (3, &c)] {
                    let message = channel.message(node, seq);
                    client.announce(&message).await?;
                    for stream in &mut streams {
                        stream.expect(&message, "at each of three streams").await?;
                    }
                }
            }
            Ok(())
        })
        .await
}

/// Messages that one process announces *one after another* are delivered in that order, and
/// without one left out, or a gap is reported.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn messages_come_in_order_or_with_a_gap(suite: &Suite) -> Result<Outcome, Broken> {
    suite
        .kept("messages_come_in_order_or_with_a_gap", async |channel| {
            let (talker, listener) = (channel.open("A").await?, channel.open("B").await?);
            let mut stream = listener.connected().await?;
            let announced = async {
                for seq in 1..=MANY {
                    talker.announce(&channel.message(1, seq)).await?;
                    yield_now().await;
                }
                Ok(())
            };
            let heard = async {
                while let Heard::Message(message) = stream.hear().await? {
                    if message.seq == MANY {
                        break;
                    }
                }
                Ok::<_, Fault>(())
            };
            let (announced, heard) = tokio::join!(announced, heard);
            // A loss says more than an announcement that was given up because of it.
            heard.and(announced)
        })
        .await
}

/// Several clients that announce at once mix up neither the order of each one's messages nor their
/// content.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn clients_that_announce_at_once_keep_their_orders(
    suite: &Suite,
) -> Result<Outcome, Broken> {
    suite
        .kept("clients_that_announce_at_once_keep_their_orders", async |channel| {
            let listener = channel.open("the listener").await?;
            let mut stream = listener.connected().await?;
            let mut talkers = Vec::new();
            for node in 1..=TALKERS {
                talkers.push((node, channel.open("a talker").await?));
            }
            let announced =
                futures_util::future::join_all(talkers.iter().map(async |(node, talker)| {
                    for seq in 1..=MANY_EACH {
                        talker.announce(&channel.message(*node, seq)).await?;
                        yield_now().await;
                    }
                    Ok::<_, Fault>(())
                }));
            let heard = async {
                let mut n_messages = 0;
                while n_messages < TALKERS * MANY_EACH {
                    let Heard::Message(message) = stream.hear().await? else { break };
                    let expected = channel.message(message.node, message.seq);
                    if message != expected {
                        return Err(format!(
                            "messages that were announced at once were mixed up: {message:?}"
                        ));
                    }
                    n_messages += 1;
                }
                Ok(())
            };
            let (announced, heard) = tokio::join!(announced, heard);
            heard.and(announced.into_iter().collect())
        })
        .await
}

const ROUNDS: u64 = 10;
const MANY: u64 = 1000;
const TALKERS: u64 = 8;
const MANY_EACH: u64 = 100;
