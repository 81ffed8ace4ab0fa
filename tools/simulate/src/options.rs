//! The command line of the simulator.

use crate::{
    Result,
    read::Columns,
    setting::{CAPACITIES, Capacity, Unit},
};

/// The parsed command line.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) traces: Vec<String>,
    pub(crate) columns: Columns,
    /// By name. Empty: all.
    pub(crate) policies: Vec<String>,
    pub(crate) capacities: Vec<Capacity>,
    /// `None`: by entries, and by bytes too if objects have sizes.
    pub(crate) unit: Option<Unit>,
}

pub(crate) const USAGE: &str = "\
cargo xtask simulate --trace FILE… [OPTION…]

Replays recorded requests through eviction policies, other caches and Belady's optimum. Prints the
hit ratios; writes tables (table.md), one chart for each trace and the figures (rows.json) to
target/simulate/.

  --trace FILE…      traces, or - for standard input: lines of `key` or `key,size`, or CSV; plain
                     or zstd
  --columns K[,S]    the CSV columns of the key and the size, by number from 1 or by name
  --policy NAME…     policies to replay; default: all of them, listed below
  --capacity N…      numbers of entries (of bytes, if by bytes), or shares of all objects such as
                     5%; default: 1% 5% 10% 20%, without those of fewer than 50 entries
  --by UNIT          entries: every object weighs 1; bytes: an object weighs its size; default:
                     both if the trace has sizes, only bytes if it has and a capacity is a number
";

impl Options {
    /// Parses the arguments. `None` for `--help`.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self {
            traces: Vec::new(),
            columns: Columns::default(),
            policies: Vec::new(),
            capacities: Vec::new(),
            unit: None,
        };
        let mut flag = Flag::Trace;
        // The flag whose value has not been read yet.
        let mut waits: Option<String> = None;
        for arg in args {
            if matches!(arg.as_str(), "--help" | "-h") {
                return Ok(None);
            }
            if arg.starts_with("--") {
                if let Some(waiting) = waits {
                    return Err(format!("{waiting} needs a value").into());
                }
                let (name, value) = match arg.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (arg.as_str(), None),
                };
                flag = Flag::parse(name)?;
                waits = Some(name.to_owned());
                if let Some(value) = value {
                    options.set(flag, value)?;
                    waits = None;
                }
                continue;
            }
            if waits.is_none() && !flag.is_list() {
                return Err(format!("unexpected argument {arg:?}; see --help").into());
            }
            options.set(flag, &arg)?;
            waits = None;
        }
        if let Some(waiting) = waits {
            return Err(format!("{waiting} needs a value").into());
        }
        if options.traces.is_empty() {
            return Err("no trace; give --trace FILE… (see --help)".into());
        }
        if options.traces.iter().filter(|trace| *trace == "-").count() > 1 {
            return Err("standard input can be read only once".into());
        }
        Ok(Some(options))
    }

    fn set(&mut self, flag: Flag, value: &str) -> Result<()> {
        match flag {
            Flag::Trace => self.traces.push(value.to_owned()),
            Flag::Columns => self.columns = Columns::parse(value)?,
            Flag::Policy => self.policies.extend(words(value).map(ToOwned::to_owned)),
            Flag::Capacity => {
                for word in words(value) {
                    self.capacities.push(word.parse()?);
                }
            }
            Flag::By => {
                self.unit = Some(match value {
                    "entries" => Unit::Entries,
                    "bytes" => Unit::Bytes,
                    _ => return Err(format!("--by {value:?}: give entries or bytes").into()),
                });
            }
        }
        Ok(())
    }

    /// The capacities to replay with.
    pub(crate) fn capacities(&self) -> &[Capacity] {
        if self.capacities.is_empty() { &CAPACITIES } else { &self.capacities }
    }

    /// The units in which a trace is replayed.
    pub(crate) fn units(&self, is_sized: bool) -> &'static [Unit] {
        let has_exact =
            self.capacities.iter().any(|capacity| matches!(capacity, Capacity::Exact(_)));
        match self.unit {
            Some(Unit::Entries) => &[Unit::Entries],
            Some(Unit::Bytes) => &[Unit::Bytes],
            None if !is_sized => &[Unit::Entries],
            None if has_exact => &[Unit::Bytes],
            None => &[Unit::Entries, Unit::Bytes],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    Trace,
    Columns,
    Policy,
    Capacity,
    By,
}

impl Flag {
    fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "--trace" => Self::Trace,
            "--columns" => Self::Columns,
            "--policy" => Self::Policy,
            "--capacity" => Self::Capacity,
            "--by" => Self::By,
            _ => return Err(format!("no option {name}; see --help").into()),
        })
    }

    /// Whether several values may follow.
    fn is_list(self) -> bool {
        matches!(self, Self::Trace | Self::Policy | Self::Capacity)
    }
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::Column;

    fn parse(line: &str) -> Result<Option<Options>> {
        Options::parse(line.split_whitespace().map(ToOwned::to_owned))
    }

    #[track_caller]
    fn check_error(line: &str, expected: &str) {
        assert_eq!(parse(line).unwrap_err().to_string(), expected);
    }

    #[test]
    fn all_options_are_parsed() {
        let line = "--trace a b --policy lru,belady fifo --capacity 5% 100 --columns 2,size \
                    --by=bytes --trace -";
        let options = parse(line).unwrap().unwrap();
        assert_eq!(options.traces, ["a", "b", "-"]);
        assert_eq!(options.policies, ["lru", "belady", "fifo"]);
        assert_eq!(options.capacities, [Capacity::Share(0.05), Capacity::Exact(100)]);
        let size = Some(Column::Name("size".to_owned()));
        assert_eq!(options.columns, Columns { key: Some(Column::Index(1)), size });
        assert_eq!(options.unit, Some(Unit::Bytes));
    }

    #[test]
    fn traces_may_come_without_their_flag() {
        assert_eq!(parse("a b").unwrap().unwrap().traces, ["a", "b"]);
    }

    #[test]
    fn help_comes_before_everything() {
        assert_eq!(
            parse("--capacity 5 --nonsense --help").unwrap_err().to_string(),
            "no option --nonsense; see --help"
        );
        assert!(parse("--trace --help").unwrap().is_none());
        assert!(parse("-h").unwrap().is_none());
    }

    #[test]
    fn errors_say_what_to_write() {
        check_error("", "no trace; give --trace FILE… (see --help)");
        check_error("--trace", "--trace needs a value");
        check_error("--trace --policy lru", "--trace needs a value");
        check_error("--by bytes b", "unexpected argument \"b\"; see --help");
        check_error("--trace - --trace -", "standard input can be read only once");
        check_error("a --by weight", "--by \"weight\": give entries or bytes");
        check_error("a --columns 0", "columns are numbered from 1");
        check_error("a --columns 1,2,3", "--columns \"1,2,3\": give KEY or KEY,SIZE");
        let help =
            "give a positive number of entries (of bytes, if by bytes) or a share such as 5%";
        for bad in ["0", "-1", "0%", "101%", "NaN%", "many", "1e9"] {
            check_error(&format!("a --capacity {bad}"), &format!("capacity {bad:?}: {help}"));
        }
    }

    #[test]
    fn the_unit_depends_on_sizes_and_capacities() {
        let units = |line: &str, is_sized| parse(line).unwrap().unwrap().units(is_sized);
        assert_eq!(units("a", false), [Unit::Entries]);
        assert_eq!(units("a", true), [Unit::Entries, Unit::Bytes]);
        assert_eq!(units("a --capacity 5%", true), [Unit::Entries, Unit::Bytes]);
        assert_eq!(units("a --capacity 500", true), [Unit::Bytes]);
        assert_eq!(units("a --capacity 500", false), [Unit::Entries]);
        assert_eq!(units("a --by entries --capacity 500", true), [Unit::Entries]);
    }
}
