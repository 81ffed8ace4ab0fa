//! Subjects, and one measurement of a subject.

use std::{fmt, panic::resume_unwind, sync::Barrier, thread, time::Duration};

use crate::{CpuTime, Stopwatch};

/// Subjects that do the same work.
#[derive(Debug)]
pub struct Case {
    /// The name, unique within its group.
    pub name: String,
    /// The subject that the others are compared with.
    pub reference: &'static str,
    /// How many threads share the work. Default: 1.
    pub threads: usize,
    /// The operations of a round, over all threads.
    pub ops: u64,
    /// How many rounds are measured, after one that warms up.
    pub rounds: u32,
    /// Whose CPU time counts. Default: [`CpuTime::Thread`].
    pub cpu: CpuTime,
    /// The subjects, in the order in which they run.
    pub subjects: Vec<Subject>,
}

/// A named way to do the work, with all that it needs still to be made.
pub struct Subject {
    name: String,
    make: Box<dyn Fn() -> Run>,
}

/// A subject that is set up.
pub struct Ready {
    name: String,
    run: Run,
}

/// The work that a subject repeats.
pub struct Run {
    work: Box<dyn Fn(usize, u64) + Send + Sync>,
    figure: Box<dyn Fn() -> f64>,
}

/// The time that a number of operations took.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// CPU time, over all threads.
    pub cpu: Duration,
    /// Wall time, from the start of the first thread to the end of the last.
    pub wall: Duration,
}

impl Case {
    pub(crate) fn new(
        name: impl Into<String>,
        reference: &'static str,
        (ops, rounds): (u64, u32),
        subjects: Vec<Subject>,
    ) -> Self {
        let name = name.into();
        Self { name, reference, threads: 1, ops, rounds, cpu: CpuTime::Thread, subjects }
    }

    pub(crate) fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    pub(crate) fn cpu(self, cpu: CpuTime) -> Self {
        Self { cpu, ..self }
    }
}

impl Subject {
    /// A subject that `make` sets up.
    pub fn new(name: impl Into<String>, make: impl Fn() -> Run + 'static) -> Self {
        Self { name: name.into(), make: Box::new(make) }
    }

    /// Its name: `ours` or that of a peer, and after a colon its variant.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes all that the subject needs, anew at each call.
    pub fn set_up(&self) -> Ready {
        Ready { name: self.name.clone(), run: (self.make)() }
    }
}

impl Run {
    /// `work(thread, ops)` does `ops` operations as the thread with that number. Several threads
    /// may call it at once.
    pub fn new(work: impl Fn(usize, u64) + Send + Sync + 'static) -> Self {
        Self { work: Box::new(work), figure: Box::new(|| 0.0) }
    }

    /// Adds a figure other than time, over all work done so far.
    #[must_use]
    pub fn with_figure(self, figure: impl Fn() -> f64 + 'static) -> Self {
        Self { figure: Box::new(figure), ..self }
    }
}

impl Ready {
    /// The subject's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does `ops` operations on this thread.
    pub fn run(&self, ops: u64) {
        (self.run.work)(0, ops);
    }

    /// The subject's figure; zero if it has none.
    pub fn figure(&self) -> f64 {
        (self.run.figure)()
    }

    /// Does `ops` operations, shared evenly among `threads`.
    pub fn measure(&self, threads: usize, ops: u64, cpu: CpuTime) -> Sample {
        if threads <= 1 {
            return sample(cpu, || self.run(ops));
        }
        let share = (ops / threads as u64).max(1);
        let (barrier, stopwatch) = (&Barrier::new(threads), Stopwatch::start());
        let work = &self.run.work;
        let work = |thread| {
            move || {
                barrier.wait();
                let start = stopwatch.elapsed();
                let cpu = sample(CpuTime::Thread, || work(thread, share)).cpu;
                (cpu, start, stopwatch.elapsed())
            }
        };
        let parts: Vec<(Duration, Duration, Duration)> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
            let joined = workers.into_iter().map(thread::ScopedJoinHandle::join);
            joined.map(|part| part.unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let first = parts.iter().map(|(_, start, _)| *start).min().unwrap_or_default();
        let last = parts.iter().map(|(_, _, end)| *end).max().unwrap_or_default();
        Sample { cpu: parts.iter().map(|(cpu, ..)| cpu).sum(), wall: last.saturating_sub(first) }
    }
}

fn sample(cpu: CpuTime, work: impl FnOnce()) -> Sample {
    let (stopwatch, before) = (Stopwatch::start(), cpu.now());
    work();
    Sample { cpu: cpu.now().saturating_sub(before), wall: stopwatch.elapsed() }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    #[test]
    fn the_work_is_shared_among_the_threads() {
        let done: Arc<[AtomicU64; 4]> = Arc::default();
        let counts = Arc::clone(&done);
        let subject = Subject::new("counter", move || {
            let counts = Arc::clone(&counts);
            Run::new(move |thread, ops| {
                counts[thread].fetch_add(ops, Ordering::Relaxed);
            })
        });
        let ready = subject.set_up();
        ready.measure(4, 100, CpuTime::Thread);
        assert_eq!(done.each_ref().map(|n| n.load(Ordering::Relaxed)), [25; 4]);
        ready.measure(1, 10, CpuTime::Process);
        assert_eq!(done[0].load(Ordering::Relaxed), 35);
    }

    #[test]
    fn a_subject_is_made_when_it_is_set_up() {
        let made = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&made);
        let subject = Subject::new("lazy", move || {
            count.fetch_add(1, Ordering::Relaxed);
            Run::new(|_, _| ())
        });
        assert_eq!(made.load(Ordering::Relaxed), 0);
        subject.set_up();
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }
}
