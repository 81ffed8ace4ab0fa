//! The program: its command line, its signals, and what it prints. `cargo test` builds it before
//! the tests; `cargo test --test it` takes the one that is there.

use std::{
    env, fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Output, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command},
};

use crate::world::{Answer, get, rest};

struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
    admin: SocketAddr,
}

fn command(args: &[&str]) -> Command {
    let mut folder = env::current_exe().unwrap();
    // From `deps/it-…`.
    folder.pop();
    folder.pop();
    let program: PathBuf = folder.join("examples/http_gateway");
    assert!(program.exists(), "cargo build --example http_gateway makes {}", program.display());
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command(args).output().await.unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

impl Program {
    async fn start(args: &[&str]) -> Self {
        Self::spawn(command(&[]), args).await
    }

    async fn spawn(mut command: Command, args: &[&str]) -> Self {
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = async || {
            let line = lines.next_line().await.unwrap().unwrap();
            line.rsplit_once("http://").unwrap().1.trim_end_matches('/').parse().unwrap()
        };
        let (admin, address) = (address().await, address().await);
        Self { child, lines, address, admin }
    }

    async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
    }

    /// All lines from here on, and the exit code.
    async fn end(mut self) -> (Vec<String>, Option<i32>) {
        let mut lines = Vec::new();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            lines.push(line);
        }
        (lines, self.child.wait().await.unwrap().code())
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_it_with_its_log() {
    for signal in ["TERM", "INT"] {
        let program = Program::start(&["--access-log", "--max-age", "60"]).await;
        assert_eq!(get(program.address, "/").await.status, 200);
        assert_eq!(get(program.address, "/metrics").await.status, 404);
        assert_eq!(get(program.admin, "/healthz").await.body, "ok\n");
        let figures = get(program.admin, "/metrics").await.body;
        assert!(std::str::from_utf8(&figures).unwrap().contains("cache_name=\"http_gateway\""));
        program.signal(signal).await;
        let (lines, code) = program.end().await;
        assert_eq!(code, Some(0), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("\"GET / HTTP/1.1\" 200 ")), "{lines:?}");
        assert!(
            lines.iter().any(|line| line.contains("\"GET /metrics HTTP/1.1\" 404 ")),
            "{lines:?}"
        );
        assert!(lines.iter().any(|line| line.contains("bytes came from the cache")), "{lines:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn it_drains_until_a_limit_or_a_second_signal() {
    // Half a request is one that was begun: it may still arrive.
    let half = "GET / HTTP/1.1\r\nHost: a\r\n";
    let args = ["--drain-timeout", "3600", "--header-timeout", "3600"];
    let program = Program::start(&args).await;
    let mut waiting = TcpStream::connect(program.address).await.unwrap();
    waiting.write_all(half.as_bytes()).await.unwrap();
    // What came before this has been read.
    get(program.address, "/").await;
    program.signal("TERM").await;
    let draining = async { while get(program.admin, "/healthz").await.status == 200 {} };
    draining.await;
    waiting.write_all(b"\r\n").await.unwrap();
    let answer = Answer::parse(&rest(waiting).await);
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(program.end().await.1, Some(0));

    let program = Program::start(&args).await;
    let mut waiting = TcpStream::connect(program.address).await.unwrap();
    waiting.write_all(half.as_bytes()).await.unwrap();
    get(program.address, "/").await;
    program.signal("TERM").await;
    while get(program.admin, "/healthz").await.status == 200 {}
    program.signal("TERM").await;
    assert_eq!(program.end().await.1, Some(0));

    let program = Program::start(&["--drain-timeout", "0"]).await;
    let mut waiting = TcpStream::connect(program.address).await.unwrap();
    waiting.write_all(half.as_bytes()).await.unwrap();
    get(program.address, "/").await;
    program.signal("TERM").await;
    assert_eq!(program.end().await.1, Some(0));
}

/// A process that may open few files keeps some for what it serves.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn half_requests_leave_files_for_whole_ones() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "words").unwrap();
    let program = command(&[]).as_std().get_program().to_owned();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 64 && exec \"$@\"", "sh"]).arg(program);
    let program = Program::spawn(shell, &[folder.path().to_str().unwrap()]).await;
    let mut halves = Vec::new();
    for _ in 0..300 {
        let mut half = TcpStream::connect(program.address).await.unwrap();
        // One that had to make room may be closed by now.
        let _ = half.write_all(b"GET / HTTP/1.1\r\nHost").await;
        halves.push(half);
    }
    assert_eq!(get(program.address, "/a.txt").await.body, "words");
    assert_eq!(get(program.admin, "/healthz").await.body, "ok\n");
}

#[tokio::test]
async fn what_is_wrong_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    for (args, code, words) in [
        (&["--bucket"][..], 2, "what is --bucket"),
        (&["--stale-while-revalidate", "5"], 2, "needs a max-age"),
        (&["http://127.0.0.1:1/"], 1, "is without TLS: allow it with --allow-http"),
        (&[file.to_str().unwrap()], 1, "there is no folder"),
        (&["--listen", "127.0.0.1:0", "--capacity", "0"], 1, "capacity"),
        (&["--listen", &taken], 1, "cannot listen at 127.0.0.1:"),
    ] {
        let (ended, error) = run(args).await;
        assert!(ended == Some(code) && error.contains(words), "{args:?}: {ended:?} {error}");
        assert!(error.starts_with("http_gateway: ") && error.lines().count() == 1, "{error}");
    }
    assert_eq!(run(&["--help"]).await, (Some(0), String::new()));
}
