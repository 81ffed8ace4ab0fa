//! `verify_store` over S3's own protocol, through object_store's client.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use cache_core::{ErrorKind, Validation, Validator as _};
use cache_store::{EtagValidator, Support, probe_capabilities};
use cache_testkit::{Operation, S3Fault, S3Request, S3Server};
use object_store::path::Path;

use crate::key;

fn with_object() -> S3Server {
    let server = S3Server::start().unwrap();
    server.put(key().as_str(), "body");
    server
}

fn verified(server: &S3Server) -> EtagValidator {
    EtagValidator::builder(Arc::new(server.client())).verify_store(true).build().unwrap()
}

fn is_of_probe(key: &str) -> bool {
    key.starts_with("object-cache-probe/")
}

#[tokio::test]
async fn a_read_only_credential_costs_one_request_and_says_what_is_missing() {
    let server = with_object();
    server.fault(S3Fault::status(403).on(Operation::Put));
    server.fault(S3Fault::status(403).on(Operation::Delete));
    let origin = verified(&server);
    for _ in 0..20 {
        let error = origin.validate(&key(), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.key().is_some_and(is_of_probe), "{error}");
        assert!(error.to_string().contains("no right to put"), "{error}");
    }
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_credential_that_may_not_delete_reads_and_leaves_one_object() {
    let server = with_object();
    server.fault(S3Fault::status(403).on(Operation::Delete));
    let origin = verified(&server);
    for _ in 0..20 {
        assert!(matches!(origin.validate(&key(), None).await, Ok(Validation::Modified(_))));
    }
    let requests = server.requests();
    let keys: HashSet<_> =
        requests.iter().map(|request| &request.key).filter(|key| is_of_probe(key)).collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(requests.iter().filter(|request| !is_of_probe(&request.key)).count(), 20);
    assert!(requests.len() < 70, "{}", requests.len());
}

/// A racer that S3 gives up has lost, which is what the condition demands.
#[tokio::test]
async fn conflicts_among_racers_are_no_failure_of_the_probe() {
    let server = S3Server::start().unwrap();
    // Of each race all but two are given up; the first two puts of each kind run alone.
    let n = AtomicUsize::new(0);
    let in_a_race = move |request: &S3Request| {
        request.header("if-none-match").is_some() && n.fetch_add(1, Ordering::Relaxed) % 10 >= 4
    };
    server.fault(S3Fault::status(409).on(Operation::Put).when(in_a_race));
    let seen = probe_capabilities(&server.client(), &Path::from("a")).await.unwrap();
    assert_eq!((seen.conditional_create, seen.left_behind), (Support::Honored, 0));
}
