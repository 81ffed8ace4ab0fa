//! The run so far, as it is shown: the current state and the history.

use std::{collections::VecDeque, time::Duration};

use crate::{
    accounts,
    rule::Rule,
    tally::{Reads, Seen},
    world::{Figures, NodeFigures},
};

/// The latest figures, and the reads between each two earlier ones.
#[derive(Debug, Clone)]
pub(crate) struct Film {
    now: Figures,
    /// Both nodes together.
    seen: Seen,
    /// The latest last.
    samples: VecDeque<Sample>,
    marks: VecDeque<Mark>,
    /// The number of samples that were dropped.
    forgotten: usize,
    /// GETs under each rule, in the order of [`Rule::ALL`].
    gets: [u64; Rule::ALL.len()],
}

/// The reads of a short period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) reads: Reads,
    pub(crate) span: Duration,
    /// The end of the period, since the start of the run.
    pub(crate) at: Duration,
}

/// A switch during the run.
#[derive(Debug, Clone)]
struct Mark {
    /// The first sample after it, counted from the start.
    sample: usize,
    what: Switched,
}

/// A change of the freshness rule, of the store or of the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switched {
    Rule(Rule),
    OriginOff,
    OriginOn,
    BusCut,
    BusOn,
}

impl Switched {
    /// The label below the chart: in full, and short.
    pub(crate) fn marks(self) -> [&'static str; 2] {
        match self {
            Self::Rule(Rule::Strong) => ["strong"; 2],
            Self::Rule(Rule::MaxAge) => ["max_age 2 s", "2 s"],
            Self::Rule(Rule::Notified) => ["until_notified", "notified"],
            Self::Rule(Rule::Stale) => ["2 s + stale", "stale"],
            Self::Rule(Rule::Immutable) => ["immutable"; 2],
            Self::OriginOff => ["store down", "down"],
            Self::OriginOn => ["store up", "up"],
            Self::BusCut => ["bus cut", "cut"],
            Self::BusOn => ["bus up", "bus"],
        }
    }
}

/// A quantity with and without the caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Saved {
    /// The amount without a cache.
    pub(crate) without: u64,
    /// The amount counted by the store.
    pub(crate) with: u64,
}

impl Saved {
    /// The share saved; negative if the caches cost more than they saved. `None` without reads.
    pub(crate) fn share(self) -> Option<f64> {
        (self.without > 0).then(|| 1.0 - self.with as f64 / self.without as f64)
    }
}

impl Film {
    /// Starts with `now`.
    pub(crate) fn new(now: Figures) -> Self {
        let seen = together(&now.nodes);
        let first = Mark { sample: 0, what: Switched::Rule(now.rule) };
        Self {
            now,
            seen,
            samples: VecDeque::new(),
            marks: VecDeque::from([first]),
            forgotten: 0,
            gets: [0; Rule::ALL.len()],
        }
    }

    /// Adds the state `now`, which is not earlier than the last one.
    pub(crate) fn add(&mut self, now: Figures) {
        let seen = together(&now.nodes);
        let span = now.at.saturating_sub(self.now.at);
        let sample = Sample { reads: seen.reads.since(&self.seen.reads), span, at: now.at };
        self.samples.push_back(sample);
        self.count_gets(&now);
        (self.now, self.seen) = (now, seen);
        while self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
            self.forgotten += 1;
        }
        while self.marks.get(1).is_some_and(|mark| mark.sample <= self.forgotten) {
            self.marks.pop_front();
        }
    }

    /// Sets the final figures, after all tasks have stopped. Adds no sample.
    pub(crate) fn end(&mut self, end: Figures) {
        self.seen = together(&end.nodes);
        self.count_gets(&end);
        self.now = end;
    }

    /// Counts the GETs since the last figures for the rule that was set then.
    fn count_gets(&mut self, now: &Figures) {
        self.gets[self.now.rule as usize] += now.origin.gets.saturating_sub(self.now.origin.gets);
    }

    /// The GETs while `rule` was set.
    pub(crate) fn gets_under(&self, rule: Rule) -> u64 {
        self.gets[rule as usize]
    }

    /// Records a switch now.
    pub(crate) fn mark(&mut self, what: Switched) {
        match what {
            Switched::Rule(rule) => self.now.rule = rule,
            Switched::OriginOff => self.now.is_up = false,
            Switched::OriginOn => self.now.is_up = true,
            Switched::BusCut => self.now.is_bus_cut = true,
            Switched::BusOn => self.now.is_bus_cut = false,
        }
        let sample = self.forgotten + self.samples.len();
        match self.marks.back_mut() {
            // No sample lies between the two.
            Some(last) if last.sample == sample && same_kind(last.what, what) => last.what = what,
            _ => self.marks.push_back(Mark { sample, what }),
        }
    }

    pub(crate) fn now(&self) -> &Figures {
        &self.now
    }

    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The last `n` samples, or all if there are fewer, and the switches since, each with the index
    /// of the sample after it. The first one was in effect before the samples.
    pub(crate) fn last(&self, n: usize) -> (Vec<Sample>, Vec<(usize, Switched)>) {
        let skipped = self.samples.len().saturating_sub(n);
        let first = self.forgotten + skipped;
        let samples = self.samples.iter().skip(skipped).copied().collect();
        let begin = self.marks.iter().rposition(|mark| mark.sample <= first).unwrap_or(0);
        let marks = self
            .marks
            .iter()
            .skip(begin)
            .map(|mark| (mark.sample.saturating_sub(first), mark.what));
        (samples, marks.collect())
    }

    /// The reads of the last second.
    pub(crate) fn lately(&self) -> Sample {
        let mut lately = Sample { reads: Reads::default(), span: Duration::ZERO, at: self.now.at };
        for sample in self.samples.iter().rev() {
            if lately.span >= Duration::from_secs(1) {
                break;
            }
            lately.reads = lately.reads.plus(&sample.reads);
            lately.span += sample.span;
        }
        lately
    }

    /// Requests. Without a cache: one GET for each read.
    pub(crate) fn requests(&self) -> Saved {
        Saved { without: self.seen.reads.all(), with: self.now.origin.gets }
    }

    /// Bytes. Without a cache: the whole body for each read.
    pub(crate) fn bytes(&self) -> Saved {
        Saved { without: self.seen.bytes, with: self.now.origin.bytes }
    }

    /// The counts that differ. Valid after all tasks have stopped.
    pub(crate) fn differences(&self) -> Vec<String> {
        accounts::differences(&self.now)
    }

    /// Whether no read was wrong and all counts agree. Valid after all tasks have stopped.
    pub(crate) fn is_right(&self) -> bool {
        self.seen.wrong == 0 && self.differences().is_empty()
    }
}

impl Sample {
    /// Reads per second. Zero if no time has passed.
    pub(crate) fn rate(&self) -> f64 {
        let secs = self.span.as_secs_f64();
        if secs > 0.0 { self.reads.all() as f64 / secs } else { 0.0 }
    }
}

fn together([a, b]: &[NodeFigures; 2]) -> Seen {
    a.seen.clone().plus(&b.seen)
}

fn same_kind(a: Switched, b: Switched) -> bool {
    let kind = |switched| match switched {
        Switched::Rule(_) => 0,
        Switched::OriginOff | Switched::OriginOn => 1,
        Switched::BusCut | Switched::BusOn => 2,
    };
    kind(a) == kind(b)
}

/// More than any terminal has columns.
const SAMPLES_MAX: usize = 1000;
