//! Writes heads and chunks.

use http::{HeaderMap, StatusCode};

use super::read::Length;
use crate::http::fields::Name;
pub(crate) use crate::http::fields::line as field;

/// The end of a body in chunks that has no trailers.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Begins a request's head.
pub(crate) fn request_line(out: &mut Vec<u8>, method: &str, target: &str) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Begins a response's head.
pub(crate) fn status_line(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, status.into());
    out.push(b' ');
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    out.extend_from_slice(reason.unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes a field that has a number.
pub(crate) fn number(out: &mut Vec<u8>, name: Name, value: u64) {
    out.extend_from_slice(name.text().as_bytes());
    out.extend_from_slice(b": ");
    decimal(out, value);
    out.extend_from_slice(b"\r\n");
}

/// Says how long the body is, if `said` does not yet.
pub(crate) fn length(out: &mut Vec<u8>, length: Length, said: bool) {
    match length {
        Length::Exactly(_) if said => {}
        Length::Exactly(length) => number(out, Name::ContentLength, length),
        Length::Chunked => field(out, Name::TransferEncoding.text().as_bytes(), b"chunked"),
        Length::UntilClose => {}
    }
}

/// Begins a chunk.
pub(crate) fn chunk_size(out: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - (size | 1).leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.push(DIGITS[size >> (digit * 4) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Ends a body in chunks with trailers.
pub(crate) fn trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    trailers.iter().for_each(|(name, value)| field(out, name.as_str().as_bytes(), value.as_bytes()));
    out.extend_from_slice(b"\r\n");
}

/// Writes a number.
pub(crate) fn decimal(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), value);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_and_chunks_write_them() {
        for value in [0, 1, 9, 10, 15, 16, 255, 256, 4096, 65_535, 1 << 40, usize::MAX] {
            let (mut decimals, mut size) = (Vec::new(), Vec::new());
            decimal(&mut decimals, value as u64);
            chunk_size(&mut size, value);
            assert_eq!(String::from_utf8(decimals).as_deref(), Ok(value.to_string().as_str()));
            assert_eq!(String::from_utf8(size).as_deref(), Ok(format!("{value:x}\r\n").as_str()));
        }
    }

    #[test]
    fn status_lines_have_the_usual_reason_or_none() {
        for (status, line) in
            [(200, "HTTP/1.1 200 OK\r\n"), (404, "HTTP/1.1 404 Not Found\r\n"), (799, "HTTP/1.1 799 \r\n")]
        {
            let mut out = Vec::new();
            status_line(&mut out, status);
            assert_eq!(out, line.as_bytes());
        }
    }
}
