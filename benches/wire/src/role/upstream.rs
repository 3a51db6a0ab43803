//! The server behind every peer: HTTP/1.1 keep-alive, one fixed answer, one thread.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::http1;

const LISTENER: u64 = 0;
const READ_AT_ONCE: usize = 16 * 1024;

/// Answers every request with `body` bytes until a signal ends the process.
pub(super) fn serve(body: usize) -> io::Result<()> {
    let listener = super::listen("upstream")?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let answer = answer(body);
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
            if client.turn(&answer).is_err() {
                // Closing the socket takes it out of the epoll set.
                clients.remove(&token);
            } else if client.wants_write() {
                let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
                epoll.modify(&client.stream, &mut EpollEvent::new(interest, token))?;
                client.watches_write = true;
            } else if client.watches_write {
                let interest = EpollFlags::EPOLLIN;
                epoll.modify(&client.stream, &mut EpollEvent::new(interest, token))?;
                client.watches_write = false;
            }
        }
    }
}

fn answer(body: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {body}\r\n\r\n");
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + body, b'x');
    answer
}

struct Client {
    stream: TcpStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// Bytes of a request body still to be read and forgotten.
    skip: usize,
    watches_write: bool,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self { stream, inbox: Vec::new(), outbox: Vec::new(), skip: 0, watches_write: false }
    }

    fn wants_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Reads what is there and writes what is due; an error when the connection is over.
    fn turn(&mut self, answer: &[u8]) -> io::Result<()> {
        let mut chunk = [0; READ_AT_ONCE];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.take(&chunk[..count], answer)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        while self.wants_write() {
            match self.stream.write(&self.outbox) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Queues one answer for every request that is complete.
    fn take(&mut self, bytes: &[u8], answer: &[u8]) -> io::Result<()> {
        self.inbox.extend_from_slice(bytes);
        loop {
            let skipped = self.skip.min(self.inbox.len());
            self.inbox.drain(..skipped);
            self.skip -= skipped;
            if self.skip > 0 {
                return Ok(());
            }
            match http1::head(&self.inbox) {
                Ok(Some(head)) => {
                    self.inbox.drain(..head.length);
                    self.skip = head.body;
                    self.outbox.extend_from_slice(answer);
                }
                Ok(None) => return Ok(()),
                Err(malformed) => return Err(io::Error::other(format!("{malformed:?}"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn client() -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let far = TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
        (Client::new(listener.accept().expect("a client").0), far)
    }

    #[test]
    fn one_answer_per_complete_request() {
        let cases: [(&[&str], usize); 5] = [
            (&["GET / HTTP/1.1\r\n\r\n"], 1),
            (&["GET / HTTP/1.1\r\n", "\r\n"], 1),
            (&["GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET /"], 2),
            (&["POST / HTTP/1.1\r\ncontent-length: 6\r\n\r\nabc", "def", "GET / HTTP/1.1\r\n\r\n"], 2),
            (&["GET / HTTP/1.1\r\n"], 0),
        ];
        for (parts, answers) in cases {
            let (mut client, _far) = client();
            for part in parts {
                client.take(part.as_bytes(), b"ok").expect("well-formed");
            }
            assert_eq!(client.outbox.len(), 2 * answers, "{parts:?}");
        }
    }

    #[test]
    fn the_answer_has_its_length() {
        let bytes = answer(128);
        let head = http1::head(&bytes).expect("well-formed").expect("complete");
        assert_eq!((head.body, bytes.len() - head.length), (128, 128));
        assert_eq!(http1::status(&bytes), Some(200));
    }
}
