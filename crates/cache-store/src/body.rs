//! Bodies: whole, and of the announced length.
//!
//! *Length.* object_store takes the length of a body as a hint: one that ends early, or goes on,
//! passes. An incomplete answer may not be used as a complete one (RFC 9111 section 3.3), so every
//! body is counted here. A stream may also never end: one over a file that was cut after it was
//! opened yields empty chunks for ever.
//!
//! *Buffers.* A `Bytes` keeps its whole buffer alive. A body of 200 bytes straight from the HTTP
//! client kept 23 times its size (the client's read buffer), one of 64 KiB 1.1 times. So a small
//! one that came as one chunk is left to the entry, which copies what is a part of a larger buffer;
//! a large one is in a buffer about as long ([`is_in_its_buffer`]). What is given out of a block is
//! copied if it would keep much more than itself alive ([`part_of`]).

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Result};
use futures_util::{StreamExt, stream::BoxStream};
use object_store::{GetResult, GetResultPayload};

/// The body of `answer`, the answer to a question for the whole object.
pub(crate) async fn read(answer: GetResult) -> Result<Bytes> {
    let size = answer.meta.size;
    if answer.range != (0..size) {
        return Err(torn(
            "the origin answered with a part of the object, though asked for the whole",
        ));
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

/// `part` of a buffer of `len` bytes; a copy, if it would keep more than twice its own length
/// alive.
pub(crate) fn part_of(len: usize, part: Bytes) -> Bytes {
    if len <= (2 * part.len()).max(LARGE) { part } else { Bytes::copy_from_slice(&part) }
}

/// The body of an answer as it comes.
pub(crate) struct Chunks {
    pub(crate) chunks: BoxStream<'static, object_store::Result<Bytes>>,
    /// Each chunk has a buffer of its own, as long as itself, and none crosses a multiple of the
    /// step.
    pub(crate) are_whole: bool,
}

/// The body of `answer`. A file is read in steps that end at multiples of `step`, each by one
/// blocking call: object_store's own stream would make one for every 8 KiB.
#[cfg_attr(not(feature = "fs"), expect(unused_variables, reason = "there are no files"))]
pub(crate) fn chunks(answer: GetResult, step: u64) -> Chunks {
    match answer {
        #[cfg(feature = "fs")]
        GetResult { payload: GetResultPayload::File(file, _), range, .. } => {
            Chunks { chunks: file::chunks(file, range, step), are_whole: step <= file::READ_MAX }
        }
        answer => Chunks { chunks: answer.into_stream(), are_whole: false },
    }
}

#[cfg(feature = "fs")]
mod file {
    use std::{
        fs::File,
        io::{self, Read, Seek, SeekFrom},
        ops::Range,
    };

    use bytes::Bytes;
    use futures_util::{
        StreamExt,
        stream::{self, BoxStream},
    };
    use tokio::runtime::Handle;

    /// The bytes of `file` in `range`. Ends early where the file does.
    pub(super) fn chunks(
        file: File,
        range: Range<u64>,
        step: u64,
    ) -> BoxStream<'static, object_store::Result<Bytes>> {
        let start = range.start;
        let read_on = move |(mut file, at): (File, u64)| {
            let end = (at - at % step)
                .saturating_add(step)
                .min(at.saturating_add(READ_MAX))
                .min(range.end);
            async move {
                if at == end {
                    return Ok(None);
                }
                let read = move || {
                    // Each read but the first goes on where the last one ended.
                    if at == start {
                        file.seek(SeekFrom::Start(at))?;
                    }
                    let buffer = read_up_to(&mut file, end - at)?;
                    Ok::<_, io::Error>((buffer, file))
                };
                let read = match Handle::try_current() {
                    Ok(runtime) => runtime
                        .spawn_blocking(read)
                        .await
                        .map_err(io::Error::other)
                        .and_then(|read| read),
                    Err(_) => read(),
                };
                let (buffer, file) = read.map_err(|error| object_store::Error::Generic {
                    store: "LocalFileSystem",
                    source: Box::new(error),
                })?;
                let next = at + buffer.len() as u64;
                // Nothing: the file was cut off since it was opened.
                Ok(Some((buffer, (file, next))).filter(|(buffer, _)| !buffer.is_empty()))
            }
        };
        stream::try_unfold((file, start), read_on).boxed()
    }

    /// The next `len` bytes of `file`, or as many as there are, in a buffer of their length.
    fn read_up_to(file: &mut File, len: u64) -> io::Result<Bytes> {
        let mut buffer = Vec::new();
        let len = usize::try_from(len).map_err(io::Error::other)?;
        buffer.try_reserve_exact(len).map_err(io::Error::other)?;
        buffer.resize(len, 0);
        let mut filled = 0;
        while filled < len {
            match file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        buffer.shrink_to_fit();
        Ok(buffer.into())
    }

    /// How many bytes of a file are read by one call at most.
    pub(super) const READ_MAX: u64 = 4 * 1024 * 1024;
}

async fn collect(
    mut chunks: BoxStream<'static, object_store::Result<Bytes>>,
    size: u64,
) -> Result<Bytes> {
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
async fn next(
    chunks: &mut BoxStream<'static, object_store::Result<Bytes>>,
) -> Result<Option<Bytes>> {
    for _ in 0..EMPTY_CHUNKS_MAX {
        match chunks.next().await.transpose().map_err(broken)? {
            Some(chunk) if chunk.is_empty() => {}
            other => return Ok(other),
        }
    }
    Err(torn(ENDLESS))
}

/// Room for exactly `size` bytes. An origin that announces more than there is gets an error, not an
/// abort.
fn buffer(size: u64) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    match usize::try_from(size).is_ok_and(|size| buffer.try_reserve_exact(size).is_ok()) {
        true => Ok(buffer),
        false => Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "the object has {size} bytes, more than memory can be had for; see max_object_size"
            ),
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

/// An index into what is in memory.
pub(crate) fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use futures_util::stream;
    use object_store::ObjectMeta;

    use super::*;

    fn answer(size: u64, range: Range<u64>, chunks: &[&'static str]) -> GetResult {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
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
            assert_eq!(
                read(answer(2, range, &["ab"])).await.unwrap_err().kind(),
                ErrorKind::Unavailable
            );
        }
    }

    #[tokio::test]
    async fn an_absurd_length_is_an_error() {
        let error = read(answer(u64::MAX, 0..u64::MAX, &["a", "b"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}
