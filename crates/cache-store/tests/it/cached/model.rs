//! Against a plain store, which is the model.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use cache_core::{Backend, Freshness};
use cache_store::CachedStore;
use cache_testkit::{BodyFault, Failure, Fault, FaultyStore, MapBackend, WaitingBackend};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, Result, memory::InMemory, path::Path,
};
use proptest::{prelude::*, test_runner::Config};

use super::HOUR;

/// What is done to one of two objects.
#[derive(Debug, Clone)]
enum Step {
    /// Past the cache, if it is strong.
    Put {
        len: u64,
        behind: bool,
    },
    Delete {
        behind: bool,
    },
    Get {
        range: Option<GetRange>,
        condition: Condition,
        head: bool,
    },
    Ranges(Vec<Range<u64>>),
    Clear,
}

/// By the tag of the `n`th put.
#[derive(Debug, Clone)]
enum Condition {
    None,
    Match(u64),
    MatchAny,
    NoneMatch(u64),
}

#[derive(Debug, Clone)]
struct Setup {
    block_size: u64,
    gap: u64,
    max_object_size: u64,
    chunk: usize,
    is_strong: bool,
    spoiled: Option<u8>,
}

fn setup() -> impl Strategy<Value = Setup> {
    let spoiled = prop_oneof![Just(None), (0..128_u8).prop_map(Some)];
    (1..30_u64, 0..20_u64, 50..200_u64, 1..40_usize, any::<bool>(), spoiled).prop_map(
        |(block_size, gap, max_object_size, chunk, is_strong, spoiled)| Setup {
            block_size,
            gap,
            max_object_size,
            chunk,
            is_strong,
            spoiled,
        },
    )
}

fn range() -> impl Strategy<Value = Range<u64>> {
    (0..120_u64, 0..60_u64).prop_map(|(start, len)| start..start + len)
}

fn step() -> impl Strategy<Value = Step> {
    let get_range = prop_oneof![
        2 => Just(None),
        6 => range().prop_map(|range| Some(GetRange::Bounded(range))),
        1 => (0..120_u64).prop_map(|offset| Some(GetRange::Offset(offset))),
        1 => (0..120_u64).prop_map(|len| Some(GetRange::Suffix(len))),
    ];
    let condition = prop_oneof![
        10 => Just(Condition::None),
        2 => (0..8_u64).prop_map(Condition::Match),
        1 => Just(Condition::MatchAny),
        1 => (0..8_u64).prop_map(Condition::NoneMatch),
    ];
    prop_oneof![
        3 => (0..110_u64, any::<bool>()).prop_map(|(len, behind)| Step::Put { len, behind }),
        1 => any::<bool>().prop_map(|behind| Step::Delete { behind }),
        8 => (get_range, condition, prop::bool::weighted(0.1))
            .prop_map(|(range, condition, head)| Step::Get { range, condition, head }),
        3 => prop::collection::vec(range(), 0..6).prop_map(Step::Ranges),
        1 => Just(Step::Clear),
    ]
}

/// What can be seen of an answer.
#[derive(Debug, PartialEq)]
struct Seen {
    size: u64,
    e_tag: Option<String>,
    range: Range<u64>,
    body: Option<Bytes>,
}

async fn get(store: &dyn ObjectStore, path: &Path, options: GetOptions) -> Result<Seen, Failure> {
    let has_body = !options.head;
    let answer = store.get_opts(path, options).await.map_err(|error| Failure::of(&error))?;
    Ok(Seen {
        size: answer.meta.size,
        e_tag: answer.meta.e_tag.clone(),
        range: answer.range.clone(),
        // The store in memory gives it with a head, too.
        body: if has_body { Some(answer.bytes().await.unwrap()) } else { None },
    })
}

/// The number of the version in every 16 bytes.
fn body(version: u64, len: u64) -> Bytes {
    let stamp = u128::from(version).to_le_bytes();
    stamp.into_iter().cycle().take(usize::try_from(len).unwrap()).collect()
}

async fn play(setup: Setup, steps: Vec<(bool, Step)>) {
    let model = InMemory::new();
    let store = FaultyStore::in_memory();
    store.fault(Fault::body(BodyFault::Chunked(setup.chunk)));
    let backend: Arc<dyn Backend> = match setup.spoiled {
        None => Arc::new(MapBackend::new()),
        Some(spoiled) => {
            Arc::new(WaitingBackend::new(MapBackend::new(), spoiled, u64::from(spoiled)))
        }
    };
    let freshness = if setup.is_strong { Freshness::strong() } else { Freshness::max_age(HOUR) };
    let cached = CachedStore::builder(Arc::new(store.clone()), backend)
        .freshness(freshness)
        .block_size(setup.block_size)
        .coalesce_gap(setup.gap)
        .max_object_size(setup.max_object_size)
        .build()
        .unwrap();
    let inner = store.inner();
    let mut n_puts = 0;
    for (first, step) in steps {
        let path = Path::from(if first { "a" } else { "b/c" });
        match step {
            Step::Put { len, behind } => {
                let body = body(n_puts, len);
                n_puts += 1;
                model.put(&path, body.clone().into()).await.unwrap();
                if behind && setup.is_strong {
                    inner.put(&path, body.into()).await.unwrap();
                } else {
                    cached.put(&path, body.into()).await.unwrap();
                }
            }
            Step::Delete { behind } => {
                let expected = model.delete(&path).await.is_ok();
                let deleted = if behind && setup.is_strong {
                    inner.delete(&path).await
                } else {
                    cached.delete(&path).await
                };
                assert_eq!(deleted.is_ok(), expected);
            }
            Step::Get { range, condition, head } => {
                let mut options = GetOptions { range, head, ..GetOptions::new() };
                match condition {
                    Condition::None => {}
                    Condition::Match(n) => options.if_match = Some(format!("\"{n}\"")),
                    Condition::MatchAny => options.if_match = Some("*".into()),
                    Condition::NoneMatch(n) => options.if_none_match = Some(format!("\"{n}\"")),
                }
                let expected = get(&model, &path, options.clone()).await;
                assert_eq!(get(&cached, &path, options.clone()).await, expected, "{options:?}");
            }
            Step::Ranges(ranges) => {
                let kind = |error| Failure::of(&error);
                let expected = model.get_ranges(&path, &ranges).await.map_err(kind);
                let read = cached.get_ranges(&path, &ranges).await.map_err(kind);
                assert_eq!(read, expected, "{ranges:?}");
            }
            Step::Clear => {
                // A spoiled backend may fail to free its memory.
                let _ = cached.clear().await;
            }
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    #[test]
    fn every_answer_is_that_of_the_store(
        setup in setup(),
        steps in prop::collection::vec((prop::bool::weighted(0.8), step()), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(play(setup, steps));
    }
}

/// The one version that all of these bytes are of, which begin at `start`.
fn version_of(bytes: &[u8], start: u64) -> u64 {
    let at = usize::try_from((16 - start % 16) % 16).unwrap();
    let stamp = u128::from_le_bytes(bytes[at..at + 16].try_into().unwrap());
    let version = u64::try_from(stamp).unwrap();
    let expected = body(version, start + bytes.len() as u64);
    assert_eq!(bytes, &expected[usize::try_from(start).unwrap()..], "torn");
    version
}

/// One that writes all the time, past the cache, and several that read.
async fn race(freshness: Freshness, block_size: u64) {
    const LEN: u64 = 400;
    const WRITES: u64 = 300;
    let store = FaultyStore::in_memory();
    store.fault(Fault::body(BodyFault::Chunked(33)));
    let path = Path::from("a");
    store.inner().put(&path, body(0, LEN).into()).await.unwrap();
    let cached = CachedStore::builder(Arc::new(store.clone()), Arc::new(MapBackend::new()))
        .freshness(freshness)
        .block_size(block_size)
        .coalesce_gap(10)
        .build()
        .unwrap();
    let written = Arc::new(AtomicU64::new(0));
    let writer = tokio::spawn({
        let (written, path) = (Arc::clone(&written), path.clone());
        async move {
            for version in 1..=WRITES {
                let len = LEN - version % 7 * 16;
                store.inner().put(&path, body(version, len).into()).await.unwrap();
                written.store(version, Ordering::SeqCst);
                for _ in 0..version % 5 {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    let readers: Vec<_> = (0..6_u64)
        .map(|reader| {
            let (cached, written, path) = (cached.clone(), Arc::clone(&written), path.clone());
            tokio::spawn(async move {
                let (mut last, mut n) = (0, reader);
                while last < WRITES {
                    n += 1;
                    // What is fresh is read without waiting for anything.
                    tokio::task::yield_now().await;
                    if !freshness.is_strong() && n % 20 == 0 {
                        cached.invalidate(&path).await.unwrap();
                    }
                    let at_least = written.load(Ordering::SeqCst).max(last);
                    let (start, end) = (n * 37 % 150, 190 + n * 53 % 80);
                    let seen = if n % 3 == 0 {
                        let ranges = [end..end + 31, start..end];
                        match cached.get_ranges(&path, &ranges).await {
                            Ok(parts) => {
                                let seen = version_of(&parts[1], start);
                                assert_eq!(version_of(&parts[0], end), seen, "torn");
                                seen
                            }
                            Err(object_store::Error::Precondition { .. }) => continue,
                            Err(error) => panic!("{error}"),
                        }
                    } else {
                        let options = GetOptions::new().with_range(Some(start..end));
                        let answer = cached.get_opts(&path, options).await.unwrap();
                        let tag = answer.meta.e_tag.clone();
                        match answer.bytes().await {
                            Ok(bytes) => {
                                let seen = version_of(&bytes, start);
                                assert_eq!(tag, Some(format!("\"{seen}\"")));
                                seen
                            }
                            Err(object_store::Error::Precondition { .. }) => continue,
                            Err(error) => panic!("{error}"),
                        }
                    };
                    let at_least = if freshness.is_strong() { at_least } else { last };
                    assert!(seen >= at_least, "{seen} was read, {at_least} was there before");
                    last = seen;
                    if !freshness.is_strong() && written.load(Ordering::SeqCst) == WRITES {
                        break;
                    }
                }
            })
        })
        .collect();
    writer.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_is_torn_and_none_is_old_while_another_writes() {
    for block_size in [24, 100, 1000] {
        race(Freshness::strong(), block_size).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_is_torn_under_a_head_that_may_be_old() {
    for block_size in [24, 100, 1000] {
        race(Freshness::max_age(HOUR), block_size).await;
    }
}
