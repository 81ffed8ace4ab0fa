//! Bodies: whole, and of the announced length.
//!
//! *Length.* object_store takes the length of a body as a hint: one that ends early, or goes on, passes. An
//! incomplete answer may not be used as a complete one (RFC 9111 section 3.3), so every body is counted here.
//! A stream may also never end: one over a file that was cut after it was opened yields empty chunks for
//! ever.
//!
//! *Buffers.* A `Bytes` keeps its whole buffer alive. A body of 200 bytes straight from the HTTP client kept
//! 23 times its size (the client's read buffer), one of 64 KiB 1.1 times. So a small one that came as one chunk
//! is left to the entry, which copies what is a part of a larger buffer; a large one is in a buffer about as long
//! ([`is_in_its_buffer`]).

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Result};
use futures_util::{StreamExt, stream::BoxStream};
use object_store::{GetResult, GetResultPayload};

/// The body of `answer`, the answer to a question for the whole object.
pub(crate) async fn read(answer: GetResult) -> Result<Bytes> {
    let size = answer.meta.size;
    if answer.range != (0..size) {
        return Err(torn("the origin answered with a part of the object, though asked for the whole"));
    }
    if matches!(answer.payload, GetResultPayload::Stream(_)) {
        return collect(answer.into_stream(), size).await;
    }
    // A file is read at once, by a blocking thread: its stream would hop to one for every 8 KiB.
    // That read is of exactly the range, or an error.
    answer.bytes().await.map_err(broken)
}

/// Whether a body that was [`read`] fills its buffer, or nearly.
pub(crate) fn is_in_its_buffer(body: &Bytes) -> bool {
    body.len() >= LARGE
}

async fn collect(mut chunks: BoxStream<'static, object_store::Result<Bytes>>, size: u64) -> Result<Bytes> {
    let first = next(&mut chunks).await?.unwrap_or_default();
    if first.len() as u64 == size {
        return match next(&mut chunks).await? {
            Some(_) => Err(torn(LENGTH)),
            None => Ok(first),
        };
    }
    let mut body = buffer(size)?;
    let mut chunk = Some(first);
    while let Some(bytes) = chunk {
        if bytes.len() as u64 > size - body.len() as u64 {
            return Err(torn(LENGTH));
        }
        body.extend_from_slice(&bytes);
        // The chunk is free before the next one is waited for.
        drop(bytes);
        chunk = next(&mut chunks).await?;
    }
    match body.len() as u64 == size {
        true => Ok(Bytes::from(body)),
        false => Err(torn(LENGTH)),
    }
}

/// The next chunk with something in it.
async fn next(chunks: &mut BoxStream<'static, object_store::Result<Bytes>>) -> Result<Option<Bytes>> {
    for _ in 0..EMPTY_CHUNKS_MAX {
        match chunks.next().await.transpose().map_err(broken)? {
            Some(chunk) if chunk.is_empty() => {}
            other => return Ok(other),
        }
    }
    Err(torn(ENDLESS))
}

/// Room for exactly `size` bytes. An origin that announces more than there is gets an error, not an abort.
fn buffer(size: u64) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    match usize::try_from(size).is_ok_and(|size| buffer.try_reserve_exact(size).is_ok()) {
        true => Ok(buffer),
        false => Err(Error::new(
            ErrorKind::TooLarge,
            format!("the object has {size} bytes, more than memory can be had for; see max_object_size"),
        )),
    }
}

pub(crate) fn torn(message: &str) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}

/// Whatever ends a body early, the origin has failed: its answer had been given.
pub(crate) fn broken(error: object_store::Error) -> Error {
    torn("the origin failed while it sent the body").with_source(error)
}

pub(crate) const RANGE: &str = "the origin answered with another range than it was asked for";

pub(crate) const ENDLESS: &str =
    "the origin sends chunks without a byte, one after the other: the body never ends";

pub(crate) const LENGTH: &str =
    "the body is not as long as the origin said: it was cut off, or joined with something else";

/// A body of this many bytes that comes as one chunk fills the client's read buffer.
const LARGE: usize = 64 * 1024;

/// Empty chunks in a row that are still taken for a slow start.
pub(crate) const EMPTY_CHUNKS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use futures_util::stream;
    use object_store::ObjectMeta;

    use super::*;

    fn answer(size: u64, range: Range<u64>, chunks: &[&'static str]) -> GetResult {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        GetResult {
            payload: GetResultPayload::Stream(stream::iter(chunks).boxed()),
            meta: ObjectMeta {
                location: "a".into(),
                last_modified: Default::default(),
                size,
                e_tag: None,
                version: None,
            },
            range,
            attributes: Default::default(),
            extensions: Default::default(),
        }
    }

    #[tokio::test]
    async fn empty_chunks_between_others_are_passed_over() {
        let chunks = ["", "a", "", "", "b", ""];
        assert_eq!(read(answer(2, 0..2, &chunks)).await.unwrap(), "ab");
        assert_eq!(read(answer(0, 0..0, &["", ""])).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_part_is_not_taken_for_the_whole() {
        for range in [0..1, 1..3, 0..3] {
            assert_eq!(read(answer(2, range, &["ab"])).await.unwrap_err().kind(), ErrorKind::Unavailable);
        }
    }

    #[tokio::test]
    async fn an_absurd_length_is_an_error() {
        let error = read(answer(u64::MAX, 0..u64::MAX, &["a", "b"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}
