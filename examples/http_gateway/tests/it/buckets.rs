//! Which bucket is served.

use std::{error::Error, fs};

use cache_facade::{
    CachedStoreBuilder,
    object_store::{ObjectStoreExt, path::Path},
};
use http_gateway::{Bucket, Gateway, demo};

#[cfg(feature = "aws")]
use crate::world::ask;
use crate::world::{Answer, Server, get};

fn open(place: &str) -> Result<Bucket, Box<dyn Error + Send + Sync>> {
    Bucket::open(place, [])
}

async fn serve(bucket: Bucket) -> Server {
    let store = CachedStoreBuilder::new(bucket.store).validator_strength(bucket.strength).build().unwrap();
    Server::start(Gateway::new(store).router()).await
}

#[track_caller]
fn check(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status, std::str::from_utf8(&answer.body).unwrap()), (status, body));
}

#[tokio::test]
async fn a_folder_is_a_bucket() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("site");
    fs::create_dir_all(folder.join("docs")).unwrap();
    fs::write(root.path().join("secret"), "nobody's business").unwrap();
    fs::write(folder.join("docs/a.txt"), "words").unwrap();
    let url = url::Url::from_directory_path(&folder).unwrap();
    for place in [folder.to_str().unwrap(), url.as_str()] {
        let server = serve(open(place).unwrap()).await;
        check(&get(server.address, "/docs/a.txt").await, 200, "words");
        for path in ["/docs", "/docs/", "/docs/a.txt/b", "/none", "/none/"] {
            check(&get(server.address, path).await, 404, "404 Not Found\n");
        }
        check(&get(server.address, &format!("/{}", "a".repeat(300))).await, 404, "404 Not Found\n");
        check(&get(server.address, "/../secret").await, 400, "400 Bad Request\n");
    }
}

#[tokio::test]
async fn a_change_in_a_folder_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "words").unwrap();
    let server = serve(open(folder.path().to_str().unwrap()).unwrap()).await;
    check(&get(server.address, "/a.txt").await, 200, "words");
    fs::write(folder.path().join("a.txt"), "other words").unwrap();
    check(&get(server.address, "/a.txt").await, 200, "other words");
    fs::remove_file(folder.path().join("a.txt")).unwrap();
    check(&get(server.address, "/a.txt").await, 404, "404 Not Found\n");
}

#[test]
fn what_cannot_be_opened_is_an_error() {
    for place in ["/no/such/folder", "file:///no/such/folder", "ftp://host/", "s3:", ""] {
        assert!(open(place).is_err(), "{place}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let place = file.path().to_str().unwrap();
    assert_eq!(open(place).unwrap_err().to_string(), format!("there is no folder {place:?}"));
    if !cfg!(feature = "gcp") {
        assert!(open("gs://bucket/prefix").unwrap_err().to_string().contains("not enabled"));
    }
}

#[tokio::test]
async fn the_demo_has_a_page_with_its_picture() {
    let server = serve(Bucket::from(demo().await.unwrap())).await;
    let page = get(server.address, "/").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(std::str::from_utf8(&page.body).unwrap().contains("src=\"store.svg\""));
    assert_eq!(get(server.address, "/store.svg").await.header("content-type"), Some("image/svg+xml"));
}

#[tokio::test]
async fn a_url_may_name_a_part_of_a_bucket() {
    let bucket = open("memory:///a/b").unwrap();
    let path = Path::from("c");
    bucket.store.put(&path, "words".into()).await.unwrap();
    let listed = bucket.store.list_with_delimiter(None).await.unwrap();
    assert_eq!(listed.objects[0].location, path);
    check(&get(serve(bucket).await.address, "/c").await, 200, "words");
}

/// Over S3's own protocol, with what the environment says.
#[cfg(feature = "aws")]
#[tokio::test]
async fn an_s3_bucket_is_a_bucket() {
    use cache_testkit::{Operation, S3Server};

    let server = S3Server::start().unwrap();
    let endpoint = format!("http://{}", server.address());
    let environment = [
        ("AWS_ENDPOINT", &*endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_SKIP_SIGNATURE", "true"),
        // Nobody's business, though the store has a setting of that name.
        ("ENDPOINT", "http://127.0.0.1:1"),
    ];
    let environment = environment.map(|(name, value)| (name.into(), value.into()));
    let gateway = serve(Bucket::open("s3://test/site", environment).unwrap()).await;
    server.client().put(&Path::from("site/a.txt"), "words".into()).await.unwrap();
    let first = get(gateway.address, "/a.txt").await;
    let tag = first.header("etag").unwrap().to_owned();
    check(&first, 200, "words");
    check(&get(gateway.address, "/none").await, 404, "404 Not Found\n");
    let with = async |name, value| ask(gateway.address, "GET", "/a.txt", &[(name, value)]).await;
    check(&with("Range", "bytes=1-3").await, 206, "ord");
    assert_eq!(with("Range", "bytes=5-").await.header("content-range"), Some("bytes */5"));
    server.reset();
    check(&with("If-None-Match", &tag).await, 304, "");
    let asked: Vec<_> = server.requests().iter().map(|request| (request.operation, request.status)).collect();
    assert_eq!(asked, [(Operation::Head, Some(304))]);
}
