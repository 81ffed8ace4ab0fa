//! From a request to the cached store, and back.

use std::{fmt, mem, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::map_request,
    response::{IntoResponse, Response},
    routing::get,
};
use cache_facade::{
    Bytes, CacheStatus, CachedStore, Freshness, Status,
    cache_metrics::{self, Registry},
    object_store::{
        self, Attributes, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, path::Path,
    },
};
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use tokio::{sync::watch, time::sleep_until};

use crate::{
    Rules,
    cache_control::Directives,
    cache_status, clock,
    conditions::{self, Verdict, Version},
    failure, headers, host, key, range,
    wait::{Wait, Waits},
};

/// Serves the objects of a [`CachedStore`] over HTTP.
///
/// ```
/// use std::sync::Arc;
/// use cache_facade::{CachedStore, Memory};
/// use http_gateway::{Gateway, Server, demo};
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = CachedStore::builder(Arc::new(demo().await?), Memory::new()).build()?;
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// println!("http://{}/", listener.local_addr()?);
/// # let stop = std::future::ready(());
/// Server::new().serve(listener, Gateway::new(store).router(), stop).await;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens before `router`"]
pub struct Gateway {
    store: CachedStore,
    rules: Rules,
    obeys: bool,
    redirects: bool,
    metrics_path: Option<String>,
    registry: Registry,
    on_failure: Arc<OnFailure>,
    waits: Waits,
    health: Health,
}

type OnFailure = dyn Fn(&Path, &object_store::Error) + Send + Sync;

impl Gateway {
    /// Over `store`, with the freshness that it was built with.
    pub fn new(store: CachedStore) -> Self {
        let registry = Registry::new();
        registry.add(&store);
        let on_failure = Arc::new(|_: &Path, _: &object_store::Error| {});
        let rules = Rules::default();
        Self {
            store,
            rules,
            obeys: true,
            redirects: true,
            metrics_path: None,
            registry,
            on_failure,
            waits: Waits::new(),
            health: Health::new(),
        }
    }

    /// The `max_age` that `store` was built with: then `Cache-Status` has a `ttl`. Default: zero,
    /// which is no `ttl`.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.rules.default.max_age = max_age;
        self
    }

    /// The freshness that `store` was built with, for `Cache-Status`, and for what an object's
    /// `Cache-Control` leaves of it. Default: every read is revalidated.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Whether an object's `Cache-Control` can make reads revalidate it that `store` would answer
    /// without a request. So that `no-store` and `private` objects are not cached either, build
    /// `store` with `cache_if(http_gateway::may_be_cached)`. Default: true.
    pub fn obey_cache_control(mut self, obeys: bool) -> Self {
        self.obeys = obeys;
        self
    }

    /// Whether `/docs` leads to `/docs/` if there is a `docs/index.html`, but no object `docs`. To
    /// find out costs another request to the store for each path without an object. Default: true.
    pub fn redirect_folders(mut self, redirects: bool) -> Self {
        self.redirects = redirects;
        self
    }

    /// Shows the figures for Prometheus at this path of the public address too. An object whose key
    /// is this path cannot be had. Default: only [`admin`](Self::admin) shows them.
    pub fn metrics_path(mut self, path: &str) -> Self {
        self.metrics_path = Some(path.to_owned());
        self
    }

    /// The caches whose figures are shown. Default: `store` alone.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Called with every error that is the store's or the cache's, and not an answer such as "no
    /// such object": the client is told a status, or has its connection closed, and no more.
    pub fn on_failure(
        mut self,
        call: impl Fn(&Path, &object_store::Error) + Send + Sync + 'static,
    ) -> Self {
        self.on_failure = Arc::new(call);
        self
    }

    /// The longest time for which a request waits for a change of its object
    /// (`Prefer: wait=30` beside `If-None-Match`). Zero: none waits. Default: 60 s.
    pub fn wait_max(mut self, longest: Duration) -> Self {
        self.waits.longest = longest;
        self
    }

    /// After how long a waiting request reads its object again, if nothing told of a change: a
    /// write through `store`, or a message on its bus. Each costs the store a request without a
    /// body. Zero is taken for a tenth of a second. Default: 5 s.
    pub fn wait_poll(mut self, poll: Duration) -> Self {
        self.waits.poll = poll;
        self
    }

    /// How many requests may wait at a time. Any other is answered at once, as if it had not wanted
    /// to wait. It should be less than the number of connections. Default: 100.
    pub fn waiting_max(mut self, n_max: usize) -> Self {
        self.waits.set_max(n_max);
        self
    }

    /// Requests that wait are answered as soon as this is drained. Default: they wait on.
    pub fn health(mut self, health: &Health) -> Self {
        self.health = health.clone();
        self
    }

    /// The service for the gateway's clients.
    pub fn router(self) -> Router {
        Router::new().fallback(answer).with_state(Arc::new(self))
    }

    /// The service for those who run it, on an address of its own: `/metrics` for Prometheus, also
    /// of how many requests wait for a change, and `/healthz`, which is 200, or 503 once `health`
    /// says that the gateway is about to stop. A bucket that fails is no reason to stop sending
    /// clients here: what is cached may still be served.
    pub fn admin(&self, health: &Health) -> Router {
        let (registry, health) = (self.registry.clone(), health.clone());
        let waits = self.waits.clone();
        Router::new()
            .route("/metrics", get(async move || metrics(&registry, &waits)))
            .route("/healthz", get(async move || health.answer()))
            .fallback(async || plain(StatusCode::NOT_FOUND))
            .layer(map_request(only_with_host))
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("store", &self.store)
            .field("rules", &self.rules)
            .field("obeys", &self.obeys)
            .field("redirects", &self.redirects)
            .field("metrics_path", &self.metrics_path)
            .field("registry", &self.registry)
            .field("waits", &self.waits)
            .finish_non_exhaustive()
    }
}

/// Whether the gateway goes on serving.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<watch::Sender<bool>>);

impl Health {
    /// Of one that does.
    pub fn new() -> Self {
        Self::default()
    }

    /// It is about to stop: whoever chooses between servers should choose another one.
    pub fn drain(&self) {
        self.0.send_replace(true);
    }

    fn is_drained(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for [`drain`](Self::drain).
    async fn drained(&self) {
        // The sender is this handle's, so that it does not fail.
        let _ = self.0.subscribe().wait_for(|is_drained| *is_drained).await;
    }

    fn answer(&self) -> Response {
        let (status, text) = match self.is_drained() {
            true => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            false => (StatusCode::OK, "ok\n"),
        };
        (status, [(header::CACHE_CONTROL, "no-store")], text).into_response()
    }
}

async fn only_with_host(request: Request) -> Result<Request, Response> {
    match host::is_valid(request.version(), request.headers()) {
        true => Ok(request),
        false => Err(plain(StatusCode::BAD_REQUEST)),
    }
}

async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if !host::is_valid(request.version(), request.headers()) {
        return plain(StatusCode::BAD_REQUEST);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return ([(header::ALLOW, "GET, HEAD")], plain(StatusCode::METHOD_NOT_ALLOWED))
            .into_response();
    }
    let path = request.uri().path();
    if key::decoded(path).is_some_and(|path| gateway.metrics_path.as_ref() == Some(&path)) {
        return metrics(&gateway.registry, &gateway.waits);
    }
    let Some(key) = key::of(path) else { return plain(StatusCode::BAD_REQUEST) };
    let (is_head, asked) = (request.method() == Method::HEAD, request.headers());
    let mut read = match gateway.waits.begin(asked) {
        Some(wait) => gateway.read_changed(&key, is_head, asked, &wait).await,
        None => gateway.read(&key, is_head, asked, None).await,
    };
    if matches!(read, Err(object_store::Error::NotFound { .. }))
        && let Some(redirected) = gateway.redirect(&key, request.uri()).await
    {
        read = redirected;
    }
    match read {
        Ok(response) => response,
        Err(error) => {
            let status = failure::status(&error);
            if status.is_server_error() {
                (gateway.on_failure)(&key, &error);
            }
            let mut response = plain(status);
            let is_remembered = gateway.rules.remember_missing(key.as_ref());
            let field_value = cache_status::of_error(&error, status, is_remembered);
            response.headers_mut().extend(field(CACHE_STATUS, &field_value));
            response
        }
    }
}

impl Gateway {
    /// A read that waits for a change as long as the client has the current version. Signals are
    /// hints, so that the object is read again without one too.
    async fn read_changed(
        &self,
        key: &Path,
        is_head: bool,
        asked: &HeaderMap,
        wait: &Wait<'_>,
    ) -> object_store::Result<Response> {
        // Before the first read: a change after it is not missed.
        let mut changes = self.store.changes(key);
        let mut freshness = None;
        loop {
            let read = self.read(key, is_head, asked, freshness).await;
            let now = clock::now();
            let is_over = now >= wait.deadline || self.health.is_drained();
            match read {
                Ok(mut response) if response.status() != StatusCode::NOT_MODIFIED || is_over => {
                    response.headers_mut().extend(wait.applied());
                    return Ok(response);
                }
                Ok(_) => {}
                // An outage may end before the client's patience does.
                Err(error) if failure::status(&error).is_server_error() && !is_over => {
                    (self.on_failure)(key, &error);
                }
                Err(error) => return Err(error),
            }
            // Signals of a busy object do not make it busier.
            let soon = (now + WAIT_PAUSE).min(wait.deadline);
            let later = (now + self.waits.poll).clamp(soon, wait.deadline);
            tokio::select! {
                () = sleep_until(later) => {}
                () = self.health.drained() => {}
                () = changes.changed() => sleep_until(soon).await,
            }
            // The last answer is one that the client would have had without waiting.
            let is_last = clock::now() >= wait.deadline;
            freshness = (!is_last).then(Freshness::strong);
        }
    }

    /// `freshness` is for what the cache knows of the object, if not its own rule counts.
    async fn read(
        &self,
        key: &Path,
        is_head: bool,
        asked: &HeaderMap,
        freshness: Option<Freshness>,
    ) -> object_store::Result<Response> {
        for _ in 1..TRIES_MAX {
            match self.try_read(key, is_head, asked, freshness).await {
                // It was replaced before anything was sent.
                Err(object_store::Error::Precondition { .. }) => {}
                answer => return answer,
            }
        }
        self.try_read(key, is_head, asked, freshness).await
    }

    /// If there is something to decide, the cache is first asked what it knows of the object: that
    /// costs the store nothing, or a request without a body. Then for the bytes of that version, if
    /// there are to be any, without asking the store again whether it is current.
    async fn try_read(
        &self,
        key: &Path,
        is_head: bool,
        asked: &HeaderMap,
        freshness: Option<Freshness>,
    ) -> object_store::Result<Response> {
        let range = range::asked(asked);
        let has_if_range = range.is_some() && asked.contains_key(header::IF_RANGE);
        if !is_head && !has_if_range && !conditions::are_in(asked) {
            return self.send(key, range, None).await;
        }
        let mut options = GetOptions::new().with_head(true);
        if let Some(freshness) = freshness {
            options.extensions.insert(freshness);
        }
        let head = Known::of(&mut self.get(key, options).await?);
        let version = Version::of(&head.meta);
        match version.judge(asked) {
            Verdict::NotModified => Ok(self.not_modified(&head)),
            Verdict::Failed => Ok(self.refuse(StatusCode::PRECONDITION_FAILED, &head)),
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
                return Ok(self.not_satisfiable(head));
            }
            options.if_match = Version::of(&head.meta).strong_tag();
            options.extensions.insert(Freshness::immutable());
        }
        let answer = match head {
            Some(_) => self.store.get_opts(key, options).await,
            None => self.get(key, options).await,
        };
        let mut answer = match (answer, &range) {
            (Err(error), Some(range)) => return self.without_range(key, range, error).await,
            (answer, _) => answer?,
        };
        let (sent, known) = (answer.range.clone(), Known::of(&mut answer));
        if range.is_some() && sent.is_empty() {
            return Ok(self.not_satisfiable(head.unwrap_or(&known)));
        }
        // A failure up to here can still be said.
        let mut body = answer.into_stream();
        let first = body.try_next().await?;

        let code = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let mut headers = known.headers();
        headers.insert(header::CONTENT_LENGTH, (sent.end - sent.start).into());
        if range.is_some() {
            let text =
                format!("bytes {}-{}/{}", sent.start, sent.end.saturating_sub(1), known.meta.size);
            headers.extend(field(header::CONTENT_RANGE, &text));
        }
        // The first question tells how the version came to be known; by the second one it was.
        let own = known.status.as_ref();
        let first_asked = head.and_then(|head| head.status.as_ref()).or(own);
        headers.extend(self.cache_fields(&known, first_asked, own, code));
        let body = self.body(key, first, body);
        Ok((code, headers, body).into_response())
    }

    /// The store did not like the range, or failed for another reason.
    async fn without_range(
        &self,
        key: &Path,
        range: &GetRange,
        error: object_store::Error,
    ) -> object_store::Result<Response> {
        // A store that fails is sent no second request.
        let is_outage = failure::kind(&error).is_some() && !failure::may_be_about_range(&error);
        if is_outage || failure::status(&error) != StatusCode::BAD_GATEWAY {
            return Err(error);
        }
        // The size that is cached will do, unless it contradicts the refusal: the object has
        // shrunk.
        for freshness in [Freshness::immutable(), Freshness::strong()] {
            let mut options = GetOptions::new().with_head(true);
            options.extensions.insert(freshness);
            let Ok(mut head) = self.store.get_opts(key, options).await else { break };
            let mut object = Known::of(&mut head);
            // How that came to be known is beside the point: it was the range that was asked for.
            let status = object.status.take();
            if range::of_size(range, object.meta.size).is_none() {
                let mut response = self.not_satisfiable(&object);
                let status = cache_status::of_error(&error, response.status(), false);
                response.headers_mut().extend(field(CACHE_STATUS, &status));
                return Ok(response);
            }
            if !status.is_some_and(|status| is_unasked(&status)) {
                break;
            }
        }
        Err(error)
    }

    /// What the cache has for `key`, unless the object's `Cache-Control` forbids to serve it like
    /// that: then it is revalidated. Before that, what is fresh has cost no request, unless bytes
    /// were missing; and what is stale one in the background, under `stale_while_revalidate`.
    async fn get(&self, key: &Path, mut options: GetOptions) -> object_store::Result<GetResult> {
        let answer = self.store.get_opts(key, options.clone()).await?;
        let directives = Directives::of(&answer.attributes);
        let status = answer.extensions.get::<CacheStatus>();
        if !self.obeys || status.is_none_or(|status| directives.allow(status)) {
            return Ok(answer);
        }
        let mut freshness = Freshness::strong();
        if directives.allow_stale() {
            freshness = freshness.stale_if_error(self.rules.of(key.as_ref()).stale_if_error);
        }
        options.extensions.insert(freshness);
        self.store.get_opts(key, options).await
    }

    /// For how long the object may be served without a request, if at all.
    fn lifetime(&self, object: &Known) -> Option<Duration> {
        let ours = self.rules.of(object.meta.location.as_ref()).max_age;
        let own = Directives::of(&object.attributes).lifetime().filter(|_| self.obeys);
        Some(own.map_or(ours, |own| own.min(ours))).filter(|lifetime| !lifetime.is_zero())
    }

    /// To `docs/`, if there is no object `docs`, but a `docs/index.html`. `None`, if there is
    /// neither.
    async fn redirect(&self, key: &Path, uri: &Uri) -> Option<object_store::Result<Response>> {
        if !self.redirects || key::is_index(uri.path()) {
            return None;
        }
        let index = key.clone().join(key::INDEX);
        let head = match self.get(&index, GetOptions::new().with_head(true)).await {
            Ok(mut head) => Known::of(&mut head),
            Err(error) if failure::status(&error).is_server_error() => return Some(Err(error)),
            Err(_) => return None,
        };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut response = self.refuse(StatusCode::MOVED_PERMANENTLY, &head);
        let headers = response.headers_mut();
        headers.extend(field(header::LOCATION, &format!("{}{query}", key::url_of_folder(key))));
        // Tomorrow there may be an object of that name.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Some(Ok(response))
    }

    /// An answer that follows from what is known of an object, but does not show it.
    fn refuse(&self, status: StatusCode, object: &Known) -> Response {
        let mut response = plain(status);
        response.headers_mut().extend(self.cache_fields(
            object,
            object.status.as_ref(),
            None,
            status,
        ));
        response
    }

    fn not_satisfiable(&self, object: &Known) -> Response {
        let mut response = self.refuse(StatusCode::RANGE_NOT_SATISFIABLE, object);
        let text = format!("bytes */{}", object.meta.size);
        response.headers_mut().extend(field(header::CONTENT_RANGE, &text));
        response
    }

    fn describe(&self, head: &Known) -> Response {
        let mut headers = head.headers();
        headers.insert(header::CONTENT_LENGTH, head.meta.size.into());
        headers.extend(self.cache_fields(head, head.status.as_ref(), None, StatusCode::OK));
        (StatusCode::OK, headers, Body::empty()).into_response()
    }

    fn not_modified(&self, head: &Known) -> Response {
        let mut headers = headers::of_version(&head.meta, &head.attributes);
        // That of the body that is not sent: else a HEAD would be told that there is none.
        headers.insert(header::CONTENT_LENGTH, head.meta.size.into());
        headers.extend(self.cache_fields(
            head,
            head.status.as_ref(),
            None,
            StatusCode::NOT_MODIFIED,
        ));
        (StatusCode::NOT_MODIFIED, headers).into_response()
    }

    /// `Cache-Status`, and `Age` if the store was not asked (RFC 9111 section 4).
    fn cache_fields(
        &self,
        object: &Known,
        known: Option<&CacheStatus>,
        body: Option<&CacheStatus>,
        sent: StatusCode,
    ) -> HeaderMap {
        let Some(known) = known else { return HeaderMap::new() };
        let status = cache_status::field(known, body, sent, self.lifetime(object));
        let mut headers: HeaderMap = field(CACHE_STATUS, &status).into_iter().collect();
        if is_unasked(known) {
            headers.insert(header::AGE, known.age().as_secs().into());
        }
        headers
    }

    /// An error of the store ends the connection before the announced length has come: the client
    /// can tell.
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
}

/// Whether the store was not asked which version is current.
fn is_unasked(status: &CacheStatus) -> bool {
    matches!(status.status(), Status::Fresh | Status::Stale)
}

fn metrics(registry: &Registry, waits: &Waits) -> Response {
    let kind = [(header::CONTENT_TYPE, cache_metrics::CONTENT_TYPE)];
    let text = format!(
        "{}# HELP http_gateway_waiting Requests that wait for a change of their object\n\
         # TYPE http_gateway_waiting gauge\nhttp_gateway_waiting {}\n",
        registry.render_prometheus(),
        waits.len()
    );
    (kind, text).into_response()
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

fn field(name: HeaderName, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((name, HeaderValue::from_str(value).ok()?))
}

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Between two reads of a request that waits, at least.
const WAIT_PAUSE: Duration = Duration::from_millis(100);

/// How often a read begins, if the object is replaced meanwhile.
const TRIES_MAX: usize = 3;
