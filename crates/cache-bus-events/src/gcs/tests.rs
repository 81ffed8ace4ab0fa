use cache_core::{Change, ErrorKind, Key};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;

const MD5: &str = "XUFAKrxLKna5cZ2REBfFkg==";
const TAG: &str = "\"5d41402abc4b2a76b9719d911017c592\"";

fn change_of(key: &str, e_tag: Option<&str>) -> Change {
    Change::Key { key: Key::parse(key).unwrap(), e_tag: e_tag.map(Into::into) }
}

fn message(kind: &str, name: &str, generation: u64) -> Value {
    json!({
        "attributes": {
            "notificationConfig": "projects/_/buckets/bucket/notificationConfigs/1",
            "eventType": kind,
            "payloadFormat": "JSON_API_V1",
            "bucketId": "bucket",
            "objectId": name,
            "objectGeneration": generation.to_string(),
            "eventTime": "2018-06-14T17:39:05.255Z"
        },
        "data": payload(name, generation, 1, Some(MD5)),
        "messageId": "119683371845093",
        "publishTime": "2018-06-14T17:39:05.255Z"
    })
}

fn payload(name: &str, generation: u64, metageneration: u64, md5: Option<&str>) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let resource = json!({
        "kind": "storage#object",
        "id": format!("bucket/{name}/{generation}"),
        "name": name,
        "bucket": "bucket",
        "generation": generation.to_string(),
        "metageneration": metageneration.to_string(),
        "contentType": "text/plain",
        "size": "5",
        "md5Hash": md5,
        "crc32c": "mnG7TA==",
        "etag": "CLjz8+qR3tsCEAE="
    });
    BASE64_STANDARD.encode(resource.to_string())
}

fn with(mut message: Value, attribute: &str, generation: u64) -> Value {
    message["attributes"][attribute] = json!(generation.to_string());
    message
}

fn parse(notifications: &mut GcsNotifications, document: &Value) -> Vec<Change> {
    notifications.parse(document.to_string().as_bytes()).unwrap()
}

#[track_caller]
fn check(document: &Value, expected: &[Change]) {
    assert_eq!(parse(&mut GcsNotifications::new("bucket"), document), expected, "{document}");
}

#[test]
fn new_versions_have_the_tag_of_the_xml_api() {
    check(&message("OBJECT_FINALIZE", "a", 1), &[change_of("a", Some(TAG))]);
    for kind in ["OBJECT_DELETE", "OBJECT_ARCHIVE", "OBJECT_METADATA_UPDATE", "OBJECT_LATER"] {
        check(&message(kind, "a", 1), &[change_of("a", None)]);
    }
    // A composite object, and a hash that is none.
    for md5 in [None, Some("XUFA"), Some("?")] {
        let mut composite = message("OBJECT_FINALIZE", "a", 1);
        composite["data"] = json!(payload("a", 1, 1, md5));
        check(&composite, &[change_of("a", None)]);
    }
    let mut without = message("OBJECT_FINALIZE", "a", 1);
    without["attributes"]["payloadFormat"] = json!("NONE");
    without["data"] = Value::Null;
    check(&without, &[change_of("a", None)]);
}

#[test]
fn pushes_pulls_and_messages_are_read() {
    let (one, two) = (message("OBJECT_FINALIZE", "a b+%20", 1), message("OBJECT_DELETE", "c", 1));
    let expected = [change_of("a b+%20", Some(TAG)), change_of("c", None)];
    check(&one, &expected[..1]);
    check(&json!({"message": one, "subscription": "projects/p/subscriptions/s"}), &expected[..1]);
    let pulled = json!({"receivedMessages": [
        {"ackId": "1", "message": one}, {"ackId": "2", "message": two}
    ]});
    check(&pulled, &expected);

    let attributes = [
        ("eventType", "OBJECT_FINALIZE"),
        ("payloadFormat", "JSON_API_V1"),
        ("bucketId", "bucket"),
        ("objectId", "a"),
        ("objectGeneration", "1"),
    ];
    let data = json!({"md5Hash": MD5, "metageneration": "1"}).to_string();
    let mut notifications = GcsNotifications::new("bucket");
    let change = notifications.parse_message(attributes, data.as_bytes()).unwrap();
    assert_eq!(change, Some(change_of("a", Some(TAG))));
    let error = notifications.parse_message([], b"").unwrap_err();
    assert!(error.to_string().contains("no attribute `eventType`"), "{error}");
}

#[test]
fn objects_of_others_are_left_out() {
    let mut notifications = GcsNotifications::new("bucket").strip_prefix("tenant");
    let mut elsewhere = message("OBJECT_DELETE", "tenant/a", 1);
    elsewhere["attributes"]["bucketId"] = json!("other");
    assert_eq!(parse(&mut notifications, &elsewhere), []);
    for name in ["tenants/a", "tenant/folder/", "tenant//a"] {
        assert_eq!(parse(&mut notifications, &message("OBJECT_DELETE", name, 1)), []);
    }
    let inside = message("OBJECT_DELETE", "tenant/a", 1);
    assert_eq!(parse(&mut notifications, &inside), [change_of("a", None)]);
    let counts = notifications.counts();
    assert_eq!((counts.other_buckets, counts.other_prefixes, counts.invalid_keys), (1, 1, 2));
}

#[test]
fn events_that_another_one_covers_are_left_out() {
    let mut notifications = GcsNotifications::new("bucket");
    let mut n_changes = |document: &Value| parse(&mut notifications, document).len();
    let first = message("OBJECT_FINALIZE", "a", 10);
    assert_eq!(n_changes(&first), 1);
    assert_eq!(n_changes(&first), 0, "again");
    // An overwrite is two events, in any order.
    let (finalized, deleted) = (
        with(message("OBJECT_FINALIZE", "a", 20), "overwroteGeneration", 10),
        with(message("OBJECT_DELETE", "a", 10), "overwrittenByGeneration", 20),
    );
    assert_eq!((n_changes(&finalized), n_changes(&deleted)), (1, 0));
    assert_eq!(n_changes(&first), 0, "of the generation before");
    let (finalized, archived) = (
        with(message("OBJECT_FINALIZE", "a", 30), "overwroteGeneration", 20),
        with(message("OBJECT_ARCHIVE", "a", 20), "overwrittenByGeneration", 30),
    );
    assert_eq!((n_changes(&archived), n_changes(&archived)), (1, 0));
    assert_eq!((n_changes(&finalized), n_changes(&archived)), (1, 0));
    // Each of the two tells of the other by itself.
    let finalized = message("OBJECT_FINALIZE", "c", 20);
    let deleted = with(message("OBJECT_DELETE", "c", 10), "overwrittenByGeneration", 20);
    assert_eq!((n_changes(&finalized), n_changes(&deleted)), (1, 0));
    // Generations need not grow.
    assert_eq!(n_changes(&message("OBJECT_FINALIZE", "a", 25)), 1);
    // Within one generation.
    let updated = |metageneration| {
        let mut message = message("OBJECT_METADATA_UPDATE", "a", 25);
        message["data"] = json!(payload("a", 25, metageneration, None));
        message
    };
    assert_eq!((n_changes(&updated(3)), n_changes(&updated(2)), n_changes(&updated(4))), (1, 0, 1));
    assert_eq!(n_changes(&message("OBJECT_FINALIZE", "a", 25)), 0);
    let mut without = updated(0);
    without["attributes"]["payloadFormat"] = json!("NONE");
    assert_eq!((n_changes(&without), n_changes(&without)), (1, 1), "they cannot be told apart");
    assert_eq!((n_changes(&message("OBJECT_LATER", "a", 25))), 1);
    assert_eq!((n_changes(&message("OBJECT_LATER", "a", 25))), 1);
    assert_eq!((n_changes(&message("OBJECT_DELETE", "a", 25))), 1);
    assert_eq!((n_changes(&message("OBJECT_DELETE", "a", 25))), 0);
    assert_eq!((n_changes(&updated(9))), 0);
    assert_eq!(n_changes(&message("OBJECT_DELETE", "b", 25)), 1, "another key");
}

#[track_caller]
fn fails(document: &Value, said: &str) {
    let mut notifications = GcsNotifications::new("bucket");
    let error = notifications.parse(document.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains(said), "{error}");
    assert_eq!((notifications.counts().errors, notifications.counts().changes), (1, 0));
}

#[test]
fn an_error_says_what_is_wrong() {
    fails(&json!([]), "the message cannot be read");
    fails(&json!({}), "neither `message`, `receivedMessages` nor `attributes`");
    fails(&json!({"message": {}}), "no attribute `eventType`");
    let good = message("OBJECT_FINALIZE", "a", 1);
    let change = |field: &str, name: &str, value: Value| {
        let mut message = good.clone();
        if name.is_empty() {
            message[field] = value;
        } else {
            message[field][name] = value;
        }
        message
    };
    fails(&change("data", "", json!("?")), "the field `data` is no Base64");
    fails(&change("data", "", json!("aGVsbG8=")), "the payload cannot be read");
    let generation = change("attributes", "objectGeneration", json!("x"));
    fails(&generation, "the attribute `objectGeneration` is no number");
    for name in ["bucketId", "objectId", "objectGeneration"] {
        let mut without = good.clone();
        without["attributes"].as_object_mut().unwrap().remove(name);
        fails(&without, &format!("no attribute `{name}`"));
    }
}

fn documents() -> impl Strategy<Value = Value> {
    let names = [
        "message",
        "receivedMessages",
        "attributes",
        "data",
        "eventType",
        "bucketId",
        "objectId",
        "objectGeneration",
        "payloadFormat",
        "overwroteGeneration",
        "md5Hash",
        "metageneration",
    ];
    let texts =
        ["bucket", "a", "OBJECT_FINALIZE", "OBJECT_DELETE", "1", "JSON_API_V1", "e30=", MD5, ""];
    let leaf = prop_oneof![
        proptest::sample::select(texts.to_vec()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        let fields = vec((proptest::sample::select(names.to_vec()), inner.clone()), 0..8);
        let object = fields.prop_map(|fields| {
            Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            )
        });
        prop_oneof![object, vec(inner, 0..4).prop_map(Value::from)]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(
        bytes in vec(any::<u8>(), 0..200),
        document in documents(),
        attributes in vec(("[a-zA-Z]{0,20}", any::<String>()), 0..4),
    ) {
        let mut notifications = GcsNotifications::new("bucket").strip_prefix("a").remember(2);
        let _ = notifications.parse(&bytes);
        let _ = notifications.parse(document.to_string().as_bytes());
        let _ = notifications.parse(json!({"message": document}).to_string().as_bytes());
        let pairs = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let known = [
            ("eventType", "OBJECT_FINALIZE"), ("bucketId", "bucket"), ("objectId", "a/b"),
            ("objectGeneration", "1"), ("payloadFormat", "JSON_API_V1"),
        ];
        let _ = notifications.parse_message(known.into_iter().chain(pairs), &bytes);
        prop_assert_eq!(notifications.counts().messages, 4);
    }
}
