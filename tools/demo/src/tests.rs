//! Frames of fixed figures, and whole runs in virtual time.
//!
//! After an intended change of the view: `DEMO_BLESS=1 cargo test -p demo`, and review `golden`.

use std::{env, fs, future::pending, path::Path, sync::LazyLock, time::Duration};

use cache_facade::{
    Stats,
    object_store::{ObjectStoreExt, path::Path as Location},
};
use quick_xml::{Reader, events::Event};
use ratatui::{
    Terminal, backend::TestBackend, buffer::Buffer, layout::Rect, style::Modifier, widgets::Widget,
};

use crate::{
    accounts, bodies,
    bucket::Requests,
    disk::{self, Part},
    film::{Film, Switched},
    palette, picture, plain,
    rule::Rule,
    tally::{Answer, Seen},
    view::{Footer, View},
    world::{Figures, NodeFigures, Settings, World},
};

/// How it was `secs` after the start, if each node answered `n` reads of each kind by then, times a
/// weight of the kind.
fn figures(secs: f64, n: u64) -> Figures {
    let node = |more: u64| {
        let mut seen = Seen::new();
        for (answer, weight) in Answer::ALL.into_iter().zip([70, 9, 6, 8, 3, 1, 3]) {
            let took = if matches!(answer, Answer::Fresh) { 420 } else { 41_300_000 };
            let bytes = if matches!(answer, Answer::NotFound | Answer::Error) { 0 } else { 10_000 };
            for i in 0..weight * n + more {
                seen.count(answer, bytes, Duration::from_nanos(took + i % 100 * took / 100), None);
            }
        }
        let mut stats = Stats::default();
        (stats.fresh, stats.revalidated, stats.stale) = (70 * n + more, 9 * n + more, 6 * n + more);
        (stats.fetched, stats.refetched) = (8 * n + more, 3 * n + more);
        (stats.not_found, stats.errors) = (n + more, 3 * n + more);
        (stats.entries, stats.bytes, stats.capacity_bytes) = (612 + more, 7 << 20, Some(8 << 20));
        stats.evictions = 5 * n;
        stats.bytes_from_cache = seen.bytes_of_hits;
        (stats.origin.not_modified, stats.origin.modified) = (9 * n + more, 11 * n + 2 * more);
        (stats.origin.not_found, stats.origin.failed) = (n + more, 3 * n + more);
        stats.origin.puts.succeeded = more;
        stats.bytes_from_origin = (11 * n + 2 * more) * 10_000;
        for i in 0..97 * n {
            let older = (i % 50 == 0).then(|| Duration::from_micros(100 + i % 7));
            seen.count_under(Rule::ALL[usize::try_from(i % 4).expect("small")], older);
        }
        NodeFigures { seen, stats, is_listening: true }
    };
    let nodes = [node(0), node(4)];
    let sum = |count: fn(&Stats) -> u64| nodes.iter().map(|node| count(&node.stats)).sum();
    let origin = Requests {
        gets: sum(|stats| stats.origin.reads()),
        puts: sum(|stats| stats.origin.puts.requests()),
        failed: sum(|stats| stats.origin.failed),
        bytes: sum(|stats| stats.bytes_from_origin),
    };
    Figures {
        at: Duration::from_secs_f64(secs),
        rule: Rule::Strong,
        is_up: true,
        is_bus_cut: false,
        round_trip: Duration::from_millis(40),
        nodes,
        origin,
    }
}

/// A film of nine and a half seconds, in which everything was switched.
fn film() -> Film {
    static FILM: LazyLock<Film> = LazyLock::new(filmed);
    FILM.clone()
}

fn filmed() -> Film {
    let mut film = Film::new(figures(0.0, 0));
    let (mut n, mut state) = (0, (Rule::Strong, true, false));
    for tick in 1..=38 {
        n += [2, 9, 12, 4, 11][tick / 8];
        let (rule, is_up, is_bus_cut) = state;
        film.add(Figures { rule, is_up, is_bus_cut, ..figures(tick as f64 / 4.0, n) });
        let switched = match tick {
            7 => Switched::Rule(Rule::MaxAge),
            12 => Switched::Rule(Rule::Notified),
            15 => Switched::BusCut,
            19 => Switched::BusOn,
            21 => Switched::Rule(Rule::Stale),
            23 => Switched::OriginOff,
            31 => Switched::OriginOn,
            _ => continue,
        };
        film.mark(switched);
        state = (film.now().rule, film.now().is_up, film.now().is_bus_cut);
    }
    film
}

fn frame(film: &Film, footer: Footer, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| frame.render_widget(View { film, footer }, frame.area())).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let lines = buffer.content().chunks(buffer.area.width.into());
    let line = |cells: &[ratatui::buffer::Cell]| {
        cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>()
    };
    lines.map(|cells| format!("{}\n", line(cells).trim_end())).collect()
}

#[track_caller]
fn check_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if env::var_os("DEMO_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{name} differs; see tests.rs. It is now:\n{text}");
}

#[test]
fn frames_look_as_they_did() {
    let film = film();
    for (name, footer, width, height) in [
        ("wide.txt", Footer::Accounts, 104, 30),
        ("common.txt", Footer::Keys, 80, 24),
        ("small.txt", Footer::Keys, 40, 9),
        ("tiny.txt", Footer::Keys, 20, 5),
    ] {
        check_golden(name, &text(&frame(&film, footer, width, height)));
    }
}

#[test]
fn a_terminal_of_any_size_is_drawn_on() {
    let (film, empty) = (film(), Film::new(figures(0.0, 0)));
    // All small ones, and those around the sizes at which something more is shown.
    let widths = || (0..24).chain([39, 40, 75, 76, 95, 96, 250]);
    let heights = || (0..24).chain([60]);
    for (width, height) in widths().flat_map(|width| heights().map(move |height| (width, height))) {
        let area = Rect { width, height, ..Rect::ZERO };
        View { film: &film, footer: Footer::Keys }.render(area, &mut Buffer::empty(area));
    }
    frame(&empty, Footer::Accounts, 104, 30);
}

#[test]
fn a_long_film_forgets_its_begin_but_not_what_holds() {
    let mut film = Film::new(figures(0.0, 0));
    for tick in 1..=1500 {
        if tick == 101 {
            film.mark(Switched::Rule(Rule::MaxAge));
        }
        if tick == 1496 {
            film.mark(Switched::OriginOff);
        }
        film.add(figures(f64::from(tick) / 4.0, 0));
    }
    let (samples, marks) = film.last(10);
    assert_eq!(
        (samples.len(), marks),
        (10, vec![(0, Switched::Rule(Rule::MaxAge)), (5, Switched::OriginOff)])
    );
    let (samples, marks) = film.last(9999);
    assert_eq!((samples.len(), marks[0]), (1000, (0, Switched::Rule(Rule::MaxAge))));
    assert_eq!(marks[1], (995, Switched::OriginOff));
}

#[test]
fn a_wrong_read_is_red() {
    let verdict = |film: &Film| {
        let buffer = frame(film, Footer::Keys, 100, 30);
        (text(&buffer).lines().last().unwrap().to_owned(), buffer.cell((1, 29)).unwrap().fg)
    };
    let (line, color) = verdict(&film());
    assert!(line.starts_with(" ✓ reads older than allowed, or torn: 0 of 58,228"), "{line}");
    assert_eq!(color, palette::GOOD);

    let mut figures = figures(1.0, 100);
    let wrong = Some("object 7: version 1 was read, and 2 had been written before".to_owned());
    figures.nodes[1].seen.count(Answer::Fresh, 10_000, Duration::ZERO, wrong);
    let film = Film::new(figures);
    let (line, color) = verdict(&film);
    assert!(line.starts_with(" ✗ reads older than allowed, or torn: 1 of "), "{line}");
    assert_eq!(color, palette::BAD);
    assert!(!film.is_right());
    assert!(plain::summary(&film).contains("the first wrong read: object 7: version 1 was read"));
}

#[test]
fn details_are_faint() {
    let buffer = frame(&film(), Footer::Accounts, 104, 30);
    for (x, y, modifier) in [
        (1, 0, Modifier::BOLD),
        (16, 0, Modifier::DIM),
        (3, 29, Modifier::BOLD),
        (43, 29, Modifier::DIM),
    ] {
        let cell = buffer.cell((x, y)).unwrap();
        assert_ne!(cell.symbol(), " ");
        assert_eq!(cell.modifier, modifier, "{x}, {y}");
    }
}

#[test]
fn accounts_that_do_not_add_up_are_named() {
    assert!(film().is_right());
    let mut figures = figures(1.0, 100);
    figures.origin.gets += 1;
    figures.nodes[0].stats.stale -= 1;
    let film = Film::new(figures);
    let expected = [
        "GETs counted by the store and by the caches: 4821 and 4820",
        "node A: stale reads, counted by readers and by the cache: 600 and 599",
        "node A: reads, and hits + misses + not found + errors: 10000 and 9999",
    ];
    assert_eq!(film.differences(), expected);
    let summary = plain::summary(&film);
    assert!(expected.iter().all(|line| summary.contains(line)), "{summary}");
    let last = text(&frame(&film, Footer::Accounts, 100, 30)).lines().last().unwrap().to_owned();
    assert!(last.ends_with("✗ 3 counts differ"), "{last}");
}

#[test]
fn the_picture_is_a_small_svg_with_the_figures() {
    let film = film();
    let svg = picture(&film);
    assert!(svg.len() < 60_000, "{} bytes", svg.len());
    let mut reader = Reader::from_str(&svg);
    reader.config_mut().check_end_names = true;
    let (mut elements, mut words, mut depth) = (0, Vec::new(), 0);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(element) => {
                element.attributes().for_each(|attribute| drop(attribute.unwrap()));
                (elements, depth) = (elements + 1, depth + 1);
            }
            Event::End(_) => depth -= 1,
            Event::Empty(element) => {
                element.attributes().for_each(|attribute| drop(attribute.unwrap()));
                elements += 1;
            }
            Event::Text(text) => words.push(String::from_utf8(text.to_vec()).unwrap()),
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    assert!(elements > 100, "{elements}");
    // Each text of the frame is in the picture.
    let shown = words.join(" ");
    for line in text(&frame(&film, Footer::Accounts, 104, 30)).lines() {
        for word in
            line.split(|glyph: char| glyph == ' ' || !glyph.is_ascii() && !"µ✓–".contains(glyph))
        {
            assert!(shown.contains(word), "{word:?}");
        }
    }
    assert!(svg.contains("prefers-color-scheme: dark"));
    // Nothing from elsewhere.
    assert!(!svg.replace("xmlns=\"http://www.w3.org/2000/svg\"", "").contains("://"));
    assert!(["href", "@import", "url(", "<script"].iter().all(|word| !svg.contains(word)));
}

/// After a change of the view: `cargo xtask demo --plain --seconds 12 --svg docs/demo.svg`.
#[test]
fn the_picture_in_the_documentation_was_drawn_by_this() {
    let svg = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/demo.svg"))
        .unwrap();
    let head = |svg: &str| svg.split_once("</style>").unwrap().0.to_owned();
    assert_eq!(head(&svg), head(&picture(&film())));
    let n = accounts::count(film().now());
    for words in [
        "✓ reads older than allowed, or torn: 0<",
        &format!("✓ all {n} counts agree<"),
        "down<",
        ">12 s<",
    ] {
        assert!(svg.contains(words), "{words}");
    }
}

/// Small enough for a test.
fn settings() -> Settings {
    Settings { n_objects: 300, n_readers: 4, capacity: 1 << 20, ..Settings::default() }
}

#[tokio::test(start_paused = true)]
async fn a_run_adds_up_and_no_read_is_wrong() {
    let mut world = World::start(settings()).await.unwrap();
    let mut film = Film::new(world.figures());
    let mut out = Vec::new();
    plain::run(&mut world, &mut film, Duration::from_secs(12), pending(), &mut out).await.unwrap();
    film.end(world.stop().await.unwrap());
    assert_eq!(film.differences(), [""; 0]);
    assert_eq!((film.seen().wrong, &film.seen().first_wrong), (0, &None));
    for answer in Answer::ALL {
        assert!(film.seen().reads.get(answer) > 0, "{}", answer.label());
    }
    let [a, b] = &film.now().nodes;
    assert!(a.stats.evictions > 0 && b.stats.evictions > 0);
    assert!(a.stats.bytes > 0 && Some(a.stats.bytes) <= a.stats.capacity_bytes);

    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.lines().count(), 12);
    for (second, has) in [
        (1, "strong"),
        (3, "max_age 2 s "),
        (5, "until_notified 30 s  store up    bus up"),
        (6, "until_notified 30 s  store up    bus cut"),
        (9, "+ stale  store up    bus off"),
        (10, "+ stale  store down"),
        (12, "store up"),
    ] {
        let line = out.lines().nth(second - 1).unwrap();
        assert!(line.starts_with(&format!("{second:>3} s")) && line.contains(has), "{line}");
    }
    assert!(plain::summary(&film).ends_with("\nreads older than allowed, or torn: 0\n"));
    let [max_age, notified] = [Rule::MaxAge, Rule::Notified].map(|rule| film.seen().under(rule));
    let older = |share| max_age.older_by(share).unwrap();
    assert!(older(0.99) > Duration::from_millis(500) && older(1.0) < Duration::from_secs(3));
    assert!(film.seen().under(Rule::Strong).older_share() == Some(0.0));
    assert!(notified.reads > 500 && notified.older_share() == Some(0.0), "{notified:?}");
    assert!(plain::summary(&film).contains("\nuntil_notified 30 s  "));
    let (requests, bytes) = (film.requests(), film.bytes());
    assert!(
        requests.with < requests.without && bytes.with < bytes.without,
        "{requests:?} {bytes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_told_to_end_ends_with_its_figures() {
    let mut world = World::start(settings()).await.unwrap();
    let mut film = Film::new(world.figures());
    let mut out = Vec::new();
    let told = tokio::time::sleep(Duration::from_millis(3500));
    plain::run(&mut world, &mut film, Duration::from_secs(86_400), told, &mut out).await.unwrap();
    assert!(world.elapsed() < Duration::from_secs(4), "{:?}", world.elapsed());
    assert_eq!(String::from_utf8(out).unwrap().lines().count(), 3);
    film.end(world.stop().await.unwrap());
    assert!(film.is_right() && film.seen().reads.all() > 0);
}

#[test]
fn a_line_tells_of_reads_that_failed() {
    let line = plain::line(&film());
    assert!(line.contains("hits  88.5 %  errors   3.0 %  older than the store"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_strong_read_takes_one_round_trip() {
    let world = World::start(Settings { n_readers: 1, ..settings() }).await.unwrap();
    let mut film = Film::new(world.figures());
    tokio::time::sleep(Duration::from_secs(3)).await;
    film.end(world.stop().await.unwrap());
    assert!(film.is_right());
    // One reader a node, whose read and pause take 42 ms; one that was caught by a write's fence,
    // or joined, some more.
    let all = film.seen().reads.all();
    assert!((100..=146).contains(&all), "{all}");
    assert_eq!(film.requests().without, all);
    for answer in [Answer::Revalidated, Answer::Fetched] {
        let median = film.seen().quantile(answer, 0.5).unwrap();
        assert!((40..42).contains(&median.as_millis()), "{median:?}");
    }
    assert_eq!(film.seen().quantile(Answer::Fresh, 0.5), None);
}

/// While the bus is cut each read is strong; once it is healed a hit costs nothing again.
#[tokio::test(start_paused = true)]
async fn without_the_bus_reads_cost_requests_and_are_right() {
    let secs = |secs: u64| tokio::time::sleep(Duration::from_secs(secs));
    let world = World::start(settings()).await.unwrap();
    world.set_rule(Rule::Notified);
    let mut film = Film::new(world.figures());
    let mut gets = Vec::new();
    let mut words = Vec::new();
    for cut in [false, true, false] {
        world.cut_bus(cut);
        secs(4).await;
        let before = world.figures();
        secs(10).await;
        let after = world.figures();
        let reads =
            |figures: &Figures| figures.nodes.iter().map(|node| node.seen.reads.all()).sum::<u64>();
        let cost = (after.origin.gets - before.origin.gets) as f64;
        gets.push(cost / (reads(&after) - reads(&before)) as f64);
        words.push(after.bus());
    }
    film.end(world.stop().await.unwrap());
    assert!(film.is_right(), "{:?} {:?}", film.differences(), film.seen().first_wrong);
    assert_eq!(words, ["up", "cut", "up"]);
    // The caches are too small for all objects.
    assert!(gets[0] < 0.4 && gets[1] > 0.8 && gets[2] < 0.4, "{gets:?}");
    assert_eq!(film.seen().under(Rule::Notified).older_share(), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_misses_a_write_goes_red() {
    let world = World::start(settings()).await.unwrap();
    let mut film = Film::new(world.figures());
    // The most popular object is said to have been written, and was not.
    world.pretend_written(bodies::number_of_rank(0, 300));
    tokio::time::sleep(Duration::from_secs(1)).await;
    film.end(world.stop().await.unwrap());
    assert!(film.seen().wrong > 0);
    let first = film.seen().first_wrong.as_deref().unwrap();
    assert!(
        first.starts_with("object 0: version 1 was read, and 2 had been written before"),
        "{first}"
    );
    assert_eq!(film.differences(), [""; 0]);
    // It is also shown for how long the store had had it.
    let under = film.seen().under(Rule::Strong);
    assert!(under.older_share() > Some(0.0) && under.older_by(1.0) > Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_cache_made_goes_red() {
    let world = World::start(settings()).await.unwrap();
    let mut film = Film::new(world.figures());
    let (key, read) = (Location::from(bodies::key(0)), world.bucket());
    read.get(&key).await.unwrap();
    film.end(world.stop().await.unwrap());
    assert_eq!(film.differences().len(), 1, "{:?}", film.differences());
    assert!(!film.is_right());
}

#[tokio::test]
async fn a_restart_over_a_disk_costs_one_304_an_object() {
    let folder = tempfile::tempdir().unwrap();
    let settings = disk::Settings {
        n_objects: 200,
        n_readers: 8,
        round_trip: Duration::ZERO,
        memory: 1 << 20,
        disk: 64 << 20,
    };
    let mut out = Vec::new();
    let is_right = disk::run(settings, folder.path(), &mut out).await.unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(is_right && out.ends_with("\nall bodies and all counts are right\n"), "{out}");
    // reads, memory, disk, store, GETs and 304s of each part.
    let parts: Vec<Vec<u64>> = out
        .lines()
        .filter_map(|line| line.strip_prefix("first reads").or(line.strip_prefix("again")))
        .map(|row| row.split_whitespace().take(6).map(|n| n.parse().unwrap()).collect())
        .collect();
    let [cold, warm, restarted, again] = &parts[..] else { panic!("{out}") };
    assert_eq!(cold[..], [200, 0, 0, 200, 200, 0]);
    assert_eq!(restarted[..], [200, 0, 200, 0, 200, 200]);
    for part in [warm, again] {
        assert_eq!((part[1] + part[2], &part[3..]), (200, &[0, 0, 0][..]), "{out}");
        assert!(part[2] > 0, "memory has no room for all of them: {out}");
    }
    assert!(out.contains("200 entries found again"), "{out}");
    // `close` has written what waited.
    let closed = out.split("closed, and opened").nth(1).unwrap();
    assert!(closed.contains("disk closed: ") && closed.contains("queue 0 B, "), "{out}");
}

#[test]
fn a_run_over_a_disk_that_does_not_add_up_is_told() {
    let part = |store, disk, not_modified| Part {
        reads: 9,
        disk,
        store,
        not_modified,
        gets: store + not_modified,
        ..Part::default()
    };
    let right = [part(9, 0, 0), part(0, 7, 0), part(0, 9, 9), part(0, 7, 0)];
    assert_eq!(disk::findings(9, 9, right), [""; 0]);
    let mut wrong = right;
    (wrong[1].gets, wrong[2]) = (1, Part { bytes: 5, wrong: 1, ..part(1, 8, 8) });
    let expected = [
        "wrong bodies: 1, not 0",
        "entries found again: 8, not 9",
        "entries from disk after the restart: 8, not 9",
        "304s after the restart: 8, not 9",
        "bytes sent after the restart: 5, not 0",
        "GETs in the second part: 1, not 0",
    ];
    assert_eq!(disk::findings(9, 8, wrong), expected);
}
