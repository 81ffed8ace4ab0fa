//! The choice of an eviction policy.

use std::{fmt, sync::Arc};

use cache_core::{Backend, Error, ErrorKind, EvictionPolicy, Result};
#[cfg(feature = "moka")]
use cache_policy::MokaBackend;
use cache_policy::{Adaptive, Gdsf, Lru, MemoryBackend, Objective, S3Fifo, Sieve, Ttl, WTinyLfu};

/// The eviction policy of a cache in memory. Expired entries leave first, under every policy.
///
/// Keep the default unless a replay of your own requests (`cargo xtask simulate`) shows that
/// another policy is better.
///
/// Any [`EvictionPolicy`] converts into an `Eviction`;
/// [`Memory::eviction`](crate::Memory::eviction) takes it as it is. It need not handle expiry.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Eviction {
    /// Recency or density of uses, whichever has done better recently; see [`Adaptive`]. Considers
    /// the size of objects (see [`Memory::optimize_for`](crate::Memory::optimize_for)). The
    /// default.
    #[default]
    Adaptive,
    /// Least recently used; see [`Lru`].
    Lru,
    /// The next entry that was not used since the hand passed it; see [`Sieve`].
    Sieve,
    /// Entries that were not used again soon after they were inserted; see [`S3Fifo`].
    S3Fifo,
    /// Entries that were used less often than others recently; see [`WTinyLfu`].
    WTinyLfu,
    /// Entries with the fewest hits for their size; see [`Gdsf`].
    Gdsf,
    /// Window TinyLFU in a moka cache. Needs the feature `moka`.
    #[cfg(feature = "moka")]
    Moka,
    /// A custom [`EvictionPolicy`].
    Policy(Policy),
}

/// An [`EvictionPolicy`] of any type.
pub struct Policy(Box<dyn FnOnce(Limits) -> Result<Arc<dyn Backend>> + Send>);

/// The limits that were set for a backend in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) max_capacity: Option<u64>,
    pub(crate) max_entries: Option<u64>,
}

impl Eviction {
    /// Builds a backend in memory with this eviction.
    pub(crate) fn backend(
        self,
        limits: Limits,
        saving: Option<Objective>,
    ) -> Result<Arc<dyn Backend>> {
        if saving.is_some() && !matches!(self, Self::Adaptive | Self::Gdsf) {
            let message = "saving is set, but this eviction weighs no sizes; use \
                Eviction::Adaptive or Eviction::Gdsf";
            return Err(Error::new(ErrorKind::Config, message));
        }
        match self {
            Self::Adaptive => {
                backend(Adaptive::new().optimize_for(saving.unwrap_or_default()), limits)
            }
            Self::Lru => backend(Lru::new(), limits),
            Self::Sieve => backend(Sieve::new(), limits),
            Self::S3Fifo => backend(S3Fifo::new(), limits),
            Self::WTinyLfu => backend(WTinyLfu::new(), limits),
            Self::Gdsf => backend(Gdsf::new().optimize_for(saving.unwrap_or_default()), limits),
            #[cfg(feature = "moka")]
            Self::Moka => {
                let mut builder = MokaBackend::builder();
                if let Some(bytes) = limits.max_capacity {
                    builder = builder.max_capacity(bytes);
                }
                if let Some(entries) = limits.max_entries {
                    builder = builder.max_entries(entries);
                }
                Ok(Arc::new(builder.build()?))
            }
            Self::Policy(Policy(make)) => make(limits),
        }
    }
}

impl<P: EvictionPolicy> From<P> for Eviction {
    fn from(policy: P) -> Self {
        Self::Policy(Policy(Box::new(move |limits| backend(policy, limits))))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").finish_non_exhaustive()
    }
}

fn backend<P: EvictionPolicy>(policy: P, limits: Limits) -> Result<Arc<dyn Backend>> {
    let mut builder = MemoryBackend::builder(Ttl::new(policy));
    if let Some(bytes) = limits.max_capacity {
        builder = builder.max_capacity(bytes);
    }
    if let Some(entries) = limits.max_entries {
        builder = builder.max_entries(entries);
    }
    Ok(Arc::new(builder.build()?))
}
