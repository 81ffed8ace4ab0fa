//! The contracts of a validator and an origin, as the test kit checks them, over servers. Over
//! memory and local disk `cache-store` does so.

use std::sync::Arc;

use cache_facade::cache_store::EtagValidator;
use cache_testkit::conformance::validator::{self, Capabilities, Suite};

use crate::support::{Kind, World};

async fn every_rule_is_kept(kind: Kind) {
    let Some(support) = World::open(kind) else { return };
    let store = Arc::new(support.store.clone());
    let origin = Arc::new(EtagValidator::builder(store.clone()).build().unwrap());
    let can = Capabilities::new().puts_if_absent().puts_if_matches();
    let suite = Suite::of_origin(can, origin, store).under(support.key("conformance")).unwrap();
    let report =
        validator::check(&suite).await.unwrap_or_else(|broken| panic!("{kind:?}: {broken}"));
    let left_out: Vec<_> = report.left_out().map(|(rule, _)| rule).collect();
    assert_eq!(left_out, ["what_is_unsupported_says_so_and_changes_nothing"], "{report}");
}

#[tokio::test]
async fn over_the_s3_server_of_the_kit() {
    every_rule_is_kept(Kind::Loopback).await;
}

#[tokio::test]
async fn over_s3() {
    every_rule_is_kept(Kind::S3).await;
}

#[tokio::test]
async fn over_azure() {
    every_rule_is_kept(Kind::Azure).await;
}
