//! Who leaves when the cache is full.

use std::{fmt, sync::Arc};

use cache_core::{Backend, EvictionPolicy, Result};
#[cfg(feature = "moka")]
use cache_policy::MokaBackend;
use cache_policy::{Lru, MemoryBackend, Ttl};

/// Who leaves when the cache is full. What has expired leaves first, under every policy.
///
/// Any [`EvictionPolicy`] makes one, by `from` or by giving it to
/// [`ObjectCacheBuilder::eviction`](crate::ObjectCacheBuilder::eviction) as it is; it need not know of expiry.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Eviction {
    /// The copy whose last use is the longest ago. The default.
    #[default]
    Lru,
    /// Window TinyLFU, which keeps what is asked for often: the copies live in a moka cache. Needs the feature `moka`.
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
    pub(crate) fn backend(self, limits: Limits) -> Result<Arc<dyn Backend>> {
        match self {
            Self::Lru => backend(Lru::new(), limits),
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
