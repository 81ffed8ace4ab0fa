//! The contracts of a validator and an origin, as the testkit checks them.

use std::sync::Arc;

use cache_store::{EtagValidator, ValidatorStrength};
use cache_testkit::{
    BodyFault, Fault, FaultyStore, S3Server, TagFault,
    conformance::{
        Report,
        validator::{self, Capabilities, OwnWrites, Suite},
    },
};

use crate::{builder, local_disk};

async fn passes(store: &FaultyStore, origin: EtagValidator, can: Capabilities) -> Report {
    let origin = Arc::new(origin);
    let suite = Suite::of_origin(can, origin, Arc::new(store.clone()));
    let report = validator::check(&suite).await.unwrap_or_else(|broken| panic!("{broken}"));
    println!("{report}");
    report
}

fn all() -> Capabilities {
    Capabilities::new().puts_if_absent().puts_if_matches()
}

#[track_caller]
fn left_out(report: &Report, expected: &[&str]) {
    assert_eq!(report.left_out().map(|(rule, _)| rule).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn over_memory_every_rule_is_kept() {
    let store = FaultyStore::in_memory();
    let report = passes(&store, builder(&store).build().unwrap(), all()).await;
    left_out(&report, &["what_is_unsupported_says_so_and_changes_nothing"]);
}

#[tokio::test]
async fn over_memory_by_metadata_every_rule_is_kept() {
    let store = FaultyStore::in_memory();
    let report =
        passes(&store, builder(&store).validate_metadata(true).build().unwrap(), all()).await;
    left_out(&report, &["what_is_unsupported_says_so_and_changes_nothing"]);
}

#[tokio::test]
async fn over_memory_with_nothing_behind_it_too() {
    let origin = Arc::new(builder(&FaultyStore::in_memory()).build().unwrap());
    let suite = Suite::of_origin(all(), origin.clone(), Arc::new(OwnWrites(origin)));
    validator::check(&suite).await.unwrap();
}

/// Whether what was just fetched can be confirmed is up to the kernel; conditional updates there
/// are none.
#[tokio::test]
async fn over_local_disk_every_rule_is_kept() {
    let (_folder, store) = local_disk();
    let can = Capabilities::new().puts_if_absent();
    let origin = builder(&store).build().unwrap();
    let can = if origin.validator_strength() == ValidatorStrength::Strong {
        can
    } else {
        can.never_confirms()
    };
    passes(&store, origin, can).await;
    // Whatever the kernel.
    let origin = builder(&store).validator_strength(crate::SECONDS).build().unwrap();
    let report = passes(&store, origin, can.never_confirms()).await;
    left_out(
        &report,
        &["a_current_entry_is_unchanged", "a_put_if_matches_spares_what_has_changed"],
    );
}

/// Through object_store's client.
#[tokio::test]
async fn over_s3_every_rule_is_kept() {
    let server = S3Server::start().unwrap();
    let store = FaultyStore::new(Arc::new(server.client()));
    let report = passes(&store, builder(&store).build().unwrap(), all()).await;
    left_out(&report, &["what_is_unsupported_says_so_and_changes_nothing"]);
    let by_metadata = builder(&store).validate_metadata(true).build().unwrap();
    passes(&store, by_metadata, all()).await;
}

#[tokio::test]
async fn with_bodies_in_chunks_and_weak_tags_too() {
    let store = FaultyStore::in_memory();
    store.fault(Fault::body(BodyFault::Chunked(7)));
    passes(&store, builder(&store).build().unwrap(), all()).await;

    store.fault(Fault::tag(TagFault::Weak));
    // The store in memory knows its own tags alone, so a version that was edited on its way matches
    // nothing.
    let can = Capabilities::new().puts_if_absent().never_confirms();
    let validator = Arc::new(builder(&store).build().unwrap());
    let suite = Suite::of_validator(can, validator, Arc::new(store.clone()));
    validator::check(&suite).await.unwrap();
    let validator = Arc::new(builder(&store).accept_weak_validators(true).build().unwrap());
    let suite = Suite::of_validator(Capabilities::new(), validator, Arc::new(store));
    validator::check(&suite).await.unwrap();
}
