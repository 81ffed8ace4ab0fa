//! The tier on disk beside foyer's hybrid cache, redb and one file an entry, in one run; and its
//! limits.
//!
//! All figures of one table are of one run, in rounds by turns, of which the fastest counts: the
//! machine may be shared. CPU time is that of the whole process, with the threads that write.
//! Caches drop what comes faster than they write, so that callers wait for the peers that do not
//! say so; how much they drop otherwise is a row of its own. No one syncs files, but redb at the
//! end of a round.

mod child;
mod subjects;
mod system;

use std::{fs::File, io::Write as _, process::ExitCode};

use bytes::Bytes;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use self::{
    child::{BURST_BODY, CAPACITY, Figures},
    subjects::{Disk, Kind, Ours},
    system::{cat, make_cold, written_bytes},
};
use crate::{
    Case, CpuTime, Row, Stopwatch, compare, publish,
    subjects::{hits::Hits, objects::Objects, stores::Store},
    workload::key,
};

/// Measures all of it and prints the tables; with `--quick` only little, to see that it works.
/// With `--child` it is a program that the benchmark runs.
pub fn run(args: &[String]) -> ExitCode {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["--child", args @ ..] = &args[..] {
        return child::main(args).map_or(ExitCode::from(2), |()| ExitCode::SUCCESS);
    }
    let plan = if args.contains(&"--quick") { Plan::quick() } else { Plan::whole() };
    let wants = |part: &str| {
        let mut parts = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
        parts.peek().is_none() || parts.any(|arg| *arg == part)
    };
    let mut report = Report::default();
    if wants("bodies") {
        plan.bodies(&mut report);
    }
    if wants("cat") {
        plan.throughput(&mut report);
    }
    if wants("memory") {
        plan.memory_and_restart(&mut report);
    }
    if wants("burst") {
        plan.bursts(&mut report);
    }
    if wants("hits") {
        plan.fresh_hits(&mut report);
    }
    publish("disk", &report.rows);
    println!("{}", report.limits());
    ExitCode::SUCCESS
}

/// How much is measured.
struct Plan {
    rounds: u32,
    /// Entries and the length of their bodies, with the limit and the aim of an insert's CPU time
    /// over the best peer's.
    sizes: [(&'static str, u64, usize, f64, f64); 3],
    /// Entries of 100 bytes.
    small: [u64; 2],
    /// Entries of a burst.
    burst: u64,
    /// Bytes read beside `cat`.
    stream: usize,
    hits: (u64, u32),
}

/// The figures.
#[derive(Default)]
struct Report {
    rows: Vec<Row>,
    limits: Vec<Limit>,
}

/// A figure with the most, or the least, that it may be, and what it should be.
struct Limit {
    name: String,
    value: f64,
    limit: f64,
    aim: f64,
    unit: &'static str,
}

/// The least CPU time, or wall time, of an operation.
#[derive(Debug, Clone, Copy)]
struct Best(f64);

impl Plan {
    fn whole() -> Self {
        Self {
            rounds: 5,
            sizes: [
                ("4 KiB", 8192, 4 << 10, 2.0, 1.0),
                ("64 KiB", 1024, 64 << 10, 1.0, 0.8),
                ("1 MiB", 96, 1 << 20, 0.8, 0.5),
            ],
            small: [100_000, 1_000_000],
            burst: (250 << 20) / BURST_BODY as u64,
            stream: 256 << 20,
            hits: (80_000, 60),
        }
    }

    fn quick() -> Self {
        let mut quick = Self { rounds: 1, stream: 16 << 20, hits: (1000, 2), ..Self::whole() };
        for (_, n, ..) in &mut quick.sizes {
            *n /= 16;
        }
        (quick.small, quick.burst) = ([1000, 10_000], 100);
        quick
    }

    /// Inserts and reads by the length of the body.
    fn bodies(&self, report: &mut Report) {
        for (size, n, len, limit, aim) in self.sizes {
            let bodies: Vec<Bytes> = (0..16).map(|n| Bytes::from(vec![n; len])).collect();
            let keys: Vec<String> = (0..n).map(key).collect();
            let mut best = [[Best::default(); 5]; Kind::ALL.len()];
            let mut bare = [Best::default(); 2];
            for round in 0..=self.rounds {
                // The first round only warms up; the page cache is made cold in the last one.
                let (counts, is_last) = (round > 0, round == self.rounds);
                // In another order each time: memory that one has freed is at hand for the next.
                for turn in 0..Kind::ALL.len() {
                    let kind = Kind::ALL[(turn + round as usize) % Kind::ALL.len()];
                    let seen = one_round(kind, &keys, &bodies, is_last);
                    for (best, seen) in best[kind as usize].iter_mut().zip(seen) {
                        if counts {
                            best.take(seen);
                        }
                    }
                }
                let seen = plain_reads(&keys, &bodies, is_last);
                bare.iter_mut().zip(seen).filter(|_| counts).for_each(|(best, it)| best.take(it));
            }
            let of = |kind: Kind, n: usize| best[kind as usize][n].0;
            let peers = [Kind::Foyer, Kind::Redb, Kind::Files];
            let best_peer = |n| peers.map(|kind| of(kind, n)).into_iter().fold(f64::MAX, f64::min);
            for (figure, name, unit) in
                [(0, "insert", "ns"), (1, "warm read", "ns"), (2, "cold read", "ns")]
            {
                let case = format!("{name}, {size}");
                for kind in Kind::ALL {
                    let mut row =
                        Row::new(&*case, kind.name(), "files", (of(kind, figure), unit), "".into());
                    if figure == 0 {
                        row.note = format!("{:.3} bytes written a body byte", of(kind, 3));
                    } else if figure == 2 {
                        row.wall = of(kind, 4);
                    }
                    report.rows.push(row);
                }
                if figure > 0 {
                    let cpu = (bare[figure - 1].0, unit);
                    report.rows.push(Row::new(&*case, "bare", "files", cpu, "".into()));
                }
            }
            let over = of(Kind::Ours, 0) / best_peer(0);
            report.limit(format!("insert, {size}, CPU over the best peer"), over, limit, aim, "x");
            let reads = of(Kind::Ours, 1) / bare[0].0;
            report.limit(
                format!("warm read, {size}, CPU over pread and xxh3"),
                reads,
                1.5,
                1.2,
                "x",
            );
            let reads = of(Kind::Ours, 2) / bare[1].0;
            report.limit(
                format!("cold read, {size}, CPU over pread and xxh3"),
                reads,
                1.5,
                1.2,
                "x",
            );
            let written = of(Kind::Ours, 3);
            report.limit(format!("bytes written a body byte, {size}"), written, 1.05, 1.02, "");
        }
    }

    /// Warm reads of large records beside `cat` of the same files.
    fn throughput(&self, report: &mut Report) {
        for (name, len) in [("1 MiB", 1 << 20), ("4 MiB", 4 << 20)] {
            let directory = directory();
            let tier = Ours::open(directory.path(), CAPACITY, 64 << 20);
            let body = Bytes::from(vec![b'x'; len]);
            let keys: Vec<String> = (0..self.stream as u64 / len as u64).map(key).collect();
            keys.iter().for_each(|key| tier.insert(key, &body));
            tier.settle();
            let (mut ours, mut by_cat) = (Best::default(), Best::default());
            for _ in 0..=self.rounds * 2 {
                let (time, bytes) = cat(directory.path()).expect("the segments can be read");
                by_cat.take(time.as_secs_f64() * 1e9 / bytes as f64);
                let watch = Stopwatch::start();
                read_all(&tier, &keys, len);
                ours.take(watch.elapsed().as_secs_f64() * 1e9 / (keys.len() * len) as f64);
            }
            let case = format!("warm stream, {name}");
            for (subject, best) in [("ours", ours), ("cat", by_cat)] {
                let note = format!("{:.2} GB/s", 1.0 / best.0);
                let per_mib = (best.0 * f64::from(1 << 20), "ns");
                report.rows.push(Row::new(&*case, subject, "cat", per_mib, note));
            }
            let over = ours.0 / by_cat.0;
            report.limit(format!("{case}, time over cat"), over, 1.25, 1.0, "x");
        }
    }

    /// The memory of small entries, and how long a new process takes to find them.
    fn memory_and_restart(&self, report: &mut Report) {
        for n in self.small {
            let directory = directory();
            let path = directory.path().to_str().expect("the folder has a name in UTF-8");
            let number = n.to_string();
            let Figures([before, after, files]) = child::figures(&["fill", path, &number]);
            let resident = (after - before) / n as f64;
            let note = format!("{:.0} bytes of files an entry", files / n as f64);
            let case = format!("{n} entries of 100 bytes");
            report.rows.push(Row::new(&*case, "ours", "ours", (resident, "bytes"), note));
            let mut restart = Best::default();
            for _ in 0..self.rounds.min(3) {
                let Figures([time, before, after]) =
                    child::figures(&["restart", "ours", path, &number]);
                restart.take(time);
                let note = format!("resident: {:.0} bytes an entry", (after - before) / n as f64);
                if restart.0 == time {
                    report.rows.retain(|row| row.case != restart_case(n));
                    let time = (time * 1e3, "us");
                    report.rows.push(Row::new(restart_case(n), "ours", "ours", time, note));
                }
            }
            if n == self.small[1] {
                report.limit(format!("resident bytes an entry, {n}"), resident, 150.0, 100.0, "B");
                let name = format!("restart with {n} until the first hit");
                report.limit(name, restart.0 / 1e3, 2.0, 0.5, "s");
            }
        }
        let n = self.small[0];
        for kind in [Kind::Foyer, Kind::Redb, Kind::Files] {
            let directory = directory();
            let tier = kind.open(directory.path(), CAPACITY);
            let body = Bytes::from_static(&[b'x'; 100]);
            (0..n).for_each(|n| tier.insert(&key(n), &body));
            tier.settle();
            tier.close();
            let path = directory.path().to_str().expect("the folder has a name in UTF-8");
            let args = ["restart", kind.name(), path, &n.to_string()];
            let Figures([time, before, after]) = child::figures(&args);
            let note = format!("resident: {:.0} bytes an entry", (after - before) / n as f64);
            report.rows.push(Row::new(
                restart_case(n),
                kind.name(),
                "ours",
                (time * 1e3, "us"),
                note,
            ));
        }
    }

    /// Hits after a burst without back-pressure, and after a process was killed.
    fn bursts(&self, report: &mut Report) {
        let n = self.burst;
        let body = Bytes::from(vec![b'x'; BURST_BODY]);
        let found = |tier: &dyn Disk| (0..n).filter(|n| tier.read(&key(*n)).is_some()).count();
        let percent = |found: usize, of: u64| (found as f64 * 100.0 / of as f64, "%");
        // A queue that has room for the whole burst, and the default one.
        let subjects = Kind::ALL.map(|kind| (kind, kind.name(), None));
        let queues = [("ours:512 MiB", 512 << 20), ("ours:64 MiB", 64 << 20)];
        let ours = queues.map(|(name, bytes)| (Kind::Ours, name, Some(bytes)));
        for (kind, name, queue_bytes) in ours.into_iter().chain(subjects.into_iter().skip(1)) {
            let directory = directory();
            let tier: Box<dyn Disk> = match queue_bytes {
                Some(bytes) => Box::new(Ours::open(directory.path(), CAPACITY, bytes)),
                None => kind.open(directory.path(), CAPACITY),
            };
            tier.settle();
            (0..n).for_each(|n| tier.burst(&key(n), &body));
            tier.settle();
            let kept = found(&*tier);
            let refused = tier.stats().map(|stats| stats.dropped.queue_full);
            let note = refused.map(|n| format!("{n} times refused for want of room in the queue"));
            if refused == Some(0) {
                let name = format!("kept of an admitted burst, {name}");
                report.limit(name, -percent(kept, n).0, -100.0, -100.0, "%");
            }
            let row = (percent(kept, n), note.unwrap_or_default());
            report.rows.push(Row::new("kept of a burst", name, "ours:512 MiB", row.0, row.1));
        }
        for kind in Kind::ALL {
            let directory = directory();
            child::killed(kind, directory.path(), n);
            let tier = kind.open(directory.path(), CAPACITY);
            tier.settle();
            let kept = percent(found(&*tier), n);
            if kind == Kind::Ours {
                let name = "kept after kill -9 of what was written";
                report.limit(name.into(), -kept.0, -100.0, -100.0, "%");
            }
            report.rows.push(Row::new("kept after kill -9", kind.name(), "ours", kept, "".into()));
        }
    }

    /// Fresh hits in memory, with a tier below it and without.
    fn fresh_hits(&self, report: &mut Report) {
        let objects = Objects::new(&Hits::new(1000), Store::in_memory());
        let subjects = vec![objects.fresh(), objects.fresh_over_disk()];
        let case = Case::new("fresh hit in memory", "ours", self.hits, subjects);
        let (rows, _) = compare(&case);
        let over = rows[1].value / rows[0].value;
        report.limit("fresh hit, with the tier over without".into(), over, 1.02, 1.0, "x");
        report.rows.extend(rows);
    }
}

/// CPU time of an insert, of a warm read and of a cold one, all in nanoseconds; bytes written a
/// body byte; wall time of a cold read.
fn one_round(kind: Kind, keys: &[String], bodies: &[Bytes], is_last: bool) -> [f64; 5] {
    let directory = directory();
    let tier = kind.open(directory.path(), CAPACITY);
    tier.settle();
    let n = keys.len() as f64;
    let (cpu, written) = (CpuTime::Process.now(), written_bytes());
    for (key, body) in keys.iter().zip(bodies.iter().cycle()) {
        tier.insert(key, body);
    }
    tier.settle();
    let insert = cpu_since(cpu) / n;
    let written = (written_bytes() - written) as f64 / (n * bodies[0].len() as f64);
    let cpu = CpuTime::Process.now();
    read_all(&*tier, keys, bodies[0].len());
    let warm = cpu_since(cpu) / n;
    let (mut cold, mut wall) = (f64::MAX, f64::MAX);
    if is_last {
        make_cold(directory.path()).expect("the directory can be read");
        let cold_keys = &keys[..keys.len().min(COLD_MAX)];
        let (watch, cpu) = (Stopwatch::start(), CpuTime::Process.now());
        read_all(&*tier, cold_keys, bodies[0].len());
        let n = cold_keys.len() as f64;
        cold = cpu_since(cpu) / n;
        wall = watch.elapsed().as_secs_f64() * 1e9 / n;
    }
    [insert, warm, cold, written, wall]
}

/// CPU time of a positioned read into a new buffer with its checksum: warm, and cold.
fn plain_reads(keys: &[String], bodies: &[Bytes], is_last: bool) -> [f64; 2] {
    let (directory, len) = (directory(), bodies[0].len());
    let path = directory.path().join("bodies");
    let mut file = File::create_new(&path).expect("the temporary folder is writable");
    for (_, body) in keys.iter().zip(bodies.iter().cycle()) {
        file.write_all(body).expect("the disk is writable");
    }
    let file = File::open(&path).expect("it was made");
    let read = |n: usize| {
        let cpu = CpuTime::Process.now();
        for at in 0..n {
            let mut bytes = Vec::with_capacity(len);
            let rest = rustix::buffer::spare_capacity(&mut bytes);
            let n = rustix::io::pread(&file, rest, (at * len) as u64);
            assert_eq!(n, Ok(len), "the file is whole");
            std::hint::black_box((xxh3_64(&bytes), Bytes::from(bytes)));
        }
        cpu_since(cpu) / n as f64
    };
    let warm = read(keys.len());
    if !is_last {
        return [warm, f64::MAX];
    }
    make_cold(directory.path()).expect("the directory can be read");
    [warm, read(keys.len().min(COLD_MAX))]
}

fn read_all(tier: &dyn Disk, keys: &[String], len: usize) {
    let n_found = keys.iter().filter(|key| tier.read(key) == Some(len)).count();
    assert!(n_found * 100 >= keys.len() * 99, "{n_found} of {} are found", keys.len());
}

fn restart_case(n: u64) -> String {
    format!("restart with {n} entries until the first hit")
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("the temporary folder is writable")
}

fn cpu_since(before: std::time::Duration) -> f64 {
    CpuTime::Process.now().saturating_sub(before).as_nanos() as f64
}

impl Default for Best {
    fn default() -> Self {
        Self(f64::MAX)
    }
}

impl Best {
    fn take(&mut self, seen: f64) {
        self.0 = self.0.min(seen);
    }
}

impl Report {
    /// Adds a figure with the most that it may be; of a negative one the least.
    fn limit(&mut self, name: String, value: f64, limit: f64, aim: f64, unit: &'static str) {
        self.limits.push(Limit { name, value, limit, aim, unit });
    }

    fn limits(&self) -> String {
        let mut text = format!("{:<52}{:>10}{:>10}{:>8}\n", "", "measured", "limit", "aim");
        for Limit { name, value, limit, aim, unit } in &self.limits {
            let verdict = match () {
                () if value <= aim => "reaches the aim",
                () if value <= limit => "within the limit",
                () => "MISSES THE LIMIT",
            };
            let [value, limit, aim] = [value, limit, aim].map(|figure| figure.abs());
            text +=
                &format!("{name:<52}{value:>10.3}{limit:>10.2}{aim:>8.2} {unit:<2} {verdict}\n");
        }
        text
    }
}

/// The most reads of a cold page cache: each waits for the disk.
const COLD_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tier_finds_what_it_stored_and_is_measured() {
        let bodies = [Bytes::from(vec![1; 5000])];
        let keys: Vec<String> = (0..20).map(key).collect();
        for kind in Kind::ALL {
            let [insert, warm, cold, written, wall] = one_round(kind, &keys, &bodies, true);
            for time in [insert, warm, cold, wall] {
                assert!(time > 0.0 && time < 1e9, "{kind:?}");
            }
            assert!((0.9..20.0).contains(&written), "{kind:?}: {written}");
        }
    }

    #[test]
    fn limits_say_which_are_missed() {
        let mut report = Report::default();
        report.limit("a".into(), 1.0, 2.0, 1.0, "x");
        report.limit("b".into(), 1.5, 2.0, 1.0, "x");
        report.limit("c".into(), 2.5, 2.0, 1.0, "x");
        report.limit("d".into(), -99.0, -100.0, -100.0, "%");
        let text = report.limits();
        let verdicts: Vec<_> = text.lines().skip(1).map(|line| &line[84..]).collect();
        assert_eq!(
            verdicts,
            ["reaches the aim", "within the limit", "MISSES THE LIMIT", "MISSES THE LIMIT"]
        );
    }
}
