//! Data structures that the policies share. They know slots and weights, but no entries.

pub(crate) mod by_slot;
pub(crate) mod ghosts;
pub(crate) mod hits;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod lowest;
pub(crate) mod radix;
pub(crate) mod sketch;
