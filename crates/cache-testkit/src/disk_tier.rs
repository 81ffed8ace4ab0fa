//! The disk tier as a node of a simulation has it.

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use cache_core::{Backend, Namespace, TierContext};
use cache_disk::{DiskAdmission, DiskTier, Step, Writer};

use crate::{DiskFaults, FaultyDisk, TokioClock, random::Random};

thread_local! {
    /// The disks of the nodes of the schedule that this thread plays.
    static DISKS: RefCell<HashMap<usize, FaultyDisk>> = RefCell::default();
}

/// Makes the backend of a node for a [simulation](crate::simulation::Backends): a disk tier under
/// `memory`. The writer, and reads from disk, are tasks that take virtual time.
///
/// A node's disk is kept when the node is restarted: its old process is killed, if it was not
/// closed. In one of four schedules restarts are power losses, in one of four some calls of the
/// files fail.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn simulated_disk_tier(
    memory: impl Backend,
    namespace: Namespace,
    seed: u64,
    node: usize,
    latency_max: Duration,
) -> Arc<dyn Backend> {
    // The upper half of the seed counts the caches of a schedule, first one for each node.
    let is_first = seed >> 32 ^ node as u64 == 0;
    let random = Random::stream(seed, 0xd15c ^ node as u64);
    let disk = DISKS.with_borrow_mut(|disks| {
        if is_first {
            disks.insert(node, FaultyDisk::new(seed));
        }
        disks.entry(node).or_insert_with(|| FaultyDisk::new(seed)).clone()
    });
    disk.set_faults(DiskFaults::default());
    if seed % 4 == 1 {
        disk.write_back();
        disk.lose_power();
    } else {
        disk.kill();
    }
    let admission =
        if seed.is_multiple_of(3) { DiskAdmission::OnReuse } else { DiskAdmission::Always };
    let tier = DiskTier::new("unused")
        .max_capacity(256 << 10)
        .segment_bytes(64 << 10)
        .write_budget(None)
        .admission(admission);
    let context = TierContext::new(namespace, Arc::new(TokioClock::new()));
    let opened = tier.open_with(memory, context, disk.mount());
    let (backend, writer) = opened.expect("the settings are right");
    if seed % 4 == 2 {
        disk.set_faults(DiskFaults::all(8));
    }
    tokio::spawn(run(disk, writer, random, latency_max));
    Arc::new(backend)
}

/// Runs the writer, and the reads, until the tier is closed.
async fn run(disk: FaultyDisk, mut writer: Writer, random: Random, latency_max: Duration) {
    let process = disk.process();
    let nanos_max = u64::try_from(latency_max.as_nanos()).unwrap_or(u64::MAX).max(1);
    loop {
        // Each on its own: reads do not wait for the writer.
        while random.happens(128) && disk.run_job() {}
        let pause = match writer.step() {
            Step::Done => return,
            Step::Progress => Duration::from_nanos(random.below(nanos_max)),
            _ if disk.process() == process => latency_max / 4,
            // The process was killed: only its end is left to be waited for.
            _ => 20 * latency_max,
        };
        tokio::time::sleep(pause.max(Duration::from_micros(1))).await;
    }
}
