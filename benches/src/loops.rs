//! The hot loops whose instructions are counted.

use crate::{
    Subject,
    subjects::{hits::Hits, inserts::Inserts, objects::Objects, stores::Store, tables},
};

/// A loop, and the subjects that can run it.
#[derive(Debug)]
pub struct Loop {
    /// The name.
    pub name: &'static str,
    subjects: fn() -> Vec<Subject>,
    /// How many times a subject is set up; each does its share of the operations. Tables have
    /// random hash keys, so that no two are alike.
    n_tables: u64,
}

/// Every loop.
pub const LOOPS: [Loop; 5] = [
    Loop { name: "backend_hit", subjects: backend_hit, n_tables: 16 },
    Loop { name: "facade_fresh_hit", subjects: facade_fresh_hit, n_tables: 16 },
    Loop { name: "get_prefix", subjects: get_prefix, n_tables: 1 },
    Loop { name: "insert_evict", subjects: insert_evict, n_tables: 8 },
    Loop { name: "validated_hit", subjects: validated_hit, n_tables: 1 },
];

impl Loop {
    /// The names of the subjects.
    pub fn subjects(&self) -> Vec<String> {
        (self.subjects)().iter().map(|subject| subject.name().to_owned()).collect()
    }

    /// Does `ops` operations as `subject`. Returns `None` if there is no such subject.
    pub fn run(&self, subject: &str, ops: u64) -> Option<()> {
        let subject = (self.subjects)().into_iter().find(|other| other.name() == subject)?;
        (0..self.n_tables).for_each(|_| subject.set_up().run(ops / self.n_tables));
        Some(())
    }
}

fn backend_hit() -> Vec<Subject> {
    let work = Hits::to_count(N_KEYS);
    let mut subjects = tables::all_policies(&work);
    subjects.extend([tables::locked_map(&work), work.floor()]);
    subjects
}

/// The peers do not track freshness: ours is compared with their plain look-up.
fn facade_fresh_hit() -> Vec<Subject> {
    let work = Hits::to_count(N_KEYS);
    let mut subjects = vec![objects().fresh(), objects().fresh_over_disk()];
    subjects.extend(tables::peers(&work));
    subjects.extend([tables::locked_map(&work), work.floor()]);
    subjects
}

fn insert_evict() -> Vec<Subject> {
    tables::all_policies(&Inserts::new(N_KEYS as u64))
}

fn validated_hit() -> Vec<Subject> {
    let objects = objects();
    vec![objects.validated(), objects.conditional_get()]
}

/// An operation is one unchanged object of a read of all of them.
fn get_prefix() -> Vec<Subject> {
    let objects = objects();
    vec![objects.prefix("ours", true), objects.prefix("gets", false)]
}

fn objects() -> Objects {
    Objects::new(&Hits::to_count(N_KEYS), Store::in_memory())
}

const N_KEYS: usize = 1000;
