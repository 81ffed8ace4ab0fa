//! One exchange: a request and its response, as an access log tells of it.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode, Uri, Version},
    response::Response,
};
use cache_facade::cache_core::{Clock, Moment};
use hyper::body::{Frame, Incoming, SizeHint};

use crate::connection::Connection;

/// A request that has ended, and its response.
///
/// Its `Display` is a line of the Common Log Format, with the `Cache-Status` and the seconds that
/// it took appended. `-` stands for what is not known; a response that the client did not wait for
/// has no status.
///
/// ```text
/// 127.0.0.1 - - [01/Jan/2025:00:00:00 +0000] "GET /a.txt HTTP/1.1" 200 1234 "object-cache; hit" 0.002
/// ```
#[derive(Debug, Clone)]
pub struct Access {
    peer: IpAddr,
    date: SystemTime,
    request: String,
    status: Option<StatusCode>,
    /// Of the body.
    bytes: u64,
    cache_status: Option<String>,
    took: Duration,
}

pub(crate) type OnRequest = dyn Fn(&Access) + Send + Sync;

/// Tells of exchanges, if anybody wants to hear.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) on_request: Option<Arc<OnRequest>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// An exchange that has not ended. It ends when this is dropped.
pub(crate) struct Exchange {
    connection: Arc<Connection>,
    listened_to: Option<Listened>,
}

/// An exchange that somebody wants to hear of.
struct Listened {
    log: Log,
    begun_at: Moment,
    access: Access,
}

impl Log {
    /// What could not be read as a request.
    pub(crate) fn note_malformed(&self, peer: IpAddr, status: StatusCode) {
        self.note(&Access {
            peer,
            date: self.clock.wall_time(),
            request: "-".to_owned(),
            status: Some(status),
            bytes: 0,
            cache_status: None,
            took: Duration::ZERO,
        });
    }

    fn note(&self, access: &Access) {
        if let Some(on_request) = &self.on_request {
            on_request(access);
        }
    }
}

impl Exchange {
    pub(crate) fn begin(
        connection: &Arc<Connection>,
        log: &Log,
        peer: IpAddr,
        request: &Request<Incoming>,
    ) -> Self {
        connection.begin_response();
        let listened_to = log.on_request.is_some().then(|| {
            let access = Access {
                peer,
                date: log.clock.wall_time(),
                request: line(request.method(), request.uri(), request.version()),
                status: None,
                bytes: 0,
                cache_status: None,
                took: Duration::ZERO,
            };
            Listened { log: log.clone(), begun_at: log.clock.now(), access }
        });
        Self { connection: Arc::clone(connection), listened_to }
    }

    /// Ends with the body of `response`.
    pub(crate) fn follow(mut self, response: Response) -> Response {
        if let Some(Listened { access, .. }) = &mut self.listened_to {
            access.status = Some(response.status());
            access.cache_status = cache_status(response.headers());
        }
        response.map(|body| Body::new(Followed { body, exchange: self }))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.connection.end_response();
        if let Some(Listened { log, begun_at, mut access }) = self.listened_to.take() {
            access.took = log.clock.now().saturating_since(begun_at);
            log.note(&access);
        }
    }
}

/// A body, whose exchange ends with it.
struct Followed {
    body: Body,
    exchange: Exchange,
}

impl hyper::body::Body for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let (Some(data), Some(Listened { access, .. })) =
                (frame.data_ref(), &mut self.exchange.listened_to)
        {
            access.bytes += data.len() as u64;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - - [{}] \"{}\" ", self.peer, Date(self.date), self.request)?;
        match self.status {
            Some(status) => write!(f, "{} {}", status.as_u16(), self.bytes)?,
            None => f.write_str("- 0")?,
        }
        let cache_status = self.cache_status.as_deref().unwrap_or("-");
        write!(f, " \"{cache_status}\" {:.3}", self.took.as_secs_f64())
    }
}

/// `01/Jan/2025:00:00:00 +0000`
struct Date(SystemTime);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Wed, 01 Jan 2025 00:00:00 GMT`
        let date = httpdate::HttpDate::from(self.0).to_string();
        let mut words = date.split(' ').skip(1);
        let mut word = || words.next().unwrap_or("-");
        write!(f, "{}/{}/{}:{} +0000", word(), word(), word(), word())
    }
}

fn line(method: &Method, target: &Uri, version: Version) -> String {
    let target = target.to_string();
    let mut line = format!("{method} ");
    for byte in target.bytes() {
        // Nothing that a client sends ends the field, or the line.
        match byte {
            b'"' | b'\\' => _ = write!(line, "\\x{byte:02X}"),
            b'!'..=b'~' => line.push(char::from(byte)),
            _ => _ = write!(line, "\\x{byte:02X}"),
        }
    }
    _ = write!(line, " {version:?}");
    line
}

fn cache_status(headers: &HeaderMap) -> Option<String> {
    headers.get("cache-status")?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_line_has_what_log_readers_expect() {
        let mut access = Access {
            peer: [127, 0, 0, 1].into(),
            date: UNIX_EPOCH + Duration::from_secs(1_735_689_600),
            request: line(&Method::GET, &Uri::from_static("/a\"b?c"), Version::HTTP_11),
            status: Some(StatusCode::OK),
            bytes: 7,
            cache_status: Some("object-cache; hit".to_owned()),
            took: Duration::from_micros(1500),
        };
        assert_eq!(
            access.to_string(),
            "127.0.0.1 - - [01/Jan/2025:00:00:00 +0000] \"GET /a\\x22b?c HTTP/1.1\" 200 7 \
             \"object-cache; hit\" 0.002"
        );
        (access.status, access.cache_status) = (None, None);
        assert!(access.to_string().ends_with("HTTP/1.1\" - 0 \"-\" 0.002"), "{access}");
    }
}
