//! The simulation of a fleet: many nodes, each with a cache of its own, over one store.
//!
//! A [`Plan`] splits the requests of a trace over the nodes and draws the writes, in virtual time.
//! [`Plan::replay`] replays it under a [`Rule`] and counts requests, ages and staleness.
//!
//! # The model
//!
//! * Reads come evenly spaced, and a write at any moment of its slot of time. A trace has no times:
//!   it gives the order of objects and is repeated as often as needed.
//! * Each node has the default policy, in a real memory backend if the capacity is in entries.
//! * A request takes one round trip, and the store processes it in the middle. Readers join a
//!   flight, wait for the next one, or are served the entry, by the rules of `cache-core`; a write
//!   fences its key at its start and at its end.
//! * An entry that was not validated for the time to live is fetched as if it were not cached.
//! * Lists come in pages of 1,000 objects, one after the other. The next list starts one interval
//!   after the start of the last, or at its end if that is later. Nodes start at random moments.
//! * A message is heard by all other nodes after a delay, or lost. A lost message is noticed at the
//!   sender's next heartbeat that is heard, and then the node revalidates each entry before it is
//!   next served. Without an own heartbeat for 3 s a node is disconnected and reads are strong.
//! * The store never fails, is never slow, and no limit is reached: not `max_in_flight`, and not
//!   the requests a second of a prefix. The bus takes any number of messages.

mod figures;
mod node;
mod options;
mod plan;
mod rule;
#[cfg(test)]
mod tests;
mod times;

use std::{env, process::ExitCode};

use self::options::{Command, Options};
pub use self::{
    figures::{Figures, PREFIX_READS, Prices},
    node::Counts,
    options::USAGE,
    plan::{Fleet, Plan, Split, Write, Written},
    rule::Rule,
    times::Times,
};
use crate::{Result, parallel::in_parallel, setting::Setting, trace::Trace};

impl Plan<'_> {
    /// Replays the sampled nodes under `rule` and returns the sum of their counts.
    ///
    /// # Errors
    ///
    /// If a cache cannot be built.
    pub fn replay(&self, rule: Rule) -> Result<Counts> {
        let nodes: Vec<_> = (0..self.sampled()).collect();
        let mut sum = Counts::new();
        for counts in in_parallel(&nodes, |&number| node::replay(self, rule, number))? {
            sum.add(&counts)?;
        }
        Ok(sum)
    }
}

/// Runs the program: parses the arguments, replays and prints the tables.
pub fn main() -> ExitCode {
    let args = env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let options = match Options::parse(args) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("simulate: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<String> {
    let trace = Trace::open(&options.trace, &options.columns)?;
    let capacity = options.capacity.map(|capacity| {
        let unit = options.unit;
        Setting::new(&trace, unit, capacity).ok_or("the capacity is below 50 of the trace's keys")
    });
    let capacity = capacity.transpose()?;
    let mut all = Vec::new();
    for fleet in options.fleets() {
        let fleet = Fleet { capacity, ..fleet };
        let plan = Plan::new(&trace, &fleet)?;
        for &rule in &options.rules {
            all.push(Figures::new(&plan, rule, &plan.replay(rule)?));
            eprintln!("nodes {}, {rule}: done", fleet.nodes);
        }
    }
    let tables = figures::render(&all, &options.prices);
    Ok(format!("{tables}\n{}", figures::describe(&options.fleet, &all)))
}
