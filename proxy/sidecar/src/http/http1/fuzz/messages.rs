//! Random messages, and damage to them.

use super::Side;

/// A small generator, so that what happened can be repeated from its seed.
pub(super) struct Luck(u64);

impl Luck {
    /// A generator; any seed will do.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `n`; 0 when there is none.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n.max(1)
    }

    fn of<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.below(words.len())]
    }
}

const METHODS: [&str; 9] = ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "get", "X!"];
const TARGETS: [&str; 9] = ["/", "/a/b?c=d", "/%2e/x", "*", "http://b/x", "http://b", "b:1", "/\"<>`{}", "/\u{e9}"];
const FIELDS: [&str; 18] = [
    "Host: a",
    "host:a",
    "X-A: 1",
    "X-A:   2  ",
    "X-B:",
    "X-C: \t x\ty \t",
    "x_d: \u{e9}",
    "Connection: close",
    "Connection: keep-alive, X-A",
    "Expect: 100-continue",
    "TE: trailers",
    "Trailer: X-T",
    "Cookie: a=b; c=d",
    "Content-Type: text/plain",
    "Upgrade: websocket",
    "Keep-Alive: timeout=5",
    "Date: Thu, 01 Jan 1970 00:00:00 GMT",
    "Set-Cookie: a=b",
];
const STATUSES: [&str; 14] = [
    "200 OK",
    "200",
    "200 ",
    "204 No",
    "304 Not Modified",
    "404 \u{e9}",
    "500 x\ty",
    "101 S",
    "100 Continue",
    "103 E",
    "999 X",
    "099 X",
    "20 X",
    "503 ",
];
/// What frames a message, rightly and wrongly.
const FRAMINGS: [&str; 22] = [
    "Transfer-Encoding: chunked",
    "transfer-encoding:chunked ",
    "Transfer-Encoding: CHUNKED",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding:",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked;a=b",
    "Transfer-Encoding : chunked",
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: 05",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length: 5 5",
    "Content-Length: 0x5",
    "Content-Length:",
    "Content-Length: 9223372036854775807",
    "Content-Length: 9223372036854775808",
    "Content-Length: 18446744073709551621",
    "Content-Length: \u{0665}",
];
/// What is put in to damage a message.
const WORDS: [&str; 40] = [
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    "\n\n",
    "\r\r\n",
    "\n\r\n",
    " ",
    "\t",
    "  ",
    ":",
    ";",
    ",",
    "\u{b}",
    "\u{c}",
    "\0",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "0",
    "00",
    "5",
    "f",
    "g",
    "0\r\n\r\n",
    "0\r\n",
    ";a=b",
    ";a=\"\r\n\"",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "chunked",
    "close",
    "\r\n X: folded",
    "\r\nHost: b",
    "GET /smuggled HTTP/1.1\r\nHost: s\r\n\r\n",
    "\r\nContent-Length: 5",
    "\r\nTransfer-Encoding: chunked",
    "\r\nX-A: ",
];

/// A few messages, one behind the other.
pub(super) fn connection(side: Side, luck: &mut Luck) -> Vec<u8> {
    let mut out = String::new();
    for _ in 0..=luck.below(3) {
        if luck.below(8) == 0 {
            out += "\r\n";
        }
        match side {
            Side::Requests => {
                let method = if luck.below(2) == 0 { "POST" } else { luck.of(&METHODS) };
                let target = if luck.below(3) == 0 { luck.of(&TARGETS) } else { "/a" };
                out += &format!("{method} {target} HTTP/1.{}\r\n", u8::from(luck.below(8) != 0));
            }
            Side::Responses { .. } => {
                let status = if luck.below(2) == 0 { "200 OK" } else { luck.of(&STATUSES) };
                out += &format!("HTTP/1.{} {status}\r\n", u8::from(luck.below(8) != 0));
            }
        }
        for _ in 0..luck.below(6) {
            out += luck.of(&FIELDS);
            out += "\r\n";
        }
        if luck.below(40) == 0 {
            out += &format!("X-Long: {}\r\n", "x".repeat(luck.below(2_400)));
        }
        match luck.below(5) {
            0 => out += "\r\n",
            1 | 2 => {
                out += "Transfer-Encoding: chunked\r\n\r\n";
                chunks(&mut out, luck);
            }
            3 => {
                let body = "x".repeat(luck.below(60));
                out += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
            }
            _ => {
                for _ in 0..=luck.below(2) {
                    out += luck.of(&FRAMINGS);
                    out += "\r\n";
                }
                out += "\r\n";
                if luck.below(2) == 0 { chunks(&mut out, luck) } else { out += "abcde" }
            }
        }
    }
    out.into_bytes()
}

fn chunks(out: &mut String, luck: &mut Luck) {
    for _ in 0..luck.below(6) {
        let size = if luck.below(60) == 0 { luck.below(20_000) } else { 1 + luck.below(20) };
        let extension = match luck.below(60) {
            0..5 => ";a=b".to_owned(),
            5..10 => " ".to_owned(),
            10 => format!(";{}", "e".repeat(luck.below(5_000))),
            _ => String::new(),
        };
        let zeros = "0".repeat(if luck.below(10) == 0 { luck.below(16) } else { 0 });
        let size_line = if luck.below(2) == 0 { format!("{size:x}") } else { format!("{size:X}") };
        *out += &format!("{zeros}{size_line}{extension}\r\n{}\r\n", "d".repeat(size));
    }
    *out += "0\r\n";
    for _ in 0..luck.below(3).saturating_sub(1) {
        *out += luck.of(&[
            "X-T: 1\r\n",
            "X-U:2\r\n",
            "Content-Length: 5\r\n",
            "Host: t\r\n",
            ":path: /\r\n",
            "X-V: \u{e9}\r\n",
        ]);
    }
    *out += "\r\n";
}

/// The bytes with a few things done to them, or none.
pub(super) fn damaged(mut bytes: Vec<u8>, luck: &mut Luck) -> Vec<u8> {
    for _ in 0..luck.below(4) {
        let at = luck.below(bytes.len());
        match luck.below(6) {
            0 if !bytes.is_empty() => bytes[at] = luck.next() as u8,
            1 if !bytes.is_empty() => drop(bytes.remove(at)),
            2 => {
                let piece = bytes[at..(at + luck.below(60)).min(bytes.len())].to_vec();
                let to = luck.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            3 => drop(bytes.drain(at..(at + luck.below(20)).min(bytes.len()))),
            // Most damage that matters is done where lines end.
            4 => {
                let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\r').collect();
                let at = ends.get(luck.below(ends.len())).copied().unwrap_or(at);
                bytes.splice(at..at, luck.of(&WORDS).bytes());
            }
            _ => drop(bytes.splice(at..at, luck.of(&WORDS).bytes())),
        }
    }
    bytes
}
