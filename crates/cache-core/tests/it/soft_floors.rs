//! `mark_stale_prefix` and `mark_all_stale`.

use std::time::Duration;

use cache_core::{ErrorKind, Freshness, Result, Status};
use cache_testkit::OriginFault;

use crate::rig::{FOREVER, KEY, Rig, settle};

/// Marks the entry of [`KEY`] stale, by one of the two calls.
type Mark = fn(&Rig) -> Result<()>;

const MARKS: [Mark; 2] =
    [|rig| rig.cache.mark_stale_prefix("a/"), |rig| rig.cache.mark_all_stale()];

#[tokio::test]
async fn an_unchanged_object_is_revalidated_once_and_its_body_stays() {
    for mark in MARKS {
        let rig = Rig::new();
        let e_tag = Some(rig.origin.inner().write(KEY, "one"));
        rig.check(FOREVER, "one", Status::Fetched).await;
        for _ in 0..2 {
            mark(&rig).unwrap();
            assert!(rig.cache.get_if_fresh(KEY, Some(&FOREVER)).is_none());
            assert!(rig.cache.get_if_fresh(KEY, Some(&FOREVER)).is_none());
            rig.check(FOREVER, "one", Status::Revalidated).await;
            rig.check(FOREVER, "one", Status::Fresh).await;
        }
        assert_eq!(rig.e_tags_sent(), [None, e_tag.clone(), e_tag]);
        rig.at_rest(5).await;
    }
}

#[tokio::test]
async fn a_prefix_leaves_other_keys_fresh() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    rig.check(FOREVER, "one", Status::Fetched).await;
    rig.cache.mark_stale_prefix("a/c").unwrap();
    rig.check(FOREVER, "one", Status::Fresh).await;
}

#[tokio::test]
async fn a_request_sent_before_the_mark_neither_lifts_it_nor_takes_new_readers() {
    for mark in MARKS {
        let rig = Rig::new();
        rig.origin.inner().write(KEY, "one");
        rig.origin.fault(OriginFault::hold().once());
        let before = rig.spawn_get(FOREVER);
        settle().await;
        mark(&rig).unwrap();
        let after = rig.spawn_get(FOREVER);
        settle().await;
        rig.origin.release_all();
        assert_eq!(before.await.unwrap().unwrap().status, Status::Fetched);
        assert_eq!(after.await.unwrap().unwrap().status, Status::Revalidated);
        rig.check(FOREVER, "one", Status::Fresh).await;
        assert_eq!(rig.origin.count(), 2);
    }
}

#[tokio::test]
async fn a_marked_entry_covers_an_outage_where_that_is_allowed() {
    for mark in MARKS {
        let rig = Rig::new();
        rig.origin.inner().write(KEY, "one");
        rig.check(FOREVER, "one", Status::Fetched).await;
        mark(&rig).unwrap();
        let is_down = || OriginFault::error(ErrorKind::Unavailable).once();
        rig.origin.fault(is_down());
        let minute = Freshness::max_age(Duration::from_secs(60));
        rig.check(minute.stale_if_error(Duration::from_secs(60)), "one", Status::Stale).await;
        rig.origin.fault(is_down());
        assert_eq!(rig.get(minute).await.unwrap_err().kind(), ErrorKind::Unavailable);
        rig.check(FOREVER, "one", Status::Revalidated).await;
    }
}
