//! Fleets whose figures can be computed by hand.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{setting::Unit, trace::TraceBuilder};

/// A trace with these objects, named by their numbers.
fn trace(objects: impl IntoIterator<Item = u32>) -> Trace {
    let mut builder = TraceBuilder::new("t");
    for object in objects {
        assert!(builder.push(object.to_string().as_bytes(), 1));
    }
    builder.build()
}

/// One node that reads once a second for a minute, of a store that responds at once. No writes.
fn minute() -> Fleet {
    Fleet {
        reads: 1.0,
        writes: 0.0,
        warm_up: Duration::ZERO,
        span: Duration::from_secs(60),
        round_trip: Duration::ZERO,
        ..Fleet::default()
    }
}

fn replay(trace: &Trace, fleet: &Fleet, rule: &str) -> Counts {
    Plan::new(trace, fleet).unwrap().replay(rule.parse().unwrap()).unwrap()
}

/// Requests by kind: bodies, 304, pages of lists.
fn requests(counts: &Counts) -> (u64, u64, u64) {
    (counts.bodies, counts.not_modified, counts.lists)
}

fn longest(times: &Times) -> f64 {
    times.max().as_secs_f64()
}

#[test]
fn strong_reads_are_one_request_each() {
    let trace = trace(0..7);
    let counts = replay(&trace, &minute(), "strong");
    assert_eq!((counts.reads, counts.hits, counts.body_bytes), (60, 0, 7 * 16_384));
    assert_eq!(requests(&counts), (7, 53, 0));
    assert_eq!((counts.ages.max(), counts.in_flight), (Duration::ZERO, 1));
}

#[test]
fn strong_reads_of_a_busy_object_share_the_next_request() {
    // A request takes 20 ms, and one follows the other: the readers of one wait for the next.
    let fleet = Fleet {
        reads: 1_000.0,
        span: Duration::from_secs(1),
        round_trip: Duration::from_millis(20),
        ..minute()
    };
    let counts = replay(&trace([0]), &fleet, "strong");
    assert_eq!((counts.reads, requests(&counts)), (1_000, (1, 49, 0)));
    // Under a rule by age they join the current one.
    let counts = replay(&trace([0]), &fleet, "max_age=100ms");
    // Validated at 0, 100, … 900 ms.
    assert_eq!(requests(&counts), (1, 9, 0));
}

#[test]
fn an_entry_is_revalidated_when_it_reaches_max_age() {
    let counts = replay(&trace([0]), &minute(), "max_age=10s");
    assert_eq!((counts.hits, requests(&counts)), (54, (1, 5, 0)));
    assert_eq!(longest(&counts.ages).round(), 9.0);
    // Each second one object of ten.
    let counts = replay(&trace(0..10), &minute(), "max_age=20s");
    assert_eq!(requests(&counts), (10, 20, 0));
}

#[test]
fn an_entry_that_lived_its_time_is_fetched() {
    let fleet = Fleet { time_to_live: Duration::from_secs(15), ..minute() };
    // At 0, 15, 30 and 45 s.
    assert_eq!(requests(&replay(&trace([0]), &fleet, "max_age=20s")), (4, 0, 0));
    assert_eq!(requests(&replay(&trace([0]), &fleet, "max_age=10s")), (1, 5, 0));
}

#[test]
fn an_evicted_entry_is_fetched() {
    let capacity = |unit, capacity| Some(Setting { unit, capacity, expected_entries: 1 });
    for capacity in [capacity(Unit::Entries, 1), capacity(Unit::Bytes, 16_384)] {
        let fleet = Fleet { capacity, ..minute() };
        // Two objects take turns; one of them may stay.
        let counts = replay(&trace([0, 1]), &fleet, "max_age=1h");
        assert!(counts.bodies >= 30, "{counts:?}");
    }
    // A new version takes the room of the old one.
    let changing = Fleet {
        nodes: 1_000,
        sample: Some(1),
        reads: 1_000.0,
        writes: 0.3,
        capacity: capacity(Unit::Bytes, 32_768),
        ..minute()
    };
    let counts = replay(&trace([0, 1]), &changing, "strong");
    assert!(counts.bodies <= 2 + 18, "{counts:?}");
    let roomy = Fleet { capacity: capacity(Unit::Bytes, 32_768), ..minute() };
    assert_eq!(requests(&replay(&trace([0, 1]), &roomy, "max_age=1h")), (2, 0, 0));
}

#[test]
fn without_writes_a_bus_leaves_only_the_fallback() {
    let fleet = Fleet { reads: 10.0, ..minute() };
    let counts = replay(&trace([0]), &fleet, "bus=20s");
    // Fetched at 0 s, before the node listens, and again at 0.1 s; then every 20 s.
    assert_eq!(requests(&counts), (1, 3, 0));
    let fleet = Fleet { warm_up: Duration::from_secs(10), ..fleet };
    assert_eq!(requests(&replay(&trace([0]), &fleet, "bus=20s")), (0, 3, 0));
    assert_eq!(requests(&replay(&trace([0]), &fleet, "bus=2m")), (0, 0, 0));
    // An entry that was requested when the node began to listen may be older than a message.
    let at_once = Fleet { bus_delay: Duration::ZERO, ..minute() };
    assert_eq!(requests(&replay(&trace([0]), &at_once, "bus=20s")), (1, 3, 0));
}

#[test]
fn a_message_costs_one_request_and_a_moment_of_staleness() {
    // Two nodes read an object 50 times a second each, on the average; it is written each second.
    let fleet = Fleet {
        nodes: 2,
        reads: 100.0,
        writes: 1.0,
        warm_up: Duration::from_secs(5),
        bus_delay: Duration::from_millis(100),
        ..minute()
    };
    let counts = replay(&trace([0]), &fleet, "bus=1h");
    // The other node fetches each version; the writer has it.
    let bodies = counts.bodies;
    assert!((60..=63).contains(&bodies), "{counts:?}");
    assert!(counts.not_modified <= 3, "{counts:?}");
    // Superseded at the acknowledgement, which is heard 100 ms later.
    assert!(longest(&counts.staleness) <= 0.1001, "{counts:?}");
    // 5 reads of the other node come between write and message.
    assert!((250..=350).contains(&counts.stale), "{counts:?}");

    let sooner = Fleet { bus_delay: Duration::ZERO, ..fleet };
    assert_eq!(replay(&trace([0]), &sooner, "bus=1h").stale, 0);

    // Nothing is announced: the fallback alone bounds the age.
    let silent = Fleet { unannounced: 1.0, ..fleet };
    let staleness = longest(&replay(&trace([0]), &silent, "bus=10s").staleness);
    assert!(staleness > 5.0 && staleness < 10.0, "{staleness}");
}

#[test]
fn a_message_about_the_cached_version_costs_nothing() {
    // An entry lives for 20 s and is then fetched. A 304 is for one that was fetched between a
    // write and its message, or for two writes of one object at a time.
    let fleet = Fleet {
        nodes: 1_000,
        sample: Some(1),
        reads: 100_000.0,
        writes: 5.0,
        written: Written::Uniform,
        warm_up: Duration::from_secs(100),
        span: Duration::from_secs(600),
        bus_delay: Duration::from_millis(1_500),
        time_to_live: Duration::from_secs(20),
        ..minute()
    };
    let counts = replay(&trace(0..3_000), &fleet, "bus=1h");
    assert!(counts.hits > 10_000 && counts.not_modified < 10, "{counts:?}");
}

#[test]
fn a_gap_costs_a_request_for_each_object_that_is_read() {
    // One of 1,000 nodes: all writes are of others, 1,200 in ten minutes.
    let fleet = Fleet {
        nodes: 1_000,
        sample: Some(1),
        reads: 10_000.0,
        writes: 2.0,
        warm_up: Duration::from_secs(10),
        span: Duration::from_secs(600),
        ..minute()
    };
    let trace = trace(0..100);
    let heard = replay(&trace, &fleet, "bus=1h");
    assert!(heard.not_modified < 5, "{heard:?}");
    // About twelve are lost. After each, all objects are revalidated when they are read.
    let lossy = replay(&trace, &Fleet { lost: 0.01, ..fleet }, "bus=1h");
    assert!((500..=2_000).contains(&lossy.not_modified), "{lossy:?}");
}

#[test]
fn a_lost_message_is_noticed_before_the_next_one() {
    let fleet = Fleet {
        nodes: 2,
        reads: 100.0,
        writes: 0.05,
        span: Duration::from_secs(1_200),
        lost: 0.1,
        ..minute()
    };
    // The heartbeats are a second apart, and one of ten is lost.
    let staleness = longest(&replay(&trace([0]), &fleet, "bus=1h").staleness);
    assert!(staleness > 0.2 && staleness < 3.2, "{staleness}");
}

#[test]
fn a_node_without_own_heartbeats_for_three_seconds_is_strong() {
    // Four of five heartbeats are lost: at half of all moments the last three are.
    let fleet = Fleet { reads: 10.0, lost: 0.8, span: Duration::from_secs(1_000), ..minute() };
    let counts = replay(&trace([0]), &fleet, "bus=1h");
    assert!((4_000..=5_700).contains(&counts.hits), "{counts:?}");
}

#[test]
fn a_dead_bus_is_strong() {
    let fleet = Fleet { reads: 10.0, writes: 1.0, nodes: 3, lost: 1.0, ..minute() };
    let counts = replay(&trace(0..5), &fleet, "bus=1h");
    assert_eq!((counts.reads, counts.hits, counts.stale), (600, 0, 0));
    assert_eq!(counts.bodies + counts.not_modified, 600);
}

#[test]
fn a_list_is_a_request_for_a_thousand_objects_on_each_node() {
    let fleet = Fleet {
        nodes: 3,
        reads: 30.0,
        warm_up: Duration::from_secs(20),
        listed: Some(2_500),
        round_trip: Duration::from_millis(10),
        ..minute()
    };
    let counts = replay(&trace(0..10), &fleet, "list=5s");
    // 12 intervals, 3 pages, 3 nodes; reads find all renewed.
    assert_eq!((counts.hits, requests(&counts)), (1_800, (0, 0, 108)));
    assert_eq!(counts.list_bytes, 12 * 3 * 2_500 * 300);
    assert!(longest(&counts.ages) <= 5.015, "{counts:?}");
    // The pages take longer than the interval: one after the other, as fast as they come.
    let slow = Fleet { round_trip: Duration::from_secs(2), ..fleet };
    assert_eq!(replay(&trace(0..10), &slow, "list=5s").lists, 3 * 60 / 2);
    // More objects in the trace than under the prefix: those of the trace.
    let few = Fleet { listed: Some(1), ..fleet };
    assert_eq!(replay(&trace(0..1_001), &few, "list=5s").lists, 12 * 2 * 3);
}

#[test]
fn an_entry_that_a_list_has_renewed_is_revalidated_and_not_fetched() {
    // Three pages of 2 s: an entry is renewed every 6 s, and fresh for 5.5 s. A read every 8 s may
    // find it older than that, but not as old as the time to live.
    let fleet = Fleet {
        listed: Some(2_500),
        round_trip: Duration::from_secs(2),
        time_to_live: Duration::from_secs(10),
        warm_up: Duration::from_secs(30),
        span: Duration::from_secs(600),
        reads: 0.13,
        ..minute()
    };
    let counts = replay(&trace([0]), &fleet, "list=5s:5500ms");
    assert_eq!((counts.bodies, counts.lists), (0, 300));
    assert!(counts.not_modified > 10, "{counts:?}");
}

#[test]
fn a_list_shows_what_changed() {
    let fleet =
        Fleet { nodes: 2, reads: 200.0, writes: 1.0, warm_up: Duration::from_secs(10), ..minute() };
    let counts = replay(&trace([0]), &fleet, "list=5s:1m");
    // Each list of a node shows a version of the other node. Half of the writes are its own, whose
    // version it has; the last one before a list decides, and may be seen before the list.
    assert!((6..=24).contains(&counts.bodies), "{counts:?}");
    assert_eq!((counts.not_modified, counts.lists), (0, 24));
    let staleness = longest(&counts.staleness);
    assert!(staleness > 2.0 && staleness < 5.02, "{staleness}");
}

#[test]
fn requests_by_key_meet_their_writes() {
    let fleet = Fleet {
        nodes: 4,
        reads: 100.0,
        writes: 10.0,
        warm_up: Duration::from_secs(10),
        round_trip: Duration::from_millis(5),
        ..minute()
    };
    let trace = trace(0..20);
    let by_key = Fleet { split: Split::ByKey, ..fleet };
    let plan = Plan::new(&trace, &by_key).unwrap();
    for object in 0..20 {
        let readers = (0..4).filter(|&node| plan.reads(node).any(|(_, read)| read == object));
        assert_eq!(readers.count(), 1);
    }
    let counts = replay(&trace, &by_key, "max_age=1h");
    assert_eq!((counts.reads, counts.stale), (6_000, 0));
    assert!(replay(&trace, &fleet, "max_age=1h").stale > 1_000);
}

#[test]
fn the_writer_reads_its_version_without_a_request() {
    let fleet = Fleet { reads: 1.0, writes: 1.0, round_trip: Duration::from_millis(2), ..minute() };
    let counts = replay(&trace([0]), &fleet, "max_age=1h");
    assert_eq!((requests(&counts), counts.stale), ((1, 0, 0), 0));
}

#[test]
fn sizes_and_written_objects_are_those_of_the_trace() {
    let mut builder = TraceBuilder::new("t");
    for (key, size) in [(b"a", 10), (b"b", 200), (b"a", 30), (b"a", 10)] {
        assert!(builder.push(key, size));
    }
    let sized = builder.build();
    assert_eq!(replay(&sized, &minute(), "max_age=1h").body_bytes, 210);

    let n_written = |written| {
        let fleet = Fleet { writes: 100.0, written, ..minute() };
        let plan = Plan::new(&sized, &fleet).unwrap();
        assert_eq!(plan.writes().len(), 6_000);
        assert!(plan.writes().is_sorted_by_key(|write| write.at));
        plan.writes().iter().filter(|write| write.object == 0).count()
    };
    assert!((4_350..=4_650).contains(&n_written(Written::Popular)));
    assert!((2_850..=3_150).contains(&n_written(Written::Uniform)));
}

#[test]
fn requests_in_flight_are_counted() {
    // Ten objects, one each millisecond, and a round trip of 5 ms.
    let fleet = Fleet {
        reads: 1_000.0,
        round_trip: Duration::from_millis(5),
        span: Duration::from_secs(1),
        ..minute()
    };
    assert_eq!(replay(&trace(0..10), &fleet, "strong").in_flight, 5);
    assert_eq!(replay(&trace(0..3), &fleet, "strong").in_flight, 3);
}

#[test]
fn reads_are_split_without_loss_and_sampled_evenly() {
    let trace = trace(0..10);
    let fleet = Fleet { nodes: 100, reads: 1_000.0, ..minute() };
    let plan = Plan::new(&trace, &fleet).unwrap();
    let mut reads: Vec<_> = (0..100).flat_map(|node| plan.reads(node)).collect();
    reads.sort_unstable();
    let expected: Vec<_> = (0..60_000_u32).map(|i| (u64::from(i) * 1_000_000, i % 10)).collect();
    assert_eq!(reads, expected);

    let sampled = Fleet { sample: Some(10), ..fleet };
    let plan = Plan::new(&trace, &sampled).unwrap();
    let n_reads: usize = (0..100).map(|node| plan.reads(node).count()).sum();
    assert!((5_700..6_300).contains(&n_reads), "{n_reads}");
    let figures = Figures::new(&plan, Rule::Strong, &plan.replay(Rule::Strong).unwrap());
    assert!((950.0..1_050.0).contains(&figures.reads), "{figures:?}");
    // Each object is a tenth.
    let first = (0..100).flat_map(|node| plan.reads(node)).filter(|(_, object)| *object == 0);
    assert!((500..700).contains(&first.count()));
}

#[test]
fn a_large_fleet_is_sampled() {
    let fleet = Fleet { nodes: 10_000, reads: 1e6, ..Fleet::default() };
    assert_eq!(fleet.sampled(), 44);
    assert_eq!(Fleet { nodes: 10, reads: 1e3, ..Fleet::default() }.sampled(), 10);
    assert_eq!(Fleet { sample: Some(20), nodes: 10, ..Fleet::default() }.sampled(), 10);
}

#[test]
fn the_program_prints_tables_and_its_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.txt");
    std::fs::write(&path, "a,10\nb,30\n").unwrap();
    let run_line = |line: &str| {
        let line = line.replace('@', &path.display().to_string());
        match Options::parse(line.split_whitespace().map(ToOwned::to_owned))? {
            Command::Run(options) => run(&options),
            Command::Help => Ok(USAGE.to_owned()),
        }
    };
    let text = run_line(
        "--trace @ --nodes 1 4 --freshness strong list=1s --reads 8 --seconds 10s --sample 2",
    )
    .unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("| 4 ")).count(), 4, "{text}");
    assert!(text.contains("Replayed are 2 of 4 nodes"), "{text}");
    let error = run_line("--trace @ --nodes 1 --capacity 1%").unwrap_err().to_string();
    assert_eq!(error, "the capacity is below 50 of the trace's keys");
    let error = run_line("--trace @.none --nodes 1").unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
}

fn spans(least: u64, most: u64) -> impl Strategy<Value = Duration> {
    (least..=most).prop_map(Duration::from_millis)
}

fn fleets() -> impl Strategy<Value = Fleet> {
    let times =
        (spans(0, 3_000), spans(1, 20_000), spans(0, 500), spans(0, 4_000), spans(1, 9_000));
    let shares = (prop_oneof![Just(0.0), Just(1.0), 0.0..1.0], prop_oneof![Just(0.0), 0.0..=1.0]);
    let rates = (1.0..300.0_f64, prop_oneof![Just(0.0), 0.1..50.0_f64]);
    let kinds = (any::<bool>(), any::<bool>(), prop::option::of(1_u64..9), any::<u64>());
    let fleet = |(nodes, times, shares, rates, kinds)| {
        let (warm_up, span, round_trip, bus_delay, time_to_live) = times;
        let ((lost, unannounced), (reads, writes)) = (shares, rates);
        let (by_key, uniform, capacity, seed): (bool, bool, Option<u64>, u64) = kinds;
        let setting = |capacity| Setting { unit: Unit::Entries, capacity, expected_entries: 1 };
        Fleet {
            nodes,
            reads,
            writes,
            warm_up,
            span,
            round_trip,
            bus_delay,
            lost,
            unannounced,
            time_to_live,
            listed: None,
            split: if by_key { Split::ByKey } else { Split::Random },
            written: if uniform { Written::Uniform } else { Written::Popular },
            capacity: capacity.map(setting),
            object_size: 1,
            sample: None,
            seed,
        }
    };
    (1_u32..5, times, shares, rates, kinds).prop_map(fleet)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_read_is_older_than_its_rule_allows(fleet in fleets(), span in spans(2, 9_000)) {
        let trace = trace([0, 1, 0, 2, 3, 0, 4, 5, 6, 1]);
        let plan = Plan::new(&trace, &fleet).unwrap();
        let list = Rule::List { every: span / 2, max_age: span };
        let bus = Rule::Bus { fallback: span };
        for rule in [Rule::Strong, Rule::MaxAge(span), list, bus] {
            let counts = plan.replay(rule).unwrap();
            // The distribution has three digits.
            let limit = rule.max_age().mul_f64(1.002);
            prop_assert!(counts.ages.max() <= limit, "{rule}: {counts:?}");
            prop_assert!(counts.staleness.max() <= limit, "{rule}: {counts:?}");
            prop_assert_eq!(counts.reads, counts.ages.count());
            prop_assert!(counts.hits <= counts.reads);
        }
    }
}
