//! What does a reader cost who is one of a thousand that come at once? CPU time of a burst, with its tasks; the
//! origin answers when all wait, so that its time is not in it.

use std::sync::Arc;

use bench_harness::{Case, CpuTime};
use tokio::runtime::Builder;

use super::{Cases, Group};
use crate::subjects::{bursts, objects};

pub const GROUP: Group = Group { name: "burst", cases, note: |requests| format!("{requests:.2} requests") };

fn cases() -> Cases {
    let several = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let several = several.expect("a runtime can be had");
    let cases = [("1 thread", objects::runtime(), CpuTime::Thread), ("2 threads", several, CpuTime::Process)];
    let cases = cases.map(|(threads, runtime, cpu)| Case {
        name: format!("{} readers, {threads}", bursts::READERS),
        reference: "quick_cache",
        // Those of the runtime; this one only waits.
        threads: 1,
        ops: 4,
        rounds: 60,
        cpu,
        subjects: bursts::subjects(&Arc::new(runtime)),
    });
    Box::new(cases.into_iter())
}
