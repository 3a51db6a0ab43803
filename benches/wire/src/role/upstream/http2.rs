//! The upstream's HTTP/2: a plain answer, or that of a gRPC call, by the path.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::Answers;
use crate::grpc;
use crate::http2::{Broken, Frame, Heard, Link};

/// One connection.
pub(super) struct Http2 {
    link: Link,
    /// Requests that are not whole yet, by stream.
    arriving: BTreeMap<u32, Kind>,
    /// Whole requests that wait for room in the client's window.
    waiting: VecDeque<(u32, Kind)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Call,
}

impl Http2 {
    /// A connection whose preface has been read.
    pub(super) fn new() -> Self {
        Self { link: Link::server(), arriving: BTreeMap::new(), waiting: VecDeque::new() }
    }

    /// Takes frames off the inbox and queues what they ask for.
    pub(super) fn take(&mut self, inbox: &mut Vec<u8>, outbox: &mut Vec<u8>, answers: &Answers) -> io::Result<()> {
        let broken = |broken: Broken| io::Error::other(broken.to_string());
        let mut begin = 0;
        while let Some(frame) = Frame::read(&inbox[begin..]).map_err(broken)? {
            begin += frame.length();
            match self.link.hear(&frame).map_err(broken)? {
                Heard::Nothing => {}
                Heard::Headers { stream, end, block } => {
                    // Trailers of a request leave what it is about as it was.
                    let mut kind = self.arriving.remove(&stream).unwrap_or(Kind::Plain);
                    let shown = self.link.decoder.decode(block, |name, value| {
                        if name == b":path" && value == grpc::PATH.as_bytes() {
                            kind = Kind::Call;
                        }
                    });
                    shown.map_err(|bad| broken(bad.into()))?;
                    self.arrive(stream, kind, end);
                }
                Heard::Data { stream, end, .. } => {
                    if let Some(kind) = self.arriving.remove(&stream) {
                        self.arrive(stream, kind, end);
                    }
                }
                Heard::Reset { stream } => {
                    self.arriving.remove(&stream);
                    self.waiting.retain(|(waiting, _)| *waiting != stream);
                }
            }
        }
        inbox.drain(..begin);
        self.answer(answers);
        outbox.append(&mut self.link.outbox);
        Ok(())
    }

    fn arrive(&mut self, stream: u32, kind: Kind, end: bool) {
        if end {
            self.waiting.push_back((stream, kind));
        } else {
            self.arriving.insert(stream, kind);
        }
    }

    /// Answers whom there is room for.
    fn answer(&mut self, answers: &Answers) {
        while let Some(&(stream, kind)) = self.waiting.front() {
            let body = if kind == Kind::Call { &answers.message } else { &answers.body };
            if !self.link.has_room(body.len()) {
                return;
            }
            self.waiting.pop_front();
            if kind == Kind::Call {
                self.link.put_headers(stream, false, &[(":status", "200"), ("content-type", "application/grpc")]);
                self.link.put_body(stream, false, body);
                self.link.put_headers(stream, true, &[("grpc-status", "0")]);
            } else {
                let length = ("content-length", answers.length.as_str());
                self.link.put_headers(stream, false, &[(":status", "200"), ("content-type", "text/plain"), length]);
                self.link.put_body(stream, true, body);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_wait_for_room() {
        let answers = Answers::new(32 * 1024);
        let mut client = Link::client();
        client.outbox.clear();
        for stream in [1, 3, 5] {
            client.put_headers(stream, true, &[(":path", "/")]);
        }
        let (mut server, mut outbox) = (Http2::new(), Vec::new());
        server.take(&mut client.outbox, &mut outbox, &answers).expect("well-formed");
        assert_eq!(server.waiting.len(), 2, "the window of a client that said nothing holds one");
        client.put_body(7, false, &[]);
        // A window update for the connection.
        client.outbox.extend_from_slice(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
        server.take(&mut client.outbox, &mut outbox, &answers).expect("well-formed");
        assert!(server.waiting.is_empty());
        assert!(outbox.len() > 3 * 32 * 1024);
    }

    #[test]
    fn a_call_is_answered_when_its_message_has_ended() {
        let mut client = Link::client();
        client.outbox.clear();
        client.put_headers(1, false, &[(":path", grpc::PATH)]);
        let (mut server, mut outbox) = (Http2::new(), Vec::new());
        server.take(&mut client.outbox, &mut outbox, &Answers::new(9)).expect("well-formed");
        assert!(server.waiting.is_empty() && server.arriving.len() == 1);
        client.put_body(1, true, &grpc::message(4));
        server.take(&mut client.outbox, &mut outbox, &Answers::new(9)).expect("well-formed");
        assert!(outbox.ends_with(b"grpc-status\x010"), "{outbox:?}");
    }
}
