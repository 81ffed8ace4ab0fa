//! A router between a process and its bus, which loses bytes on command.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

/// The bytes that a [`Proxy`] loses. It accepts and keeps connections in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Loses {
    Nothing,
    /// All that the server sends.
    FromServer,
    /// All that the client sends.
    ToServer,
}

/// Accepts connections on a port of its own. Its threads end with their connections.
pub(crate) struct Proxy {
    port: u16,
    loses: Arc<AtomicU8>,
}

impl Proxy {
    pub(crate) fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let loses = Arc::new(AtomicU8::new(Loses::Nothing as u8));
        let shared = Arc::clone(&loses);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Without a server, the client's connection is closed.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else { continue };
                let pair = || client.try_clone().ok().zip(server.try_clone().ok());
                let (Some((client, server)), Some((to, from))) = (pair(), pair()) else { continue };
                copy(client, server, Loses::ToServer, Arc::clone(&shared));
                copy(from, to, Loses::FromServer, Arc::clone(&shared));
            }
        });
        Self { port, loses }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn lose(&self, loses: Loses) {
        self.loses.store(loses as u8, Ordering::Relaxed);
    }
}

/// Copies until either end closes.
fn copy(mut from: TcpStream, mut to: TcpStream, lost_if: Loses, loses: Arc<AtomicU8>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            let is_lost = loses.load(Ordering::Relaxed) == lost_if as u8;
            if !is_lost && to.write_all(&buffer[..len]).is_err() {
                break;
            }
        }
        for stream in [from, to] {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
}
