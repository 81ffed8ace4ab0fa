//! Lists of one level, whose deeper keys are shown as common prefixes.

use std::slice;

use cache_core::{Key, ListScope, ListedObject, Observation, Status, Version};

use crate::support::{FOREVER, Rig};

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
