use cache_core::{Change, ErrorKind, Key};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;

fn written(key: &str, e_tag: &str) -> Change {
    let e_tag = Some(format!("\"{e_tag}\"").into());
    Change::Key { key: Key::parse(key).unwrap(), e_tag }
}

fn marked(key: &str) -> Change {
    Change::Key { key: Key::parse(key).unwrap(), e_tag: None }
}

fn record(name: &str, key: &str, e_tag: Option<&str>, sequencer: Option<&str>) -> Value {
    json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "testConfigRule",
            "bucket": {
                "name": "bucket",
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": "arn:aws:s3:::bucket"
            },
            "object": {
                "key": key,
                "size": 1024,
                "eTag": e_tag,
                "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                "sequencer": sequencer
            }
        }
    })
}

fn records(records: impl IntoIterator<Item = Value>) -> Value {
    json!({ "Records": records.into_iter().collect::<Vec<_>>() })
}

fn put(key: &str, e_tag: &str, sequencer: &str) -> Value {
    record("ObjectCreated:Put", key, Some(e_tag), Some(sequencer))
}

fn bridge(detail_type: &str, key: &str) -> Value {
    json!({
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": detail_type,
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2021-11-12T00:00:00Z",
        "region": "ca-central-1",
        "resources": ["arn:aws:s3:::bucket"],
        "detail": {
            "version": "0",
            "bucket": {"name": "bucket"},
            "object": {
                "key": key,
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                "sequencer": "617f08299329d189"
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "source-ip-address": "1.2.3.4",
            "reason": "PutObject"
        }
    })
}

fn sns(message: &Value) -> Value {
    json!({
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-west-2:123456789012:MyTopic",
        "Subject": "Amazon S3 Notification",
        "Message": message.to_string(),
        "Timestamp": "2012-05-02T00:54:06.655Z",
        "SignatureVersion": "1"
    })
}

fn parse(events: &mut S3Events, document: &Value) -> Vec<Change> {
    events.parse(document.to_string().as_bytes()).unwrap()
}

#[track_caller]
fn check(document: &Value, expected: &[Change]) {
    assert_eq!(parse(&mut S3Events::new("bucket"), document), expected, "{document}");
}

#[test]
fn written_objects_have_their_tag_and_deleted_ones_none() {
    for name in ["Put", "Post", "Copy", "CompleteMultipartUpload"] {
        let name = format!("ObjectCreated:{name}");
        check(&records([record(&name, "a", Some("d41d"), None)]), &[written("a", "d41d")]);
        let name = format!("s3:{name}");
        check(&records([record(&name, "a", Some("\"d41d-2\""), None)]), &[written("a", "d41d-2")]);
    }
    for name in [
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "LifecycleExpiration:Delete",
        "LifecycleExpiration:DeleteMarkerCreated",
        "ReducedRedundancyLostObject",
        "AnEventOf:TheFuture",
    ] {
        check(&records([record(name, "a", Some("d41d"), None)]), &[marked("a")]);
    }
    let none = [
        "ObjectTagging:Put",
        "ObjectAcl:Put",
        "ObjectRestore:Completed",
        "LifecycleTransition",
        "IntelligentTiering",
        "Replication:OperationMissedThreshold",
    ];
    let mut events = S3Events::new("bucket");
    let document = records(none.map(|name| record(name, "a", Some("d41d"), None)));
    assert_eq!(parse(&mut events, &document), []);
    assert_eq!(events.counts().ignored, 6);
    // A tag that no store has: whatever is cached is marked.
    let tag = "t".repeat(1 << 20);
    check(&records([record("ObjectCreated:Put", "a", Some(&tag), None)]), &[marked("a")]);
    check(&records([record("ObjectCreated:Put", "a", Some(""), None)]), &[marked("a")]);
}

#[test]
fn keys_are_decoded_and_those_of_others_are_left_out() {
    let mut events = S3Events::new("bucket").strip_prefix("/tenant/1/");
    let mut elsewhere = put("tenant/1/a", "x", "01");
    elsewhere["s3"]["bucket"]["name"] = json!("other");
    let keys = [
        "tenant/1/red+flower%2B%C3%A9.jpg",
        "tenant%2F1%2Fa%252Fb",
        "tenant/10/a",
        "tenant/1",
        "tenant/1/folder/",
        "tenant/1//a",
        "tenant/1/%FF",
        &format!("tenant/1/{}", "x".repeat(1 << 20)),
    ];
    let all = keys.map(|key| put(key, "x", "01")).into_iter().chain([elsewhere]);
    let changes = parse(&mut events, &records(all));
    assert_eq!(changes, [written("red flower+é.jpg", "x"), written("a%2Fb", "x")]);
    let counts = events.counts();
    assert_eq!((counts.other_buckets, counts.other_prefixes, counts.invalid_keys), (1, 2, 4));
    assert_eq!((counts.messages, counts.changes, counts.errors), (1, 2, 0));
}

#[test]
fn envelopes_are_opened() {
    let direct = records([put("a+b", "x", "01"), put("c", "y", "01")]);
    let expected = [written("a b", "x"), written("c", "y")];
    check(&direct, &expected);
    check(&sns(&direct), &expected);
    let queued = json!({"Records": [
        {"messageId": "1", "eventSource": "aws:sqs", "body": sns(&direct).to_string()}
    ]});
    check(&queued, &expected);
    let topic = json!({"Records": [
        {"EventSource": "aws:sns", "Sns": {"Type": "Notification", "Message": direct.to_string()}}
    ]});
    check(&topic, &expected);

    // EventBridge does not encode names.
    let tag = "b1946ac92492d2347c6235b4d2611184";
    check(&bridge("Object Created", "a+b%20"), &[written("a+b%20", tag)]);
    check(&sns(&bridge("Object Created", "a")), &[written("a", tag)]);
    check(&bridge("Object Deleted", "a"), &[marked("a")]);
    check(&bridge("Object Of The Future", "a"), &[marked("a")]);
    for detail_type in ["Object Tags Added", "Object ACL Updated", "Object Restore Completed"] {
        check(&bridge(detail_type, "a"), &[]);
    }
}

#[test]
fn tests_and_confirmations_are_no_changes() {
    let test = json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2014-10-13T15:57:02.089Z",
        "Bucket": "bucket",
        "RequestId": "5582815E1AEA5ADF",
        "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE"
    });
    let confirm = json!({"Type": "SubscriptionConfirmation", "Message": "You have chosen to …"});
    for document in [&test, &sns(&test), &confirm] {
        let mut events = S3Events::new("bucket");
        assert_eq!(parse(&mut events, document), []);
        assert_eq!((events.counts().ignored, events.counts().errors), (1, 0));
    }
}

#[test]
fn repeats_and_older_events_of_a_key_are_left_out() {
    let mut events = S3Events::new("bucket");
    let mut one = |event: Value| parse(&mut events, &records([event])).len();
    assert_eq!(one(put("a", "x", "0055AED6DCD90281E5")), 1);
    assert_eq!(one(put("a", "x", "0055AED6DCD90281E5")), 0, "again");
    assert_eq!(one(put("b", "x", "0055AED6DCD90281E5")), 1, "another key");
    assert_eq!(one(put("a", "y", "0055AED6DCD90281E7")), 1);
    let deleted = |sequencer| record("ObjectRemoved:Delete", "a", None, Some(sequencer));
    assert_eq!(one(deleted("0055AED6DCD90281E6")), 0, "before the latest put");
    assert_eq!(one(deleted("0055AED6DCD90281E8")), 1);
    assert_eq!(one(put("a", "z", "0055AED6DCD90281E8")), 1, "a store that repeats a sequencer");
    // Without one, nothing can be known.
    for _ in 0..2 {
        assert_eq!(one(record("ObjectCreated:Put", "a", Some("z"), None)), 1);
        assert_eq!(one(put("a", "z", "not hexadecimal")), 1);
    }
    assert_eq!(events.counts().repeated, 2);
    let mut events = S3Events::new("bucket").remember(0);
    for _ in 0..2 {
        assert_eq!(parse(&mut events, &records([put("a", "x", "01")])), [written("a", "x")]);
    }
}

#[track_caller]
fn fails(document: &[u8], said: &str) {
    let mut events = S3Events::new("bucket");
    let error = events.parse(document).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains(said), "{error}");
    assert_eq!((events.counts().errors, events.counts().changes), (1, 0));
}

#[test]
fn an_error_says_what_is_wrong() {
    fails(b"garbage", "the event cannot be read: expected value at line 1 column 1");
    fails(b"\xff\xfe", "the event cannot be read");
    fails(b"[]", "the event cannot be read");
    fails(b"{}", "neither `Records`, `detail`, `Message` nor `Event`");
    fails(br#"{"Records": [{}]}"#, "record 0 of `Records` has no field `eventName`");
    fails(br#"{"Records": [{"eventName": "x"}]}"#, "record 0 of `Records` has no field `s3`");
    fails(
        br#"{"Records": [{"eventName": "x", "s3": {"object": {"key": "a"}}}]}"#,
        "record 0 of `Records` has no field `s3.bucket`",
    );
    fails(br#"{"Records": [{"eventName": "x", "s3": {"object": {}}}]}"#, "missing field `key`");
    fails(br#"{"Type": "Notification", "Message": "hello"}"#, "the field `Message` cannot be read");
    fails(br#"{"Event": "s3:AnotherEvent"}"#, "`s3:AnotherEvent` is no known event");
    fails(br#"{"source": "aws.ec2", "detail": {}}"#, "is of `aws.ec2`, not of `aws.s3`");
    fails(
        br#"{"source": "aws.s3", "detail-type": "Object Created", "detail": {}}"#,
        "no field `detail.bucket`",
    );
    let mut nested = records([put("a", "x", "01")]);
    for _ in 0..6 {
        nested = sns(&nested);
    }
    fails(nested.to_string().as_bytes(), "more than 4 messages are within another");
}

#[test]
fn no_event_of_a_bad_document_is_taken() {
    let mut events = S3Events::new("bucket");
    let bad = records([put("a", "x", "01"), json!({"eventName": "ObjectCreated:Put"})]);
    assert!(events.parse(bad.to_string().as_bytes()).is_err());
    assert_eq!(parse(&mut events, &records([put("a", "x", "01")])), [written("a", "x")]);
}

#[test]
fn a_forgotten_key_marks_again() {
    let mut events = S3Events::new("bucket").remember(10);
    for n in 0..100 {
        parse(&mut events, &records([put(&format!("{n}"), "x", "01")]));
    }
    assert_eq!(parse(&mut events, &records([put("99", "x", "01"), put("0", "x", "01")])).len(), 1);
}

/// JSON of the names and texts that the parser looks for.
fn documents() -> impl Strategy<Value = Value> {
    let names = [
        "Records",
        "Event",
        "Type",
        "Message",
        "source",
        "detail-type",
        "detail",
        "eventName",
        "s3",
        "body",
        "Sns",
        "bucket",
        "object",
        "name",
        "key",
        "eTag",
        "etag",
        "sequencer",
    ];
    let texts = [
        "bucket",
        "a",
        "a+b%",
        "%FF",
        "aws.s3",
        "Object Created",
        "ObjectCreated:Put",
        "01",
        "{}",
        "Notification",
        "s3:TestEvent",
        r#"{"Records": []}"#,
        "",
    ];
    let leaf = prop_oneof![
        proptest::sample::select(texts.to_vec()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        let fields = vec((proptest::sample::select(names.to_vec()), inner.clone()), 0..8);
        let object = fields.prop_map(|fields| {
            Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            )
        });
        prop_oneof![
            object.clone(),
            vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|object| Value::from(object.to_string())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200), document in documents()) {
        let mut events = S3Events::new("bucket").strip_prefix("a").remember(2);
        let _ = events.parse(&bytes);
        let _ = events.parse(document.to_string().as_bytes());
        let mut cut = document.to_string().into_bytes();
        cut.truncate(cut.len() / 2);
        let _ = events.parse(&cut);
        prop_assert_eq!(events.counts().messages, 3);
    }

    /// Whatever order they come in and however often, the latest event of a key is reported, and a
    /// cache that applied it has no older version.
    #[test]
    fn the_latest_event_is_never_left_out(
        events in vec((0u64..3, 1u64..0x3000, any::<bool>()), 1..40),
        remember in 0usize..4,
        is_padded in any::<bool>(),
    ) {
        let mut parser = S3Events::new("bucket").remember(remember);
        for key in 0..3u64 {
            let of_key: Vec<_> = events.iter().filter(|event| event.0 == key).collect();
            let Some(latest) = of_key.iter().map(|event| event.1).max() else { continue };
            let mut is_reported = false;
            for (_, number, _) in &of_key {
                let sequencer =
                    if is_padded { format!("{number:018X}") } else { format!("{number:X}") };
                let event = put(&format!("key/{key}"), &number.to_string(), &sequencer);
                let changes = parse(&mut parser, &records([event]));
                is_reported |= *number == latest && !changes.is_empty();
            }
            prop_assert!(is_reported, "{of_key:?}");
        }
    }
}
