//! The command line.

use std::path::PathBuf;

/// The parsed command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) directory: PathBuf,
    /// Lists each record.
    pub(crate) entries: bool,
    /// Verifies the checksums of bodies too.
    pub(crate) verify: bool,
    pub(crate) json: bool,
}

pub(crate) const USAGE: &str = "\
cargo xtask disk-inspect DIRECTORY [--entries] [--verify] [--json]

Lists the segments in the directory of a disk tier. Writes nothing and takes no lock: a cache may
have the directory open.

  --entries   list each record too: key, ETag, bytes of the body, sequence, and whether it is whole;
              `removed` is a record that was replaced or removed before its segment was sealed
  --verify    compare the checksums of bodies too; without it, those of all the rest
  --json      one JSON object a line: `segment` after the `record`s that it has

Exits with 1 if a checksum does not match, with 2 if the directory cannot be read.
";

impl Options {
    /// Parses the arguments. `None` for `--help`.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut directory = None;
        for arg in args {
            match arg.as_str() {
                "--help" | "-h" => return Ok(None),
                "--entries" => options.entries = true,
                "--verify" => options.verify = true,
                "--json" => options.json = true,
                flag if flag.starts_with("--") => {
                    return Err(format!("unexpected argument {flag:?}; see --help"));
                }
                path => {
                    if directory.replace(PathBuf::from(path)).is_some() {
                        return Err(format!("one directory, and not {path:?} too; see --help"));
                    }
                }
            }
        }
        options.directory = directory.ok_or("name the directory; see --help")?;
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str) -> Result<Option<Options>, String> {
        Options::parse(args.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_and_the_directory_come_in_any_order() {
        let options = Options {
            directory: "cache".into(),
            entries: true,
            verify: true,
            ..Options::default()
        };
        assert_eq!(parse("--verify cache --entries"), Ok(Some(options)));
        assert_eq!(parse("cache --help"), Ok(None));
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        assert!(parse("").unwrap_err().contains("name the directory"));
        assert!(parse("a b").unwrap_err().contains("\"b\""));
        assert!(parse("--verfy a").unwrap_err().contains("\"--verfy\""));
    }
}
