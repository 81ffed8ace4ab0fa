//! The command line of the simulation of a fleet.

use std::str::FromStr;

use super::{
    figures::Prices,
    plan::{Fleet, Split, Written},
    rule::{Rule, positive, span},
};
use crate::{
    Result,
    read::Columns,
    setting::{Capacity, Unit},
};

/// The parsed command line.
#[derive(Debug, PartialEq)]
pub(super) struct Options {
    pub(super) trace: String,
    pub(super) columns: Columns,
    /// Not empty.
    pub(super) nodes: Vec<u32>,
    /// Not empty.
    pub(super) rules: Vec<Rule>,
    pub(super) reads: Rate,
    pub(super) writes: Rate,
    /// `None`: all objects fit.
    pub(super) capacity: Option<Capacity>,
    pub(super) unit: Unit,
    pub(super) prices: Prices,
    /// All else. Its nodes, rates and capacity are replaced.
    pub(super) fleet: Fleet,
}

#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Run(Box<Options>),
    Help,
}

/// Requests a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rate {
    OfFleet(f64),
    OfNode(f64),
}

/// The help.
pub const USAGE: &str = "\
cargo xtask simulate --trace FILE --nodes N… --freshness RULE… [OPTION…]

Splits the requests of a trace over N nodes, each with a cache of its own over one bucket, and
prints requests a second, dollars a month, bytes, the load on one S3 prefix, the age and the
staleness of the objects that are served, and messages on the bus.

  --trace FILE       the requests, or - for standard input: lines of `key` or `key,size`, or CSV;
                     plain or zstd
  --columns K[,S]    the CSV columns of the key and the size, by number from 1 or by name
  --nodes N…         numbers of nodes, 1 to 1000000
  --freshness RULE…  rules of all reads; default: strong. One of
                       strong
                       max_age=10s
                       list=5s or list=5s:20s   max_age (default: twice the interval), and a list of
                                                the prefix by each node every 5 s
                       bus=60s                  until_notified with this fallback
  --reads R[/node]   reads a second of the fleet, or of each node; default: 100/node
  --writes R[/node]  writes a second of the fleet, or of each node; default: 1
  --seconds TIME     counted time; the trace is repeated as often as needed; default: 600s
  --warm-up TIME     time before that; default: 300s
  --split HOW        random: a request goes to any node (default); key: to the node of its object
  --written HOW      popular: objects are written as often as they are read (default); uniform
  --capacity N       of a node: entries (bytes, if by bytes) or a share such as 5%; default: all fit
  --by UNIT          entries (default) or bytes
  --size BYTES       of an object, if the trace has no sizes; default: 16384
  --listed N         objects under the listed prefix, if more than the trace has
  --round-trip TIME  of a request to the store; default: 20ms
  --bus-delay TIME   from the acknowledgement of a write to its message on other nodes; default: 5ms
  --lost SHARE       of the messages on the bus, 0 to 1, noticed by heartbeats; default: 0
  --unannounced SHARE  of the writes, 0 to 1: they are found by the fallback alone; default: 0
  --time-to-live TIME  of an entry that is not validated; default: 300s
  --price-get D, --price-list D, --price-put D
                     dollars a million requests; default: 0.40, 5 and 5 (S3 Standard, us-east-1)
  --sample N         replay this many nodes; default: as many as take a few seconds
  --seed N           of everything that is drawn at random; default: 1

A TIME is a number with a unit, such as 500ms, 10s or 5m.
";

impl Options {
    /// Parses the arguments.
    pub(super) fn parse(args: impl IntoIterator<Item = String>) -> Result<Command> {
        let mut options = Self {
            trace: String::new(),
            columns: Columns::default(),
            nodes: Vec::new(),
            rules: Vec::new(),
            reads: Rate::OfNode(100.0),
            writes: Rate::OfFleet(1.0),
            capacity: None,
            unit: Unit::Entries,
            prices: Prices::default(),
            fleet: Fleet::default(),
        };
        let mut args = args.into_iter().peekable();
        while let Some(arg) = args.next() {
            if matches!(arg.as_str(), "--help" | "-h") {
                return Ok(Command::Help);
            }
            if !arg.starts_with("--") {
                return Err(format!("unexpected argument {arg:?}; see --help").into());
            }
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let mut next = || args.next_if(|next| !next.starts_with("--"));
            let first = value.or_else(&mut next);
            let first = first.ok_or_else(|| format!("{name} needs a value"))?;
            options.set(name, &first)?;
            if matches!(name, "--nodes" | "--freshness") {
                while let Some(value) = next() {
                    options.set(name, &value)?;
                }
            }
        }
        options.checked()
    }

    fn checked(mut self) -> Result<Command> {
        if self.trace.is_empty() {
            return Err("no trace; give --trace FILE (see --help)".into());
        }
        if self.nodes.is_empty() {
            return Err("no number of nodes; give --nodes N… (see --help)".into());
        }
        if self.rules.is_empty() {
            self.rules.push(Rule::Strong);
        }
        for fleet in self.fleets() {
            fleet.check()?;
        }
        Ok(Command::Run(Box::new(self)))
    }

    /// One fleet for each number of nodes, without a capacity.
    pub(super) fn fleets(&self) -> impl Iterator<Item = Fleet> {
        self.nodes.iter().map(|&nodes| Fleet {
            nodes,
            reads: self.reads.of_fleet(nodes),
            writes: self.writes.of_fleet(nodes),
            ..self.fleet.clone()
        })
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let fault = |error: Box<dyn std::error::Error + Send + Sync>| format!("{name}: {error}");
        let fleet = &mut self.fleet;
        match name {
            "--trace" if !self.trace.is_empty() => {
                return Err("a fleet replays one trace; give --trace once".into());
            }
            "--trace" => value.clone_into(&mut self.trace),
            "--columns" => self.columns = Columns::parse(value)?,
            "--nodes" => {
                for word in words(value) {
                    self.nodes.push(number(name, word, "a whole number such as 1000")?);
                }
            }
            "--freshness" => {
                for word in words(value) {
                    self.rules.push(word.parse()?);
                }
            }
            "--reads" => self.reads = Rate::parse(name, value)?,
            "--writes" => self.writes = Rate::parse(name, value)?,
            "--seconds" => fleet.span = positive(value).map_err(fault)?,
            "--warm-up" => fleet.warm_up = span(value).map_err(fault)?,
            "--round-trip" => fleet.round_trip = span(value).map_err(fault)?,
            "--bus-delay" => fleet.bus_delay = span(value).map_err(fault)?,
            "--time-to-live" => fleet.time_to_live = positive(value).map_err(fault)?,
            "--lost" => fleet.lost = number(name, value, "a share such as 0.01")?,
            "--unannounced" => fleet.unannounced = number(name, value, "a share such as 0.01")?,
            "--split" => {
                fleet.split = match value {
                    "random" => Split::Random,
                    "key" => Split::ByKey,
                    _ => return Err(format!("--split {value:?}: give random or key").into()),
                }
            }
            "--written" => {
                fleet.written = match value {
                    "popular" => Written::Popular,
                    "uniform" => Written::Uniform,
                    _ => return Err(format!("--written {value:?}: give popular or uniform").into()),
                }
            }
            "--capacity" => self.capacity = Some(value.parse()?),
            "--by" => {
                self.unit = match value {
                    "entries" => Unit::Entries,
                    "bytes" => Unit::Bytes,
                    _ => return Err(format!("--by {value:?}: give entries or bytes").into()),
                }
            }
            "--size" => fleet.object_size = number(name, value, "a number of bytes")?,
            "--listed" => fleet.listed = Some(number(name, value, "a whole number")?),
            "--sample" => fleet.sample = Some(number(name, value, "a whole number")?),
            "--seed" => fleet.seed = number(name, value, "a whole number")?,
            "--price-get" => self.prices.get = price(name, value)?,
            "--price-list" => self.prices.list = price(name, value)?,
            "--price-put" => self.prices.put = price(name, value)?,
            _ => return Err(format!("no option {name} for a fleet; see --help").into()),
        }
        Ok(())
    }
}

impl Rate {
    fn parse(name: &str, value: &str) -> Result<Self> {
        let form = "a rate such as 1000 or 10/node";
        Ok(match value.strip_suffix("/node") {
            Some(value) => Self::OfNode(number(name, value, form)?),
            None => Self::OfFleet(number(name, value, form)?),
        })
    }

    fn of_fleet(self, nodes: u32) -> f64 {
        match self {
            Self::OfFleet(rate) => rate,
            Self::OfNode(rate) => rate * f64::from(nodes),
        }
    }
}

fn number<T: FromStr>(name: &str, value: &str, form: &str) -> Result<T> {
    value.parse().map_err(|_| format!("{name} {value:?}: give {form}").into())
}

fn price(name: &str, value: &str) -> Result<f64> {
    let price: f64 = number(name, value, "dollars such as 0.4")?;
    if price.is_finite() && price >= 0.0 {
        return Ok(price);
    }
    Err(format!("{name} {value:?}: give zero or more dollars").into())
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(line: &str) -> Result<Command> {
        Options::parse(line.split_whitespace().map(ToOwned::to_owned))
    }

    fn options(line: &str) -> Options {
        match parse(line).unwrap() {
            Command::Run(options) => *options,
            Command::Help => panic!("{line}"),
        }
    }

    #[test]
    fn all_options_are_parsed() {
        let options = options(
            "--trace a --nodes 1 10,100 --freshness strong max_age=10s,bus=1m --reads 5/node \
             --writes=3 --seconds 60s --warm-up 0s --split key --written uniform --capacity 5% \
             --by bytes --size 7 --listed 12 --round-trip 1ms --bus-delay 2ms --lost 0.5 \
             --unannounced 1 --time-to-live 9s --price-get 1 --price-list 2 --price-put 0 \
             --sample 4 --seed 6 --columns 2",
        );
        assert_eq!((options.trace.as_str(), options.unit), ("a", Unit::Bytes));
        assert_eq!(options.capacity, Some(Capacity::Share(0.05)));
        let rules: Vec<_> = options.rules.iter().map(ToString::to_string).collect();
        assert_eq!(rules, ["strong", "max_age=10s", "bus=1m"]);
        assert_eq!(options.prices, Prices { get: 1.0, list: 2.0, put: 0.0 });
        let fleets: Vec<_> = options.fleets().collect();
        let fleet = |nodes: u32, reads| Fleet {
            nodes,
            reads,
            writes: 3.0,
            warm_up: Duration::ZERO,
            span: Duration::from_secs(60),
            round_trip: Duration::from_millis(1),
            bus_delay: Duration::from_millis(2),
            lost: 0.5,
            unannounced: 1.0,
            time_to_live: Duration::from_secs(9),
            listed: Some(12),
            split: Split::ByKey,
            written: Written::Uniform,
            capacity: None,
            object_size: 7,
            sample: Some(4),
            seed: 6,
        };
        assert_eq!(fleets, [fleet(1, 5.0), fleet(10, 50.0), fleet(100, 500.0)]);
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let options = options("--trace a --nodes 20");
        assert_eq!(options.rules, [Rule::Strong]);
        let fleet = Fleet { nodes: 20, reads: 2_000.0, ..Fleet::default() };
        assert_eq!(options.fleets().collect::<Vec<_>>(), [fleet]);
        assert_eq!(parse("--nodes --help").unwrap_err().to_string(), "--nodes needs a value");
        assert_eq!(parse("--nodes 0 --help").unwrap(), Command::Help);
    }

    #[track_caller]
    fn check_error(line: &str, expected: &str) {
        assert_eq!(parse(line).unwrap_err().to_string(), expected, "{line}");
    }

    #[test]
    fn errors_say_what_to_write() {
        check_error("--nodes 1", "no trace; give --trace FILE (see --help)");
        check_error("--trace a --writes 1", "no number of nodes; give --nodes N… (see --help)");
        check_error("--trace a --trace b", "a fleet replays one trace; give --trace once");
        check_error("--trace a b", "unexpected argument \"b\"; see --help");
        check_error("--trace a --nodes 1 --freshness", "--freshness needs a value");
        check_error("--trace a --policy lru", "no option --policy for a fleet; see --help");
        let nodes = "give a whole number such as 1000";
        for bad in ["-1", "1.5", "x", "99999999999"] {
            check_error(&format!("--trace a --nodes {bad}"), &format!("--nodes {bad:?}: {nodes}"));
        }
        check_error("--trace a --nodes 0", "0 nodes: give 1 to 1000000");
        check_error("--trace a --nodes 1 1000001", "1000001 nodes: give 1 to 1000000");
        let ok = "--trace a --nodes 1";
        check_error(
            &format!("{ok} --freshness fresh"),
            "freshness \"fresh\": give strong, max_age=10s, list=5s, list=5s:20s or bus=60s",
        );
        check_error(&format!("{ok} --reads 0"), "0 reads a second: give a number above zero");
        check_error(&format!("{ok} --reads=-1"), "-1 reads a second: give a number above zero");
        check_error(&format!("{ok} --reads nan"), "NaN reads a second: give a number above zero");
        check_error(&format!("{ok} --reads inf"), "inf reads a second: give a number above zero");
        check_error(
            &format!("{ok} --reads many/node"),
            "--reads \"many\": give a rate such as 1000 or 10/node",
        );
        check_error(&format!("{ok} --writes -1"), "-1 writes a second: give zero or more");
        check_error(
            &format!("{ok} --reads 1e308/node"),
            "inf reads to split, 4e9 at most: lower the rate or --seconds",
        );
        check_error(
            &format!("{ok} --reads 1e7"),
            "9.000e9 reads to split, 4e9 at most: lower the rate or --seconds",
        );
        check_error(
            &format!("{ok} --reads 1e6"),
            "9.000e8 reads to replay, 5e7 at most: lower the rate, --seconds or --sample",
        );
        check_error(
            &format!("{ok} --writes 1e6"),
            "9.000e8 writes to replay, 1e7 at most: lower the rate or --seconds",
        );
        check_error(&format!("{ok} --lost 1.5"), "a share of 1.5 lost: give 0 to 1");
        check_error(&format!("{ok} --unannounced nan"), "a share of NaN unannounced: give 0 to 1");
        check_error(&format!("{ok} --seconds 0s"), "--seconds: \"0s\" must be above zero");
        check_error(
            &format!("{ok} --round-trip 20"),
            "--round-trip: \"20\" is not a time; give one such as 10s, 500ms or 5m",
        );
        check_error(&format!("{ok} --sample 0"), "a sample of 0 nodes: give at least one");
        check_error(&format!("{ok} --split hash"), "--split \"hash\": give random or key");
        check_error(
            &format!("{ok} --price-get -1"),
            "--price-get \"-1\": give zero or more dollars",
        );
        check_error(&format!("{ok} --seed x"), "--seed \"x\": give a whole number");
    }
}
