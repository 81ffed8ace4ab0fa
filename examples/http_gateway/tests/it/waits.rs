//! `Prefer: wait=30` beside `If-None-Match`, in virtual time.
#![expect(clippy::disallowed_methods, reason = "the clock of a paused runtime")]

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
    response::Response,
};
use cache_facade::{
    Bytes, CachedStore, CachedStoreBuilder, Freshness, Memory, Namespace,
    object_store::{ObjectStoreExt, path::Path},
};
use cache_testkit::{Failure, Fault, FaultyStore, LocalBus, Operation, TokioClock};
use http_gateway::{Gateway, Health, Server};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::{
    net::TcpListener,
    time::{Instant, advance, sleep},
};

use crate::world::{Server as Served, begin, get};

/// A gateway without a network.
struct Rig {
    store: FaultyStore,
    cached: CachedStore,
    router: axum::Router,
    health: Health,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Rig {
    fn new() -> Self {
        Self::with(FaultyStore::in_memory(), |builder| builder, |gateway| gateway)
    }

    fn with(
        store: FaultyStore,
        set: impl FnOnce(CachedStoreBuilder) -> CachedStoreBuilder,
        set_gateway: impl FnOnce(Gateway) -> Gateway,
    ) -> Self {
        let builder = CachedStore::builder(Arc::new(store.clone()), Memory::new());
        let cached = set(builder.clock(Arc::new(TokioClock::new()))).build().unwrap();
        let health = Health::new();
        let gateway = set_gateway(Gateway::new(cached.clone()).health(&health));
        Self { store, cached, router: gateway.router(), health }
    }

    /// A write of another program.
    async fn put(&self, body: &'static str) -> String {
        let put = self.store.inner().put(&Path::from("a"), body.into()).await.unwrap();
        put.e_tag.unwrap()
    }

    fn send(&self, headers: &[(&str, &str)]) -> impl Future<Output = Answer> + use<> {
        let router = TowerToHyperService::new(self.router.clone());
        let mut request = Request::builder().uri("/a").header("host", "test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.method(Method::GET).body(Body::empty()).unwrap();
        async move {
            let response: Response = router.call(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            Answer { status: parts.status, headers: parts.headers, body }
        }
    }

    fn wait(&self, seconds: u64, tag: &str) -> impl Future<Output = Answer> + use<> {
        self.send(&[("prefer", &format!("wait={seconds}")), ("if-none-match", tag)])
    }

    fn requests(&self) -> usize {
        let n = self.store.requests().len();
        self.store.reset();
        n
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    fn is_not_modified(&self, applied: Option<&str>) {
        assert_eq!((self.status, &*self.body), (StatusCode::NOT_MODIFIED, &b""[..]));
        assert_eq!(self.header("preference-applied"), applied);
    }

    #[track_caller]
    fn is_new(&self, body: &str, tag: &str) {
        assert_eq!((self.status, &*self.body), (StatusCode::OK, body.as_bytes()));
        assert_eq!(self.header("etag"), Some(tag));
        assert_eq!(self.header("preference-applied"), Some("wait=30"));
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test(start_paused = true)]
async fn a_304_comes_after_the_wait_and_not_before() {
    let rig = Rig::new();
    let tag = rig.put("one").await;
    let begun = Instant::now();
    let answer = rig.wait(30, &tag).await;
    assert_eq!(begun.elapsed().as_secs(), 30);
    answer.is_not_modified(Some("wait=30"));
    assert_eq!(answer.header("etag"), Some(&*tag));
    // One at once, and one each five seconds.
    assert_eq!(rig.requests(), 7);
    // As long as the gateway allows.
    let begun = Instant::now();
    rig.wait(9999, &tag).await.is_not_modified(Some("wait=60"));
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn another_version_is_not_waited_for() {
    let rig = Rig::new();
    let tag = rig.put("one").await;
    let begun = Instant::now();
    rig.wait(30, "\"x\"").await.is_new("one", &tag);
    // Nor is anything without If-None-Match, or without a wait.
    let answer = rig.send(&[("prefer", "wait=30")]).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (StatusCode::OK, None));
    let answer = rig.send(&[("prefer", "respond-async"), ("if-none-match", &tag)]).await;
    answer.is_not_modified(None);
    rig.wait(0, &tag).await.is_not_modified(None);
    rig.store.inner().delete(&Path::from("a")).await.unwrap();
    assert_eq!(rig.wait(30, &tag).await.status, StatusCode::NOT_FOUND);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_a_signal_a_change_is_found_within_the_poll() {
    let rig = Rig::new();
    let tag = rig.put("one").await;
    let begun = Instant::now();
    let write = async {
        sleep(secs(12)).await;
        rig.put("two").await
    };
    let (answer, new) = tokio::join!(rig.wait(30, &tag), write);
    answer.is_new("two", &new);
    assert_eq!(begun.elapsed().as_secs(), 15);
    // The same for an object that is deleted.
    let delete = async {
        sleep(secs(1)).await;
        rig.store.inner().delete(&Path::from("a")).await.unwrap();
    };
    let (answer, ()) = tokio::join!(rig.wait(30, &new), delete);
    assert_eq!((answer.status, begun.elapsed().as_secs()), (StatusCode::NOT_FOUND, 20));
}

#[tokio::test(start_paused = true)]
async fn a_write_through_the_store_ends_the_wait_at_once() {
    let rig = Rig::with(
        FaultyStore::in_memory(),
        |builder| builder,
        |gateway| gateway.wait_poll(secs(3600)),
    );
    let tag = rig.put("one").await;
    let begun = Instant::now();
    let write = async {
        sleep(secs(12)).await;
        rig.cached.put(&Path::from("a"), "two".into()).await.unwrap().e_tag.unwrap()
    };
    let (answer, new) = tokio::join!(rig.wait(30, &tag), write);
    answer.is_new("two", &new);
    assert_eq!(begun.elapsed().as_secs(), 12);
    // Writes of other objects do not.
    rig.requests();
    let write = async {
        sleep(secs(1)).await;
        rig.cached.put(&Path::from("b"), "two".into()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(rig.wait(30, &new), write);
    answer.is_not_modified(Some("wait=30"));
    // The two of the wait, and the put.
    assert_eq!((rig.requests(), begun.elapsed().as_secs()), (3, 42));
}

/// Also under a rule by which the cache would not have sent a request.
#[tokio::test(start_paused = true)]
async fn a_message_on_the_bus_ends_the_wait() {
    let (store, bus) = (FaultyStore::in_memory(), LocalBus::new());
    let on_bus = |node: usize| {
        let bus = Arc::new(bus.node(node));
        move |builder: CachedStoreBuilder| {
            let builder = builder.namespace(Namespace::named("bucket")).bus(bus);
            builder.freshness(Freshness::until_notified(secs(3600)))
        }
    };
    let slow = |gateway: Gateway| gateway.wait_poll(secs(3600));
    let here = Rig::with(store.clone(), on_bus(0), slow);
    let there = Rig::with(store, on_bus(1), slow);
    let tag = here.put("one").await;
    // Both tasks begin with the first requests.
    let get = async |rig: &Rig| rig.cached.get(&Path::from("a")).await.unwrap();
    get(&here).await;
    get(&there).await;
    sleep(secs(3)).await;
    assert!(here.cached.bus_stats().unwrap().is_listening);
    get(&here).await;

    let begun = Instant::now();
    let write = async {
        sleep(secs(12)).await;
        there.cached.put(&Path::from("a"), "two".into()).await.unwrap().e_tag.unwrap()
    };
    let (answer, new) = tokio::join!(here.wait(30, &tag), write);
    answer.is_new("two", &new);
    assert!((12_000..12_200).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

/// Under a rule that allows an age, the reads of a wait are strong all the same.
#[tokio::test(start_paused = true)]
async fn a_wait_does_not_trust_the_age_of_an_entry() {
    let rig = Rig::with(
        FaultyStore::in_memory(),
        |builder| builder.freshness(Freshness::max_age(secs(3600))),
        |gateway| gateway.max_age(secs(3600)),
    );
    let tag = rig.put("one").await;
    rig.send(&[]).await;
    let new = rig.put("two").await;
    let begun = Instant::now();
    rig.wait(30, &tag).await.is_new("two", &new);
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_end_a_wait() {
    let rig = Rig::new();
    let tag = rig.put("one").await;
    let write = async {
        sleep(secs(1)).await;
        rig.store.fault(Fault::error(Failure::Unavailable).on(Operation::Head));
        rig.store.fault(Fault::error(Failure::Unavailable).on(Operation::Get));
        sleep(secs(10)).await;
        rig.store.heal();
        rig.put("two").await
    };
    let (answer, new) = tokio::join!(rig.wait(30, &tag), write);
    answer.is_new("two", &new);
    // One that lasts as long as the wait is told.
    let fail = async {
        sleep(secs(1)).await;
        rig.store.fault(Fault::error(Failure::Unavailable).on(Operation::Head));
        rig.store.fault(Fault::error(Failure::Unavailable).on(Operation::Get));
    };
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(rig.wait(30, &new), fail);
    assert_eq!((answer.status, begun.elapsed().as_secs()), (StatusCode::BAD_GATEWAY, 30));
}

#[tokio::test(start_paused = true)]
async fn over_the_number_that_may_wait_the_answer_comes_at_once() {
    let rig =
        Rig::with(FaultyStore::in_memory(), |builder| builder, |gateway| gateway.waiting_max(1));
    let tag = rig.put("one").await;
    let first = tokio::spawn(rig.wait(30, &tag));
    advance(secs(1)).await;
    rig.wait(30, &tag).await.is_not_modified(None);
    // One that is dropped, as that of a client that went away, makes room.
    first.abort();
    assert!(first.await.is_err());
    let begun = Instant::now();
    rig.wait(7, &tag).await.is_not_modified(Some("wait=7"));
    assert_eq!(begun.elapsed().as_secs(), 7);
    let none =
        Rig::with(FaultyStore::in_memory(), |builder| builder, |gateway| gateway.waiting_max(0));
    let tag = none.put("one").await;
    none.wait(30, &tag).await.is_not_modified(None);
    let off = Rig::with(
        FaultyStore::in_memory(),
        |builder| builder,
        |gateway| gateway.wait_max(Duration::ZERO),
    );
    let tag = off.put("one").await;
    off.wait(30, &tag).await.is_not_modified(None);
}

/// A star never fails as long as there is an object: its writes cost no more than ten reads a
/// second, and the wait goes on.
#[tokio::test(start_paused = true)]
async fn a_busy_object_is_not_read_with_each_write() {
    let rig = Rig::new();
    rig.put("one").await;
    let write = async || {
        for _ in 0..1000 {
            rig.cached.put(&Path::from("a"), "two".into()).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
    };
    let (answer, ()) = tokio::join!(rig.wait(1, "*"), write());
    answer.is_not_modified(Some("wait=1"));
    let requests = rig.requests();
    assert!((1005..1020).contains(&requests), "{requests}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_about_to_stop_ends_the_waits() {
    let rig = Rig::new();
    let tag = rig.put("one").await;
    let begun = Instant::now();
    let drain = async {
        sleep(secs(7)).await;
        rig.health.drain();
    };
    let (answer, ()) = tokio::join!(rig.wait(30, &tag), drain);
    answer.is_not_modified(Some("wait=30"));
    assert_eq!(begun.elapsed().as_secs(), 7);
    // And none begins.
    rig.wait(30, &tag).await.is_not_modified(Some("wait=30"));
    assert_eq!(begun.elapsed().as_secs(), 7);
}

/// Over a real connection, whose end is seen while the request waits.
#[tokio::test]
async fn a_client_that_goes_away_ends_its_wait() {
    let store = FaultyStore::in_memory();
    let put = store.inner().put(&Path::from("a"), "one".into()).await.unwrap();
    let cached = CachedStore::builder(Arc::new(store), Memory::new()).build().unwrap();
    let gateway = Gateway::new(cached).wait_max(secs(86_400)).wait_poll(secs(86_400));
    let admin = Served::start(gateway.admin(&Health::new())).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving =
        tokio::spawn(Server::new().serve(listener, gateway.router(), std::future::pending()));

    let tag = put.e_tag.unwrap();
    let headers = [("Prefer", "wait=86400"), ("If-None-Match", &*tag)];
    let client = begin(address, "GET", "/a", &headers).await;
    let waiting = async |expected: u32| {
        let line = format!("\nhttp_gateway_waiting {expected}\n");
        while !String::from_utf8(get(admin.address, "/metrics").await.body.to_vec())
            .unwrap()
            .contains(&line)
        {}
    };
    waiting(1).await;
    drop(client);
    waiting(0).await;
    serving.abort();
}
