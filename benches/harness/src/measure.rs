//! Subjects, and one measurement of one of them.

use std::{
    fmt,
    panic::resume_unwind,
    sync::Barrier,
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use crate::{CpuTime, Stopwatch};

/// What a subject repeats.
pub struct Run {
    work: Box<dyn Fn(usize, u64) + Send + Sync>,
    figure: Box<dyn Fn() -> f64>,
}

/// One of those who are compared. What it needs is made when it is [set up](Subject::set_up).
pub struct Subject {
    name: String,
    make: Box<dyn Fn() -> Run>,
}

/// A subject that is set up.
pub struct Ready {
    name: String,
    run: Run,
}

/// One question: subjects that do the same work.
#[derive(Debug)]
pub struct Case {
    /// What is asked, within its group.
    pub name: String,
    /// The subject that the others are compared with.
    pub reference: &'static str,
    /// How many threads share the work.
    pub threads: usize,
    /// The operations of a round, all threads together.
    pub ops: u64,
    /// How often each subject has its turn.
    pub rounds: u32,
    /// Whose CPU time counts. `Process` for one thread that lets others work.
    pub cpu: CpuTime,
    /// Those who are compared.
    pub subjects: Vec<Subject>,
}

/// What a number of operations took.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// CPU time, all threads together.
    pub cpu: Duration,
    /// From the start of the first to the end of the last.
    pub wall: Duration,
}

impl Run {
    /// `work` does as many operations as it is told, as the thread with this number. Several threads may call it at
    /// once.
    pub fn new(work: impl Fn(usize, u64) + Send + Sync + 'static) -> Self {
        Self { work: Box::new(work), figure: Box::new(|| 0.0) }
    }

    /// Besides the time there is a figure to tell, of all work done so far.
    pub fn with_figure(self, figure: impl Fn() -> f64 + 'static) -> Self {
        Self { figure: Box::new(figure), ..self }
    }
}

impl Subject {
    /// A subject that `make` sets up.
    pub fn new(name: impl Into<String>, make: impl Fn() -> Run + 'static) -> Self {
        Self { name: name.into(), make: Box::new(make) }
    }

    /// Its name: `ours`, or that of a peer, and after a colon what is special about it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes all it needs, anew each time.
    pub fn set_up(&self) -> Ready {
        Ready { name: self.name.clone(), run: (self.make)() }
    }
}

impl Ready {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does `ops` operations on this thread.
    pub fn run(&self, ops: u64) {
        (self.run.work)(0, ops);
    }

    /// What else there is to tell; zero if there is nothing.
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
            let join =
                |worker: ScopedJoinHandle<'_, _>| worker.join().unwrap_or_else(|panic| resume_unwind(panic));
            workers.into_iter().map(join).collect()
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
