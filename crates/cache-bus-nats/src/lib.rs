//! NATS as the change bus of object-cache.
#![forbid(unsafe_code)]
