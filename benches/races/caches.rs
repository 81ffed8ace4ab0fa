//! The caches, each used as its documentation shows.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{Entry, Error, ErrorKind, Freshness, Key, PutCondition, Validation, Validator, Version};
use cache_facade::ObjectCache;
use foyer_memory::CacheProperties;
use tokio::sync::Mutex;

use super::{
    Copies,
    origin::{Answer, Origin, V1, V2},
};

/// Makes a cache in front of an origin.
pub(crate) type Make = fn(Arc<Origin>, Copies) -> Arc<dyn Cache>;

/// A cache, by name, and whose table column it is.
pub(crate) const CACHES: [(&str, Make); 5] = [
    ("moka", |origin, _| Arc::new(Moka(moka::future::Cache::new(100), origin))),
    ("quick_cache", |origin, _| Arc::new(QuickCache(quick_cache::sync::Cache::new(100), origin))),
    ("foyer-memory", |origin, _| {
        let cache = foyer_memory::CacheBuilder::new(100).build::<CacheProperties>();
        Arc::new(Foyer(cache, origin))
    }),
    ("object_store", |origin, copies| {
        Arc::new(Sketch(Mutex::new(SketchCache { entry: None, origin, copies })))
    }),
    ("object-cache", |origin, copies| {
        let freshness = match copies {
            Copies::LastForEver => Freshness::max_age(Duration::from_secs(3600)),
            Copies::AreValidated => Freshness::strong(),
        };
        let builder = ObjectCache::builder_with_origin(Arc::new(Asked(origin))).freshness(freshness);
        Arc::new(Ours(builder.build().expect("settings are in bounds")))
    }),
];

/// A cache of one key.
#[async_trait]
pub(crate) trait Cache: Send + Sync {
    async fn get(&self) -> Result<&'static str, String>;
    async fn invalidate(&self);
    /// Whether it knows tags.
    fn validates(&self) -> bool {
        false
    }
}

struct Moka(moka::future::Cache<String, &'static str>, Arc<Origin>);
struct QuickCache(quick_cache::sync::Cache<String, &'static str>, Arc<Origin>);
struct Foyer(foyer_memory::Cache<String, Bytes>, Arc<Origin>);
struct Sketch(Mutex<SketchCache>);
struct Ours(ObjectCache);

#[async_trait]
impl Cache for Moka {
    async fn get(&self) -> Result<&'static str, String> {
        self.0.try_get_with_by_ref(KEY, self.1.load()).await.map_err(|error| error.to_string())
    }

    async fn invalidate(&self) {
        self.0.invalidate(KEY).await;
    }
}

#[async_trait]
impl Cache for QuickCache {
    async fn get(&self) -> Result<&'static str, String> {
        self.0.get_or_insert_async(KEY, self.1.load()).await
    }

    async fn invalidate(&self) {
        self.0.remove(KEY);
    }
}

#[async_trait]
impl Cache for Foyer {
    async fn get(&self) -> Result<&'static str, String> {
        let origin = Arc::clone(&self.1);
        let fetch = || async move {
            let body = origin.load().await.map_err(|error| Error::new(ErrorKind::Other, error))?;
            Ok::<_, Error>(Bytes::from(body))
        };
        let entry = self.0.get_or_fetch(KEY, fetch).await.map_err(|error| error.to_string())?;
        Ok(of(entry.value()))
    }

    async fn invalidate(&self) {
        self.0.remove(KEY);
    }
}

/// What the documentation of object_store 0.14 shows under "Conditional Fetch", for one key. It is `&mut` there, so
/// several readers need a lock around it; and a changed object keeps its first tag there, so it does here.
struct SketchCache {
    entry: Option<(&'static str, String)>,
    origin: Arc<Origin>,
    copies: Copies,
}

impl SketchCache {
    async fn get(&mut self) -> Result<&'static str, String> {
        match &mut self.entry {
            Some((data, _)) if self.copies == Copies::LastForEver => Ok(*data),
            Some((data, e_tag)) => {
                match self.origin.ask(Some(e_tag.as_str())).await? {
                    Answer::Object(body, _) => *data = body,
                    Answer::Unchanged => {}
                }
                Ok(*data)
            }
            None => match self.origin.ask(None).await? {
                Answer::Object(body, e_tag) => {
                    self.entry = Some((body, e_tag));
                    Ok(body)
                }
                Answer::Unchanged => Err("no tag was sent".to_owned()),
            },
        }
    }
}

#[async_trait]
impl Cache for Sketch {
    async fn get(&self) -> Result<&'static str, String> {
        self.0.lock().await.get().await
    }

    async fn invalidate(&self) {
        self.0.lock().await.entry = None;
    }

    fn validates(&self) -> bool {
        true
    }
}

#[async_trait]
impl Cache for Ours {
    async fn get(&self) -> Result<&'static str, String> {
        let object = self.0.get(KEY).await.map_err(|error| error.to_string())?;
        Ok(of(object.bytes()))
    }

    async fn invalidate(&self) {
        self.0.invalidate(KEY).await.expect("the key is valid");
    }

    fn validates(&self) -> bool {
        true
    }
}

struct Asked(Arc<Origin>);

#[async_trait]
impl Validator for Asked {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> cache_core::Result<Validation> {
        let tag = held.and_then(|held| held.version().e_tag);
        let answer = self.0.ask(tag.as_deref()).await;
        Ok(match answer.map_err(|error| Error::new(ErrorKind::Unavailable, error))? {
            Answer::Unchanged => Validation::NotModified,
            Answer::Object(body, tag) => {
                Validation::Modified(Entry::builder(key, body.into()).e_tag(tag).build())
            }
        })
    }
}

#[async_trait]
impl cache_core::Origin for Asked {
    async fn put(&self, _key: &Key, _body: Bytes, _condition: PutCondition) -> cache_core::Result<Version> {
        Err(Error::new(ErrorKind::Unsupported, "this origin is read only"))
    }

    async fn delete(&self, _key: &Key) -> cache_core::Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "this origin is read only"))
    }
}

fn of(body: &[u8]) -> &'static str {
    if body == V1.as_bytes() { V1 } else { V2 }
}

const KEY: &str = "a";
