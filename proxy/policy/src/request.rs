//! What the policy needs to know of a request: a view of its head, and who sent it.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::time::Span;

/// The head of a request, as its driver holds it.
pub trait Head {
    /// The method, as `GET`.
    fn method(&self) -> &str;
    /// `http` or `https`: the target's own, else what the proxy before says. Envoy: `:scheme`.
    fn scheme(&self) -> &str;
    /// Host or `:authority` as it was sent, port included.
    fn authority(&self) -> &str;
    /// The path, and the query behind a `?` when there is one.
    fn path_and_query(&self) -> &str;
    /// Calls `each` with every value of a header, in order. `name` is in lower case. They need not be text.
    fn values<'h>(&'h self, name: &str, each: &mut dyn FnMut(&'h [u8]));

    /// All values of a header, joined with `,`; `None` when it is absent. The names of pseudo-headers are understood.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        match name {
            ":method" => return Some(self.method().as_bytes().into()),
            ":scheme" => return Some(self.scheme().as_bytes().into()),
            ":authority" | "host" => return Some(self.authority().as_bytes().into()),
            ":path" => return Some(self.path_and_query().as_bytes().into()),
            _ => {}
        }
        let mut joined: Option<Cow<'_, [u8]>> = None;
        self.values(name, &mut |value| match &mut joined {
            None => joined = Some(Cow::Borrowed(value)),
            Some(before) => {
                let mut bytes = Vec::with_capacity(before.len() + value.len() + 1);
                bytes.extend_from_slice(before);
                bytes.push(b',');
                bytes.extend_from_slice(value);
                *before = Cow::Owned(bytes);
            }
        });
        joined
    }

    /// The path without its query and the query without its `?`.
    fn path(&self) -> (&str, Option<&str>) {
        match self.path_and_query().split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.path_and_query(), None),
        }
    }

    /// What the caller wants its connection to become, if it is to carry something else than HTTP from now on.
    fn tunnel(&self) -> Option<Tunnel> {
        None
    }

    /// How far the target itself asks for TLS.
    fn secure(&self) -> Secure {
        Secure::No
    }

    /// Whether the caller speaks HTTP/2.
    fn is_http2(&self) -> bool {
        false
    }

    /// Whether the content type is gRPC's. Envoy: `application/grpc`, alone or before a `+`.
    fn is_grpc(&self) -> bool {
        self.header("content-type").is_some_and(|kind| {
            kind.strip_prefix(b"application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
        })
    }

    /// The caller's `grpc-timeout`.
    fn grpc_timeout(&self) -> Option<Span> {
        parse_grpc_timeout(core::str::from_utf8(&self.header("grpc-timeout")?).ok()?)
    }
}

/// How far a target asks for TLS all the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Secure {
    /// It does not.
    #[default]
    No,
    /// HTTP/2's `:scheme` is `https`. It may tell of the caller's own side only, and how a known host is spoken to is for its
    /// configuration to say.
    Scheme,
    /// It is an `https://` URL, as those say to a proxy who want it to do the encrypting.
    Url,
}

/// A connection that carries bytes of the caller's own after the request's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tunnel {
    /// The endpoint switches protocols, or answers like to any request. RFC 9110 §7.8.
    Upgrade,
    /// The endpoint is sent what comes after the request, and nothing of the request. RFC 9110 §9.3.6.
    Connect,
}

/// Who sent a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Its end of the connection.
    pub remote: SocketAddr,
    /// The proxy's end of it.
    pub local: SocketAddr,
}

impl Caller {
    /// Its address.
    pub fn ip(self) -> IpAddr {
        self.remote.ip()
    }

    /// Whom a request is from, when its last `proxies` proxies before this caller are trusted: the entry of `x-forwarded-for`
    /// that the first of them has added, else the caller itself. Envoy: `use_remote_address: false`, as on sidecars; an
    /// address from a header has no port.
    #[must_use]
    pub fn trusted(self, head: &impl Head, proxies: u32) -> Self {
        let Some(list) = head.header("x-forwarded-for") else { return self };
        let entry = list.rsplit(|byte| *byte == b',').nth(proxies as usize);
        let client = entry.and_then(|entry| core::str::from_utf8(entry).ok()?.trim().parse::<IpAddr>().ok());
        client.map_or(self, |client| Self { remote: SocketAddr::new(client, 0), ..self })
    }
}

/// Which of the proxy's listeners a request came in by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entrance {
    /// From the application, to `port` when the connection says so (a captured one), else to the authority's port, else 80.
    Outbound {
        /// The original destination's port.
        port: Option<u16>,
    },
    /// To the application, by the inbound listener of this index.
    Inbound(usize),
}

/// gRPC over HTTP/2: at most eight digits and a unit of H, M, S, m, u or n.
fn parse_grpc_timeout(text: &str) -> Option<Span> {
    let unit = text.chars().next_back()?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = match unit {
        'H' => 3_600_000_000_000,
        'M' => 60_000_000_000,
        'S' => 1_000_000_000,
        'm' => 1_000_000,
        'u' => 1_000,
        'n' => 1,
        _ => return None,
    };
    Some(Span(digits.parse().ok()?).times(nanoseconds))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    /// A request head written down for a test.
    #[derive(Clone, Debug)]
    pub(crate) struct Sketch {
        pub(crate) method: String,
        pub(crate) authority: String,
        pub(crate) path: String,
        pub(crate) headers: Vec<(String, Vec<u8>)>,
    }

    impl Sketch {
        pub(crate) fn get(authority: &str, path: &str) -> Self {
            Self { method: "GET".into(), authority: authority.into(), path: path.into(), headers: Vec::new() }
        }

        pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
            self.headers.push((name.to_string(), value.as_ref().to_vec()));
            self
        }
    }

    impl Head for Sketch {
        fn method(&self) -> &str {
            &self.method
        }
        fn scheme(&self) -> &str {
            "http"
        }
        fn authority(&self) -> &str {
            &self.authority
        }
        fn path_and_query(&self) -> &str {
            &self.path
        }
        fn values<'h>(&'h self, name: &str, each: &mut dyn FnMut(&'h [u8])) {
            self.headers.iter().filter(|(n, _)| n == name).for_each(|(_, v)| each(v));
        }
    }

    #[test]
    fn a_request_is_from_whom_the_last_trusted_proxy_says() {
        let here = "127.0.0.1:4000".parse().expect("an address");
        let caller = Caller { remote: here, local: here };
        for (forwarded, proxies, expected) in [
            (&[][..], 0, "127.0.0.1:4000"),
            (&["1.2.3.4"], 0, "1.2.3.4:0"),
            (&["1.2.3.4, 5.6.7.8"], 0, "5.6.7.8:0"),
            (&["1.2.3.4, 5.6.7.8"], 1, "1.2.3.4:0"),
            (&["1.2.3.4, 5.6.7.8"], 2, "127.0.0.1:4000"),
            (&["1.2.3.4", "9.9.9.9"], 0, "9.9.9.9:0"),
            (&["::1"], 0, "[::1]:0"),
            (&["junk"], 0, "127.0.0.1:4000"),
            (&["1.2.3.4:55"], 0, "127.0.0.1:4000"),
            (&["[::1]"], 0, "127.0.0.1:4000"),
            (&["1.2.3.4, "], 0, "127.0.0.1:4000"),
        ] {
            let head = forwarded.iter().fold(Sketch::get("a", "/"), |head, value| head.with("x-forwarded-for", value));
            assert_eq!(caller.trusted(&head, proxies).remote.to_string(), expected, "{forwarded:?} {proxies}");
        }
        let odd = Sketch::get("a", "/").with("x-forwarded-for", b"1.2.3.4, \xff, 5.6.7.8");
        for (proxies, expected) in [(0, "5.6.7.8:0"), (1, "127.0.0.1:4000"), (2, "1.2.3.4:0")] {
            assert_eq!(caller.trusted(&odd, proxies).remote.to_string(), expected, "{proxies}");
        }
    }

    #[test]
    fn several_values_are_joined() {
        let head = Sketch::get("a", "/").with("x", "1").with("x", "2");
        assert_eq!(head.header("x").as_deref(), Some(&b"1,2"[..]));
        assert_eq!(head.header("y"), None);
    }

    #[test]
    fn grpc_is_told_by_content_type() {
        for (kind, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("text/plain", false),
        ] {
            assert_eq!(Sketch::get("a", "/").with("content-type", kind).is_grpc(), grpc, "{kind}");
        }
        assert!(Sketch::get("a", "/").with("content-type", b"application/grpc+\xff").is_grpc());
    }

    #[test]
    fn grpc_timeouts_have_units() {
        for (text, span) in [
            ("200m", Some(Span::from_millis(200))),
            ("5S", Some(Span::from_secs(5))),
            ("1H", Some(Span::from_secs(3600))),
            ("7u", Some(Span(7_000))),
            ("", None),
            ("5", None),
            ("123456789S", None),
            ("-1S", None),
        ] {
            assert_eq!(parse_grpc_timeout(text), span, "{text}");
        }
    }
}
