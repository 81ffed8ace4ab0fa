//! The backends under test, and helpers to call them.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{Admission, Backend, Entry, EvictionPolicy, Key, Moment, Usage};
use cache_policy::{Adaptive, Lru, MemoryBackend, Ttl};
pub(crate) use cache_testkit::conformance::policy::Slots;

pub(crate) fn at(nanos: u64) -> Moment {
    Moment::from_nanos(nanos)
}

/// One backend under test.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// Whether `sweep` finds what has expired.
    pub(crate) sweeps: bool,
    /// Whether every entry that fits is stored.
    pub(crate) admits_all: bool,
    /// From the most bytes and the most entries.
    pub(crate) build: fn(u64, Option<u64>) -> Arc<dyn Backend>,
}

pub(crate) const SUBJECTS: &[Subject] = &[
    Subject {
        name: "Lru, 1 shard",
        sweeps: false,
        admits_all: true,
        build: |capacity, entries| memory(Lru::new(), 1, capacity, entries),
    },
    Subject {
        name: "Lru, 8 shards",
        sweeps: false,
        admits_all: true,
        build: |capacity, entries| memory(Lru::new(), 8, capacity, entries),
    },
    Subject {
        name: "Ttl<Lru>, 1 shard",
        sweeps: true,
        admits_all: true,
        build: |capacity, entries| memory(Ttl::new(Lru::new()), 1, capacity, entries),
    },
    Subject {
        name: "Ttl<Lru>, 8 shards",
        sweeps: true,
        admits_all: true,
        build: |capacity, entries| memory(Ttl::new(Lru::new()), 8, capacity, entries),
    },
    Subject {
        name: "Ttl<Adaptive>, 1 shard",
        sweeps: true,
        admits_all: false,
        build: |capacity, entries| memory(Ttl::new(Adaptive::new()), 1, capacity, entries),
    },
    #[cfg(feature = "moka")]
    Subject {
        name: "moka",
        sweeps: true,
        admits_all: false,
        build: |capacity, entries| {
            let mut builder = cache_policy::MokaBackend::builder().max_capacity(capacity);
            if let Some(entries) = entries {
                builder = builder.max_entries(entries);
            }
            Arc::new(builder.build().expect("the settings are good"))
        },
    },
];

pub(crate) fn memory<P: EvictionPolicy>(
    policy: P,
    shards: u64,
    capacity: u64,
    entries: Option<u64>,
) -> Arc<dyn Backend> {
    let mut builder = MemoryBackend::builder(policy).shards(shards).max_capacity(capacity);
    if let Some(entries) = entries {
        builder = builder.max_entries(entries);
    }
    Arc::new(builder.build().expect("the settings are good"))
}

/// What `future` returns. Memory backends never wait: at most they let others run, and have asked
/// to be polled again.
#[track_caller]
pub(crate) fn done<T>(future: impl Future<Output = T>) -> T {
    polled(future).0
}

/// What `future` returns, and how often it let others run.
#[track_caller]
pub(crate) fn polled<T>(future: impl Future<Output = T>) -> (T, usize) {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(future);
    for n in 0.. {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return (value, n),
            Poll::Pending => {
                assert!(woken.0.swap(false, Ordering::Relaxed), "a memory backend waits");
            }
        }
    }
    unreachable!()
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
pub(crate) fn insert(backend: &dyn Backend, entry: &Entry) -> Admission {
    done(backend.insert(entry.clone())).expect("memory does not fail")
}

/// Inserts what there is room for.
#[track_caller]
pub(crate) fn hold(backend: &dyn Backend, entry: &Entry) {
    assert_eq!(insert(backend, entry), Admission::Stored);
}

#[track_caller]
pub(crate) fn remove(backend: &dyn Backend, key: &str) -> bool {
    done(backend.remove(key)).expect("memory does not fail")
}

/// An entry that does not expire.
pub(crate) fn entry(key: &str, size: usize) -> Entry {
    entry_with(key, vec![0; size].into(), at(0), None)
}

/// An entry validated at `validated_at` that lives for `span` nanoseconds.
pub(crate) fn expiring(key: &str, size: usize, validated_at: u64, span: u64) -> Entry {
    entry_with(key, vec![0; size].into(), at(validated_at), Some(Duration::from_nanos(span)))
}

pub(crate) fn entry_with(
    key: &str,
    body: Bytes,
    validated_at: Moment,
    time_to_live: Option<Duration>,
) -> Entry {
    Entry::builder(&Key::parse(key).expect("a key"), body)
        .e_tag("\"1\"")
        .validated(validated_at, time_to_live)
        .keep_buffer()
        .build()
}

/// Checks that the backend counts as held exactly what it shows of `keys`, which are all that it
/// was given. The number of entries.
#[track_caller]
pub(crate) fn recount<'a>(backend: &dyn Backend, keys: impl IntoIterator<Item = &'a str>) -> u64 {
    let (mut entries, mut bytes) = (0, 0);
    for held in keys.into_iter().filter_map(|key| backend.get_now(key)) {
        entries += 1;
        bytes += held.weight();
    }
    let usage = backend.usage();
    assert_eq!((usage.entries, usage.bytes), (entries, bytes), "counted against shown");
    assert!(usage.bytes <= usage.capacity_bytes.unwrap_or(u64::MAX), "{usage:?}");
    entries
}

/// The running totals: evicted, expired, refused.
pub(crate) fn totals(backend: &dyn Backend) -> (u64, u64, u64) {
    let Usage { evicted, expired, rejected: refused, .. } = backend.usage();
    (evicted, expired, refused)
}

/// A body that, when freed, looks whether another thread can look something up in `backend`
/// meanwhile; and what it saw.
pub(crate) fn looking(backend: &Arc<dyn Backend>) -> (Bytes, mpsc::Receiver<bool>) {
    let (seen, saw) = mpsc::channel();
    (Bytes::from_owner(Looks { backend: Arc::downgrade(backend), seen }), saw)
}

struct Looks {
    backend: Weak<dyn Backend>,
    seen: mpsc::Sender<bool>,
}

impl AsRef<[u8]> for Looks {
    fn as_ref(&self) -> &[u8] {
        b"body"
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        let Some(backend) = self.backend.upgrade() else { return };
        let (sender, looked) = mpsc::channel();
        std::thread::spawn(move || {
            backend.get_now("other");
            sender.send(()).ok();
        });
        // The wait ends by itself only when the test fails.
        self.seen.send(looked.recv_timeout(Duration::from_secs(10)).is_ok()).ok();
    }
}
