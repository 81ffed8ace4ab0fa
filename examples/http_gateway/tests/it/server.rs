//! What clients can hold on to, and how the server stops.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use cache_facade::Freshness;
use cache_testkit::{Fault, Operation};
use http_gateway::{Gateway, Limits, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::world::{Answer, MINUTE, World, bytes, get, rest};

/// A server with limits, over a world.
struct Limited {
    world: World,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<usize>,
    /// What came of the requests.
    accesses: mpsc::UnboundedReceiver<String>,
}

impl Limited {
    async fn start(limits: Limits) -> Self {
        let rule = Freshness::max_age(MINUTE);
        let world =
            World::new(|builder| builder.freshness(rule).block_size(65_536), |gateway| gateway)
                .await;
        world.put("a", bytes(25)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (sender, accesses) = mpsc::unbounded_channel();
        let server = Server::new().limits(limits).on_request(move |access| {
            // Nobody hears of it at the end of a test.
            let _ = sender.send(access.to_string());
        });
        let router = Gateway::new(world.cached.clone()).max_age(MINUTE).router();
        let serving = tokio::spawn(server.serve(listener, router, async {
            let _ = stopped.await;
        }));
        Self { world, address, stop: Some(stop), serving, accesses }
    }

    async fn connect(&self, request: &str) -> TcpStream {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        connection
    }

    async fn check_it_answers(&self) {
        assert_eq!(get(self.address, "/a").await.body, bytes(25));
    }

    fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One answer of a connection that stays open.
async fn answer(connection: &mut TcpStream) -> Answer {
    let mut came = Vec::new();
    loop {
        assert_ne!(connection.read_buf(&mut came).await.unwrap(), 0, "{came:?}");
        if let Some(answer) = Answer::try_parse(&came)
            && answer.header("content-length") == Some(&*answer.body.len().to_string())
        {
            return answer;
        }
    }
}

/// What comes before the connection ends, as it does long before any limit that is not set.
async fn closed(connection: TcpStream) -> Vec<u8> {
    timeout(NEVER / 2, rest(connection)).await.unwrap()
}

const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const HALF: &str = "GET /a HTTP/1.1\r\nHost: a\r\nX-Half";

/// So long that no test waits for it.
const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

/// No limit but those that a test sets.
const NONE: Limits = Limits {
    connections: 1000,
    header_timeout: NEVER,
    idle_timeout: NEVER,
    write_timeout: NEVER,
    drain_timeout: NEVER,
};

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_arrive_is_not_waited_for() {
    let limited = Limited::start(Limits { header_timeout: SOON, ..NONE }).await;
    for begun in ["", "G", HALF] {
        assert_eq!(closed(limited.connect(begun).await).await, b"", "{begun}");
    }
    // Nor is a later one of its connection.
    for begun in ["G", HALF] {
        let mut connection = limited.connect(REQUEST).await;
        assert_eq!(answer(&mut connection).await.body, bytes(25));
        connection.write_all(begun.as_bytes()).await.unwrap();
        assert_eq!(closed(connection).await, b"", "{begun}");
    }
    limited.check_it_answers().await;
}

/// Each byte comes in time, but not the request.
#[tokio::test(start_paused = true)]
async fn a_request_that_drips_is_not_waited_for() {
    let limits = Limits { header_timeout: Duration::from_secs(10), ..NONE };
    let limited = Limited::start(limits).await;
    let mut connection = limited.connect(HALF).await;
    let dripped = async {
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if connection.write_all(b"x").await.is_err() {
                return;
            }
        }
        panic!("it still listens");
    };
    dripped.await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let limited = Limited::start(Limits { idle_timeout: SOON, ..NONE }).await;
    let mut connection = limited.connect(REQUEST).await;
    assert_eq!(answer(&mut connection).await.body, bytes(25));
    assert_eq!(closed(connection).await, b"");
}

/// The store takes its time: no limit of the client's.
#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_its_answer_is_not_idle() {
    let limits = Limits { header_timeout: SOON, idle_timeout: SOON, write_timeout: SOON, ..NONE };
    let limited = Limited::start(limits).await;
    limited.world.store.fault(Fault::hold().on(Operation::Get).once());
    let connection =
        limited.connect("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    limited.world.store.wait_until_held(1).await;
    tokio::time::sleep(SOON * 10).await;
    limited.world.store.release_all();
    assert_eq!(Answer::parse(&rest(connection).await).body, bytes(25));
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let mut limited = Limited::start(Limits { write_timeout: SOON, ..NONE }).await;
    limited.world.put("large", bytes(24_000_000)).await;
    let request = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
    let connection = limited.connect(request).await;
    // It ends although nobody reads, and before all was handed over.
    let access = limited.accesses.recv().await.unwrap();
    assert!(access.contains("GET /large") && !access.contains(" 24000000 "), "{access}");
    drop(connection);
    limited.check_it_answers().await;
}

#[tokio::test]
async fn many_half_requests_do_not_make_it_deaf() {
    let limited = Limited::start(Limits { connections: 20, ..NONE }).await;
    let mut halves = Vec::new();
    for n in 0..300 {
        halves.push(limited.connect(["", "G", HALF][n % 3]).await);
    }
    limited.check_it_answers().await;
    // The oldest had to make room.
    assert_eq!(rest(halves.remove(0)).await, b"");
    // The youngest did not.
    let mut youngest = halves.pop().unwrap();
    youngest.write_all(b": x\r\n\r\n").await.unwrap();
    assert_eq!(answer(&mut youngest).await.body, bytes(25));
}

#[tokio::test]
async fn idle_connections_make_room() {
    let limited = Limited::start(Limits { connections: 3, ..NONE }).await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        let mut connection = limited.connect(REQUEST).await;
        assert_eq!(answer(&mut connection).await.body, bytes(25));
        idle.push(connection);
    }
    // The last one is still good.
    let mut last = idle.pop().unwrap();
    last.write_all(REQUEST.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut last).await.body, bytes(25));
}

#[tokio::test]
async fn who_is_served_is_not_closed_for_another() {
    let limited = Limited::start(Limits { connections: 2, ..NONE }).await;
    let store = &limited.world.store;
    store.fault(Fault::hold().on(Operation::Get));
    limited.world.put("b", bytes(35)).await;
    let mut served =
        [limited.connect(REQUEST).await, limited.connect(&REQUEST.replace("/a", "/b")).await];
    store.wait_until_held(2).await;
    // It waits for room, and is not refused.
    let mut third = limited.connect(REQUEST).await;
    let waiting = timeout(SOON, third.read_u8()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    store.heal();
    store.release_all();
    assert_eq!(answer(&mut served[0]).await.body, bytes(25));
    assert_eq!(answer(&mut served[1]).await.body, bytes(35));
    assert_eq!(answer(&mut third).await.body, bytes(25));
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_order() {
    let mut limited = Limited::start(NONE).await;
    limited.world.put("b", bytes(35)).await;
    let last = "GET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let head = REQUEST.replace("GET", "HEAD");
    let came = rest(limited.connect(&format!("{REQUEST}{head}{REQUEST}{last}")).await).await;
    let text = String::from_utf8_lossy(&came);
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 4, "{text}");
    assert!(came.ends_with(&bytes(35)));
    for (request, sent) in
        [("GET /a", " 25 "), ("HEAD /a", " 0 "), ("GET /a", " 25 "), ("GET /b", " 35 ")]
    {
        let access = limited.accesses.recv().await.unwrap();
        assert!(access.contains(&format!("\"{request} HTTP/1.1\" 200{sent}")), "{access}");
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_who_is_served() {
    let mut limited = Limited::start(NONE).await;
    let idle = {
        let mut idle = limited.connect(&REQUEST.replace("/a", "/none")).await;
        answer(&mut idle).await;
        idle
    };
    limited.world.store.fault(Fault::hold().on(Operation::Get).once());
    let served = limited.connect(REQUEST).await;
    limited.world.store.wait_until_held(1).await;
    limited.stop();
    // An idle one is closed, and a new one is refused.
    assert_eq!(rest(idle).await, b"");
    while TcpStream::connect(limited.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    // Less than the store may take.
    tokio::time::sleep(Duration::from_secs(5)).await;
    limited.world.store.release_all();
    let answer = Answer::parse(&rest(served).await);
    assert_eq!((answer.status, &answer.body), (200, &bytes(25)));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!((&mut limited.serving).await.unwrap(), 0);
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    for (request, is_held) in [(REQUEST, true), (HALF, false)] {
        let mut limited = Limited::start(Limits { drain_timeout: SOON, ..NONE }).await;
        if is_held {
            limited.world.store.fault(Fault::hold());
        }
        let connection = limited.connect(request).await;
        if is_held {
            limited.world.store.wait_until_held(1).await;
        } else {
            limited.check_half_came().await;
        }
        limited.stop();
        assert_eq!((&mut limited.serving).await.unwrap(), 1, "{request}");
        assert_eq!(rest(connection).await, b"");
    }
}

impl Limited {
    /// Whatever was sent before this has been read.
    async fn check_half_came(&self) {
        assert_eq!(get(self.address, "/a/").await.status, 404);
    }
}

#[tokio::test]
async fn an_access_tells_what_came_of_a_request() {
    let mut limited = Limited::start(NONE).await;
    let close = "Host: a\r\nConnection: close\r\n\r\n";
    for (request, expected) in [
        (
            format!("GET /a?x HTTP/1.1\r\n{close}"),
            "\"GET /a?x HTTP/1.1\" 200 25 \"object-cache; fwd=uri-miss; ttl=60\" ",
        ),
        (
            format!("GET /a HTTP/1.0\r\n{close}"),
            "\"GET /a HTTP/1.0\" 200 25 \"object-cache; hit; ttl=60\" ",
        ),
        (
            format!("GET /a HTTP/1.1\r\nRange: bytes=0-4\r\n{close}"),
            "\" 206 5 \"object-cache; hit; ttl=60\" ",
        ),
        (
            format!("GET /none\"\\ HTTP/1.1\r\n{close}"),
            "\"GET /none\\x22\\x5C HTTP/1.1\" 404 14 \"",
        ),
        (format!("PUT /a HTTP/1.1\r\n{close}"), "\"PUT /a HTTP/1.1\" 405 23 \"-\" "),
        ("GET /a HTTP/1.1\r\n\r\n".to_owned(), "\"GET /a HTTP/1.1\" 400 16 \"-\" "),
        ("nonsense\r\n\r\n".to_owned(), "\"-\" 400 0 \"-\" "),
    ] {
        drop(limited.connect(&request).await);
        let access = limited.accesses.recv().await.unwrap();
        assert!(access.starts_with("127.0.0.1 - - ["), "{access}");
        assert!(access.contains(expected), "{access}\n{expected}");
    }
}

#[tokio::test]
async fn no_bytes_end_it() {
    let limited = Limited::start(NONE).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100_000));
    let wide = format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET /a HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(5_000));
    let close = "Host: a\r\nConnection: close\r\n";
    for (request, statuses) in [
        (b"\0\0\0\0\r\n\r\n".to_vec(), &[400][..]),
        (b"GET\r\n\r\n".to_vec(), &[400]),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec(), &[400]),
        (b"GET /a HTTP/9.9\r\n\r\n".to_vec(), &[400, 505]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400, 505]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), &[400]),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nHost : b\r\n\r\n".to_vec(), &[400]),
        (b"GET /a HTTP/1.1\r\nHost: a\xff\r\nConnection: close\r\n\r\n".to_vec(), &[400]),
        (long.into_bytes(), &[414, 431]),
        (wide.into_bytes(), &[431]),
        (many.into_bytes(), &[431]),
        (format!("GET /%00 HTTP/1.1\r\n{close}\r\n").into_bytes(), &[400]),
        (format!("GET * HTTP/1.1\r\n{close}\r\n").into_bytes(), &[400]),
        (format!("CONNECT a:80 HTTP/1.1\r\n{close}\r\n").into_bytes(), &[405]),
        (format!("OPTIONS * HTTP/1.1\r\n{close}\r\n").into_bytes(), &[405]),
        (
            format!("GET /a HTTP/1.1\r\n{close}Range: bytes=-\r\nIf-Range: \"\r\n\r\n")
                .into_bytes(),
            &[200],
        ),
        (
            format!(
                "GET /a HTTP/1.1\r\n{close}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            .into_bytes(),
            &[200, 400],
        ),
        (
            format!("GET /a HTTP/1.1\r\n{close}Content-Length: 99999999999999999999\r\n\r\n")
                .into_bytes(),
            &[400],
        ),
        (
            format!(
                "GET /a HTTP/1.1\r\n{close}If-None-Match: \"\u{fc}\r\nIf-Modified-Since: \0\r\n\r\n"
            )
            .into_bytes(),
            &[400],
        ),
    ] {
        let mut connection = TcpStream::connect(limited.address).await.unwrap();
        // It may have heard enough before the end.
        let _ = connection.write_all(&request).await;
        let _ = connection.shutdown().await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(80)]).into_owned();
        if let Some(answer) = Answer::try_parse(&rest(connection).await) {
            assert!(statuses.contains(&answer.status), "{shown:?}: {}", answer.status);
        }
    }
    limited.check_it_answers().await;
}

#[tokio::test]
async fn who_goes_away_leaves_nothing() {
    let mut limited = Limited::start(Limits { connections: 1, ..NONE }).await;
    limited.world.store.fault(Fault::hold().on(Operation::Get).once());
    let gone: Arc<Mutex<Option<TcpStream>>> = Arc::default();
    *gone.lock().unwrap() = Some(limited.connect(REQUEST).await);
    limited.world.store.wait_until_held(1).await;
    drop(gone.lock().unwrap().take());
    // Its place is free, and its request has no status.
    limited.check_it_answers_after_release().await;
    let access = limited.accesses.recv().await.unwrap();
    assert!(access.contains("\"GET /a HTTP/1.1\" "), "{access}");
}

impl Limited {
    async fn check_it_answers_after_release(&self) {
        self.world.store.heal();
        self.world.store.release_all();
        self.check_it_answers().await;
    }
}
