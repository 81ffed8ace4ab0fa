//! From the path of a URL to the key of an object.

use std::fmt::Write as _;

use cache_facade::object_store::path::Path;

/// The key that a path names, once its percent-encoding is undone. That of a folder, which ends in
/// `/`, names its `index.html`. `None`, if there can be no such object: a segment that is empty,
/// `.` or `..`, a control character, bytes that are not UTF-8, or a `%` that encodes nothing.
pub(crate) fn of(path: &str) -> Option<Path> {
    let path = decoded(path)?;
    let key = path.strip_prefix('/')?;
    let key =
        if key.is_empty() || key.ends_with('/') { format!("{key}{INDEX}") } else { key.to_owned() };
    // `Path::parse` takes an empty segment at either end for none.
    if key.split('/').any(str::is_empty) {
        return None;
    }
    Path::parse(key).ok()
}

/// Whether the path is that of a folder.
pub(crate) fn is_index(path: &str) -> bool {
    decoded(path).is_some_and(|path| path.ends_with('/'))
}

/// The path of the folder that has the name of this key, as a URL has it.
pub(crate) fn url_of_folder(key: &Path) -> String {
    let mut url = String::from("/");
    for byte in key.as_ref().bytes() {
        // All else is encoded, also what URLs could have: browsers read `/\\host` as `//host`.
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(&byte) {
            url.push(char::from(byte));
        } else {
            _ = write!(url, "%{byte:02X}");
        }
    }
    url + "/"
}

/// RFC 3986 section 2.1.
pub(crate) fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            (digit(rest.next()?)? << 4) | digit(rest.next()?)?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// What the path of a folder names in it.
pub(crate) const INDEX: &str = "index.html";

#[cfg(test)]
mod tests {
    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        assert_eq!(super::of(path).as_ref().map(AsRef::as_ref), expected, "{path}");
    }

    #[test]
    fn a_path_is_a_key() {
        check("/a.txt", Some("a.txt"));
        check("/a/b%20c.txt", Some("a/b c.txt"));
        check("/%C3%A9t%c3%A9", Some("été"));
        check("/a%2Fb", Some("a/b"));
        check("/100%25", Some("100%"));
        check("/%2525", Some("%25"));
        check("/a/...", Some("a/..."));
    }

    #[test]
    fn a_folder_is_its_index() {
        check("/", Some("index.html"));
        check("/docs/", Some("docs/index.html"));
        check("/docs%2F", Some("docs/index.html"));
    }

    #[test]
    fn the_url_of_a_folder_leads_back_to_it() {
        for (key, url) in [
            ("docs", "/docs/"),
            ("a/b", "/a/b/"),
            ("a b", "/a%20b/"),
            ("é%", "/%C3%A9%25/"),
            ("\\\\host", "/%5C%5Chost/"),
            ("a?b#c", "/a%3Fb%23c/"),
        ] {
            let key = cache_facade::object_store::path::Path::parse(key).unwrap();
            assert_eq!(super::url_of_folder(&key), url);
            check(url, Some(&format!("{key}/index.html")));
        }
    }

    #[test]
    fn what_names_no_object_is_no_key() {
        for path in [
            "",
            "*",
            "a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/%2F",
            "/.",
            "/..",
            "/a/../b",
            "/%2e%2E/a",
            "/./a",
            "/a%00b",
            "/a%0Ab",
            "/a%7F",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a%+1",
            "/%ff",
            "/%C3",
        ] {
            check(path, None);
        }
    }
}
