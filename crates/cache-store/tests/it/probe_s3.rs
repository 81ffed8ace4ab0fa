//! The probe finds what real servers were seen to break, over S3's own protocol and through
//! object_store's client. The servers are named as they were tried; the one here is told to do as
//! they do.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use cache_core::{ErrorKind, Origin as _, PutCondition};
use cache_store::{Capabilities, EtagValidator, Support, ValidatorStrength, probe_capabilities};
use cache_testkit::{Operation, S3Fault, S3Request, S3Server};
use futures_util::future::join;
use object_store::path::Path;

use crate::key;

async fn probe(server: &S3Server) -> Capabilities {
    let seen = probe_capabilities(&server.client(), &Path::from("a/b")).await.unwrap();
    let written =
        server.requests().into_iter().filter(|request| request.operation == Operation::Put);
    for key in written.map(|request| request.key) {
        assert!(server.body(&key).is_none(), "the probe leaves {key}");
    }
    seen
}

fn server_with(faults: impl IntoIterator<Item = S3Fault>) -> S3Server {
    let server = S3Server::start().unwrap();
    faults.into_iter().for_each(|fault| server.fault(fault));
    server
}

/// Holds for all requests but the first `n` that are asked about.
fn later_than(n: usize) -> impl Fn(&S3Request) -> bool {
    let n_asked = AtomicUsize::new(0);
    move |_| n_asked.fetch_add(1, Ordering::Relaxed) >= n
}

#[tokio::test]
async fn an_exact_server_keeps_everything() {
    let seen = probe(&server_with([])).await;
    for support in [
        seen.conditional_get,
        seen.pinned_range,
        seen.conditional_create,
        seen.conditional_update,
        seen.tag_per_version,
        seen.list_validation,
    ] {
        assert_eq!(support, Support::Honored, "{seen}");
    }
    assert_eq!(seen.strength, ValidatorStrength::Strong);
}

#[tokio::test]
async fn garage_ignores_the_conditions_of_puts() {
    let server = server_with([S3Fault::ignore_conditions().on(Operation::Put)]);
    let seen = probe(&server).await;
    assert_eq!(
        (seen.conditional_create, seen.conditional_update),
        (Support::Ignored, Support::Ignored)
    );
    assert_eq!((seen.conditional_get, seen.pinned_range), (Support::Honored, Support::Honored));
    assert!(seen.objection_to_conditional_puts().is_some());
    assert_eq!(seen.objection_to_validation(ValidatorStrength::Strong), None);

    let origin =
        EtagValidator::builder(Arc::new(server.client())).verify_store(true).build().unwrap();
    let refused = origin.put(&key(), "one".into(), PutCondition::Absent).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(server.body(key().as_str()).is_none(), "it was not tried");
}

#[tokio::test]
async fn s3s_fs_ignores_the_conditions_of_gets() {
    let seen = probe(&server_with([S3Fault::ignore_conditions().on(Operation::Get)])).await;
    assert_eq!((seen.conditional_get, seen.pinned_range), (Support::Ignored, Support::Ignored));
    assert_eq!(
        (seen.conditional_create, seen.conditional_update),
        (Support::Honored, Support::Honored)
    );
    assert_eq!(
        seen.objection_to_validation(ValidatorStrength::Strong),
        None,
        "it is right, only dear"
    );
}

/// The probe reads while it writes; its fourth read is the first such one that can tell. It is held
/// between its tag and its body until the write, the third, has been answered.
#[tokio::test]
async fn s3s_fs_gives_a_body_the_tag_of_another() {
    let fourth = S3Fault::hold().midway().on(Operation::Get).when(later_than(3)).once();
    let server = server_with([fourth]);
    let release = async {
        server.wait_until_held(1).await;
        let n_answered = |requests: &[S3Request]| {
            requests
                .iter()
                .filter(|it| it.operation == Operation::Put && it.status.is_some())
                .count()
        };
        server.wait_until(|requests| n_answered(requests) == 3).await;
        server.release_all();
    };
    let (seen, ()) = join(probe(&server), release).await;
    assert_eq!((seen.tag_per_version, seen.strength), (Support::Racy, ValidatorStrength::None));
    assert!(seen.objection_to_validation(ValidatorStrength::Strong).is_some());
}

/// With the very tag that it gave out.
#[tokio::test]
async fn rgw_refuses_the_right_version() {
    let server = server_with([S3Fault::status(412)
        .on(Operation::Put)
        .when(|request| request.header("if-match").is_some())]);
    let seen = probe(&server).await;
    assert_eq!(
        (seen.conditional_create, seen.conditional_update),
        (Support::Honored, Support::Refused)
    );
    assert!(seen.objection_to_conditional_puts().is_some());
}

/// It looks first, then writes: the first two of a race look, and then both write. The probe makes
/// two conditional puts of each kind before it lets several run at once.
#[tokio::test]
async fn threaded_moto_lets_two_conditional_puts_win() {
    for header in ["if-none-match", "if-match"] {
        let of_kind =
            S3Fault::hold().on(Operation::Put).when(|request| request.header(header).is_some());
        let server = server_with([of_kind.midway().when(later_than(2))]);
        let release = async {
            server.wait_until_held(2).await;
            server.release_all();
        };
        let (seen, ()) = join(probe(&server), release).await;
        let expected = match header {
            "if-none-match" => (Support::Racy, Support::Honored),
            _ => (Support::Honored, Support::Racy),
        };
        assert_eq!((seen.conditional_create, seen.conditional_update), expected);
        assert!(seen.objection_to_conditional_puts().is_some());
    }
}
