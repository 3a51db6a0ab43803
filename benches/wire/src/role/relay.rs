//! A bare TCP relay: the least that any proxy process can cost. One thread, edge-triggered, no understanding of bytes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const LISTENER: u64 = 0;
const BUFFER: usize = 16 * 1024;

/// Relays every connection to `upstream` until a signal ends the process.
pub(super) fn serve(upstream: SocketAddr) -> io::Result<()> {
    let listener = super::listen("relay")?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut pairs: BTreeMap<u64, Pair> = BTreeMap::new();
    let mut next = 1;
    let mut events = vec![EpollEvent::empty(); 256];
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            if event.data() == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    pairs.insert(next, Pair::open(client, upstream, &epoll, next)?);
                    next += 1;
                }
                continue;
            }
            let (id, from_server) = (event.data() >> 1, event.data() & 1 == 1);
            let Some(pair) = pairs.get_mut(&id) else {
                continue;
            };
            if pair.turn(from_server, event.events()).is_err() || pair.over() {
                // Closing the sockets takes them out of the epoll set.
                pairs.remove(&id);
            }
        }
    }
}

struct Pair {
    client: TcpStream,
    server: TcpStream,
    up: Flow,
    down: Flow,
}

impl Pair {
    fn open(client: TcpStream, upstream: SocketAddr, epoll: &Epoll, id: u64) -> io::Result<Self> {
        let server = TcpStream::connect(upstream)?;
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        for (stream, side) in [(&client, 0), (&server, 1)] {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            epoll.add(stream, EpollEvent::new(interest, id << 1 | side))?;
        }
        Ok(Self { client, server, up: Flow::new(), down: Flow::new() })
    }

    /// Moves what one side's event allows: bytes from it, and bytes that were waiting for room on it.
    fn turn(&mut self, from_server: bool, events: EpollFlags) -> io::Result<()> {
        let (near, far, onward, back) = if from_server {
            (&mut self.server, &mut self.client, &mut self.down, &mut self.up)
        } else {
            (&mut self.client, &mut self.server, &mut self.up, &mut self.down)
        };
        let ending = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        if events.intersects(EpollFlags::EPOLLIN | ending) {
            onward.ending |= events.intersects(ending);
            onward.pump(near, far)?;
        }
        if events.contains(EpollFlags::EPOLLOUT) && back.waits() {
            back.pump(far, near)?;
        }
        Ok(())
    }

    fn over(&self) -> bool {
        self.up.closed && self.down.closed
    }
}

/// One direction of a pair.
struct Flow {
    buffer: Box<[u8; BUFFER]>,
    begin: usize,
    end: usize,
    /// The reading side said that no more will come: read on until the end is seen.
    ending: bool,
    closed: bool,
}

impl Flow {
    fn new() -> Self {
        Self { buffer: Box::new([0; BUFFER]), begin: 0, end: 0, ending: false, closed: false }
    }

    fn waits(&self) -> bool {
        self.begin < self.end
    }

    /// Copies until `from` is empty or `to` is full. A read that does not fill the buffer emptied the socket, which saves
    /// the read that would say so.
    fn pump(&mut self, from: &mut impl Read, to: &mut TcpStream) -> io::Result<()> {
        let mut drained = false;
        while !self.closed {
            while self.waits() {
                match to.write(&self.buffer[self.begin..self.end]) {
                    Ok(count) => self.begin += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            if drained {
                break;
            }
            match from.read(&mut self.buffer[..]) {
                Ok(0) => {
                    self.closed = true;
                    to.shutdown(std::net::Shutdown::Write)?;
                }
                Ok(count) => {
                    (self.begin, self.end) = (0, count);
                    drained = count < BUFFER && !self.ending;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A stream pair over loopback, the first end non-blocking.
    fn streams() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
        near.set_nonblocking(true).expect("a socket");
        (near, listener.accept().expect("a client").0)
    }

    #[test]
    fn a_flow_carries_everything_and_the_end() {
        let (mut to, mut far) = streams();
        let bytes: Vec<u8> = (0..2 * BUFFER + 17).map(|n| n as u8).collect();
        let mut from = bytes.as_slice();
        let mut flow = Flow::new();
        flow.ending = true;
        flow.pump(&mut from, &mut to).expect("loopback");
        assert!(flow.closed && !flow.waits());
        let mut got = Vec::new();
        far.read_to_end(&mut got).expect("loopback");
        assert!(got == bytes);
    }

    #[test]
    fn a_full_receiver_makes_the_flow_wait() {
        let (mut to, _far) = streams();
        let mut flow = Flow::new();
        let mut endless = io::repeat(7);
        flow.pump(&mut endless, &mut to).expect("loopback");
        assert!(flow.waits() && !flow.closed);
    }
}
