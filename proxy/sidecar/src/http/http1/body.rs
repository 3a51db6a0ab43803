//! Decodes bodies: of a given length, chunked, or until the connection closes. RFC 9112 §6, §7.

use bytes::{Buf, Bytes, BytesMut};
use http_body::Frame;

use super::read::{self, HeadError, Length};

/// Bytes that are no body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// The longest line that begins a chunk: its size, and extensions that nobody reads.
const SIZE_LINE: usize = 4 * 1024;
/// How many more bytes than the body itself all that stands behind its chunks' sizes may have. As in hyper, but for bodies
/// that never end.
const EXTENSIONS: u64 = 16 * 1024;
/// The most digits of a chunk's size: more would be no length of anything.
const SIZE_DIGITS: usize = 15;
/// The most bytes of trailers.
const TRAILERS: usize = 16 * 1024;
/// Up to this size bytes are copied, so that the buffer that they came in stays, and is not held for their sake.
const COPIED: usize = 1024;
/// What a chunk counts for beside its bytes, for whoever takes turns: about as many bytes could be passed on in the same time.
const CHUNK: usize = 64;
/// Chunks that have come together are one piece of the body, up to this size.
const TOGETHER: usize = 16 * 1024;

/// A body under way.
#[derive(Debug)]
pub(crate) struct Decoder {
    step: Step,
    /// How many bytes have stood behind chunks' sizes, less those of the chunks.
    extensions: u64,
    /// How many chunks have begun since this was last asked.
    begun: usize,
}

/// What is to come.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many bytes.
    Exactly(u64),
    /// Whatever does, up to the connection's end.
    UntilClose,
    /// A chunk's size.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Trailers, or the empty line without any.
    Trailers,
    /// Nothing.
    Done,
}

impl From<Length> for Decoder {
    fn from(length: Length) -> Self {
        let step = match length {
            Length::Exactly(0) => Step::Done,
            Length::Exactly(length) => Step::Exactly(length),
            Length::Chunked => Step::Size,
            Length::UntilClose => Step::UntilClose,
        };
        Self { step, extensions: 0, begun: 0 }
    }
}

impl Decoder {
    /// One of which all has been taken.
    pub(crate) const fn done() -> Self {
        Self { step: Step::Done, extensions: 0, begun: 0 }
    }

    /// Whether all of the body has been taken.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.step, Step::Done)
    }

    /// The bytes that are still to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.step {
            Step::Exactly(left) => Some(left),
            Step::Done => Some(0),
            _ => None,
        }
    }

    /// What has been taken since the last time counts for so many bytes more than it has.
    pub(crate) fn effort(&mut self) -> usize {
        std::mem::take(&mut self.begun) * CHUNK
    }

    /// Whether its end is the connection's.
    pub(crate) fn ends_with_the_connection(&self) -> bool {
        matches!(self.step, Step::UntilClose)
    }

    /// The connection has ended. True when that is the body's end as well.
    pub(crate) fn closed(&mut self) -> bool {
        if matches!(self.step, Step::UntilClose) {
            self.step = Step::Done;
        }
        self.is_done()
    }

    /// Takes the next frame out of what has been read; `None` when more must be read first, or the body is over.
    pub(crate) fn take(&mut self, read: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        if read.is_empty() || self.is_done() {
            return Ok(None);
        }
        let left = match self.step {
            Step::UntilClose => return Ok(Some(Frame::data(whole(read)))),
            Step::Exactly(left) => left,
            _ => return self.chunks(read),
        };
        let (data, left) = some(read, left);
        self.step = if left == 0 { Step::Done } else { Step::Exactly(left) };
        Ok(Some(Frame::data(data)))
    }

    /// Takes what has come of a body in chunks: a part of a large chunk as it is, small ones together.
    fn chunks(&mut self, read: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        let (mut at, mut together) = (0, Vec::new());
        loop {
            let rest = &read[at..];
            match self.step {
                Step::Chunk(left) if rest.len() > COPIED && left > COPIED as u64 => {
                    if together.is_empty() {
                        read.advance(at);
                        let (data, left) = some(read, left);
                        self.chunk_goes_on(left, data.len());
                        return Ok(Some(Frame::data(data)));
                    }
                    break;
                }
                Step::Chunk(_) if rest.is_empty() || together.len() >= TOGETHER => break,
                Step::Chunk(left) => {
                    let count = at_most(left, rest.len());
                    if together.is_empty() {
                        together.reserve_exact(count);
                    }
                    together.extend_from_slice(&rest[..count]);
                    at += count;
                    self.chunk_goes_on(left - count as u64, count);
                }
                Step::ChunkEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.step = Step::Size;
                    }
                    [] | [b'\r'] => break,
                    // What came before it is still good.
                    _ if !together.is_empty() => break,
                    _ => return Err(Malformed),
                },
                Step::Size => match self.size(rest) {
                    Ok(Some(used)) => at += used,
                    Ok(None) => break,
                    Err(_) if !together.is_empty() => break,
                    Err(malformed) => return Err(malformed),
                },
                Step::Trailers if rest.starts_with(b"\r\n") => {
                    at += 2;
                    self.step = Step::Done;
                    break;
                }
                Step::Trailers if !together.is_empty() => break,
                Step::Trailers => {
                    read.advance(at);
                    let Some(trailers) = trailers(read)? else { return Ok(None) };
                    self.step = Step::Done;
                    return Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)));
                }
                Step::Exactly(_) | Step::UntilClose | Step::Done => break,
            }
        }
        if at == read.len() {
            read.clear();
        } else {
            read.advance(at);
        }
        Ok((!together.is_empty()).then(|| Frame::data(together.into())))
    }

    fn chunk_goes_on(&mut self, left: u64, taken: usize) {
        self.extensions = self.extensions.saturating_sub(taken as u64);
        self.step = if left == 0 { Step::ChunkEnd } else { Step::Chunk(left) };
    }

    /// Reads the line that begins a chunk, once it is here, and tells how long it was. RFC 9112 §7.1.
    fn size(&mut self, rest: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut size = 0_u64;
        let mut digits = 0;
        for byte in rest {
            let Some(digit) = (*byte as char).to_digit(16) else { break };
            size = size << 4 | u64::from(digit);
            digits += 1;
            if digits > SIZE_DIGITS {
                return Err(Malformed);
            }
        }
        let behind = extensions(&rest[digits..])?;
        let line = digits + behind;
        if line > SIZE_LINE || (digits == 0 && !rest.is_empty()) {
            return Err(Malformed);
        }
        match rest[line..] {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Ok(None),
            _ => return Err(Malformed),
        }
        self.extensions += behind as u64;
        if self.extensions > EXTENSIONS {
            return Err(Malformed);
        }
        self.begun += 1;
        self.step = if size == 0 { Step::Trailers } else { Step::Chunk(size) };
        Ok(Some(line + 2))
    }
}

/// How many bytes stand between a chunk's size and its line's end, as far as they have come: spaces, and behind a semicolon
/// anything but what could end the line for someone else.
fn extensions(bytes: &[u8]) -> Result<usize, Malformed> {
    let spaces = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if bytes.get(spaces) != Some(&b';') {
        return Ok(spaces);
    }
    let plain = |byte: &&u8| !byte.is_ascii_control() || **byte == b'\t';
    Ok(bytes.iter().take(SIZE_LINE + 1).take_while(plain).count())
}

/// All of it.
fn whole(read: &mut BytesMut) -> Bytes {
    if read.len() > COPIED {
        return std::mem::take(read).freeze();
    }
    let copy = Bytes::copy_from_slice(read);
    read.clear();
    copy
}

/// As much as has come, and how much is left.
fn some(read: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let count = at_most(left, read.len());
    let data = if count == read.len() {
        whole(read)
    } else if count > COPIED {
        read.split_to(count).freeze()
    } else {
        let copy = Bytes::copy_from_slice(&read[..count]);
        read.advance(count);
        copy
    };
    (data, left - count as u64)
}

fn at_most(left: u64, length: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(length)
}

/// The trailers, once they are all here.
fn trailers(read: &mut BytesMut) -> Result<Option<http::HeaderMap>, Malformed> {
    match read::trailers(read) {
        Ok((map, used)) if used <= TRAILERS => {
            read.advance(used);
            Ok(Some(map))
        }
        Err(HeadError::Partial) if read.len() <= TRAILERS => Ok(None),
        _ => Err(Malformed),
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
            (Length::Chunked, ";a=b", None),
            (Length::Chunked, "-3\r\nabc\r\n", None),
            (Length::Chunked, "3\r\r\nabc\r\n0\r\n\r\n", None),
            (Length::Chunked, "3\x0c\r\nabc\r\n0\r\n\r\n", None),
            (Length::Chunked, "3 3\r\nabc\r\n0\r\n\r\n", None),
            (Length::Chunked, "3;\x01\r\nabc\r\n0\r\n\r\n", None),
            (Length::Chunked, "3\t;\ta=\"b\"\r\nabc\r\n0\r\n\r\n", Some(("abc", 0, "", true))),
            (Length::Chunked, "0\r\nX: 1\n\r\n", None),
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
    fn small_chunks_that_came_together_are_one_piece() {
        for (chunks, pieces) in [(1, vec![1]), (1000, vec![1000]), (20_000, vec![TOGETHER, 20_000 - TOGETHER])] {
            let mut read = BytesMut::from(&*("1\r\nx\r\n".repeat(chunks) + "0\r\n\r\nGET"));
            let mut decoder = Decoder::from(Length::Chunked);
            let mut taken = Vec::new();
            while let Some(frame) = decoder.take(&mut read).expect("chunks") {
                taken.push(frame.into_data().expect("data").len());
            }
            assert_eq!((taken, decoder.is_done(), &read[..]), (pieces, true, &b"GET"[..]), "{chunks} chunks");
            assert_eq!((decoder.effort(), decoder.effort()), ((chunks + 1) * CHUNK, 0));
        }
    }

    #[test]
    fn lines_and_trailers_without_end_are_refused() {
        let long = "1;".to_owned() + &"x".repeat(SIZE_LINE) + "\r\na\r\n";
        assert_eq!(decode(Length::Chunked, long.as_bytes(), 512), Err(Malformed));
        let beside = format!("1;{}\r\na\r\n", "x".repeat(SIZE_LINE - 2)).repeat(5) + "0\r\n\r\n";
        assert_eq!(decode(Length::Chunked, beside.as_bytes(), 512), Err(Malformed));
        let honest = format!("400;{}\r\n{}\r\n", "x".repeat(800), "d".repeat(1024)).repeat(50) + "0\r\n\r\n";
        assert!(decode(Length::Chunked, honest.as_bytes(), 512).is_ok_and(|(data, ..)| data.len() == 51_200));
        let many = "0\r\n".to_owned() + &"x: y\r\n".repeat(TRAILERS / 6 + 600);
        assert_eq!(decode(Length::Chunked, many.as_bytes(), 512), Err(Malformed));
    }
}
