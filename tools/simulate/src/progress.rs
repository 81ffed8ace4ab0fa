//! How far a simulation is: a bar on a terminal, a line a trace elsewhere.

use std::{
    io::{IsTerminal as _, stderr},
    sync::atomic::{AtomicU64, Ordering},
};

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    /// Requests yet to be replayed, by trace.
    left: Vec<(String, AtomicU64)>,
    n_done: AtomicU64,
}

impl Progress {
    /// Of traces with names, and requests to be replayed.
    pub(crate) fn new(traces: impl Iterator<Item = (String, u64)>) -> Self {
        let left: Vec<_> = traces.map(|(name, n)| (name, AtomicU64::new(n))).collect();
        let is_terminal = stderr().is_terminal();
        let total = left.iter().map(|(_, n)| n.load(Ordering::Relaxed)).sum();
        let bar = if is_terminal { ProgressBar::new(total) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:40} {percent:>3} % {eta:>5} left  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, is_terminal, left, n_done: AtomicU64::new(0) }
    }

    /// `n_requests` of trace number `trace` were replayed through `policy`.
    pub(crate) fn done(&self, trace: usize, n_requests: u64, policy: &str) {
        let (name, left) = &self.left[trace];
        self.bar.inc(n_requests);
        self.bar.set_message(format!("{name} {policy}"));
        if left.fetch_sub(n_requests, Ordering::Relaxed) == n_requests {
            let n_done = self.n_done.fetch_add(1, Ordering::Relaxed) + 1;
            if !self.is_terminal {
                eprintln!("{name}: done, {n_done} of {}", self.left.len());
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
