//! The `Host` of a request (RFC 9112 section 3.2).

use std::net::Ipv6Addr;

use axum::http::{HeaderMap, Version, header};

/// Whether a request may be answered: HTTP/1.1 has exactly one `Host`, and it names a host. Older
/// versions may leave it out.
pub(crate) fn is_valid(version: Version, headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(header::HOST).iter();
    match (fields.next(), fields.next()) {
        (None, _) => version < Version::HTTP_11,
        // Grammatically a host may be empty, but no http or https URL has an empty one (RFC 9110
        // section 4.2.1).
        (Some(field), None) if field.is_empty() => version < Version::HTTP_11,
        (Some(field), None) => field.to_str().is_ok_and(is_host),
        (Some(_), Some(_)) => false,
    }
}

/// `uri-host [ ":" port ]` (RFC 3986 section 3.2.2).
fn is_host(field: &str) -> bool {
    let (host, port) = match field.rfind(':').filter(|at| !field[*at..].contains(']')) {
        Some(at) => (&field[..at], &field[at + 1..]),
        None => (field, ""),
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
        && (port.is_empty() || port.parse::<u16>().is_ok());
    is_port
        && match host.strip_prefix('[') {
            Some(literal) => literal.strip_suffix(']').is_some_and(is_ip_literal),
            None => !host.is_empty() && is_name(host),
        }
}

fn is_ip_literal(literal: &str) -> bool {
    match literal.strip_prefix(['v', 'V']).and_then(|future| future.split_once('.')) {
        Some((version, address)) => {
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !address.is_empty()
                && address.bytes().all(|byte| is_plain(byte) || byte == b':')
        }
        None => literal.parse::<Ipv6Addr>().is_ok(),
    }
}

/// A registered name, or an IPv4 address, which looks like one.
fn is_name(name: &str) -> bool {
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        let is_fit = match byte {
            b'%' => {
                let mut is_digit = || rest.next().is_some_and(|byte| byte.is_ascii_hexdigit());
                is_digit() && is_digit()
            }
            byte => is_plain(byte),
        };
        if !is_fit {
            return false;
        }
    }
    true
}

/// `unreserved` or `sub-delims`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(version: Version, fields: &[&str], expected: bool) {
        let value = |text: &&str| (header::HOST, HeaderValue::from_bytes(text.as_bytes()).unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(value) {
            headers.append(name, value);
        }
        assert_eq!(is_valid(version, &headers), expected, "{version:?} {fields:?}");
    }

    #[test]
    fn one_host_is_needed_since_1_1() {
        check(Version::HTTP_11, &["a"], true);
        for (fields, may_be_1_0) in
            [(&[][..], true), (&[""], true), (&["a", "a"], false), (&["a", "b"], false)]
        {
            check(Version::HTTP_11, fields, false);
            check(Version::HTTP_10, fields, may_be_1_0);
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_a_port() {
        for host in [
            "a",
            "a:80",
            "a:",
            "A.b-c_d~e",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:0",
            "[v1.a:b]:1",
            "%C3%A9.b",
            "a:65535",
        ] {
            check(Version::HTTP_11, &[host], true);
        }
        for host in [
            ":80",
            "a b",
            "a:b",
            "a:65536",
            "a:+1",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[]",
            "[a]",
            "[v.a]",
            "[::1%25eth0]",
            "a@b",
            "user:secret@a",
            "http://a",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "%",
            "%4",
            "%zz",
            "é",
            "a\"b",
            "<a>",
            "a\tb",
        ] {
            check(Version::HTTP_11, &[host], false);
            check(Version::HTTP_10, &[host], false);
        }
    }
}
