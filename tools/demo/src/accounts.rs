//! Whether the counts of readers, caches and store agree.

use crate::{
    tally::Answer,
    world::{Figures, NodeFigures},
};

/// The counts that differ, a line each. The figures are taken after all tasks have stopped.
pub(crate) fn differences(end: &Figures) -> Vec<String> {
    accounts(end)
        .filter(|account| account.left != account.right)
        .map(|account| account.shown())
        .collect()
}

/// The number of counts that are compared.
pub(crate) fn count(end: &Figures) -> usize {
    accounts(end).count()
}

struct Account {
    of: String,
    left: u64,
    right: u64,
}

impl Account {
    fn new(of: impl Into<String>, left: u64, right: u64) -> Self {
        Self { of: of.into(), left, right }
    }

    fn shown(&self) -> String {
        format!("{}: {} and {}", self.of, self.left, self.right)
    }
}

fn accounts(end: &Figures) -> impl Iterator<Item = Account> {
    let of_caches = |count: fn(&NodeFigures) -> u64| end.nodes.iter().map(count).sum();
    let store = end.origin;
    let at_origin = [
        ("GETs", store.gets, of_caches(|node| node.stats.origin.reads())),
        ("PUTs", store.puts, of_caches(|node| node.stats.origin.puts.requests())),
        (
            "failures",
            store.failed,
            of_caches(|node| node.stats.origin.failed + node.stats.origin.puts.failed),
        ),
        ("bytes", store.bytes, of_caches(|node| node.stats.bytes_from_origin)),
    ];
    let at_origin = at_origin.map(|(name, origin, caches)| {
        Account::new(format!("{name} counted by the store and by the caches"), origin, caches)
    });
    at_origin.into_iter().chain(end.nodes.iter().zip(["A", "B"]).flat_map(of_node))
}

fn of_node((node, name): (&NodeFigures, &str)) -> Vec<Account> {
    let NodeFigures { seen, stats, .. } = node;
    let of_answer = |answer: Answer| {
        let of =
            format!("node {name}: {} reads, counted by readers and by the cache", answer.label());
        Account::new(of, seen.reads.get(answer), answer.count_in(stats))
    };
    let parts = stats.hits() + stats.misses() + stats.not_found + stats.errors;
    let mut accounts: Vec<_> = Answer::ALL.into_iter().map(of_answer).collect();
    accounts.push(Account::new(
        format!("node {name}: reads, and hits + misses + not found + errors"),
        seen.reads.all(),
        parts,
    ));
    accounts.push(Account::new(
        format!("node {name}: bytes of hits, counted by readers and by the cache"),
        seen.bytes_of_hits,
        stats.bytes_from_cache,
    ));
    accounts
}
