//! The simulation itself.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use object_store::{GetResultPayload, PutPayload, Result};

use super::{world::body_of, *};
use crate::history::Rule;

/// What is wrong with a cache that is made anew for each schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// Nothing is cached. Reads of whole objects are fetched, all others pass through.
    Nothing,
    /// Objects are kept for ever.
    KeepsForEver,
    /// Of an object that was read before, the tag is the old one.
    OldTags,
    /// Half of a body is of the version that was read before.
    Torn,
    /// Writes are not sent.
    LosesWrites,
    /// A read past the end of what it knows waits for ever.
    Hangs,
}

struct Subject {
    store: Arc<dyn ObjectStore>,
    wrong: Wrong,
    kept: Mutex<HashMap<Path, (GetResult, Bytes)>>,
}

impl Subject {
    fn kept(&self) -> MutexGuard<'_, HashMap<Path, (GetResult, Bytes)>> {
        self.kept.lock().unwrap()
    }
}

#[async_trait]
impl CachedObjects for Subject {
    fn objects(&self) -> &dyn ObjectStore {
        self
    }

    fn past_the_cache(&self, options: GetOptions) -> GetOptions {
        options
    }

    fn only_if_cached(&self, options: GetOptions) -> GetOptions {
        options
    }

    fn status(&self, answer: &GetResult) -> Option<Status> {
        answer.extensions.get::<Status>().copied()
    }

    async fn invalidate(&self, _: &Path) -> bool {
        true
    }

    fn invalidate_prefix(&self, _: &str) -> bool {
        true
    }

    async fn clear(&self) -> bool {
        true
    }

    async fn close(&self) {}
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wrong.fmt(f)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cache that may be broken")
    }
}

#[async_trait]
impl ObjectStore for Subject {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: object_store::PutOptions,
    ) -> Result<object_store::PutResult> {
        if self.wrong == Wrong::LosesWrites && options.mode == object_store::PutMode::Overwrite {
            return Ok(object_store::PutResult {
                e_tag: None,
                version: None,
                extensions: Default::default(),
            });
        }
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: object_store::PutMultipartOptions,
    ) -> Result<Box<dyn object_store::MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_whole = options.range.is_none() && !options.head && options.if_none_match.is_none();
        if !is_whole {
            return self.store.get_opts(location, options).await;
        }
        let kept = self
            .kept()
            .get(location)
            .map(|(answer, body)| (of(answer, body.clone()), body.clone()));
        match (self.wrong, kept) {
            (Wrong::KeepsForEver, Some((mut answer, _))) => {
                answer.extensions.insert(Status::Fresh);
                return Ok(answer);
            }
            (Wrong::Hangs, Some(_)) => return std::future::pending().await,
            _ => {}
        }
        let answer = self.store.get_opts(location, options).await?;
        let (mut now, announced) = (of(&answer, Bytes::new()), answer.range.end);
        now.extensions.insert(Status::Fetched);
        let mut body = answer.bytes().await?;
        if body.len() as u64 != announced {
            let source = "it is too short, or too long".into();
            return Err(object_store::Error::Generic { store: "Subject", source });
        }
        let last = self.kept().insert(location.clone(), (of(&now, body.clone()), body.clone()));
        match (self.wrong, last) {
            (Wrong::OldTags, Some((last, _))) => now.meta.e_tag = last.meta.e_tag,
            (Wrong::Torn, Some((_, last))) if last.len() == body.len() => {
                let half = body.len() / 2;
                body = [&last[..half], &body[half..]].concat().into();
            }
            _ => {}
        }
        Ok(of(&now, body))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: futures_util::stream::BoxStream<'static, Result<Path>>,
    ) -> futures_util::stream::BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&Path>,
    ) -> futures_util::stream::BoxStream<'static, Result<object_store::ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<object_store::ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: object_store::CopyOptions,
    ) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }

    async fn rename_opts(
        &self,
        from: &Path,
        to: &Path,
        options: object_store::RenameOptions,
    ) -> Result<()> {
        self.store.rename_opts(from, to, options).await
    }
}

fn of(answer: &GetResult, body: Bytes) -> GetResult {
    let GetResult { meta, range, attributes, extensions, .. } = answer;
    let payload =
        GetResultPayload::Stream(Box::pin(futures_util::stream::once(async { Ok(body) })));
    GetResult {
        payload,
        meta: meta.clone(),
        range: range.clone(),
        attributes: attributes.clone(),
        extensions: extensions.clone(),
    }
}

fn opens(wrong: Wrong) -> impl Fn(&Opening<'_>) -> Arc<dyn CachedObjects> + Sync {
    move |opening| {
        Arc::new(Subject { store: Arc::clone(&opening.store), wrong, kept: Mutex::default() })
            as Arc<dyn CachedObjects>
    }
}

#[test]
fn without_a_cache_every_rule_holds() {
    let explored = explore(0..200, 2, &opens(Wrong::Nothing), &[]);
    let explored = explored.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(explored.schedules, 200);
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..50 {
        let schedule = Schedule::new(seed, 3);
        let (one, other) =
            (run(&schedule, &opens(Wrong::OldTags)), run(&schedule, &opens(Wrong::OldTags)));
        assert!(one == other, "seed {seed}\n{one}\n{other}");
    }
}

#[test]
fn what_is_wrong_is_found_shrunk_and_repeats() {
    for (wrong, rules) in [
        (Wrong::KeepsForEver, &[Rule::Asked, Rule::NoResurrection, Rule::ReadYourWrites][..]),
        (Wrong::OldTags, &[Rule::BytesAndVersion]),
        (Wrong::Torn, &[Rule::BytesAndVersion]),
        (Wrong::LosesWrites, &[Rule::Linearizable, Rule::ReadYourWrites]),
        (Wrong::Hangs, &[Rule::NoLostWakeUp]),
    ] {
        let failure = explore(0..300, 2, &opens(wrong), &[]).expect_err("something is wrong");
        assert!(rules.contains(&failure.violation.rule), "{wrong:?}: {failure}");
        assert!(failure.schedule.calls.len() <= 6, "{wrong:?}: {failure}");
        let again = check(&failure.schedule, &opens(wrong), &[]).unwrap_err();
        assert_eq!(again, failure.violation);
        assert!(check(&failure.schedule, &opens(Wrong::Nothing), &[]).is_ok());
    }
}

/// What never happens is not checked.
#[test]
fn the_schedules_reach_what_they_are_about() {
    use crate::history::{Act, Outcome, Shown};
    let histories: Vec<_> =
        (0..150).map(|seed| run(&Schedule::new(seed, 2), &opens(Wrong::Nothing))).collect();
    let calls = || histories.iter().flat_map(History::calls);
    for outcome in [
        Outcome::NotFound,
        Outcome::Done,
        Outcome::Refused,
        Outcome::Failed,
        Outcome::Unknown,
        Outcome::Denied,
    ] {
        let n = calls().filter(|call| call.outcome == outcome).count();
        assert!(n > 20, "{outcome:?}: {n}");
    }
    for (what, is_it) in [
        ("list", (|call| call.act == Act::List) as fn(&crate::history::Call) -> bool),
        ("passed on", |call| matches!(call.act, Act::Pass(_))),
        ("restart", |call| call.act == Act::Restart),
        ("read", |call| matches!((call.act, &call.outcome), (Act::Read(_), Outcome::Read(..)))),
    ] {
        let n = calls().filter(|call| is_it(call)).count();
        assert!(n > 20, "{what}: {n}");
    }
    let shown = || histories.iter().flat_map(History::requests).filter_map(|request| request.shown);
    for (what, is_it) in [
        ("state", (|shown| matches!(shown, Shown::State(_))) as fn(&Shown) -> bool),
        ("listed", |shown| matches!(shown, Shown::Listed(_))),
        ("left out", |shown| matches!(shown, Shown::LeftOut(_))),
        ("denied", |shown| matches!(shown, Shown::Denied)),
    ] {
        let n = shown().filter(is_it).count();
        assert!(n > 20, "{what}: {n}");
    }
}

#[test]
fn bytes_tell_their_value_wherever_they_are() {
    for value in 1..40 {
        let body = body_of(value);
        for start in 0..body.len() {
            let part = &body[start..];
            assert_eq!(super::world::value_of(start as u64, part), Some(value));
            if let [first, rest @ ..] = part
                && !rest.is_empty()
            {
                let torn = [&[first.wrapping_add(7)], rest].concat();
                assert_eq!(super::world::value_of(start as u64, &torn), None);
            }
        }
    }
}
