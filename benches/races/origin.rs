//! One object, and a gate before its reader.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::sync::watch;

/// What the object is at first.
pub(crate) const V1: &str = "one";
/// What it becomes.
pub(crate) const V2: &str = "two";

/// An origin of one object, whose answers wait until they are released. An answer is what was so when it was asked
/// for.
pub(crate) struct Origin {
    body: Mutex<&'static str>,
    n_asked: AtomicU64,
    /// So many of the questions may be answered, the first ones first.
    n_released: watch::Sender<u64>,
    is_down: AtomicBool,
    panics: AtomicBool,
}

/// An answer.
pub(crate) enum Answer {
    /// The tag that was sent is the object's.
    Unchanged,
    /// The object, and its tag.
    Object(&'static str, String),
}

impl Origin {
    pub(crate) fn new() -> Self {
        Self {
            body: Mutex::new(V1),
            n_asked: AtomicU64::new(0),
            n_released: watch::Sender::new(0),
            is_down: AtomicBool::new(false),
            panics: AtomicBool::new(false),
        }
    }

    /// The object, unless its tag is `tag`. As S3 does, it makes tags of the content.
    pub(crate) async fn ask(&self, tag: Option<&str>) -> Result<Answer, String> {
        let body = *self.body.lock().expect("nothing panics under this lock");
        let idx = self.n_asked.fetch_add(1, Ordering::Relaxed);
        let released = self.n_released.subscribe().wait_for(|n| *n > idx).await.is_ok();
        assert!(released, "the origin outlives its readers");
        assert!(!self.panics.swap(false, Ordering::Relaxed), "the origin panics, as it was told");
        if self.is_down.load(Ordering::Relaxed) {
            return Err("the origin is down".to_owned());
        }
        let own = format!("\"{body}\"");
        Ok(if tag == Some(&own) { Answer::Unchanged } else { Answer::Object(body, own) })
    }

    /// The object, whatever is held.
    pub(crate) async fn load(&self) -> Result<&'static str, String> {
        match self.ask(None).await? {
            Answer::Object(body, _) => Ok(body),
            Answer::Unchanged => Err("no tag was sent".to_owned()),
        }
    }

    pub(crate) fn write(&self, body: &'static str) {
        *self.body.lock().expect("nothing panics under this lock") = body;
    }

    pub(crate) fn panic_once(&self) {
        self.panics.store(true, Ordering::Relaxed);
    }

    pub(crate) fn fail(&self) {
        self.is_down.store(true, Ordering::Relaxed);
    }

    /// Answers all that was asked until now. Whether that was anything.
    pub(crate) fn release(&self) -> bool {
        self.n_released.send_replace(self.n_asked()) < self.n_asked()
    }

    /// Answers at once from now on.
    pub(crate) fn release_all(&self) {
        self.n_released.send_replace(u64::MAX);
    }

    pub(crate) fn n_asked(&self) -> u64 {
        self.n_asked.load(Ordering::Relaxed)
    }
}
