//! Against real servers, which each test starts for itself. Left out, with a word, where
//! `redis-server` is not installed.

mod server;
mod suite;
#[cfg(feature = "tls")]
mod tls;

use std::{sync::Arc, time::Duration};

use cache_bus_redis::RedisBus;
use cache_core::{BusEvent, ChangeBus, ErrorKind, GapReason, Namespace};
use futures_util::FutureExt;

use server::{Program, Server};
use suite::{Kind, Settings, Suite, message, next};

const REDIS: Program = Program {
    names: &["redis-server", "valkey-server"],
    debian_package: "redis-server",
    args: |port| {
        let port = port.to_string();
        let args = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        args.map(ToOwned::to_owned).to_vec()
    },
    ready: "Ready to accept connections",
};

const SUITE: Suite = Suite(Kind {
    program: REDIS,
    bus: |port, namespace, settings: &Settings| {
        let bus = RedisBus::builder(format!("redis://127.0.0.1:{port}"), namespace)
            .time_limit(settings.time_limit)
            .ping_every(settings.ping_every)
            .buffer(settings.buffer)
            .build();
        Arc::new(bus.expect("a bus"))
    },
    publish: |port, channel, messages| {
        async move {
            let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("a URL");
            let mut connection =
                client.get_multiplexed_async_connection().await.expect("a connection");
            let mut pipeline = redis::pipe();
            for message in messages {
                pipeline.cmd("PUBLISH").arg(&channel).arg(message).ignore();
            }
            pipeline.exec_async(&mut connection).await.expect("published messages");
        }
        .boxed()
    },
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract() {
    SUITE.it_keeps_the_contract().await;
}

#[tokio::test]
async fn messages_are_delivered_in_order_to_all_and_to_their_sender() {
    SUITE.messages_are_delivered_in_order_to_all_and_to_their_sender().await;
}

#[tokio::test]
async fn all_changes_arrive_as_they_were_also_long_ones() {
    SUITE.all_changes_arrive_as_they_were_also_long_ones().await;
}

#[tokio::test]
async fn unreadable_messages_and_other_namespaces() {
    SUITE.unreadable_messages_and_other_namespaces().await;
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again() {
    SUITE.a_server_that_is_killed_and_started_again().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_at_first() {
    SUITE.a_server_that_is_not_there_at_first().await;
}

#[tokio::test]
async fn a_server_that_is_paused() {
    SUITE.a_server_that_is_paused().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_polled() {
    SUITE.a_stream_that_is_not_polled().await;
}

#[tokio::test]
async fn a_small_buffer() {
    SUITE.a_small_buffer().await;
}

#[tokio::test]
async fn no_task_outlives_a_bus() {
    SUITE.no_task_outlives_a_bus().await;
}

#[test]
fn a_runtime_that_is_not_there() {
    SUITE.a_runtime_that_is_not_there();
}

fn bus(url: &str) -> cache_core::Result<RedisBus> {
    let builder = RedisBus::builder(url, Namespace::named("s3://bucket"));
    // Long enough on a busy machine.
    builder.time_limit(Duration::from_secs(10)).build()
}

/// The error of an announcement and of a check, which are the same.
async fn error(url: &str) -> cache_core::Error {
    let bus = bus(url).expect("a URL that can be read");
    let error = bus.announce(&message(1)).await.expect_err("a server that refuses");
    let checked = bus.check().await.expect_err("a server that refuses");
    assert_eq!(checked.kind(), error.kind(), "{checked}");
    assert!(!format!("{bus:?} {error} {error:?}").contains("secret"));
    error
}

#[tokio::test]
async fn a_password_that_is_missing_or_wrong() {
    let Some(server) = Server::start(REDIS, &["--requirepass", "secret"]) else { return };
    let port = server.port();
    let missing = error(&format!("redis://127.0.0.1:{port}")).await;
    assert_eq!(missing.kind(), ErrorKind::Unauthenticated, "{missing}");
    assert!(missing.to_string().contains("the URL"), "{missing}");
    let wrong = error(&format!("redis://:secret1@127.0.0.1:{port}")).await;
    assert_eq!(wrong.kind(), ErrorKind::Unauthenticated, "{wrong}");
    assert!(wrong.to_string().contains("the URL"), "{wrong}");

    let bus = bus(&format!("redis://:secret@127.0.0.1:{port}")).expect("a bus");
    bus.check().await.expect("the right password");
    bus.announce(&message(1)).await.expect("the right password");
}

#[tokio::test]
async fn a_user_that_may_not() {
    let denied = "--user secret_free on >pw ~* resetchannels +@all";
    let allowed = "--user cache on >pw resetchannels &object-cache.* -@all +hello +ping +subscribe \
        +publish";
    let args: Vec<_> = [denied, allowed].into_iter().flat_map(str::split_whitespace).collect();
    let Some(server) = Server::start(REDIS, &args) else { return };
    let port = server.port();
    let denied = error(&format!("redis://secret_free:pw@127.0.0.1:{port}")).await;
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied, "{denied}");
    assert!(denied.to_string().contains("&object-cache.*"), "{denied}");

    // The user of the documentation.
    let bus = bus(&format!("redis://cache:pw@127.0.0.1:{port}")).expect("a bus");
    bus.check().await.expect("a user that may");
    let mut stream = bus.listen();
    assert_eq!(next(&mut stream).await, BusEvent::Connected);
    bus.announce(&message(1)).await.expect("a user that may");
    assert_eq!(next(&mut stream).await, BusEvent::Message(message(1)));
}

#[tokio::test]
async fn a_listener_that_the_server_refuses_hears_of_a_gap_once() {
    let Some(server) = Server::start(REDIS, &["--requirepass", "secret"]) else { return };
    let bus = bus(&format!("redis://127.0.0.1:{}", server.port())).expect("a bus");
    let mut stream = bus.listen();
    assert_eq!(next(&mut stream).await, BusEvent::Gap(GapReason::Disconnected));
}

#[test]
fn a_url_that_cannot_be_used() {
    let urls = ["", "redis", "http://localhost", "redis://", "redis://:secret@host:port"];
    for url in urls.into_iter().chain((!cfg!(feature = "tls")).then_some("rediss://localhost")) {
        let error = bus(url).expect_err(url);
        assert!(error.is_config(), "{url}: {error}");
        assert!(error.to_string().contains("redis://[user]"), "{error}");
        assert!(!format!("{error:?}").contains("secret"));
    }
    let zero = Duration::ZERO;
    let builder = RedisBus::builder("redis://:secret@localhost", Namespace::named("s3://bucket"));
    assert!(!format!("{builder:?}").contains("secret"));
    assert!(builder.clone().time_limit(zero).build().expect_err("zero").is_config());
    assert!(builder.ping_every(zero).build().expect_err("zero").is_config());
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_server_with_tls() {
    let address = |port| format!("rediss://127.0.0.1:{port}");
    if let Some(port) = tls::port() {
        let bus = bus(&address(port)).expect("a bus");
        return tls::works(bus, |bus| async move { bus.check().await }).await;
    }
    let Some(certificate) = tls::Certificate::new() else { return };
    let (cert, key) = (certificate.certificate.display(), certificate.key.display());
    let (cert, key) = (cert.to_string(), key.to_string());
    let program = Program {
        args: |port| {
            let port = port.to_string();
            let args = ["--tls-port", &port, "--port", "0", "--bind", "127.0.0.1", "--save", ""];
            args.map(ToOwned::to_owned).to_vec()
        },
        ..REDIS
    };
    let args = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert];
    let args = [&args[..], &["--tls-auth-clients", "no"]].concat();
    let Some(server) = Server::start(program, &args) else { return };
    certificate.trusted("a_server_with_tls", server.port());

    // This process does not trust it.
    let error = error(&address(server.port())).await;
    assert!(error.is_unavailable() && error.to_string().contains("certificate"), "{error}");
    // Nor does a server without TLS work with it, and the other way round.
    let error = self::error(&format!("redis://127.0.0.1:{}", server.port())).await;
    assert!(error.is_unavailable(), "{error}");
    let Some(server) = Server::start(REDIS, &[]) else { return };
    let bus = RedisBus::builder(address(server.port()), Namespace::named("s3://bucket"));
    let bus = bus.time_limit(Duration::from_millis(100)).build().expect("a bus");
    // It waits for the end of what it takes for a command.
    let error = bus.check().await.expect_err("a server without TLS");
    assert!(error.is_timeout(), "{error}");
}
