//! A cache that hears of changes by S3's event notifications in an SQS queue.
//!
//! It needs an S3 and an SQS server that check no signatures, such as moto:
//!
//! ```text
//! cargo xtask servers run -- cargo run -p cache-bus-events --example sqs_events
//! ```
//!
//! Without the variable that this sets, it says so and ends. A program on AWS receives messages
//! with the SDK, and does the same with their bodies.

use std::{env, error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_bus_events::S3Events;
use cache_facade::{Freshness, ObjectCache, Status};
use cache_testkit::PlainHttp;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use object_store::{ObjectStore, ObjectStoreExt as _, aws::AmazonS3Builder, path::Path};
use serde_json::{Value, json};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let Ok(endpoint) = env::var(ENDPOINT) else {
        println!("no server: run it by `cargo xtask servers run -- …`, or set {ENDPOINT}");
        return Ok(());
    };
    let aws = Aws { client: Client::builder(TokioExecutor::new()).build_http(), endpoint };
    // A bucket of its own: its settings change.
    let bucket = format!("object-cache-events-{}", std::process::id());
    aws.make_bucket(&bucket).await?;
    let queue = aws.queue_of(&bucket).await?;

    let store = AmazonS3Builder::new()
        .with_endpoint(&aws.endpoint)
        .with_bucket_name(&bucket)
        .with_skip_signature(true)
        .with_disable_bulk_delete(true)
        .with_http_connector(PlainHttp)
        .build()?;
    let store: Arc<dyn ObjectStore> = Arc::new(store);
    let cache = ObjectCache::builder(Arc::clone(&store))
        // Events are hints: a lost one costs staleness up to this age.
        .freshness(Freshness::max_age(Duration::from_secs(3600)))
        .build()?;
    let mut events = S3Events::new(&bucket);

    let path = Path::parse(KEY)?;
    store.put(&path, "version 1".into()).await?;
    hear(&aws, &queue, &mut events, &cache).await?;
    read(&cache, Status::Fetched, "version 1").await?;
    read(&cache, Status::Fresh, "version 1").await?;

    // Another program writes. Until the event is heard, the cached object is served.
    store.put(&path, "version 2".into()).await?;
    read(&cache, Status::Fresh, "version 1").await?;
    hear(&aws, &queue, &mut events, &cache).await?;
    read(&cache, Status::Refetched, "version 2").await?;
    read(&cache, Status::Fresh, "version 2").await?;

    // An event that is delivered late names the version that is cached: it marks nothing.
    store.put(&path, "version 3".into()).await?;
    cache.mark_stale(KEY).await?;
    read(&cache, Status::Refetched, "version 3").await?;
    hear(&aws, &queue, &mut events, &cache).await?;
    read(&cache, Status::Fresh, "version 3").await?;

    store.delete(&path).await?;
    hear(&aws, &queue, &mut events, &cache).await?;
    let error = cache.get(KEY).await.err().ok_or("it was deleted")?;
    println!("read:  {error}");
    assert!(error.is_not_found());

    println!("{:?}", events.counts());
    aws.sqs("DeleteQueue", &json!({ "QueueUrl": queue })).await?;
    Ok(())
}

/// Receives messages until one is about the bucket, and applies all of them.
async fn hear(aws: &Aws, queue: &str, events: &mut S3Events, cache: &ObjectCache) -> Result<()> {
    for _ in 0..RECEIVES_MAX {
        let request = json!({
            "QueueUrl": queue,
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": 1,
        });
        let response = aws.sqs("ReceiveMessage", &request).await?;
        let mut n_changes = 0;
        for message in response["Messages"].as_array().into_iter().flatten() {
            let body = message["Body"].as_str().ok_or("a message without a body")?;
            // A document that cannot be read now cannot be read later either: it is not sent again.
            match events.parse(body.as_bytes()) {
                Err(error) => println!("event: {error}"),
                Ok(changes) => {
                    for change in &changes {
                        println!("event: {change:?}");
                        cache.hear_change(change).await;
                    }
                    n_changes += changes.len();
                }
            }
            // After it was applied: if the program ends before, the queue delivers it again.
            let handle = &message["ReceiptHandle"];
            let request = json!({ "QueueUrl": queue, "ReceiptHandle": handle });
            aws.sqs("DeleteMessage", &request).await?;
        }
        if n_changes > 0 {
            return Ok(());
        }
    }
    Err("no event was received".into())
}

async fn read(cache: &ObjectCache, status: Status, body: &str) -> Result<()> {
    let object = cache.get(KEY).await?;
    println!("read:  {:?} ({:?})", str::from_utf8(object.bytes())?, object.status());
    assert_eq!((object.status(), str::from_utf8(object.bytes())?), (status, body));
    Ok(())
}

/// S3 and SQS, without signatures.
struct Aws {
    client: Client<HttpConnector, Full<Bytes>>,
    endpoint: String,
}

impl Aws {
    /// Makes a queue that gets the events of a bucket. Returns its address.
    async fn queue_of(&self, bucket: &str) -> Result<String> {
        let created = self.sqs("CreateQueue", &json!({ "QueueName": bucket })).await?;
        let queue = created["QueueUrl"].as_str().ok_or("no address of the queue")?;
        let request = json!({ "QueueUrl": queue, "AttributeNames": ["QueueArn"] });
        let attributes = self.sqs("GetQueueAttributes", &request).await?;
        let arn = attributes["Attributes"]["QueueArn"].as_str().ok_or("no name of the queue")?;
        let notifications = format!(
            "<NotificationConfiguration><QueueConfiguration><Id>cache</Id><Queue>{arn}</Queue>\
             <Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event>\
             </QueueConfiguration></NotificationConfiguration>"
        );
        self.put(&format!("{bucket}?notification"), notifications).await?;
        Ok(queue.to_owned())
    }

    /// Makes a bucket, and allows requests for its objects that are not signed.
    async fn make_bucket(&self, bucket: &str) -> Result<()> {
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": format!("arn:aws:s3:::{bucket}/*"),
        }]});
        self.put(bucket, String::new()).await?;
        self.put(&format!("{bucket}?policy"), policy.to_string()).await
    }

    async fn put(&self, path: &str, body: String) -> Result<()> {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{}/{path}", self.endpoint))
            .body(Full::from(body))?;
        self.send(request).await?;
        Ok(())
    }

    /// Calls an action of SQS by its JSON protocol.
    async fn sqs(&self, action: &str, parameters: &Value) -> Result<Value> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/", self.endpoint))
            .header("Content-Type", "application/x-amz-json-1.0")
            .header("X-Amz-Target", format!("AmazonSQS.{action}"))
            .header("Authorization", SCOPE)
            .body(Full::from(parameters.to_string()))?;
        let body = self.send(request).await?;
        Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? })
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Bytes> {
        let call = format!("{} {}", request.method(), request.uri());
        let response = self.client.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(format!("{call}: {status}: {}", String::from_utf8_lossy(&body)).into())
    }
}

const ENDPOINT: &str = "OBJECT_CACHE_TEST_S3_ENDPOINT";
/// S3 encodes it in events.
const KEY: &str = "settings/red flower+é.json";
/// Not a signature: moto finds the service that a request is for in it.
const SCOPE: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, \
    SignedHeaders=host, Signature=0";
const RECEIVES_MAX: usize = 20;
