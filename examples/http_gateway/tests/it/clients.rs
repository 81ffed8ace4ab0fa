//! Clients that other people wrote. One that is not installed is left out, and that is said.

use std::{
    env::var_os,
    fs,
    io::{ErrorKind, Write as _, stderr},
    path::Path,
    process::{Output, Stdio},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
};
use cache_facade::{CachedStore, Memory};
use cache_testkit::{BodyFault, Fault};
use http_gateway::{Gateway, demo};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::world::{MINUTE, NOTHING, Server, World, bytes};

/// What `curl` shows on its standard output.
async fn curl(world: &World, path: &str, args: &[&str]) -> Option<String> {
    let url = format!("http://{}{path}", world.address());
    let output = run(Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*", &url])
        .args(args))
    .await?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn curl_keeps_a_file_with_its_tag() {
    let world = World::lasting().await;
    world.put("a.txt", "words").await;
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, tag) = (place("a.txt"), place("tag"));
    let fetch = async || {
        let args = [
            "--etag-compare",
            &tag,
            "--etag-save",
            &tag,
            "--output",
            &file,
            "--write-out",
            "%{http_code} %{size_download}",
        ];
        curl(&world, "/a.txt", &args).await
    };
    fs::write(&tag, "").unwrap();
    let Some(first) = fetch().await else { return };
    assert_eq!((first.as_str(), fs::read_to_string(&file).unwrap().as_str()), ("200 5", "words"));
    assert_eq!(fs::read_to_string(&tag).unwrap().trim(), world.tag("a.txt").await);
    world.asked();
    assert_eq!(fetch().await.unwrap(), "304 0");
    assert_eq!(world.asked(), NOTHING);
    world.put("a.txt", "other words").await;
    world.clock.advance(MINUTE);
    assert_eq!(fetch().await.unwrap(), "200 11");
    assert_eq!(fs::read_to_string(&file).unwrap(), "other words");
}

#[tokio::test]
async fn curl_reads_parts_and_goes_on() {
    let world = World::lasting().await;
    world.put("a.txt", "0123456789 and so on").await;
    let Some(part) = curl(&world, "/a.txt", &["--range", "3-7"]).await else { return };
    assert_eq!(part, "34567");
    assert_eq!(curl(&world, "/a.txt", &["--range", "-5"]).await.unwrap(), "so on");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.txt");
    fs::write(&file, "01234").unwrap();
    curl(&world, "/a.txt", &["--continue-at", "-", "--output", file.to_str().unwrap()]).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "0123456789 and so on");
    let status = curl(
        &world,
        "/a.txt",
        &["--range", "99-", "--output", "/dev/null", "--write-out", "%{http_code}"],
    )
    .await;
    assert_eq!(status.unwrap(), "416");
}

#[tokio::test]
async fn curl_asks_for_the_head_on_one_connection() {
    let world = World::lasting().await;
    world.put("a.txt", bytes(25)).await;
    let Some(head) = curl(&world, "/a.txt", &["--head"]).await else { return };
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-length: 25\r\n"),
        "{head}"
    );
    // Answers without a body leave the connection as it was.
    let url = format!("http://{}/a.txt", world.address());
    let tag = world.tag("a.txt").await;
    let condition = format!("If-None-Match: {tag}");
    let args = ["--header", &condition, "--write-out", "%{http_code} %{num_connects};", &url, &url];
    let shown = curl(&world, "/a.txt", &args).await.unwrap();
    assert_eq!(shown, "304 1;304 0;304 0;");
}

#[tokio::test]
async fn curl_sees_that_a_body_is_short() {
    let world = World::strong().await;
    world.put("a", bytes(1_000_000)).await;
    world.store.fault(Fault::body(BodyFault::Fails(500_000)));
    let url = format!("http://{}/a", world.address());
    let Some(output) = run(Command::new("curl").args([
        "--silent",
        "--noproxy",
        "*",
        "--output",
        "/dev/null",
        &url,
    ]))
    .await
    else {
        return;
    };
    // "A file transfer was shorter or larger than expected", no answer at all, or a connection that
    // was reset.
    assert!(matches!(output.status.code(), Some(18 | 52 | 56)), "{output:?}");
}

/// A browser loads a page with a picture, loads it again, and comes back later: what it has is
/// good.
#[tokio::test]
async fn chromium_reloads_a_page_by_304s() {
    let world = World::strong().await;
    world.put("page.html", PAGE).await;
    world.put("store.svg", PICTURE).await;
    let (server, seen) = watched(Gateway::new(world.cached.clone()).router()).await;
    let profile = tempfile::tempdir().unwrap();
    let visit = async || {
        let shown = chromium(&server, "/page.html", profile.path()).await?;
        assert!(shown.contains("<output>1 reload, a picture 320 wide</output>"), "{shown}");
        Some(())
    };
    let statuses = |path: &str| {
        let seen = seen.lock().unwrap();
        seen.iter()
            .filter(|(known, _)| known == path)
            .map(|(_, status)| *status)
            .collect::<Vec<_>>()
    };

    let Some(()) = visit().await else { return };
    assert_eq!((statuses("/page.html"), statuses("/store.svg")), (vec![200, 304], vec![200, 304]));
    visit().await.unwrap();
    assert_eq!(
        (statuses("/page.html"), statuses("/store.svg")),
        (vec![200, 304, 304, 304], vec![200, 304, 304, 304])
    );
    assert_eq!(world.asked().1, (PAGE.len() + PICTURE.len()) as u64);

    // Somebody else writes: the browser shows it at once, and the rest is still good.
    world.put("page.html", PAGE.replace("wide", "across")).await;
    let shown = chromium(&server, "/page.html", profile.path()).await.unwrap();
    assert!(shown.contains("<output>1 reload, a picture 320 across</output>"), "{shown}");
    assert_eq!(statuses("/page.html")[4..], [200, 304]);
    assert_eq!(statuses("/store.svg")[4..], [304, 304]);
}

#[tokio::test]
async fn chromium_shows_the_demo() {
    let cached =
        CachedStore::builder(Arc::new(demo().await.unwrap()), Memory::new()).build().unwrap();
    let (server, _) = watched(Gateway::new(cached).router()).await;
    let profile = tempfile::tempdir().unwrap();
    let Some(shown) = chromium(&server, "/", profile.path()).await else { return };
    for row in [
        "<td>index.html</td><td>200</td><td>object-cache; fwd=stale; fwd-status=304</td>",
        "<td>no-such-object</td><td>404</td><td>object-cache; fwd=miss; fwd-status=404</td>",
    ] {
        assert!(shown.contains(row), "{shown}");
    }
}

#[tokio::test]
async fn promtool_can_read_the_figures() {
    let world = World::new(|builder| builder, |gateway| gateway.metrics_path("/metrics")).await;
    world.put("a", bytes(25)).await;
    world.get("/a").await;
    world.get("/a").await;
    world.get("/none").await;
    let figures = world.get("/metrics").await.body;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    let Some(output) = run_with(&mut promtool, &figures).await else { return };
    assert!(output.status.success(), "{output:?}\n{figures:?}");
}

/// A server, and what it was asked for and answered.
async fn watched(router: Router) -> (Server, Seen) {
    let seen = Seen::default();
    let note = async |State(seen): State<Seen>, request: Request, next: Next| {
        let path = request.uri().path().to_owned();
        let answer = next.run(request).await;
        seen.lock().unwrap().push((path, answer.status().as_u16()));
        answer
    };
    (Server::start(router.layer(from_fn_with_state(Arc::clone(&seen), note))).await, seen)
}

type Seen = Arc<Mutex<Vec<(String, u16)>>>;

/// The document as it is when nothing more happens to it.
async fn chromium(server: &Server, path: &str, profile: &Path) -> Option<String> {
    let mut chromium = Command::new("chromium");
    chromium
        // Nothing of it is left outside of the profile.
        .env("HOME", profile)
        .arg(format!("--user-data-dir={}", profile.display()))
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        // Of its own time, which stands still while it waits for an answer.
        .args(["--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("http://{}{path}", server.address));
    let output = run(&mut chromium).await?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// `None`, which is said, if the program is not installed.
async fn run(command: &mut Command) -> Option<Output> {
    run_with(command, &[]).await
}

/// The same, with `input` to read.
async fn run_with(command: &mut Command, input: &[u8]) -> Option<Output> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut running = match command.spawn() {
        Ok(running) => running,
        Err(error) if error.kind() == ErrorKind::NotFound => return left_out(&name),
        Err(error) => panic!("{name}: {error}"),
    };
    let mut stdin = running.stdin.take().unwrap();
    stdin.write_all(input).await.unwrap();
    drop(stdin);
    Some(running.wait_with_output().await.unwrap())
}

/// Says what is left out; past the test harness, which hides what tests print.
fn left_out<T>(name: &str) -> Option<T> {
    assert!(var_os(NEEDED).is_none(), "{name} is not installed, but {NEEDED} is set");
    let _ = stderr().write_all(
        format!("left out: a test of the gateway with {name}, which is not installed\n").as_bytes(),
    );
    None
}

const NEEDED: &str = "OBJECT_CACHE_TEST_CLIENTS_NEEDED";

/// Loads itself once more, then says how large the picture came out.
const PAGE: &str = "\
<!doctype html>
<meta charset=utf-8>
<img src=store.svg>
<output></output>
<script>
  onload = () => {
    const reloads = Number(sessionStorage.reloads ?? 0);
    if (reloads < 1) {
      sessionStorage.reloads = reloads + 1;
      location.reload();
    } else {
      const picture = document.querySelector('img').naturalWidth;
      document.querySelector('output').textContent = `${reloads} reload, a picture ${picture} wide`;
    }
  };
</script>
";

const PICTURE: &str = include_str!("../../site/store.svg");
