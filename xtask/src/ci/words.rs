//! Words that the texts of this project do not use, each with a better one.
//!
//! `docs/style.md` has the reasons. A form is looked for in comments, documents, and strings that
//! are sentences; some words also in the names of items. This file is not looked at: it spells out
//! what it looks for.

use std::collections::BTreeMap;

use super::{
    prose::{CODE, Sentence, sentences},
    rust::{Kind, Token, tokens},
    sources::sources,
};
use crate::shell::Result;

/// Lists the forms that are used; an error if there is one.
pub(super) fn check() -> Result<()> {
    let (mut findings, mut counts) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for source in sources()?.iter().filter(|source| source.path != "xtask/src/ci/words.rs") {
        for Found { line, words, ban } in found(&source.path, &source.text) {
            findings.push(format!("{}:{line}: {words:?}: {}", source.path, ban.say));
            *counts.entry(ban.form).or_default() += 1;
        }
    }
    if findings.len() <= KNOWN {
        println!("{} uses of {} forms", findings.len(), FORMS.len() + NAMES.len());
        return Ok(());
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(form, count)| (usize::MAX - count, *form));
    let counts: Vec<_> = counts.iter().map(|(form, n)| format!("{n:>6}  {form}")).collect();
    let (all, by_form) = (findings.join("\n"), counts.join("\n"));
    Err(format!("{all}\n{} findings, by form:\n{by_form}", findings.len()).into())
}

/// Uses that are left from before this check, mostly in comments of tests. May only become less.
const KNOWN: usize = 1782;

struct Ban {
    /// Words in order. `a|b` is one of them, `^` the start of a sentence, `.` a mark or its end.
    form: &'static str,
    /// Words that make it good English if the same sentence has one of them.
    unless: &'static [&'static str],
    say: &'static str,
}

struct Found {
    line: usize,
    /// As they are in the text, in small letters.
    words: String,
    ban: &'static Ban,
}

const fn ban(form: &'static str, say: &'static str) -> Ban {
    Ban { form, unless: &[], say }
}

const fn ban_unless(form: &'static str, unless: &'static [&'static str], say: &'static str) -> Ban {
    Ban { form, unless, say }
}

/// Near these, `held` is what everybody means by it.
const LOCKS: &[&str] = &[
    "lock",
    "locks",
    "locked",
    "guard",
    "guards",
    "mutex",
    "permit",
    "permits",
    "gate",
    "gates",
    "reference",
    "handle",
    "upgrade",
    "response",
    "responses",
    "request",
    "requests",
    "semaphore",
    "hand",
];

const FORMS: &[Ban] = &[
    // A subject is a noun.
    ban_unless("^ who", &["?"], "name the subject: the reader, the caller, a request"),
    ban_unless("^ what", &["?"], "name the subject: the entry, the response, the rule"),
    ban("whoever|whomever|whom", "name it: the reader, the caller"),
    ban("for|of|to|by|from|with|and|or who", "name it: for readers that …"),
    ban("those|he|one|anybody|somebody|nobody|everybody|all who", "name them: readers that …"),
    ban("anybody|somebody|nobody|everybody", "name them: a reader, no caller, every request"),
    ban("so many", "as many; give the number"),
    ban("one one|ones", "repeat the noun"),
    ban("one none", "repeat the noun"),
    // The life of a request.
    ban("in the air", "in flight"),
    ban("vouch|vouches|vouched|vouching", "validate; `validated_at`"),
    ban_unless("question|questions", &["mark"], "request"),
    ban("ask|asks|asked|asking", "request, revalidate, query; needs, calls for"),
    ban_unless(
        "behind .",
        &["leave", "leaves", "left", "fall", "falls", "lags"],
        "in the background; after",
    ),
    ban("behind in|while|by|as|until", "in the background; after"),
    ban("stranger|strangers", "untrusted input, other callers"),
    ban("hand|hands|handed on", "hand off, pass to"),
    ban("flight|flights|it|that|which|answer lands|landed|landing|lands", "completes, publishes"),
    ban("a|the|each|one|same|this|that|its flight's landing", "completion, publishing"),
    ban_unless("board|boards|boarded", &["flame"], "joins or starts a flight"),
    // The cache.
    ban_unless("is|are|was|were|be|been|still|already|not|now|longer held", LOCKS, "cached"),
    ban("held entry|entries|copy|copies|version|versions|object|objects|one|ones", "cached"),
    ban("held block|blocks|bytes|head|heads|tag", "cached"),
    ban_unless("^ held", LOCKS, "cached"),
    ban_unless("gone", &["410", "wrong", "through"], "not found, removed, dropped, closed"),
    ban_unless("came", &["from", "first", "before", "back", "with"], "was received, arrived"),
    ban_unless(
        "bare",
        &["metal", "number", "numbers", "url", "string", "name", "minimum"],
        "uncached, cleared, without a copy",
    ),
    ban("medium|mediums", "disk"),
    ban("a|the|one|each|this|that|its|same|running|open fill", "fetch"),
    ban("fills and|are|is|that|of|in|to|which", "fetches"),
    ban_unless("the|its|a|key's|same turn", &["every"], "the backend lock of the key"),
    ban("a|the|this|its|reader's want", "the requested range"),
    ban("place|places at the origin|store", "permit"),
    ban("free|frees|gives|give a|the|its|one place", "releases the permit"),
    ban("the|its|a|every begin", "the beginning, the start"),
    ban("anew", "again"),
];

/// Parts of an item's name.
const NAMES: &[Ban] = &[
    ban("who", "name it: reader, caller"),
    ban("whom", "name it: reader, caller"),
    ban("whoever", "name it: reader, caller"),
    ban("^ what", "name it: entry, response, rule"),
    ban("nobody", "name it: no reader, no caller"),
    ban("somebody", "name it: a reader, a caller"),
    ban("anybody", "name it: a reader, a caller"),
    ban("vouch", "validate"),
    ban("vouched", "validated"),
    ban("question", "request"),
    ban("questions", "requests"),
    ban("ask", "request, fetch, revalidate"),
    ban("asks", "requests, revalidates"),
    ban("asked", "requested, revalidated"),
    ban("asking", "requesting, revalidating"),
    ban("bare", "uncached, cleared"),
    ban("came", "received, arrived"),
    ban("gone", "removed, not_found, dropped"),
    ban("medium", "disk"),
    ban("strangers", "untrusted"),
];

/// The forms that a file uses, by line.
fn found(path: &str, text: &str) -> Vec<Found> {
    let mut found: Vec<_> = sentences(path, text).iter().flat_map(in_sentence).collect();
    if path.ends_with(".rs") {
        let code: Vec<_> =
            tokens(text).into_iter().filter(|token| token.kind != Kind::Comment).collect();
        found.extend(in_names(&code));
    }
    found.sort_by_key(|found| found.line);
    found
}

fn in_sentence(sentence: &Sentence) -> Vec<Found> {
    let has = |words: &[&str]| sentence.iter().any(|piece| words.contains(&piece.text.as_str()));
    let bans = FORMS.iter().filter(|ban| !has(ban.unless));
    let at_each = bans.flat_map(|ban| (0..sentence.len()).map(move |at| (ban, at)));
    let found = at_each.filter_map(|(ban, at)| {
        let words = &sentence[at..at + matched(ban.form, sentence, at)?];
        let text: Vec<_> = words.iter().map(|piece| piece.text.as_str()).collect();
        Some(Found { line: sentence[at].line, words: text.join(" "), ban })
    });
    found.collect()
}

/// How many pieces, from the one at `at` on, are `form`; none if it is not there.
fn matched(form: &str, sentence: &Sentence, at: usize) -> Option<usize> {
    let (form, is_first) = form.strip_prefix("^ ").map_or((form, false), |form| (form, true));
    if is_first && at > 0 {
        return None;
    }
    let parts: Vec<_> = form.split(' ').collect();
    for (here, part) in (at..).zip(&parts) {
        let piece = sentence.get(here).map(|piece| piece.text.as_str());
        let is_met = match (*part, piece) {
            (".", None) => true,
            (".", Some(piece)) => !piece.starts_with(char::is_alphanumeric) && piece != CODE,
            (words, Some(piece)) => words.split('|').any(|word| word == piece),
            (_, None) => false,
        };
        if !is_met {
            return None;
        }
    }
    Some(parts.len().min(sentence.len() - at))
}

/// Names are looked at where they are given.
fn in_names(code: &[Token<'_>]) -> Vec<Found> {
    const KEYWORDS: [&str; 7] = ["fn", "struct", "enum", "trait", "mod", "const", "type"];
    let named = code.windows(2).filter(|pair| KEYWORDS.iter().any(|keyword| pair[0].is(keyword)));
    let names = named.map(|pair| pair[1]).filter(|name| name.kind == Kind::Word);
    names
        .flat_map(|name| {
            let parts = parts(name.text);
            let is_in = move |ban: &&Ban| match ban.form.strip_prefix("^ ") {
                Some(first) => parts.first().is_some_and(|part| part == first),
                None => parts.iter().any(|part| part == ban.form),
            };
            let found = move |ban| Found { line: name.line, words: name.text.to_owned(), ban };
            NAMES.iter().filter(is_in).map(found)
        })
        .collect()
}

/// `is_fresh` and `IsFresh` have the parts `is` and `fresh`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_small = false;
    for c in name.chars() {
        if c == '_' || c.is_uppercase() && was_small {
            parts.push(String::new());
        }
        if c != '_' {
            parts.last_mut().expect("it begins with one").extend(c.to_lowercase());
        }
        was_small = c.is_lowercase();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let found = found(path, text);
        let words: Vec<_> = found.iter().map(|found| found.words.as_str()).collect();
        assert_eq!(words, expected, "{text}");
    }

    /// One text for each of [`FORMS`].
    const REFUSED: &[(&str, &str)] = &[
        ("Who shares a cache pays once.", "who"),
        ("That is all. What is kept is small.", "what"),
        ("For whoever reads.", "whoever"),
        ("It is for who reads in order.", "for who"),
        ("Left to those who use it.", "those who"),
        ("There nobody listens.", "nobody"),
        ("A body of so many bytes.", "so many"),
        ("A changed one one.", "one one"),
        ("A fresh one none.", "one none"),
        ("It is left in the\nair.", "in the air"),
        ("The store vouched for it.", "vouched"),
        ("The question was sent.", "question"),
        ("Asks the store.", "asks"),
        ("It reads on behind.", "behind ."),
        ("It reads on behind while the reader waits.", "behind while"),
        ("Keys that strangers chose.", "strangers"),
        ("It is handed on.", "handed on"),
        ("Until the flight landed.", "flight landed"),
        ("At the flight's landing.", "the flight's landing"),
        ("It boards one.", "boards"),
        ("The entry is held.", "is held"),
        ("A held copy.", "held copy"),
        ("A held block.", "held block"),
        ("Held.", "held"),
        ("The entry is gone.", "gone"),
        ("As it came.", "came"),
        ("The key is bare.", "bare"),
        ("The medium is full.", "medium"),
        ("It joins a fill.", "a fill"),
        ("It has fills that end.", "fills that"),
        ("It takes the key's turn.", "key's turn"),
        ("It keeps the want.", "the want"),
        ("A place at the origin.", "place at the origin"),
        ("It frees the place.", "frees the place"),
        ("At the begin.", "the begin"),
        ("It is read anew.", "anew"),
    ];

    #[test]
    fn every_form_is_found() {
        for (text, words) in REFUSED {
            for path in ["a.md", "a.toml", "a.rs"] {
                let mark = [("a.rs", "/// "), ("a.toml", "# ")].iter().find(|(of, _)| *of == path);
                let mark = mark.map_or("", |(_, mark)| mark);
                let text = format!("{mark}{}", text.replace('\n', &format!("\n{mark}")));
                check(path, &text, &[words]);
            }
        }
        let form = |(text, _): &(&str, &str)| found("a.md", text)[0].ban.form;
        let shown: Vec<_> = REFUSED.iter().map(form).collect();
        let unseen = FORMS.iter().find(|ban| !shown.contains(&ban.form)).map(|ban| ban.form);
        assert_eq!(unseen, None, "without a text to refuse");
    }

    #[test]
    fn the_same_words_in_good_english_are_not() {
        for text in [
            "Who drives a fetch?",
            "The reader who waits, and what it waits for.",
            "The lock is held across no await.",
            "Held under the key's lock.",
            "A dropped future leaves nothing behind.",
            "The store is behind the cache, a 410 Gone is an outage, and it came from `S3`.",
            "It takes the place of the one before; each in turn.",
            "The form `asks` is code.",
            "A question mark, and a bare URL.",
        ] {
            check("a.md", text, &[]);
        }
    }

    #[test]
    fn strings_are_read_and_code_is_not() {
        check("a.rs", "let gone = f(\"the copy is gone\", \"gone\"); // left", &["gone"]);
        check("a.rs", "/// ```\n/// let held = ask(1);\n/// ```", &[]);
    }

    #[test]
    fn a_name_is_looked_at_where_it_is_given() {
        check("a.rs", "fn who_waits() { is_gone(); }", &["who_waits"]);
        check("a.rs", "fn what_is_fresh_stays() {}", &["what_is_fresh_stays"]);
        check("a.rs", "fn tells_what_is_fresh() {}", &[]);
        check(
            "a.rs",
            "struct LastQuestion; struct Task; const BARE_KEYS: u8 = 1;",
            &["LastQuestion", "BARE_KEYS"],
        );
    }
}
