//! Blocks of addresses, written as CIDR does. RFC 4632.

use std::net::IpAddr;

/// Blocks of addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Networks(Vec<(IpAddr, u32)>);

impl Networks {
    /// Whether an address is in one of them.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(base, bits)| match (base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                (base.to_bits() ^ address.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                (base.to_bits() ^ address.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
            }
            _ => false,
        })
    }
}

/// Reads `10.0.0.0/8,fd00::/8`; an address alone is a block of one, and nothing is none.
pub(crate) fn read(text: &str) -> Result<Networks, String> {
    let block = |block: &str| {
        let (base, bits) = block.split_once('/').map_or((block, None), |(base, bits)| (base, Some(bits)));
        let base: IpAddr = base.parse().ok()?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then_some((base, bits))
    };
    let blocks = text.split(',').map(str::trim).filter(|block| !block.is_empty());
    let blocks = blocks.map(|text| block(text).ok_or_else(|| format!("'{text}' is no block such as 10.0.0.0/8")));
    blocks.collect::<Result<_, _>>().map(Networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_addresses() {
        #[rustfmt::skip]
        let table = [
            ("", "10.0.0.1", false), ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true), ("10.0.0.1", "10.0.0.2", false), ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false), ("fd00::/8, 10.0.0.0/31", "10.0.0.1", true), ("fd00::/8", "fd12::1", true),
            ("::/0", "fe80::1", true), ("::1", "::1", true), ("::1", "::2", false),
        ];
        for (blocks, address, inside) in table {
            assert_eq!(read(blocks).unwrap().contain(address.parse().unwrap()), inside, "{address} in {blocks}");
        }
        for wrong in ["10.0.0.0/33", "::/129", "10.0.0/8", "a", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
