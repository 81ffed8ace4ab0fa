//! What the feature `tracing` tells: a span for each request to the origin, warnings now and then,
//! nothing of a fresh hit.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, Once},
};

use bytes::Bytes;
use cache_core::{ErrorKind, Freshness, PutCondition, Status};
use cache_policy::{Lru, MemoryBackend};
use cache_testkit::{MapBackend, OriginFault};
use tracing::{
    Instrument as _, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer, Registry, layer::Context, layer::SubscriberExt as _, registry::LookupSpan,
};

use crate::support::{FOREVER, KEY, Rig, STRONG, poll_once, secs};

type Fields = BTreeMap<&'static str, String>;

/// All spans that were begun, in their order, and all events.
#[derive(Default, Clone)]
struct Told {
    spans: Arc<Mutex<Vec<(u64, Fields)>>>,
    events: Arc<Mutex<Vec<Fields>>>,
}

thread_local!(static TOLD: Told = Told::default());

thread_local! {
    /// Dropped when a span of a request begins.
    static LEAVING: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(None) };
}

/// One for the whole program, for tracing notes once who listens to what; it hands on to the
/// thread's own.
struct ByThread;

impl Told {
    /// Listens to this thread, where the tests of a current-thread runtime have all their tasks.
    fn listen() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            tracing::subscriber::set_global_default(Registry::default().with(ByThread)).unwrap();
        });
        TOLD.with(Clone::clone)
    }

    /// The spans of requests, without those of the tests.
    fn requests(&self) -> Vec<Fields> {
        let spans = self.spans.lock().unwrap();
        spans
            .iter()
            .map(|(_, fields)| fields.clone())
            .filter(|fields| fields.contains_key("op"))
            .collect()
    }

    fn events(&self) -> Vec<Fields> {
        self.events.lock().unwrap().clone()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ByThread {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Writer(&mut fields));
        fields.insert("span", attributes.metadata().name().to_owned());
        fields.insert("level", attributes.metadata().level().to_string());
        fields.insert("target", attributes.metadata().target().to_owned());
        let parent = context.span(id).and_then(|span| Some(span.parent()?.name()));
        fields.insert("parent", parent.unwrap_or("none").to_owned());
        let is_request = fields.contains_key("op");
        TOLD.with(|told| told.spans.lock().unwrap().push((id.into_u64(), fields)));
        if is_request {
            drop(LEAVING.take());
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let followed = context.span(follows).map_or("none", |span| span.name());
        let told = TOLD.with(Clone::clone);
        let mut spans = told.spans.lock().unwrap();
        let known = spans.iter_mut().rev().find(|(known, _)| *known == id.into_u64());
        known.unwrap().1.insert("follows", followed.to_owned());
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, _: Context<'_, S>) {
        let told = TOLD.with(Clone::clone);
        let mut spans = told.spans.lock().unwrap();
        // The last one, for numbers are used again.
        let known = spans.iter_mut().rev().find(|(known, _)| *known == id.into_u64());
        record.record(&mut Writer(&mut known.unwrap().1));
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Writer(&mut fields));
        fields
            .insert("in", context.event_span(event).map_or("none", |span| span.name()).to_owned());
        fields.insert("level", event.metadata().level().to_string());
        TOLD.with(|told| told.events.lock().unwrap().push(fields));
    }
}

struct Writer<'a>(&'a mut Fields);

impl Visit for Writer<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

#[track_caller]
fn assert_has(fields: &Fields, expected: &[(&'static str, &str)]) {
    for (name, value) in expected {
        assert_eq!(fields.get(name).map(String::as_str), Some(*value), "{name} of {fields:?}");
    }
}

#[tokio::test]
async fn each_request_is_a_span_with_its_outcome() {
    let told = Told::listen();
    let rig = Rig::with(MapBackend::new(), |builder| builder.name("pages"));
    rig.origin.inner().write(KEY, "12345");
    rig.get(STRONG).await.unwrap();
    rig.get(STRONG).await.unwrap();
    rig.origin.inner().erase(KEY);
    rig.get(STRONG).await.unwrap_err();
    rig.origin.fault(OriginFault::error(ErrorKind::Unavailable).once());
    rig.get(STRONG).await.unwrap_err();
    rig.cache.put(KEY, Bytes::from("1"), PutCondition::Always).await.unwrap();
    rig.cache.put(KEY, Bytes::from("1"), PutCondition::Absent).await.unwrap_err();
    rig.cache.delete(KEY).await.unwrap();

    let requests = told.requests();
    let said: Vec<_> =
        requests.iter().map(|fields| (fields["op"].as_str(), fields["outcome"].as_str())).collect();
    assert_eq!(
        said,
        [
            ("read", "modified"),
            ("read", "not_modified"),
            ("read", "not_found"),
            ("read", "failed"),
            ("put", "succeeded"),
            ("put", "refused"),
            ("delete", "succeeded"),
        ]
    );
    assert_eq!(requests.len(), rig.origin.count());
    assert_has(
        &requests[0],
        &[
            ("span", "object_cache.origin"),
            ("target", "object_cache"),
            ("level", "INFO"),
            ("otel.kind", "client"),
            ("otel.name", "object_cache.origin read"),
            ("cache.name", "pages"),
            ("key", KEY),
            ("bytes", "5"),
            ("waiters", "0"),
        ],
    );
    assert!(!requests[0].contains_key("otel.status_code"));
    assert_has(
        &requests[3],
        &[("otel.status_code", "ERROR"), ("error.type", "Unavailable"), ("bytes", "0")],
    );
    assert_has(
        &requests[5],
        &[("otel.status_code", "ERROR"), ("error.type", "PreconditionFailed")],
    );
}

#[tokio::test]
async fn a_span_has_the_waiters_and_the_span_of_the_one_who_asked() {
    let told = Told::listen();
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "1");
    rig.origin.fault(OriginFault::hold().once());
    let rule = Freshness::max_age(secs(10));
    let first = {
        let rig = rig.clone();
        let read = async move { rig.get(rule).await };
        tokio::spawn(read.instrument(tracing::info_span!("handler")))
    };
    rig.settle().await;
    // Two join it; of three that may not, one is asked for.
    let joined = [rig.spawn_get(rule), rig.spawn_get(rule)];
    let behind = [rig.spawn_get(STRONG), rig.spawn_get(STRONG), rig.spawn_get(STRONG)];
    rig.settle().await;
    rig.origin.release_all();
    for reader in [first].into_iter().chain(joined).chain(behind) {
        reader.await.unwrap().unwrap();
    }
    let requests = told.requests();
    assert_eq!(requests.len(), 2);
    assert_has(&requests[0], &[("parent", "handler"), ("waiters", "2")]);
    assert_has(&requests[1], &[("waiters", "2")]);
}

/// A write is a task of its own, so that its caller may go away.
#[tokio::test]
async fn a_write_is_a_part_of_the_span_of_its_caller() {
    let told = Told::listen();
    let rig = Rig::new();
    let writes = async {
        rig.cache.put(KEY, Bytes::from("1"), PutCondition::Always).await.unwrap();
        rig.cache.delete(KEY).await.unwrap();
    };
    writes.instrument(tracing::info_span!("handler")).await;
    rig.cache.put(KEY, Bytes::from("1"), PutCondition::Always).await.unwrap();
    let parents: Vec<_> = told.requests().iter().map(|fields| fields["parent"].clone()).collect();
    assert_eq!(parents, ["handler", "handler", "none"]);
}

/// It is nobody's part: the caller that it was sent for has its answer.
#[tokio::test]
async fn a_refresh_in_the_background_follows_from_the_read_that_caused_it() {
    let told = Told::listen();
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "1");
    let rule = Freshness::max_age(secs(1)).stale_while_revalidate(secs(1000));
    rig.get(rule).await.unwrap();
    rig.clock.advance(secs(2));
    rig.get(rule).instrument(tracing::info_span!("handler")).await.unwrap();
    rig.settle().await;
    let requests = told.requests();
    assert_eq!(requests.len(), 2);
    assert!(!requests[0].contains_key("follows"));
    assert_has(&requests[1], &[("parent", "none"), ("follows", "handler")]);
}

#[tokio::test]
async fn a_request_for_readers_who_waited_follows_from_the_first_of_them() {
    let told = Told::listen();
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "1");
    rig.origin.fault(OriginFault::hold().once());
    let mut readers = Vec::new();
    let spans = [tracing::info_span!("a"), tracing::info_span!("b"), tracing::info_span!("c")];
    for span in spans {
        let reader = rig.clone();
        readers.push(tokio::spawn(async move { reader.get(STRONG).await }.instrument(span)));
        // Each arrives when the request before it was sent, or another waits.
        rig.settle().await;
    }
    rig.origin.release_all();
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
    let requests = told.requests();
    assert_eq!(requests.len(), 2);
    assert_has(&requests[0], &[("parent", "a")]);
    assert_has(&requests[1], &[("parent", "none"), ("follows", "b")]);
}

/// A task goes on with what its reader began, and sends the request.
#[tokio::test]
async fn a_request_that_waited_for_its_turn_is_a_part_of_its_reader() {
    let told = Told::listen();
    let rig = Rig::with(MapBackend::new(), |builder| builder.max_in_flight(1));
    for key in ["x", KEY] {
        rig.origin.inner().write(key, "1");
    }
    rig.origin.fault(OriginFault::hold().once());
    let readers = ["x", KEY].map(|key| {
        let cache = rig.cache.clone();
        let read = async move { cache.get(key, Some(&STRONG)).await };
        let name =
            if key == KEY { tracing::info_span!("second") } else { tracing::info_span!("first") };
        tokio::spawn(read.instrument(name))
    });
    rig.settle().await;
    rig.origin.release_all();
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
    let parents: Vec<_> = told.requests().iter().map(|fields| fields["parent"].clone()).collect();
    assert_eq!(parents, ["first", "second"]);
}

/// So that what the store's client tells is found under the request that it was for.
#[tokio::test]
async fn what_the_origin_tells_is_told_in_the_span() {
    let told = Told::listen();
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "1");
    rig.origin.fault(OriginFault::meanwhile(|_| async { tracing::info!("connected") }));
    rig.get(STRONG).await.unwrap();
    rig.cache.put(KEY, Bytes::from("2"), PutCondition::Always).await.unwrap();
    let events = told.events();
    assert_eq!(events.len(), 2);
    events.iter().for_each(|event| assert_has(event, &[("in", "object_cache.origin")]));
}

#[tokio::test]
async fn a_request_that_is_given_up_says_so() {
    let told = Told::listen();
    let rig = Rig::new();
    rig.origin.fault(OriginFault::hang().once());
    let put = {
        let cache = rig.cache.clone();
        tokio::spawn(async move { cache.put(KEY, Bytes::from("1"), PutCondition::Always).await })
    };
    rig.settle().await;
    put.abort();
    rig.settle().await;
    assert_has(&told.requests()[0], &[("op", "put"), ("outcome", "cancelled")]);
}

/// At the moment when the request is counted, and was not polled yet.
#[tokio::test]
async fn a_write_whose_caller_leaves_as_it_is_sent_is_counted_as_it_was_made() {
    let told = Told::listen();
    for is_put in [true, false] {
        let rig = Rig::new();
        let cache = rig.cache.clone();
        let mut write: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            if is_put {
                drop(cache.put(KEY, Bytes::from("1"), PutCondition::Always).await);
            } else {
                drop(cache.delete(KEY).await);
            }
        });
        assert!(poll_once(write.as_mut()).is_pending());
        LEAVING.set(Some(write));
        rig.settle().await;
        assert!(LEAVING.take().is_none(), "it left");
        let stats = rig.cache.stats().origin;
        assert_eq!(stats.requests(), rig.origin.count() as u64, "{stats:?}");
        assert_eq!((stats.in_flight, rig.cache.keys_in_flight()), (0, 0));
    }
    assert_eq!(told.requests().len(), 2);
}

#[tokio::test]
async fn a_fresh_hit_tells_nothing() {
    let told = Told::listen();
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "1");
    rig.get(FOREVER).await.unwrap();
    for _ in 0..10 {
        rig.check(FOREVER, "1", Status::Fresh).await;
    }
    assert_eq!((told.requests().len(), told.events().len()), (1, 0));
}

#[tokio::test]
async fn stale_serves_are_warned_of_at_most_once_in_ten_seconds() {
    let told = Told::listen();
    let rig = Rig::new();
    rig.origin.inner().write(KEY, "1");
    let rule = Freshness::max_age(secs(1)).stale_if_error(secs(1000));
    rig.get(rule).await.unwrap();
    rig.origin.fault(OriginFault::error(ErrorKind::Timeout));
    for _ in 0..25 {
        rig.clock.advance(secs(1));
        rig.check(rule, "1", Status::Stale).await;
    }
    let events = told.events();
    assert_eq!(events.len(), 3);
    assert_has(
        &events[0],
        &[("level", "WARN"), ("message", "served stale"), ("key", KEY), ("left_out", "0")],
    );
    assert_has(&events[1], &[("left_out", "9"), ("age_seconds", "11.0")]);
    assert!(events[0]["error"].contains(KEY), "{events:?}");

    // Of those that are asked about behind too, beside the others.
    let behind = Freshness::max_age(secs(1)).stale_while_revalidate(secs(1000));
    rig.check(behind, "1", Status::Stale).await;
    assert_eq!(told.events().len(), 4);
    assert!(!told.events()[3].contains_key("error"));
}

#[tokio::test]
async fn bodies_that_are_not_kept_are_warned_of() {
    let told = Told::listen();
    let rig = Rig::over(MemoryBackend::builder(Lru::new()).max_capacity(16).build().unwrap());
    rig.origin.inner().write(KEY, "12345");
    for _ in 0..3 {
        rig.get(STRONG).await.unwrap();
    }
    let events = told.events();
    assert_eq!(events.len(), 1);
    assert_has(
        &events[0],
        &[("level", "WARN"), ("message", "not kept"), ("why", "TooLarge"), ("bytes", "5")],
    );
}
