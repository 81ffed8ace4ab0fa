//! The run as lines of text.

use std::{error::Error, io::Write, pin::pin, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    accounts,
    film::Film,
    rule::Rule,
    script::{Script, switch},
    tally::Answer,
    units::{self, bytes, count, percent_if},
    world::World,
};

/// Plays the script and writes a line each second, until the end or until `told` completes.
///
/// # Errors
///
/// If `out` fails, or a task has panicked.
pub(crate) async fn run(
    world: &mut World,
    film: &mut Film,
    span: Duration,
    told: impl Future<Output = ()>,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let mut script = Script::new(span);
    let mut ticks = interval((span / SAMPLES).clamp(TICK_MIN, TICK_MAX));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick completes at once.
    ticks.tick().await;
    let mut shown = 0;
    let mut told = pin!(told);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut told => return Ok(()),
        }
        if !world.is_whole() {
            return Err("a reader or the writer panicked".into());
        }
        film.add(world.figures());
        let at = film.now().at;
        if at.as_secs() > shown {
            shown = at.as_secs();
            writeln!(out, "{}", line(film))?;
        }
        if at >= span {
            return Ok(());
        }
        while let Some(what) = script.due(at) {
            switch(world, what);
            film.mark(what);
        }
    }
}

/// The current state in a line.
pub(crate) fn line(film: &Film) -> String {
    let (now, lately) = (film.now(), film.lately());
    let under = film.seen().under(now.rule);
    format!(
        "{:>3} s  {:<19}  store {:<4}  bus {:<5} {:>7.0} reads/s  hits {:>7}  errors {:>7}  \
         older than the store {:>6}, p99 {:>7}  saved {:>6} of requests, {:>6} of bytes  \
         wrong reads {}",
        now.at.as_secs(),
        now.rule.label(),
        if now.is_up { "up" } else { "down" },
        now.bus(),
        lately.rate(),
        percent_if(lately.reads.hit_ratio()),
        percent_if(lately.reads.share(Answer::Error)),
        percent_if(under.older_share()),
        units::time_if(under.older_by(0.99)),
        percent_if(film.requests().share()),
        percent_if(film.bytes().share()),
        film.seen().wrong,
    )
}

/// The summary at the end.
pub(crate) fn summary(film: &Film) -> String {
    let (end, seen) = (film.now(), film.seen());
    let mut text = format!(
        "\n{:<13}{:>12}{:>12}{:>9}{:>10}{:>10}\n",
        "result", "node A", "node B", "share", "p50", "p99"
    );
    let [a, b] = &end.nodes;
    for answer in Answer::ALL {
        let n = seen.reads.get(answer);
        let time = |share| units::time_if(seen.quantile(answer, share));
        let share = (n > 0).then(|| n as f64 / seen.reads.all() as f64);
        text += &format!(
            "{:<13}{:>12}{:>12}{:>9}{:>10}{:>10}\n",
            answer.label(),
            count(a.seen.reads.get(answer)),
            count(b.seen.reads.get(answer)),
            percent_if(share),
            time(0.5),
            time(0.99),
        );
    }
    let mut row = |name: &str, of: &dyn Fn(usize) -> String| {
        text += &format!("{name:<13}{:>12}{:>12}\n", of(0), of(1));
    };
    let node = |i: usize| &end.nodes[i];
    row("reads", &|i| count(node(i).seen.reads.all()));
    row("hit ratio", &|i| percent_if(node(i).seen.reads.hit_ratio()));
    row("memory", &|i| bytes(node(i).stats.bytes));
    row("  of", &|i| bytes(node(i).stats.capacity_bytes.unwrap_or(u64::MAX)));
    row("entries", &|i| count(node(i).stats.entries));
    row("evicted", &|i| count(node(i).stats.evictions));
    text += &rules(film);
    let store = end.origin;
    let (requests, body) = (film.requests(), film.bytes());
    text += &format!(
        "\nthe store counted {} GETs, {} PUTs ({} requests failed) and {} of bodies\n\
         without a cache, one GET and the whole body for each read: {} and {}\n\
         saved {} of the requests, {} of the bytes\n",
        count(store.gets),
        count(store.puts),
        count(store.failed),
        bytes(store.bytes),
        count(requests.without),
        bytes(body.without),
        percent_if(requests.share()),
        percent_if(body.share()),
    );
    for (stats, name) in [(&a.stats, "A"), (&b.stats, "B")] {
        text += &format!(
            "node {name}: {} gets = {} hits + {} misses + {} not found + {} errors\n",
            count(stats.gets()),
            count(stats.hits()),
            count(stats.misses()),
            count(stats.not_found),
            count(stats.errors),
        );
    }
    let differences = film.differences();
    match differences.len() {
        0 => {
            text += &format!(
                "all {} counts of readers, caches and store agree\n",
                accounts::count(end)
            );
        }
        n => text += &format!("{n} counts differ:\n  {}\n", differences.join("\n  ")),
    }
    if let Some(wrong) = &seen.first_wrong {
        text += &format!("the first wrong read: {wrong}\n");
    }
    text + &format!("{VERDICT}: {}\n", count(seen.wrong))
}

/// How old the served objects were under each rule, and the requests that it cost.
fn rules(film: &Film) -> String {
    let mut text = format!(
        "\n{:<21}{:>10}{:>22}{:>10}{:>10}{:>22}\n",
        "rule", "reads", "older than the store", "p50", "p99", "GETs per 1,000 reads"
    );
    for rule in Rule::ALL {
        let under = film.seen().under(rule);
        if under.reads == 0 {
            continue;
        }
        let cost = 1000.0 * film.gets_under(rule) as f64 / under.reads as f64;
        text += &format!(
            "{:<21}{:>10}{:>22}{:>10}{:>10}{:>22.0}\n",
            rule.label(),
            count(under.reads),
            percent_if(under.older_share()),
            units::time_if(under.older_by(0.5)),
            units::time_if(under.older_by(0.99)),
            cost,
        );
    }
    text
}

/// The label of the number of wrong reads.
pub(crate) const VERDICT: &str = "reads older than allowed, or torn";

/// The default length of the script.
pub(crate) const SPAN: Duration = Duration::from_secs(10);
/// As many as the picture has columns. A long run has more; the picture shows its end.
const SAMPLES: u32 = 96;
const TICK_MIN: Duration = Duration::from_millis(50);
/// A line is written each second.
const TICK_MAX: Duration = Duration::from_secs(1);
