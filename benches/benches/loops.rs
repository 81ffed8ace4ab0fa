//! The hot loops, one subject at a time and nothing else, for a profiler: `loops LOOP SUBJECT OPERATIONS`. Without
//! arguments, the loops and subjects there are, a pair a line. `cargo xtask instructions` counts what they execute.

#[path = "../subjects/mod.rs"]
mod subjects;

use std::{env, process::ExitCode};

use bench_harness::Subject;

use crate::subjects::{hits::Hits, inserts::Inserts, objects::Objects, stores::Store, tables};

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            for Loop { name, subjects, .. } in LOOPS {
                subjects().iter().for_each(|subject| println!("{name} {}", subject.name()));
            }
            ExitCode::SUCCESS
        }
        [name, subject, ops] => match ops.parse().ok().and_then(|ops| run(name, subject, ops)) {
            Some(()) => ExitCode::SUCCESS,
            None => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("loops [LOOP SUBJECT OPERATIONS]");
    ExitCode::from(2)
}

fn run(name: &str, subject: &str, ops: u64) -> Option<()> {
    let Loop { subjects, n_tables, .. } = LOOPS.iter().find(|other| other.name == name)?;
    let subject = subjects().into_iter().find(|other| other.name() == subject)?;
    (0..*n_tables).for_each(|_| subject.set_up().run(ops / n_tables));
    Some(())
}

struct Loop {
    name: &'static str,
    /// Not set up yet.
    subjects: fn() -> Vec<Subject>,
    /// So many times a subject is set up, and each does its share. Tables are hashed with random keys, and no two are
    /// alike.
    n_tables: u64,
}

const LOOPS: [Loop; 4] = [
    Loop { name: "backend_hit", subjects: backend_hit, n_tables: 16 },
    Loop { name: "facade_fresh_hit", subjects: facade_fresh_hit, n_tables: 16 },
    Loop { name: "insert_evict", subjects: insert_evict, n_tables: 8 },
    Loop { name: "validated_hit", subjects: validated_hit, n_tables: 1 },
];

fn backend_hit() -> Vec<Subject> {
    let work = Hits::to_count(N_KEYS);
    let mut subjects = tables::all(&work);
    subjects.extend(tables::ours_under_each_policy(&work));
    subjects.extend([tables::locked_map(&work), work.floor()]);
    subjects
}

/// The others need not know whether what they hold is fresh: their bare look-up is what ours is compared with.
fn facade_fresh_hit() -> Vec<Subject> {
    let work = Hits::to_count(N_KEYS);
    let mut subjects = vec![objects().fresh()];
    subjects.extend(tables::peers(&work));
    subjects.extend([tables::locked_map(&work), work.floor()]);
    subjects
}

fn insert_evict() -> Vec<Subject> {
    let work = Inserts::new(N_KEYS as u64);
    let mut subjects = tables::all(&work);
    subjects.extend(tables::ours_under_each_policy(&work));
    subjects
}

fn validated_hit() -> Vec<Subject> {
    let objects = objects();
    vec![objects.validated(), objects.conditional_get()]
}

fn objects() -> Objects {
    Objects::to_count(N_KEYS, Store::in_memory())
}

const N_KEYS: usize = 1000;
