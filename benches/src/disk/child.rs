//! Programs of their own: for the memory of one tier alone, for what a new process finds, and for
//! what a killed one leaves. Each is this program with the argument `--child`.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Stdio},
};

use bytes::Bytes;

use super::{
    subjects::{Disk as _, Kind, Ours},
    system::resident_bytes,
};
use crate::{Stopwatch, workload::key};

/// The figures that a child prints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures<const N: usize>(pub(super) [f64; N]);

/// Runs what `args` name, as a child. `None` if they name nothing.
pub(super) fn main(args: &[&str]) -> Option<()> {
    match args {
        ["fill", path, n] => fill(Path::new(path), n.parse().ok()?),
        ["restart", kind, path, n] => restart(Kind::named(kind)?, Path::new(path), n.parse().ok()?),
        ["burst", kind, path, n] => {
            let tier = Kind::named(kind)?.open(Path::new(path), CAPACITY);
            let body = Bytes::from(vec![b'x'; BURST_BODY]);
            (0..n.parse().ok()?).for_each(|n| tier.insert(&key(n), &body));
            tier.settle();
            println!("written");
            // Until it is killed.
            let _ = std::io::stdin().read(&mut [0]);
        }
        _ => return None,
    }
    Some(())
}

/// Fills our tier with `n` entries of 100 bytes. Prints the resident bytes before and after, and
/// the bytes of files.
fn fill(path: &Path, n: u64) {
    let tier = Box::new(Ours::open(path, CAPACITY, 8 << 20));
    tier.settle();
    let before = resident_bytes();
    let body = Bytes::from_static(&[b'x'; 100]);
    (0..n).for_each(|n| tier.insert(&key(n), &body));
    tier.settle();
    let files = tier.stats().map_or(0, |stats| stats.bytes);
    println!("{} {} {files}", before, resident_bytes());
    tier.close();
}

/// Opens the tier and reads its `n` entries until one of them is there. Prints the milliseconds,
/// and resident bytes before and after.
fn restart(kind: Kind, path: &Path, n: u64) {
    let before = resident_bytes();
    let watch = Stopwatch::start();
    let tier = kind.open(path, CAPACITY);
    // From the middle on: a peer may have lost some.
    let mut next = (n / 2..n).chain(0..n / 2).cycle();
    while tier.read(&key(next.next().unwrap_or(0))).is_none() {
        std::thread::yield_now();
        assert!(watch.elapsed().as_secs() < 60, "{} finds its entries again", kind.name());
    }
    let time = watch.elapsed().as_secs_f64() * 1e3;
    println!("{time} {before} {}", resident_bytes());
}

/// Runs a child to its end, and returns the figures that it prints.
pub(super) fn figures<const N: usize>(args: &[&str]) -> Figures<N> {
    let output = command(args).stdout(Stdio::piped()).output().expect("a program can be started");
    assert!(output.status.success(), "{args:?}: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace().filter_map(|word| word.parse().ok());
    Figures(std::array::from_fn(|_| words.next().expect("each figure is printed")))
}

/// Stores `n` entries in a child, and kills it once they are written.
pub(super) fn killed(kind: Kind, path: &Path, n: u64) {
    let path = path.to_str().expect("the temporary folder has a name in UTF-8");
    let mut command = command(&["burst", kind.name(), path, &n.to_string()]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a program can be started");
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).expect("it prints a line");
    }
    child.kill().and_then(|()| child.wait()).expect("it can be killed");
    assert_eq!(line.trim(), "written", "{}", kind.name());
}

fn command(args: &[&str]) -> Command {
    let program = env::current_exe().expect("the program has a path");
    let mut command = Command::new(program);
    command.arg("--child").args(args);
    command
}

pub(super) const CAPACITY: u64 = 2 << 30;
pub(super) const BURST_BODY: usize = 64 << 10;
