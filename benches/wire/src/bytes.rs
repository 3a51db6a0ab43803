//! Bodies of any length without copying them: sent from a file in memory, thrown away by the kernel when received. Load and
//! upstream share a core, so what they do not copy is left for the proxy to be the limit.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, recv};

/// The path of an answer of `length` bytes.
pub(crate) fn path(length: u64) -> String {
    format!("{PATH}{length}")
}

/// The length that a request line asks for, if its path is one of `path`'s.
pub(crate) fn asked_for(head: &[u8]) -> Option<u64> {
    let rest = &head[head.iter().position(|&byte| byte == b' ')? + 1..];
    let digits = rest.strip_prefix(PATH.as_bytes())?;
    let end = digits.iter().position(|&byte| byte == b' ')?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

const PATH: &str = "/bytes/";
/// Bytes of the file in memory, and the most that one call moves.
const PIECE: usize = 1024 * 1024;
/// What bodies are made of.
pub(crate) const FILLER: u8 = b'x';

/// Endless filler.
pub(crate) struct Spring(File);

impl Spring {
    /// Fills the file.
    pub(crate) fn new() -> io::Result<Self> {
        let mut file = File::from(memfd_create("filler", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&vec![FILLER; PIECE])?;
        Ok(Self(file))
    }

    /// Sends some of the `remaining` bytes; how many.
    pub(crate) fn send(&self, to: impl AsFd, remaining: u64) -> io::Result<u64> {
        let count = usize::try_from(remaining).unwrap_or(PIECE).min(PIECE);
        Ok(sendfile64(to, &self.0, Some(&mut 0), count)? as u64)
    }
}

/// Where bytes end that nobody reads.
pub(crate) struct Drain(Vec<u8>);

impl Drain {
    /// A drain; its memory is never touched, so it takes none.
    pub(crate) fn new() -> Self {
        Self(vec![0; PIECE])
    }

    /// Takes some of the `remaining` bytes off the socket; how many, and 0 at its end.
    pub(crate) fn take(&mut self, from: impl AsFd, remaining: u64) -> io::Result<u64> {
        let count = usize::try_from(remaining).unwrap_or(PIECE).min(PIECE);
        // TCP on Linux: MSG_TRUNC discards instead of copying.
        Ok(recv(from.as_fd().as_raw_fd(), &mut self.0[..count], MsgFlags::MSG_TRUNC)? as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn paths_say_lengths() {
        assert_eq!(path(1 << 30), "/bytes/1073741824");
        for (line, length) in [
            ("GET /bytes/1073741824 HTTP/1.1\r\n", Some(1 << 30)),
            ("GET /bytes/ HTTP/1.1\r\n", None),
            ("GET /bytes/12", None),
            ("GET /api HTTP/1.1\r\n", None),
        ] {
            assert_eq!(asked_for(line.as_bytes()), length, "{line}");
        }
    }

    #[test]
    fn what_springs_can_be_read_or_drained() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
        let (mut far, _) = listener.accept().expect("a client");
        let spring = Spring::new().expect("memory");
        for _ in 0..2 {
            assert_eq!(spring.send(&near, 1000).expect("loopback"), 1000);
        }
        let mut read = [0; 700];
        far.read_exact(&mut read).expect("loopback");
        assert_eq!(read, [FILLER; 700]);
        let (mut drain, mut drained) = (Drain::new(), 0);
        while drained < 1300 {
            drained += drain.take(&far, 1300 - drained).expect("loopback");
        }
        drop(near);
        assert_eq!((drained, drain.take(&far, 5).expect("loopback")), (1300, 0));
    }
}
