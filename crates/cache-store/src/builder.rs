//! The settings of a validator.

use std::{fmt, sync::Arc, time::Duration};

use cache_core::{Clock, Error, ErrorKind, Result, SystemClock};
use object_store::ObjectStore;

use crate::{EtagValidator, ValidatorStrength, validator::Settings};

/// Builds an [`EtagValidator`].
#[must_use = "nothing happens before `build`"]
pub struct EtagValidatorBuilder {
    store: Arc<dyn ObjectStore>,
    clock: Option<Arc<dyn Clock>>,
    settings: Settings,
    strength: Option<ValidatorStrength>,
}

impl EtagValidator {
    /// Starts a validator for `store`.
    pub fn builder(store: Arc<dyn ObjectStore>) -> EtagValidatorBuilder {
        EtagValidatorBuilder::new(store)
    }
}

impl EtagValidatorBuilder {
    fn new(store: Arc<dyn ObjectStore>) -> Self {
        let settings = Settings {
            origin_timeout: TIMEOUT,
            accept_weak: false,
            max_object_size: None,
            max_in_flight_bytes: IN_FLIGHT_BYTES,
            verify: false,
            validate_metadata: false,
        };
        Self { store, clock: None, settings, strength: None }
    }

    /// How long a request may take, the reading of its body included. Then it is dropped, and the
    /// error is of kind `Timeout`: object_store's own retries can take minutes. Zero is an error of
    /// [`build`](Self::build). Default: 30 s.
    pub fn origin_timeout(mut self, limit: Duration) -> Self {
        self.settings.origin_timeout = limit;
        self
    }

    /// Sets how far a "not modified" (304) of the store is trusted. Default:
    /// [`ValidatorStrength::of`] the store.
    pub fn validator_strength(mut self, strength: ValidatorStrength) -> Self {
        self.strength = Some(strength);
        self
    }

    /// Whether a weak tag (`W/"…"`, or any under [`ValidatorStrength::Weak`]) confirms an entry. A
    /// weak tag says that two versions mean the same, not that they have the same bytes: an entry
    /// that it confirms may differ from the object. Default: no; what has a weak tag is fetched
    /// anew whenever the store must be asked.
    pub fn accept_weak_validators(mut self, accept: bool) -> Self {
        self.settings.accept_weak = accept;
        self
    }

    /// The largest object that is read, in bytes: a larger one is an error of kind `TooLarge`, and
    /// its body is not read. Puts are not limited. Zero is an error of [`build`](Self::build).
    /// Default: `None`, no limit.
    pub fn max_object_size(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.settings.max_object_size = bytes.into();
        self
    }

    /// How many bytes of bodies may be on their way at once. An answer whose body would be more
    /// waits before it is read, in the order of arrival, within its `origin_timeout`; one that is
    /// larger by itself comes alone. Counted in whole KiB, by the length that the answer announces.
    /// Zero is an error. Default: 1 GiB.
    pub fn max_in_flight_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_in_flight_bytes = bytes;
        self
    }

    /// Whether to find out what the store really does before it is relied upon: see
    /// [`probe_capabilities`](crate::probe_capabilities). The first read, the first put if absent
    /// and the first put at a version are each preceded by what they rely on: some 30 small
    /// requests under `object-cache-probe/`, each within the `origin_timeout`, for which readers
    /// that come meanwhile wait. From then on, reads of a store whose "not modified" cannot be
    /// trusted are errors of kind `Config`, and so are puts with a condition that the store does
    /// not keep. Default: no.
    ///
    /// # Rights
    ///
    /// Under `object-cache-probe/` the store's credentials need the rights to put and to get, which
    /// without `verify_store` a reader needs not: what may not be written cannot be probed. Without
    /// the right to delete, one object of a few bytes stays for each validator that reads, two for
    /// one that puts if absent, one for one that puts at a version; a lifecycle rule removes them.
    ///
    /// # Errors
    ///
    /// A probe that fails is an error of the request that waited for it, about the probe's object:
    /// of kind `Config` if a right is missing, and it says which; `Unavailable`, `Timeout` or
    /// `Unauthenticated` if that is why. It stands for the store, without a request, for 1 s; after
    /// each further failure in a row for twice as long, 60 s at most. Then the next request probes
    /// again.
    pub fn verify_store(mut self, verify: bool) -> Self {
        self.settings.verify = verify;
        self
    }

    /// Whether a validation compares the metadata too: date, version id and attributes
    /// (`Content-Type`, `Cache-Control`, the user's own). Where the ETag is made of the bytes
    /// alone, as S3's is, a change of metadata keeps it, and the 304 of a conditional GET confirms
    /// the old metadata.
    ///
    /// With this setting a copy is validated by an unconditional HEAD. Equal tag and metadata:
    /// unchanged. Equal tag and other metadata: a new entry with the same bytes, which are not
    /// requested again. Another tag: the object is fetched by a GET, also unconditional, whose
    /// answer alone makes the new entry. Under any strength but [`ValidatorStrength::Strong`]
    /// another date is another tag.
    ///
    /// Costs: as many requests as without, and no body, where the bytes are the same; a changed
    /// object is two requests, one after the other, instead of one. The store should answer HEAD:
    /// of one that cannot, the object is fetched each time. Default: no, since copies change
    /// oftener than their metadata alone, and most readers want the bytes.
    pub fn validate_metadata(mut self, validate: bool) -> Self {
        self.settings.validate_metadata = validate;
        self
    }

    /// The clock that tells how old an object was when it was asked for. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The validator. Sends no request; for a store on local disk it looks up which file system
    /// that is.
    ///
    /// # Errors
    ///
    /// Of kind `Config`, if a setting is zero that may not be: the timeout, the largest object, the
    /// bytes in flight, the grain of [`ValidatorStrength::Timestamp`].
    pub fn build(self) -> Result<EtagValidator> {
        let Self { store, clock, settings, strength } = self;
        if settings.origin_timeout.is_zero() {
            return Err(wrong("origin_timeout is zero: no request could be answered"));
        }
        if settings.max_object_size == Some(0) {
            return Err(wrong(
                "max_object_size is zero: no object could be read; leave it out for no limit",
            ));
        }
        if settings.max_in_flight_bytes == 0 {
            return Err(wrong(
                "max_in_flight_bytes is zero: no body could be read; u64::MAX is no limit",
            ));
        }
        if strength == Some(ValidatorStrength::Timestamp(Duration::ZERO)) {
            return Err(wrong(
                "a timestamp has a grain: set it, or take ValidatorStrength::Strong",
            ));
        }
        let strength = strength.unwrap_or_else(|| ValidatorStrength::of(&store));
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        Ok(EtagValidator::new(store, clock, settings, strength))
    }
}

impl fmt::Debug for EtagValidatorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtagValidatorBuilder")
            .field("store", &format_args!("{}", self.store))
            .field("strength", &self.strength)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::Config, message)
}

const TIMEOUT: Duration = Duration::from_secs(30);
const IN_FLIGHT_BYTES: u64 = 1 << 30;
