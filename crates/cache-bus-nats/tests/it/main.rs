//! Against real servers, which each test starts for itself. Left out, with a word, where
//! `nats-server` is not installed.

#[path = "../../../cache-bus-redis/tests/it/server.rs"]
mod server;
#[path = "../../../cache-bus-redis/tests/it/suite.rs"]
mod suite;
#[path = "../../../cache-bus-redis/tests/it/tls.rs"]
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "a server with TLS alone"))]
mod tls;

use std::{sync::Arc, time::Duration};

use cache_bus_nats::NatsBus;
use cache_core::{BusEvent, ChangeBus, ErrorKind, GapReason, Namespace};
use futures_util::FutureExt;

use server::{Program, Server};
use suite::{Kind, Settings, Suite, in_time, message, next};

const NATS: Program = Program {
    // Debian has it where users do not search.
    names: &["nats-server", "/usr/sbin/nats-server"],
    debian_package: "nats-server",
    args: |port| {
        let port = port.to_string();
        ["-a", "127.0.0.1", "-p", &port].map(ToOwned::to_owned).to_vec()
    },
    ready: "Server is ready",
};

const SUITE: Suite = Suite(Kind {
    program: NATS,
    bus: |port, namespace, settings: &Settings| {
        let bus = NatsBus::builder(format!("nats://127.0.0.1:{port}"), namespace)
            .time_limit(settings.time_limit)
            .ping_every(settings.ping_every)
            .buffer(settings.buffer)
            .build();
        Arc::new(bus.expect("a bus"))
    },
    publish: |port, channel, messages| {
        async move {
            let client =
                async_nats::connect(format!("127.0.0.1:{port}")).await.expect("a connection");
            for message in messages {
                client.publish(channel.clone(), message.into()).await.expect("a message");
            }
            client.flush().await.expect("published messages");
            // It has taken them all when it answers.
            let _ = client.request(format!("{channel}.taken"), Vec::new().into()).await;
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

fn bus(url: &str) -> cache_core::Result<NatsBus> {
    let builder = NatsBus::builder(url, Namespace::named("s3://bucket"));
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
    let args = ["--user", "cache", "--pass", "sec/ret"];
    let Some(server) = Server::start(NATS, &args) else { return };
    let port = server.port();
    for user in ["", "cache:secret@", "secret@"] {
        let wrong = error(&format!("nats://{user}127.0.0.1:{port}")).await;
        assert_eq!(wrong.kind(), ErrorKind::Unauthenticated, "{wrong}");
        assert!(wrong.to_string().contains("the URL"), "{wrong}");
    }
    // A listener hears of it once, as a gap.
    let refused = bus(&format!("nats://127.0.0.1:{port}")).expect("a bus");
    assert_eq!(next(&mut refused.listen()).await, BusEvent::Gap(GapReason::Disconnected));

    let bus = bus(&format!("nats://cache:sec%2fret@127.0.0.1:{port}")).expect("a bus");
    bus.check().await.expect("the right password");
    bus.announce(&message(1)).await.expect("the right password");
}

#[tokio::test]
async fn a_token() {
    let Some(server) = Server::start(NATS, &["--auth", "token"]) else { return };
    let port = server.port();
    let bus = bus(&format!("nats://token@127.0.0.1:{port}")).expect("a bus");
    bus.check().await.expect("the right token");
    let options = async_nats::ConnectOptions::new().token("token".to_owned());
    let bus = NatsBus::builder(format!("127.0.0.1:{port}"), Namespace::named("s3://bucket"))
        .options(options)
        .build();
    bus.expect("a bus").check().await.expect("the right token");
}

#[tokio::test]
async fn a_user_that_may_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("nats.conf");
    let users = r#"
        authorization { users: [
            { user: denied, password: pw,
              permissions: { publish: "other", subscribe: ["other", "*.*.inbox.>"] } },
            { user: cache, password: pw,
              permissions: { publish: "object-cache.>", subscribe: "object-cache.>" } },
        ] }
    "#;
    std::fs::write(&file, users).expect("a file");
    let file = file.to_string_lossy();
    let Some(server) = Server::start(NATS, &["--config", &file]) else { return };
    let port = server.port();

    let denied = bus(&format!("nats://denied:pw@127.0.0.1:{port}")).expect("a bus");
    // NATS tells only after the first message.
    let error = in_time(async {
        loop {
            if let Err(error) = denied.announce(&message(1)).await {
                break error;
            }
        }
    });
    let error = error.await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("object-cache.>"), "{error}");
    assert_eq!(next(&mut denied.listen()).await, BusEvent::Gap(GapReason::Disconnected));

    // The user of the documentation.
    let bus = bus(&format!("nats://cache:pw@127.0.0.1:{port}")).expect("a bus");
    bus.check().await.expect("a user that may");
    let mut stream = bus.listen();
    assert_eq!(next(&mut stream).await, BusEvent::Connected);
    bus.announce(&message(1)).await.expect("a user that may");
    assert_eq!(next(&mut stream).await, BusEvent::Message(message(1)));
}

/// Of two servers, the bus uses the one that is there.
#[tokio::test]
async fn several_addresses() {
    let Some(mut one) = Server::start(NATS, &[]) else { return };
    let Some(mut two) = Server::stopped(NATS, &[]) else { return };
    let urls = format!("nats://127.0.0.1:{}, nats://127.0.0.1:{}", one.port(), two.port());
    let bus = bus(&urls).expect("a bus");
    let mut stream = bus.listen();
    for round in 0..3 {
        assert_eq!(next(&mut stream).await, BusEvent::Connected);
        bus.announce(&message(round)).await.expect("a server that takes messages");
        assert_eq!(next(&mut stream).await, BusEvent::Message(message(round)));
        two.restart();
        one.kill();
        assert_eq!(next(&mut stream).await, BusEvent::Gap(GapReason::Disconnected));
        std::mem::swap(&mut one, &mut two);
    }
}

#[test]
fn a_url_that_cannot_be_used() {
    let urls = ["", "http://localhost", "ws://localhost", "nats://", "nats://a:secret@host:port"];
    let more = ["nats://a,,nats://b", "nats://%ff:secret@host"];
    let tls = (!cfg!(feature = "tls")).then_some("tls://localhost");
    for url in urls.into_iter().chain(more).chain(tls) {
        let error = bus(url).expect_err(url);
        assert!(error.is_config(), "{url}: {error}");
        assert!(error.to_string().contains("nats://[user"), "{error}");
        assert!(!format!("{error:?}").contains("secret"));
    }
    let builder = NatsBus::builder("nats://a:secret@localhost", Namespace::named("s3://bucket"));
    assert!(!format!("{builder:?}").contains("secret"));
    assert!(builder.clone().time_limit(Duration::ZERO).build().expect_err("zero").is_config());
    assert!(builder.ping_every(Duration::ZERO).build().expect_err("zero").is_config());
}

#[tokio::test]
async fn a_server_with_tls() {
    if let Some(port) = tls::port() {
        let bus = bus(&format!("tls://127.0.0.1:{port}")).expect("a bus");
        return tls::works(bus, |bus| async move { bus.check().await }).await;
    }
    let Some(certificate) = tls::Certificate::new() else { return };
    let (cert, key) = (certificate.certificate.display(), certificate.key.display());
    let args = ["--tls".to_owned(), format!("--tlscert={cert}"), format!("--tlskey={key}")];
    let Some(server) = Server::start(NATS, &args.each_ref().map(String::as_str)) else { return };
    #[cfg(feature = "tls")]
    certificate.trusted("a_server_with_tls", server.port());

    // This process does not trust it, or has no TLS.
    let error = error(&format!("nats://127.0.0.1:{}", server.port())).await;
    let text = error.to_string();
    if cfg!(feature = "tls") {
        assert!(error.is_unavailable() && text.contains("certificate"), "{error}");
    } else {
        assert!(text.contains("feature `tls`") || text.contains("certificate"), "{error}");
    }
}
