//! The prose of the repository: comments, strings that are sentences, documents.
//!
//! Code is left out, whether in a block or between backticks, and so are the targets of links.

use super::rust::{Kind, tokens};

/// A word or a mark, and its line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// A word in small letters, a mark of punctuation, or [`CODE`].
    pub(super) text: String,
    pub(super) line: usize,
}

/// Stands for what was between backticks.
pub(super) const CODE: &str = "`";

pub(super) type Sentence = Vec<Piece>;

/// The sentences of a file; none if its kind is not known.
pub(super) fn sentences(path: &str, text: &str) -> Vec<Sentence> {
    match path.rsplit('.').next() {
        Some("rs") => of_rust(text),
        Some("md") => of_markdown((1..).zip(text.lines())),
        Some("toml" | "yml") => of_hash_comments(text),
        _ => Vec::new(),
    }
}

fn of_rust(text: &str) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    let mut comment: Vec<(usize, &str)> = Vec::new();
    for token in tokens(text) {
        let is_line = token.kind == Kind::Comment && token.text.starts_with("//");
        let goes_on = comment.last().is_some_and(|(line, _)| is_line && token.line == line + 1);
        if !goes_on {
            sentences.extend(of_markdown(comment.drain(..)));
        }
        if is_line {
            let text = token.text.trim_start_matches('/');
            comment.push((token.line, text.strip_prefix('!').unwrap_or(text)));
        } else if token.kind == Kind::Comment {
            sentences.extend(of_markdown((token.line..).zip(token.text.lines())));
        } else if token.kind == Kind::Text && !token.text.starts_with(['b', 'c']) {
            sentences.extend(of_string(token.text, token.line));
        }
    }
    sentences.extend(of_markdown(comment.into_iter()));
    sentences
}

/// A string of fewer than three words is a name, a key or a format, not a sentence.
fn of_string(literal: &str, line: usize) -> Vec<Sentence> {
    let inner = literal.trim_start_matches('r').trim_matches('#');
    let inner = inner.trim_start_matches('"').trim_end_matches('"');
    if inner.split_whitespace().filter(|word| word.starts_with(char::is_alphabetic)).count() < 3 {
        return Vec::new();
    }
    let mut parts = Vec::new();
    for (line, text) in (line..).zip(inner.split('\n')) {
        let text = text.strip_suffix('\\').unwrap_or(text).replace("\\\"", "\"");
        parts.extend(text.split("\\n").map(|part| (line, part.to_owned())));
    }
    of_markdown(parts.iter().map(|(line, text)| (*line, text.as_str())))
}

fn of_hash_comments(text: &str) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    let mut comment: Vec<(usize, &str)> = Vec::new();
    for (n, line) in (1..).zip(text.lines()) {
        match line.trim_start().strip_prefix('#') {
            Some(text) => comment.push((n, text)),
            None => {
                sentences.extend(of_markdown(comment.drain(..)));
                if let Some((_, value)) = line.split_once("description = ") {
                    sentences.extend(of_markdown([(n, value)].into_iter()));
                }
            }
        }
    }
    sentences.extend(of_markdown(comment.into_iter()));
    sentences
}

fn of_markdown<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<Sentence> {
    let mut prose = Prose::default();
    let mut is_code = false;
    for (n, line) in lines {
        let line = line.trim();
        if line.starts_with("```") {
            is_code = !is_code;
            prose.end_block();
        } else if is_code {
        } else if line.is_empty() || line.starts_with('[') && line.contains("]: ") {
            prose.end_block();
        } else {
            let bullet = ["* ", "- ", "#", "> "].iter().any(|mark| line.starts_with(mark));
            let numbered = line.split_once(". ").is_some_and(|(n, _)| n.parse::<u32>().is_ok());
            if bullet || numbered {
                prose.end_block();
            }
            if line.starts_with('|') {
                for cell in line.split('|') {
                    prose.end_block();
                    prose.line(n, cell);
                }
                prose.end_block();
            } else {
                let line = if numbered {
                    line.split_once(". ").map_or("", |(_, text)| text)
                } else {
                    line
                };
                prose.line(n, line);
            }
        }
    }
    prose.end_block();
    prose.sentences
}

#[derive(Default)]
struct Prose {
    sentences: Vec<Sentence>,
    open: Sentence,
    /// Between backticks.
    is_code: bool,
}

impl Prose {
    fn end_sentence(&mut self) {
        if self.open.iter().any(|piece| piece.text.starts_with(char::is_alphabetic)) {
            self.sentences.push(std::mem::take(&mut self.open));
        }
        self.open.clear();
    }

    fn end_block(&mut self) {
        self.is_code = false;
        self.end_sentence();
    }

    fn line(&mut self, n: usize, line: &str) {
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let len = c.len_utf8();
            if c == '`' {
                if !self.is_code {
                    self.push(CODE, n);
                }
                self.is_code = !self.is_code;
            } else if self.is_code {
            } else if rest.starts_with("](") {
                rest = rest.split_once(')').map_or("", |(_, after)| after);
                continue;
            } else if c.is_alphanumeric() {
                let word = &rest[..word_len(rest)];
                let is_address = word.contains("://");
                let small = word.to_lowercase();
                self.push(if is_address { CODE } else { &small }, n);
                rest = &rest[word.len()..];
                continue;
            } else if ".?!,;:()\u{2026}".contains(c) {
                self.push(&rest[..len], n);
                let ends = rest[len..].trim_start_matches(['*', '"', ')', '_']);
                if ".?!".contains(c) && (ends.is_empty() || ends.starts_with(' ')) {
                    self.end_sentence();
                }
            }
            rest = &rest[len..];
        }
    }

    fn push(&mut self, text: &str, line: usize) {
        self.open.push(Piece { text: text.to_owned(), line });
    }
}

/// A word has its apostrophes and hyphens, and the points of a file name or a number, in it.
fn word_len(rest: &str) -> usize {
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let joins =
            "'\u{2019}-./:_".contains(c) && next.is_some_and(|c| c.is_alphanumeric() || c == '/');
        if !c.is_alphanumeric() && !joins {
            return at;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let words = |sentence: &Sentence| {
            sentence.iter().map(|piece| piece.text.as_str()).collect::<Vec<_>>().join(" ")
        };
        let found: Vec<_> = sentences(path, text).iter().map(words).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_comment_of_several_lines_is_one_text() {
        check("a.rs", "/// One\n/// two. Three\n/// four", &["one two .", "three four"]);
        check("a.rs", "// One\n\n// two\nfn f() {} // three", &["one", "two", "three"]);
        check("a.rs", "//! * one\n//! * two\n//!\n//! three", &["one", "two", "three"]);
        check("a.rs", "/* one\n two */", &["one two"]);
    }

    #[test]
    fn a_string_is_prose_if_it_has_three_words() {
        check("a.rs", r#"f("one two", "one two three")"#, &["one two three"]);
        check("a.rs", "f(\"one two \\\n   three\\nfour\")", &["one two three four"]);
        check("a.rs", r#"f(b"one two three")"#, &[]);
    }

    #[test]
    fn code_and_addresses_are_left_out() {
        check("a.md", "one `two\nthree` four\n```\nfive\n```\nsix", &["one ` four", "six"]);
        check("a.md", "[one](two) https://three.example/x\n\n[four]: five", &["one `"]);
        check("a.rs", "/// ```\n/// one\n/// ```\n/// two", &["two"]);
    }

    #[test]
    fn cells_headings_and_points_are_sentences_of_their_own() {
        check("a.md", "# One\ntwo\n| a | b |\n1. c\n2. d", &["one two", "a", "b", "c", "d"]);
        check(
            "a.md",
            "see mod.rs, 0.5 and e.g. that. **New.** last",
            &["see mod.rs , 0.5 and e.g .", "that .", "new .", "last"],
        );
    }

    #[test]
    fn of_a_manifest_comments_and_descriptions_are_read() {
        let text = "# one\n# two\na = \"three\"\ndescription = \"four five\"";
        check("Cargo.toml", text, &["one two", "four five"]);
    }

    #[test]
    fn a_word_knows_its_line() {
        let found = sentences("a.rs", "\n/// One\n/// two.");
        assert_eq!(found[0].iter().map(|piece| piece.line).collect::<Vec<_>>(), [2, 3, 3]);
    }
}
