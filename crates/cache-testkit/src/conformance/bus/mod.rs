//! The contract of [`ChangeBus`](cache_core::ChangeBus), sentence by sentence.
//!
//! The suite opens several clients of one channel, as several processes would have them. Where it
//! is given the [`Broker`], it also stops and starts the server, and sends bytes that no cache
//! sends.
//!
//! Some sentences cannot be seen from outside: that a bus waits longer after each attempt to
//! connect, and that the server has confirmed a subscription by whose messages nothing was lost. A
//! gap is allowed wherever much is sent; in a rule that sends little it breaks the rule, since a
//! bus that reports gaps all the time would never be trusted.

mod broker;
mod hears;
mod streams;
mod suite;

pub use self::{
    broker::{
        a_lost_connection_is_a_gap_and_made_again, a_stream_opened_in_an_outage_connects_later,
        bytes_that_are_no_message_are_reported,
    },
    hears::{
        a_listener_hears_its_own_client, a_message_after_connected_is_delivered,
        a_message_is_delivered_whole, clients_that_announce_at_once_keep_their_orders,
        each_listener_hears_each_message, messages_come_in_order_or_with_a_gap,
        the_first_event_is_connected,
    },
    streams::{
        a_dropped_announcement_disturbs_no_later_one, a_dropped_stream_disturbs_no_other,
        a_slow_listener_disturbs_no_other, a_stream_outlives_its_client,
        an_unread_stream_is_bounded_and_reports_the_loss,
    },
    suite::{Broker, Capabilities, Suite},
};
use super::{Broken, Report, Rule, check_all, rules};

/// All rules, in the order in which [`check`] goes through them.
pub const RULES: &[Rule<Suite>] = rules![
    the_first_event_is_connected,
    a_message_after_connected_is_delivered,
    a_listener_hears_its_own_client,
    a_message_is_delivered_whole,
    each_listener_hears_each_message,
    messages_come_in_order_or_with_a_gap,
    clients_that_announce_at_once_keep_their_orders,
    a_dropped_stream_disturbs_no_other,
    a_stream_outlives_its_client,
    a_dropped_announcement_disturbs_no_later_one,
    an_unread_stream_is_bounded_and_reports_the_loss,
    a_slow_listener_disturbs_no_other,
    a_lost_connection_is_a_gap_and_made_again,
    a_stream_opened_in_an_outage_connects_later,
    bytes_that_are_no_message_are_reported,
];

/// Checks all rules.
///
/// ```
/// use std::sync::Arc;
///
/// use cache_testkit::{LocalBus, conformance::bus};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cache_testkit::conformance::Broken> {
/// let server = LocalBus::new();
/// let broker = Arc::new(server.clone());
/// // It keeps 1,024 messages, of at most 20 KiB.
/// let can = bus::Capabilities::new().unread_bytes_max(24 << 20);
/// let suite = bus::Suite::new(can, move |_| {
///     let client: Arc<dyn cache_core::ChangeBus> = Arc::new(server.node(1));
///     async { client }
/// });
/// println!("{}", bus::check(&suite.broker(broker)).await?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Broken`], with all that are broken.
pub async fn check(suite: &Suite) -> Result<Report, Broken> {
    check_all(suite, RULES).await
}
