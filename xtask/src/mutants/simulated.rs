//! The faults of `CachedStore` that the simulation over it must find, without being told where to look: by their names
//! in `cached.rs`.

pub(super) const NAMES: &[&str] = &[
    "missing blocks are asked for without `If-Match`",
    "an answer for a block may be of any version",
    "a block of another version is served",
    "the end of a block is kept as a block",
    "a head is paired with the body of another answer",
    "a strong read does not ask whether the head is current",
    "a body that goes on behind its end is cut off",
    "a body that ends early is asked for again",
    "who waits for a body that hangs waits for ever",
    "a fill that failed is joined",
    "a read that begins anew asks for no new head",
    "a body that was replaced leaves the head as it is",
    "what went by shows nothing",
    "what a list shows is not heard",
    "a put through the cache is not fenced",
    "the completion of an upload is not fenced",
    "a copy is not fenced",
    "a rename fences its target alone",
    "what a stream deletes is not fenced",
];
