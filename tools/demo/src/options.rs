//! The command line.

use std::{path::PathBuf, time::Duration};

/// The parsed command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Lines of text, also on a terminal.
    pub(crate) plain: bool,
    /// `None`: until `q` is pressed.
    pub(crate) span: Option<Duration>,
    pub(crate) svg: Option<PathBuf>,
    /// The run with a disk tier, in place of the two nodes.
    pub(crate) disk: bool,
}

pub(crate) const USAGE: &str = "\
cargo xtask demo [--seconds N] [--plain] [--svg FILE]
cargo xtask demo --disk

Two caches over one store 40 ms away, with 64 readers at each cache and one writer at the first, and
under until_notified a change bus between them. Every read is checked: its body must be one complete
version of the object, and no older than the freshness rule allows: under until_notified, than its
fallback of 30 s. Shown is also for how long the store had had a newer version than the one that was
served.

  --seconds N   stop after N seconds, 1 to 86400; default: when q is pressed, or 10 with --plain
  --plain       print a line each second and switch by a script instead of by keys; the default
                without a terminal
  --svg FILE    write the last view as a picture
  --disk        instead: one cache with a disk tier in a temporary directory, closed in the middle
                and opened again; prints what memory, disk and store answered

Keys: f selects the next freshness rule, k stops or starts the store, b cuts or heals the
bus, q quits.
Exits with 1 if a read was torn or older than allowed, or if the counts of readers, caches and store
differ; with --disk also if an object cost more than one 304 after the restart.
";

impl Options {
    /// Parses the arguments. `None` for `--help`.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let (name, mut value) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    (name.to_owned(), Some(value.to_owned()))
                }
                _ => (arg, None),
            };
            let mut needed = || {
                let value = value.take().or_else(|| args.next()).filter(|value| !value.is_empty());
                value.ok_or_else(|| format!("{name} needs a value"))
            };
            match name.as_str() {
                "--help" | "-h" => return Ok(None),
                "--plain" => options.plain = true,
                "--disk" => options.disk = true,
                "--seconds" => options.span = Some(seconds(&needed()?)?),
                "--svg" => options.svg = Some(needed()?.into()),
                _ => return Err(format!("unexpected argument {name:?}; see --help")),
            }
            if let Some(value) = value {
                return Err(format!("{name} takes no value, not {value:?}"));
            }
        }
        if options.disk && (options.span.is_some() || options.svg.is_some()) {
            return Err("--disk takes neither --seconds nor --svg".to_owned());
        }
        Ok(Some(options))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let secs = text.parse().ok().filter(|secs| (1..=86_400).contains(secs));
    let secs = secs
        .ok_or_else(|| format!("--seconds takes a whole number from 1 to 86400, not {text:?}"))?;
    Ok(Duration::from_secs(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Option<Options>, String> {
        Options::parse(args.iter().map(ToString::to_string))
    }

    #[test]
    fn options_are_read() {
        assert_eq!(parse(&[]), Ok(Some(Options::default())));
        let all = Options {
            plain: true,
            span: Some(Duration::from_secs(12)),
            svg: Some("a.svg".into()),
            disk: false,
        };
        assert_eq!(parse(&["--plain", "--seconds", "12", "--svg", "a.svg"]), Ok(Some(all)));
        let svg = Options { svg: Some("a=b.svg".into()), ..Options::default() };
        assert_eq!(parse(&["--svg=a=b.svg"]), Ok(Some(svg)));
        assert_eq!(parse(&["--plain", "--help"]), Ok(None));
        let disk = Options { disk: true, ..Options::default() };
        assert_eq!(parse(&["--disk"]), Ok(Some(disk)));
    }

    #[test]
    fn unknown_options_are_errors() {
        let bad = [
            (&["12"][..], r#"unexpected argument "12"; see --help"#),
            (&["--second", "1"], r#"unexpected argument "--second"; see --help"#),
            (&["--seconds"], "--seconds needs a value"),
            (&["--svg="], "--svg needs a value"),
            (&["--plain=yes"], r#"--plain takes no value, not "yes""#),
            (&["--disk=/tmp"], r#"--disk takes no value, not "/tmp""#),
            (&["--disk", "--seconds", "1"], "--disk takes neither --seconds nor --svg"),
            (&["--svg", "a.svg", "--disk"], "--disk takes neither --seconds nor --svg"),
            (&["--seconds", "0"], r#"--seconds takes a whole number from 1 to 86400, not "0""#),
            (&["--seconds", "1.5"], r#"--seconds takes a whole number from 1 to 86400, not "1.5""#),
            (&["--seconds", "-1"], r#"--seconds takes a whole number from 1 to 86400, not "-1""#),
            (
                &["--seconds=86401"],
                r#"--seconds takes a whole number from 1 to 86400, not "86401""#,
            ),
        ];
        for (args, message) in bad {
            assert_eq!(parse(args), Err(message.to_owned()), "{args:?}");
        }
    }
}
