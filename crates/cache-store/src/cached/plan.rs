//! Where the bytes of a read come from, decided before any of them is given out.
//!
//! A walk over the blocks of the range sorts them into parts: cached ones, fetches of others to
//! join, and runs of missing blocks, each one request. A hole of up to `coalesce_gap` bytes in a
//! run is fetched over, whether it is cached or in flight. All requests are sent at once, and the
//! reader waits until they are answered: from then on a rewrite of the object does not touch this
//! read any more, just as it would not touch one bare request. For the same reason the cached
//! blocks are held until the reader gets there, as far as the budget has room for them.
//!
//! The walk is bounded. What it did not reach is planned when the reader gets there.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use super::{
    blocks::{CachedBlock, LookUp},
    budget::Permit,
    fetch::FetchReader,
    fetch_table::{FetchTable, Found, RequestMode},
    version::ObjectVersion,
};

/// A part of a read, and where it comes from.
pub(super) struct Part {
    pub(super) range: Range<u64>,
    pub(super) source: Source,
}

pub(super) enum Source {
    /// A cached block, with its room in the budget.
    Held { block: CachedBlock, _permit: Option<Permit> },
    /// A block that was cached when the read was planned, and that is looked up when its reader
    /// gets there: it is not in memory, or there was no room to hold it.
    Cached,
    Fetch {
        fetch: FetchReader,
        /// Another reader's fetch, or one that has waited for this reader since it was opened: its
        /// failure is no answer to this reader's own request.
        may_retry: bool,
    },
}

impl FetchTable {
    /// Where the bytes of `wanted`, which is not empty, come from: parts one after the other from
    /// its start on, perhaps not to its end. Requests are prepared, and sent when the fetches are
    /// first polled.
    pub(super) async fn plan(
        self: &Arc<Self>,
        snapshot: &Arc<ObjectVersion>,
        wanted: Range<u64>,
        mode: &RequestMode,
    ) -> VecDeque<Part> {
        let (blocks, size) = (&self.blocks, snapshot.size);
        let mut plan = Plan { n_landed: blocks.n_landed(), ..Plan::default() };
        let (mut at, mut n_waited) = (wanted.start, 0);
        for n_looked_at in 0.. {
            if at >= wanted.end || plan.n_runs == RUNS_MAX && plan.run.is_none() {
                break;
            }
            if n_looked_at == LOOKED_AT_MAX {
                // A request that is needed anyway may as well bring the rest.
                if let Some(run) = plan.run.as_mut().filter(|_| plan.hole.is_empty()) {
                    run.end = blocks.end_of(wanted.end - 1, size);
                }
                break;
            }
            let (start, end) = (blocks.start_of(at), blocks.end_of(at, size).min(wanted.end));
            let source = match blocks.at_hand(snapshot, start) {
                LookUp::Found(block) => Some(self.held(at..end, block, &wanted)),
                LookUp::Other => None,
                LookUp::Absent => match blocks.is_stored(snapshot, start) {
                    // Read when the reader gets there: the memory of a whole body would be needed.
                    Some(true) => (start >= mode.mistrusted_to)
                        .then_some(Part { range: at..end, source: Source::Cached }),
                    Some(false) => None,
                    None => {
                        let block = self.waited_for(snapshot, start).await.block();
                        n_waited += usize::from(block.is_some());
                        block.map(|block| self.held(at..end, block, &wanted))
                    }
                },
            };
            if let Some(part) = source {
                plan.add(part);
            } else if let Some(fetch) = self.to_join(snapshot, start, mode) {
                let end = fetch.range().end.min(wanted.end);
                plan.add(Part { range: at..end, source: Source::Fetch { fetch, may_retry: true } });
                at = end;
                continue;
            } else {
                let end = blocks.end_of(start, size);
                // A small gap costs less to read again than a second request.
                // mutant: coalesces_gap
                if plan.hole_len() > self.coalesce_gap {
                    self.end_run(snapshot, &mut plan, &wanted, mode).await;
                    if plan.n_runs == RUNS_MAX {
                        break;
                    }
                }
                plan.extend(start, end);
            }
            at = end;
            // Each of those was an access to a disk or a remote cache, before the first byte is
            // given out.
            if n_waited == WAITED_FOR_MAX {
                break;
            }
        }
        self.end_run(snapshot, &mut plan, &wanted, mode).await;
        plan.parts
    }

    /// A part of `wanted` that is cached in `block`.
    pub(super) fn held(&self, range: Range<u64>, block: CachedBlock, wanted: &Range<u64>) -> Part {
        // What is all in one block is cut out of it at once.
        let source = match range == *wanted {
            true => Source::Held { block, _permit: None },
            // A cached block is pinned, or it may be evicted before its reader gets there.
            // mutant: pins_blocks
            false => match self.budget.pinned(block.len()) {
                None => Source::Cached,
                _permit => Source::Held { block, _permit },
            },
        };
        Part { range, source }
    }

    fn to_join(
        &self,
        snapshot: &ObjectVersion,
        start: u64,
        mode: &RequestMode,
    ) -> Option<FetchReader> {
        if mode.is_alone { None } else { self.joinable(snapshot, start) }
    }

    /// Begins the fetches of the run, if there is one: one, unless others have begun some since.
    async fn end_run(
        self: &Arc<Self>,
        snapshot: &Arc<ObjectVersion>,
        plan: &mut Plan,
        wanted: &Range<u64>,
        mode: &RequestMode,
    ) {
        if let Some(run) = plan.run.take() {
            plan.n_runs += 1;
            let mut at = run.start;
            while at < run.end {
                let from = at.max(wanted.start);
                let part =
                    match self.join_or_begin(snapshot, at..run.end, plan.n_landed, mode).await {
                        Found::Cached(block) => self.held(
                            from..self.blocks.end_of(at, snapshot.size).min(wanted.end),
                            block,
                            wanted,
                        ),
                        Found::InFlight { fetch, joined } => {
                            let end = fetch.range().end.min(run.end);
                            Part {
                                range: from..end,
                                source: Source::Fetch { fetch, may_retry: joined },
                            }
                        }
                    };
                at = part.range.end;
                plan.parts.push_back(part.until(wanted.end));
            }
        }
        plan.parts.append(&mut plan.hole);
    }
}

#[derive(Default)]
struct Plan {
    parts: VecDeque<Part>,
    /// Missing blocks to be fetched by one request.
    run: Option<Range<u64>>,
    /// What there is behind them.
    hole: VecDeque<Part>,
    n_runs: usize,
    /// How many blocks had landed when the walk began.
    n_landed: u64,
}

impl Plan {
    /// Adds what there is.
    fn add(&mut self, part: Part) {
        if self.run.is_some() { self.hole.push_back(part) } else { self.parts.push_back(part) }
    }

    /// Adds a missing block; the hole before it is fetched over.
    fn extend(&mut self, start: u64, end: u64) {
        self.hole.clear();
        self.run.get_or_insert(start..end).end = end;
    }

    fn hole_len(&self) -> u64 {
        self.hole.iter().map(|part| part.range.end - part.range.start).sum()
    }
}

impl Part {
    fn until(mut self, end: u64) -> Self {
        self.range.end = self.range.end.min(end);
        self
    }
}

/// How many blocks are looked at before a read begins, and then each time it gets to the end of
/// those.
const LOOKED_AT_MAX: usize = 256;

/// How many of them the backend may be waited for.
const WAITED_FOR_MAX: usize = 8;

/// How many requests one read sends ahead.
const RUNS_MAX: usize = 4;
