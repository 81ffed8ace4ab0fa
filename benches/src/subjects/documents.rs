//! A document that is read over and over: parsed once, or at each read.

use std::{hint::black_box, sync::Arc};

use cache_facade::{Freshness, ObjectCache, object_store::ObjectStoreExt};
use foyer_memory::{CacheEntry, CacheProperties};
use serde_json::{Map, Value};

use super::{
    objects::runtime,
    stores::{Store, location},
};
use crate::{Run, Subject, workload::key};

/// Our cache, and peers whose users insert the parsed document and keep it current themselves.
pub(crate) fn subjects() -> Vec<Subject> {
    vec![
        Subject::new("ours", || {
            ours(async |cache, key| {
                cache.get_decoded(key, |body| serde_json::from_slice(body)).await
            })
        }),
        Subject::new("ours:parse", || {
            ours(async |cache, key| {
                let object = cache.get(key).await?;
                Ok(Arc::new(serde_json::from_slice(object.bytes()).unwrap_or_default()))
            })
        }),
        Subject::new("quick_cache", || {
            let cache = quick_cache::sync::Cache::<String, _>::new(100);
            cache.insert(key(0), parsed());
            peer(move |key| cache.get(key))
        }),
        Subject::new("foyer", || {
            let cache = foyer_memory::CacheBuilder::new(100).build::<CacheProperties>();
            cache.insert(key(0), parsed());
            peer(move |key| {
                cache.get(key).map(|entry: CacheEntry<String, _>| entry.value().clone())
            })
        }),
        Subject::new("moka", || {
            let cache = moka::sync::Cache::<String, _>::new(100);
            cache.insert(key(0), parsed());
            peer(move |key| cache.get(key))
        }),
    ]
}

fn ours<F>(read: F) -> Run
where
    F: AsyncFn(&ObjectCache, &str) -> cache_facade::Result<Arc<Value>> + Send + Sync + 'static,
{
    let (runtime, store, key) = (runtime(), Store::in_memory().store, key(0));
    let put = runtime.block_on(store.put(&location(&key), text().into()));
    put.expect("the store accepts objects");
    let cache = ObjectCache::builder(store).freshness(Freshness::immutable()).build();
    let cache = cache.expect("settings are in bounds");
    Run::new(move |_, ops| {
        runtime.block_on(async {
            for _ in 0..ops {
                check(&read(&cache, black_box(&key)).await.expect("the object exists"));
            }
        });
    })
}

fn peer(read: impl Fn(&str) -> Option<Arc<Value>> + Send + Sync + 'static) -> Run {
    let key = key(0);
    Run::new(move |_, ops| {
        (0..ops).for_each(|_| check(&read(black_box(&key)).expect("the document is cached")));
    })
}

fn check(document: &Value) {
    assert_eq!(document.as_object().map_or(0, Map::len), FIELDS, "the document is whole");
}

fn parsed() -> Arc<Value> {
    Arc::new(serde_json::from_str(&text()).expect("the text is JSON"))
}

/// A configuration file of about 4 KiB.
fn text() -> String {
    let field = |n| format!(r#""service-{n}":{{"hosts":["10.0.0.{n}"],"weight":{n}.5,"on":true}}"#);
    format!("{{{}}}", (0..FIELDS).map(field).collect::<Vec<_>>().join(","))
}

const FIELDS: usize = 64;
