//! Header compression of HTTP/2 (RFC 7541), as much as the load generator and the upstream need: a decoder for whatever a
//! proxy sends, and an encoder that indexes the few fields it repeats, as every client does.

mod huffman;

use std::borrow::Cow;
use std::collections::VecDeque;

/// The table size that both sides begin with.
const TABLE_SIZE: usize = 4096;
/// What an entry counts beyond its text.
const ENTRY_OVERHEAD: usize = 32;

/// A header block that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadBlock;

/// Reads header blocks of one direction of one connection.
pub(crate) struct Decoder {
    /// The newest entry first.
    dynamic: VecDeque<(Vec<u8>, Vec<u8>)>,
    size: usize,
    limit: usize,
}

impl Decoder {
    /// A decoder with an empty table.
    pub(crate) fn new() -> Self {
        Self { dynamic: VecDeque::new(), size: 0, limit: TABLE_SIZE }
    }

    /// Shows every field of the block, in order.
    pub(crate) fn decode(&mut self, mut block: &[u8], mut show: impl FnMut(&[u8], &[u8])) -> Result<(), BadBlock> {
        while let Some(&first) = block.first() {
            if first & 0x80 != 0 {
                let (name, value) = self.field(integer(&mut block, 7)?)?;
                show(name, value);
            } else if first & 0xc0 == 0x40 {
                let (name, value) = self.literal(&mut block, 6)?;
                show(&name, &value);
                let (name, value) = (name.into_owned(), value.into_owned());
                self.add(name, value);
            } else if first & 0xe0 == 0x20 {
                self.limit = integer(&mut block, 5)?;
                if self.limit > TABLE_SIZE {
                    return Err(BadBlock);
                }
                self.evict();
            } else {
                let (name, value) = self.literal(&mut block, 4)?;
                show(&name, &value);
            }
        }
        Ok(())
    }

    /// A field whose value, and perhaps whose name, is spelt out.
    fn literal<'r, 'b: 'r>(
        &'r self,
        block: &mut &'b [u8],
        prefix: u32,
    ) -> Result<(Cow<'r, [u8]>, Cow<'b, [u8]>), BadBlock> {
        let name = match integer(block, prefix)? {
            0 => string(block)?,
            index => Cow::Borrowed(self.field(index)?.0),
        };
        Ok((name, string(block)?))
    }

    fn field(&self, index: usize) -> Result<(&[u8], &[u8]), BadBlock> {
        let index = index.checked_sub(1).ok_or(BadBlock)?;
        match STATIC.get(index) {
            Some((name, value)) => Ok((name.as_bytes(), value.as_bytes())),
            None => self.dynamic.get(index - STATIC.len()).map(|(name, value)| (&name[..], &value[..])).ok_or(BadBlock),
        }
    }

    fn add(&mut self, name: Vec<u8>, value: Vec<u8>) {
        self.size += name.len() + value.len() + ENTRY_OVERHEAD;
        self.dynamic.push_front((name, value));
        self.evict();
    }

    fn evict(&mut self) {
        while self.size > self.limit {
            let Some((name, value)) = self.dynamic.pop_back() else {
                return;
            };
            self.size -= name.len() + value.len() + ENTRY_OVERHEAD;
        }
    }
}

fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, BadBlock> {
    let most = (1_usize << prefix) - 1;
    let (&first, mut rest) = block.split_first().ok_or(BadBlock)?;
    let mut value = usize::from(first) & most;
    if value == most {
        for shift in [0, 7, 14, 21] {
            let (&byte, after) = rest.split_first().ok_or(BadBlock)?;
            rest = after;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *block = rest;
                return Ok(value);
            }
        }
        return Err(BadBlock);
    }
    *block = rest;
    Ok(value)
}

fn string<'a>(block: &mut &'a [u8]) -> Result<Cow<'a, [u8]>, BadBlock> {
    let packed = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(BadBlock)?;
    *block = rest;
    if packed { huffman::unpack(bytes).map(Cow::Owned).ok_or(BadBlock) } else { Ok(Cow::Borrowed(bytes)) }
}

/// Writes header blocks of one direction of one connection.
pub(crate) struct Encoder {
    /// The oldest entry first.
    dynamic: Vec<(String, String)>,
    size: usize,
    indexes: bool,
    /// The other side must be told that the table is empty now.
    shrunk: bool,
}

impl Encoder {
    /// An encoder with an empty table.
    pub(crate) fn new() -> Self {
        Self { dynamic: Vec::new(), size: 0, indexes: true, shrunk: false }
    }

    /// Obeys the other side's table size: without room for the usual table, nothing is indexed.
    pub(crate) fn set_table_size(&mut self, size: usize) {
        if size < TABLE_SIZE && self.indexes {
            (self.indexes, self.shrunk, self.size) = (false, true, 0);
            self.dynamic.clear();
        }
    }

    /// Appends one block.
    pub(crate) fn encode(&mut self, fields: &[(&str, &str)], out: &mut Vec<u8>) {
        if std::mem::take(&mut self.shrunk) {
            out.push(0x20);
        }
        for (name, value) in fields {
            if let Some(index) = STATIC.iter().position(|entry| entry == &(*name, *value)) {
                put_integer(0x80, 7, index + 1, out);
                continue;
            }
            if let Some(age) = self.dynamic.iter().rev().position(|(n, v)| n == name && v == value) {
                put_integer(0x80, 7, STATIC.len() + 1 + age, out);
                continue;
            }
            let size = name.len() + value.len() + ENTRY_OVERHEAD;
            // Nothing is ever evicted: what no longer fits is spelt out each time.
            let keep = self.indexes && self.size + size <= TABLE_SIZE;
            out.push(if keep { 0x40 } else { 0x00 });
            for text in [name, value] {
                put_integer(0, 7, text.len(), out);
                out.extend_from_slice(text.as_bytes());
            }
            if keep {
                self.size += size;
                self.dynamic.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
    }
}

fn put_integer(mark: u8, prefix: u32, value: usize, out: &mut Vec<u8>) {
    let most = (1_usize << prefix) - 1;
    if value < most {
        out.push(mark | value as u8);
        return;
    }
    out.push(mark | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// RFC 7541, appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, BadBlock> {
        let mut fields = Vec::new();
        decoder.decode(block, |name, value| {
            fields.push(format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
        })?;
        Ok(fields)
    }

    /// The responses of RFC 7541, appendix C.6, for a table of 256 bytes, which makes entries leave it.
    #[test]
    fn the_rfcs_responses() {
        let hex = |text: &str| -> Vec<u8> {
            text.as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
                .collect()
        };
        let mut decoder = Decoder::new();
        decoder.limit = 256;
        let first = "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3";
        for (block, expected) in [
            (
                first,
                [
                    ":status: 302",
                    "cache-control: private",
                    "date: Mon, 21 Oct 2013 20:13:21 GMT",
                    "location: https://www.example.com",
                ],
            ),
            (
                "4883640effc1c0bf",
                [
                    ":status: 307",
                    "cache-control: private",
                    "date: Mon, 21 Oct 2013 20:13:21 GMT",
                    "location: https://www.example.com",
                ],
            ),
        ] {
            assert_eq!(decoded(&mut decoder, &hex(block)).expect("a block"), expected);
        }
        assert_eq!(decoder.size, 222);
    }

    #[test]
    fn what_is_encoded_is_decoded_and_shrinks_when_repeated() {
        let long = "x".repeat(200);
        let fields = [(":status", "200"), ("content-type", "text/plain"), ("x-long", &long)];
        let expected = fields.map(|(name, value)| format!("{name}: {value}"));
        for table in [TABLE_SIZE, 0] {
            let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
            let mut lengths = Vec::new();
            for round in 0..3 {
                if round == 1 {
                    encoder.set_table_size(table);
                }
                let mut block = Vec::new();
                encoder.encode(&fields, &mut block);
                lengths.push(block.len());
                assert_eq!(decoded(&mut decoder, &block).expect("a block"), expected);
            }
            assert_eq!(lengths[2] == 3, table == TABLE_SIZE, "{lengths:?}");
            assert_eq!(decoder.dynamic.is_empty(), table == 0);
        }
    }

    #[test]
    fn broken_blocks_are_refused() {
        for block in
            [&[0x80][..], &[0xff], &[0xc0], &[0x40, 5, b'a'], &[0x3f, 0xff, 0xff, 0x7f], &[0xff, 255, 255, 255, 255, 0]]
        {
            assert_eq!(decoded(&mut Decoder::new(), block), Err(BadBlock), "{block:?}");
        }
    }
}
