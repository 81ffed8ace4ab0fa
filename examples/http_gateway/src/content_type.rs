//! What kind of thing an object is, where its store does not say.

/// The media type that the end of a key suggests. Bytes, if it suggests none: a browser then offers
/// to save it.
pub(crate) fn guess(key: &str) -> &'static str {
    let name = key.rsplit('/').next().unwrap_or(key);
    let Some((_, end)) = name.rsplit_once('.') else { return BYTES };
    let known =
        TYPES.iter().find(|(ends, _)| ends.split(' ').any(|known| known.eq_ignore_ascii_case(end)));
    known.map_or(BYTES, |(_, media_type)| media_type)
}

/// Text is taken for UTF-8, as everything new is.
const TYPES: [(&str, &str); 30] = [
    ("html htm", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js mjs", "text/javascript; charset=utf-8"),
    ("txt log", "text/plain; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("json map", "application/json"),
    ("xml", "application/xml"),
    ("webmanifest", "application/manifest+json"),
    ("wasm", "application/wasm"),
    ("pdf", "application/pdf"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("zst", "application/zstd"),
    ("parquet", "application/vnd.apache.parquet"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("ico", "image/x-icon"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("mp3", "audio/mpeg"),
    ("ogg oga", "audio/ogg"),
    ("wav", "audio/wav"),
    ("mp4 m4v", "video/mp4"),
    ("webm", "video/webm"),
];

const BYTES: &str = "application/octet-stream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_name_decides() {
        assert_eq!(guess("a/index.html"), "text/html; charset=utf-8");
        assert_eq!(guess("LOGO.PNG"), "image/png");
        assert_eq!(guess("a.tar.gz"), "application/gzip");
        for key in ["a", "a.html/b", "html", "a.", "a.unheard-of", ".", ""] {
            assert_eq!(guess(key), BYTES, "{key}");
        }
    }
}
