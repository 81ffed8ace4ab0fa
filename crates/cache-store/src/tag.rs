//! What can be seen of an ETag, which is opaque otherwise (RFC 9110 section 8.8.3).

pub(crate) use cache_core::is_same_date;
use cache_core::opaque_tag;

/// Whether two tags are the same opaque tag: some lists leave quotes out.
pub(crate) fn is_same(one: Option<&str>, other: Option<&str>) -> bool {
    one.map(opaque_tag) == other.map(opaque_tag)
}

/// Whether the origin says that the tag is weak.
pub(crate) fn is_weak(tag: &str) -> bool {
    tag.starts_with("W/")
}

/// Whether `If-None-Match: <tag>` asks about this one tag and nothing else.
///
/// A tag comes from the origin, and some write it as they please. Sent back, `*` means any version,
/// a comma outside of quotes makes it a list, and one too long is refused by servers for good.
pub(crate) fn names_one_version(tag: &str) -> bool {
    let opaque = tag.strip_prefix("W/").unwrap_or(tag);
    let in_quotes = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let is_plain =
        |text: &str| text.bytes().all(|byte| byte > b' ' && byte != b'"' && byte != 0x7F);
    tag.len() <= LEN_MAX
        && match in_quotes {
            Some(text) => is_plain(text),
            // Not a tag by the RFC, but stores with such tags compare them as they are.
            None => {
                is_plain(opaque) && !opaque.is_empty() && opaque != "*" && !opaque.contains(',')
            }
        }
}

/// Whether a tag, or a version id beside it, has a form that only stores give which make one for
/// each version: `ValidatorStrength::ByForm` tells which.
pub(crate) fn is_of_object_store(e_tag: Option<&str>, version_id: Option<&str>) -> bool {
    let Some(e_tag) = e_tag else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_hash = |text: &str| text.len() == 32 && is_hex(text);
    let tag = opaque_tag(e_tag);
    is_hash(tag)
        || tag.split_once('-').is_some_and(|(hash, parts)| is_hash(hash) && is_number(parts))
        || tag.strip_prefix("0x").is_some_and(is_hex)
        || version_id.is_some_and(is_number)
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
    fn a_tag_that_asks_about_more_than_itself_is_told_apart() {
        for tag in [
            "\"x\"", "W/\"x\"", "\"\"", "\"a,b\"", "\"*\"", "\"ü\"", "abc", "0x8D", "1-2-3",
            "W/abc",
        ] {
            check(tag, true);
        }
        for tag in [
            "",
            "*",
            "W/",
            "W/*",
            "\"",
            "a,b",
            "\"a\", \"b\"",
            "\"a\",\"b\"",
            "a b",
            "\"a b\"",
            "\"a\n\"",
        ] {
            check(tag, false);
        }
        check(&format!("\"{}\"", "x".repeat(LEN_MAX - 2)), true);
        check(&format!("\"{}\"", "x".repeat(LEN_MAX - 1)), false);
    }
}
