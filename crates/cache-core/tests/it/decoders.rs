//! Decoders that read through the cache, and values that panic when they are dropped.

use std::{
    error::Error as _,
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
};

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Freshness, Result};
use cache_policy::{Lru, MemoryBackend, MokaBackend};
use cache_testkit::{OriginFault, TagFault};

use crate::support::{FOREVER, KEY, Rig, STRONG, poll_once};

/// What a get decodes, polled once from inside a decoder, which cannot wait.
fn decode_now<T: Send + Sync + 'static>(
    rig: &Rig,
    key: &str,
    freshness: Freshness,
    decode: impl FnOnce(&Bytes) -> Result<T>,
) -> Result<Arc<T>> {
    let read = async {
        let served = rig.cache.get(key, Some(&freshness)).await?;
        served.entry.decoded(decode).await
    };
    match poll_once(std::pin::pin!(read)) {
        Poll::Ready(decoded) => decoded,
        Poll::Pending => panic!("it waits for itself"),
    }
}

fn length(body: &Bytes) -> Result<usize> {
    Ok(body.len())
}

/// Holds `a` and `b`.
async fn rig() -> Rig {
    let rig = Rig::new();
    for key in ["a", "b"] {
        rig.origin.inner().write(key, "12345");
        rig.cache.get(key, Some(&FOREVER)).await.unwrap();
    }
    rig
}

#[tokio::test]
async fn a_decoder_that_asks_for_its_own_value_gets_an_error() {
    let rig = rig().await;
    for freshness in [FOREVER, STRONG] {
        let inner = |_: &Bytes| {
            let error = decode_now(&rig, "a", freshness, length).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert!(error.source().is_none(), "{error:?}");
            Err::<usize, _>(error)
        };
        let error = decode_now(&rig, "a", FOREVER, inner).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
    }
    // It may be made all the same, by another decoder.
    assert_eq!(*decode_now(&rig, "a", FOREVER, length).unwrap(), 5);
}

#[tokio::test]
async fn a_decoder_that_asks_for_its_own_value_by_way_of_another_gets_an_error() {
    let rig = rig().await;
    let of_b = |_: &Bytes| decode_now(&rig, "a", FOREVER, length).map(|length| *length);
    let of_a = |_: &Bytes| decode_now(&rig, "b", FOREVER, of_b).map(|length| *length);
    assert_eq!(decode_now(&rig, "a", FOREVER, of_a).unwrap_err().kind(), ErrorKind::Decode);
}

/// Another type of the same object, the same type of another one, and what has been made are no
/// circle.
#[tokio::test]
async fn a_decoder_may_ask_for_other_values() {
    let rig = rig().await;
    decode_now(&rig, "b", FOREVER, length).unwrap();
    let text = |body: &Bytes| {
        let own_length = *decode_now(&rig, "a", FOREVER, length)?;
        let other_length =
            *decode_now(&rig, "b", FOREVER, |_| -> Result<usize> { unreachable!() })?;
        Ok(format!("{body:?} {own_length} {other_length}"))
    };
    assert_eq!(*decode_now(&rig, "a", FOREVER, text).unwrap(), "b\"12345\" 5 5");
    // A decoder that has ended, or panicked, is not running.
    let again = decode_now(&rig, "a", FOREVER, |_| -> Result<u8> {
        catch_unwind(AssertUnwindSafe(|| {
            let _ = decode_now::<u64>(&rig, "b", FOREVER, |_| panic!("in a decoder"));
        }))
        .unwrap_err();
        decode_now(&rig, "b", FOREVER, |_| Ok(7_u64)).map(|number| u8::try_from(*number).unwrap())
    });
    assert_eq!(*again.unwrap(), 7);
}

/// Nothing is kept, so each read has another entry: without an end it would overflow the stack.
#[tokio::test]
async fn a_decoder_of_what_is_not_kept_does_not_call_itself_for_ever() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "1");
    rig.origin.fault(OriginFault::tag(TagFault::Missing));
    let depth = AtomicUsize::new(0);
    fn decode(rig: &Rig, depth: &AtomicUsize) -> Result<usize> {
        assert!(depth.fetch_add(1, SeqCst) < 5);
        decode_now(rig, KEY, FOREVER, |_| decode(rig, depth)).map(|depth| *depth)
    }
    assert_eq!(decode(&rig, &depth).unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(depth.load(SeqCst), 2);
}

/// The second of another cache, which is at work on an object of the same name.
#[tokio::test]
async fn decoders_of_two_caches_are_no_circle() {
    let (one, other) = (rig().await, rig().await);
    let decode = |_: &Bytes| decode_now(&other, "a", FOREVER, length).map(|length| *length);
    assert_eq!(*decode_now(&one, "a", FOREVER, decode).unwrap(), 5);
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any("in drop");
    }
}

/// However its entry leaves: no call of the backend fails, and no place is lost.
#[tokio::test]
async fn a_value_that_panics_when_it_is_dropped_costs_no_place() {
    for backend in 0..3 {
        let rig = match backend {
            0 => Rig::new(),
            1 => Rig::over(MemoryBackend::builder(Lru::new()).max_entries(8).build().unwrap()),
            _ => Rig::over(MokaBackend::builder().max_entries(8).build().unwrap()),
        };
        let bomb = async |key: String| {
            rig.origin.inner().write(&key, "1");
            let served = rig.cache.get(&key, Some(&FOREVER)).await.unwrap();
            drop(served.entry.decoded(|_| Ok::<_, Error>(Bomb)).await.unwrap());
        };
        for n in 0..40 {
            bomb(format!("evicted/{n}")).await;
        }
        bomb(KEY.into()).await;
        rig.cache.invalidate(KEY).await.unwrap();
        bomb(KEY.into()).await;
        rig.cache.put(KEY, "2".into(), Default::default()).await.unwrap();
        bomb(KEY.into()).await;
        rig.cache.clear().await.unwrap();
        let stats = rig.cache.stats();
        assert_eq!(
            (stats.entries, stats.bytes, stats.backend_errors),
            (0, 0, 0),
            "backend {backend}"
        );
        for n in 0..8 {
            rig.origin.inner().write(&format!("k/{n}"), "1");
            rig.cache.get(&format!("k/{n}"), Some(&FOREVER)).await.unwrap();
        }
        assert_eq!(rig.cache.stats().entries, 8, "backend {backend}");
    }
}
