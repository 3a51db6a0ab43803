//! HTTP/2 framing (RFC 9113), as much as the load generator and the upstream need: small messages, no priorities, no push.

use std::fmt;

use crate::hpack::{BadBlock, Decoder, Encoder};

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const FRAME_HEAD: usize = 9;
/// The longest frame that either side may send by default.
const LONGEST_FRAME: usize = 16 * 1024;
const DEFAULT_WINDOW: i64 = 65_535;
/// What each stream of the other side may send: more than any message of the harness.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// What the connection may carry before it is topped up.
const CONNECTION_WINDOW: u32 = 1 << 30;
const MOST_STREAMS: u32 = 1000;

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken(&'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl From<BadBlock> for Broken {
    fn from(_: BadBlock) -> Self {
        Broken("a header block cannot be read")
    }
}

/// One frame that has arrived.
#[derive(Debug, PartialEq)]
pub(crate) struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes`; `Ok(None)` while it is incomplete.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Option<Self>, Broken> {
        let Some((&[l1, l2, l3, kind, flags, s1, s2, s3, s4], rest)) = bytes.split_first_chunk::<FRAME_HEAD>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, l1, l2, l3]) as usize;
        if length > LONGEST_FRAME {
            return Err(Broken("a frame of more than 16 KiB"));
        }
        let stream = u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]);
        Ok(rest.get(..length).map(|payload| Frame { kind, flags, stream, payload }))
    }

    /// Bytes of the whole frame.
    pub(crate) fn length(&self) -> usize {
        FRAME_HEAD + self.payload.len()
    }

    fn ends_stream(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    /// The payload without padding and priority.
    fn content(&self) -> Result<&'a [u8], Broken> {
        const SHORT: Broken = Broken("a frame is shorter than it says");
        let mut content = self.payload;
        if self.flags & PADDED != 0 {
            let (&padding, rest) = content.split_first().ok_or(SHORT)?;
            content = rest.get(..rest.len().checked_sub(padding.into()).ok_or(SHORT)?).ok_or(SHORT)?;
        }
        if self.kind == HEADERS && self.flags & PRIORITY != 0 {
            content = content.get(5..).ok_or(SHORT)?;
        }
        Ok(content)
    }
}

/// What a frame means to whoever sends and answers requests.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard<'a> {
    /// Nothing: the connection's own business.
    Nothing,
    /// Header fields, still compressed, or trailers.
    Headers { stream: u32, end: bool, block: &'a [u8] },
    /// A piece of a body.
    Data { stream: u32, end: bool, bytes: &'a [u8] },
    /// The other side gave the stream up.
    Reset { stream: u32 },
}

/// One side's view of a connection.
pub(crate) struct Link {
    /// What is to be written.
    pub(crate) outbox: Vec<u8>,
    /// For blocks that arrive.
    pub(crate) decoder: Decoder,
    encoder: Encoder,
    /// Bytes of bodies that may be sent on the connection.
    window: i64,
    /// Bytes of a body that may be sent on a new stream.
    stream_window: i64,
    /// Bytes of bodies that arrived since the connection was topped up.
    arrived: u32,
}

impl Link {
    /// A client's side.
    pub(crate) fn client() -> Self {
        Self::open(PREFACE.to_vec())
    }

    /// A server's side; the client's preface is taken off by the caller.
    pub(crate) fn server() -> Self {
        Self::open(Vec::new())
    }

    fn open(outbox: Vec<u8>) -> Self {
        let mut link = Self {
            outbox,
            decoder: Decoder::new(),
            encoder: Encoder::new(),
            window: DEFAULT_WINDOW,
            stream_window: DEFAULT_WINDOW,
            arrived: 0,
        };
        let mut settings = Vec::new();
        for (id, value) in [(2_u16, 0), (3, MOST_STREAMS), (4, STREAM_WINDOW)] {
            settings.extend_from_slice(&id.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        link.put(SETTINGS, 0, 0, &settings);
        link.put(WINDOW_UPDATE, 0, 0, &CONNECTION_WINDOW.to_be_bytes());
        link
    }

    /// Whether a body of that length may be sent now.
    pub(crate) fn has_room(&self, length: usize) -> bool {
        length as i64 <= self.window.min(self.stream_window)
    }

    /// Queues header fields.
    pub(crate) fn put_headers(&mut self, stream: u32, end: bool, fields: &[(&str, &str)]) {
        let begin = self.outbox.len();
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.put(HEADERS, flags, stream, &[]);
        self.encoder.encode(fields, &mut self.outbox);
        let length = (self.outbox.len() - begin - FRAME_HEAD) as u32;
        self.outbox[begin..begin + 3].copy_from_slice(&length.to_be_bytes()[1..]);
    }

    /// Queues a body, which there must be room for.
    pub(crate) fn put_body(&mut self, stream: u32, end: bool, body: &[u8]) {
        self.window -= body.len() as i64;
        let pieces = body.len().div_ceil(LONGEST_FRAME).max(1);
        for number in 0..pieces {
            let piece = &body[number * LONGEST_FRAME..body.len().min((number + 1) * LONGEST_FRAME)];
            let flags = if end && number + 1 == pieces { END_STREAM } else { 0 };
            self.put(DATA, flags, stream, piece);
        }
    }

    fn put(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.outbox.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        self.outbox.extend_from_slice(&[kind, flags]);
        self.outbox.extend_from_slice(&stream.to_be_bytes());
        self.outbox.extend_from_slice(payload);
    }

    /// Does what the protocol asks for, and says what is left for the caller.
    pub(crate) fn hear<'a>(&mut self, frame: &Frame<'a>) -> Result<Heard<'a>, Broken> {
        match frame.kind {
            DATA => {
                self.arrived += frame.payload.len() as u32;
                if self.arrived > CONNECTION_WINDOW / 2 {
                    let update = std::mem::take(&mut self.arrived).to_be_bytes();
                    self.put(WINDOW_UPDATE, 0, 0, &update);
                }
                return Ok(Heard::Data { stream: frame.stream, end: frame.ends_stream(), bytes: frame.content()? });
            }
            HEADERS if frame.flags & END_HEADERS == 0 => return Err(Broken("a header block in pieces")),
            HEADERS => {
                return Ok(Heard::Headers { stream: frame.stream, end: frame.ends_stream(), block: frame.content()? });
            }
            SETTINGS if frame.flags & ACK == 0 => self.obey(frame.payload)?,
            PING if frame.flags & ACK == 0 => self.put(PING, ACK, 0, frame.payload),
            WINDOW_UPDATE if frame.stream == 0 => {
                let added = frame.payload.try_into().map_err(|_| Broken("a window update of another length"))?;
                self.window += i64::from(u32::from_be_bytes(added) & 0x7fff_ffff);
            }
            RST_STREAM => return Ok(Heard::Reset { stream: frame.stream }),
            GOAWAY => return Err(Broken("GOAWAY")),
            CONTINUATION => return Err(Broken("a header block in pieces")),
            _ => {}
        }
        Ok(Heard::Nothing)
    }

    fn obey(&mut self, settings: &[u8]) -> Result<(), Broken> {
        let (settings, rest) = settings.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Broken("settings of another length"));
        }
        for &[i1, i2, v1, v2, v3, v4] in settings {
            let value = u32::from_be_bytes([v1, v2, v3, v4]);
            match u16::from_be_bytes([i1, i2]) {
                1 => self.encoder.set_table_size(value as usize),
                4 => self.stream_window = value.into(),
                _ => {}
            }
        }
        self.put(SETTINGS, ACK, 0, &[]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each frame of `bytes` means to `link`.
    fn heard(link: &mut Link, mut bytes: &[u8]) -> Result<Vec<String>, Broken> {
        let mut all = Vec::new();
        while let Some(frame) = Frame::read(bytes)? {
            match link.hear(&frame)? {
                Heard::Nothing => {}
                Heard::Headers { stream, end, block } => {
                    let mut text = format!("{stream} {end}");
                    link.decoder.decode(block, |name, value| {
                        text += &format!(" {}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
                    })?;
                    all.push(text);
                }
                Heard::Reset { stream } => all.push(format!("{stream} reset")),
                Heard::Data { stream, end, bytes } => all.push(format!("{stream} {end} {} bytes", bytes.len())),
            }
            bytes = &bytes[frame.length()..];
        }
        Ok(all)
    }

    #[test]
    fn two_links_understand_each_other() {
        let (mut client, mut server) = (Link::client(), Link::server());
        client.put_headers(1, false, &[(":method", "POST"), ("x", "y")]);
        client.put_body(1, true, &[7; LONGEST_FRAME + 1]);
        let sent = std::mem::take(&mut client.outbox);
        let bytes = sent.strip_prefix(PREFACE).expect("first");
        let expected = ["1 false :method=POST x=y", "1 false 16384 bytes", "1 true 1 bytes"];
        assert_eq!(heard(&mut server, bytes).expect("sound"), expected);

        server.put_headers(1, true, &[(":status", "200")]);
        let sent = std::mem::take(&mut server.outbox);
        assert_eq!(heard(&mut client, &sent).expect("sound"), ["1 true :status=200"]);
        assert!(client.window > i64::from(CONNECTION_WINDOW), "topped up by the server");
        assert_eq!(client.stream_window, i64::from(STREAM_WINDOW));
    }

    #[test]
    fn room_is_what_the_other_side_gives() {
        let mut link = Link::client();
        assert!(link.has_room(65_535) && !link.has_room(65_536));
        link.put_body(1, true, &[0; 60_000]);
        assert!(!link.has_room(6000));
        let update = [0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, 0, 0, 0, 0x20, 0];
        assert_eq!(heard(&mut link, &update), Ok(Vec::new()));
        assert!(link.has_room(6000));
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let frame =
            [0, 0, 10, HEADERS, END_HEADERS | PADDED | PRIORITY, 0, 0, 0, 3, 2, 0, 0, 0, 0, 16, 0x88, 0x82, 0, 0];
        assert_eq!(heard(&mut Link::client(), &frame).expect("sound"), ["3 false :status=200 :method=GET"]);
    }

    #[test]
    fn what_ends_a_connection() {
        let cases: [(&[u8], &str); 4] = [
            (&[0, 0x40, 1, 0, 0, 0, 0, 0, 1], "a frame of more than 16 KiB"),
            (&[0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], "GOAWAY"),
            (&[0, 0, 1, HEADERS, 0, 0, 0, 0, 1, 0x88], "a header block in pieces"),
            (&[0, 0, 1, DATA, PADDED, 0, 0, 0, 1, 9], "a frame is shorter than it says"),
        ];
        for (bytes, reason) in cases {
            assert_eq!(heard(&mut Link::client(), bytes), Err(Broken(reason)));
        }
        assert_eq!(Frame::read(&[0, 0, 1, DATA, 0, 0, 0, 0, 1]), Ok(None));
    }
}
