//! An origin of one's own: a map in this process that numbers its versions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cache_facade::{
    Bytes, Error, ErrorKind, ObjectCache, Origin, PutCondition, Result, Status, Version,
    cache_core::{Entry, Key, Validation, Validator},
};
use tokio::sync::Mutex;

#[derive(Default)]
struct Numbered {
    writes: AtomicU64,
    objects: Mutex<HashMap<Key, (String, Bytes)>>,
}

#[async_trait]
impl Validator for Numbered {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let current = self.objects.lock().await.get(key).cloned();
        let Some((e_tag, body)) = current else { return Ok(Validation::Gone) };
        if held.and_then(Entry::e_tag) == Some(&e_tag) {
            return Ok(Validation::Unchanged);
        }
        Ok(Validation::Changed(Entry::builder(key, body).e_tag(e_tag).build()))
    }
}

#[async_trait]
impl Origin for Numbered {
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version> {
        if condition != PutCondition::Always {
            return Err(Error::new(ErrorKind::Unsupported, "only puts without a condition"));
        }
        let e_tag = format!("\"{}\"", self.writes.fetch_add(1, Ordering::Relaxed)); // Never used twice.
        let size = body.len() as u64;
        self.objects.lock().await.insert(key.clone(), (e_tag.clone(), body));
        Ok(Version { e_tag: Some(e_tag), size, ..Version::default() })
    }
    async fn delete(&self, key: &Key) -> Result<()> {
        self.objects.lock().await.remove(key);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let cache = ObjectCache::builder_with_origin(Arc::new(Numbered::default())).build()?;
    cache.put("a", "first").await?;
    let object = cache.get("a").await?;
    println!("{:?} at {:?}: {:?}", object.bytes(), object.e_tag(), object.status());
    assert_eq!((object.e_tag(), object.status()), (Some("\"0\""), Status::Revalidated));
    Ok(())
}
