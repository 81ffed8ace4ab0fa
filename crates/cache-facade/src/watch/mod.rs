//! Streams of changes.

mod object;
mod prefix;
mod rounds;

pub use self::{
    object::Watch,
    prefix::{PrefixChange, PrefixWatch},
};
