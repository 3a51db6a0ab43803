//! Cookies by which a caller is known again: read from requests, and given to callers that have none. Istio: `httpCookie`.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use xxhash_rust::xxh64::xxh64;

use crate::cluster::HashCookie;
use crate::request::{Caller, Head};

/// A cookie's value without its quotes; of several the first. Envoy: one that is empty is as good as none.
pub(crate) fn value<'h>(head: &'h impl Head, name: &str) -> Option<&'h [u8]> {
    let mut found = None;
    head.values("cookie", &mut |line| {
        let mut pairs = line.split(|byte| *byte == b';');
        if found.is_none() {
            found = pairs.find_map(|pair| {
                let spaces = pair.iter().take_while(|byte| **byte == b' ').count();
                pair[spaces..].strip_prefix(name.as_bytes())?.strip_prefix(b"=")
            });
        }
    });
    let value: &[u8] = found?;
    let bare = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
    (!bare.is_empty()).then_some(bare)
}

/// The value of a caller's new cookie, to be written as sixteen hexadecimal digits. Envoy: the hash of both ends of the
/// connection, so that requests which race on it are given the same.
pub(crate) fn fresh(caller: Caller) -> u64 {
    xxh64(format!("{}{}", caller.remote, caller.local).as_bytes(), 0)
}

/// The text of a new cookie's value.
pub(crate) fn digits(value: u64) -> String {
    format!("{value:016x}")
}

impl HashCookie {
    /// The value of `set-cookie` that gives it to a caller.
    pub(crate) fn set(&self, value: u64) -> String {
        let mut text = format!("{}=\"{}\"", self.name, digits(value));
        // Writing into a string cannot fail.
        let _ = match self.max_age {
            Some(seconds) if seconds > 0 => write!(text, "; Max-Age={seconds}"),
            _ => Ok(()),
        };
        if !self.path.is_empty() {
            let _ = write!(text, "; Path={}", self.path);
        }
        for (name, value) in &self.attributes {
            let _ = if value.is_empty() { write!(text, "; {name}") } else { write!(text, "; {name}={value}") };
        }
        text.push_str("; HttpOnly");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::Sketch;
    use alloc::vec;

    #[test]
    fn values() {
        let get = || Sketch::get("h", "/");
        #[rustfmt::skip]
        let table = [
            (get(), None),
            (get().with("cookie", "s=1"), Some("1")),
            (get().with("cookie", "t=0; s=\"1\"; s=2"), Some("1")),
            (get().with("cookie", "xs=1;s=2"), Some("2")),
            (get().with("cookie", "a=b").with("cookie", "s=3"), Some("3")),
            (get().with("cookie", "s=a=b"), Some("a=b")),
            (get().with("cookie", "s="), None),
            (get().with("cookie", "s=\"\""), None),
            (get().with("cookie", "s"), None),
            (get().with("cookie", "S=1"), None),
        ];
        for (head, expected) in table {
            assert_eq!(value(&head, "s"), expected.map(str::as_bytes), "{head:?}");
        }
    }

    #[test]
    fn a_new_cookie_is_written_as_envoy_does() {
        let cookie = |path: &str, max_age, attributes| HashCookie {
            name: "sess".into(),
            path: path.into(),
            max_age,
            attributes,
        };
        let lax = || vec![("SameSite".into(), "Lax".into()), ("Secure".into(), "".into())];
        #[rustfmt::skip]
        let table = [
            (cookie("/p", Some(60), lax()), "sess=\"0000000000000abc\"; Max-Age=60; Path=/p; SameSite=Lax; Secure; HttpOnly"),
            (cookie("", Some(0), vec![]), "sess=\"0000000000000abc\"; HttpOnly"),
            (cookie("/", None, vec![]), "sess=\"0000000000000abc\"; Path=/; HttpOnly"),
        ];
        for (cookie, expected) in table {
            assert_eq!(cookie.set(0xabc), expected);
        }
    }

    #[test]
    fn a_connection_has_one_cookie() {
        let caller = |remote: &str| Caller {
            remote: remote.parse().expect("an address"),
            local: "10.0.0.9:80".parse().expect("an address"),
        };
        assert_eq!(fresh(caller("10.0.0.1:5000")), xxh64(b"10.0.0.1:500010.0.0.9:80", 0));
        assert_ne!(fresh(caller("10.0.0.1:5000")), fresh(caller("10.0.0.1:5001")));
    }
}
