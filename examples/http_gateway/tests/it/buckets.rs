//! Which bucket is served.

use std::{
    error::Error,
    ffi::OsString,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use cache_facade::{
    CachedStore, Memory,
    object_store::{ObjectStoreExt, path::Path},
};
use cache_testkit::{Failure, Fault, FaultyStore};
use http_gateway::{Bucket, BucketOptions, Gateway, demo, describe};

use crate::world::{Answer, Server, ask, begin, bytes, get, rest};

fn open(place: &str) -> Result<Bucket, Box<dyn Error + Send + Sync>> {
    Bucket::open(place, [])
}

async fn serve(bucket: Bucket) -> Server {
    let store = CachedStore::builder(bucket.store, Memory::new())
        .validator_strength(bucket.strength)
        .build()
        .unwrap();
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

/// A folder `site` beside a file `secret`, as a store of objects.
fn site() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("site");
    fs::create_dir_all(folder.join("docs")).unwrap();
    fs::create_dir_all(root.path().join("outside")).unwrap();
    fs::write(root.path().join("secret"), "nobody's business").unwrap();
    fs::write(root.path().join("outside/index.html"), "nobody's business").unwrap();
    fs::write(folder.join("docs/index.html"), "words").unwrap();
    (root, folder)
}

#[tokio::test]
async fn a_folder_without_its_slash_is_redirected() {
    let (_root, folder) = site();
    let server = serve(open(folder.to_str().unwrap()).unwrap()).await;
    check(&get(server.address, "/docs/").await, 200, "words");
    let answer = get(server.address, "/docs").await;
    assert_eq!((answer.status, answer.header("location")), (301, Some("/docs/")));
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_out_of_a_folder_is_refused() {
    let (root, folder) = site();
    let link = |to: &std::path::Path, name: &str| {
        std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
    };
    link(&root.path().join("secret"), "absolute");
    link("../secret".as_ref(), "relative");
    link("absolute".as_ref(), "twice");
    link(&root.path().join("outside"), "folder");
    link(root.path(), "docs/up");
    link("/dev/zero".as_ref(), "device");
    link("docs/index.html".as_ref(), "within");
    link("docs".as_ref(), "alias");
    link("nowhere".as_ref(), "dangling");
    link("loop".as_ref(), "loop");
    let open = |follow_links| {
        let options = BucketOptions { follow_links, ..BucketOptions::default() };
        Bucket::open_with(folder.to_str().unwrap(), [], options).unwrap()
    };
    let closed = serve(open(false)).await;
    for path in [
        "/absolute",
        "/relative",
        "/twice",
        "/folder/",
        "/folder/index.html",
        "/docs/up/secret",
        "/device",
    ] {
        for method in ["GET", "HEAD"] {
            assert_eq!(ask(closed.address, method, path, &[]).await.status, 403, "{path}");
        }
    }
    // What is not there outside cannot be told from what is.
    assert_eq!(get(closed.address, "/docs/up/none").await.status, 404);
    for path in ["/within", "/alias/index.html", "/alias/", "/docs/"] {
        check(&get(closed.address, path).await, 200, "words");
    }
    assert_eq!(get(closed.address, "/dangling").await.status, 404);
    assert!([404, 502].contains(&get(closed.address, "/loop").await.status));

    let followed = serve(open(true)).await;
    check(&get(followed.address, "/absolute").await, 200, "nobody's business");
    check(&get(followed.address, "/folder/").await, 200, "nobody's business");
}

/// The served folder itself may be reached by a link.
#[cfg(unix)]
#[tokio::test]
async fn a_folder_may_be_named_by_a_link() {
    let (root, folder) = site();
    let link = root.path().join("link");
    std::os::unix::fs::symlink(folder, &link).unwrap();
    check(
        &get(serve(open(link.to_str().unwrap()).unwrap()).await.address, "/docs/").await,
        200,
        "words",
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_is_no_object() {
    let (_root, folder) = site();
    let made = std::process::Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap();
    assert!(made.success());
    let server = serve(open(folder.to_str().unwrap()).unwrap()).await;
    check(&get(server.address, "/pipe").await, 404, "404 Not Found\n");
}

#[tokio::test]
async fn a_file_that_shrinks_is_said_in_words() {
    let (_root, folder) = site();
    let file = folder.join("large");
    fs::write(&file, bytes(20_000_000)).unwrap();
    let bucket = open(folder.to_str().unwrap()).unwrap();
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let store = CachedStore::builder(bucket.store, Memory::new())
        .validator_strength(bucket.strength)
        .build()
        .unwrap();
    let gateway = Gateway::new(store).on_failure({
        let said = Arc::clone(&said);
        move |key, error| said.lock().unwrap().push(format!("{key}: {}", describe(error)))
    });
    let server = Server::start(gateway.router()).await;
    let connection = begin(server.address, "GET", "/large", &[]).await;
    // The head has come, and so has some of the body: the rest waits for a reader.
    connection.readable().await.unwrap();
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(1000).unwrap();
    let came = rest(connection).await;
    assert!(came.len() < 20_000_000, "{}", came.len());
    let said = said.lock().unwrap();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("large: the file or object became shorter while it was sent"),
        "{said:?}"
    );
}

#[test]
fn a_bucket_without_tls_needs_to_be_allowed() {
    let open = |place: &str, environment: &[(&str, &str)], allow_http| {
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        let environment: Vec<(OsString, OsString)> = environment.collect();
        let options = BucketOptions { allow_http, ..BucketOptions::default() };
        Bucket::open_with(place, environment, options)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    // There is nothing else wrong with it but that it may not be built in.
    let check = |opened: Result<(), String>| {
        let is_built_in =
            |error: &String| !["not enabled", "no built-in"].iter().any(|no| error.contains(no));
        assert!(!opened.as_ref().is_err_and(is_built_in), "{opened:?}");
    };
    let plain: &[(&str, &str)] =
        &[("AWS_ENDPOINT", "http://127.0.0.1:1"), ("AWS_REGION", "us-east-1")];
    for (place, environment) in [
        ("http://user:secret@127.0.0.1:1/a?key=secret", &[][..]),
        ("HTTP://127.0.0.1:1/a", &[]),
        ("s3://bucket/a", plain),
        (
            "s3://bucket/a",
            &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ALLOW_HTTP", "false")],
        ),
    ] {
        let error = open(place, environment, false).unwrap_err();
        assert!(error.contains("is without TLS: allow it with --allow-http"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        check(open(place, environment, true));
    }
    let by_environment = [plain, &[("AWS_ALLOW_HTTP", "true")]].concat();
    check(open("s3://bucket/a", &by_environment, false));
    check(open("https://127.0.0.1:1/a", &[], false));
}

#[tokio::test]
async fn a_bucket_that_answers_can_be_served() {
    let check = async |store: &FaultyStore| {
        let bucket = Bucket {
            store: Arc::new(store.clone()),
            strength: cache_facade::ValidatorStrength::Strong,
        };
        bucket.check().await.map_err(|error| error.to_string())
    };
    let store = FaultyStore::in_memory();
    // What is not there need not be.
    check(&store).await.unwrap();
    store.put(&Path::from("index.html"), "".into()).await.unwrap();
    check(&store).await.unwrap();
    for (failure, words) in [
        (Failure::Unavailable, "cannot be reached"),
        (Failure::Unauthenticated, "does not know these credentials"),
        (Failure::PermissionDenied, "--no-check"),
    ] {
        store.fault(Fault::error(failure));
        let error = check(&store).await.unwrap_err();
        assert!(error.contains(words), "{error}");
        store.heal();
    }
    // It could answer if it were asked otherwise.
    store.fault(Fault::error(Failure::NotSupported));
    check(&store).await.unwrap();
    store.heal();
    store.fault(Fault::hold());
    tokio::time::pause();
    let error = check(&store).await.unwrap_err();
    assert!(error.contains("did not answer within 10s"), "{error}");
}

/// After a restart another object may be there, whose tag a browser's copy must not have.
#[tokio::test]
async fn no_two_buckets_in_memory_have_a_tag_in_common() {
    let mut tags = Vec::new();
    for bucket in [
        Bucket::from(demo().await.unwrap()),
        Bucket::from(demo().await.unwrap()),
        open("memory:///").unwrap(),
        open("memory:///a").unwrap(),
    ] {
        assert_eq!(bucket.strength, cache_facade::ValidatorStrength::Strong);
        bucket.store.put(&Path::from("index.html"), "words".into()).await.unwrap();
        let server = serve(bucket).await;
        let tag = get(server.address, "/").await.header("etag").unwrap().to_owned();
        let answer = ask(server.address, "GET", "/", &[("If-None-Match", &tag)]).await;
        assert_eq!((answer.status, answer.header("etag")), (304, Some(&*tag)));
        tags.push(tag);
    }
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), 4);
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
    assert_eq!(
        get(server.address, "/store.svg").await.header("content-type"),
        Some("image/svg+xml")
    );
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
    let asked: Vec<_> =
        server.requests().iter().map(|request| (request.operation, request.status)).collect();
    assert_eq!(asked, [(Operation::Head, Some(200))]);
}
