//! The results of the reads of one node, counted by its readers.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use cache_facade::{CachedObject, ErrorKind, Result, Stats, Status};
use hdrhistogram::Histogram;

use crate::rule::Rule;

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Fresh,
    Revalidated,
    Stale,
    Fetched,
    Refetched,
    NotFound,
    Error,
}

impl Answer {
    pub(crate) const ALL: [Self; 7] = [
        Self::Fresh,
        Self::Revalidated,
        Self::Stale,
        Self::Fetched,
        Self::Refetched,
        Self::NotFound,
        Self::Error,
    ];

    pub(crate) fn of(read: &Result<CachedObject>) -> Self {
        match read {
            Ok(object) => match object.status() {
                Status::Fresh => Self::Fresh,
                Status::Revalidated => Self::Revalidated,
                Status::Stale => Self::Stale,
                Status::Fetched => Self::Fetched,
                // Refetched: an `ObjectCache` has no other status.
                _ => Self::Refetched,
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Self::NotFound,
            Err(_) => Self::Error,
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Revalidated => "revalidated",
            Self::Stale => "stale",
            Self::Fetched => "fetched",
            Self::Refetched => "refetched",
            Self::NotFound => "not found",
            Self::Error => "error",
        }
    }

    /// Whether the body came from the cache.
    pub(crate) fn is_hit(self) -> bool {
        matches!(self, Self::Fresh | Self::Revalidated | Self::Stale)
    }

    /// The count of the cache for this result.
    pub(crate) fn count_in(self, stats: &Stats) -> u64 {
        match self {
            Self::Fresh => stats.fresh,
            Self::Revalidated => stats.revalidated,
            Self::Stale => stats.stale,
            Self::Fetched => stats.fetched,
            Self::Refetched => stats.refetched,
            Self::NotFound => stats.not_found,
            Self::Error => stats.errors,
        }
    }
}

/// A count for each result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reads([u64; Answer::ALL.len()]);

impl Reads {
    pub(crate) fn of(mut count: impl FnMut(Answer) -> u64) -> Self {
        Self(Answer::ALL.map(&mut count))
    }

    pub(crate) fn get(&self, answer: Answer) -> u64 {
        self.0[answer as usize]
    }

    pub(crate) fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn hits(&self) -> u64 {
        Answer::ALL
            .into_iter()
            .filter(|answer| answer.is_hit())
            .map(|answer| self.get(answer))
            .sum()
    }

    /// The share of hits among the reads that returned an object, from 0 to 1. `None` without such
    /// reads.
    pub(crate) fn hit_ratio(&self) -> Option<f64> {
        let got = self.all() - self.get(Answer::NotFound) - self.get(Answer::Error);
        (got > 0).then(|| self.hits() as f64 / got as f64)
    }

    /// The share of reads with this result, from 0 to 1. `None` without reads.
    pub(crate) fn share(&self, answer: Answer) -> Option<f64> {
        (self.all() > 0).then(|| self.get(answer) as f64 / self.all() as f64)
    }

    /// The reads since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self::of(|answer| self.get(answer).saturating_sub(earlier.get(answer)))
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self::of(|answer| self.get(answer) + other.get(answer))
    }
}

/// Counts and times of reads. Shared by all readers of a node.
#[derive(Debug)]
pub(crate) struct Tally(Mutex<Seen>);

/// The results so far.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) reads: Reads,
    /// Bytes of the bodies that readers got.
    pub(crate) bytes: u64,
    /// Those of hits.
    pub(crate) bytes_of_hits: u64,
    /// Reads that were torn or older than allowed, and the first of them.
    pub(crate) wrong: u64,
    pub(crate) first_wrong: Option<String>,
    /// In nanoseconds, by answer.
    times: Vec<Histogram<u64>>,
    /// In the order of [`Rule::ALL`].
    by_rule: Vec<UnderRule>,
}

/// The reads under one rule that returned an object.
#[derive(Debug, Clone)]
pub(crate) struct UnderRule {
    pub(crate) reads: u64,
    /// For how long the store had had a newer version, in nanoseconds. Only of reads of which it
    /// had one.
    older: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Seen::new()))
    }

    /// Counts a read under `rule` that took `took`. `older` is for how long the store had had a
    /// newer version; `wrong` describes its fault, if any.
    pub(crate) fn count(
        &self,
        read: &Result<CachedObject>,
        took: Duration,
        (rule, older): (Rule, Option<Duration>),
        wrong: Option<String>,
    ) {
        let bytes = read.as_ref().map_or(0, |object| object.bytes().len() as u64);
        let mut seen = self.lock();
        seen.count(Answer::of(read), bytes, took, wrong);
        if read.is_ok() {
            seen.count_under(rule, older);
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Seen {
    pub(crate) fn new() -> Self {
        let empty =
            Histogram::new_with_bounds(1, LONGEST_NANOS, DIGITS).expect("the bounds are apart");
        let under_rule = UnderRule { reads: 0, older: empty.clone() };
        Self {
            reads: Reads::default(),
            bytes: 0,
            bytes_of_hits: 0,
            wrong: 0,
            first_wrong: None,
            times: vec![empty; Answer::ALL.len()],
            by_rule: vec![under_rule; Rule::ALL.len()],
        }
    }

    pub(crate) fn count(
        &mut self,
        answer: Answer,
        bytes: u64,
        took: Duration,
        wrong: Option<String>,
    ) {
        self.reads.0[answer as usize] += 1;
        self.bytes += bytes;
        self.bytes_of_hits += if answer.is_hit() { bytes } else { 0 };
        self.times[answer as usize]
            .saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if wrong.is_some() {
            self.wrong += 1;
            self.first_wrong = self.first_wrong.take().or(wrong);
        }
    }

    /// Counts a read that returned an object.
    pub(crate) fn count_under(&mut self, rule: Rule, older: Option<Duration>) {
        let under = &mut self.by_rule[rule as usize];
        under.reads += 1;
        if let Some(older) = older {
            under.older.saturating_record(u64::try_from(older.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    pub(crate) fn under(&self, rule: Rule) -> &UnderRule {
        &self.by_rule[rule as usize]
    }

    /// The sum of two nodes.
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        self.reads = self.reads.plus(&other.reads);
        self.bytes += other.bytes;
        self.bytes_of_hits += other.bytes_of_hits;
        self.wrong += other.wrong;
        self.first_wrong = self.first_wrong.or_else(|| other.first_wrong.clone());
        for (mine, others) in self.times.iter_mut().zip(&other.times) {
            mine.add(others).expect("all have the same bounds");
        }
        for (mine, others) in self.by_rule.iter_mut().zip(&other.by_rule) {
            mine.reads += others.reads;
            mine.older.add(&others.older).expect("all have the same bounds");
        }
        self
    }

    /// A quantile of the durations of reads with that result. `None` without such reads.
    pub(crate) fn quantile(&self, answer: Answer, share: f64) -> Option<Duration> {
        let times = &self.times[answer as usize];
        (!times.is_empty()).then(|| Duration::from_nanos(times.value_at_quantile(share)))
    }
}

impl UnderRule {
    /// The share of reads of which the store had a newer version. `None` without reads.
    pub(crate) fn older_share(&self) -> Option<f64> {
        (self.reads > 0).then(|| self.older.len() as f64 / self.reads as f64)
    }

    /// A quantile of the time for which the store had had the newer version, of those reads. `None`
    /// without them.
    pub(crate) fn older_by(&self, share: f64) -> Option<Duration> {
        let is_some = !self.older.is_empty();
        is_some.then(|| Duration::from_nanos(self.older.value_at_quantile(share)))
    }
}

/// Longer ones count as this long: a minute.
const LONGEST_NANOS: u64 = 60_000_000_000;
/// Significant ones of a time.
const DIGITS: u8 = 2;
