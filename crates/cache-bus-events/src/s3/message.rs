//! The JSON of S3's events, and of the services that carry them.

use cache_core::Result;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::sequencer::Sequencer;
use crate::error::{invalid, json};

/// The events of a document.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) list: Vec<Event>,
    /// Events that change no object.
    pub(super) n_ignored: u64,
}

#[derive(Debug)]
pub(super) struct Event {
    pub(super) bucket: String,
    /// The object's name; `None` if it is no text.
    pub(super) name: Option<String>,
    /// The ETag of the new version; `None` if the object was deleted, or it is unknown.
    pub(super) e_tag: Option<String>,
    pub(super) sequencer: Option<Sequencer>,
}

/// The effect of an event on the object, by the name of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Written,
    /// Deleted, or perhaps changed: an event that this release does not know may be anything.
    Unknown,
    Unchanged,
}

/// All documents that are read, with the fields of each.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    /// Of the test that S3 sends.
    #[serde(rename = "Event")]
    event: Option<String>,
    /// Of SNS.
    #[serde(rename = "Type")]
    kind: Option<String>,
    #[serde(rename = "Message")]
    message: Option<String>,
    /// Of EventBridge.
    source: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
    detail: Option<Entity>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventName")]
    name: Option<String>,
    s3: Option<Entity>,
    /// Of a message of SQS or SNS that a Lambda function is called with.
    body: Option<String>,
    #[serde(rename = "Sns")]
    sns: Option<Sns>,
}

#[derive(Deserialize)]
struct Sns {
    #[serde(rename = "Message")]
    message: String,
}

#[derive(Deserialize)]
struct Entity {
    bucket: Option<Bucket>,
    object: Option<Object>,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    #[serde(rename = "eTag", alias = "etag")]
    e_tag: Option<String>,
    sequencer: Option<String>,
}

/// Reads a document, and those within it.
pub(super) fn parse(bytes: &[u8]) -> Result<Events> {
    let document = serde_json::from_slice(bytes).map_err(|error| json("the event", error))?;
    let mut events = Events::default();
    events.add(document, 0)?;
    Ok(events)
}

impl Events {
    fn add(&mut self, document: Document, depth: usize) -> Result<()> {
        if let Some(records) = document.records {
            let mut records = records.into_iter().enumerate();
            return records.try_for_each(|(at, record)| self.add_record(record, at, depth));
        }
        if let Some(entity) = document.detail {
            return self.add_detail(document.source, document.detail_type, entity);
        }
        match (document.message, document.kind.as_deref(), document.event.as_deref()) {
            // Of SNS, about the subscription of this queue.
            (_, Some("SubscriptionConfirmation" | "UnsubscribeConfirmation"), _)
            | (_, _, Some("s3:TestEvent")) => {
                self.n_ignored += 1;
                Ok(())
            }
            (Some(message), _, _) => self.add_text("the field `Message`", &message, depth),
            (None, _, Some(event)) => Err(invalid(format!("`{}` is no known event", cut(event)))),
            (None, _, None) => Err(invalid(
                "the JSON is no event of S3: it has neither `Records`, `detail`, `Message` nor \
                 `Event`",
            )),
        }
    }

    /// Adds a document that is a text in another one.
    fn add_text(&mut self, name: &str, text: &str, depth: usize) -> Result<()> {
        if depth == DEPTH_MAX {
            return Err(invalid(format!("more than {DEPTH_MAX} messages are within another")));
        }
        let document = serde_json::from_str(text).map_err(|error| json(name, error))?;
        self.add(document, depth + 1)
    }

    fn add_record(&mut self, record: Record, at: usize, depth: usize) -> Result<()> {
        let missing =
            |name: &str| invalid(format!("record {at} of `Records` has no field `{name}`"));
        if let Some(text) = record.body.or(record.sns.map(|sns| sns.message)) {
            return self.add_text(&format!("the message of record {at}"), &text, depth);
        }
        let name = record.name.ok_or_else(|| missing("eventName"))?;
        let entity = record.s3.ok_or_else(|| missing("s3"))?;
        let bucket = entity.bucket.ok_or_else(|| missing("s3.bucket"))?.name;
        let object = entity.object.ok_or_else(|| missing("s3.object"))?;
        self.add_object(effect_of_name(&name), bucket, decoded(&object.key), object);
        Ok(())
    }

    fn add_detail(
        &mut self,
        source: Option<String>,
        detail_type: Option<String>,
        entity: Entity,
    ) -> Result<()> {
        let missing = |name: &str| invalid(format!("the event has no field `{name}`"));
        if source.as_deref() != Some("aws.s3") {
            let source = source.unwrap_or_default();
            return Err(invalid(format!("the event is of `{}`, not of `aws.s3`", cut(&source))));
        }
        let detail_type = detail_type.ok_or_else(|| missing("detail-type"))?;
        let effect = effect_of_detail(&detail_type);
        if effect == Effect::Unchanged {
            self.n_ignored += 1;
            return Ok(());
        }
        let bucket = entity.bucket.ok_or_else(|| missing("detail.bucket"))?.name;
        let object = entity.object.ok_or_else(|| missing("detail.object"))?;
        // EventBridge does not encode it.
        self.add_object(effect, bucket, Some(object.key.clone()), object);
        Ok(())
    }

    fn add_object(&mut self, effect: Effect, bucket: String, name: Option<String>, object: Object) {
        if effect == Effect::Unchanged {
            self.n_ignored += 1;
            return;
        }
        // A deleted object has the tag of its delete marker, if any.
        let e_tag = object.e_tag.filter(|_| effect == Effect::Written);
        let sequencer = object.sequencer.as_deref().and_then(Sequencer::parse);
        self.list.push(Event { bucket, name, e_tag, sequencer });
    }
}

/// Of `Records`: `ObjectCreated:Put`, and from some stores with `s3:` before it.
fn effect_of_name(name: &str) -> Effect {
    let name = name.strip_prefix("s3:").unwrap_or(name);
    let starts_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if starts_with(&["ObjectCreated:"]) {
        Effect::Written
    } else if starts_with(&UNCHANGED_NAMES) {
        Effect::Unchanged
    } else {
        Effect::Unknown
    }
}

fn effect_of_detail(detail_type: &str) -> Effect {
    match detail_type {
        "Object Created" => Effect::Written,
        "Object Restore Initiated"
        | "Object Restore Completed"
        | "Object Restore Expired"
        | "Object Storage Class Changed"
        | "Object Access Tier Changed"
        | "Object ACL Updated"
        | "Object Tags Added"
        | "Object Tags Deleted" => Effect::Unchanged,
        _ => Effect::Unknown,
    }
}

/// The name of an object in `Records` is encoded as in the query of a URL.
fn decoded(key: &str) -> Option<String> {
    let spaced = key.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Into::into)
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(SHOWN_MAX).map_or(text, |(end, _)| &text[..end])
}

/// Kinds of events after which a read returns the same bytes and the same tag.
const UNCHANGED_NAMES: [&str; 8] = [
    "ObjectRestore:",
    "ObjectTagging:",
    "ObjectAcl:",
    "ObjectAnnotation:",
    "ObjectAccessed:",
    "LifecycleTransition",
    "IntelligentTiering",
    "Replication:",
];
/// SQS carries SNS carries S3; EventBridge may be in between.
const DEPTH_MAX: usize = 4;
const SHOWN_MAX: usize = 80;
