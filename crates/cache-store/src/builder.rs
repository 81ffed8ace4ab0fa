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
    /// Returns a builder of a validator for `store`.
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

    /// Sets how long a request may take, including its body. Then it is dropped and fails with
    /// `Timeout`; object_store's own retries can take minutes. Zero is an error of
    /// [`build`](Self::build). Default: 30 s.
    pub fn origin_timeout(mut self, limit: Duration) -> Self {
        self.settings.origin_timeout = limit;
        self
    }

    /// Sets how far a 304 (Not Modified) of the store is trusted. Default:
    /// [`ValidatorStrength::of`] the store.
    pub fn validator_strength(mut self, strength: ValidatorStrength) -> Self {
        self.strength = Some(strength);
        self
    }

    /// Sets whether a weak ETag (`W/"…"`, or any ETag under [`ValidatorStrength::Weak`]) confirms
    /// an entry. Equal weak ETags mean equivalent versions, not equal bytes (RFC 9110, section
    /// 8.8.1), so a confirmed entry may differ from the object. Default: false; an object with a
    /// weak ETag is fetched whenever it has to be revalidated.
    pub fn accept_weak_validators(mut self, accept: bool) -> Self {
        self.settings.accept_weak = accept;
        self
    }

    /// Sets the size in bytes of the largest object that is read. A larger one fails with
    /// `TooLarge`, and its body is not read. Does not limit puts. Zero is an error of
    /// [`build`](Self::build). Default: `None`, no limit.
    pub fn max_object_size(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.settings.max_object_size = bytes.into();
        self
    }

    /// Limits the bytes of all bodies that are received at once. A response that would exceed the
    /// limit waits before its body is read, in order of arrival and within its `origin_timeout`; a
    /// body larger than the limit is received alone. Counted in whole KiB of the announced length.
    /// Zero is an error of [`build`](Self::build). Default: 1 GiB.
    pub fn max_in_flight_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_in_flight_bytes = bytes;
        self
    }

    /// Sets whether the store is probed before it is relied on: see
    /// [`probe_capabilities`](crate::probe_capabilities). The first read, the first list, the first
    /// put if absent and the first put at a version each wait for a probe of what they rely on:
    /// about 30 small requests under `object-cache-probe/`, each within the `origin_timeout`.
    /// Afterwards, reads from a store whose 304 responses cannot be trusted fail with `Config`, and
    /// so do lists that lag behind writes, and conditional puts if the store does not honor the
    /// condition. Default: false.
    ///
    /// # Permissions
    ///
    /// The credentials need put and get under `object-cache-probe/`, which readers do not need
    /// without `verify_store`. Without permission to delete, each validator that reads leaves one
    /// object of a few bytes, one that puts if absent leaves two, and one that puts at a version
    /// leaves one; a lifecycle rule can remove them.
    ///
    /// # Errors
    ///
    /// A failed probe fails the request that waited for it, with the key of the probe's object:
    /// `Config` names a missing permission; else `Unavailable`, `Timeout` or `Unauthenticated`. The
    /// error is repeated without a request for 1 s; after each further failure in a row for twice
    /// as long, up to 60 s. Then the next request probes again.
    pub fn verify_store(mut self, verify: bool) -> Self {
        self.settings.verify = verify;
        self
    }

    /// Sets whether validation also compares the metadata: date, version id and attributes
    /// (`Content-Type`, `Cache-Control`, user metadata). Where the ETag depends on the bytes alone,
    /// as on S3, a change of metadata keeps the ETag, and a 304 confirms the old metadata.
    ///
    /// With this setting, an entry is validated by an unconditional HEAD. If ETag and metadata are
    /// equal, it is not modified. If only the metadata differs, a new entry gets the bytes of the
    /// old one without a request. If the ETag differs, the object is fetched by an unconditional
    /// GET. Under any strength but [`ValidatorStrength::Strong`], a different date counts as a
    /// different ETag.
    ///
    /// An unchanged object costs one request without a body, as before; a changed object costs two
    /// requests, one after the other, instead of one. The store should support HEAD; otherwise the
    /// object is fetched each time. Default: false, because objects change more often than metadata
    /// alone.
    pub fn validate_metadata(mut self, validate: bool) -> Self {
        self.settings.validate_metadata = validate;
        self
    }

    /// Sets the clock that determines the age of an object when it is requested. Default:
    /// [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Builds the validator. Sends no request; for local disk it looks up the file system.
    ///
    /// # Errors
    ///
    /// `Config` if the timeout, the maximum object size, the bytes in flight or the grain of
    /// [`ValidatorStrength::Timestamp`] is zero.
    pub fn build(self) -> Result<EtagValidator> {
        let Self { store, clock, settings, strength } = self;
        if settings.origin_timeout.is_zero() {
            return Err(invalid("origin_timeout is zero, so every request would time out"));
        }
        if settings.max_object_size == Some(0) {
            return Err(invalid(
                "max_object_size is zero, so no object could be read; use None for no limit",
            ));
        }
        if settings.max_in_flight_bytes == 0 {
            return Err(invalid(
                "max_in_flight_bytes is zero, so no body could be read; use u64::MAX for no limit",
            ));
        }
        if strength == Some(ValidatorStrength::Timestamp(Duration::ZERO)) {
            return Err(invalid(
                "ValidatorStrength::Timestamp needs a grain above zero; use \
                    ValidatorStrength::Strong",
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

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::Config, message)
}

const TIMEOUT: Duration = Duration::from_secs(30);
const IN_FLIGHT_BYTES: u64 = 1 << 30;
