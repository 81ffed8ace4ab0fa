//! The settings of a cache, their defaults, and the time limits that follow from them.

use std::{sync::Arc, time::Duration};

use crate::{Error, ErrorKind, FreshnessRules, Namespace, Result};

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) name: Arc<str>,
    pub(super) key_prefix: &'static str,
    pub(super) rules: FreshnessRules,
    pub(super) time_to_live: Option<Duration>,
    pub(super) negative_ttl: Duration,
    pub(super) patience: Option<Duration>,
    pub(super) origin_timeout: Duration,
    pub(super) max_in_flight: usize,
    pub(super) queue_timeout: Duration,
    pub(super) identity: Namespace,
    /// The caller has set `identity`.
    pub(super) is_named: bool,
    pub(super) bus_namespace: Option<Namespace>,
    pub(super) announce_within: Option<Duration>,
}

impl Settings {
    pub(super) fn check(&self) -> Result<()> {
        let zero = |name: &str| {
            Err(Error::new(
                ErrorKind::Config,
                format!("{name} is zero; give a span, or leave it out"),
            ))
        };
        if self.name.is_empty() {
            return Err(Error::new(ErrorKind::Config, "name is empty; give one, or leave it out"));
        }
        if self.time_to_live.is_some_and(|span| span.is_zero()) {
            return zero("time_to_live");
        }
        if self.patience.is_some_and(|span| span.is_zero()) {
            return zero("patience");
        }
        if self.origin_timeout.is_zero() {
            return zero("origin_timeout");
        }
        if self.max_in_flight == 0 {
            return Err(Error::new(
                ErrorKind::Config,
                "max_in_flight is zero, so no request could be sent; usize::MAX is no limit",
            ));
        }
        self.rules.check()
    }

    /// Returns the namespace of messages on the bus.
    ///
    /// # Errors
    ///
    /// `Config` without one that other caches can have too.
    pub(super) fn bus_namespace(&self) -> Result<Namespace> {
        self.bus_namespace.or(self.is_named.then_some(self.identity)).ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "a bus needs a namespace, the same in all caches of the store; set one with \
                    `namespace(Namespace::named(..))`",
            )
        })
    }

    /// How long a turn is waited for: a flight that waits in vain has done so before its own
    /// readers take it for lost.
    pub(super) fn backend_lock_limit(&self) -> Duration {
        self.origin_timeout / 2
    }

    /// How long `close` waits while nothing comes to its end.
    pub(super) fn close_limit(&self) -> Duration {
        self.origin_timeout.saturating_add(GRACE)
    }

    /// The error for a request that has waited too long.
    pub(super) fn queue_timed_out(&self) -> Error {
        let Self { max_in_flight, queue_timeout, .. } = self;
        let message = format!(
            "timed out after {queue_timeout:?} waiting for one of {max_in_flight} in-flight \
                requests \
             (max_in_flight, queue_timeout)"
        );
        Error::new(ErrorKind::Timeout, message)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: Arc::from("default"),
            key_prefix: "",
            rules: FreshnessRules::default(),
            time_to_live: Some(TIME_TO_LIVE),
            negative_ttl: Duration::ZERO,
            patience: None,
            origin_timeout: ORIGIN_TIMEOUT,
            max_in_flight: MAX_IN_FLIGHT,
            queue_timeout: QUEUE_TIMEOUT,
            identity: Namespace::unique(),
            is_named: false,
            bus_namespace: None,
            announce_within: None,
        }
    }
}

const TIME_TO_LIVE: Duration = Duration::from_secs(300);
const ORIGIN_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_IN_FLIGHT: usize = 1024;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// By how much the limits of an origin and of the queue come before those of the readers that wait.
pub(super) const GRACE: Duration = Duration::from_millis(100);
