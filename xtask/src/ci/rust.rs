//! The tokens of a Rust source, as far as the checks need them.
//!
//! Not a whole lexer: a number is a word, and `::` is two marks. It knows where a comment, a string
//! (raw ones too), a character or a lifetime ends, so that none of them is taken for another.

/// A piece of a source, without its white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// As written; of a comment or a string with its delimiters.
    pub(super) text: &'a str,
    /// Where it begins, counted from 1.
    pub(super) line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier, a keyword or a number.
    Word,
    /// One character of punctuation.
    Mark,
    /// A string of any kind.
    Text,
    /// A character or a lifetime.
    Quote,
    Comment,
}

impl Token<'_> {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text && matches!(self.kind, Kind::Word | Kind::Mark)
    }
}

/// Splits `source` into tokens. Never fails: an unknown character is a mark.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), source, 1);
    while let Some(first) = rest.chars().next() {
        let (kind, len) = next(rest, first);
        let (text, after) = rest.split_at(len);
        if let Some(kind) = kind {
            tokens.push(Token { kind, text, line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The kind of the token at the start of `rest`, and its length in bytes; white space has no kind.
fn next(rest: &str, first: char) -> (Option<Kind>, usize) {
    if first.is_whitespace() {
        return (None, first.len_utf8());
    }
    if rest.starts_with("//") {
        return (Some(Kind::Comment), rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Some(Kind::Comment), block_comment(rest));
    }
    if let Some(len) = string(rest) {
        return (Some(Kind::Text), len);
    }
    if first == '\'' {
        return (Some(Kind::Quote), quote(rest));
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    if is_word(first) {
        return (Some(Kind::Word), rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
    }
    (Some(Kind::Mark), first.len_utf8())
}

/// Comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of the string that `rest` begins with: `"…"`, `b"…"`, `c"…"`, `r#"…"#`, `br"…"`.
fn string(rest: &str) -> Option<usize> {
    let prefix = rest.len() - rest.trim_start_matches(['b', 'c', 'r']).len();
    let (letters, body) = rest.split_at_checked(prefix)?;
    if !matches!(letters, "" | "b" | "c" | "r" | "br" | "cr") {
        return None;
    }
    if letters.ends_with('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        let inner = body[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let len = inner.find(&end).map_or(inner.len(), |at| at + end.len());
        return Some(prefix + hashes + 1 + len);
    }
    let inner = body.strip_prefix('"')?;
    let mut is_escaped = false;
    let end = inner.find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    Some(prefix + 1 + end.map_or(inner.len(), |at| at + 1))
}

/// The length of the character or the lifetime that `rest` begins with.
fn quote(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        // An escape may itself be a quote: `'\''`.
        Some((_, '\\')) => {
            rest.get(3..).and_then(|after| after.find('\'')).map_or(rest.len(), |at| at + 4)
        }
        Some((at, c)) => match chars.next() {
            Some((end, '\'')) => end + 1,
            _ => at + if c.is_alphanumeric() || c == '_' { word_len(&rest[at..]) } else { 0 },
        },
        None => 1,
    }
}

fn word_len(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &[(Kind, &str)]) {
        let found: Vec<_> = tokens(source).iter().map(|token| (token.kind, token.text)).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn a_string_ends_at_its_own_quote() {
        check(r#""a \" // b" c"#, &[(Kind::Text, r#""a \" // b""#), (Kind::Word, "c")]);
        check(r##"r#"a " b"# c"##, &[(Kind::Text, r##"r#"a " b"#"##), (Kind::Word, "c")]);
        check(
            r#"b"\\" br"\" d"#,
            &[(Kind::Text, r#"b"\\""#), (Kind::Text, r#"br"\""#), (Kind::Word, "d")],
        );
        check("bar", &[(Kind::Word, "bar")]);
    }

    #[test]
    fn a_lifetime_is_no_character() {
        check("'a, 'b'", &[(Kind::Quote, "'a"), (Kind::Mark, ","), (Kind::Quote, "'b'")]);
        check(
            r"'\'' '\\' '\u{e9}' '\n'x",
            &[
                (Kind::Quote, r"'\''"),
                (Kind::Quote, r"'\\'"),
                (Kind::Quote, r"'\u{e9}'"),
                (Kind::Quote, r"'\n'"),
                (Kind::Word, "x"),
            ],
        );
        check("'\"' \"x\"", &[(Kind::Quote, "'\"'"), (Kind::Text, "\"x\"")]);
    }

    #[test]
    fn comments_nest_and_count_their_lines() {
        check("/* a /* b */ c */ d", &[(Kind::Comment, "/* a /* b */ c */"), (Kind::Word, "d")]);
        let last = tokens("/* a\n\n*/ // \"b\nc").pop().map(|token| (token.text, token.line));
        assert_eq!(last, Some(("c", 4)));
    }

    #[test]
    fn a_piece_without_an_end_is_a_token_up_to_the_end() {
        for source in ["\"a", "r#\"a\"", "/* a", "'", "'\\", "'\\'"] {
            assert_eq!(tokens(source).len(), 1, "{source}");
        }
    }
}
