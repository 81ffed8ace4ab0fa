//! The outcome of a flight, and the channels that carry it to its waiters.

use tokio::sync::watch;

use super::served::{Status, Tier};
use crate::{Entry, Error, ErrorKind, Moment};

/// What a flight brings its waiters.
#[derive(Debug, Clone)]
pub(super) enum FlightOutcome {
    /// An entry, the tier it was cached in, and the moment at which the request was sent that
    /// validated it.
    Entry(Entry, Status, Option<Tier>, Moment),
    Failed(Error),
}

/// Sends the outcome to the waiters of a flight.
pub(super) type OutcomeSender = watch::Sender<Option<FlightOutcome>>;

/// Receives the outcome of a flight.
pub(super) type OutcomeReceiver = watch::Receiver<Option<FlightOutcome>>;

/// The senders of a flight: one, unless it replaced a flight that had waiters.
#[derive(Default)]
pub(super) struct OutcomeSenders {
    first: Option<OutcomeSender>,
    others: Vec<OutcomeSender>,
}

impl OutcomeSenders {
    /// Returns a receiver of the outcome.
    pub(super) fn subscribe(&mut self) -> OutcomeReceiver {
        self.first.get_or_insert_with(|| watch::channel(None).0).subscribe()
    }

    pub(super) fn add(&mut self, answer: OutcomeSender) {
        match &mut self.first {
            None => self.first = Some(answer),
            Some(_) => self.others.push(answer),
        }
    }

    pub(super) fn receivers(&self) -> usize {
        self.iter().map(watch::Sender::receiver_count).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &OutcomeSender> {
        self.first.iter().chain(&self.others)
    }
}

impl From<OutcomeSender> for OutcomeSenders {
    fn from(answer: OutcomeSender) -> Self {
        Self { first: Some(answer), others: Vec::new() }
    }
}

/// Returns the error for an object that does not exist.
pub(super) fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "the origin has no such object")
}
