//! The little of HTTP/1.1 framing that the load generator and the upstream need.

/// One message head, as far as its framing matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the head, the blank line included.
    pub(crate) length: usize,
    /// Bytes of the body that follows.
    pub(crate) body: usize,
    /// The sender announced that it closes the connection after this message.
    pub(crate) close: bool,
}

/// Why bytes are not a message that the harness speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The head does not end within the permitted bytes.
    TooLong,
    /// `Content-Length` is not a number.
    Length,
    /// The body is chunked: every peer is expected to keep the upstream's `Content-Length`.
    Chunked,
}

/// No head of the harness or of a peer comes near this.
const LONGEST_HEAD: usize = 8 * 1024;

/// Reads the head at the start of `bytes`; `Ok(None)` while it is incomplete.
pub(crate) fn head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() > LONGEST_HEAD { Err(Malformed::TooLong) } else { Ok(None) };
    };
    let mut head = Head { length: end + 4, body: 0, close: false };
    for line in bytes[..end].split(|&byte| byte == b'\n').skip(1) {
        if let Some(value) = value_of(line, b"content-length:") {
            head.body = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(Malformed::Length)?;
        } else if let Some(value) = value_of(line, b"connection:") {
            head.close = value.eq_ignore_ascii_case(b"close");
        } else if value_of(line, b"transfer-encoding:").is_some() {
            return Err(Malformed::Chunked);
        }
    }
    Ok(Some(head))
}

/// The status code of a response's first line.
pub(crate) fn status(bytes: &[u8]) -> Option<u16> {
    let code = bytes.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(code).ok()?.parse().ok()
}

/// The trimmed value when `line` begins with the lower-case `name`, its colon included.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let plain = |length, body, close| Ok(Some(Head { length, body, close }));
        let cases: [(&str, Result<Option<Head>, Malformed>); 7] = [
            ("", Ok(None)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Ok(None)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", plain(38, 5, false)),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /", plain(27, 0, false)),
            ("HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n", plain(38, 0, true)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Err(Malformed::Chunked)),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Err(Malformed::Length)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(head(bytes.as_bytes()), expected, "{bytes:?}");
        }
        assert_eq!(head(&[b'a'; LONGEST_HEAD + 1]), Err(Malformed::TooLong));
    }

    #[test]
    fn statuses() {
        assert_eq!(status(b"HTTP/1.1 503 Service Unavailable\r\n"), Some(503));
        assert_eq!(status(b"HTTP/1.1 2"), None);
        assert_eq!(status(b"HTTP/2 200"), None);
    }
}
