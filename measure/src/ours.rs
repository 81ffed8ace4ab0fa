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
use cache_policy::{Fifo, Lru, MemoryBackend, S3Fifo, Sieve};
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
    Subject { name: "sieve", build: |setting| ours(Sieve::new(), setting) },
    Subject { name: "s3-fifo", build: |setting| ours(S3Fifo::new(), setting) },
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
