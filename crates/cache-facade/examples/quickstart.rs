//! A cache in front of a folder on local disk.

use std::sync::Arc;

use cache_facade::{ObjectCache, object_store::local::LocalFileSystem};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = LocalFileSystem::new_with_prefix(folder.path())?;
    let cache = ObjectCache::builder(Arc::new(store)).build()?;

    cache.put("greeting.txt", "hello").await?;
    assert_eq!(cache.get("greeting.txt").await?.bytes(), "hello");

    // Somebody else changes the file: the next read sees it.
    std::fs::write(folder.path().join("greeting.txt"), "hello, world")?;
    let object = cache.get("greeting.txt").await?;
    println!("{}: {:?}, {:?}", object.key(), object.bytes(), object.status());
    assert_eq!(object.bytes(), "hello, world");
    Ok(())
}
