//! What `/metrics` of a program is to Prometheus, with nothing else around it.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use cache_facade::cache_metrics::CONTENT_TYPE;

/// Answers every request with the metrics of that moment, until the process ends.
pub(crate) struct Exporter {
    address: SocketAddr,
    /// One for each request, before it is answered.
    scrapes: Receiver<()>,
}

impl Exporter {
    /// Answers with what `render` gives, on a port of its own of the loopback interface.
    pub(crate) fn start(render: impl Fn() -> String + Send + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let (sender, scrapes) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever goes away before the answer asks again.
                let answered = stream.and_then(|stream| {
                    let stream = asked(stream)?;
                    let told = sender.send(());
                    answer(stream, &render()).map(|()| told)
                });
                if matches!(answered, Ok(Err(_))) {
                    return;
                }
            }
        });
        Ok(Self { address, scrapes })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until Prometheus has what is exported now: it asks again only when it has stored the answer before.
    ///
    /// # Errors
    ///
    /// It does not ask for a while.
    pub(crate) fn wait_until_scraped(&self) -> Result<(), String> {
        while self.scrapes.try_recv().is_ok() {}
        for _ in 0..2 {
            let next = self.scrapes.recv_timeout(PATIENCE);
            next.map_err(|_| format!("Prometheus did not ask for {PATIENCE:?}"))?;
        }
        Ok(())
    }
}

/// Reads a request, which has no body.
fn asked(mut stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(&mut stream).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    Ok(stream)
}

fn answer(mut stream: TcpStream, text: &str) -> io::Result<()> {
    let n = text.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {n}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(text.as_bytes())
}

const PATIENCE: Duration = Duration::from_secs(30);
