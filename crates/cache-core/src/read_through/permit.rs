//! Permits for requests that are made beside those of the cache, under the same limit.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Poll, ready},
};

use super::{
    ReadThrough,
    limiter::{Permit, QueueTimer, Waits},
};
use crate::Result;

/// Leave to send one request to the origin, from [`ReadThrough::request_permit`]. Dropping it lets
/// the next one go.
#[derive(Debug)]
#[must_use = "the request counts only as long as this lives"]
#[allow(dead_code, reason = "it is held to be dropped")]
pub struct RequestPermit(Permit);

impl<V: ?Sized> ReadThrough<V> {
    /// Waits for leave to send one request that this cache does not make itself, so that it counts
    /// under the [`max_in_flight`](super::ReadThroughBuilder::max_in_flight) of this one's. Permits
    /// are given in the order of arrival, to such requests and to those of reads alike.
    ///
    /// A caller that holds a permit must not wait for another one, nor for a read of this cache:
    /// with a limit of one it would wait for itself. For the same reason a
    /// [`Validator`](crate::Validator) must not call this: its request has a permit.
    ///
    /// # Errors
    ///
    /// `Timeout` if it has waited for [`queue_timeout`](super::ReadThroughBuilder::queue_timeout).
    ///
    /// A dropped future gives its place in the queue up.
    pub async fn request_permit(&self) -> Result<RequestPermit> {
        let (limiter, settings) = (&self.shared.limiter, &self.shared.settings);
        if let Some(permit) = Permit::try_take(limiter) {
            return Ok(RequestPermit(permit));
        }
        let mut place = pin!(limiter.taken());
        let mut queue_timer = QueueTimer::new(settings.queue_timeout);
        let mut waits: Option<Waits<'_>> = None;
        poll_fn(|context| {
            // First, so that a permit which came together with the limit counts.
            let is_taken = place.as_mut().poll(context).is_ready() || {
                // Only once it is in the queue: else a permit that is given back now would find
                // nobody.
                waits.get_or_insert_with(|| self.shared.begin_to_wait());
                ready!(queue_timer.poll(limiter, context))
            };
            Poll::Ready(match is_taken {
                true => Ok(RequestPermit(Permit::taken(limiter))),
                false => Err(settings.queue_timed_out()),
            })
        })
        .await
    }
}
