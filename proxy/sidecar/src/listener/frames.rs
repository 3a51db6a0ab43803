//! What an HTTP/2 caller's bytes show before anybody acts on them: frames that begin and do not end, a preface without SETTINGS,
//! and more PRIORITY frames than there are streams to set in order. RFC 9113 §4.1.
//!
//! The h2 crate bounds what it keeps of these, but not how long it waits, and tells nobody that it does.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use leeboard_policy::time::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::talk::Downstream;
use crate::clock::Clock;

/// What every connection begins with, which is not a frame.
const PREFACE: usize = 24;
/// The bytes of a frame's head.
const HEAD: usize = 9;
/// Envoy: `max_inbound_priority_frames_per_stream`.
const PRIORITIES: u64 = 100;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// How far a caller's frames have come.
#[derive(Debug)]
struct Frames {
    head: [u8; HEAD],
    /// How much of a head is here.
    have: usize,
    /// How much of the payload is not here yet.
    left: usize,
    kind: u8,
    /// Whether SETTINGS have come.
    settled: bool,
    /// Whether a header block has begun that has not ended.
    in_block: bool,
    streams: u64,
    priorities: u64,
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    /// The first frame is not SETTINGS.
    Unsettled,
    /// More PRIORITY frames than make sense.
    Priorities,
}

impl Frames {
    fn new() -> Self {
        Self {
            head: [0; HEAD],
            have: 0,
            left: PREFACE,
            kind: SETTINGS,
            settled: false,
            in_block: false,
            streams: 0,
            priorities: 0,
        }
    }

    /// Takes note of some bytes.
    fn hear(&mut self, mut bytes: &[u8]) -> Result<(), Wrong> {
        loop {
            let skip = self.left.min(bytes.len());
            self.left -= skip;
            bytes = &bytes[skip..];
            if bytes.is_empty() {
                return Ok(());
            }
            let take = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            bytes = &bytes[take..];
            if self.have == HEAD {
                self.have = 0;
                self.begin()?;
            }
        }
    }

    /// The head of a frame is here.
    fn begin(&mut self) -> Result<(), Wrong> {
        let [a, b, c, kind, flags, ..] = self.head;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.kind = kind;
        if !self.settled && kind != SETTINGS {
            return Err(Wrong::Unsettled);
        }
        self.settled = true;
        match kind {
            HEADERS | CONTINUATION => {
                self.streams += u64::from(kind == HEADERS);
                self.in_block = flags & END_HEADERS == 0;
            }
            PRIORITY => {
                self.priorities += 1;
                if self.priorities > PRIORITIES * (self.streams + 1) {
                    return Err(Wrong::Priorities);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether something has begun whose end is awaited. A body may take its time.
    fn is_open(&self) -> bool {
        !self.settled || self.in_block || self.have > 0 || (self.left > 0 && self.kind != DATA)
    }
}

/// What is known of the frames on a connection.
#[derive(Debug)]
pub(super) struct Watch {
    frames: RefCell<Frames>,
    clock: Clock,
    since: Cell<Option<Time>>,
    wrong: Cell<Option<Wrong>>,
}

impl Watch {
    /// Of a connection that has just begun.
    pub(super) fn new(clock: Clock) -> Rc<Self> {
        let since = Cell::new(Some(clock.now()));
        Rc::new(Self { frames: RefCell::new(Frames::new()), clock, since, wrong: Cell::new(None) })
    }

    /// Since when something is awaited that has begun.
    pub(super) fn open_since(&self) -> Option<Time> {
        self.since.get()
    }

    /// Why the connection was ended here, as the metrics name it.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        self.wrong.get().map(|wrong| match wrong {
            Wrong::Unsettled => "malformed",
            Wrong::Priorities => "frame-flood",
        })
    }

    fn hear(&self, bytes: &[u8]) -> io::Result<()> {
        let mut frames = self.frames.borrow_mut();
        if let Err(wrong) = frames.hear(bytes) {
            self.wrong.set(Some(wrong));
            return Err(io::ErrorKind::InvalidData.into());
        }
        match (frames.is_open(), self.since.get()) {
            (true, None) => self.since.set(Some(self.clock.now())),
            (false, Some(_)) => self.since.set(None),
            _ => {}
        }
        Ok(())
    }
}

/// A caller's socket whose frames are watched.
pub(super) struct Watched {
    pub(super) stream: Downstream,
    pub(super) watch: Rc<Watch>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.watch.hear(&buf.filled()[before..]))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![0, (payload >> 8) as u8, payload as u8, kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD + payload, 0);
        frame
    }

    fn cut(mut frame: Vec<u8>, bytes: usize) -> Vec<u8> {
        frame.truncate(frame.len() - bytes);
        frame
    }

    #[test]
    fn what_begins_and_does_not_end_is_seen_whatever_the_pieces() {
        let preface = vec![b'P'; PREFACE];
        let settings = || frame(SETTINGS, 0, 6);
        #[rustfmt::skip]
        let table: Vec<(&str, Vec<Vec<u8>>, bool)> = vec![
            ("a preface", vec![], true),
            ("half of SETTINGS", vec![cut(settings(), 3)], true),
            ("SETTINGS", vec![settings()], false),
            ("a head", vec![settings(), frame(HEADERS, END_HEADERS, 300)], false),
            ("half a head", vec![settings(), cut(frame(HEADERS, END_HEADERS, 300), 1)], true),
            ("a block without end", vec![settings(), frame(HEADERS, 0, 5), frame(CONTINUATION, 0, 0)], true),
            ("a block with its end", vec![settings(), frame(HEADERS, 0, 5), frame(CONTINUATION, END_HEADERS, 0)], false),
            ("half a body", vec![settings(), frame(HEADERS, END_HEADERS, 5), cut(frame(DATA, 0, 900), 7)], false),
            ("a piece of a frame's head", vec![settings(), frame(DATA, 0, 0)[..3].to_vec()], true),
            ("a body behind a head", vec![settings(), frame(HEADERS, END_HEADERS, 5), frame(DATA, 1, 9)], false),
        ];
        for (what, parts, open) in table {
            let bytes = [preface.clone(), parts.concat()].concat();
            for piece in [1, 2, 7, bytes.len()] {
                let mut frames = Frames::new();
                bytes.chunks(piece).for_each(|bytes| frames.hear(bytes).expect("nothing is wrong"));
                assert_eq!(frames.is_open(), open, "{what} by {piece}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_ends_the_connection() {
        let begin = [vec![b'P'; PREFACE], frame(SETTINGS, 0, 0)].concat();
        let unsettled = [&begin[..PREFACE], &frame(6, 0, 8)].concat();
        assert_eq!(Frames::new().hear(&unsettled), Err(Wrong::Unsettled));
        let priorities = |count| [begin.clone(), frame(PRIORITY, 0, 5).repeat(count)].concat();
        assert_eq!(Frames::new().hear(&priorities(100)), Ok(()));
        assert_eq!(Frames::new().hear(&priorities(101)), Err(Wrong::Priorities));
        let with_a_stream = [begin.clone(), frame(HEADERS, 5, 1), frame(PRIORITY, 0, 5).repeat(200)].concat();
        assert_eq!(Frames::new().hear(&with_a_stream), Ok(()));
    }
}
