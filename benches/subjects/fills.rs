//! Tables that are filled, for those who count what that takes.

use bench_harness::{Run, Workload};
use bytes::Bytes;
use cache_core::Key;

use super::tables::{Table, Work};

/// Fills a table with as many entries as there are keys.
#[derive(Clone)]
pub struct Fill {
    /// The keys.
    pub workload: Workload,
    /// The length of each body.
    pub body_bytes: usize,
}

impl Work for Fill {
    /// With a little more room, so that no uneven shard makes an entry leave.
    fn capacity(&self) -> u64 {
        let n = self.workload.keys().len() as u64;
        n + n / 8
    }

    /// An operation is a look-up of each key. The figure is what the table accounts for.
    fn start<T: Table>(self, table: T) -> Run {
        for key in self.workload.keys() {
            let key = Key::parse(key).expect("keys are canonical");
            table.insert(&key, Bytes::from(vec![b'x'; self.body_bytes]));
        }
        table.settle();
        let accounted = table.accounted_bytes();
        let run = move |_, ops| {
            for _ in 0..ops {
                self.workload.keys().iter().for_each(|key| _ = table.get(key));
            }
        };
        Run::new(run).with_figure(move || accounted)
    }
}
