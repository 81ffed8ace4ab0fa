//! A validator and origin of one's own: numbered versions in this process, each put a
//! compare-and-swap. It is checked against the contract, and a cache is put in front of it.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use cache_facade::{
    Bytes, Error, ErrorKind, ObjectCache, Origin, PutCondition, Result, Status, Version,
    cache_core::{Entry, Key, Validation, Validator},
};
use cache_testkit::conformance::validator;
use tokio::sync::Mutex;

#[derive(Default)]
struct Numbered(Mutex<State>);

#[derive(Default)]
struct State {
    n_writes: u64,
    objects: HashMap<Key, (String, Bytes)>,
}

impl State {
    /// No number is used twice, also of objects that were deleted meanwhile.
    fn write(&mut self, key: &Key, body: Bytes) -> String {
        self.n_writes += 1;
        let e_tag = format!("\"{}\"", self.n_writes);
        self.objects.insert(key.clone(), (e_tag.clone(), body));
        e_tag
    }
}

#[async_trait]
impl Validator for Numbered {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let current = self.0.lock().await.objects.get(key).cloned();
        let Some((e_tag, body)) = current else { return Ok(Validation::NotFound) };
        if held.and_then(Entry::e_tag) == Some(&e_tag) {
            return Ok(Validation::NotModified);
        }
        Ok(Validation::Modified(Entry::builder(key, body).e_tag(e_tag).build()))
    }
}

#[async_trait]
impl Origin for Numbered {
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version> {
        let mut state = self.0.lock().await;
        let current = state.objects.get(key).map(|(e_tag, _)| e_tag);
        let holds = match condition {
            PutCondition::Always => true,
            PutCondition::Absent => current.is_none(),
            PutCondition::Matches(version) => {
                current.is_some() && current == version.e_tag.as_ref()
            }
            _ => return Err(Error::new(ErrorKind::Unsupported, "no such condition is known here")),
        };
        if !holds {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                "the object is at another version",
            ));
        }
        let size = body.len() as u64;
        Ok(Version::default().with_e_tag(Some(state.write(key, body))).with_size(size))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.0.lock().await.objects.remove(key);
        Ok(())
    }
}

/// What another process would do to the objects.
struct Behind(Arc<Numbered>);

#[async_trait]
impl validator::Truth for Behind {
    async fn put(&self, key: &Key, body: Bytes) {
        self.0.0.lock().await.write(key, body);
    }

    async fn delete(&self, key: &Key) {
        self.0.0.lock().await.objects.remove(key);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let origin = Arc::new(Numbered::default());
    let can = validator::Capabilities::new().puts_if_absent().puts_if_matches();
    let suite = validator::Suite::of_origin(can, origin.clone(), Arc::new(Behind(origin)));
    let report = validator::check(&suite).await?;
    println!("{report}");
    // What `Behind` cannot bring about, the report names: requests that fail.
    assert!(report.left_out().any(|(rule, _)| rule == "an_outage_is_an_error"));

    let cache = ObjectCache::builder_with_origin(Arc::new(Numbered::default())).build()?;
    cache.put("a", "first").await?;
    let object = cache.get("a").await?;
    println!("{:?} at {:?}: {:?}", object.bytes(), object.e_tag(), object.status());
    assert_eq!((object.e_tag(), object.status()), (Some("\"1\""), Status::Revalidated));
    Ok(())
}
