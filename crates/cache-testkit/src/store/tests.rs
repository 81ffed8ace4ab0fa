use std::{
    panic::AssertUnwindSafe,
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt, future::join};
use object_store::{Error, GetRange, PutMode};
use tokio::time::timeout;

use super::*;

fn path() -> Path {
    Path::from("a/b")
}

async fn stored(body: &'static str) -> FaultyStore {
    let store = FaultyStore::in_memory();
    store.inner().put(&path(), body.into()).await.unwrap();
    store
}

#[tokio::test]
async fn every_request_is_recorded_with_what_it_sent_and_got() {
    let store = stored("body").await;
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let options = GetOptions::new()
        .with_if_none_match(Some("\"x\""))
        .with_if_modified_since(Some(date))
        .with_range(Some(GetRange::Bounded(1..3)));
    store.get_opts(&path(), options).await.unwrap().bytes().await.unwrap();
    store.head(&path()).await.unwrap();
    let create = PutOptions::from(PutMode::Create);
    store.put_opts(&path(), "12345".into(), create).await.unwrap_err();
    store.copy(&path(), &Path::from("c")).await.unwrap();
    store.delete(&path()).await.unwrap();
    store.get_ranges(&Path::from("c"), &[0..1, 2..4]).await.unwrap();
    let listed: Vec<_> = store.list(Some(&Path::from("a"))).try_collect().await.unwrap();

    let requests = store.requests();
    let operations: Vec<_> = requests.iter().map(|request| request.operation).collect();
    use Operation::{Copy, Delete, Get, GetRanges, Head, List, Put};
    assert_eq!(operations, [Get, Head, Put, Copy, Delete, GetRanges, List]);
    assert_eq!(requests[0].if_none_match.as_deref(), Some("\"x\""));
    assert_eq!(requests[0].if_modified_since, Some(date));
    assert_eq!(requests[0].range, Some(GetRange::Bounded(1..3)));
    assert_eq!((requests[0].bytes_delivered, requests[0].outcome), (2, Outcome::Answered));
    assert_eq!((requests[2].bytes_sent, requests[2].put_mode.clone()), (5, Some(PutMode::Create)));
    assert_eq!(requests[2].outcome, Outcome::Failed(Failure::AlreadyExists));
    assert_eq!(requests[3].target, Some(Path::from("c")));
    assert_eq!((requests[5].bytes_delivered, listed.len()), (3, 0));
    assert_eq!((store.count(), store.gets(), store.body_bytes()), (7, 1, 5));
    assert!(requests.iter().all(|request| request.reached_store));

    store.reset();
    assert_eq!((store.count(), store.body_bytes()), (0, 0));
}

#[tokio::test]
async fn a_request_under_way_at_a_reset_is_not_taken_for_a_later_one() {
    let store = stored("body").await;
    let early = store.get(&path()).await.unwrap();
    store.reset();
    store.head(&path()).await.unwrap();
    early.bytes().await.unwrap();
    assert_eq!((store.count(), store.body_bytes()), (1, 0));
}

#[tokio::test]
async fn held_requests_go_oldest_first_and_a_dropped_one_is_not_held_any_more() {
    let store = stored("body").await;
    store.fault(Fault::hold().on(Operation::Get));
    let get = |name: &'static str| {
        let store = store.clone();
        tokio::spawn(async move { store.get(&Path::from(name)).await.is_ok() })
    };
    let first = get("a/b");
    store.wait_until_held(1).await;
    let dropped = get("dropped");
    store.wait_until_held(2).await;
    let last = get("missing");
    store.wait_until_held(3).await;
    assert!(store.requests().iter().all(|request| !request.reached_store));

    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    assert_eq!(store.requests()[1].outcome, Outcome::Dropped);
    store.head(&path()).await.unwrap();

    store.release(1);
    assert!(first.await.unwrap());
    assert!(!last.is_finished());
    store.release(1);
    assert!(!last.await.unwrap());
    store.release_all();
    store.get(&path()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_came_before_a_release_of_all_is_not_held_after_it() {
    let store = stored("body").await;
    store.fault(Fault::hold());
    store.fault(Fault::hold().late());
    let path = path();
    let release = async {
        store.wait_until_held(1).await;
        store.release_all();
        store.fault(Fault::hold().late());
    };
    let get = join(store.get(&path), release);
    let (answer, ()) = timeout(Duration::from_secs(1), get).await.expect("nobody would release it");
    assert_eq!(answer.unwrap().bytes().await.unwrap(), "body");

    // The hold that came after is for who comes after.
    assert!(timeout(Duration::from_secs(1), store.get(&path)).await.is_err());
}

#[tokio::test]
async fn a_late_hold_gives_the_answer_of_its_time() {
    let store = stored("old").await;
    store.fault(Fault::hold().late().once());
    let reader = tokio::spawn({
        let store = store.clone();
        async move { store.get(&path()).await?.bytes().await }
    });
    store.wait_until_held(1).await;
    store.put(&path(), "new".into()).await.unwrap();
    store.release_all();
    assert_eq!(reader.await.unwrap().unwrap(), "old");
}

#[tokio::test]
async fn a_script_is_a_fault_for_each_step() {
    let store = stored("body").await;
    store.fault(Fault::error(Failure::Unavailable).on(Operation::Get).once());
    store.fault(Fault::error(Failure::PermissionDenied).on(Operation::Get).times(2));
    store.head(&path()).await.unwrap();
    for expected in [Failure::Unavailable, Failure::PermissionDenied, Failure::PermissionDenied] {
        assert_eq!(Failure::of(&store.get(&path()).await.unwrap_err()), expected);
    }
    store.get(&path()).await.unwrap();
}

#[tokio::test]
async fn each_failure_is_an_error_of_its_kind() {
    use Failure::*;
    for failure in [
        Unavailable,
        NotFound,
        AlreadyExists,
        Precondition,
        NotModified,
        PermissionDenied,
        Unauthenticated,
        NotSupported,
        NotImplemented,
        InvalidPath,
        Other,
    ] {
        assert_eq!(Failure::of(&failure.error(&path())), failure);
    }
}

#[tokio::test]
async fn a_lost_reply_has_taken_effect() {
    let store = FaultyStore::in_memory();
    store.fault(Fault::error(Failure::Unavailable).late().once());
    store.put(&path(), "body".into()).await.unwrap_err();
    assert_eq!(store.get(&path()).await.unwrap().bytes().await.unwrap(), "body");
    assert_eq!(store.requests()[0].outcome, Outcome::Failed(Failure::Unavailable));

    store.fault(Fault::hang().late().on(Operation::Delete));
    assert!(store.delete(&path()).now_or_never().is_none());
    assert!(matches!(store.inner().head(&path()).await, Err(Error::NotFound { .. })));
    store.fault(Fault::hang().on(Operation::Put));
    assert!(store.put(&path(), "body".into()).now_or_never().is_none());
    assert!(matches!(store.inner().head(&path()).await, Err(Error::NotFound { .. })));
    assert_eq!(store.requests().last().unwrap().outcome, Outcome::Dropped);
}

#[tokio::test]
async fn a_panic_leaves_the_store_usable() {
    let store = stored("body").await;
    store.fault(Fault::panic().once());
    AssertUnwindSafe(store.get(&path())).catch_unwind().await.unwrap_err();
    store.get(&path()).await.unwrap();
    assert_eq!(store.requests()[0].outcome, Outcome::Dropped);
}

#[tokio::test]
async fn conditions_are_judged_by_the_edited_answer() {
    #[track_caller]
    fn answered(tag: &Option<String>, sent: &str, not_modified: bool, answer: Result<GetResult>) {
        match answer {
            Ok(answer) => assert!(!not_modified && answer.meta.e_tag == *tag, "{tag:?} {sent:?}"),
            Err(error) => {
                assert!(not_modified, "{tag:?} {sent:?}");
                assert_eq!(Failure::of(&error), Failure::NotModified);
            }
        }
    }
    let store = stored("body").await;
    for (fault, tag) in [
        (TagFault::Missing, None),
        (TagFault::Weak, Some("W/\"0\"")),
        (TagFault::Replaced("\"a,b\"".into()), Some("\"a,b\"")),
    ] {
        let tag = tag.map(String::from);
        store.heal();
        store.fault(Fault::tag(fault));
        for sent in ["\"0\"", "W/\"0\"", "\"a,b\""] {
            let options = GetOptions::new().with_if_none_match(Some(sent));
            let not_modified = tag.as_deref() == Some(sent);
            answered(&tag, sent, not_modified, store.get_opts(&path(), options).await);
        }
    }

    store.heal();
    let date = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    store.fault(Fault::last_modified(Some(date(10))));
    for (sent, not_modified) in [(9, false), (10, true)] {
        let options = GetOptions::new().with_if_modified_since(Some(date(sent)));
        assert_eq!(store.get_opts(&path(), options).await.is_err(), not_modified);
    }
}

#[tokio::test]
async fn edits_of_different_parts_add_up_and_of_the_same_part_follow_each_other() {
    let store = stored("body").await;
    store.fault(Fault::tag(TagFault::Replaced("\"one\"".into())).once());
    store.fault(Fault::tag(TagFault::Replaced("\"two\"".into())).once());
    store.fault(Fault::last_modified(None).once());
    // A request without such parts uses up nothing.
    store.delete(&Path::from("other")).await.unwrap();
    let one = store.head(&path()).await.unwrap();
    let two = store.put(&path(), "new".into()).await.unwrap();
    assert_eq!((one.e_tag.as_deref(), one.last_modified.timestamp()), (Some("\"one\""), 0));
    assert_eq!(two.e_tag.as_deref(), Some("\"two\""));
    assert_ne!(store.head(&path()).await.unwrap().last_modified.timestamp(), 0);
}

#[tokio::test]
async fn bodies_are_cut_stretched_and_stopped() {
    let store = stored("0123456789").await;
    for (fault, expected, ends) in [
        (BodyFault::Truncated(4), "0123", true),
        (BodyFault::Truncated(99), "0123456789", true),
        (BodyFault::Overlong(2), "0123456789xx", true),
        (BodyFault::Fails(4), "0123", true),
        (BodyFault::Hangs(4), "0123", false),
        (BodyFault::Stalls(0), "", false),
        (BodyFault::Chunked(3), "0123456789", true),
        (BodyFault::Chunked(0), "0123456789", true),
    ] {
        store.heal();
        store.reset();
        store.fault(Fault::body(fault));
        let answer = store.get(&path()).await.unwrap();
        assert_eq!(answer.meta.size, 10);
        let mut chunks = answer.into_stream().take(20);
        let mut got = String::new();
        let mut failed = false;
        let ended = loop {
            match chunks.next().now_or_never() {
                None => break false,
                Some(None) => break !matches!(fault, BodyFault::Stalls(_)),
                Some(Some(Ok(chunk))) => got.push_str(std::str::from_utf8(&chunk).unwrap()),
                Some(Some(Err(_))) => failed = true,
            }
        };
        assert_eq!((got.as_str(), ended), (expected, ends), "{fault:?}");
        assert_eq!(failed, matches!(fault, BodyFault::Fails(_)), "{fault:?}");
        assert_eq!(store.body_bytes(), expected.len() as u64, "{fault:?}");
    }
}

#[tokio::test]
async fn an_empty_chunk_can_be_cut_and_stays_one() {
    let store = stored("").await;
    store.fault(Fault::body(BodyFault::Chunked(3)));
    assert_eq!(store.get(&path()).await.unwrap().into_stream().count().await, 1);
}

#[tokio::test]
async fn after_its_cut_nothing_is_asked_of_a_body() {
    let hanging = stored("0123456789").await;
    hanging.fault(Fault::body(BodyFault::Hangs(4)));
    let store = FaultyStore::new(Arc::new(hanging));
    store.fault(Fault::body(BodyFault::Truncated(4)));
    let body = store.get(&path()).await.unwrap().bytes().now_or_never();
    assert_eq!(body.unwrap().unwrap(), "0123");
}

#[tokio::test]
async fn the_steps_of_a_multipart_upload_are_requests() {
    let store = FaultyStore::in_memory();
    let mut upload = store.put_multipart(&path()).await.unwrap();
    store.fault(
        Fault::error(Failure::Unavailable).on(Operation::PutPart).when(|part| part.bytes_sent == 3),
    );
    upload.put_part("12".into()).await.unwrap();
    upload.put_part("345".into()).await.unwrap_err();
    upload.abort().await.unwrap();
    let operations: Vec<_> = store.requests().iter().map(|request| request.operation).collect();
    use Operation::{AbortMultipart, PutPart, StartMultipart};
    assert_eq!(operations, [StartMultipart, PutPart, PutPart, AbortMultipart]);
}

#[tokio::test]
async fn it_shows_itself_as_the_store_it_wraps() {
    let store = FaultyStore::in_memory();
    assert_eq!(store.to_string(), "InMemory");
    assert!(format!("{store:?}").contains("InMemory"));
    store.fault(Fault::hold().once());
    assert_eq!(
        format!("{:?}", Fault::hang().once()),
        "Fault { effect: Hang, late: false, narrow: Narrow { conditions: 0, uses_left: Some(1) } }"
    );
}

#[tokio::test]
async fn one_in_several_fails_and_the_seed_says_which() {
    async fn failed(seed: u64) -> Vec<bool> {
        let store = stored("body").await;
        store.fault(Fault::error(Failure::Unavailable).on(Operation::Get).one_in(4, seed));
        let mut failed = Vec::new();
        for _ in 0..400 {
            failed.push(store.get(&path()).await.is_err());
            store.head(&path()).await.unwrap();
        }
        failed
    }
    let first = failed(1).await;
    let n = first.iter().filter(|failed| **failed).count();
    assert!((60..140).contains(&n), "{n} of 400");
    assert_eq!(first, failed(1).await);
    assert_ne!(first, failed(2).await);
}

#[tokio::test]
async fn a_fault_is_used_up_only_by_what_all_its_conditions_hold_for() {
    let store = stored("body").await;
    let fault = Fault::error(Failure::Unavailable);
    store.fault(fault.on(Operation::Get).when(|request| request.range.is_some()).times(2));
    store.fault(Fault::error(Failure::Other).times(0));
    let ranged = || GetOptions::new().with_range(Some(GetRange::Bounded(0..1)));
    for _ in 0..2 {
        store.get(&path()).await.unwrap();
        store.get_opts(&path(), ranged()).await.unwrap_err();
    }
    store.get_opts(&path(), ranged()).await.unwrap();
}
