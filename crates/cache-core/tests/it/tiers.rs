//! Backends of several tiers: which one answered, and what becomes of stamps, marks and epochs.

use cache_core::{ErrorKind, Freshness, Namespace, Served, Stats, Status, Tier};
use cache_testkit::{OriginFault, SimulatedDisk, TwoTierBackend};

use crate::support::{FOREVER, KEY, Rig, STRONG, secs, settle};

/// Another key: reading it evicts [`KEY`] from memory, which has room for one.
const OTHER: &str = "a/other";

async fn over(backend: TwoTierBackend) -> Rig {
    let rig = Rig::with(backend, |builder| {
        builder.namespace(Namespace::named("tiers")).time_to_live(Some(secs(3600)))
    });
    for key in [KEY, OTHER] {
        rig.origin.inner().write(key, "body");
    }
    rig
}

/// Reads the other key, which no rule makes a request for once it is cached.
async fn evict(rig: &Rig) {
    rig.cache.get(OTHER, Some(&FOREVER)).await.unwrap();
    assert!(rig.cache.backend().peek(KEY).is_none(), "memory has room for one");
}

async fn read(rig: &Rig, freshness: Freshness) -> (Status, Option<Tier>) {
    let Served { status, tier, .. } = rig.get(freshness).await.unwrap();
    (status, tier)
}

fn from_disk(stats: &Stats) -> (u64, u64) {
    (stats.hits_from_disk, stats.bytes_from_disk)
}

#[tokio::test]
async fn a_read_tells_which_tier_answered() {
    let rig = over(TwoTierBackend::new(1)).await;
    let (memory, disk) = (Some(Tier::Memory), Some(Tier::Disk));
    assert_eq!(read(&rig, FOREVER).await, (Status::Fetched, None));
    assert_eq!(read(&rig, FOREVER).await, (Status::Fresh, memory));
    evict(&rig).await;
    assert_eq!(read(&rig, FOREVER).await, (Status::Fresh, disk));
    assert_eq!(read(&rig, FOREVER).await, (Status::Fresh, memory));
    assert_eq!(read(&rig, STRONG).await, (Status::Revalidated, memory));
    assert_eq!(from_disk(&rig.cache.stats()), (1, 4));

    evict(&rig).await;
    assert_eq!(read(&rig, STRONG).await, (Status::Revalidated, disk));
    evict(&rig).await;
    rig.clock.advance(secs(20));
    let lax = Freshness::max_age(secs(10)).stale_while_revalidate(secs(100));
    assert_eq!(read(&rig, lax).await, (Status::Stale, disk));
    settle().await;
    rig.clock.advance(secs(20));
    assert_eq!(read(&rig, lax).await, (Status::Stale, memory));
    settle().await;

    evict(&rig).await;
    rig.clock.advance(secs(20));
    rig.origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
    let covered = Freshness::max_age(secs(10)).stale_if_error(secs(100));
    // The failed request has looked it up, so it is back in memory.
    assert_eq!(read(&rig, covered).await, (Status::Stale, memory));

    evict(&rig).await;
    rig.origin.inner().write(KEY, "other");
    assert_eq!(read(&rig, STRONG).await, (Status::Refetched, None));
    let stats = rig.cache.stats();
    // Of the other key, all but the first of its reads.
    assert_eq!(from_disk(&stats), (3 + 4, 28), "{stats:?}");
    assert!(stats.to_string().contains("7 hits from disk (28 bytes)"), "{stats}");
    rig.at_rest(15).await;
}

#[tokio::test]
async fn readers_that_share_a_revalidation_share_its_tier() {
    let rig = over(TwoTierBackend::new(1)).await;
    read(&rig, FOREVER).await;
    evict(&rig).await;
    rig.origin.fault(OriginFault::hold().once());
    let minute = Freshness::max_age(secs(60));
    rig.clock.advance(secs(100));
    let readers: Vec<_> = (0..3).map(|_| rig.spawn_get(minute)).collect();
    settle().await;
    rig.origin.release_all();
    for reader in readers {
        let served = reader.await.unwrap().unwrap();
        assert_eq!((served.status, served.tier), (Status::Revalidated, Some(Tier::Disk)));
    }
    assert_eq!(from_disk(&rig.cache.stats()), (3, 12));
    assert_eq!(rig.origin.count(), 3);
    rig.at_rest(5).await;
}

/// The handle that a request validates may have been evicted since.
#[tokio::test]
async fn a_renewal_reaches_an_entry_that_was_evicted_meanwhile() {
    let rig = over(TwoTierBackend::new(1)).await;
    let minute = Freshness::max_age(secs(60));
    read(&rig, FOREVER).await;
    evict(&rig).await;
    rig.clock.advance(secs(100));
    rig.origin.fault(OriginFault::hold().once());
    let reader = rig.spawn_get(minute);
    settle().await;
    evict(&rig).await;
    rig.origin.release_all();
    assert_eq!(reader.await.unwrap().unwrap().status, Status::Revalidated);
    let n_requests = rig.origin.count();
    assert_eq!(read(&rig, minute).await, (Status::Fresh, Some(Tier::Disk)));
    assert_eq!(rig.origin.count(), n_requests, "it was renewed in the lower tier");
}

/// With no room in memory, each look-up shows a handle that is not kept.
#[tokio::test]
async fn a_mark_reaches_every_tier() {
    for memory_max in [0, 1] {
        let rig = over(TwoTierBackend::new(memory_max)).await;
        read(&rig, FOREVER).await;
        rig.cache.get(OTHER, Some(&FOREVER)).await.unwrap();
        rig.cache.mark_stale(KEY).await.unwrap();
        assert_eq!(read(&rig, FOREVER).await.0, Status::Revalidated, "{memory_max}");
        assert_eq!(read(&rig, FOREVER).await.0, Status::Fresh, "{memory_max}: the mark is lifted");
    }
}

/// The mark comes between the reading of the bytes and the return of the look-up.
#[tokio::test]
async fn a_mark_during_a_look_up_is_not_lost() {
    let rig = over(TwoTierBackend::new(1)).await;
    read(&rig, FOREVER).await;
    evict(&rig).await;
    let reader = rig.spawn_get(FOREVER);
    tokio::task::yield_now().await;
    rig.cache.mark_stale(KEY).await.unwrap();
    reader.await.unwrap().unwrap();
    let served = read(&rig, FOREVER).await;
    assert_eq!(rig.origin.count(), 3, "{served:?}: one request since the mark");
}

#[tokio::test]
async fn an_entry_of_an_earlier_process_is_not_void_and_does_not_expire() {
    let disk = SimulatedDisk::new();
    let first = over(TwoTierBackend::new(1).on(&disk)).await;
    let e_tag = first.get(FOREVER).await.unwrap().entry.e_tag().map(str::to_owned);
    first.cache.close().await.unwrap();

    let rig = over(TwoTierBackend::new(1).on(&disk)).await;
    rig.cache.invalidate_prefix("a/").unwrap();
    // Nothing tells when it was validated, so no time to live has passed.
    rig.clock.advance(secs(100_000));
    rig.cache.backend().sweep(cache_core::Clock::now(&*rig.clock)).await.unwrap();
    assert_eq!(read(&rig, FOREVER).await, (Status::Revalidated, Some(Tier::Disk)));
    assert_eq!(rig.e_tags_sent(), [e_tag]);
    assert_eq!(read(&rig, FOREVER).await, (Status::Fresh, Some(Tier::Memory)));
    // From now on it is an entry of this process, with a time to live and an epoch.
    rig.cache.invalidate_prefix("a/").unwrap();
    assert_eq!(read(&rig, FOREVER).await, (Status::Fetched, None));
    rig.clock.advance(secs(3600));
    assert_eq!(read(&rig, FOREVER).await, (Status::Fetched, None));
    assert_eq!(rig.e_tags_sent()[1..], [None, None]);
}

#[tokio::test]
async fn an_entry_of_an_earlier_process_covers_no_outage() {
    let disk = SimulatedDisk::new();
    let first = over(TwoTierBackend::new(1).on(&disk)).await;
    first.get(FOREVER).await.unwrap();
    first.cache.close().await.unwrap();
    let rig = over(TwoTierBackend::new(1).on(&disk)).await;
    rig.origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
    let lax = FOREVER.stale_if_error(secs(100)).stale_while_revalidate(secs(100));
    assert_eq!(rig.get(lax).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(read(&rig, FOREVER).await.0, Status::Revalidated);
}

/// An entry of this process whose stamp is lost is revalidated; a hard floor voids it all the same.
#[tokio::test]
async fn an_entry_without_its_stamp_keeps_its_epoch() {
    for voids in [false, true] {
        let rig = over(TwoTierBackend::new(1).losing_stamps()).await;
        let e_tag = rig.get(FOREVER).await.unwrap().entry.e_tag().map(str::to_owned);
        rig.cache.get(OTHER, Some(&FOREVER)).await.unwrap();
        if voids {
            rig.cache.invalidate_prefix(KEY).unwrap();
        }
        let (status, sent) =
            if voids { (Status::Fetched, None) } else { (Status::Revalidated, e_tag) };
        assert_eq!(read(&rig, FOREVER).await.0, status);
        assert_eq!(rig.e_tags_sent()[2..], [sent]);
        assert_eq!(rig.cache.stats().invalidated.by_api, u64::from(voids));
        assert_eq!(read(&rig, FOREVER).await, (Status::Fresh, Some(Tier::Memory)));
    }
}

/// So that a hit copies no padding: see the comment on `Status`.
#[test]
fn a_result_has_no_padding() {
    assert_eq!(size_of::<Served>(), 24);
    assert_eq!(size_of::<Option<Served>>(), 24);
}
