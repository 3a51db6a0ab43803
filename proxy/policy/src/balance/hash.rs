//! The consistent hash of a request. Istio: `consistentHash`. Envoy: xxHash64 with seed 0.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::IpAddr;

use xxhash_rust::xxh64::xxh64;

use crate::cluster::HashKey;
use crate::pattern::first_value;
use crate::request::Head;

/// The hash of a request; `None` when it lacks what is hashed, and then it may go anywhere.
///
/// Envoy: a header that is present but empty has a hash, so that all such requests share an endpoint.
pub fn hash_of(key: &HashKey, head: &impl Head, source_ip: IpAddr) -> Option<u64> {
    match key {
        HashKey::Header(name) if is_pseudo(name) => Some(text(&head.header(name)?)),
        HashKey::Header(name) => {
            let mut values = Vec::new();
            head.values(name, &mut |value| values.push(value));
            hash_values(&mut values)
        }
        HashKey::Query(name) => Some(text(first_value(head.path().1?, name)?)),
        HashKey::SourceIp => Some(text(&source_ip.to_string())),
    }
}

/// What a head keeps beside its headers.
fn is_pseudo(name: &str) -> bool {
    name.starts_with(':') || name == "host"
}

/// The hash of a header's values, whatever their order.
fn hash_values(values: &mut [&str]) -> Option<u64> {
    values.sort_unstable();
    (!values.is_empty()).then(|| values.iter().fold(0, |seed, value| xxh64(value.as_bytes(), seed)))
}

fn text(text: &str) -> u64 {
    xxh64(text.as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::Sketch;

    #[test]
    fn equal_requests_hash_alike() {
        let header = HashKey::Header("x".into());
        let query = HashKey::Query("q".into());
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let here = ip("10.0.0.1");
        // xxHash64 of "a", of nothing and of "10.0.0.1", from the algorithm's reference implementation.
        let (a, nothing) = (0xd24e_c4f1_a98c_6e5b, 0xef46_db37_51d8_e999);
        let get = || Sketch::get("h", "/");
        #[rustfmt::skip]
        let table: [(&HashKey, Sketch, Option<u64>); 8] = [
            (&header, get().with("x", "a"), Some(a)),
            (&header, get().with("x", ""), Some(nothing)),
            (&header, get(), None),
            (&header, get().with("y", "a"), None),
            (&query, Sketch::get("h", "/?p=b&q=a&q=c"), Some(a)),
            (&query, Sketch::get("h", "/?q"), Some(nothing)),
            (&query, Sketch::get("h", "/?p=a"), None),
            (&query, Sketch::get("h", "/"), None),
        ];
        for (key, head, expected) in table {
            assert_eq!(hash_of(key, &head, here), expected, "{key:?} of {head:?}");
        }
        let ab = hash_of(&header, &get().with("x", "a").with("x", "b"), here);
        let ba = hash_of(&header, &get().with("x", "b").with("x", "a"), here);
        assert!(ab.is_some() && ab == ba && ab != Some(a), "the order of values does not show, their number does");
        let host = HashKey::Header("host".into());
        assert_eq!(hash_of(&host, &Sketch::get("a", "/"), here), Some(a));
        assert_eq!(hash_of(&HashKey::SourceIp, &get(), here), Some(text("10.0.0.1")));
        assert_ne!(hash_of(&HashKey::SourceIp, &get(), here), hash_of(&HashKey::SourceIp, &get(), ip("::1")));
    }
}
