//! What leaves for an endpoint, and what must not: what HTTP cannot carry there, and what was to be secured.

use alloc::borrow::Cow;
use alloc::string::String;
use core::net::Ipv6Addr;

use super::Exchange;
use crate::cluster::Discovery;
use crate::request::{Head, Secure, Tunnel};
use crate::route::Forward;
use crate::snapshot::split_authority;
use crate::verdict::{Part, Verdict};

/// The status by which an endpoint agrees to switch protocols.
pub const SWITCHING_PROTOCOLS: u16 = 101;
/// The port of an authority without one. RFC 9110 §4.2.1.
const HTTP: u16 = 80;

/// What is known of a request's sending before any attempt.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// The path and query, when a rewrite has made them.
    pub(super) path: Option<String>,
    /// Why it is not sent.
    pub(super) refused: Option<Verdict>,
}

impl Exchange {
    /// What the route makes of a request that goes to the chosen destination.
    pub(super) fn prepare(&self, forward: &Forward, head: &impl Head) -> Sending {
        let path = forward.rewrite.as_deref().map(|rewrite| rewrite.apply(head.path_and_query()));
        let refused = self.refusal(path.as_deref(), head);
        Sending { path, refused }
    }

    /// Whether an attempt is made over HTTP/2. A tunnel begins with HTTP/1.1, whatever the endpoint could speak.
    pub fn speaks_http2(&self, head: &impl Head) -> bool {
        let cluster = self.described();
        self.tunnel.is_none() && cluster.is_some_and(|cluster| cluster.protocol.speaks_http2(head.is_http2()))
    }

    /// Whether a response agrees to switch protocols though nobody has asked for it, or before it has been asked to the end. Such an
    /// endpoint does not speak HTTP. RFC 9110 §15.2.2.
    pub fn switches_unasked(&self, status: u16, all_sent: bool) -> bool {
        status == SWITCHING_PROTOCOLS && (self.tunnel != Some(Tunnel::Upgrade) || !all_sent)
    }

    /// Where the caller was going anyway: the host and the port of the authority that is sent.
    pub fn original<'h>(&self, authority: &'h str) -> (Cow<'h, str>, u16) {
        let (host, port) = split_authority(authority);
        let host = match (self.described(), host) {
            (Some(cluster), Cow::Borrowed(host)) => cluster.service.full_name(host),
            (Some(cluster), Cow::Owned(host)) => Cow::Owned(cluster.service.full_name(&host).into_owned()),
            (None, host) => host,
        };
        (host, port.unwrap_or(HTTP))
    }

    fn refusal(&self, path: Option<&str>, head: &impl Head) -> Option<Verdict> {
        let cluster = self.described()?;
        let passes = matches!(cluster.discovery, Discovery::Original);
        let asked = match head.secure() {
            Secure::No => false,
            Secure::Scheme => passes,
            Secure::Url => true,
        };
        if asked || cluster.needs_tls() {
            return Some(Verdict::NeedsTls);
        }
        // Of a CONNECT nothing is sent.
        if self.tunnel == Some(Tunnel::Connect) {
            return None;
        }
        let http2 = self.speaks_http2(head);
        if path.is_some_and(|path| !is_path(path)) || http2 && !fits_http2(path.unwrap_or(head.path_and_query())) {
            return Some(Verdict::Unsendable(Part::Path));
        }
        let lost = self.authority().is_some_and(|authority| !is_authority(authority));
        lost.then_some(Verdict::Unsendable(Part::Authority))
    }
}

/// Whether a text is a path, with or without a query: any visible character but `#`, which begins what no request has. Envoy
/// takes the same but for what is not ASCII.
pub fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte > b' ' && byte != 0x7f && byte != b'#')
}

/// Whether a path fits into an HTTP/2 request: the http crate, in which h2 has them, leaves some characters out.
pub fn fits_http2(path_and_query: &str) -> bool {
    if path_and_query.len() >= usize::from(u16::MAX) {
        return false;
    }
    // Of nearly all paths one look at the bytes, many at a time, says that there is nothing to look for.
    let odd = |byte: u8| matches!(byte, b'<' | b'>' | b'`' | b'"');
    if path_and_query.bytes().fold(0, |any, byte| any | u8::from(odd(byte))) == 0 {
        return true;
    }
    let (path, query) = path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()));
    !path.contains(['<', '>', '`']) && !query.contains(['<', '>', '"'])
}

/// Whether a text is a host, with or without a port, that Host and `:authority` can hold. RFC 3986 §3.2.2, but for escapes, for
/// who asks, and for a comma, at which some make two of it.
pub fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte);
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(name),
    };
    let digits = port.len() < 6 && port.bytes().all(|byte| byte.is_ascii_digit());
    host && (port.is_empty() || digits && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_authority() {
        for (text, expected) in [
            ("app", true),
            ("app:80", true),
            ("app:", true),
            ("a_b.c-d:65535", true),
            ("127.0.0.1:1", true),
            ("[::1]", true),
            ("[::1]:80", true),
            ("[::1]:", true),
            ("", false),
            (":80", false),
            ("app:65536", false),
            ("app:+1", false),
            ("app:x", false),
            ("a:1:2", false),
            ("::1", false),
            ("[::1", false),
            ("[app]", false),
            ("a,b", false),
            ("a b", false),
            ("u@a", false),
            ("a%20b", false),
            ("https://x.test", false),
            ("x.test/path", false),
            ("\u{e9}", false),
        ] {
            assert_eq!(is_authority(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_a_path() {
        for (text, expected) in [
            ("/", true),
            ("/a<b>\"`|{}^[]\\?x=\"<", true),
            ("/\u{e9}", true),
            ("", false),
            ("a", false),
            ("*", false),
            ("/a b", false),
            ("/a\r\nb", false),
            ("/a#b", false),
            ("/a\u{7f}", false),
        ] {
            assert_eq!(is_path(text), expected, "{text}");
        }
    }
}
