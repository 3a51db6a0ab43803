//! HTTP/1.1 connections of the load generator: one request at a time on each.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::LoadArgs;
use super::fleet::{Fault, Fleet, News};
use crate::http1;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const INBOX: usize = 64 * 1024;

/// All connections of one run, by number.
pub(super) struct Http1Fleet {
    epoll: Epoll,
    connections: Vec<Connection>,
    target: SocketAddr,
    request: Vec<u8>,
    body: usize,
}

impl Http1Fleet {
    /// Opens every connection.
    pub(super) fn open(args: &LoadArgs) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let connections = (0..args.connections)
            .map(|index| Connection::open(args.target, &epoll, index))
            .collect::<io::Result<_>>()?;
        Ok(Self { epoll, connections, target: args.target, request: super::request(args), body: args.body })
    }

    /// Replaces a connection by a new one.
    fn renew(&mut self, index: usize) -> io::Result<()> {
        self.connections[index] = Connection::open(self.target, &self.epoll, index)?;
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
        let connection = &mut self.connections[slot];
        connection.due = Some(due);
        let fault = match connection.stream.write(&self.request) {
            Ok(count) if count == self.request.len() => return Ok(()),
            Ok(_) => Fault("the request was sent in part".into()),
            Err(error) => Fault(format!("send: {error}")),
        };
        self.renew(slot).map_err(|error| Fault(format!("reconnect: {error}")))?;
        Err(fault)
    }

    fn flush(&mut self, _: &mut Vec<News>) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, token: usize, news: &mut Vec<News>) -> io::Result<()> {
        let connection = &mut self.connections[token];
        let free = connection.due.is_none();
        match connection.receive(self.body) {
            Ok(None) => return Ok(()),
            Ok(Some(due)) => {
                news.push(News::Answer { slot: token, due });
                if !connection.closing {
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
