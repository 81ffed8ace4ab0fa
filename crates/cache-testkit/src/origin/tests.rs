use std::{future::ready, panic::AssertUnwindSafe, time::Duration};

use cache_core::{Clock, Moment};
use futures_util::FutureExt;

use super::*;
use crate::{BodyFault, TagFault, TokioClock};

fn key() -> Key {
    Key::parse("a/b").unwrap()
}

type Spoiled = Arc<FaultyOrigin<MemoryOrigin>>;

/// An origin with one object, and that object as it was fetched before.
async fn stored(body: &'static str) -> (Spoiled, Entry) {
    let origin = Arc::new(FaultyOrigin::in_memory());
    origin.inner().write("a/b", body);
    let held = fetched(origin.inner().validate(&key(), None).await);
    (origin, held)
}

#[track_caller]
fn fetched(answer: Result<Validation>) -> Entry {
    match answer {
        Ok(Validation::Modified(entry)) => entry,
        answer => panic!("no entry came, but {answer:?}"),
    }
}

async fn fetch(origin: &Spoiled) -> Entry {
    fetched(origin.validate(&key(), None).await)
}

async fn is_unchanged(origin: &Spoiled, held: Option<&Entry>) -> bool {
    matches!(origin.validate(&key(), held).await, Ok(Validation::NotModified))
}

async fn put(origin: &Spoiled, body: &'static str) -> Result<Version> {
    origin.put(&key(), body.into(), PutCondition::Always).await
}

fn outcomes(origin: &Spoiled) -> Vec<OriginOutcome> {
    origin.requests().iter().map(|request| request.outcome).collect()
}

fn since_start(clock: &TokioClock) -> Duration {
    clock.now().saturating_since(Moment::from_nanos(0))
}

fn spawn_fetch(origin: &Spoiled) -> tokio::task::JoinHandle<Entry> {
    let origin = Arc::clone(origin);
    tokio::spawn(async move { fetch(&origin).await })
}

#[tokio::test]
async fn every_request_is_recorded_with_what_it_sent_and_got() {
    let (origin, held) = stored("body").await;
    fetch(&origin).await;
    assert!(is_unchanged(&origin, Some(&held)).await);
    let matches = PutCondition::Matches(held.version());
    origin.put(&key(), "longer".into(), matches.clone()).await.unwrap();
    assert!(origin.put(&key(), "x".into(), matches.clone()).await.is_err());
    origin.delete(&key()).await.unwrap();
    assert!(matches!(origin.validate(&key(), None).await, Ok(Validation::NotFound)));

    let requests = origin.requests();
    use OriginOperation::{Delete, Put, Validate};
    let operations: Vec<_> = requests.iter().map(|request| request.operation).collect();
    assert_eq!(operations, [Validate, Validate, Put, Put, Delete, Validate]);
    use OriginOutcome::{Changed, Done, Failed, Gone, Unchanged};
    let lost = Failed(ErrorKind::PreconditionFailed);
    assert_eq!(outcomes(&origin), [Changed(4), Unchanged, Done, lost, Done, Gone]);
    assert!(requests.iter().all(|request| request.key == "a/b" && request.reached_origin));
    assert_eq!(requests[0].e_tag, None);
    assert_eq!(requests[1].e_tag.as_deref(), held.e_tag());
    assert_eq!((requests[2].condition.clone(), requests[2].bytes_sent), (Some(matches), 6));

    origin.reset();
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn an_error_says_its_kind_and_leaves_the_origin_alone() {
    let (origin, _) = stored("old").await;
    for kind in [ErrorKind::Unavailable, ErrorKind::PreconditionFailed, ErrorKind::NotFound] {
        origin.fault(OriginFault::error(kind).once());
        assert_eq!(put(&origin, "new").await.unwrap_err().kind(), kind);
        let request = origin.requests().pop().unwrap();
        assert_eq!((request.reached_origin, request.outcome), (false, OriginOutcome::Failed(kind)));
    }
    assert_eq!(fetch(&origin).await.body(), "old");
}

#[tokio::test]
async fn a_lost_reply_is_of_a_write_that_took_effect() {
    let (origin, _) = stored("old").await;
    origin.fault(OriginFault::error(ErrorKind::Timeout).late().once());
    assert_eq!(put(&origin, "new").await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(fetch(&origin).await.body(), "new");
    origin.fault(OriginFault::hang().late().once());
    assert!(origin.delete(&key()).now_or_never().is_none());
    assert!(matches!(origin.validate(&key(), None).await, Ok(Validation::NotFound)));
    assert_eq!(outcomes(&origin)[2], OriginOutcome::Dropped);
}

#[tokio::test(start_paused = true)]
async fn a_hang_never_answers() {
    let (origin, _) = stored("body").await;
    origin.fault(OriginFault::hang().once());
    let year = Duration::from_secs(366 * 86_400);
    assert!(tokio::time::timeout(year, fetch(&origin)).await.is_err());
    assert!(!origin.requests()[0].reached_origin);
    assert_eq!(outcomes(&origin), [OriginOutcome::Dropped]);
}

#[tokio::test]
async fn a_panic_is_recorded_as_a_request_without_an_answer() {
    let (origin, _) = stored("body").await;
    origin.fault(OriginFault::panic().once());
    assert!(AssertUnwindSafe(fetch(&origin)).catch_unwind().await.is_err());
    assert_eq!(outcomes(&origin), [OriginOutcome::Dropped]);
    fetch(&origin).await;
}

#[tokio::test(start_paused = true)]
async fn latency_is_time_on_the_way_there_and_back() {
    let (origin, _) = stored("old").await;
    origin.fault(OriginFault::latency(Duration::from_secs(2)));
    origin.fault(OriginFault::latency(Duration::from_secs(3)).late());
    let clock = TokioClock::new();
    let reader = spawn_fetch(&origin);
    tokio::time::sleep(Duration::from_secs(1)).await;
    origin.inner().write("a/b", "seen");
    tokio::time::sleep(Duration::from_secs(2)).await;
    origin.inner().write("a/b", "not seen");
    assert_eq!(reader.await.unwrap().body(), "seen");
    assert_eq!(since_start(&clock), Duration::from_secs(5));
}

#[tokio::test]
async fn held_requests_go_oldest_first_and_give_the_answer_of_their_time() {
    let (origin, _) = stored("old").await;
    origin.fault(OriginFault::hold());
    let (first, second) = (spawn_fetch(&origin), spawn_fetch(&origin));
    origin.wait_until_held(2).await;
    assert!(origin.requests().iter().all(|request| !request.reached_origin));
    origin.release(1);
    assert_eq!(first.await.unwrap().body(), "old");
    assert!(!second.is_finished());
    origin.inner().write("a/b", "new");
    origin.release_all();
    assert_eq!(second.await.unwrap().body(), "new");

    origin.fault(OriginFault::hold().late());
    let late = spawn_fetch(&origin);
    origin.wait_until_held(1).await;
    origin.inner().write("a/b", "newest");
    origin.heal();
    assert_eq!(late.await.unwrap().body(), "new");
    assert_eq!(fetch(&origin).await.body(), "newest");
}

#[tokio::test]
async fn an_object_is_replaced_and_deleted_between_two_requests() {
    let (origin, held) = stored("old").await;
    let memory = Arc::clone(origin.inner());
    let replace = move |_: &OriginRequest| {
        memory.write("a/b", "new");
        ready(())
    };
    let memory = Arc::clone(origin.inner());
    let delete = move |request: &OriginRequest| {
        memory.erase(&request.key);
        ready(())
    };
    origin.fault(OriginFault::meanwhile(replace.clone()).once());
    origin.fault(OriginFault::meanwhile(delete).once());
    assert_eq!(fetched(origin.validate(&key(), Some(&held)).await).body(), "new");
    assert!(matches!(origin.validate(&key(), None).await, Ok(Validation::NotFound)));

    origin.inner().write("a/b", "back");
    origin.fault(OriginFault::meanwhile(replace).late().once());
    assert_eq!(fetch(&origin).await.body(), "back");
    assert_eq!(fetch(&origin).await.body(), "new");
    assert_eq!(origin.count(), 4, "what the actions did is not recorded");
}

#[tokio::test(start_paused = true)]
async fn a_lingering_write_takes_effect_after_its_caller_was_told_of_a_timeout() {
    let (origin, _) = stored("old").await;
    origin.fault(OriginFault::linger(Duration::from_secs(1)));
    let clock = TokioClock::new();
    assert_eq!(put(&origin, "new").await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(since_start(&clock), Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(999)).await;
    assert_eq!(fetch(&origin).await.body(), "old");
    assert!(!origin.requests()[0].reached_origin);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fetch(&origin).await.body(), "new");
    assert!(origin.requests()[0].reached_origin);
    assert!(origin.delete(&key()).await.is_err());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(matches!(origin.validate(&key(), None).await, Ok(Validation::NotFound)));
}

#[tokio::test]
async fn unchanged_is_said_though_nothing_or_another_tag_was_sent() {
    let (origin, held) = stored("old").await;
    origin.inner().write("a/b", "new");
    origin.fault(OriginFault::unchanged());
    assert!(is_unchanged(&origin, None).await);
    assert!(is_unchanged(&origin, Some(&held)).await);
    origin.inner().erase("a/b");
    assert!(matches!(origin.validate(&key(), None).await, Ok(Validation::NotFound)));
    put(&origin, "put").await.unwrap();
    use OriginOutcome::{Done, Gone, Unchanged};
    assert_eq!(outcomes(&origin), [Unchanged, Unchanged, Gone, Done]);
}

#[tokio::test]
async fn a_missing_tag_and_a_weak_one_confirm_nothing() {
    for (tag, keep) in
        [(TagFault::Missing, Storability::NoStore), (TagFault::Weak, Storability::FreshOnly)]
    {
        let (origin, held) = stored("body").await;
        origin.fault(OriginFault::tag(tag.clone()));
        let edited = tag.edit(held.e_tag().map(String::from));
        let answered = fetched(origin.validate(&key(), Some(&held)).await);
        assert_eq!((answered.e_tag().map(String::from), answered.storability()), (edited, keep));
        assert_eq!(answered.body(), "body");

        let version = put(&origin, "body").await.unwrap();
        assert_eq!(version.e_tag, tag.edit(Some("\"2\"".into())));
        assert_eq!(origin.entry_of_put(&key(), "body".into(), &version).storability(), keep);
    }
}

#[tokio::test]
async fn a_wrong_tag_repeats_and_validations_are_judged_by_it() {
    let (origin, held) = stored("old").await;
    origin.fault(OriginFault::tag(TagFault::Replaced("\"same\"".into())));
    let old = fetched(origin.validate(&key(), Some(&held)).await);
    assert_eq!((old.e_tag(), old.storability()), (Some("\"same\""), Storability::Revalidatable));
    origin.inner().write("a/b", "new");
    assert!(is_unchanged(&origin, Some(&old)).await, "the tag is that of two versions");
    assert_eq!(fetch(&origin).await.body(), "new");
    assert_eq!(put(&origin, "put").await.unwrap().e_tag.as_deref(), Some("\"same\""));
}

#[tokio::test]
async fn a_body_is_truncated_or_overlong_under_its_own_tag() {
    let (origin, held) = stored("body").await;
    origin.fault(OriginFault::body(BodyFault::Truncated(3)).once());
    origin.fault(OriginFault::body(BodyFault::Truncated(99)).once());
    origin.fault(OriginFault::body(BodyFault::Overlong(2)).once());
    for body in ["bod", "body", "bodyxx", "body"] {
        let entry = fetch(&origin).await;
        assert_eq!((entry.body().as_ref(), entry.e_tag()), (body.as_bytes(), held.e_tag()));
    }
    origin.fault(OriginFault::body(BodyFault::Truncated(0)));
    assert!(is_unchanged(&origin, Some(&held)).await, "no body comes");
}

#[tokio::test]
async fn a_body_that_fails_is_an_outage_and_one_that_hangs_never_comes() {
    let (origin, _) = stored("body").await;
    origin.fault(OriginFault::body(BodyFault::Fails(1)).once());
    origin.fault(OriginFault::body(BodyFault::Hangs(1)).once());
    origin.fault(OriginFault::body(BodyFault::Stalls(1)).once());
    origin.fault(OriginFault::body(BodyFault::Chunked(1)).once());
    let error = origin.validate(&key(), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    for _ in 0..2 {
        assert!(fetch(&origin).now_or_never().is_none());
    }
    assert_eq!(fetch(&origin).await.body(), "body");
}

#[tokio::test]
async fn a_script_is_a_fault_for_each_step_and_counts_only_what_matches() {
    let (origin, _) = stored("body").await;
    let on_put = |kind| OriginFault::error(kind).on(OriginOperation::Put);
    origin.fault(on_put(ErrorKind::Unavailable).once());
    origin.fault(on_put(ErrorKind::PermissionDenied).times(2));
    for kind in [ErrorKind::Unavailable, ErrorKind::PermissionDenied, ErrorKind::PermissionDenied] {
        fetch(&origin).await;
        assert_eq!(put(&origin, "x").await.unwrap_err().kind(), kind);
    }
    put(&origin, "x").await.unwrap();
}

#[tokio::test]
async fn a_fault_happens_only_to_what_its_condition_holds_for() {
    let (origin, held) = stored("body").await;
    origin.fault(OriginFault::unchanged().when(|request| request.e_tag.is_none()).when(|_| true));
    origin.inner().write("a/b", "new");
    assert!(is_unchanged(&origin, None).await);
    assert!(!is_unchanged(&origin, Some(&held)).await);
    origin.heal();
    assert!(!is_unchanged(&origin, None).await);
}

#[tokio::test]
async fn one_in_several_fails_and_the_seed_says_which() {
    async fn failed(seed: u64) -> Vec<bool> {
        let (origin, _) = stored("body").await;
        origin.fault(OriginFault::error(ErrorKind::Unavailable).one_in(4, seed));
        let mut failed = Vec::new();
        for _ in 0..400 {
            failed.push(origin.validate(&key(), None).await.is_err());
        }
        failed
    }
    let first = failed(1).await;
    let n = first.iter().filter(|failed| **failed).count();
    assert!((60..140).contains(&n), "{n} of 400");
    assert_eq!(first, failed(1).await);
    assert_ne!(first, failed(2).await);
}

#[tokio::test(start_paused = true)]
async fn several_faults_happen_in_their_order_and_the_first_end_ends_it() {
    let (origin, _) = stored("body").await;
    origin.fault(OriginFault::latency(Duration::from_secs(1)));
    origin.fault(OriginFault::latency(Duration::from_secs(9)));
    origin.fault(OriginFault::error(ErrorKind::Timeout).once());
    origin.fault(OriginFault::panic().once());
    let clock = TokioClock::new();
    assert_eq!(origin.validate(&key(), None).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(since_start(&clock), Duration::from_secs(1));
    assert!(AssertUnwindSafe(fetch(&origin)).catch_unwind().await.is_err(), "it was not used up");
}

#[tokio::test]
async fn any_origin_can_be_wrapped() {
    let inner: Arc<dyn Origin> = Arc::new(MemoryOrigin::new());
    let origin = FaultyOrigin::new(inner);
    origin.fault(OriginFault::error(ErrorKind::Unavailable).on(OriginOperation::Validate).once());
    origin.put(&key(), "body".into(), PutCondition::Absent).await.unwrap();
    assert!(origin.validate(&key(), None).await.is_err());
    assert_eq!(fetched(origin.validate(&key(), None).await).body(), "body");

    let inner: Arc<dyn Validator> = Arc::new(MemoryOrigin::new());
    assert!(matches!(
        FaultyOrigin::new(inner).validate(&key(), None).await,
        Ok(Validation::NotFound)
    ));
}

/// The keys and tags on each page of the list of `prefix`, up to the first error.
async fn listed(origin: &dyn Validator, prefix: &str, after: Option<&str>) -> Vec<Vec<String>> {
    let mut pages = origin.list(prefix, after).pages;
    let mut listed = Vec::new();
    while let Some(Ok(page)) = pages.next().await {
        let objects = page.objects.iter().map(|object| {
            let e_tag = object.version().and_then(|version| version.e_tag.as_deref());
            format!("{}={}", object.key, e_tag.unwrap_or_default().trim_matches('"'))
        });
        listed.push(objects.collect());
    }
    listed
}

fn with_objects(keys: &[&str]) -> Spoiled {
    let origin = Arc::new(FaultyOrigin::in_memory());
    for key in keys {
        origin.inner().write(key, "body");
    }
    origin
}

#[tokio::test]
async fn a_list_has_pages_in_order_and_each_is_a_request() {
    let origin = with_objects(&["a/3", "a/1", "b", "a/2", "a", "a/b/c"]);
    origin.inner().set_page_size(2);
    let memory: &dyn Validator = &**origin.inner();
    assert_eq!(
        listed(memory, "a/", None).await,
        [vec!["a/1=2", "a/2=4"], vec!["a/3=1", "a/b/c=6"]]
    );
    assert_eq!(listed(memory, "a/", Some("a/2")).await, [["a/3=1", "a/b/c=6"]]);
    assert_eq!(listed(memory, "", Some("a/b/c")).await, [["b=3"]]);
    let empty: [[&str; 0]; 1] = [[]];
    assert_eq!(listed(memory, "x", None).await, empty, "one page without objects");
    assert_eq!(listed(memory, "a/", Some("b")).await, empty);

    assert_eq!(listed(&*origin, "a", None).await.len(), 3);
    use OriginOperation::List;
    let requests: Vec<_> =
        origin.requests().into_iter().map(|r| (r.operation, r.key, r.page)).collect();
    assert_eq!(requests, [0, 1, 2].map(|page| (List, "a".to_owned(), page)));
    use OriginOutcome::Listed;
    assert_eq!(outcomes(&origin), [Listed(2), Listed(2), Listed(1)]);

    origin.inner().list_in_order(false);
    let listing = origin.list("a/", Some("a/1"));
    assert!(!listing.is_ordered);
    assert_eq!(
        listed(&*origin, "a/", Some("a/1")).await,
        [vec!["a/b/c=6", "a/3=1"], vec!["a/2=4"]]
    );
}

#[tokio::test]
async fn a_page_is_of_the_moment_at_which_it_is_polled_for() {
    let origin = with_objects(&["a", "b"]);
    origin.inner().set_page_size(1);
    let mut pages = origin.list("", None).pages;
    assert_eq!(origin.count(), 0);
    origin.fault(OriginFault::hold().when(|request| request.page == 1));
    assert!(pages.next().await.unwrap().unwrap().is_requested_when_polled);
    assert!(pages.next().now_or_never().is_none());
    let e_tag = origin.inner().write("b", "new");
    origin.release_all();
    let page = pages.next().await.unwrap().unwrap();
    assert_eq!(page.objects[0].version().unwrap().e_tag, Some(e_tag));
    assert!(pages.next().await.is_none());
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_list_fails_between_pages_and_shows_wrong_ones() {
    let origin = with_objects(&["a", "b", "c", "d"]);
    origin.inner().set_page_size(2);
    let second = |fault: OriginFault| fault.when(|request| request.page == 1).once();
    origin.fault(second(OriginFault::error(ErrorKind::Unavailable)));
    assert_eq!(listed(&*origin, "", None).await, [["a=1", "b=2"]]);
    origin.fault(second(OriginFault::page(PageFault::Repeated)));
    assert_eq!(listed(&*origin, "", None).await[1], ["a=1", "b=2", "c=3", "d=4"]);
    origin.fault(second(OriginFault::page(PageFault::Reversed)));
    assert_eq!(listed(&*origin, "", None).await[1], ["d=4", "c=3"]);
    origin.fault(second(OriginFault::page(PageFault::Without("c".into()))));
    assert_eq!(listed(&*origin, "", None).await[1], ["d=4"]);
    origin.fault(second(OriginFault::tag(TagFault::Replaced("\"other\"".into()))));
    assert_eq!(listed(&*origin, "", None).await, [["a=1", "b=2"], ["c=other", "d=other"]]);
    origin.fault(OriginFault::page(PageFault::Ahead).once());
    let page = origin.list("", None).pages.next().await.unwrap().unwrap();
    assert!(!page.is_requested_when_polled);

    let without_lists: Arc<dyn Validator> = Arc::new(Nothing);
    let origin = FaultyOrigin::new(without_lists);
    let error = origin.list("", None).pages.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// A validator without objects, and without lists.
struct Nothing;

#[async_trait]
impl Validator for Nothing {
    async fn validate(&self, _: &Key, _: Option<&Entry>) -> Result<Validation> {
        Ok(Validation::NotFound)
    }
}
