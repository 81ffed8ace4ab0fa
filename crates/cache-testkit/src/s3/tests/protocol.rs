//! What the server keeps: object_store's own tests of stores, through its S3 client.

use futures_util::StreamExt as _;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, PutMode,
    PutOptions, UpdateVersion, integration,
    list::{PaginatedListOptions, PaginatedListStore as _},
    path::Path,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{Operation, S3Fault, S3Server};

/// Runs some of them, each over a server of its own.
macro_rules! integration {
    ($($name:ident: |$store:ident| $run:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let server = S3Server::start().unwrap();
            let $store = &server.client();
            $run.await;
        }
    )*};
}

integration! {
    put_get_delete_list: |store| integration::put_get_delete_list(store);
    put_get_attributes: |store| integration::put_get_attributes(store);
    get_opts: |store| integration::get_opts(store);
    put_opts: |store| integration::put_opts(store, true);
    stream_get: |store| integration::stream_get(store);
    list_uses_directories_correctly: |store| integration::list_uses_directories_correctly(store);
    list_with_delimiter: |store| integration::list_with_delimiter(store);
    list_paginated: |store| integration::list_paginated(store, store);
    list_with_offset_exclusivity: |store| integration::list_with_offset_exclusivity(store);
    get_nonexistent_object: |store| async { integration::get_nonexistent_object(store, None).await.unwrap_err() };
    rename_and_copy: |store| integration::rename_and_copy(store);
    copy_if_not_exists: |store| integration::copy_if_not_exists(store);
    copy_rename_nonexistent_object: |store| integration::copy_rename_nonexistent_object(store);
    multipart: |store| integration::multipart(store, store);
    multipart_with_opts: |store| integration::multipart_with_opts(store, store);
    multipart_put_part_out_of_order: |store| integration::multipart_put_part_out_of_order(store, store);
    multipart_out_of_order: |store| integration::multipart_out_of_order(store);
    multipart_race_condition: |store| integration::multipart_race_condition(store, true);
}

#[tokio::test]
async fn every_request_is_recorded_as_it_came() {
    let server = S3Server::start().unwrap();
    let store = server.client();
    let path = Path::from("a b/c");
    store.put(&path, "body".into()).await.unwrap();
    let tag = server.e_tag("a b/c").unwrap();
    let options = GetOptions::new()
        .with_if_match(Some(tag.clone()))
        .with_range(Some(GetRange::Bounded(1..3)));
    assert_eq!(store.get_opts(&path, options).await.unwrap().bytes().await.unwrap(), "od");
    store.head(&path).await.unwrap();
    store.copy_opts(&path, &Path::from("d"), CopyOptions::new()).await.unwrap();
    store.delete(&path).await.unwrap();
    store.get(&path).await.unwrap_err();

    server.wait_until(|requests| requests.iter().all(|request| request.status.is_some())).await;
    let requests = server.requests();
    use Operation::{Copy, Delete, Get, Head, Put};
    let seen: Vec<_> =
        requests.iter().map(|it| (it.operation, it.key.as_str(), it.status)).collect();
    assert_eq!(
        seen,
        [
            (Put, "a b/c", Some(200)),
            (Get, "a b/c", Some(206)),
            (Head, "a b/c", Some(200)),
            (Copy, "d", Some(200)),
            (Delete, "a b/c", Some(204)),
            (Get, "a b/c", Some(404)),
        ]
    );
    assert_eq!(requests[0].body, "body");
    assert_eq!(requests[1].header("if-match"), Some(tag.as_str()));
    assert_eq!(
        (requests[1].header("range"), requests[1].body_bytes_written),
        (Some("bytes=1-2"), 2)
    );
    assert_eq!(requests[3].source.as_deref(), Some("a b/c"));
    assert_eq!(server.count_of(Get), 2);
    server.reset();
    assert_eq!(server.count(), 0);
}

/// As every `AmazonS3Builder` deletes, unless it is told otherwise.
#[tokio::test]
async fn many_keys_are_deleted_by_one_request_and_each_has_its_own_outcome() {
    let server = S3Server::start().unwrap();
    let store = server.client_builder().with_disable_bulk_delete(false).build().unwrap();
    let keys: Vec<String> = (0..1200).map(|n| format!("a&b <{n}>/é'\"")).collect();
    let paths: Vec<_> = keys.iter().map(|key| Path::from(key.as_str())).collect();
    for path in &paths {
        server.put(path.as_ref(), "body");
    }
    let spoiled: Vec<_> = paths.iter().step_by(400).map(|path| path.to_string()).collect();
    for key in &spoiled {
        server.fault(S3Fault::key_error(key, "AccessDenied").once());
    }
    let delete = async || {
        let locations = futures_util::stream::iter(paths.clone().into_iter().map(Ok)).boxed();
        store.delete_stream(locations).collect::<Vec<_>>().await
    };
    let deleted = delete().await;
    let failed: Vec<_> =
        paths.iter().zip(&deleted).filter(|(_, outcome)| outcome.is_err()).collect();
    assert_eq!(failed.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>(), spoiled);
    let said = format!("{:?}", failed[0].1);
    assert!(said.contains("AccessDenied") && said.contains(&spoiled[0]), "{said}");
    let left = || paths.iter().filter(|path| server.body(path.as_ref()).is_some());
    assert_eq!(left().map(ToString::to_string).collect::<Vec<_>>(), spoiled);
    let requests = server.requests();
    let asked: Vec<_> =
        requests.iter().map(|it| (it.operation, it.keys().len(), it.status)).collect();
    assert_eq!(
        asked,
        [(Operation::BulkDelete, 1000, Some(200)), (Operation::BulkDelete, 200, Some(200))]
    );

    // What is missing is deleted.
    assert!(delete().await.iter().all(Result::is_ok));
    assert_eq!(left().count(), 0);
    store.delete(&Path::from("nothing")).await.unwrap();
}

#[tokio::test]
async fn a_bulk_delete_may_fail_as_a_whole_before_and_after_it_took_effect() {
    let server = S3Server::start().unwrap();
    let store = server.client_builder().with_disable_bulk_delete(false).build().unwrap();
    server.put("a", "body");
    server.fault(S3Fault::status(403).on(Operation::BulkDelete).once());
    store.delete(&Path::from("a")).await.unwrap_err();
    assert!(server.body("a").is_some());
    server.fault(S3Fault::hang_up().late().on(Operation::BulkDelete).once());
    store.delete(&Path::from("a")).await.unwrap_err();
    assert!(server.body("a").is_none());
}

#[tokio::test]
async fn weak_tags_lists_and_any_are_judged_by_the_book() {
    let server = S3Server::start().unwrap();
    let store = server.client();
    let path = Path::from("a");
    let tag = server.put("a", "body");
    let ask = async |options: GetOptions| match store.get_opts(&path, options).await {
        Ok(_) => 200,
        Err(Error::NotModified { .. }) => 304,
        Err(Error::Precondition { .. }) => 412,
        Err(other) => panic!("{other}"),
    };
    for (sent, none_match, matches) in [
        (tag.clone(), 304, 200),
        (format!("W/{tag}"), 304, 412),
        (format!("\"x\", {tag}"), 304, 200),
        ("*".to_owned(), 304, 200),
        ("\"x\"".to_owned(), 200, 412),
    ] {
        assert_eq!(
            ask(GetOptions::new().with_if_none_match(Some(sent.clone()))).await,
            none_match,
            "{sent}"
        );
        assert_eq!(
            ask(GetOptions::new().with_if_match(Some(sent.clone()))).await,
            matches,
            "{sent}"
        );
    }
}

#[tokio::test]
async fn ranges_are_those_that_were_asked_for() {
    let server = S3Server::start().unwrap();
    let store = server.client();
    let path = Path::from("a");
    server.put("a", "0123456789");
    for (range, expected) in [
        (GetRange::Bounded(2..5), Some("234")),
        (GetRange::Bounded(8..50), Some("89")),
        (GetRange::Offset(7), Some("789")),
        (GetRange::Suffix(3), Some("789")),
        (GetRange::Suffix(30), Some("0123456789")),
        (GetRange::Offset(10), None),
    ] {
        let answer = store.get_opts(&path, GetOptions::new().with_range(Some(range.clone()))).await;
        match expected {
            Some(expected) => {
                assert_eq!(answer.unwrap().bytes().await.unwrap(), expected, "{range:?}");
            }
            None => assert!(answer.is_err(), "{range:?}"),
        }
    }
    assert_eq!(server.requests().last().unwrap().status, Some(416));
}

/// What object_store's client does not show of an answer.
#[tokio::test]
async fn a_304_has_its_tag_and_a_206_its_place() {
    let server = S3Server::start().unwrap();
    let tag = server.put("a", "0123456789");
    let ask = async |header: String| {
        let mut wire = TcpStream::connect(server.address()).await.unwrap();
        let request = format!("GET /any/a HTTP/1.1\r\n{header}\r\n\r\n");
        wire.write_all(request.as_bytes()).await.unwrap();
        wire.shutdown().await.unwrap();
        let mut answer = String::new();
        wire.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let confirmed = ask(format!("if-none-match: {tag}")).await;
    assert_eq!(confirmed, format!("HTTP/1.1 304 Not Modified\r\netag: {tag}\r\n\r\n"));
    let part = ask("range: bytes=2-4".into()).await;
    assert!(part.starts_with("HTTP/1.1 206 ") && part.ends_with("\r\n\r\n234"), "{part}");
    assert!(part.contains("\r\ncontent-range: bytes 2-4/10\r\n"), "{part}");
    let beyond = ask("range: bytes=10-".into()).await;
    assert!(beyond.contains("\r\ncontent-range: bytes */10\r\n"), "{beyond}");
    for whole in ["range: bytes=0-1,4-5", "if-range: \"x\"\r\nrange: bytes=2-4", "range: bytes=4-2"]
    {
        assert!(ask(whole.into()).await.ends_with("\r\n\r\n0123456789"), "{whole}");
    }
    let same = ask(format!("if-range: {tag}\r\nrange: bytes=2-4")).await;
    assert!(same.ends_with("\r\n\r\n234"), "{same}");
}

#[tokio::test]
async fn a_folder_is_on_one_page_of_a_list() {
    let server = S3Server::start().unwrap();
    for key in ["a/1", "a/2", "b", "c/1", "c/2", "d & <e>"] {
        server.put(key, "body");
    }
    let (store, mut seen, mut page_token) = (server.client(), Vec::new(), None);
    loop {
        let options = PaginatedListOptions {
            delimiter: Some("/".into()),
            max_keys: Some(1),
            page_token,
            ..PaginatedListOptions::default()
        };
        let page = store.list_paginated(None, options).await.unwrap();
        seen.extend(page.result.common_prefixes.iter().map(ToString::to_string));
        seen.extend(page.result.objects.iter().map(|object| object.location.to_string()));
        page_token = page.page_token;
        if page_token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d & <e>"]);
    assert_eq!(server.count(), 4);
}

#[tokio::test]
async fn of_many_who_write_at_one_version_one_wins() {
    let server = S3Server::start().unwrap();
    let store = server.client();
    let path = Path::from("a");
    for _ in 0..10 {
        let version = UpdateVersion { e_tag: Some(server.put("a", "old")), version: None };
        let puts = (0..8).map(|_| {
            let options = PutOptions::from(PutMode::Update(version.clone()));
            store.put_opts(&path, "new".into(), options)
        });
        let answers = futures_util::future::join_all(puts).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    }
}
