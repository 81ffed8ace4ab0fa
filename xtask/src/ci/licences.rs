//! Whoever ships this cache ships its dependencies: their licences must allow it without further
//! duties than naming the authors.

use super::tree;
use crate::shell::Result;

pub(super) fn check() -> Result<()> {
    let packages = tree::licences()?;
    match forbidden(&packages).as_slice() {
        [] => Ok(()),
        found => Err(format!(
            "under a licence that xtask/src/ci/licences.rs does not list:\n{}",
            found.join("\n")
        )
        .into()),
    }
}

/// SPDX identifiers.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The lines, `name version|licence`, whose licence is not allowed.
fn forbidden(packages: &str) -> Vec<&str> {
    let is_forbidden =
        |line: &&str| line.split_once('|').is_some_and(|(_, licence)| !is_allowed(licence));
    let mut lines: Vec<_> = packages.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.into_iter().filter(is_forbidden).collect()
}

/// Whether an SPDX expression can be met. One that cannot be read cannot be met.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    matches!(either(&words), Some((true, [])))
}

/// An expression at the begin of `words`: whether it can be met, and what follows it.
type Read<'a> = Option<(bool, &'a [&'a str])>;

fn either<'a>(words: &'a [&'a str]) -> Read<'a> {
    let (mut met, mut rest) = both(words)?;
    while let ["OR", after @ ..] = rest {
        let (other, after) = both(after)?;
        (met, rest) = (met | other, after);
    }
    Some((met, rest))
}

fn both<'a>(words: &'a [&'a str]) -> Read<'a> {
    let (mut met, mut rest) = one(words)?;
    while let ["AND", after @ ..] = rest {
        let (other, after) = one(after)?;
        (met, rest) = (met & other, after);
    }
    Some((met, rest))
}

fn one<'a>(words: &'a [&'a str]) -> Read<'a> {
    match words {
        ["(", inner @ ..] => match either(inner)? {
            (met, [")", rest @ ..]) => Some((met, rest)),
            _ => None,
        },
        // An exception only allows more.
        [name, "WITH", _, rest @ ..] | [name, rest @ ..] => Some((ALLOWED.contains(name), rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, allowed: bool) {
        assert_eq!(is_allowed(expression), allowed, "{expression:?}");
    }

    #[test]
    fn one_way_to_meet_an_expression_is_enough() {
        check("MIT", true);
        check("GPL-3.0-only", false);
        check("MIT OR GPL-3.0-only", true);
        check("MIT/GPL-3.0", true);
        check("MIT AND GPL-3.0-only", false);
        check("GPL-3.0-only OR MIT AND ISC", true);
        check("(MIT OR GPL-3.0-only) AND LGPL-2.1-only", false);
        check("(MIT OR Apache-2.0) AND Unicode-3.0", true);
        check("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", true);
    }

    #[test]
    fn what_cannot_be_read_is_not_allowed() {
        for bad in ["", "MIT OR", "(MIT", "MIT)", "MIT MIT", "AND"] {
            check(bad, false);
        }
    }

    #[test]
    fn a_forbidden_licence_is_named_once_with_its_package() {
        let tree = "a v1|MIT\n\nb v2|GPL-3.0-only\nb v2|GPL-3.0-only (*)\nc v3|\n";
        assert_eq!(forbidden(tree), ["b v2|GPL-3.0-only", "c v3|"]);
    }
}
