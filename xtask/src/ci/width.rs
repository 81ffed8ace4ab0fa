//! Lines are at most 100 columns wide: code, comments, documents and manifests.
//!
//! rustfmt keeps code to that width, but neither comments nor strings. Left out is what cannot be
//! broken: tables in Markdown, also in comments; in documents code blocks and the targets of links;
//! in Rust the lines inside a raw string, and a line with nothing but a URL.

use std::collections::BTreeSet;

use super::{
    rust::{Kind, tokens},
    sources::sources,
};
use crate::shell::Result;

/// Lists the lines that are too wide; an error if there is one.
pub(super) fn check() -> Result<()> {
    let sources = sources()?;
    let of = |path: &str, text: &str| -> Vec<String> {
        let lines = too_wide(path, text).into_iter();
        lines.map(|(line, width)| format!("{path}:{line}: {width} columns")).collect()
    };
    let findings: Vec<_> = sources.iter().flat_map(|one| of(&one.path, &one.text)).collect();
    let count = findings.len();
    if count <= KNOWN {
        println!("{count} lines of {} files are wider than {COLUMNS} columns", sources.len());
        return Ok(());
    }
    Err(format!("{}\n{count} lines are wider than {COLUMNS} columns", findings.join("\n")).into())
}

const COLUMNS: usize = 100;

/// Wide lines that are left from before this check, mostly string literals. May only become less.
const KNOWN: usize = 103;

/// The lines, counted from 1, that are too wide, and how wide they are.
fn too_wide(path: &str, text: &str) -> Vec<(usize, usize)> {
    let extension = path.rsplit('.').next().unwrap_or_default();
    let exempt = match extension {
        "rs" => raw_strings(text),
        "md" => code_blocks(text),
        "toml" => BTreeSet::new(),
        _ => return Vec::new(),
    };
    let is_exempt = |n: usize, line: &str| {
        let is_cells = extension != "toml" && is_table(line);
        let is_link = extension == "md" && is_link(line);
        exempt.contains(&n) || is_url(line) || is_cells || is_link
    };
    let lines = (1..).zip(text.lines()).map(|(n, line)| (n, line, line.chars().count()));
    lines
        .filter(|(n, line, width)| *width > COLUMNS && !is_exempt(*n, line))
        .map(|(n, _, width)| (n, width))
        .collect()
}

/// The lines that a raw string goes on over, without its last.
fn raw_strings(text: &str) -> BTreeSet<usize> {
    let raw = tokens(text).into_iter().filter(|token| {
        token.kind == Kind::Text && token.text.trim_start_matches(['b', 'c']).starts_with('r')
    });
    raw.flat_map(|token| token.line..token.line + token.text.matches('\n').count()).collect()
}

/// The lines inside of code blocks.
fn code_blocks(text: &str) -> BTreeSet<usize> {
    let mut is_inside = false;
    let fences = (1..).zip(text.lines()).filter(|(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_inside ^= is_fence;
        is_inside && !is_fence
    });
    fences.map(|(n, _)| n).collect()
}

/// Whether a line is a row of a table, in a document or a comment.
fn is_table(line: &str) -> bool {
    line.trim_start().trim_start_matches(['/', '!']).trim_start().starts_with('|')
}

/// Whether a comment or a value is one URL.
fn is_url(line: &str) -> bool {
    let words = || line.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric));
    let is_url = |word: &str| word.contains("://");
    // A reference in Rust's documentation, `[name]: https://…`, has its name in front.
    words().any(is_url) && words().filter(|word| !word.ends_with("]:")).all(is_url)
}

/// Whether a line would be short enough without the targets of its links.
fn is_link(line: &str) -> bool {
    let mut rest = line;
    let mut width = 0;
    while let Some((before, after)) = rest.split_once("](") {
        width += before.chars().count() + 3;
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    width += rest.chars().count();
    width <= COLUMNS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[usize]) {
        let found: Vec<_> = too_wide(path, text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(found, expected, "{path}: {text}");
    }

    #[test]
    fn a_wide_line_is_found_in_code_comments_documents_and_manifests() {
        let wide = format!("# // {}", "wide ".repeat(20));
        for path in ["a.rs", "a.md", "a.toml"] {
            check(path, &format!("short\n{wide}\n{wide}"), &[2, 3]);
            check(path, wide[..100].trim_end(), &[]);
        }
        check("a.json", &wide, &[]);
        // Columns are characters.
        check("a.rs", &"\u{e9}".repeat(100), &[]);
        check("a.rs", &"\u{e9}".repeat(101), &[1]);
    }

    #[test]
    fn tables_code_blocks_and_links_of_documents_are_left_out() {
        let wide = "wide ".repeat(21);
        check("a.md", &format!("| {wide} |"), &[]);
        check("a.rs", &format!("/// | {wide} |\n//! | {wide} |"), &[]);
        check("a.md", &format!("```sh\n{wide}\n```\n{wide}"), &[4]);
        check("a.md", &format!("See [the page](https://example.com/{})", "x".repeat(90)), &[]);
        check("a.md", &format!("See [{wide}](https://example.com)"), &[1]);
    }

    #[test]
    fn a_raw_string_and_a_url_of_code_are_left_out() {
        let wide = "wide ".repeat(21);
        check("a.rs", &format!("f(r#\"\n{wide}\n\"#);\n// {wide}"), &[4]);
        check("a.rs", &format!("f(\"\n{wide}\n\");"), &[2]);
        check("a.rs", &format!("//! [1]: https://example.com/{}", "x".repeat(90)), &[]);
        check("a.rs", &format!("// See https://example.com/{}", "x".repeat(90)), &[1]);
    }
}
