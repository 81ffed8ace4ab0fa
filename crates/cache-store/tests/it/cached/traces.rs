//! Behind the feature `tracing`, each request of a `CachedStore` that it makes itself is a span.

use std::{
    fmt,
    sync::{Arc, Mutex},
    thread::{self, ThreadId},
};

use cache_testkit::{Failure, Fault};
use futures_util::StreamExt as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, Registry, layer::Context, layer::SubscriberExt as _};

use crate::path;

use super::{builder, get, with_object};

/// What was told of all spans, one field a line.
#[derive(Clone)]
struct Told {
    thread: ThreadId,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Told {
    fn of_this_thread() -> Self {
        Self { thread: thread::current().id(), lines: Arc::default() }
    }
}

impl<S: Subscriber> Layer<S> for Told {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attributes.record(&mut self.clone());
    }

    fn on_record(&self, _: &Id, record: &Record<'_>, _: Context<'_, S>) {
        record.record(&mut self.clone());
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if thread::current().id() == self.thread {
            let value = format!("{value:?}");
            self.lines.lock().unwrap().push(format!(
                "{}={}",
                field.name(),
                value.trim_matches('"')
            ));
        }
    }
}

#[tokio::test]
async fn requests_for_heads_and_for_blocks_are_spans() {
    // The only test here that listens. Others tell of other caches, on other threads.
    let told = Told::of_this_thread();
    tracing::subscriber::set_global_default(Registry::default().with(told.clone())).unwrap();
    let store = with_object(40).await;
    let cached = builder(&store)
        .name("tables")
        .freshness(cache_core::Freshness::immutable())
        .build()
        .unwrap();
    store.reset();
    get(&cached, 0..5).await.unwrap().bytes().await.unwrap();
    get(&cached, 10..20).await.unwrap().bytes().await.unwrap();
    store.fault(Fault::error(Failure::Unavailable).once());
    get(&cached, 30..35).await.unwrap_err();
    // That there is one already is an answer like another.
    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    cached.put_opts(&path(), "1".into(), create).await.unwrap_err();
    store.fault(Fault::error(Failure::PermissionDenied).once());
    cached.delete(&path()).await.unwrap_err();
    cached.list(None).count().await;

    let told = told.lines.lock().unwrap();
    let of = |field: &str| -> Vec<_> {
        told.iter().filter_map(|line| line.strip_prefix(&format!("{field}="))).collect()
    };
    assert_eq!(of("op"), ["read", "blocks", "blocks", "put", "delete", "list"]);
    assert_eq!(of("op").len(), store.count());
    assert_eq!(
        of("outcome"),
        ["modified", "succeeded", "failed", "refused", "refused", "succeeded"]
    );
    assert_eq!(of("bytes"), ["5", "10", "0", "0", "0", "0"], "of bodies");
    assert_eq!(of("cache.name"), ["tables"; 6]);
    assert_eq!(of("key")[..5], [path().as_ref(); 5]);
    assert_eq!(of("otel.kind"), ["client"; 6]);
    assert_eq!(of("otel.status_code"), ["ERROR"; 2]);
    assert_eq!(of("error.type"), ["Unavailable", "PermissionDenied"]);
}
