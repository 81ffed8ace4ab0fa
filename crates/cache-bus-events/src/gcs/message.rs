//! The JSON of Pub/Sub, and of the notifications of Cloud Storage in it.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use cache_core::{Error, Result};
use serde::Deserialize;

use crate::error::{invalid, json};

/// A notification.
#[derive(Debug)]
pub(super) struct Notification {
    pub(super) bucket: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) generation: u64,
    /// Of the payload, if there is one.
    pub(super) metageneration: Option<u64>,
    /// The generation that this one took the place of.
    pub(super) overwrote: Option<u64>,
    /// The generation that took the place of this one.
    pub(super) overwritten_by: Option<u64>,
    /// The tag that the XML API has for the new version, if it is known.
    pub(super) e_tag: Option<String>,
}

/// The kinds of events, in the order in which those of one generation happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Finalize,
    MetadataUpdate,
    Archive,
    Delete,
    /// One that this release does not know.
    Unknown,
}

/// All documents that are read: a message, a request of a push subscription, or the response to a
/// pull.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    message: Option<Message>,
    received_messages: Option<Vec<Received>>,
    attributes: Option<BTreeMap<String, String>>,
    data: Option<String>,
}

#[derive(Deserialize)]
struct Received {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    data: Option<String>,
}

/// The payload: the object's metadata of the JSON API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    metageneration: Option<String>,
    md5_hash: Option<String>,
}

/// Reads a document.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Notification>> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| json("the message", error))?;
    let Document { message, received_messages, attributes, data } = document;
    let messages = match (message, received_messages, attributes) {
        (Some(message), _, _) => vec![message],
        (_, Some(received), _) => received.into_iter().map(|received| received.message).collect(),
        (_, _, Some(attributes)) => vec![Message { attributes, data }],
        (None, None, None) => {
            return Err(invalid(
                "the JSON is no message of Pub/Sub: it has neither `message`, \
                 `receivedMessages` nor `attributes`",
            ));
        }
    };
    messages.into_iter().map(Message::into_notification).collect()
}

impl Message {
    fn into_notification(self) -> Result<Notification> {
        let decode = |data: String| BASE64_STANDARD.decode(data);
        let data = self.data.map(decode).transpose().map_err(|error| {
            invalid(format!("the field `data` is no Base64: {error}")).with_source(error)
        })?;
        notification(&self.attributes, &data.unwrap_or_default())
    }
}

/// Reads a notification from the attributes and the payload of a message.
pub(super) fn notification(
    attributes: &BTreeMap<String, String>,
    data: &[u8],
) -> Result<Notification> {
    let required = |name| attributes.get(name).ok_or_else(|| missing(name));
    let generation_of = |name| {
        let number = |text: &String| {
            let invalid = |_| invalid(format!("the attribute `{name}` is no number"));
            text.parse::<u64>().map_err(invalid)
        };
        attributes.get(name).map(number).transpose()
    };
    let kind = match required("eventType")?.as_str() {
        "OBJECT_FINALIZE" => Kind::Finalize,
        "OBJECT_METADATA_UPDATE" => Kind::MetadataUpdate,
        "OBJECT_ARCHIVE" => Kind::Archive,
        "OBJECT_DELETE" => Kind::Delete,
        _ => Kind::Unknown,
    };
    let has_payload = attributes.get("payloadFormat").is_some_and(|format| format != "NONE");
    let resource: Option<Resource> = (has_payload && !data.is_empty())
        .then(|| serde_json::from_slice(data))
        .transpose()
        .map_err(|error| json("the payload", error))?;
    let (metageneration, md5) = match resource {
        Some(Resource { metageneration, md5_hash }) => (metageneration, md5_hash),
        None => (None, None),
    };
    Ok(Notification {
        bucket: required("bucketId")?.clone(),
        name: required("objectId")?.clone(),
        kind,
        generation: generation_of("objectGeneration")?
            .ok_or_else(|| missing("objectGeneration"))?,
        metageneration: metageneration.and_then(|text| text.parse().ok()),
        overwrote: generation_of("overwroteGeneration")?,
        overwritten_by: generation_of("overwrittenByGeneration")?,
        e_tag: md5.filter(|_| kind == Kind::Finalize).and_then(|md5| xml_tag(&md5)),
    })
}

fn missing(attribute: &str) -> Error {
    invalid(format!(
        "the message has no attribute `{attribute}`; it is no notification of a bucket"
    ))
}

/// The payload's own `etag` is that of the JSON API. Clients that read by the XML API get the MD5
/// of the object as its tag, in hexadecimal digits, wherever there is one.
fn xml_tag(md5: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(md5).ok()?;
    (bytes.len() == MD5_LEN).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

const MD5_LEN: usize = 16;
