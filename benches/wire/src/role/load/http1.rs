//! HTTP/1.1 connections of the load generator: one request at a time on each.

use std::io::{self, Read, Write};
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::LoadArgs;
use super::fleet::{Fault, Fleet, News};
use super::stream::{Dialer, Stream};
use crate::http1;

/// More than any answer of this load.
const CHUNK: usize = 64 * 1024;

/// All connections of one run, by number.
pub(super) struct Http1Fleet {
    epoll: Epoll,
    connections: Vec<Connection>,
    dialer: Dialer,
    requests: Vec<Vec<u8>>,
    /// The request that is next.
    turn: usize,
    body: usize,
    /// Each request has a connection of its own, which is opened to send it and closed when it is answered.
    fresh: bool,
    /// Where reads go; what is no whole answer is kept by its connection.
    chunk: Box<[u8]>,
}

impl Http1Fleet {
    /// Opens every connection.
    pub(super) fn open(args: &LoadArgs) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let dialer = Dialer::new(args)?;
        let connections = (0..args.connections)
            .map(|index| match args.fresh {
                true => Ok(Connection::default()),
                false => Connection::open(&dialer, &epoll, index),
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            epoll,
            connections,
            dialer,
            requests: super::requests(args)?,
            turn: 0,
            body: args.body,
            fresh: args.fresh,
            chunk: vec![0; CHUNK].into_boxed_slice(),
        })
    }

    /// Replaces a connection by a new one, or by none until it is needed.
    fn renew(&mut self, index: usize) -> io::Result<()> {
        self.connections[index] = match self.fresh {
            true => Connection::default(),
            false => Connection::open(&self.dialer, &self.epoll, index)?,
        };
        Ok(())
    }
}

impl Fleet for Http1Fleet {
    fn epoll(&self) -> &Epoll {
        &self.epoll
    }

    fn slots(&self) -> usize {
        self.connections.len()
    }

    fn send(&mut self, slot: usize, due: Instant) -> Result<(), Fault> {
        let connect = |error: io::Error| Fault(format!("connect: {error}"));
        if self.connections[slot].stream.is_none() {
            self.connections[slot] = Connection::open(&self.dialer, &self.epoll, slot).map_err(connect)?;
        }
        let connection = &mut self.connections[slot];
        connection.due = Some(due);
        let request = &self.requests[self.turn];
        self.turn = (self.turn + 1) % self.requests.len();
        let fault = match connection.stream.as_mut().map_or(Ok(0), |stream| stream.write(request)) {
            Ok(count) if count == request.len() => return Ok(()),
            Ok(_) => Fault("the request was sent in part".into()),
            Err(error) => Fault(format!("send: {error}")),
        };
        self.renew(slot).map_err(connect)?;
        Err(fault)
    }

    fn flush(&mut self, _: &mut Vec<News>) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, token: usize, news: &mut Vec<News>) -> io::Result<()> {
        let connection = &mut self.connections[token];
        let free = connection.due.is_none();
        match connection.receive(self.body, &mut self.chunk) {
            Ok(None) => return Ok(()),
            Ok(Some(due)) => {
                news.push(News::Answer { slot: token, due });
                if !connection.closing && !self.fresh {
                    return Ok(());
                }
            }
            // A server may close a connection that nobody uses.
            Err(_) if free => {}
            Err(fault) => news.push(News::Failed { slot: token, fault }),
        }
        self.renew(token)
    }

    fn unanswered(&self) -> Vec<Instant> {
        self.connections.iter().filter_map(|connection| connection.due).collect()
    }
}

#[derive(Default)]
struct Connection {
    /// `None` only where each request has a connection of its own.
    stream: Option<Stream>,
    /// The beginning of an answer.
    inbox: Vec<u8>,
    /// When the request under way was due; `None` while the connection is free.
    due: Option<Instant>,
    /// The last answer said `Connection: close`.
    closing: bool,
}

impl Connection {
    fn open(dialer: &Dialer, epoll: &Epoll, index: usize) -> io::Result<Self> {
        let stream = dialer.dial(index)?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        Ok(Self { stream: Some(stream), ..Self::default() })
    }

    /// `Some` when the answer to the request under way is whole.
    fn receive(&mut self, body: usize, chunk: &mut [u8]) -> Result<Option<Instant>, Fault> {
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        let arrived = match stream.read(chunk) {
            Ok(0) => return Err(Fault("the connection was closed".into())),
            Ok(count) => &chunk[..count],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(Fault(format!("receive: {error}"))),
        };
        let begun = !self.inbox.is_empty();
        if begun {
            self.inbox.extend_from_slice(arrived);
        }
        let bytes = if begun { &self.inbox } else { arrived };
        let head = match http1::head(bytes) {
            Ok(Some(head)) => head,
            Ok(None) => return self.keep(arrived, begun),
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
        if bytes.len() < whole {
            return self.keep(arrived, begun);
        }
        let Some(due) = self.due.take().filter(|_| bytes.len() == whole) else {
            return Err(Fault("more bytes than one answer".into()));
        };
        self.inbox.clear();
        self.closing = head.close;
        Ok(Some(due))
    }

    fn keep(&mut self, arrived: &[u8], begun: bool) -> Result<Option<Instant>, Fault> {
        if !begun {
            self.inbox.extend_from_slice(arrived);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::arguments;
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn a_fresh_connection_for_each_request_from_an_address_of_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut args = arguments(listener.local_addr().expect("bound"), None);
        (args.fresh, args.sources) = (true, 3);
        let mut fleet = Http1Fleet::open(&args).expect("loopback");
        for slot in [0, 1, 2, 2] {
            let due = Instant::now();
            fleet.send(slot, due).expect("loopback");
            let (mut server, client) = listener.accept().expect("a client");
            assert_eq!(client.ip(), Ipv4Addr::new(127, 0, 0, 1 + slot as u8));
            let mut news = Vec::new();
            // The answer comes in two pieces.
            for piece in ["HTTP/1.1 200 OK\r\ncontent-le", "ngth: 5\r\n\r\nhello"] {
                server.write_all(piece.as_bytes()).expect("loopback");
                fleet.epoll.wait(&mut [EpollEvent::empty()], 5000_u16).expect("readable");
                fleet.receive(slot, &mut news).expect("loopback");
            }
            assert_eq!(news, [News::Answer { slot, due }]);
            assert!(fleet.connections[slot].stream.is_none());
        }
    }

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
            let mut fleet = Http1Fleet::open(&args).expect("loopback");
            let (mut server, _) = listener.accept().expect("a client");
            let due = Instant::now();
            fleet.send(0, due).expect("loopback");
            server.write_all(answer.as_bytes()).expect("loopback");
            server.shutdown(std::net::Shutdown::Write).expect("loopback");
            let mut events = [EpollEvent::empty()];
            fleet.epoll.wait(&mut events, 5000_u16).expect("readable");
            let expected = match fault {
                None => News::Answer { slot: 0, due },
                Some(reason) => News::Failed { slot: 0, fault: Fault(reason.into()) },
            };
            let mut news = Vec::new();
            fleet.receive(0, &mut news).expect("loopback");
            assert_eq!(news, [expected], "{answer:?}");
        }
    }
}
