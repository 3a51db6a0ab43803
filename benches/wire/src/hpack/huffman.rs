//! The Huffman code of HTTP/2 header strings (RFC 7541, appendix B). It is canonical, so the lengths say it all.

use std::sync::LazyLock;

/// Bits of the code of each byte.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26,
];
const LONGEST: usize = 30;

/// What is needed to read a canonical code bit by bit: for each length its first code, and where its bytes begin.
struct Code {
    first: [u32; LONGEST + 2],
    begin: [usize; LONGEST + 2],
    bytes: Vec<u8>,
}

static CODE: LazyLock<Code> = LazyLock::new(|| {
    let mut code = Code { first: [0; LONGEST + 2], begin: [0; LONGEST + 2], bytes: Vec::new() };
    for length in 1..=LONGEST {
        code.begin[length] = code.bytes.len();
        let members = (0..=u8::MAX).filter(|&byte| usize::from(LENGTHS[usize::from(byte)]) == length);
        code.bytes.extend(members);
        let count = (code.bytes.len() - code.begin[length]) as u32;
        code.first[length + 1] = (code.first[length] + count) << 1;
        code.begin[length + 1] = code.bytes.len();
    }
    code
});

/// The text; `None` when the bits are no text, or its padding is not ones of less than a byte.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let code = &*CODE;
    let mut text = Vec::with_capacity(packed.len() * 8 / 5);
    let (mut bits, mut length) = (0_u32, 0_usize);
    for byte in packed {
        for shift in (0..8).rev() {
            bits = bits << 1 | u32::from(byte >> shift & 1);
            length += 1;
            if length > LONGEST {
                return None;
            }
            let count = code.begin[length + 1] - code.begin[length];
            if let Some(offset) = bits.checked_sub(code.first[length]).filter(|&offset| (offset as usize) < count) {
                text.push(code.bytes[code.begin[length] + offset as usize]);
                (bits, length) = (0, 0);
            }
        }
    }
    (length < 8 && bits == (1 << length) - 1).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RFC 7541, appendix C.4 and C.6.
    #[test]
    fn the_rfcs_strings() {
        let cases: [(&[u8], Option<&[u8]>); 6] = [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff], Some(b"www.example.com")),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], Some(b"no-cache")),
            (&[0x64, 0x02], Some(b"302")),
            (&[], Some(b"")),
            (&[0x64, 0x02, 0xff], None),
            (&[0xff, 0xff, 0xff, 0xff], None),
        ];
        for (packed, text) in cases {
            assert_eq!(unpack(packed).as_deref(), text, "{packed:?}");
        }
    }
}
