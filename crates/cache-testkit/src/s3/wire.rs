//! Requests and answers on a connection: HTTP/1.1, by hand.
//!
//! A server that is to lie about lengths, end a body in the middle or say a header twice cannot be
//! built on one that keeps its users from all that. Requests are read with `httparse`, which is
//! what hyper reads them with.

use std::{future::pending, io};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{S3Request, fault::Plan, objects::Answer, record::Ticket};
use crate::{BodyFault, Operation};

/// One connection of a client.
pub(super) struct Connection {
    stream: TcpStream,
    /// What was read and not yet used.
    buffer: BytesMut,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The next request; `None` if the client is done.
    pub(super) async fn request(&mut self) -> io::Result<Option<S3Request>> {
        let head = loop {
            if let Some(head) = parse_head(&self.buffer)? {
                break head;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        };
        let Head { bytes, mut request } = head;
        self.buffer.advance(bytes);
        if request.header("transfer-encoding").is_some() {
            return Err(invalid("a body without a length, which S3 does not take"));
        }
        let length = request.header("content-length").map_or(Ok(0), str::parse);
        let length: usize = length.map_err(|_| invalid("a length that is no number"))?;
        while self.buffer.len() < length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
        // Its own buffer: an object must not keep the connection's.
        request.body = Bytes::copy_from_slice(&self.buffer[..length]);
        self.buffer.advance(length);
        Ok(Some(request))
    }

    /// Returns when the client has gone away.
    pub(super) async fn gone(&self) {
        if !self.buffer.is_empty() || !matches!(self.stream.peek(&mut [0]).await, Ok(0) | Err(_)) {
            // It has sent the next request already.
            pending::<()>().await;
        }
    }

    /// Writes `answer` with the faults that are `plan`ned for it. Whether the connection can go on.
    pub(super) async fn answer(
        &mut self,
        answer: Answer,
        is_head: bool,
        plan: &Plan,
        ticket: &Ticket,
    ) -> io::Result<bool> {
        let Answer { status, mut headers, body } = answer;
        let fault = plan.body.filter(|_| matches!(status, 200 | 206));
        let announced = plan.length.unwrap_or(body.len() as u64);
        let is_chunked = !is_head
            && (plan.length.is_some()
                || matches!(fault, Some(BodyFault::Truncated(_) | BodyFault::Overlong(_))));
        // Neither has a body (RFC 9110 section 15).
        let is_bare = matches!(status, 204 | 304);
        if !is_bare {
            headers.push(("content-length".to_owned(), announced.to_string()));
        }
        if is_chunked && !is_bare {
            headers.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
        }
        headers.extend(plan.headers.iter().cloned());
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        head += "\r\n";
        ticket.answered(status);
        if is_head || is_bare {
            self.stream.write_all(head.as_bytes()).await?;
            return Ok(true);
        }
        let first =
            |len: u64| body.slice(..body.len().min(usize::try_from(len).unwrap_or(usize::MAX)));
        if is_chunked {
            let body = match fault {
                Some(BodyFault::Truncated(len)) => first(len),
                Some(BodyFault::Overlong(extra)) => {
                    Bytes::from([&body[..], &vec![b'x'; extra]].concat())
                }
                _ => body,
            };
            let mut chunked = head.into_bytes();
            if !body.is_empty() {
                chunked.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
                chunked.extend_from_slice(&body);
                chunked.extend_from_slice(b"\r\n");
            }
            chunked.extend_from_slice(b"0\r\n\r\n");
            self.stream.write_all(&chunked).await?;
            ticket.wrote(body.len());
            return Ok(true);
        }
        self.stream.write_all(head.as_bytes()).await?;
        match fault {
            Some(BodyFault::Fails(len)) => {
                self.write(&first(len), ticket).await?;
                Ok(false)
            }
            Some(BodyFault::Hangs(len) | BodyFault::Stalls(len)) => {
                self.write(&first(len), ticket).await?;
                self.gone().await;
                Ok(false)
            }
            Some(BodyFault::Chunked(len)) => {
                for chunk in body.chunks(len.max(1)) {
                    self.write(chunk, ticket).await?;
                    tokio::task::yield_now().await;
                }
                Ok(true)
            }
            _ => {
                self.write(&body, ticket).await?;
                Ok(true)
            }
        }
    }

    async fn write(&mut self, bytes: &[u8], ticket: &Ticket) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        ticket.wrote(bytes.len());
        Ok(())
    }
}

struct Head {
    /// How long it is.
    bytes: usize,
    request: S3Request,
}

/// `None` while it is not complete.
fn parse_head(buffer: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let bytes = match parsed
        .parse(buffer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
    {
        httparse::Status::Complete(bytes) => bytes,
        httparse::Status::Partial => return Ok(None),
    };
    let mut all: Vec<(String, String)> = Vec::new();
    for header in parsed.headers.iter() {
        let (name, value) =
            (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value));
        match all.iter_mut().find(|(has, _)| *has == name) {
            // A list may come in several lines (RFC 9110 section 5.3).
            Some((_, values)) => *values += &format!(", {value}"),
            None => all.push((name, value.into_owned())),
        }
    }
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
    };
    let query: Vec<_> = query.split('&').filter(|part| !part.is_empty()).map(pair).collect();
    let key = key_of(path);
    let has = |name: &str| query.iter().any(|(parameter, _)| parameter == name);
    let source = all.iter().find(|(name, _)| name == "x-amz-copy-source");
    let source = source.map(|(_, source)| key_of(source));
    let operation = match method {
        "GET" if key.is_empty() => Operation::List,
        "GET" => Operation::Get,
        "HEAD" => Operation::Head,
        "PUT" if has("partNumber") => Operation::PutPart,
        "PUT" if source.is_some() => Operation::Copy,
        "PUT" => Operation::Put,
        "DELETE" if has("uploadId") => Operation::AbortMultipart,
        "DELETE" => Operation::Delete,
        "POST" if has("uploads") => Operation::StartMultipart,
        "POST" if has("uploadId") => Operation::CompleteMultipart,
        "POST" if has("delete") && key.is_empty() => Operation::BulkDelete,
        other => {
            return Err(invalid(&format!("{other} {target}, which this server does not know")));
        }
    };
    let mut request = S3Request::new(operation, &key, all);
    if operation == Operation::List {
        let prefix = query.iter().find(|(name, _)| name == "prefix");
        request.key = prefix.map(|(_, prefix)| prefix.clone()).unwrap_or_default();
    }
    Ok(Some(Head { bytes, request: S3Request { source, query, ..request } }))
}

/// The key in `/bucket/key`. The bucket may be any.
fn key_of(path: &str) -> String {
    let path = path.strip_prefix('/').unwrap_or(path);
    decoded(path.split_once('/').map_or("", |(_, key)| key))
}

/// Without its percent signs.
fn decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        let hex = || u8::from_str_radix(std::str::from_utf8(after.get(..2)?).ok()?, 16).ok();
        match (*first, hex()) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &after[2..];
            }
            (byte, _) => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// For people who read along.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        404 => "Not Found",
        412 => "Precondition Failed",
        _ => "Other",
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

const HEADERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_whole() {
        let text = "PUT /bucket/a%20b/c%2Fd?x=1%2b2 HTTP/1.1\r\nIf-Match: \"a\"\r\nIF-MATCH: \
            \"b\"\r\n\r\nbody";
        assert!(parse_head(&text.as_bytes()[..40]).unwrap().is_none());
        let Head { bytes, request } = parse_head(text.as_bytes()).unwrap().unwrap();
        assert_eq!(&text[bytes..], "body");
        assert_eq!((request.operation, request.key.as_str()), (Operation::Put, "a b/c/d"));
        assert_eq!(
            (request.header("if-match"), request.parameter("x")),
            (Some("\"a\", \"b\""), Some("1+2"))
        );
    }

    #[test]
    fn what_is_not_encoded_stays() {
        assert_eq!(decoded("%zz%4"), "%zz%4");
        assert_eq!(decoded("%c3%a9"), "é");
    }
}
