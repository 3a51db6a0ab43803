//! Watches the frames of an HTTP/2 connection from downstream before the h2 crate acts on them: frames that begin and
//! do not end, a preface without SETTINGS, and floods of PRIORITY, WINDOW_UPDATE, PING, SETTINGS and empty frames. RFC
//! 9113 §4.1, §10.5.
//!
//! The h2 crate limits what it stores of these frames. It does not limit how long it waits, and does not report what it
//! sees.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use leeboard_policy::time::{Span, Time};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::refused::Refused;
use super::socket::Downstream;
use crate::host::clock::Clock;

/// What every connection begins with, which is not a frame.
const PREFACE: usize = 24;
/// The bytes of a frame's head.
const HEAD: usize = 9;
/// Envoy: `max_inbound_priority_frames_per_stream`.
const PRIORITIES: u64 = 100;
/// Envoy: `max_inbound_window_update_frames_per_data_frame_sent` is 10, and a frame may be answered with one for its stream and
/// one for the connection.
const UPDATES_PER_WRITE: u64 = 20;
/// What was written counts by its length too, since many short frames may leave together.
const BYTES_PER_UPDATE: u64 = 32;
/// Envoy: so many beside those.
const SPARE_UPDATES: u64 = 5;
/// Envoy: `max_outbound_control_frames`. It counts what it has not been able to answer; here an answer that does not leave stops
/// the reading, so that what is counted is how fast they come.
const CONTROLS: u32 = 1_000;
/// In such a time.
const CONTROLS_WITHIN: Span = Span::from_secs(10);
/// Envoy: `max_consecutive_inbound_frames_with_empty_payload`.
const EMPTY: u32 = 1;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
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
    /// The last stream on which a header block has begun.
    last: u32,
    streams: u64,
    priorities: u64,
    updates: u64,
    /// How often something was written to the caller, and how much together.
    writes: u64,
    written: u64,
    /// PING and SETTINGS, since they were last looked at.
    controls: u32,
    controls_since: Time,
    /// Empty frames in a row that end nothing.
    empty: u32,
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    /// The first frame is not SETTINGS.
    Unsettled,
    /// More PRIORITY frames than make sense.
    Priorities,
    /// More WINDOW_UPDATE frames than what was sent gives reason for.
    Updates,
    /// More empty frames in a row than make sense.
    Empty,
    /// More PING and SETTINGS frames than make sense in their time.
    Controls,
}

impl Wrong {
    /// In words, for the log.
    fn words(self) -> &'static str {
        match self {
            Wrong::Unsettled => "the preface is not followed by SETTINGS",
            Wrong::Priorities => "a flood of PRIORITY frames",
            Wrong::Updates => "a flood of WINDOW_UPDATE frames",
            Wrong::Empty => "a flood of empty frames",
            Wrong::Controls => "a flood of PING or SETTINGS frames",
        }
    }
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
            last: 0,
            streams: 0,
            priorities: 0,
            updates: 0,
            writes: 0,
            written: 0,
            controls: 0,
            controls_since: Time(0),
            empty: 0,
        }
    }

    /// How many WINDOW_UPDATE frames the caller has had reason for.
    fn most_updates(&self) -> u64 {
        SPARE_UPDATES + 2 * self.streams + UPDATES_PER_WRITE * self.writes + self.written / BYTES_PER_UPDATE
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
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.kind = kind;
        if !self.settled && kind != SETTINGS {
            return Err(Wrong::Unsettled);
        }
        self.settled = true;
        if matches!(kind, DATA | HEADERS | CONTINUATION) {
            let end = if kind == CONTINUATION { END_HEADERS } else { END_STREAM };
            self.empty = if self.left == 0 && flags & end == 0 { self.empty + 1 } else { 0 };
            if self.empty > EMPTY {
                return Err(Wrong::Empty);
            }
        }
        match kind {
            HEADERS | CONTINUATION => {
                self.streams += u64::from(kind == HEADERS);
                self.last = self.last.max(u32::from_be_bytes(stream));
                self.in_block = flags & END_HEADERS == 0;
            }
            PRIORITY => {
                self.priorities += 1;
                if self.priorities > PRIORITIES * (self.streams + 1) {
                    return Err(Wrong::Priorities);
                }
            }
            WINDOW_UPDATE => {
                self.updates += 1;
                if self.updates > self.most_updates() {
                    return Err(Wrong::Updates);
                }
            }
            PING | SETTINGS => self.controls += 1,
            _ => {}
        }
        Ok(())
    }

    /// Whether PING and SETTINGS come too fast. The time is looked at only when there were many; one read may bring more.
    fn control(&mut self, now: impl Fn() -> Time) -> Result<(), Wrong> {
        if self.controls <= CONTROLS {
            return Ok(());
        }
        self.controls = 0;
        let now = now();
        let since = std::mem::replace(&mut self.controls_since, now);
        if now - since < CONTROLS_WITHIN { Err(Wrong::Controls) } else { Ok(()) }
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
    refused: RefCell<Refused>,
}

impl Watch {
    /// Of a connection that has just begun.
    pub(super) fn new(clock: Clock) -> Rc<Self> {
        let now = clock.now();
        let frames = RefCell::new(Frames { controls_since: now, ..Frames::new() });
        Rc::new(Self {
            frames,
            clock,
            since: Cell::new(Some(now)),
            wrong: Cell::new(None),
            refused: RefCell::new(Refused::new()),
        })
    }

    /// Since when something is awaited that has begun.
    pub(super) fn open_since(&self) -> Option<Time> {
        self.since.get()
    }

    /// Why the connection was ended here, as the metrics name it.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        self.wrong.get().map(|wrong| match wrong {
            Wrong::Unsettled => "malformed",
            Wrong::Priorities | Wrong::Updates | Wrong::Empty | Wrong::Controls => "frame-flood",
        })
    }

    fn hear(&self, bytes: &[u8]) -> io::Result<()> {
        let mut frames = self.frames.borrow_mut();
        if let Err(wrong) = frames.hear(bytes).and_then(|()| frames.control(|| self.clock.now())) {
            self.wrong.set(Some(wrong));
            return Err(io::Error::new(io::ErrorKind::InvalidData, wrong.words()));
        }
        match (frames.is_open(), self.since.get()) {
            (true, None) => self.since.set(Some(self.clock.now())),
            (false, Some(_)) => self.since.set(None),
            _ => {}
        }
        Ok(())
    }

    /// A request on this stream has been handed on.
    pub(super) fn handed_on(&self, stream: u32) {
        self.refused.borrow_mut().handed_on(stream);
    }

    /// How many requests have been refused that were not handed on, since this was last asked.
    pub(super) fn refused(&self) -> usize {
        self.refused.borrow_mut().take()
    }

    /// Whether a request has begun that was not handed on: the head that its connection ends with.
    pub(super) fn ends_with_a_head(&self) -> bool {
        self.refused.borrow().is_to_come(self.frames.borrow().last)
    }

    fn wrote(&self, pieces: &[io::IoSlice<'_>], count: usize) {
        let mut frames = self.frames.borrow_mut();
        frames.writes += 1;
        frames.written += count as u64;
        let (mut refused, mut left) = (self.refused.borrow_mut(), count);
        for piece in pieces {
            let written = left.min(piece.len());
            refused.wrote(&piece[..written]);
            left -= written;
        }
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
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, data))?;
        self.watch.wrote(&[io::IoSlice::new(data)], count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, data))?;
        self.watch.wrote(data, count);
        Poll::Ready(Ok(count))
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
        let heard = |frames: &mut Frames, kind, payload, count| frames.hear(&frame(kind, 0, payload).repeat(count));
        let begun = || {
            let mut frames = Frames::new();
            frames.hear(&begin).expect("a connection that begins");
            frames
        };
        let mut updates = begun();
        assert_eq!(heard(&mut updates, WINDOW_UPDATE, 4, 5), Ok(()));
        (updates.writes, updates.written) = (1, 64);
        assert_eq!(heard(&mut updates, WINDOW_UPDATE, 4, 22), Ok(()));
        assert_eq!(heard(&mut updates, WINDOW_UPDATE, 4, 1), Err(Wrong::Updates));
        let mut empty = begun();
        assert_eq!(empty.hear(&[frame(HEADERS, END_HEADERS, 5), frame(DATA, 0, 0)].concat()), Ok(()));
        assert_eq!(empty.hear(&[frame(DATA, 0, 1), frame(DATA, 0, 0), frame(DATA, END_STREAM, 0)].concat()), Ok(()));
        assert_eq!(heard(&mut empty, DATA, 0, 2), Err(Wrong::Empty));
        let with_a_stream = [begin.clone(), frame(HEADERS, 5, 1), frame(PRIORITY, 0, 5).repeat(200)].concat();
        assert_eq!(Frames::new().hear(&with_a_stream), Ok(()));
    }

    #[test]
    fn controls_may_come_but_not_in_a_flood() {
        let begin = [vec![b'P'; PREFACE], frame(SETTINGS, 0, 0)].concat();
        let mut frames = Frames::new();
        frames.hear(&begin).expect("a connection that begins");
        let mut pings = |count, seconds| {
            frames.hear(&frame(PING, 0, 8).repeat(count)).expect("they are looked at together");
            frames.control(|| Time(0) + Span::from_secs(seconds))
        };
        // The same over hours is a caller that likes to know.
        for round in 1..5 {
            assert_eq!(pings(1_001, round * 10), Ok(()));
        }
        assert_eq!(pings(1_001, 49), Err(Wrong::Controls));
    }
}
