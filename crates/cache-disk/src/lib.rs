#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod counters;
mod engine;
pub mod files;
mod format;
mod hash;
mod health;
mod index;
pub mod inspect;
mod load;
mod read;
mod reads;
mod segments;
mod settings;
mod sync;
mod writer;

pub use self::{
    backend::TieredBackend,
    settings::{DiskAdmission, DiskTier},
    writer::{Step, Writer},
};
