//! What does a miss cost above the GET that it makes? Peers read through where they can: `get_or_insert_async`,
//! `get_with`, `get_or_fetch`.

use bench_harness::Case;

use super::{Cases, Group};
use crate::subjects::{misses::Misses, stores::Store};

pub const GROUP: Group = Group { name: "misses", cases, note: |_| String::new() };

fn cases() -> Cases {
    let sizes = [("1 KiB", 1 << 10, 1_000, 2_000), ("1 MiB", 1 << 20, 32, 64)];
    let cases = sizes.into_iter().flat_map(|(size, body_bytes, n_keys, ops)| {
        Store::all().map(|store| Case {
            name: format!("{size}, {}", store.name),
            reference: "bare",
            threads: 1,
            ops,
            rounds: 20,
            cpu: store.cpu,
            subjects: Misses::new(n_keys, body_bytes, store).subjects(),
        })
    });
    Box::new(cases.into_iter())
}
