//! Bodies, from bytes: of a length that was said, in chunks, or up to the connection's end. RFC 9112 §6, §7.

use bytes::{Buf, Bytes, BytesMut};
use http_body::Frame;
use memchr::memchr;

use super::read::{self, Unread};

/// How a body's end is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    /// By its length.
    Exactly(u64),
    /// By a last chunk.
    Chunked,
    /// By the connection's end.
    UntilClose,
}

impl Length {
    /// The length, where it was said.
    pub(crate) fn exact(self) -> Option<u64> {
        match self {
            Length::Exactly(length) => Some(length),
            Length::Chunked | Length::UntilClose => None,
        }
    }
}

/// Bytes that are no body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// The longest line that begins a chunk: its size, and extensions that nobody reads.
const SIZE_LINE: usize = 4 * 1024;
/// The most bytes of trailers.
const TRAILERS: usize = 16 * 1024;

/// A body under way.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// So many bytes are to come.
    Exactly(u64),
    /// Up to the connection's end.
    UntilClose,
    /// A chunk's size is to come.
    Size,
    /// So many bytes of a chunk are to come.
    Chunk(u64),
    /// The line end behind a chunk is to come.
    ChunkEnd,
    /// Trailers are to come, or the empty line without any.
    Trailers,
    /// Nothing is to come.
    Done,
}

impl From<Length> for Decoder {
    fn from(length: Length) -> Self {
        match length {
            Length::Exactly(0) => Decoder::Done,
            Length::Exactly(length) => Decoder::Exactly(length),
            Length::Chunked => Decoder::Size,
            Length::UntilClose => Decoder::UntilClose,
        }
    }
}

impl Decoder {
    /// Whether all of the body has been taken.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Decoder::Done)
    }

    /// The bytes that are still to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Decoder::Exactly(left) => Some(*left),
            Decoder::Done => Some(0),
            _ => None,
        }
    }

    /// The connection has ended. True when that is the body's end as well.
    pub(crate) fn closed(&mut self) -> bool {
        if matches!(self, Decoder::UntilClose) {
            *self = Decoder::Done;
        }
        self.is_done()
    }

    /// Takes the next frame out of what has been read; `None` when more must be read first, or the body is over.
    pub(crate) fn take(&mut self, read: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        loop {
            match self {
                Decoder::Done => return Ok(None),
                _ if read.is_empty() => return Ok(None),
                Decoder::UntilClose => return Ok(Some(Frame::data(whole(read)))),
                Decoder::Exactly(left) => {
                    let data = some(read, left);
                    if *left == 0 {
                        *self = Decoder::Done;
                    }
                    return Ok(Some(Frame::data(data)));
                }
                Decoder::Chunk(left) => {
                    let data = some(read, left);
                    if *left == 0 {
                        *self = Decoder::ChunkEnd;
                    }
                    return Ok(Some(Frame::data(data)));
                }
                Decoder::Size => match size(read)? {
                    None => return Ok(None),
                    Some(0) => *self = Decoder::Trailers,
                    Some(size) => *self = Decoder::Chunk(size),
                },
                Decoder::ChunkEnd => match &read[..] {
                    [b'\r', b'\n', ..] => {
                        read.advance(2);
                        *self = Decoder::Size;
                    }
                    [b'\r'] => return Ok(None),
                    _ => return Err(Malformed),
                },
                Decoder::Trailers => {
                    let Some(trailers) = trailers(read)? else { return Ok(None) };
                    *self = Decoder::Done;
                    return Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)));
                }
            }
        }
    }
}

/// Up to this size bytes are copied, so that the buffer stays.
const COPIED: usize = 1024;

/// All of it.
fn whole(read: &mut BytesMut) -> Bytes {
    if read.len() > COPIED {
        return std::mem::take(read).freeze();
    }
    let copy = Bytes::copy_from_slice(read);
    read.clear();
    copy
}

fn some(read: &mut BytesMut, left: &mut u64) -> Bytes {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
    *left -= count as u64;
    if count == read.len() { whole(read) } else { read.split_to(count).freeze() }
}

/// The size of the chunk whose first line has been read.
fn size(read: &mut BytesMut) -> Result<Option<u64>, Malformed> {
    let Some(end) = memchr(b'\n', read) else {
        return if read.len() > SIZE_LINE { Err(Malformed) } else { Ok(None) };
    };
    let line = read[..end].strip_suffix(b"\r").filter(|line| line.len() <= SIZE_LINE).ok_or(Malformed)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = line[digits..].trim_ascii_start();
    // A bare CR could end the line for someone else.
    let extensions = rest.first().is_none_or(|byte| *byte == b';') && !rest.contains(&b'\r');
    if digits == 0 || digits > 15 || !extensions {
        return Err(Malformed);
    }
    let value = |byte: &u8| u64::from((*byte as char).to_digit(16).unwrap_or(0));
    let size = line[..digits].iter().fold(0, |sum, digit| sum << 4 | value(digit));
    read.advance(end + 1);
    Ok(Some(size))
}

/// The trailers, once they are all here.
fn trailers(read: &mut BytesMut) -> Result<Option<http::HeaderMap>, Malformed> {
    match read::trailers(read) {
        Ok((map, used)) => {
            read.advance(used);
            Ok(Some(map))
        }
        Err(Unread::Partial) if read.len() <= TRAILERS => Ok(None),
        Err(_) => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes with the bytes coming in pieces of `step`; gives the data, the trailers, and what was left over.
    fn decode(length: Length, bytes: &[u8], step: usize) -> Result<(Vec<u8>, usize, Vec<u8>, bool), Malformed> {
        let (mut decoder, mut read) = (Decoder::from(length), BytesMut::new());
        let (mut data, mut trailers) = (Vec::new(), 0);
        let mut rest = bytes;
        loop {
            while let Some(frame) = decoder.take(&mut read)? {
                match frame.into_data() {
                    Ok(bytes) => data.extend_from_slice(&bytes),
                    Err(frame) => trailers += frame.into_trailers().map_or(0, |map| map.len()),
                }
            }
            if decoder.is_done() || rest.is_empty() {
                read.extend_from_slice(rest);
                return Ok((data, trailers, read.to_vec(), decoder.closed()));
            }
            let (now, later) = rest.split_at(step.min(rest.len()));
            read.extend_from_slice(now);
            rest = later;
        }
    }

    #[test]
    fn every_framing_ends_where_it_says_however_it_comes() {
        #[rustfmt::skip]
        let table: &[(Length, &str, Option<(&str, usize, &str, bool)>)] = &[
            // framing, bytes, body, trailers, what follows, whole
            (Length::Exactly(0), "GET", Some(("", 0, "GET", true))),
            (Length::Exactly(3), "abcGET", Some(("abc", 0, "GET", true))),
            (Length::Exactly(5), "abc", Some(("abc", 0, "", false))),
            (Length::UntilClose, "abc", Some(("abc", 0, "", true))),
            (Length::Chunked, "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nGET", Some(("abcde", 0, "GET", true))),
            (Length::Chunked, "A \r\n0123456789\r\n0\r\nX: 1\r\nY: 2\r\n\r\n", Some(("0123456789", 2, "", true))),
            (Length::Chunked, "3\r\nab", Some(("ab", 0, "", false))),
            (Length::Chunked, "3\r\nabcd", None),
            (Length::Chunked, "3\nabc\r\n0\r\n\r\n", None),
            (Length::Chunked, "3;a\rb\r\nabc\r\n0\r\n\r\n", None),
            (Length::Chunked, "0x3\r\nabc\r\n0\r\n\r\n", None),
            (Length::Chunked, "-3\r\nabc\r\n", None),
            (Length::Chunked, "\r\nabc\r\n", None),
            (Length::Chunked, "fffffffffffffffff\r\nabc\r\n", None),
            (Length::Chunked, "0\r\nbad trailer\r\n\r\n", None),
        ];
        for (length, bytes, expected) in table {
            for step in [1, 2, 3, 100] {
                let decoded = decode(*length, bytes.as_bytes(), step).ok();
                let expected = expected.map(|(data, trailers, rest, whole)| {
                    (data.as_bytes().to_vec(), trailers, rest.as_bytes().to_vec(), whole)
                });
                assert_eq!(decoded, expected, "{length:?} {bytes:?} by {step}");
            }
        }
    }

    #[test]
    fn lines_and_trailers_without_end_are_refused() {
        let long = "1;".to_owned() + &"x".repeat(SIZE_LINE) + "\r\na\r\n";
        assert_eq!(decode(Length::Chunked, long.as_bytes(), 512), Err(Malformed));
        let many = "0\r\n".to_owned() + &"x: y\r\n".repeat(TRAILERS / 6 + 600);
        assert_eq!(decode(Length::Chunked, many.as_bytes(), 512), Err(Malformed));
    }
}
