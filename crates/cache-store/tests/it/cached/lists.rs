//! What lists show of the objects that are held.

use cache_testkit::{FaultyStore, Operation};
use futures_util::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, path::Path};

use super::{body, lasting, read_all, with_object};
use crate::write;

/// Lists in one of the ways there are.
async fn list(store: &dyn ObjectStore, how: usize) -> Vec<ObjectMeta> {
    let folder = Path::from("a");
    match how {
        0 => store.list(None).try_collect().await.unwrap(),
        1 => store.list_with_offset(Some(&folder), &Path::from("a/a")).try_collect().await.unwrap(),
        _ => store.list_with_delimiter(Some(&folder)).await.unwrap().objects,
    }
}

fn reads(store: &FaultyStore) -> usize {
    let is_list = |operation| matches!(operation, Operation::List | Operation::ListWithDelimiter);
    store.requests().iter().filter(|request| !is_list(request.operation)).count()
}

#[tokio::test]
async fn what_a_list_shows_to_have_changed_is_asked_about() {
    for how in 0..3 {
        let store = with_object(17).await;
        let cached = lasting(&store);
        read_all(&cached).await;
        write(&store, "news").await;
        assert_eq!(read_all(&cached).await, body(17), "its head is fresh");
        assert_eq!(list(&cached, how).await[0].size, 4);
        assert_eq!(read_all(&cached).await, "news");
    }
}

#[tokio::test]
async fn a_list_is_the_stores_and_costs_no_read() {
    for how in 0..3 {
        let store = with_object(17).await;
        let cached = lasting(&store);
        read_all(&cached).await;
        store.reset();
        assert_eq!(list(&cached, how).await, list(store.inner(), how).await);
        assert_eq!(reads(&store), 0);
        // What has not changed is fresh as before.
        read_all(&cached).await;
        assert_eq!(reads(&store), 0);
    }
}
