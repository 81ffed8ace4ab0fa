//! Who leaves when the cache is full.

use std::{fmt, sync::Arc};

use cache_core::{Backend, Error, ErrorKind, EvictionPolicy, Result};
#[cfg(feature = "moka")]
use cache_policy::MokaBackend;
use cache_policy::{Adaptive, Gdsf, Lru, MemoryBackend, Objective, S3Fifo, Sieve, Ttl, WTinyLfu};

/// Who leaves when the cache is full. What has expired leaves first, under every policy.
///
/// Where nothing is known of the requests, keep the default. The others are for those who have
/// measured, with `cargo xtask simulate`, that one of them is better for theirs.
///
/// Any [`EvictionPolicy`] makes one, by `from` or by giving it to
/// [`ObjectCacheBuilder::eviction`](crate::ObjectCacheBuilder::eviction) as it is; it need not know
/// of expiry.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Eviction {
    /// By recency or by density of uses, whichever did better of late; see [`Adaptive`]. Weighs
    /// objects by their size (see
    /// [`ObjectCacheBuilder::saving`](crate::ObjectCacheBuilder::saving)). The default.
    #[default]
    Adaptive,
    /// The copy whose last use is the longest ago; see [`Lru`].
    Lru,
    /// The next copy that was not used since a hand passed it; see [`Sieve`].
    Sieve,
    /// What was not used again soon after it came; see [`S3Fifo`].
    S3Fifo,
    /// What is asked for less often than others of late; see [`WTinyLfu`].
    WTinyLfu,
    /// What brings the fewest hits for its size; see [`Gdsf`].
    Gdsf,
    /// Window TinyLFU, which keeps what is asked for often: the copies live in a moka cache. Needs
    /// the feature `moka`.
    #[cfg(feature = "moka")]
    Moka,
    /// As an [`EvictionPolicy`] says.
    Policy(Policy),
}

/// An [`EvictionPolicy`] of any type.
pub struct Policy(Box<dyn FnOnce(Limits) -> Result<Arc<dyn Backend>> + Send>);

/// How much a backend in memory may hold, where that was said.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) max_capacity: Option<u64>,
    pub(crate) max_entries: Option<u64>,
}

impl Eviction {
    /// A backend in memory, with this eviction.
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
