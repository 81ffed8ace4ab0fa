use object_store::ObjectStoreExt;

use super::cached;
use crate::{path, stored, write};

#[tokio::test]
async fn what_is_read_is_what_the_store_has() {
    let store = stored("body").await;
    let cached = cached(&store);
    for body in ["body", "other"] {
        write(&store, body).await;
        let answer = cached.get(&path()).await.unwrap();
        let meta = store.inner().head(&path()).await.unwrap();
        assert_eq!(answer.meta, meta);
        assert_eq!(answer.bytes().await.unwrap(), body);
    }
}
