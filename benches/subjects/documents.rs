//! A document that is read over and over: parsed once, or each time.

use std::{hint::black_box, sync::Arc};

use bench_harness::{Run, Subject, key};
use cache_facade::{
    Freshness, ObjectCache,
    object_store::{ObjectStore, ObjectStoreExt, memory::InMemory},
};
use foyer_memory::CacheProperties;
use serde_json::Value;

use super::{objects::runtime, stores::location};

/// A peer's users put the parsed document in and see to it themselves that it is current.
pub fn subjects() -> Vec<Subject> {
    vec![
        Subject::new("ours", || {
            ours(async |cache, key| {
                let document: Arc<Value> =
                    cache.get_decoded(key, |body| serde_json::from_slice(body)).await?;
                Ok(document.as_object().map_or(0, serde_json::Map::len))
            })
        }),
        Subject::new("ours:parse", || {
            ours(async |cache, key| {
                let document: Value =
                    serde_json::from_slice(cache.get(key).await?.bytes()).unwrap_or_default();
                Ok(document.as_object().map_or(0, serde_json::Map::len))
            })
        }),
        Subject::new("quick_cache", || {
            let cache = quick_cache::sync::Cache::<String, Arc<Value>>::new(100);
            cache.insert(key(0), parsed());
            peer(move |key| cache.get(key))
        }),
        Subject::new("foyer", || {
            let cache = foyer_memory::CacheBuilder::new(100).build::<CacheProperties>();
            cache.insert(key(0), parsed());
            peer(move |key| {
                cache.get(key).map(|entry: foyer_memory::CacheEntry<String, _>| Arc::clone(entry.value()))
            })
        }),
        Subject::new("moka", || {
            let cache = moka::sync::Cache::<String, Arc<Value>>::new(100);
            cache.insert(key(0), parsed());
            peer(move |key| cache.get(key))
        }),
    ]
}

fn ours(
    read: impl AsyncFn(&ObjectCache, &str) -> cache_facade::Result<usize> + Send + Sync + 'static,
) -> Run {
    let (runtime, store, key) = (runtime(), Arc::new(InMemory::new()), key(0));
    let put = runtime.block_on(store.put(&location(&key), text().into()));
    put.expect("the store takes objects");
    let store: Arc<dyn ObjectStore> = store;
    let cache = ObjectCache::builder(store).freshness(Freshness::immutable()).build();
    let cache = cache.expect("settings are in bounds");
    Run::new(move |_, ops| {
        runtime.block_on(async {
            for _ in 0..ops {
                let n_fields = read(&cache, black_box(&key)).await.expect("the object is there");
                assert_eq!(n_fields, FIELDS, "the document is whole");
            }
        });
    })
}

fn peer(read: impl Fn(&str) -> Option<Arc<Value>> + Send + Sync + 'static) -> Run {
    let key = key(0);
    Run::new(move |_, ops| {
        for _ in 0..ops {
            let document = read(black_box(&key)).expect("it is held");
            assert_eq!(document.as_object().map_or(0, serde_json::Map::len), FIELDS, "the document is whole");
        }
    })
}

fn parsed() -> Arc<Value> {
    Arc::new(serde_json::from_str(&text()).expect("it is JSON"))
}

/// A configuration of about 4 KiB.
fn text() -> String {
    let field = |number| {
        format!(r#""service-{number}":{{"hosts":["10.0.0.{number}"],"weight":{number}.5,"on":true}}"#)
    };
    format!("{{{}}}", (0..FIELDS).map(field).collect::<Vec<_>>().join(","))
}

const FIELDS: usize = 64;
