//! Events of S3.

mod message;
mod sequencer;
#[cfg(test)]
mod tests;

use cache_core::{Change, Result};

use self::{
    message::{Event, parse},
    sequencer::Sequencer,
};
use crate::{
    counts::EventCounts,
    memory::Memory,
    scope::{Scope, change},
};

/// A parser of [S3 event notifications][s3], and of those of stores with the same format.
///
/// It reads the documents as they are received: the body of a message from SQS, also where SNS
/// carried it there (with its envelope or without), an event of EventBridge, or the event that a
/// Lambda function is called with for any of these. Names of objects are decoded. Deleted objects,
/// delete markers, expired and lost objects are changes without an ETag; events that leave bytes
/// and ETag as they are, such as tags and storage classes, are none. Versions are told apart by
/// their ETags: an event of any version of an object marks another one that is cached.
///
/// Of the events of one object, `sequencer` tells which is newer. Where sequencers differ in
/// length, an event is taken for older only if it is by both rules that AWS has documented. Some
/// stores do not keep their sequencers in order, such as a MinIO cluster: there set
/// [`remember`](Self::remember) to zero.
///
/// ```
/// use cache_bus_events::S3Events;
/// use cache_core::{Change, Key};
///
/// let body = br#"{"Records": [{"eventName": "ObjectCreated:Put", "s3": {
///     "bucket": {"name": "bucket"},
///     "object": {"key": "red+flower.jpg", "eTag": "d41d8cd98f00b204e9800998ecf8427e"}
/// }}]}"#;
/// let changes = S3Events::new("bucket").parse(body)?;
/// let key = Key::parse("red flower.jpg")?;
/// let e_tag = Some("\"d41d8cd98f00b204e9800998ecf8427e\"".into());
/// assert_eq!(changes, [Change::Key { key, e_tag }]);
/// # Ok::<(), cache_core::Error>(())
/// ```
///
/// [s3]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventNotifications.html
#[derive(Debug)]
pub struct S3Events {
    scope: Scope,
    memory: Memory<Seen>,
    counts: EventCounts,
}

/// The latest event of a key.
#[derive(Debug)]
struct Seen {
    sequencer: Sequencer,
    e_tag: Option<String>,
}

impl S3Events {
    /// Returns a parser of the events of one bucket. Those of others are left out.
    pub fn new(bucket: impl Into<String>) -> Self {
        let counts = EventCounts::default();
        Self { scope: Scope::new(bucket.into()), memory: Memory::new(), counts }
    }

    /// Sets the prefix under which the cache's store is, as of an `object_store::PrefixStore`:
    /// objects beside it are left out, and keys are relative to it. Slashes at its ends do not
    /// count. Default: none.
    #[must_use]
    pub fn strip_prefix(mut self, prefix: &str) -> Self {
        self.scope.set_prefix(prefix);
        self
    }

    /// Sets of how many keys the latest event is remembered. Default: 16,384, which take about 100
    /// bytes each beside the key. Beyond that number those that had no event for the longest are
    /// forgotten: an event that is delivered again then marks again, which costs a request. Zero
    /// reports every event.
    #[must_use]
    pub fn remember(mut self, keys: usize) -> Self {
        self.memory.set_capacity(keys);
        self
    }

    /// Returns the changes of a document, in its order: none for S3's test event.
    ///
    /// # Errors
    ///
    /// `Decode` if it is no JSON, or not that of an event. The message says what is wrong; no event
    /// of the document was taken, so it can be parsed again.
    pub fn parse(&mut self, message: &[u8]) -> Result<Vec<Change>> {
        self.counts.messages += 1;
        let events = parse(message).inspect_err(|_| self.counts.errors += 1)?;
        self.counts.ignored += events.n_ignored;
        Ok(events.list.into_iter().filter_map(|event| self.change(event)).collect())
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> EventCounts {
        self.counts
    }

    fn change(&mut self, event: Event) -> Option<Change> {
        let Event { bucket, name, e_tag, sequencer } = event;
        let key = self.scope.key(&bucket, name.as_deref(), &mut self.counts)?;
        if let (Some(sequencer), Some(seen)) = (&sequencer, self.memory.get(&key)) {
            // Some stores repeat a sequencer: only the same version is a repeat then.
            let is_repeat = *sequencer == seen.sequencer && e_tag == seen.e_tag;
            if is_repeat || sequencer.is_before(&seen.sequencer) {
                self.counts.repeated += 1;
                return None;
            }
        }
        let change = change(key.clone(), e_tag.as_deref(), &mut self.counts);
        if let Some(sequencer) = sequencer {
            self.memory.set(key, Seen { sequencer, e_tag });
        }
        Some(change)
    }
}
