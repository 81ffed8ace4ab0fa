//! The caches under test, and ours among them.
//!
//! A policy of ours runs in a real [`MemoryBackend`], with as many shards as its builder chooses, as a user gets it:
//! each request is a `peek`, and an `insert` if that said no. By entries, `max_entries` is the capacity and bodies
//! are empty. By bytes, `max_capacity` is, and each entry has a body of such a length that the entry, its key and
//! bookkeeping included, weighs what the object's size is; only objects smaller than an empty entry weigh more than
//! that. So bodies are really held: a capacity over 4 GiB is refused. The clock moves by a millisecond a request,
//! and nothing expires.
//!
//! A copy weighs what the request says that fetched it. A later request for the object is a hit whatever size it
//! gives: a trace does not say when an object changed.

use std::fmt::Write as _;

use bytes::Bytes;
use cache_core::{Backend, Entry, EvictionPolicy, Key, Moment};
use cache_policy::{Fifo, Gdsf, Lfu, Lru, MemoryBackend, S3Fifo, Sieve, WTinyLfu};
use futures_util::FutureExt;

use crate::{
    Result,
    setting::{Setting, Unit},
    trace::Request,
};

/// A cache under test.
pub trait Cache {
    /// Asks for the object and, if it is not held, puts it in. Whether it was held.
    fn request(&mut self, request: Request) -> bool;
}

/// A kind of cache under test.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// As in `--policy`, in tables and charts.
    pub name: &'static str,
    /// An empty one.
    pub build: fn(Setting) -> Result<Box<dyn Cache>>,
}

/// The policies of this project.
pub const OURS: &[Subject] = &[
    Subject { name: "lru", build: |setting| ours(Lru::new(), setting) },
    Subject { name: "fifo", build: |setting| ours(Fifo::new(), setting) },
    Subject { name: "lfu", build: |setting| ours(Lfu::new(), setting) },
    Subject { name: "sieve", build: |setting| ours(Sieve::new(), setting) },
    Subject { name: "s3-fifo", build: |setting| ours(S3Fifo::new(), setting) },
    Subject { name: "w-tiny-lfu", build: |setting| ours(WTinyLfu::new(), setting) },
    Subject { name: "gdsf", build: |setting| ours(Gdsf::new(), setting) },
    Subject { name: "gdsf-bytes", build: |setting| ours(Gdsf::saving_bytes(), setting) },
];

fn ours<P: EvictionPolicy>(policy: P, setting: Setting) -> Result<Box<dyn Cache>> {
    let builder = MemoryBackend::builder(policy);
    let builder = match setting.unit {
        Unit::Entries => builder.max_capacity(u64::MAX).max_entries(setting.capacity),
        Unit::Bytes if setting.capacity > BODIES_BYTES_MAX => {
            let gib = setting.capacity >> 30;
            return Err(format!(
                "a capacity of {gib} GiB: bodies are really held, up to 4 GiB; \
                use --by entries, or a smaller --capacity"
            )
            .into());
        }
        Unit::Bytes => builder.max_capacity(setting.capacity),
    };
    Ok(Box::new(Ours { backend: builder.build()?, setting, key: String::new(), n_requests: 0 }))
}

struct Ours<P> {
    backend: MemoryBackend<P>,
    setting: Setting,
    /// Of the request; a field for its allocation.
    key: String,
    n_requests: u64,
}

impl<P: EvictionPolicy> Cache for Ours<P> {
    fn request(&mut self, Request { object, size }: Request) -> bool {
        self.n_requests += 1;
        self.key.clear();
        // All keys are of one length, so that objects of one size weigh the same.
        write!(self.key, "{object:08x}").expect("a string can be written to");
        if self.backend.peek(&self.key).is_some() {
            return true;
        }
        let now = Moment::from_nanos(self.n_requests * NANOS_PER_REQUEST);
        let admission = self.backend.insert(self.entry(size, now)).now_or_never();
        let _ = admission.expect("a memory backend answers at once").expect("it has no errors");
        false
    }
}

impl<P> Ours<P> {
    fn entry(&self, size: u64, now: Moment) -> Entry {
        let key = Key::parse(&self.key).expect("made of hexadecimal digits");
        let with_body = |len| Entry::builder(&key, Bytes::from(vec![0; len])).vouched(now, None).build();
        let empty = with_body(0);
        // What is larger than the capacity is refused, however much.
        let len = match self.setting.unit {
            Unit::Entries => 0,
            Unit::Bytes => size.saturating_sub(empty.weight()).min(self.setting.capacity),
        };
        if len == 0 { empty } else { with_body(usize::try_from(len).expect("at most 4 GiB")) }
    }
}

const NANOS_PER_REQUEST: u64 = 1_000_000;
const BODIES_BYTES_MAX: u64 = 4 << 30;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// LRU as one would write it down.
    fn lru(requests: &[Request], unit: Unit, capacity: u64) -> Vec<bool> {
        let mut held: Vec<(u32, u64)> = Vec::new();
        let mut request = |Request { object, size }: &Request| {
            if let Some(at) = held.iter().position(|(held, _)| held == object) {
                let used = held.remove(at);
                held.push(used);
                return true;
            }
            if unit.weight(*size) <= capacity {
                held.push((*object, unit.weight(*size)));
            }
            while held.iter().map(|(_, weight)| weight).sum::<u64>() > capacity {
                held.remove(0);
            }
            false
        };
        requests.iter().map(&mut request).collect()
    }

    fn replayed(name: &str, requests: &[Request], unit: Unit, capacity: u64) -> Vec<bool> {
        let subject = OURS.iter().find(|subject| subject.name == name).unwrap();
        let mut cache = (subject.build)(Setting { unit, capacity, expected_entries: 1 }).unwrap();
        requests.iter().map(|request| cache.request(*request)).collect()
    }

    fn requests() -> impl Strategy<Value = Vec<Request>> {
        // Larger than an empty entry, so that a size is a weight.
        vec((0_u32..12, 1_000_u64..5_000).prop_map(|(object, size)| Request { object, size }), 1..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_capacity_in_entries_is_exact(requests in requests(), capacity in 1_u64..12) {
            let expected = lru(&requests, Unit::Entries, capacity);
            prop_assert_eq!(replayed("lru", &requests, Unit::Entries, capacity), expected);
        }

        #[test]
        fn a_capacity_in_bytes_is_exact(requests in requests(), capacity in 1_u64..30_000) {
            let expected = lru(&requests, Unit::Bytes, capacity);
            prop_assert_eq!(replayed("lru", &requests, Unit::Bytes, capacity), expected);
        }

        #[test]
        fn no_policy_beats_the_optimum(requests in requests(), capacity in 1_u64..12) {
            let mut builder = crate::trace::TraceBuilder::new("t");
            for Request { object, size } in &requests {
                prop_assert!(builder.push(&object.to_le_bytes(), *size));
            }
            let setting = Setting { unit: Unit::Entries, capacity, expected_entries: 1 };
            let most = crate::optimum::replay(&builder.build(), setting).hits;
            for subject in OURS {
                let hits = replayed(subject.name, &requests, Unit::Entries, capacity);
                let hits = hits.into_iter().filter(|&is_hit| is_hit).count() as u64;
                prop_assert!(hits <= most, "{}: {hits} of {most}", subject.name);
            }
        }
    }

    #[test]
    fn a_capacity_whose_bodies_would_not_fit_into_memory_is_refused() {
        let setting = Setting { unit: Unit::Bytes, capacity: 5 << 30, expected_entries: 1 };
        let error = (OURS[0].build)(setting).err().unwrap().to_string();
        assert!(error.contains("5 GiB"), "{error}");
    }
}
