//! The faults of `CachedStore` that the simulation over it must find, without being told where to
//! look: by their names in `cached.rs`.

pub(super) const NAMES: &[&str] = &[
    "a block of another version is served",
    "a strong read does not ask whether the head is current",
    "a put through the cache is not fenced",
    "the completion of an upload is not fenced",
    "a copy is not fenced",
    "a rename fences its target alone",
];
