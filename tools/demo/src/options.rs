//! The command line.

use std::{path::PathBuf, time::Duration};

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Lines, also on a terminal.
    pub(crate) plain: bool,
    /// How long. `None`: until `q`.
    pub(crate) span: Option<Duration>,
    pub(crate) svg: Option<PathBuf>,
}

pub(crate) const USAGE: &str = "\
cargo xtask demo [--seconds N] [--plain] [--svg FILE]

Two caches over one origin that is 40 ms away: 64 readers at each, one writer at the first. Every read is checked: its body
must be one version of the object, whole, and no older than the freshness rule allows.

  --seconds N   end after N seconds, 1 to 86,400; default: when q is pressed, with --plain after 10
  --plain       a line each second, and no keys: rule and origin are switched by a script; so it is where there is no terminal
  --svg FILE    write the last view as a picture

Keys: f goes to the next freshness rule, k kills the origin or brings it back, q quits.
The code is 1 if a read was torn or too old, or if the counts of readers, caches and origin differ.
";

impl Options {
    /// `None` if help is asked for.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let (name, mut value) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
                _ => (arg, None),
            };
            let mut needed = || {
                let value = value.take().or_else(|| args.next()).filter(|value| !value.is_empty());
                value.ok_or_else(|| format!("{name} needs a value"))
            };
            match name.as_str() {
                "--help" | "-h" => return Ok(None),
                "--plain" => options.plain = true,
                "--seconds" => options.span = Some(seconds(&needed()?)?),
                "--svg" => options.svg = Some(needed()?.into()),
                _ => return Err(format!("what is {name:?}? see --help")),
            }
            if let Some(value) = value {
                return Err(format!("{name} takes no value, and was given {value:?}"));
            }
        }
        Ok(Some(options))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let secs = text.parse().ok().filter(|secs| (1..=86_400).contains(secs));
    let secs = secs.ok_or_else(|| format!("--seconds takes a whole number from 1 to 86400, not {text:?}"))?;
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
        let all = Options { plain: true, span: Some(Duration::from_secs(12)), svg: Some("a.svg".into()) };
        assert_eq!(parse(&["--plain", "--seconds", "12", "--svg", "a.svg"]), Ok(Some(all)));
        let svg = Options { svg: Some("a=b.svg".into()), ..Options::default() };
        assert_eq!(parse(&["--svg=a=b.svg"]), Ok(Some(svg)));
        assert_eq!(parse(&["--plain", "--help"]), Ok(None));
    }

    #[test]
    fn what_is_not_an_option_is_an_error() {
        let bad = [
            (&["12"][..], r#"what is "12"? see --help"#),
            (&["--second", "1"], r#"what is "--second"? see --help"#),
            (&["--seconds"], "--seconds needs a value"),
            (&["--svg="], "--svg needs a value"),
            (&["--plain=yes"], r#"--plain takes no value, and was given "yes""#),
            (&["--seconds", "0"], r#"--seconds takes a whole number from 1 to 86400, not "0""#),
            (&["--seconds", "1.5"], r#"--seconds takes a whole number from 1 to 86400, not "1.5""#),
            (&["--seconds", "-1"], r#"--seconds takes a whole number from 1 to 86400, not "-1""#),
            (&["--seconds=86401"], r#"--seconds takes a whole number from 1 to 86400, not "86401""#),
        ];
        for (args, message) in bad {
            assert_eq!(parse(args), Err(message.to_owned()), "{args:?}");
        }
    }
}
