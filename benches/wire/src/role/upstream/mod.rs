//! The server behind every peer: HTTP/1.1 and HTTP/2 with prior knowledge, one fixed answer, one thread.

mod http1;
mod http2;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::bytes::{Drain, Spring};
use crate::http2::PREFACE;
use http1::Http1;
use http2::Http2;

const LISTENER: u64 = 0;
const READ_AT_ONCE: usize = 16 * 1024;

/// Answers every request with `body` bytes until a signal ends the process.
pub(super) fn serve(body: usize) -> io::Result<()> {
    let listener = super::listen("upstream")?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let answers = Answers::new(body);
    let (spring, mut drain) = (Spring::new()?, Drain::new());
    let mut clients = BTreeMap::new();
    let mut next = LISTENER + 1;
    let mut events = vec![EpollEvent::empty(); 256];
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            let token = event.data();
            if token == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, next))?;
                    clients.insert(next, Client::new(stream));
                    next += 1;
                }
                continue;
            }
            let Some(client) = clients.get_mut(&token) else {
                continue;
            };
            if client.turn(&answers, &spring, &mut drain).is_err() {
                // Closing the socket takes it out of the epoll set.
                clients.remove(&token);
            } else if client.wants_write() != client.watches_write {
                client.watches_write = client.wants_write();
                let writable = if client.watches_write { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
                epoll.modify(&client.stream, &mut EpollEvent::new(EpollFlags::EPOLLIN | writable, token))?;
            }
        }
    }
}

/// What is answered.
struct Answers {
    /// A whole response of HTTP/1.1.
    http1: Vec<u8>,
    /// The body by itself, and its length as text.
    body: Vec<u8>,
    length: String,
    /// The body as a message of gRPC.
    message: Vec<u8>,
}

impl Answers {
    fn new(body: usize) -> Self {
        Self {
            http1: http1::response(body),
            body: vec![b'x'; body],
            length: body.to_string(),
            message: crate::grpc::message(body),
        }
    }
}

struct Client {
    stream: TcpStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    speech: Speech,
    watches_write: bool,
}

/// What the client speaks.
enum Speech {
    /// Not yet known: what has arrived may be the beginning of HTTP/2's preface.
    Unknown,
    Http1(Http1),
    Http2(Box<Http2>),
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self { stream, inbox: Vec::new(), outbox: Vec::new(), speech: Speech::Unknown, watches_write: false }
    }

    fn wants_write(&self) -> bool {
        !self.outbox.is_empty() || self.filler() > 0
    }

    /// Bytes of a large answer that are still to be sent.
    fn filler(&self) -> u64 {
        if let Speech::Http1(http1) = &self.speech { http1.filler } else { 0 }
    }

    /// Reads what is there and writes what is due; an error when the connection is over.
    fn turn(&mut self, answers: &Answers, spring: &Spring, drain: &mut Drain) -> io::Result<()> {
        match self.read(answers, drain) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        match self.write(answers, spring) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    fn read(&mut self, answers: &Answers, drain: &mut Drain) -> io::Result<()> {
        if let Speech::Http1(http1) = &mut self.speech
            && http1.skip > 0
        {
            let count = drain.take(&self.stream, http1.skip)?;
            http1.skip -= count;
            // The end of an upload is what its answer waits for.
            return if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { self.take(&[], answers) };
        }
        let mut chunk = [0; READ_AT_ONCE];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => self.take(&chunk[..count], answers),
        }
    }

    fn write(&mut self, answers: &Answers, spring: &Spring) -> io::Result<()> {
        loop {
            while !self.outbox.is_empty() {
                let count = self.stream.write(&self.outbox)?;
                self.outbox.drain(..count);
            }
            let Speech::Http1(http1) = &mut self.speech else {
                return Ok(());
            };
            if http1.filler == 0 {
                return Ok(());
            }
            while http1.filler > 0 {
                http1.filler -= spring.send(&self.stream, http1.filler)?;
            }
            // Requests behind a large answer waited for it.
            self.take(&[], answers)?;
        }
    }

    /// Queues one answer for every request that is complete.
    fn take(&mut self, bytes: &[u8], answers: &Answers) -> io::Result<()> {
        self.inbox.extend_from_slice(bytes);
        if matches!(self.speech, Speech::Unknown) {
            if self.inbox.starts_with(PREFACE) {
                self.inbox.drain(..PREFACE.len());
                self.speech = Speech::Http2(Box::new(Http2::new()));
            } else if !PREFACE.starts_with(&self.inbox) {
                self.speech = Speech::Http1(Http1::default());
            }
        }
        match &mut self.speech {
            Speech::Unknown => Ok(()),
            Speech::Http1(http1) => http1.take(&mut self.inbox, &mut self.outbox, answers),
            Speech::Http2(http2) => http2.take(&mut self.inbox, &mut self.outbox, answers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::Link;
    use std::net::TcpListener;

    fn client() -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let far = TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
        (Client::new(listener.accept().expect("a client").0), far)
    }

    #[test]
    fn one_answer_per_complete_request() {
        let answers = Answers::new(3);
        let cases: [(&[&str], usize); 5] = [
            (&["GET / HTTP/1.1\r\n\r\n"], 1),
            (&["GET / HTTP/1.1\r\n", "\r\n"], 1),
            (&["GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET /"], 2),
            (&["P", "OST / HTTP/1.1\r\ncontent-length: 6\r\n\r\nabc", "def", "GET / HTTP/1.1\r\n\r\n"], 2),
            (&["GET / HTTP/1.1\r\n"], 0),
        ];
        for (parts, count) in cases {
            let (mut client, _far) = client();
            for part in parts {
                client.take(part.as_bytes(), &answers).expect("well-formed");
            }
            assert_eq!(client.outbox, answers.http1.repeat(count), "{parts:?}");
        }
    }

    #[test]
    fn the_preface_may_come_in_pieces() {
        let (mut client, _far) = client();
        let mut link = Link::client();
        link.put_headers(1, true, &[(":path", "/")]);
        let bytes = link.outbox;
        for byte in &bytes {
            client.take(&[*byte], &Answers::new(3)).expect("well-formed");
        }
        assert!(client.outbox.ends_with(b"\0\0\x03\0\x01\0\0\0\x01xxx"), "{:?}", client.outbox);
    }
}
