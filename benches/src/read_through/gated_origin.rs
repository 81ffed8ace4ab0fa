//! One object, and a gate in front of it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Entry, Error, ErrorKind, Key, Origin, PutCondition, Validation, Validator, Version,
};
use tokio::sync::watch;

use super::{Result, Source};

/// An origin of one object, whose responses wait until they are released. A response carries the
/// object as it was when the request was sent.
pub(crate) struct GatedOrigin {
    body: Mutex<Bytes>,
    n_requests: watch::Sender<u64>,
    /// How many requests may be answered, in the order of their arrival.
    n_released: watch::Sender<u64>,
    is_down: AtomicBool,
    panics: AtomicBool,
}

pub(crate) enum Response {
    NotModified,
    /// The body and its ETag.
    Object(Bytes, String),
}

impl GatedOrigin {
    /// Holds back every request until it is released.
    pub(crate) fn new(body: Bytes) -> Arc<Self> {
        Arc::new(Self {
            body: Mutex::new(body),
            n_requests: watch::Sender::new(0),
            n_released: watch::Sender::new(0),
            is_down: AtomicBool::new(false),
            panics: AtomicBool::new(false),
        })
    }

    /// A GET, conditional if there is an ETag. ETags are made of the content, as S3 makes them.
    pub(crate) async fn get(&self, if_none_match: Option<&str>) -> Result<Response> {
        let body = self.body.lock().expect("nothing panics under this lock").clone();
        let mut number = 0;
        self.n_requests.send_modify(|n| {
            *n += 1;
            number = *n;
        });
        let released = self.n_released.subscribe().wait_for(|n| *n >= number).await.is_ok();
        assert!(released, "the origin outlives its readers");
        assert!(!self.panics.swap(false, Ordering::Relaxed), "{PLANNED_PANIC}");
        if self.is_down.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "the origin is down"));
        }
        let e_tag = format!("\"{}\"", String::from_utf8_lossy(&body[..body.len().min(32)]));
        Ok(match if_none_match {
            Some(tag) if tag == e_tag => Response::NotModified,
            _ => Response::Object(body, e_tag),
        })
    }

    pub(crate) fn write(&self, body: Bytes) {
        *self.body.lock().expect("nothing panics under this lock") = body;
    }

    /// Panics at the next request that is released.
    pub(crate) fn panic_once(&self) {
        self.panics.store(true, Ordering::Relaxed);
    }

    /// Fails from now on.
    pub(crate) fn fail(&self) {
        self.is_down.store(true, Ordering::Relaxed);
    }

    /// Holds back all requests to come.
    pub(crate) fn close(&self) {
        self.n_released.send_replace(self.n_requests());
    }

    /// Answers all requests sent so far. Returns whether there was any to answer.
    pub(crate) fn release(&self) -> bool {
        self.n_released.send_replace(self.n_requests()) < self.n_requests()
    }

    /// Answers all requests at once from now on.
    pub(crate) fn release_all(&self) {
        self.n_released.send_replace(u64::MAX);
    }

    pub(crate) fn n_requests(&self) -> u64 {
        *self.n_requests.borrow()
    }

    /// Waits until more than `n` requests were sent.
    pub(crate) async fn more_requests_than(&self, n: u64) {
        let is_sent = self.n_requests.subscribe().wait_for(|sent| *sent > n).await.is_ok();
        assert!(is_sent, "the sender is in this origin");
    }
}

impl Source for Arc<GatedOrigin> {
    async fn fetch(&self, _key: &str) -> Result<Bytes> {
        match self.get(None).await? {
            Response::Object(body, _) => Ok(body),
            Response::NotModified => unreachable!("no ETag was sent"),
        }
    }
}

#[async_trait]
impl Validator for GatedOrigin {
    async fn validate(&self, key: &Key, cached: Option<&Entry>) -> Result<Validation> {
        let e_tag = cached.and_then(|cached| cached.version().e_tag);
        Ok(match self.get(e_tag.as_deref()).await? {
            Response::NotModified => Validation::NotModified,
            Response::Object(body, e_tag) => {
                Validation::Modified(Entry::builder(key, body).e_tag(e_tag).build())
            }
        })
    }
}

#[async_trait]
impl Origin for GatedOrigin {
    async fn put(&self, _: &Key, _: Bytes, _: PutCondition) -> Result<Version> {
        Err(read_only())
    }

    async fn delete(&self, _: &Key) -> Result<()> {
        Err(read_only())
    }
}

fn read_only() -> Error {
    Error::new(ErrorKind::Unsupported, "this origin is read-only")
}

/// The message of the panic that `GatedOrigin::panic_once` causes.
pub const PLANNED_PANIC: &str = "the origin panics, as planned";
