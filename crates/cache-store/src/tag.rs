//! What can be seen of an ETag, which is opaque otherwise (RFC 9110 section 8.8.3).

/// Whether the origin says that the tag is weak.
pub(crate) fn is_weak(tag: &str) -> bool {
    tag.starts_with("W/")
}

/// Whether two tags are the same, `W/` and quotes aside: weak comparison (RFC 9110 section
/// 8.8.3.2), among stores that leave the quotes out of some answers.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    opaque(a) == opaque(b)
}

fn opaque(tag: &str) -> &str {
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(tag)
}

/// Whether `If-None-Match: <tag>` asks about this one tag and nothing else.
///
/// A tag comes from the origin, and some write it as they please. Sent back, `*` means any version, a comma
/// outside of quotes makes it a list, and one too long is refused by servers for good.
pub(crate) fn names_one_version(tag: &str) -> bool {
    let opaque = tag.strip_prefix("W/").unwrap_or(tag);
    let in_quotes = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let is_plain = |text: &str| text.bytes().all(|byte| byte > b' ' && byte != b'"' && byte != 0x7F);
    tag.len() <= LEN_MAX
        && match in_quotes {
            Some(text) => is_plain(text),
            // Not a tag by the RFC, but stores with such tags compare them as they are.
            None => is_plain(opaque) && !opaque.is_empty() && opaque != "*" && !opaque.contains(','),
        }
}

/// Servers limit a request's headers to 8 KiB or more, all together.
const LEN_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tag: &str, one: bool) {
        assert_eq!(names_one_version(tag), one, "{tag:?}");
    }

    #[test]
    fn quotes_and_weakness_do_not_tell_tags_apart() {
        for same in ["\"x\"", "x", "W/\"x\"", "W/x"] {
            assert!(is_same(same, "\"x\"") && is_same("x", same), "{same}");
        }
        for other in ["", "\"", "\"y\"", "\"x", "\"\"x\"\"", "w/\"x\""] {
            assert!(!is_same(other, "\"x\""), "{other}");
        }
    }

    #[test]
    fn a_tag_that_asks_about_more_than_itself_is_told_apart() {
        for tag in ["\"x\"", "W/\"x\"", "\"\"", "\"a,b\"", "\"*\"", "\"ü\"", "abc", "0x8D", "1-2-3", "W/abc"]
        {
            check(tag, true);
        }
        for tag in
            ["", "*", "W/", "W/*", "\"", "a,b", "\"a\", \"b\"", "\"a\",\"b\"", "a b", "\"a b\"", "\"a\n\""]
        {
            check(tag, false);
        }
        check(&format!("\"{}\"", "x".repeat(LEN_MAX - 2)), true);
        check(&format!("\"{}\"", "x".repeat(LEN_MAX - 1)), false);
    }
}
