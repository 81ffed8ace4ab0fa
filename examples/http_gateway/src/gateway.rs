//! From a request to the cached store, and back.

use std::{fmt, mem, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use cache_facade::{
    Bytes, CacheOutcome, CacheStatus, CachedStore, Freshness,
    cache_metrics::{self, Registry},
    object_store::{self, Attributes, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, path::Path},
};
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};

use crate::{
    cache_status,
    conditions::{self, Verdict, Version},
    failure, headers, key, range,
};

/// Serves the objects of a [`CachedStore`] over HTTP.
///
/// ```
/// use std::sync::Arc;
/// use cache_facade::CachedStoreBuilder;
/// use http_gateway::{Gateway, demo};
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = CachedStoreBuilder::new(Arc::new(demo().await?)).build()?;
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// println!("http://{}/", listener.local_addr()?);
/// let server = axum::serve(listener, Gateway::new(store).router());
/// # let stop = std::future::ready(());
/// server.with_graceful_shutdown(stop).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens before `router`"]
pub struct Gateway {
    store: CachedStore,
    max_age: Option<Duration>,
    metrics_path: String,
    registry: Registry,
    on_failure: Arc<OnFailure>,
}

type OnFailure = dyn Fn(&Path, &object_store::Error) + Send + Sync;

impl Gateway {
    /// Over `store`, with the freshness that it was built with.
    pub fn new(store: CachedStore) -> Self {
        let registry = Registry::new();
        registry.add(&store);
        let on_failure = Arc::new(|_: &Path, _: &object_store::Error| {});
        Self { store, max_age: None, metrics_path: "/metrics".to_owned(), registry, on_failure }
    }

    /// The `max_age` that `store` was built with: then `Cache-Status` has a `ttl`. Changes nothing else. Default: zero,
    /// which is no `ttl`.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age).filter(|max_age| !max_age.is_zero());
        self
    }

    /// Where Prometheus reads. An object whose key is this path cannot be had. Default: `/metrics`.
    pub fn metrics_path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.metrics_path);
        self
    }

    /// The caches whose figures are shown. Default: `store` alone.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Called with every error that is the store's or the cache's, and not an answer such as "no such object": the client
    /// is told a status, or has its connection closed, and no more.
    pub fn on_failure(mut self, call: impl Fn(&Path, &object_store::Error) + Send + Sync + 'static) -> Self {
        self.on_failure = Arc::new(call);
        self
    }

    /// The service.
    pub fn router(self) -> Router {
        Router::new().fallback(answer).with_state(Arc::new(self))
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("store", &self.store)
            .field("max_age", &self.max_age)
            .field("metrics_path", &self.metrics_path)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return ([(header::ALLOW, "GET, HEAD")], plain(StatusCode::METHOD_NOT_ALLOWED)).into_response();
    }
    let path = request.uri().path();
    if key::decoded(path).is_some_and(|path| path == gateway.metrics_path) {
        return gateway.metrics();
    }
    let Some(key) = key::of(path) else { return plain(StatusCode::BAD_REQUEST) };
    match gateway.read(&key, request.method() == Method::HEAD, request.headers()).await {
        Ok(response) => response,
        Err(error) => {
            let status = failure::status(&error);
            if status.is_server_error() {
                (gateway.on_failure)(&key, &error);
            }
            plain(status)
        }
    }
}

impl Gateway {
    async fn read(&self, key: &Path, is_head: bool, asked: &HeaderMap) -> object_store::Result<Response> {
        for _ in 1..TRIES_MAX {
            match self.try_read(key, is_head, asked).await {
                // It was replaced before anything was sent.
                Err(object_store::Error::Precondition { .. }) => {}
                answer => return answer,
            }
        }
        self.try_read(key, is_head, asked).await
    }

    /// If there is something to decide, the cache is first asked what it knows of the object: that costs the store
    /// nothing, or a request without a body. Then for the bytes of that version, if there are to be any, without asking
    /// the store again whether it is current.
    async fn try_read(&self, key: &Path, is_head: bool, asked: &HeaderMap) -> object_store::Result<Response> {
        let range = range::asked(asked);
        let has_if_range = range.is_some() && asked.contains_key(header::IF_RANGE);
        if !is_head && !has_if_range && !conditions::are_in(asked) {
            return self.send(key, range, None).await;
        }
        let head = Known::of(&mut self.store.get_opts(key, GetOptions::new().with_head(true)).await?);
        let version = Version::of(&head.meta);
        match version.judge(asked) {
            Verdict::NotModified => Ok(self.not_modified(&head)),
            Verdict::Failed => Ok(plain(StatusCode::PRECONDITION_FAILED)),
            Verdict::Met if is_head => Ok(self.describe(&head)),
            Verdict::Met => {
                self.send(key, range.filter(|_| version.is_in_range_of(asked)), Some(&head)).await
            }
        }
    }

    /// The bytes: of the version that `head` tells of, if it was asked for.
    async fn send(
        &self,
        key: &Path,
        range: Option<GetRange>,
        head: Option<&Known>,
    ) -> object_store::Result<Response> {
        let mut options = GetOptions::new().with_range(range.clone());
        if let Some(head) = head {
            if let Some(range) = &range
                && range::of_size(range, head.meta.size).is_none()
            {
                return Ok(not_satisfiable(head.meta.size));
            }
            options.if_match = Version::of(&head.meta).strong_tag();
            options.extensions.insert(Freshness::immutable());
        }
        let mut answer = match (self.store.get_opts(key, options).await, &range) {
            (Err(error), Some(range)) => return self.without_range(key, range, error).await,
            (answer, _) => answer?,
        };
        let (sent, known) = (answer.range.clone(), Known::of(&mut answer));
        if range.is_some() && sent.is_empty() {
            return Ok(not_satisfiable(known.meta.size));
        }
        // A failure up to here can still be said.
        let mut body = answer.into_stream();
        let first = body.try_next().await?;

        let code = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let mut headers = known.headers();
        headers.insert(header::CONTENT_LENGTH, (sent.end - sent.start).into());
        if range.is_some() {
            let text = format!("bytes {}-{}/{}", sent.start, sent.end.saturating_sub(1), known.meta.size);
            headers.extend(field(header::CONTENT_RANGE, &text));
        }
        // The first question tells how the version came to be known; by the second one it was.
        let own = known.status.as_ref();
        let first_asked = head.and_then(|head| head.status.as_ref()).or(own);
        headers.extend(self.cache_fields(first_asked, own, code));
        Ok((code, headers, self.body(key, first, body)).into_response())
    }

    /// The store did not like the range, or failed for another reason.
    async fn without_range(
        &self,
        key: &Path,
        range: &GetRange,
        error: object_store::Error,
    ) -> object_store::Result<Response> {
        // What the cache itself has to say is not about the range.
        if failure::kind(&error).is_some() || failure::status(&error) != StatusCode::BAD_GATEWAY {
            return Err(error);
        }
        let mut options = GetOptions::new().with_head(true);
        options.extensions.insert(Freshness::immutable());
        match self.store.get_opts(key, options).await {
            Ok(head) if range::of_size(range, head.meta.size).is_none() => {
                Ok(not_satisfiable(head.meta.size))
            }
            _ => Err(error),
        }
    }

    fn describe(&self, head: &Known) -> Response {
        let mut headers = head.headers();
        headers.insert(header::CONTENT_LENGTH, head.meta.size.into());
        headers.extend(self.cache_fields(head.status.as_ref(), None, StatusCode::OK));
        (StatusCode::OK, headers, Body::empty()).into_response()
    }

    fn not_modified(&self, head: &Known) -> Response {
        let mut headers = headers::of_version(&head.meta, &head.attributes);
        // That of the body that is not sent: else a HEAD would be told that there is none.
        headers.insert(header::CONTENT_LENGTH, head.meta.size.into());
        headers.extend(self.cache_fields(head.status.as_ref(), None, StatusCode::NOT_MODIFIED));
        (StatusCode::NOT_MODIFIED, headers).into_response()
    }

    /// `Cache-Status`, and `Age` if the store was not asked (RFC 9111 section 4).
    fn cache_fields(
        &self,
        known: Option<&CacheStatus>,
        body: Option<&CacheStatus>,
        sent: StatusCode,
    ) -> HeaderMap {
        let Some(known) = known else { return HeaderMap::new() };
        let status = cache_status::field(known, body, sent, self.max_age);
        let mut headers: HeaderMap = field(CACHE_STATUS, &status).into_iter().collect();
        if matches!(known.outcome(), CacheOutcome::Fresh | CacheOutcome::Stale) {
            headers.insert(header::AGE, known.age().as_secs().into());
        }
        headers
    }

    /// An error of the store ends the connection before the announced length has come: the client can tell.
    fn body(
        &self,
        key: &Path,
        first: Option<Bytes>,
        rest: BoxStream<'static, object_store::Result<Bytes>>,
    ) -> Body {
        let (key, on_failure) = (key.clone(), Arc::clone(&self.on_failure));
        let rest = rest.inspect_err(move |error| on_failure(&key, error));
        Body::from_stream(stream::iter(first.map(Ok)).chain(rest))
    }

    fn metrics(&self) -> Response {
        let kind = [(header::CONTENT_TYPE, cache_metrics::CONTENT_TYPE)];
        (kind, self.registry.render_prometheus()).into_response()
    }
}

/// What an answer of the store says of an object.
struct Known {
    meta: ObjectMeta,
    attributes: Attributes,
    status: Option<CacheStatus>,
}

impl Known {
    /// Leaves the body.
    fn of(answer: &mut GetResult) -> Self {
        Self {
            meta: answer.meta.clone(),
            attributes: mem::take(&mut answer.attributes),
            status: answer.extensions.remove(),
        }
    }

    fn headers(&self) -> HeaderMap {
        headers::of_object(&self.meta, &self.attributes)
    }
}

/// An answer that says what it is and no more.
fn plain(status: StatusCode) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], format!("{status}\n")).into_response()
}

fn not_satisfiable(size: u64) -> Response {
    let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE);
    response.headers_mut().extend(field(header::CONTENT_RANGE, &format!("bytes */{size}")));
    response
}

fn field(name: HeaderName, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((name, HeaderValue::from_str(value).ok()?))
}

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How often a read begins, if the object is replaced meanwhile.
const TRIES_MAX: usize = 3;
