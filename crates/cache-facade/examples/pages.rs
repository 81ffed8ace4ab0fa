//! A site's pages: published to the bucket, served from the cache.

use std::{sync::Arc, time::Duration};

use cache_facade::{
    Bytes, ErrorKind, Freshness, ObjectCache, Result, object_store::memory::InMemory,
};

struct Pages(ObjectCache);

impl Pages {
    /// Two seconds old is good enough for a reader, and an old page better than none while the
    /// store is down.
    fn new(bucket: Arc<InMemory>) -> Result<Self> {
        let rule =
            Freshness::max_age(Duration::from_secs(2)).stale_if_error(Duration::from_secs(60));
        Ok(Self(ObjectCache::builder(bucket).name("pages").freshness(rule).build()?))
    }

    async fn publish(&self, path: &str, html: &str) -> Result<()> {
        self.0.put(&format!("pages/{path}.html"), html.to_owned()).await.map(drop)
    }

    /// The page; `None` if there is none.
    async fn page(&self, path: &str) -> Result<Option<Bytes>> {
        match self.0.get(&format!("pages/{path}.html")).await {
            Ok(page) => Ok(Some(page.into_bytes())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let pages = Pages::new(Arc::new(InMemory::new()))?;
    pages.publish("home", "<h1>Home</h1>").await?;

    let home = pages.page("home").await?;
    println!("home: {home:?}");
    assert_eq!(home.as_deref(), Some(&b"<h1>Home</h1>"[..]));

    let missing = pages.page("about").await?;
    println!("about: {missing:?}");
    assert_eq!(missing, None);

    // What we publish ourselves, we see at once.
    pages.publish("home", "<h1>Welcome</h1>").await?;
    assert_eq!(pages.page("home").await?.as_deref(), Some(&b"<h1>Welcome</h1>"[..]));

    let stats = pages.0.stats();
    println!("{} hits, {} not found", stats.hits(), stats.not_found);
    assert_eq!((stats.hits(), stats.misses(), stats.not_found), (2, 0, 1));
    Ok(())
}
