//! A date that a test sets.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use cache_core::{Clock, Moment};

/// The date is `seconds` after 1970, until it is set otherwise. Its moments stand still.
pub(crate) struct SetClock(Mutex<SystemTime>);

impl SetClock {
    pub(crate) fn at(seconds: f64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(date(seconds))))
    }

    pub(crate) fn set(&self, seconds: f64) {
        *self.0.lock().unwrap() = date(seconds);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Moment {
        Moment::from_nanos(0)
    }

    fn wall_time(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

pub(crate) fn date(seconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
}
