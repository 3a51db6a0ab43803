//! The consistent hash of a request. Istio: `consistentHash`. Envoy: xxHash64 with seed 0.

use alloc::string::ToString;
use alloc::vec::Vec;

use xxhash_rust::xxh64::xxh64;

use crate::cluster::HashKey;
use crate::cookie;
use crate::pattern::first_value;
use crate::request::{Caller, Head};

/// What a request is known again by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Hashed {
    /// Its hash; `None` when it lacks what is hashed, and then it may go anywhere.
    pub(crate) hash: Option<u64>,
    /// The value of a cookie that the caller is to be given.
    pub(crate) cookie: Option<u64>,
}

/// The hash of a request, and perhaps a cookie for its caller.
pub(crate) fn hash_of(key: &HashKey, head: &impl Head, caller: Caller) -> Hashed {
    if let HashKey::Cookie(cookie) = key
        && cookie.max_age.is_some()
        && cookie::value(head, &cookie.name).is_none()
    {
        let fresh = cookie::fresh(caller);
        return Hashed { hash: Some(hash(cookie::digits(fresh).as_bytes())), cookie: Some(fresh) };
    }
    Hashed { hash: known(key, head, caller), cookie: None }
}

/// Envoy: a header that is present but empty has a hash, so that all such requests share an endpoint.
pub(crate) fn known(key: &HashKey, head: &impl Head, caller: Caller) -> Option<u64> {
    match key {
        HashKey::Cookie(cookie) => cookie::value(head, &cookie.name).map(hash),
        HashKey::Header(name) if is_pseudo(name) => Some(hash(&head.header(name)?)),
        HashKey::Header(name) => {
            let (mut first, mut others) = (None, Vec::new());
            head.values(name, &mut |value| match first {
                None => first = Some(value),
                Some(_) => others.push(value),
            });
            Some(hash_values(first?, others))
        }
        HashKey::Query(name) => Some(hash(first_value(head.path().1?, name)?.as_bytes())),
        HashKey::SourceIp => Some(hash(caller.ip().to_string().as_bytes())),
    }
}

/// What a head keeps beside its headers.
fn is_pseudo(name: &str) -> bool {
    name.starts_with(':') || name == "host"
}

/// The hash of a header's values, whatever their order. Mostly there is one, which takes no list.
fn hash_values<'h>(first: &'h [u8], mut others: Vec<&'h [u8]>) -> u64 {
    if others.is_empty() {
        return hash(first);
    }
    others.push(first);
    others.sort_unstable();
    others.iter().fold(0, |seed, value| xxh64(value, seed))
}

fn hash(value: &[u8]) -> u64 {
    xxh64(value, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::HashCookie;
    use crate::request::tests::Sketch;
    use core::net::SocketAddr;

    #[test]
    fn equal_requests_hash_alike() {
        let header = HashKey::Header("x".into());
        let query = HashKey::Query("q".into());
        let from = |text: &str| {
            let remote = SocketAddr::new(text.parse().expect("an address"), 5_000);
            Caller { remote, local: remote }
        };
        let here = from("10.0.0.1");
        let hash_of = |key: &HashKey, head: &Sketch, caller| super::hash_of(key, head, caller).hash;
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
        let odd = |value: &[u8]| hash_of(&header, &get().with("x", value), here);
        assert!(
            odd(b"\xfe") != odd(b"\xff") && odd(b"\xff") != Some(nothing),
            "bytes that are no text tell callers apart"
        );
        let cookie = HashCookie { name: "s".into(), path: "".into(), max_age: None, attributes: Vec::new() };
        let cookie = HashKey::Cookie(cookie.into());
        let crumb = |line: &[u8]| hash_of(&cookie, &get().with("cookie", line), here);
        assert_eq!(crumb(b"t=\xff; s=a"), Some(a));
        assert!(crumb(b"s=\xfe") != crumb(b"s=\xff"));
        let host = HashKey::Header("host".into());
        assert_eq!(hash_of(&host, &Sketch::get("a", "/"), here), Some(a));
        assert_eq!(hash_of(&HashKey::SourceIp, &get(), here), Some(hash(b"10.0.0.1")));
        assert_ne!(hash_of(&HashKey::SourceIp, &get(), here), hash_of(&HashKey::SourceIp, &get(), from("::1")));
    }

    #[test]
    fn a_caller_without_a_cookie_is_given_one_if_it_may_live() {
        let remote: SocketAddr = "10.0.0.1:5000".parse().expect("an address");
        let caller = Caller { remote, local: remote };
        let hash_of = |key: &HashKey, head: &Sketch| super::hash_of(key, head, caller);
        let key = |max_age| {
            HashKey::Cookie(HashCookie { name: "s".into(), path: "".into(), max_age, attributes: Vec::new() }.into())
        };
        let get = || Sketch::get("h", "/");
        let none = hash_of(&key(None), &get());
        assert_eq!(none, Hashed::default(), "without a ttl it is only read");
        let fresh = hash_of(&key(Some(0)), &get());
        let digits = cookie::digits(fresh.cookie.expect("a new one"));
        let back = hash_of(&key(Some(0)), &get().with("cookie", alloc::format!("s=\"{digits}\"")));
        assert_eq!(back, Hashed { cookie: None, ..fresh }, "it leads to the same endpoint when it comes back");
    }
}
