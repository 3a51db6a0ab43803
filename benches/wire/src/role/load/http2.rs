//! HTTP/2 connections of the load generator: several requests at a time on each, plain or gRPC.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::LoadArgs;
use super::fleet::{Fault, Fleet, News};
use crate::grpc;
use crate::http2::{Broken, Frame, Heard, Link};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const INBOX: usize = 64 * 1024;
/// Bytes of the message that a gRPC call sends.
const CALL: usize = 16;

/// All connections of one run. Slot `s` is lane `s % lanes` of connection `s / lanes`.
pub(super) struct Http2Fleet {
    epoll: Epoll,
    connections: Vec<Connection>,
    target: SocketAddr,
    lanes: usize,
    want: Want,
    /// Connections with something queued.
    dirty: Vec<usize>,
}

/// What is asked for, and what must come.
struct Want {
    host: String,
    path: String,
    grpc: bool,
    /// Bytes of the body, a gRPC frame's head included.
    body: usize,
}

impl Http2Fleet {
    /// Opens every connection.
    pub(super) fn open(args: &LoadArgs) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let connections = (0..args.connections)
            .map(|index| Connection::open(args.target, &epoll, index, args.streams))
            .collect::<io::Result<_>>()?;
        let want = Want {
            host: args.host.clone(),
            path: args.path.clone(),
            grpc: args.grpc,
            body: args.body + if args.grpc { grpc::HEAD } else { 0 },
        };
        let dirty = (0..args.connections).collect();
        Ok(Self { epoll, connections, target: args.target, lanes: args.streams, want, dirty })
    }

    /// Replaces a connection by a new one; its requests have failed.
    fn fail(&mut self, index: usize, reason: &str, news: &mut Vec<News>) -> io::Result<()> {
        let first = index * self.lanes;
        let lanes = self.connections[index].lanes.iter().enumerate().filter(|(_, lane)| lane.due.is_some());
        news.extend(lanes.map(|(lane, _)| News::Failed { slot: first + lane, fault: Fault(reason.to_owned()) }));
        self.connections[index] = Connection::open(self.target, &self.epoll, index, self.lanes)?;
        self.dirty.push(index);
        Ok(())
    }
}

impl Fleet for Http2Fleet {
    fn epoll(&self) -> &Epoll {
        &self.epoll
    }

    fn slots(&self) -> usize {
        self.connections.len() * self.lanes
    }

    fn send(&mut self, slot: usize, due: Instant) -> Result<(), Fault> {
        let index = slot / self.lanes;
        let connection = &mut self.connections[index];
        if connection.link.outbox.is_empty() {
            self.dirty.push(index);
        }
        connection.send(slot % self.lanes, due, &self.want)
    }

    fn flush(&mut self, news: &mut Vec<News>) -> io::Result<()> {
        for index in std::mem::take(&mut self.dirty) {
            if let Err(fault) = self.connections[index].flush() {
                self.fail(index, &fault.0, news)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, token: usize, news: &mut Vec<News>) -> io::Result<()> {
        let first = token * self.lanes;
        let connection = &mut self.connections[token];
        let quiet = connection.link.outbox.is_empty();
        let told = connection.receive(&self.want, |lane, due| news.push(News::Answer { slot: first + lane, due }));
        if quiet && !connection.link.outbox.is_empty() {
            self.dirty.push(token);
        }
        match told {
            Ok(()) => Ok(()),
            Err(fault) => self.fail(token, &fault.0, news),
        }
    }

    fn unanswered(&self) -> Vec<Instant> {
        self.connections.iter().flat_map(|connection| connection.lanes.iter().filter_map(|lane| lane.due)).collect()
    }
}

struct Connection {
    stream: TcpStream,
    link: Link,
    inbox: Box<[u8]>,
    filled: usize,
    next: u32,
    lanes: Vec<Lane>,
}

/// A request under way, or room for one.
#[derive(Clone, Default)]
struct Lane {
    stream: u32,
    due: Option<Instant>,
    /// Bytes of the body so far; `None` before the head.
    body: Option<usize>,
}

impl Connection {
    fn open(target: SocketAddr, epoll: &Epoll, index: usize, lanes: usize) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&target, CONNECT_LIMIT)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        let inbox = vec![0; INBOX].into_boxed_slice();
        Ok(Self { stream, link: Link::client(), inbox, filled: 0, next: 1, lanes: vec![Lane::default(); lanes] })
    }

    fn send(&mut self, lane: usize, due: Instant, want: &Want) -> Result<(), Fault> {
        let stream = self.next;
        self.next += 2;
        self.lanes[lane] = Lane { stream, due: Some(due), body: None };
        let method = if want.grpc { "POST" } else { "GET" };
        let fields = [
            (":method", method),
            (":scheme", "http"),
            (":authority", want.host.as_str()),
            (":path", want.path.as_str()),
            ("user-agent", "leeboard-wire"),
            ("accept", "*/*"),
        ];
        if !want.grpc {
            self.link.put_headers(stream, true, &fields);
            return Ok(());
        }
        let [rest @ .., _accept] = fields;
        let [a, b, c, d, e] = rest;
        self.link.put_headers(
            stream,
            false,
            &[a, b, c, d, e, ("te", "trailers"), ("content-type", "application/grpc")],
        );
        let message = grpc::message(CALL);
        if !self.link.has_room(message.len()) {
            return Err(Fault("the connection's window is used up".into()));
        }
        self.link.put_body(stream, true, &message);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let outbox = std::mem::take(&mut self.link.outbox);
        match self.stream.write(&outbox) {
            Ok(count) if count == outbox.len() => {}
            Ok(_) => return Err(Fault("requests were sent in part".into())),
            Err(error) => return Err(Fault(format!("send: {error}"))),
        }
        self.link.outbox = outbox;
        self.link.outbox.clear();
        Ok(())
    }

    /// Calls `done` for each answer that is whole.
    fn receive(&mut self, want: &Want, mut done: impl FnMut(usize, Instant)) -> Result<(), Fault> {
        match self.stream.read(&mut self.inbox[self.filled..]) {
            Ok(0) => return Err(Fault("the connection was closed".into())),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(Fault(format!("receive: {error}"))),
        }
        let mut begin = 0;
        let broken = |broken: Broken| Fault(broken.to_string());
        while let Some(frame) = Frame::read(&self.inbox[begin..self.filled]).map_err(broken)? {
            begin += frame.length();
            let heard = self.link.hear(&frame).map_err(broken)?;
            if let Some((lane, due)) = take(&heard, &mut self.link, &mut self.lanes, want)? {
                done(lane, due);
            }
        }
        self.inbox.copy_within(begin..self.filled, 0);
        self.filled -= begin;
        Ok(())
    }
}

/// Adds what was heard to its lane; `Some` when that makes its answer whole.
fn take(
    heard: &Heard<'_>,
    link: &mut Link,
    lanes: &mut [Lane],
    want: &Want,
) -> Result<Option<(usize, Instant)>, Fault> {
    let (stream, end) = match *heard {
        Heard::Nothing => return Ok(None),
        Heard::Reset { .. } => return Err(Fault("a stream was reset".into())),
        Heard::Headers { stream, end, .. } | Heard::Data { stream, end, .. } => (stream, end),
    };
    let number = lanes.iter().position(|lane| lane.stream == stream && lane.due.is_some());
    let number = number.ok_or_else(|| Fault(format!("stream {stream} is not open")))?;
    let lane = &mut lanes[number];
    let mut call_status = None;
    match heard {
        Heard::Headers { block, .. } => {
            let mut status = None;
            let shown = link.decoder.decode(block, |name, value| match name {
                b":status" => status = Some(value.to_vec()),
                b"grpc-status" => call_status = Some(value.to_vec()),
                _ => {}
            });
            shown.map_err(|_| Fault("a header block cannot be read".into()))?;
            if lane.body.is_none() {
                let status = status.ok_or_else(|| Fault("no status".into()))?;
                if status != b"200" {
                    return Err(Fault(format!("status {}", String::from_utf8_lossy(&status))));
                }
                lane.body = Some(0);
            }
        }
        Heard::Data { bytes, .. } => {
            *lane.body.as_mut().ok_or_else(|| Fault("a body before its head".into()))? += bytes.len()
        }
        Heard::Nothing | Heard::Reset { .. } => {}
    }
    if !end {
        return Ok(None);
    }
    if want.grpc && call_status.as_deref() != Some(b"0") {
        let text = call_status.map_or("missing".into(), |status| String::from_utf8_lossy(&status).into_owned());
        return Err(Fault(format!("grpc-status {text}")));
    }
    if lane.body != Some(want.body) {
        return Err(Fault(format!("a body of {} bytes, not {}", lane.body.unwrap_or(0), want.body)));
    }
    Ok(lane.due.take().map(|due| (number, due)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::arguments;
    use super::*;
    use std::net::TcpListener;

    /// Status, body and, for gRPC, trailers of an answer; and what the load makes of it.
    #[test]
    fn answers_are_checked() {
        let cases = [
            ("200", 5, None, None),
            ("503", 5, None, Some("status 503")),
            ("200", 4, None, Some("a body of 4 bytes, not 5")),
            ("200", 10, Some("0"), None),
            ("200", 10, Some("14"), Some("grpc-status 14")),
            ("200", 9, Some("0"), Some("a body of 9 bytes, not 10")),
        ];
        for (status, body, call_status, fault) in cases {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let mut args = arguments(listener.local_addr().expect("bound"), None);
            (args.connections, args.streams, args.grpc) = (1, 2, call_status.is_some());
            let mut fleet = Http2Fleet::open(&args).expect("loopback");
            let (mut server, _) = listener.accept().expect("a client");
            let due = Instant::now();
            let mut news = Vec::new();
            fleet.send(1, due).expect("queued");
            fleet.flush(&mut news).expect("loopback");
            let mut link = Link::server();
            link.put_headers(1, false, &[(":status", status)]);
            link.put_body(1, call_status.is_none(), &vec![0; body]);
            if let Some(status) = call_status {
                link.put_headers(1, true, &[("grpc-status", status)]);
            }
            server.write_all(&link.outbox).expect("loopback");
            let mut events = [EpollEvent::empty()];
            fleet.epoll.wait(&mut events, 5000_u16).expect("readable");
            fleet.receive(0, &mut news).expect("loopback");
            let expected = match fault {
                None => News::Answer { slot: 1, due },
                Some(reason) => News::Failed { slot: 1, fault: Fault(reason.into()) },
            };
            assert_eq!(news, [expected], "{status} {body} {call_status:?}");
        }
    }
}
