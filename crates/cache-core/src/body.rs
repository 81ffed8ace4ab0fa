//! Bodies in buffers of their own.
//!
//! A `Bytes` keeps its whole buffer alive: 200 bytes of a megabyte hold the megabyte. Nor does it
//! tell how long the buffer is: `try_into_mut` shows what is behind the body and hides what is
//! before it. Only `Vec::from` gives the buffer away, with the body moved to its start; or it
//! copies, if there are other handles.

use bytes::Bytes;

/// `body` in a buffer of its length. Copied unless it is the only handle of a buffer with nothing
/// else in it; where a large one is less than that, the rest of its buffer is given back.
pub(crate) fn own(body: Bytes) -> Bytes {
    // Takes the buffer over from its only handle, else copies.
    let mut buffer = Vec::from(body);
    if buffer.len() < buffer.capacity() {
        if buffer.len() < SHRINK_FROM {
            // Cut down to a small one, a large buffer would still fill a page.
            return Bytes::copy_from_slice(&buffer);
        }
        buffer.shrink_to_fit();
    }
    Bytes::from(buffer)
}

const SHRINK_FROM: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    const LARGE: usize = 4 * SHRINK_FROM;

    fn buffer(capacity: usize) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(capacity);
        buffer.extend((0..=250).cycle().take(LARGE));
        buffer
    }

    #[track_caller]
    fn check(what: &str, body: Bytes) {
        let expected = body.to_vec();
        let owned = own(body);
        assert_eq!(owned, expected, "{what}");
        assert!(owned.is_empty() || owned.is_unique(), "{what}");
        let buffer = Vec::from(owned);
        assert_eq!(buffer.capacity(), buffer.len(), "{what}");
    }

    #[test]
    fn a_part_of_a_buffer_holds_nothing_but_itself() {
        for len in [0, 1, 10, SHRINK_FROM - 1, SHRINK_FROM, 2 * SHRINK_FROM] {
            for capacity in [LARGE, 2 * LARGE] {
                for (what, from) in
                    [("the start", 0), ("the middle", 100), ("the end", LARGE - len)]
                {
                    let whole = Bytes::from(buffer(capacity));
                    check(what, whole.slice(from..from + len));
                    check(what, { whole }.slice(from..from + len));
                    let mut advanced = Bytes::from(buffer(capacity));
                    advanced.advance(from);
                    advanced.truncate(len);
                    check(what, advanced);
                    let mut written = bytes::BytesMut::with_capacity(capacity);
                    written.extend_from_slice(&buffer(capacity));
                    check(what, written.split_off(from).split_to(len).freeze());
                }
            }
        }
        check("a constant", Bytes::from_static(b"body"));
        check("somebody's own", Bytes::from_owner([1, 2, 3]));
    }

    #[test]
    fn a_whole_buffer_is_taken_over() {
        for len in [1, 17, SHRINK_FROM, LARGE] {
            let body = Bytes::from(vec![7; len]);
            let at = body.as_ptr();
            assert_eq!(own(body).as_ptr(), at, "{len}");
        }
    }
}
