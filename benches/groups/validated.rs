//! What does the cache add to the request that confirms its copy? The bare request has its path made of the key and its
//! tag at hand. No peer validates.

use bench_harness::Case;

use super::{Cases, Group};
use crate::subjects::{objects::Objects, stores::Store};

pub const GROUP: Group = Group { name: "validated", cases, note: |_| String::new() };

fn cases() -> Cases {
    let cases = Store::all().into_iter().map(|store| {
        let ops = if store.name == "memory" { 20_000 } else { 1_000 };
        let (name, cpu) = (store.name.to_owned(), store.cpu);
        let objects = Objects::new(1_000, store);
        let subjects = vec![objects.validated(), objects.conditional_get()];
        Case { name, reference: "bare", threads: 1, ops, rounds: 30, cpu, subjects }
    });
    Box::new(cases.into_iter())
}
