//! What does a range cost that is read through the drop-in store? Warm, against a slice of the whole object that moka and
//! foyer hold, which know nothing of versions; and cold, against the bare store.

use bench_harness::{Case, CpuTime};

use super::{Cases, Group};
use crate::subjects::ranges::{Object, WARM};

pub const GROUP: Group =
    Group { name: "ranges", cases, note: |requests| format!("{requests:.2} requests a read") };

fn cases() -> Cases {
    let warm = WARM.iter().map(|(name, object, ops)| Case {
        name: format!("warm, {name}"),
        reference: "moka",
        threads: 1,
        ops: *ops,
        rounds: 30,
        cpu: CpuTime::Thread,
        subjects: object.warm(),
    });
    let cold = [("4 KiB", 4 << 10, 1_000), ("8 MiB", 8 << 20, 2), ("64 MiB", 64 << 20, 1)];
    let cold = cold.into_iter().map(|(name, len, ops)| Case {
        name: format!("cold stream of {name}"),
        reference: "bare",
        threads: 1,
        ops,
        rounds: 20,
        cpu: CpuTime::Thread,
        subjects: Object::whole(len).cold(),
    });
    Box::new(warm.chain(cold))
}
