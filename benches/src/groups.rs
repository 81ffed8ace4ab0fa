//! The cases of the groups that are timed. The target `caches` names and runs them.

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{Entry, Evaluation, Freshness, Moment};
use tokio::runtime::Builder;

use crate::{
    Case, CpuTime, Run, Subject,
    subjects::{
        bursts, documents,
        hits::Hits,
        inserts::Inserts,
        misses::Misses,
        mix::Mix,
        objects::{Objects, runtime},
        ranges::{Object, WARM},
        stores::Store,
        tables,
    },
    workload::parsed,
};

/// Cases, each made when it is its turn: some hold much memory.
pub type Cases = Box<dyn Iterator<Item = Case>>;

/// Look-ups of keys that are all cached, on one thread and on several.
pub fn hits() -> Cases {
    let sizes = [("1k keys", 1_000, (40_000, 60)), ("100k keys", 100_000, (160_000, 30))];
    Box::new(sizes.into_iter().flat_map(|(size, n_keys, ops)| {
        let work = Hits::new(n_keys);
        [1, 2, 8].map(|threads| {
            let mut subjects = tables::all(&work);
            subjects.extend([tables::locked_map(&work), work.floor()]);
            let name = format!("{size}, {}", threads_of(threads));
            Case::new(name, "quick_cache", ops, subjects).threads(threads)
        })
    }))
}

/// The cache's part of a miss: new keys into a full cache, under each policy.
pub fn inserts() -> Cases {
    let sizes = [("1k entries", 1_000), ("100k entries", 100_000)];
    Box::new(sizes.into_iter().map(|(size, capacity)| {
        let subjects = tables::all_policies(&Inserts::new(capacity));
        Case::new(size, "quick_cache", (20_000, 30), subjects)
    }))
}

/// Hits and misses together: reads through a cache with room for a tenth of the keys.
pub fn mix() -> Cases {
    one(|| {
        let subjects = tables::all_policies(&Mix::new(100_000, 10_000));
        Case::new("100k keys, room for 10k", "quick_cache", (100_000, 15), subjects)
    })
}

/// The cost of freshness: reads through the whole cache that need no request, over look-ups of
/// peers that do not know whether their entries are fresh.
pub fn fresh() -> Cases {
    let sizes = [("1k keys", 1_000), ("100k keys", 100_000)];
    Box::new([1, 2].into_iter().flat_map(move |threads| {
        sizes.map(|(size, n_keys)| {
            let work = Hits::new(n_keys);
            let mut subjects = vec![Objects::new(&work, Store::in_memory()).fresh()];
            subjects.extend(tables::peers(&work));
            let name = format!("{size}, {}", threads_of(threads));
            Case::new(name, "quick_cache", (80_000, 40), subjects).threads(threads)
        })
    }))
}

/// The cache's part of a validated hit, over the conditional GET with its path and ETag at hand. No
/// peer validates.
pub fn validated() -> Cases {
    Box::new(Store::all().into_iter().map(|store| {
        let ops = if store.name == "memory" { 20_000 } else { 1_000 };
        let (name, cpu) = (store.name, store.cpu);
        let objects = Objects::new(&Hits::new(1_000), store);
        let subjects = vec![objects.validated(), objects.conditional_get()];
        Case::new(name, "bare", (ops, 30), subjects).cpu(cpu)
    }))
}

/// The cost of a miss above the GET that it makes. Peers read through where they can:
/// `get_or_insert_async`, `try_get_with`, `get_or_fetch`.
pub fn misses() -> Cases {
    let sizes = [("1 KiB", 1 << 10, 1_000, 2_000), ("1 MiB", 1 << 20, 32, 64)];
    Box::new(sizes.into_iter().flat_map(|(size, body_bytes, n_keys, ops)| {
        Store::all().map(|store| {
            let (name, cpu) = (format!("{size}, {}", store.name), store.cpu);
            let subjects = Misses::new(n_keys, body_bytes, store).subjects();
            Case::new(name, "bare", (ops, 20), subjects).cpu(cpu)
        })
    }))
}

/// Ranges through the drop-in store: warm, against a slice of the whole object that moka and foyer
/// cache without a version; and cold, against the store without a cache.
pub fn ranges() -> Cases {
    let warm = WARM.iter().map(|(name, object, ops)| {
        Case::new(format!("warm, {name}"), "moka", (*ops, 30), object.warm())
    });
    let cold = [("4 KiB", 4 << 10, 1_000), ("8 MiB", 8 << 20, 2), ("64 MiB", 64 << 20, 1)];
    let cold = cold.into_iter().map(|(name, len, ops)| {
        Case::new(format!("cold stream of {name}"), "bare", (ops, 20), Object::whole(len).cold())
    });
    Box::new(warm.chain(cold))
}

/// A thousand readers of one key at once. CPU time of a burst, with its tasks; the origin responds
/// when all readers wait, so that its time is not included.
pub fn burst() -> Cases {
    let several = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let several = several.expect("a runtime can be built");
    let runtimes = [(1, runtime(), CpuTime::Thread), (2, several, CpuTime::Process)];
    Box::new(runtimes.into_iter().map(|(threads, runtime, cpu)| {
        let name = format!("{} readers, {}", bursts::READERS, threads_of(threads));
        // The threads are the runtime's; the calling thread only waits.
        Case::new(name, "quick_cache", (4, 60), bursts::subjects(&Arc::new(runtime))).cpu(cpu)
    }))
}

/// The saving of `get_decoded`: a JSON document of 4 KiB, parsed once for its version, over one
/// that is parsed at each read.
pub fn decoded() -> Cases {
    one(|| Case::new("JSON of 4 KiB", "ours:parse", (2_000, 20), documents::subjects()))
}

/// The cost of a hit by the number of entries.
pub fn scaling() -> Cases {
    let sizes = [("10^3", 1_000), ("10^4", 10_000), ("10^5", 100_000), ("10^6", 1_000_000)];
    Box::new(sizes.into_iter().map(|(size, n_keys)| {
        let work = Hits::new(n_keys);
        let mut subjects = tables::all(&work);
        subjects.push(work.floor());
        Case::new(format!("{size} entries"), "quick_cache", (200_000, 10), subjects)
    }))
}

/// The pure part of a hit: is this entry fresh? For an entry that was never validated, so that the
/// first comparison decides.
pub fn judge_freshness() -> Cases {
    let second = Duration::from_secs(1);
    let rules = [("strong", Freshness::strong()), ("max_age", Freshness::max_age(second))];
    let subject = |(name, freshness): (&str, Freshness)| {
        Subject::new(name, move || {
            let body = Bytes::from_static(b"{}");
            let entry = Entry::builder(&parsed("config.json"), body).e_tag("\"1\"").build();
            let now = Moment::from_nanos(1);
            Run::new(move |_, ops| {
                for _ in 0..ops {
                    let verdict = black_box(&freshness).evaluate(black_box(&entry), black_box(now));
                    assert_eq!(verdict, Evaluation::MustRevalidate);
                }
            })
        })
    };
    let subjects = rules.map(subject).into();
    one(|| Case::new("an entry never validated", "strong", (100_000, 20), subjects))
}

fn one(case: impl FnOnce() -> Case + 'static) -> Cases {
    Box::new(std::iter::once_with(case))
}

fn threads_of(n: usize) -> String {
    if n == 1 { "1 thread".to_owned() } else { format!("{n} threads") }
}
