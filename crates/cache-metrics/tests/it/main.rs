//! The vocabulary, and the mapping to it.

mod registry;
mod vocabulary;
