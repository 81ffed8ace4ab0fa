//! A minimal S3 server on the loopback interface (objects, their ETags, `If-None-Match`), and an
//! unsigned S3 client for it over plain HTTP/1.1. The server of `cache-testkit` records its
//! requests, which costs time and grows.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use bytes::Bytes;
use cache_facade::object_store::{ObjectStore, aws::AmazonS3Builder};
use cache_testkit::PlainHttp;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;

/// Starts a server on a thread that runs as long as the process. Returns a client of it.
pub(crate) fn over_loopback() -> Arc<dyn ObjectStore> {
    let listener =
        TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port is free");
    let address = listener.local_addr().expect("the socket is bound");
    thread::spawn(move || serve(listener));
    let store = AmazonS3Builder::new()
        .with_endpoint(format!("http://{address}"))
        .with_allow_http(true)
        .with_bucket_name("bench")
        .with_region("us-east-1")
        .with_skip_signature(true)
        .with_http_connector(PlainHttp)
        .build();
    Arc::new(store.expect("settings are in bounds"))
}

type Objects = Arc<Mutex<HashMap<String, (String, Bytes)>>>;

fn serve(listener: TcpListener) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be built").block_on(async move {
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let listener =
            tokio::net::TcpListener::from_std(listener).expect("this is a runtime thread");
        let objects = Objects::default();
        while let Ok((connection, _)) = listener.accept().await {
            connection.set_nodelay(true).expect("a connection can be without delay");
            let objects = Arc::clone(&objects);
            let service = service_fn(move |request| answer(Arc::clone(&objects), request));
            let connection = TokioIo::new(connection);
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(connection, service));
        }
    });
}

async fn answer(
    objects: Objects,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let key = head.uri.path().to_owned();
    let response = Response::builder();
    let response = match head.method {
        Method::PUT => {
            let Ok(body) = body.collect().await else { return Ok(Response::default()) };
            let body = body.to_bytes();
            let mut objects = objects.lock().unwrap_or_else(PoisonError::into_inner);
            let tag = format!("\"{:032x}\"", objects.len());
            objects.insert(key, (tag.clone(), body));
            response.header("etag", tag).body(Full::default())
        }
        _ => match objects.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            Some((tag, _)) if head.headers.get("if-none-match").is_some_and(|sent| sent == tag) => {
                response.status(StatusCode::NOT_MODIFIED).header("etag", tag).body(Full::default())
            }
            Some((tag, body)) => response
                .header("etag", tag)
                .header("last-modified", "Tue, 24 Nov 2026 00:00:00 GMT")
                .body(Full::new(body.clone())),
            None => response.status(StatusCode::NOT_FOUND).body(Full::default()),
        },
    };
    Ok(response.expect("the headers are valid"))
}
