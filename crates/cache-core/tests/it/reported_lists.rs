//! Lists that the caller requests and reports page by page.

use std::slice;

use cache_core::{Key, ListScope, ListedObject, Observation, Status, Version};

use crate::support::{FOREVER, KEY, Rig, secs, text};

/// `a/b` is the object of the rig, and may be the folder of `a/b/c` as well.
#[tokio::test]
async fn an_object_that_is_left_out_is_not_shown_by_a_folder_of_its_name() {
    let rig = Rig::new();
    let scope = || ListScope::new("a/").shallow(true);
    rig.cache.observe_list(scope()).end().await;
    let e_tag = rig.origin.inner().write("a/b", "one");
    rig.origin.inner().write("a/b/c", "deep");
    rig.check(FOREVER, "one", Status::Fetched).await;
    let deep = || async { rig.cache.get("a/b/c", Some(&FOREVER)).await.unwrap().status };
    assert_eq!(deep().await, Status::Fetched);
    let folder = Key::parse("a/b").unwrap();

    let shown = Observation::Version(Version::default().with_e_tag(Some(e_tag)));
    let shown = ListedObject::new(folder.clone(), shown);
    let mut list = rig.cache.observe_list(scope());
    list.page(&[shown], slice::from_ref(&folder)).await;
    list.end().await;
    rig.check(FOREVER, "one", Status::Fresh).await;

    let mut list = rig.cache.observe_list(scope());
    list.page(&[], &[folder]).await;
    list.end().await;
    rig.check(FOREVER, "one", Status::Revalidated).await;
    assert_eq!(deep().await, Status::Fresh);

    rig.cache.observe_list(scope()).end().await;
    assert_eq!(deep().await, Status::Revalidated);
}

#[tokio::test]
async fn a_page_without_a_request_is_of_the_moment_of_the_one_before() {
    let rig = Rig::new();
    let mut list = rig.cache.observe_list(ListScope::new("a/"));
    let first = list.sent_at();
    rig.clock.advance(secs(10));
    list.request_page();
    let second = list.sent_at();
    assert!(second > first);
    for _ in 0..2 {
        list.revoke_request();
        assert_eq!(list.sent_at(), first);
    }
}

#[tokio::test]
async fn an_entry_that_was_validated_since_then_needs_no_request() {
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "one");
    let before = rig.cache.observe_list(ListScope::new("x/")).sent_at();
    assert!(rig.cache.get_if_validated_since(KEY, before).await.is_none());
    rig.check(FOREVER, "one", Status::Fetched).await;
    let served = rig.cache.get_if_validated_since(KEY, before).await.unwrap().unwrap();
    assert_eq!((text(&served), served.status), ("one".into(), Status::RevalidatedByList));
    rig.clock.advance(secs(1));
    let after = rig.cache.observe_list(ListScope::new("x/")).sent_at();
    assert!(rig.cache.get_if_validated_since(KEY, after).await.is_none());
    rig.cache.mark_stale(KEY).await.unwrap();
    assert!(rig.cache.get_if_validated_since(KEY, before).await.is_none());
    rig.cache.close().await.unwrap();
    assert!(rig.cache.get_if_validated_since(KEY, before).await.is_none());
}
