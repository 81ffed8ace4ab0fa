//! Races that a cache in front of a slow origin can lose: each is held at a gate, none waits for a clock.

pub(crate) mod caches;
pub(crate) mod origin;

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use tokio::task::JoinHandle;

use self::{
    caches::Cache,
    origin::{Origin, V1, V2},
};

/// A race, and what counts as keeping out of trouble in it.
pub(crate) struct Race {
    /// What happens.
    pub(crate) name: &'static str,
    /// What came of it for a cache.
    pub(crate) run: fn(caches::Make) -> Run,
}

/// A race as it is run.
pub(crate) type Run = Pin<Box<dyn Future<Output = Outcome>>>;

/// What came of a race.
pub(crate) struct Outcome {
    /// For people.
    pub(crate) said: String,
    /// Whether a reader of the table would want it so.
    pub(crate) is_good: bool,
}

/// All of them.
pub(crate) const RACES: [Race; 5] = [
    Race {
        name: "a write and an invalidation while an older read is under way; who comes then reads",
        run: |make| Box::pin(invalidated_while_loading(make)),
    },
    Race { name: "the first of 21 readers is dropped", run: |make| Box::pin(leader_dropped(make)) },
    Race { name: "the origin panics at the first of 21 readers", run: |make| Box::pin(leader_panics(make)) },
    Race { name: "the origin fails, 50 readers", run: |make| Box::pin(origin_fails(make)) },
    Race {
        name: "an object changes, and changes back (tags made of the content); then a read",
        run: |make| Box::pin(changed_back(make)),
    },
];

async fn invalidated_while_loading(make: caches::Make) -> Outcome {
    let (origin, cache) = set_up(make, Copies::LastForEver);
    let early = read(&cache);
    settle().await;
    origin.write(V2);
    let invalidation = tokio::spawn({
        let cache = Arc::clone(&cache);
        async move { cache.invalidate().await }
    });
    settle().await;
    let is_prompt = invalidation.is_finished();
    let late = read(&cache);
    settle().await;
    origin.release_all();
    invalidation.await.expect("it does not panic");
    early.await.expect("it does not panic").expect("the origin answers");
    let late = late.await.expect("it does not panic").expect("the origin answers");
    let held = read(&cache).await.expect("it does not panic").expect("the origin answers");
    let name = |body| if body == V2 { "the new" } else { "**the old**" };
    let said = match (is_prompt, late == held) {
        (true, true) => format!("{}, and so on", name(late)),
        (true, false) => format!("{}, later {}", name(late), name(held)),
        (false, _) => format!("{}; the invalidation waits for the read", name(late)),
    };
    Outcome { said, is_good: late == V2 && held == V2 }
}

async fn leader_dropped(make: caches::Make) -> Outcome {
    let (origin, cache) = set_up(make, Copies::LastForEver);
    let leader = read(&cache);
    settle().await;
    let waiters: Vec<_> = (0..20).map(|_| read(&cache)).collect();
    settle().await;
    leader.abort();
    settle().await;
    origin.release_all();
    let waiters = ended(waiters).await;
    Outcome {
        said: format!("{waiters}, {}", counted(origin.n_asked(), "request")),
        is_good: waiters.n_answered == 20,
    }
}

async fn leader_panics(make: caches::Make) -> Outcome {
    let (origin, cache) = set_up(make, Copies::LastForEver);
    origin.panic_once();
    let leader = read(&cache);
    settle().await;
    let waiters: Vec<_> = (0..20).map(|_| read(&cache)).collect();
    settle().await;
    origin.release_all();
    let (waiters, leader) = (ended(waiters).await, ended(vec![leader]).await);
    let next = ended(vec![read(&cache)]).await;
    let is_well = next.n_answered == 1;
    let next = if is_well { "the next read is answered" } else { "**the next read is not answered**" };
    Outcome {
        said: format!("{waiters}; {next}"),
        is_good: waiters.n_hanging + leader.n_hanging == 0 && is_well,
    }
}

async fn origin_fails(make: caches::Make) -> Outcome {
    let (origin, cache) = set_up(make, Copies::LastForEver);
    origin.fail();
    let readers: Vec<_> = (0..50).map(|_| read(&cache)).collect();
    let mut n_round_trips = 0;
    settle().await;
    while origin.release() {
        n_round_trips += 1;
        settle().await;
    }
    let readers = ended(readers).await;
    let (requests, trips) = (counted(origin.n_asked(), "request"), counted(n_round_trips, "round trip"));
    Outcome { said: format!("{requests}, {trips}"), is_good: readers.n_hanging == 0 && n_round_trips <= 2 }
}

async fn changed_back(make: caches::Make) -> Outcome {
    let (origin, cache) = set_up(make, Copies::AreValidated);
    origin.release_all();
    if !cache.validates() {
        return Outcome { said: "knows no tags".to_owned(), is_good: true };
    }
    let mut last = "";
    for body in [V1, V2, V1] {
        origin.write(body);
        last = read(&cache).await.expect("it does not panic").expect("the origin answers");
    }
    let said = if last == V1 { "what is there" } else { "**what was there before**, as confirmed" };
    Outcome { said: said.to_owned(), is_good: last == V1 }
}

/// How long a cache that knows tags may serve a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    /// As long as it is held.
    LastForEver,
    /// Never without asking.
    AreValidated,
}

fn set_up(make: caches::Make, copies: Copies) -> (Arc<Origin>, Arc<dyn Cache>) {
    let origin = Arc::new(Origin::new());
    let cache = make(Arc::clone(&origin), copies);
    (origin, cache)
}

type Read = JoinHandle<Result<&'static str, String>>;

fn read(cache: &Arc<dyn Cache>) -> Read {
    let cache = Arc::clone(cache);
    tokio::spawn(async move { cache.get().await })
}

/// What became of some reads.
struct Ended {
    n_answered: usize,
    n_failed: usize,
    n_hanging: usize,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_answered, n_failed, n_hanging } = self;
        let parts = [(n_answered, "answered"), (n_failed, "errors"), (n_hanging, "**hang**")];
        let parts = parts.iter().filter(|(n, _)| **n > 0).map(|(n, what)| format!("{n} {what}"));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

/// When all that can happen has happened: what does not end now hangs, and is dropped.
async fn ended(reads: Vec<Read>) -> Ended {
    settle().await;
    let mut ended = Ended { n_answered: 0, n_failed: 0, n_hanging: 0 };
    for read in reads {
        if !read.is_finished() {
            read.abort();
            ended.n_hanging += 1;
        } else if matches!(read.await, Ok(Ok(_))) {
            ended.n_answered += 1;
        } else {
            ended.n_failed += 1;
        }
    }
    ended
}

fn counted(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Lets every task go as far as it can. The runtime has one thread, and nobody waits for a clock or for another
/// process: after many more turns than any of them needs, all wait for the origin or are done.
async fn settle() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

const TURNS: usize = 2000;
