//! Two nodes share one bucket, and know nothing of each other.
//!
//! ```text
//! two_nodes [--store memory|file:///folder|s3://bucket]
//! ```
//!
//! S3 is set up by the usual variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`,
//! `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`, …) and needs `--features aws`.

use std::{env, error::Error, sync::Arc};

use cache_facade::{
    Memory, ObjectCache, Status, ValidatorStrength,
    object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bucket = store(&argument()?)?;
    let node = |name| {
        ObjectCache::builder(Arc::clone(&bucket))
            .name(name)
            .backend(Memory::new().max_entries(5000))
            .build()
    };
    let (a, b) = (node("A")?, node("B")?);

    println!("the bucket is {bucket}");
    a.put(KEY, r#"{"version": 1}"#).await?;
    let first = read(&b, "fetched: B had never seen it").await?;
    let again = read(&b, "confirmed: one request, no body").await?;

    a.put(KEY, r#"{"version": 2}"#).await?;
    let changed =
        read(&b, "B's copy was out of date, and the same request brought the new one").await?;
    let own = read(&a, "confirmed: A kept what it wrote").await?;
    a.delete(KEY).await?;

    table(&[&a, &b]);
    assert_eq!((first, changed), (Status::Fetched, Status::Refetched));
    assert_eq!((a.stats().gets(), b.stats().gets()), (1, 3));
    // B's copy, that A changed; and A's own, by its second put and by its delete.
    assert_eq!((a.stats().invalidations(), b.stats().invalidations()), (2, 1));
    assert_eq!((a.stats().origin.requests(), b.stats().origin.requests()), (4, 3));
    // Where tags are made of timestamps, what was just written is not confirmed but fetched again.
    if ValidatorStrength::of(&bucket) == ValidatorStrength::Strong {
        assert_eq!((again, own), (Status::Revalidated, Status::Revalidated));
        assert_eq!((a.stats().hits(), b.stats().hits()), (1, 1));
    }
    Ok(())
}

async fn read(node: &ObjectCache, why: &str) -> Result<Status, Box<dyn Error>> {
    let object = node.get(KEY).await?;
    println!(
        "{} reads {} ({:?}; {why})",
        node.name(),
        str::from_utf8(object.bytes())?,
        object.status()
    );
    Ok(object.status())
}

fn table(nodes: &[&ObjectCache]) {
    println!("\nnode   gets   hits   misses   invalidations   requests   bytes from the store");
    for node in nodes {
        let stats = node.stats();
        println!(
            "{:<4}{:>7}{:>7}{:>9}{:>16}{:>11}{:>23}",
            node.name(),
            stats.gets(),
            stats.hits(),
            stats.misses(),
            stats.invalidations(),
            stats.origin.requests(),
            stats.bytes_from_origin,
        );
    }
}

/// What `--store` says.
fn argument() -> Result<String, Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok("memory".to_owned()),
        ["--store", store] => Ok(store.to_owned()),
        _ => Err("usage: two_nodes [--store memory|file:///folder|s3://bucket]".into()),
    }
}

fn store(name: &str) -> Result<Arc<dyn ObjectStore>, Box<dyn Error>> {
    if name == "memory" {
        return Ok(Arc::new(InMemory::new()));
    }
    if let Some(folder) = name.strip_prefix("file://") {
        std::fs::create_dir_all(folder)?;
        return Ok(Arc::new(LocalFileSystem::new_with_prefix(folder)?));
    }
    match name.strip_prefix("s3://") {
        Some(bucket) => s3(bucket.trim_end_matches('/')),
        None => {
            Err(format!("{name:?} is no store: use memory, file:///folder or s3://bucket").into())
        }
    }
}

#[cfg(feature = "aws")]
fn s3(bucket: &str) -> Result<Arc<dyn ObjectStore>, Box<dyn Error>> {
    use cache_facade::object_store::aws::AmazonS3Builder;

    Ok(Arc::new(AmazonS3Builder::from_env().with_bucket_name(bucket).build()?))
}

#[cfg(not(feature = "aws"))]
fn s3(_bucket: &str) -> Result<Arc<dyn ObjectStore>, Box<dyn Error>> {
    Err("this program was built without its S3 client: run it with -p cache-facade --features aws"
        .into())
}

const KEY: &str = "object-cache-example/data.json";
