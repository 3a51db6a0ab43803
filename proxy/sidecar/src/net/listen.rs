//! Listening sockets: one for each worker on the same address (SO_REUSEPORT). The kernel spreads connections over them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections may wait to be accepted. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Opens `count` sockets on one address. Port 0 is a free port, the same for all of them.
///
/// # Errors
/// When the address cannot be had.
pub(crate) fn share(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let first = open(address)?;
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    while sockets.len() < count {
        sockets.push(open(bound)?);
    }
    Ok((bound, sockets))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Opens a socket that nobody else may share, so that a second process on the same address is told.
///
/// # Errors
/// When the address cannot be had.
pub(crate) fn alone(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn all_share_the_port_that_the_first_was_given() {
        let (bound, sockets) = share("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_ne!(bound.port(), 0);
        assert_eq!(sockets.len(), 3);
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == bound));
    }

    #[test]
    fn an_address_that_is_taken_is_refused() {
        let holder = alone("127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = holder.local_addr().unwrap();
        assert_eq!(alone(taken).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(share(taken, 2).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
