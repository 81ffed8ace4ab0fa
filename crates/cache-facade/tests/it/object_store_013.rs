//! The feature `object-store-013`: a cached store for crates that are on object_store 0.13.

use std::sync::Arc;

use cache_facade::{
    CachedStore, Memory, ObjectStore013,
    object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path},
};

#[tokio::test]
async fn a_cached_store_is_one_of_object_store_0_13() {
    let cached = CachedStore::builder(Arc::new(InMemory::new()), Memory::new()).build().unwrap();
    cached.put(&Path::from("a"), "body".into()).await.unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(cached.clone());
    let older = ObjectStore013::new(store);
    assert!(older.to_string().contains("CachedStore"), "{older}");
}
