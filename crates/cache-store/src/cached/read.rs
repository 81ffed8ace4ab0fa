//! One read, up to its body.
//!
//! First the head: the one at hand if it is fresh enough, else the store is asked, by a request
//! that also brings the bytes (`head.rs`). Then the blocks of that version (`reader.rs`). If it
//! turns out that the version has been replaced before anything was given out, the read begins
//! anew; what is given out is of one version, or an error.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use cache_core::{Error, ErrorKind, Freshness, Moment, Served, Status};
use object_store::{
    Extensions, GetOptions, GetRange, GetResult, GetResultPayload, Result, path::Path,
};
use tokio::{runtime::Handle, time::timeout};

use super::{
    conditions::{self, Judgement},
    error::{OwnError, STORE, late, store_error},
    fetch::{Fetch, FetchError},
    fetch_table::RequestMode,
    head::{Answer, Want},
    readahead::Due,
    reader::Reader,
    request_counters::Op,
    shared::Shared,
    stats::Count,
    status::{AnsweredFromCache, Bypass, CacheStatus, NotCached, OnlyIfCached},
    upstream::Request,
    version::{ObjectVersion, key_of},
};
use crate::body::{RANGE, torn};

pub(super) async fn get(
    shared: &Arc<Shared>,
    location: &Path,
    options: GetOptions,
) -> Result<GetResult> {
    let mut freshness = options.extensions.get::<Freshness>().copied();
    if options.extensions.get::<OnlyIfCached>().is_some() {
        return only_if_cached(shared, location, &options, freshness.as_ref()).await;
    }
    if is_for_the_store(&options) {
        return shared.pass_through(location, options).await;
    }
    for _ in 0..RESTARTS_MAX {
        let known = match shared.resolve_head(location, freshness.as_ref(), &options).await {
            Ok(known) => known,
            Err(Unknown::ForTheStore) => break,
            Err(Unknown::Failed(error)) => return Err(store_error(location, error)),
        };
        match known.judge(location, &options) {
            Verdict::Serve => {}
            // The version with that tag may be one that is not known here yet.
            Verdict::Revalidate => {
                freshness = Some(Freshness::strong());
                continue;
            }
            Verdict::Refuse(error) => return Err(error),
            Verdict::Pass => break,
        }
        let Some(mut begun) = PreparedRead::new(shared, known, &options) else { break };
        match begun.reader.prepare().await {
            Ok(()) => {
                if options.range.is_some() && !begun.range.is_empty() {
                    shared.read_ahead(&begun.snapshot, &begun.range, begun.reader.asked_at());
                }
                return Ok(begun.into_answer());
            }
            Err(FetchError::Failed(error)) => {
                return Err(shared.block_error(location, error).await);
            }
            // The caller's own request may be answered.
            Err(FetchError::Refused(_)) => break,
            Err(FetchError::Replaced) => shared.restart(location).await,
        }
    }
    // One answer is of one version.
    // The body is still checked against its announced length.
    // mutant: checked_pass_through
    shared.pass_through_checked(location, options).await
}

/// What is known of an object before its bytes are read.
pub(super) struct ResolvedHead {
    pub(super) served: Served,
    pub(super) snapshot: Arc<ObjectVersion>,
    pub(super) answer: Option<Answer>,
    /// The store was given the caller's conditions, and they hold.
    is_judged: bool,
}

/// Why nothing is known of an object.
pub(super) enum Unknown {
    /// The caller's own request has to go to the store: nothing can be cached under such a path, or
    /// the requests of others have failed for what those others wanted, or this one perhaps for the
    /// range that the cache gave it.
    ForTheStore,
    Failed(Error),
}

/// What becomes of a read, by what is known before its bytes are read.
enum Verdict {
    Serve,
    /// The head is one of some age, and the answer depends on whether there is a later version.
    Revalidate,
    Refuse(object_store::Error),
    /// It cannot be told here.
    Pass,
}

impl Shared {
    /// The head of the object at `location`: one at hand if it is fresh enough, else the store's,
    /// with what a read with `options` wants of the body.
    pub(super) async fn resolve_head(
        &self,
        location: &Path,
        freshness: Option<&Freshness>,
        options: &GetOptions,
    ) -> Result<ResolvedHead, Unknown> {
        let key = key_of(location);
        // The head is served without a request only as the reader's freshness allows.
        // mutant: head_freshness
        if let Some(served) = self.heads.get_if_fresh(&key, freshness) {
            return ResolvedHead::of(location, served).map_err(Unknown::Failed);
        }
        for _ in 0..OTHERS_MAX {
            let want = Want::new(options.clone());
            let question = self.validator.question(&want);
            let error = match self.heads.fetch_by(&key, freshness, &question).await {
                Ok(served) => {
                    let mut known = ResolvedHead::of(location, served).map_err(Unknown::Failed)?;
                    known.answer = want.take(&known.snapshot);
                    known.is_judged = want.is_judged();
                    return Ok(known);
                }
                Err(error) if error.kind() == ErrorKind::InvalidKey => {
                    return Err(Unknown::ForTheStore);
                }
                Err(error) => error,
            };
            let Some(OwnError(own)) = OwnError::of(&error) else {
                return Err(Unknown::Failed(error));
            };
            // The refusal of a joined request concerns the other reader's condition, not this
            // one's.
            // mutant: own_error
            if want.was_sent() {
                self.hear_read(location, options, Err(own)).await;
                return Err(match self.validator.is_about_widening(options, own) {
                    true => Unknown::ForTheStore,
                    false => Unknown::Failed(error),
                });
            }
            // It was the answer to what another reader wanted.
        }
        Err(Unknown::ForTheStore)
    }

    /// Returns the cached head if it was validated since `since`.
    pub(super) async fn head_since(
        &self,
        location: &Path,
        since: Moment,
    ) -> Option<Result<ResolvedHead, Error>> {
        let served = self.heads.get_if_validated_since(&key_of(location), since).await?;
        Some(served.and_then(|served| ResolvedHead::of(location, served)))
    }

    /// The object was replaced since its head was asked for: the head is asked for again.
    pub(super) async fn restart(&self, location: &Path) {
        self.upstream.counters.add(Count::Restarts, 1);
        // A cache that was closed meanwhile will say so to the next question.
        // The head named a replaced version, so a new read must not use it unvalidated.
        // mutant: restart_marks_head
        let _ = self.heads.mark_stale(&key_of(location)).await;
    }

    /// The wrapped store answers.
    pub(super) async fn pass_through(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> Result<GetResult> {
        self.upstream.counters.add(Count::PassedThrough, 1);
        let (status, is_head) = (CacheStatus::bypass(), options.head);
        let request = Request::send(&self.upstream, Op::Bypass, location);
        let answer = request
            .get(is_head, &status, self.upstream.store.get_opts(location, options.clone()))
            .await;
        self.hear_read(location, &options, answer.as_ref().map(|answer| &answer.meta)).await;
        let mut answer = answer?;
        answer.extensions.insert(status);
        Ok(answer)
    }

    /// The same; but the body is as long as announced or an error, and the store may not be silent
    /// for longer than `origin_timeout`.
    async fn pass_through_checked(
        self: &Arc<Self>,
        location: &Path,
        options: GetOptions,
    ) -> Result<GetResult> {
        let (wanted, is_head) = (options.range.clone(), options.head);
        let limit = self.upstream.timeout;
        let answer = timeout(limit, self.pass_through(location, options)).await;
        let answer = answer.unwrap_or_else(|_| Err(store_error(location, late(limit))))?;
        // Nothing can be told of what has no key.
        let Some(snapshot) = ObjectVersion::of_answer(location, &answer.meta).filter(|_| !is_head)
        else {
            return Ok(answer);
        };
        let size = answer.meta.size;
        if answer.range != wanted.map_or(Ok(0..size), |range| range.as_range(size)).unwrap_or(0..0)
        {
            return Err(store_error(location, torn(RANGE)));
        }
        let (meta, range) = (answer.meta.clone(), answer.range.clone());
        let (attributes, extensions) = (answer.attributes.clone(), answer.extensions.clone());
        let snapshot = Arc::new(snapshot);
        let fetch = Fetch::of_answer(
            &self.fetch_table.context,
            Arc::clone(&snapshot),
            range.clone(),
            None,
            answer,
        );
        let (fetch, status) = (Arc::new(fetch).join(), CacheStatus::bypass());
        let mut reader =
            Reader::new(self, snapshot, range.clone(), status, Some(fetch), RequestMode::default());
        // Its blocks are none that the cache could have had.
        reader.is_read = false;
        let payload = GetResultPayload::Stream(reader.into_stream());
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }
}

impl Shared {
    /// Somebody reads `range`, which is not empty, of `snapshot`, and asked the store for what
    /// begins at `asked_at`.
    pub(super) fn read_ahead(
        self: &Arc<Self>,
        snapshot: &Arc<ObjectVersion>,
        range: &Range<u64>,
        asked_at: Option<u64>,
    ) {
        if self.readahead.bytes == 0 || !snapshot.is_pinned() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let Some(due) = self.readahead.due(self.blocks(), snapshot, range, asked_at) else {
            return;
        };
        let Due { range, came, permit } = due;
        let reader = Reader::new(
            self,
            Arc::clone(snapshot),
            range.clone(),
            CacheStatus::bypass(),
            None,
            RequestMode::default(),
        );
        runtime.spawn(async move {
            // Who reads on finds out for himself.
            if reader.read_in().await.is_ok() {
                came.fetch_max(range.end, Ordering::Relaxed);
            }
            drop(permit);
        });
    }
}

impl ResolvedHead {
    fn of(location: &Path, served: Served) -> Result<Self, Error> {
        match ObjectVersion::of(location, served.entry.clone()) {
            Some(snapshot) => {
                Ok(Self { served, snapshot: Arc::new(snapshot), answer: None, is_judged: false })
            }
            None => Err(Error::new(
                ErrorKind::Backend,
                "the backend shows something else than was inserted",
            )),
        }
    }

    /// Whether it was known before this read began.
    fn is_of_before(&self) -> bool {
        matches!(self.served.status, Status::Fresh | Status::Stale)
    }

    /// What the store would answer to a read with `options`, as far as it can be told.
    fn judge(&self, location: &Path, options: &GetOptions) -> Verdict {
        let (path, status) = (location.to_string(), self.served.status);
        if conditions::is_conditional(options) && !self.is_judged {
            let judgement = conditions::judge_head(options, &self.served.entry);
            let source = || AnsweredFromCache::new(status).into();
            match judgement.filter(|_| self.snapshot.is_pinned()) {
                None => return Verdict::Pass,
                Some(Judgement::Holds) => {}
                Some(Judgement::NotModified) => {
                    return Verdict::Refuse(object_store::Error::NotModified {
                        path,
                        source: source(),
                    });
                }
                // The tag may be of a version newer than this head, so the store has to decide.
                // mutant: older_head_tag
                Some(Judgement::OtherTag) if self.is_of_before() => return Verdict::Revalidate,
                Some(Judgement::OtherTag | Judgement::ModifiedSince) => {
                    return Verdict::Refuse(object_store::Error::Precondition {
                        path,
                        source: source(),
                    });
                }
            }
        }
        match options.range.as_ref().map(|range| range.as_range(self.snapshot.size)) {
            // By a head that the store has sent for this read, it would say the same.
            // The object may have grown since, so only a current head can refuse a range.
            // mutant: older_head_range
            Some(Err(error)) if !self.is_of_before() && self.snapshot.is_pinned() => {
                Verdict::Refuse(object_store::Error::Generic { store: STORE, source: error.into() })
            }
            _ => Verdict::Serve,
        }
    }
}

/// What is cached has no part in it, or it is hard to tell whether it has: old versions, ranges
/// that cannot be, or have no byte.
fn is_for_the_store(options: &GetOptions) -> bool {
    options.extensions.get::<Bypass>().is_some()
        || options.version.is_some()
        || options.range.as_ref().is_some_and(|range| {
            options.head || range.is_valid().is_err() || *range == GetRange::Suffix(0)
        })
}

/// An answer whose body has not been begun.
pub(super) struct PreparedRead {
    snapshot: Arc<ObjectVersion>,
    range: Range<u64>,
    pub(super) reader: Reader,
    pub(super) status: CacheStatus,
    extensions: Extensions,
}

impl PreparedRead {
    /// The answer to `options` from what is known; `None` if the store has to give it.
    pub(super) fn new(
        shared: &Arc<Shared>,
        known: ResolvedHead,
        options: &GetOptions,
    ) -> Option<Self> {
        let ResolvedHead { served, snapshot, answer, .. } = known;
        let range = match &options.range {
            None => 0..snapshot.size,
            // What the store says to a range without a byte differs: it has to have said it.
            Some(range) => {
                let range = range.as_range(snapshot.size).ok();
                range.filter(|range| !range.is_empty() || answer.is_some())?
            }
        };
        let wanted = if options.head { 0..0 } else { range.clone() };
        let (fetch, extensions) = match answer {
            Some(answer) if wanted.is_empty() => (None, answer.extensions),
            // What cannot be fetched later is there, or is not to be had.
            Some(answer) if snapshot.is_pinned() || answer.has(&wanted) => {
                (Some(answer.fetch), answer.extensions)
            }
            // That there is no byte, a head alone does not prove whose tag does not name the bytes.
            None if options.head || snapshot.is_pinned() => (None, Extensions::new()),
            _ => return None,
        };
        let status = CacheStatus::new(&served);
        let mode = RequestMode {
            is_whole: options.range.is_none(),
            extensions: options.extensions.clone(),
            ..RequestMode::default()
        };
        let reader =
            Reader::new(shared, Arc::clone(&snapshot), wanted, status.clone(), fetch, mode);
        Some(Self { snapshot, range, reader, status, extensions })
    }

    pub(super) fn into_answer(self) -> GetResult {
        let Self { snapshot, range, reader, status, mut extensions } = self;
        extensions.insert(status);
        GetResult {
            payload: GetResultPayload::Stream(reader.into_stream()),
            meta: snapshot.meta(),
            range,
            attributes: snapshot.attributes(),
            extensions,
        }
    }
}

/// An answer without a request.
async fn only_if_cached(
    shared: &Arc<Shared>,
    location: &Path,
    options: &GetOptions,
    freshness: Option<&Freshness>,
) -> Result<GetResult> {
    let not_cached = || object_store::Error::Generic { store: STORE, source: NotCached.into() };
    if is_for_the_store(options) {
        return Err(not_cached());
    }
    let served = shared.heads.get_if_fresh(&key_of(location), freshness).ok_or_else(not_cached)?;
    let known = ResolvedHead::of(location, served).map_err(|error| store_error(location, error))?;
    match known.judge(location, options) {
        Verdict::Serve => {}
        Verdict::Refuse(error) => return Err(error),
        Verdict::Revalidate | Verdict::Pass => return Err(not_cached()),
    }
    let mut begun = PreparedRead::new(shared, known, options).ok_or_else(not_cached)?;
    match begun.reader.is_all_held().await {
        true => Ok(begun.into_answer()),
        false => Err(not_cached()),
    }
}

/// How often a read begins anew because the object was replaced.
pub(super) const RESTARTS_MAX: usize = 3;

/// How often a read shares a request that fails for what another reader wanted, before the store
/// has to answer it alone.
const OTHERS_MAX: usize = 3;
