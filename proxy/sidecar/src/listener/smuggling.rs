//! Heads whose length can be read in two ways. hyper resolves them safely but silently: it believes `chunked` and drops
//! `Content-Length`, so what was sent is no longer to be seen. Envoy answers 400, and so does Leeboard.

use memchr::memmem;

/// Whether bytes that begin a request hold both a Content-Length and a Transfer-Encoding, or two Content-Lengths.
///
/// Only heads that begin where a read began are looked at, as those of callers who do not pipeline do.
pub(super) fn ambiguous(bytes: &[u8]) -> bool {
    if !bytes.first().is_some_and(u8::is_ascii_uppercase) {
        return false;
    }
    let head = &bytes[..memmem::find(bytes, b"\r\n\r\n").unwrap_or(bytes.len())];
    let suspicious = memmem::find(head, b"ength:").is_some() || memmem::find(head, b"ENGTH:").is_some();
    suspicious && counts(head)
}

fn counts(head: &[u8]) -> bool {
    let named = |line: &[u8], name: &[u8]| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && line.get(name.len()) == Some(&b':')
    };
    let lines = || head.split(|byte| *byte == b'\n').skip(1);
    let lengths = lines().filter(|line| named(line, b"content-length")).count();
    let coded = lines().any(|line| named(line, b"transfer-encoding"));
    lengths > 1 || (lengths == 1 && coded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lengths_are_seen_in_either_order() {
        #[rustfmt::skip]
        let table: &[(&str, bool)] = &[
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", false),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", true),
            ("POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nCONTENT-LENGTH: 1\r\nTRANSFER-ENCODING: chunked\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nX-Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nContent-Length: 60\r\n\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", false),
            ("Transfer-Encoding: chunked\nbody text, not a head; content-length: 3", false),
        ];
        for (bytes, expected) in table {
            assert_eq!(ambiguous(bytes.as_bytes()), *expected, "{bytes:?}");
        }
    }
}
