//! Notifications of Google Cloud Storage.

mod message;
#[cfg(test)]
mod tests;

use cache_core::{Change, Result};

use self::message::{Kind, Notification, notification, parse};
use crate::{
    counts::EventCounts,
    memory::Memory,
    scope::{Scope, change},
};

/// A parser of the [Pub/Sub notifications] of Cloud Storage.
///
/// It reads messages as JSON, as a push subscription posts them and a pull returns them
/// ([`parse`](Self::parse)), or as a client library hands them over
/// ([`parse_message`](Self::parse_message)). `OBJECT_FINALIZE` is a change with the ETag of the new
/// version if the payload has an MD5: the tag that the XML API has, which object_store reads by.
/// `OBJECT_DELETE`, `OBJECT_ARCHIVE` and `OBJECT_METADATA_UPDATE` are changes without a tag.
///
/// Events of one generation of an object happen in a known order, and two generations are in order
/// where one says that it took the place of the other. Cloud Storage does not promise that a later
/// generation has a greater number: an event of any other generation is reported, which costs a
/// request at most.
///
/// ```
/// use cache_bus_events::GcsNotifications;
/// use cache_core::{Change, Key};
///
/// let request = br#"{"message": {"attributes": {
///     "eventType": "OBJECT_DELETE", "bucketId": "bucket", "objectId": "a/b",
///     "objectGeneration": "1537543840000000"
/// }}}"#;
/// let mut notifications = GcsNotifications::new("bucket");
/// let change = Change::Key { key: Key::parse("a/b")?, e_tag: None };
/// assert_eq!(notifications.parse(request)?, [change]);
/// assert_eq!(notifications.parse(request)?, [], "it is delivered again");
/// # Ok::<(), cache_core::Error>(())
/// ```
///
/// [Pub/Sub notifications]: https://cloud.google.com/storage/docs/pubsub-notifications
#[derive(Debug)]
pub struct GcsNotifications {
    scope: Scope,
    memory: Memory<Seen>,
    counts: EventCounts,
}

/// The latest event of a key.
#[derive(Debug)]
struct Seen {
    generation: u64,
    /// The event of that generation, and its metageneration. `None` if the generation is known only
    /// because it took the place of another.
    event: Option<(Kind, Option<u64>)>,
    /// The generation that it took the place of.
    overwrote: Option<u64>,
}

impl GcsNotifications {
    /// Returns a parser of the notifications of one bucket. Those of others are left out.
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

    /// Returns the changes of a document: the request of a push subscription, the response to a
    /// pull, or one message.
    ///
    /// # Errors
    ///
    /// `Decode` if it is no JSON, or not that of a notification. The message says what is wrong; no
    /// event of the document was taken, so it can be parsed again.
    pub fn parse(&mut self, message: &[u8]) -> Result<Vec<Change>> {
        self.counts.messages += 1;
        let notifications = parse(message).inspect_err(|_| self.counts.errors += 1)?;
        Ok(notifications.into_iter().filter_map(|event| self.change(&event)).collect())
    }

    /// Returns the change of a message, given its attributes and its payload.
    ///
    /// # Errors
    ///
    /// `Decode` if attributes are missing, or the payload is not JSON.
    pub fn parse_message<'a>(
        &mut self,
        attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
        data: &[u8],
    ) -> Result<Option<Change>> {
        self.counts.messages += 1;
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let attributes = attributes.into_iter().map(owned).collect();
        let event = notification(&attributes, data).inspect_err(|_| self.counts.errors += 1)?;
        Ok(self.change(&event))
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> EventCounts {
        self.counts
    }

    fn change(&mut self, event: &Notification) -> Option<Change> {
        let key = self.scope.key(&event.bucket, Some(&event.name), &mut self.counts)?;
        if self.memory.get(&key).is_some_and(|seen| seen.covers(event)) {
            self.counts.repeated += 1;
            return None;
        }
        let change = change(key.clone(), event.e_tag.as_deref(), &mut self.counts);
        // It is not known which events come before it.
        if event.kind != Kind::Unknown {
            self.memory.set(key, Seen::of(event));
        }
        Some(change)
    }
}

impl Seen {
    fn of(event: &Notification) -> Self {
        match event.overwritten_by {
            Some(newer) => {
                Self { generation: newer, event: None, overwrote: Some(event.generation) }
            }
            None => Self {
                generation: event.generation,
                event: Some((event.kind, event.metageneration)),
                overwrote: event.overwrote,
            },
        }
    }

    /// Whether `event` is this one, or one before it.
    fn covers(&self, event: &Notification) -> bool {
        if event.overwritten_by == Some(self.generation) || self.overwrote == Some(event.generation)
        {
            return true;
        }
        let Some((kind, metageneration)) = self.event else { return false };
        if self.generation != event.generation || event.kind == Kind::Unknown {
            return false;
        }
        // Without a payload, two updates of the metadata cannot be told apart.
        let is_repeat = event.kind != Kind::MetadataUpdate
            || (event.metageneration.is_some() && event.metageneration <= metageneration);
        event.kind < kind || (event.kind == kind && is_repeat)
    }
}
