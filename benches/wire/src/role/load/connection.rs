//! Client connections of the load generator, and the epoll set that watches them.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::LoadArgs;
use crate::http1;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const INBOX: usize = 64 * 1024;

/// All connections of one run, by number.
pub(super) struct Fleet {
    pub(super) epoll: Epoll,
    connections: Vec<Connection>,
    target: SocketAddr,
    request: Vec<u8>,
    body: usize,
}

/// What came of reading one connection.
#[derive(Debug, PartialEq)]
pub(super) enum Received {
    /// The answer is not whole yet.
    Partial,
    /// A good answer; the connection is free again.
    Answer {
        /// When its request was due.
        due: Instant,
    },
    /// The connection closed while it was free, and was opened anew.
    Renewed,
}

impl Fleet {
    /// Opens every connection.
    pub(super) fn open(args: &LoadArgs) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let connections = (0..args.connections)
            .map(|index| Connection::open(args.target, &epoll, index))
            .collect::<io::Result<_>>()?;
        Ok(Self { epoll, connections, target: args.target, request: super::request(args), body: args.body })
    }

    /// How many connections there are.
    pub(super) fn size(&self) -> usize {
        self.connections.len()
    }

    /// Sends one request, counted from `due`.
    pub(super) fn send(&mut self, index: usize, due: Instant) -> Result<(), Fault> {
        let connection = &mut self.connections[index];
        connection.due = Some(due);
        match connection.stream.write(&self.request) {
            Ok(count) if count == self.request.len() => Ok(()),
            Ok(_) => Err(Fault("the request was sent in part".into())),
            Err(error) => Err(Fault(format!("send: {error}"))),
        }
    }

    /// Reads what is there for one connection.
    pub(super) fn receive(&mut self, index: usize) -> Result<Received, Fault> {
        let connection = &mut self.connections[index];
        let free = connection.due.is_none();
        match connection.receive(self.body) {
            Err(_) if free => {
                self.renew(index).map_err(|error| Fault(format!("reconnect: {error}")))?;
                Ok(Received::Renewed)
            }
            Ok(Some(due)) if connection.closing => {
                self.renew(index).map_err(|error| Fault(format!("reconnect: {error}")))?;
                Ok(Received::Answer { due })
            }
            Ok(Some(due)) => Ok(Received::Answer { due }),
            Ok(None) => Ok(Received::Partial),
            Err(fault) => Err(fault),
        }
    }

    /// When each request still under way was due.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = Instant> {
        self.connections.iter().filter_map(|connection| connection.due)
    }

    /// Replaces a connection by a new one.
    pub(super) fn renew(&mut self, index: usize) -> io::Result<()> {
        self.connections[index] = Connection::open(self.target, &self.epoll, index)?;
        Ok(())
    }
}

/// Why a request failed.
#[derive(Debug, PartialEq)]
pub(super) struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct Connection {
    stream: TcpStream,
    inbox: Box<[u8]>,
    filled: usize,
    /// When the request under way was due; `None` while the connection is free.
    due: Option<Instant>,
    /// The last answer said `Connection: close`.
    closing: bool,
}

impl Connection {
    fn open(target: SocketAddr, epoll: &Epoll, index: usize) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&target, CONNECT_LIMIT)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        Ok(Self { stream, inbox: vec![0; INBOX].into_boxed_slice(), filled: 0, due: None, closing: false })
    }

    /// `Some` when the answer to the request under way is whole.
    fn receive(&mut self, body: usize) -> Result<Option<Instant>, Fault> {
        match self.stream.read(&mut self.inbox[self.filled..]) {
            Ok(0) => return Err(Fault("the connection was closed".into())),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(Fault(format!("receive: {error}"))),
        }
        let bytes = &self.inbox[..self.filled];
        let head = match http1::head(bytes) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(None),
            Err(malformed) => return Err(Fault(format!("malformed answer: {malformed:?}"))),
        };
        match http1::status(bytes) {
            Some(200) => {}
            Some(code) => return Err(Fault(format!("status {code}"))),
            None => return Err(Fault("no status line".into())),
        }
        if head.body != body {
            return Err(Fault(format!("a body of {} bytes, not {body}", head.body)));
        }
        let whole = head.length + head.body;
        if self.filled < whole {
            return Ok(None);
        }
        let Some(due) = self.due.take().filter(|_| self.filled == whole) else {
            return Err(Fault("more bytes than one answer".into()));
        };
        self.filled = 0;
        self.closing = head.close;
        Ok(Some(due))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::arguments;
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn answers_are_checked() {
        let good = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        let cases = [
            (good, None),
            ("HTTP/1.1 503 No\r\ncontent-length: 5\r\n\r\nhello", Some("status 503")),
            ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhell", Some("a body of 4 bytes, not 5")),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello!", Some("more bytes than one answer")),
            ("SSH-2.0\r\n\r\n", Some("no status line")),
            ("", Some("the connection was closed")),
        ];
        for (answer, fault) in cases {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let mut args = arguments(listener.local_addr().expect("bound"), None);
            args.connections = 1;
            let mut fleet = Fleet::open(&args).expect("loopback");
            let (mut server, _) = listener.accept().expect("a client");
            let due = Instant::now();
            fleet.send(0, due).expect("loopback");
            server.write_all(answer.as_bytes()).expect("loopback");
            server.shutdown(std::net::Shutdown::Write).expect("loopback");
            let mut events = [EpollEvent::empty()];
            fleet.epoll.wait(&mut events, 5000_u16).expect("readable");
            let expected = match fault {
                None => Ok(Received::Answer { due }),
                Some(reason) => Err(Fault(reason.into())),
            };
            assert_eq!(fleet.receive(0), expected, "{answer:?}");
        }
    }
}
