//! The disk tier on real files: kills, damage, full and strange directories.
#![cfg(unix)]

mod child;
mod damage;
mod directories;
mod entries;
mod kills;
mod support;
