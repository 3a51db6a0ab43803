//! Damage to text, from a seed: bytes, pieces, lines and whole words that YAML or Istio make something of.

/// A small generator, so that what happened can be repeated from its seed.
pub(crate) struct Luck(u64);

impl Luck {
    /// A generator; any seed will do.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `n`; 0 when there is none.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Words that are put in: YAML's own, and values at the edge of what is allowed.
const WORDS: [&str; 56] = [
    "---\n",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "&a ",
    "*a",
    "<<: *a\n",
    "!x ",
    "|\n",
    ">-\n",
    "\t",
    "\n",
    "#",
    "null",
    "~",
    "-1",
    "0",
    "0s",
    "1ns",
    "99999999999999999999",
    "1e400",
    ".nan",
    "é",
    "\u{feff}",
    "\u{0}",
    "\u{202e}",
    "%",
    "?",
    "...",
    "!!str ",
    "true",
    "*",
    "\\",
    "\\1",
    "(",
    ")*",
    "{}",
    "[]",
    "''",
    "/",
    "//",
    "@request.auth.claims",
    "*.local",
    "mesh",
    "outbound_.",
    "kind: List\nitems:\n",
    "65536",
    "4294967296",
    "a.b.svc.cluster.local",
    "unix:///x",
    "%REQ(x)%",
];

/// The text with a few things done to it.
pub(crate) fn damaged(text: &str, others: &[String], luck: &mut Luck) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=luck.below(6) {
        let at = luck.below(bytes.len());
        match luck.below(8) {
            0 if !bytes.is_empty() => bytes[at] = luck.next() as u8,
            1 if !bytes.is_empty() => drop(bytes.remove(at)),
            2 => drop(bytes.splice(at..at, WORDS[luck.below(WORDS.len())].bytes())),
            3 => {
                let piece = bytes[at..(at + luck.below(60)).min(bytes.len())].to_vec();
                let to = luck.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            4 => drop(bytes.drain(at..(at + luck.below(30)).min(bytes.len()))),
            5 => lines(&mut bytes, luck),
            6 => value(&mut bytes, luck),
            _ => {
                let other = others[luck.below(others.len())].as_bytes();
                let from = luck.below(other.len());
                let piece = &other[from..(from + luck.below(200)).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A line goes, comes twice, moves, or is indented otherwise.
fn lines(bytes: &mut Vec<u8>, luck: &mut Luck) {
    let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (at, to) = (luck.below(lines.len()), luck.below(lines.len()));
    match luck.below(4) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(to, lines[at].clone()),
        2 => lines.swap(at, to),
        _ => lines[at].splice(0..0, b"  ".iter().copied()).for_each(drop),
    }
    *bytes = lines.join(&b'\n');
}

/// The value behind a colon gives way to a word.
fn value(bytes: &mut Vec<u8>, luck: &mut Luck) {
    let colons: Vec<usize> =
        bytes.windows(2).enumerate().filter(|(_, two)| *two == b": ").map(|(at, _)| at + 2).collect();
    if colons.is_empty() {
        return;
    }
    let start = colons[luck.below(colons.len())];
    let end = bytes[start..]
        .iter()
        .position(|byte| matches!(byte, b'\n' | b',' | b'}'))
        .map_or(bytes.len(), |end| start + end);
    bytes.splice(start..end, WORDS[luck.below(WORDS.len())].bytes());
}
