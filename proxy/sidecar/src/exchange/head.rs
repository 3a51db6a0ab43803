//! Heads of messages: how the policy sees them, how they are made safe, and how they are edited.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::peer::PEER;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri, Version};
use leeboard_policy::dice::Dice;
use leeboard_policy::exchange::Exchange;
use leeboard_policy::headers::{Facts, HeaderEdit, Operator};
use leeboard_policy::request::{Head, Tunnel};
use leeboard_policy::rewrite::normalise;
use leeboard_policy::time::Span;
use leeboard_policy::verdict::BadRequest;

use crate::tunnel;

/// A request's head, brought to one form whatever the caller spoke.
#[derive(Clone, Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) scheme: &'static str,
    /// Host or `:authority`, as it was sent.
    pub(crate) authority: HeaderValue,
    /// The authority as it was sent, when a rewrite has changed it.
    sent_authority: Option<HeaderValue>,
    /// Path and query after normalisation.
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    /// What the proxy of the caller says of it.
    pub(crate) peer: Option<HeaderValue>,
    /// The protocols that the caller wants to switch to.
    pub(crate) upgrade: Option<HeaderValue>,
    pub(crate) extensions: http::Extensions,
    pub(crate) version: Version,
}

const TE: HeaderName = header::TE;

/// The headers that belong to one connection. RFC 9110 §7.6.1.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
];

/// Envoy's knobs and marks, which a caller outside the proxy must not set. Envoy: removed from requests that are not internal.
const KNOBS: [HeaderName; 15] = [
    HeaderName::from_static("x-envoy-retry-on"),
    HeaderName::from_static("x-envoy-retry-grpc-on"),
    HeaderName::from_static("x-envoy-max-retries"),
    HeaderName::from_static("x-envoy-retriable-status-codes"),
    HeaderName::from_static("x-envoy-retriable-header-names"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-alt-response"),
    HeaderName::from_static("x-envoy-upstream-stream-duration-ms"),
    HeaderName::from_static("x-envoy-hedge-on-per-try-timeout"),
    HeaderName::from_static("x-envoy-upstream-alt-stat-name"),
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-internal"),
    HeaderName::from_static("x-envoy-force-trace"),
    HeaderName::from_static("x-envoy-original-path"),
];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

impl RequestHead {
    /// Takes a head as hyper parsed it, or says why it cannot be served.
    pub(crate) fn admit(parts: Parts, ambiguous: bool) -> Result<Self, BadRequest> {
        if ambiguous {
            return Err(BadRequest::AmbiguousLength);
        }
        let (authority, path) = check(&parts)?;
        let upgrade = tunnel::wanted_upgrade(&parts);
        let Parts { method, mut headers, extensions, version, .. } = parts;
        strip_hop_by_hop(&mut headers);
        headers.remove(header::HOST);
        // The caller has its `100 Continue` from this connection. Envoy: stripped.
        headers.remove(header::EXPECT);
        let peer = headers.remove(PEER);
        KNOBS.iter().for_each(|knob| {
            headers.remove(knob);
        });
        Ok(Self {
            method,
            scheme: "http",
            authority,
            sent_authority: None,
            path,
            headers,
            peer,
            upgrade,
            extensions,
            version,
        })
    }

    /// Envoy: what is added to every request before routing.
    pub(crate) fn announce(&mut self, dice: Dice) {
        if !self.headers.contains_key(REQUEST_ID) {
            self.headers.insert(REQUEST_ID, request_id(dice));
        }
        self.headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    }

    /// What the chosen route makes of the head: rewrites, and the route's and destination's header operations.
    pub(crate) fn turn(&mut self, exchange: &Exchange, caller: &Caller) {
        let authority = exchange.authority(&Outgoing { head: self, caller });
        if let Some(path) = exchange.path(self.path.as_str())
            && let Ok(new) = PathAndQuery::try_from(path)
            && let Ok(old) = HeaderValue::from_str(self.path.as_str())
        {
            self.headers.insert(ORIGINAL_PATH, old);
            self.path = new;
        }
        if let Some(new) = authority.and_then(|text| HeaderValue::from_str(&text).ok()) {
            self.sent_authority = Some(std::mem::replace(&mut self.authority, new));
        }
        exchange.edit_request(&mut Outgoing { head: self, caller });
    }

    /// The authority that the caller sent, whatever it was rewritten to.
    pub(crate) fn sent_authority(&self) -> &str {
        text(self.sent_authority.as_ref().unwrap_or(&self.authority))
    }

    /// The head of one attempt.
    pub(crate) fn attempt(&self, number: u32, expected: Option<Span>, grpc: bool, http2: bool) -> http::request::Parts {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = self.method.clone();
        parts.headers = self.headers.clone();
        parts.extensions = self.extensions.clone();
        parts.version = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        parts.headers.insert(ATTEMPT_COUNT, HeaderValue::from(number));
        if let Some(expected) = expected {
            let milliseconds = expected.as_millis().max(1);
            parts.headers.insert(EXPECTED_TIMEOUT, HeaderValue::from(milliseconds));
            if grpc && let Ok(value) = HeaderValue::try_from(format!("{milliseconds}m")) {
                parts.headers.insert(GRPC_TIMEOUT, value);
            }
        }
        if http2 {
            let mut uri = http::uri::Parts::default();
            uri.scheme = Some(Scheme::HTTP);
            uri.authority = Authority::try_from(self.authority.as_bytes()).ok();
            uri.path_and_query = Some(self.path.clone());
            parts.uri = Uri::from_parts(uri).unwrap_or_default();
        } else {
            parts.uri = Uri::from(self.path.clone());
            parts.headers.insert(header::HOST, self.authority.clone());
            if let Some(protocols) = &self.upgrade {
                tunnel::switch(&mut parts.headers, protocols.clone());
            }
        }
        parts
    }
}

/// The authority and path, once it is sure what the request is and where it ends.
fn check(parts: &Parts) -> Result<(HeaderValue, PathAndQuery), BadRequest> {
    let headers = &parts.headers;
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(BadRequest::UnknownCoding);
        }
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Err(BadRequest::AmbiguousLength);
        }
    }
    if headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(BadRequest::AmbiguousLength);
    }
    let authority = authority(parts)?;
    if parts.method == Method::CONNECT {
        tunnel::check_target(parts)?;
        return Ok((authority, PathAndQuery::from_static("/")));
    }
    let target = parts.uri.path_and_query().filter(|path| path.as_str().starts_with('/'));
    let path = match (target, parts.uri.authority()) {
        (Some(path), _) => path.clone(),
        (None, Some(_)) => PathAndQuery::from_static("/"),
        (None, None) => return Err(BadRequest::InvalidTarget),
    };
    let path = match normalise(path.as_str()).map_err(|_| BadRequest::InvalidTarget)? {
        Cow::Borrowed(_) => path,
        Cow::Owned(plain) => PathAndQuery::try_from(plain).map_err(|_| BadRequest::InvalidTarget)?,
    };
    Ok((authority, path))
}

/// The target's authority if it has one (absolute form, HTTP/2), else Host. RFC 9112 §3.2.
fn authority(parts: &Parts) -> Result<HeaderValue, BadRequest> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(BadRequest::InvalidHost);
    }
    if let Some(authority) = parts.uri.authority() {
        if authority.as_str().contains('@') {
            return Err(BadRequest::InvalidHost);
        }
        return HeaderValue::from_str(authority.as_str()).map_err(|_| BadRequest::InvalidHost);
    }
    let host = host.ok_or(BadRequest::MissingHost)?;
    if host.is_empty() {
        return Err(BadRequest::MissingHost);
    }
    match Authority::try_from(host.as_bytes()) {
        Ok(authority) if !authority.as_str().contains('@') => Ok(host.clone()),
        _ => Err(BadRequest::InvalidHost),
    }
}

/// Takes away what belongs to the connection, what `Connection` names, and any `TE` but `trailers`.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let trailers = headers.get_all(TE).iter().filter_map(|te| te.to_str().ok()).any(|te| {
        te.split(',').any(|coding| coding.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("trailers"))
    });
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(|name| *name != header::TE && *name != header::CONTENT_LENGTH && *name != header::HOST)
            .collect();
        named.iter().for_each(|name| {
            headers.remove(name);
        });
    }
    HOP_BY_HOP.iter().for_each(|name| {
        headers.remove(name);
    });
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// A version 4 UUID. RFC 9562.
fn request_id(dice: Dice) -> HeaderValue {
    let bits = Exchange::request_id(dice) & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    let id = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-"))
}

fn text(value: &HeaderValue) -> &str {
    std::str::from_utf8(value.as_bytes()).unwrap_or("")
}

impl Head for RequestHead {
    fn method(&self) -> &str {
        self.method.as_str()
    }
    fn scheme(&self) -> &str {
        self.scheme
    }
    fn authority(&self) -> &str {
        text(&self.authority)
    }
    fn path_and_query(&self) -> &str {
        self.path.as_str()
    }
    fn values<'h>(&'h self, name: &str, each: &mut dyn FnMut(&'h str)) {
        self.headers.get_all(name).iter().for_each(|value| each(text(value)));
    }
    fn tunnel(&self) -> Option<Tunnel> {
        match &self.upgrade {
            Some(_) => Some(Tunnel::Upgrade),
            None => (self.method == Method::CONNECT).then_some(Tunnel::Connect),
        }
    }
}

/// The ends of the caller's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// A request that is being edited on its way out.
struct Outgoing<'a> {
    head: &'a mut RequestHead,
    caller: &'a Caller,
}

impl Facts for Outgoing<'_> {
    fn request(&self, name: &str) -> Option<Cow<'_, str>> {
        self.head.header(name)
    }

    fn response(&self, _name: &str) -> Option<Cow<'_, str>> {
        None
    }

    fn other(&self, operator: &Operator, out: &mut String) -> bool {
        connection_fact(operator, self.head, self.caller, out)
    }
}

impl HeaderEdit for Outgoing<'_> {
    fn remove(&mut self, name: &str) {
        Edit(&mut self.head.headers).remove(name);
    }
    fn set(&mut self, name: &str, value: &str) {
        Edit(&mut self.head.headers).set(name, value);
    }
    fn append(&mut self, name: &str, value: &str) {
        Edit(&mut self.head.headers).append(name, value);
    }
}

/// The operators that are known as soon as a request has come.
pub(crate) fn connection_fact(operator: &Operator, request: &RequestHead, caller: &Caller, out: &mut String) -> bool {
    use std::fmt::Write;
    let written = match operator {
        Operator::DownstreamRemoteAddress | Operator::DownstreamDirectRemoteAddress => write!(out, "{}", caller.remote),
        Operator::DownstreamRemoteAddressWithoutPort | Operator::DownstreamDirectRemoteAddressWithoutPort => {
            write!(out, "{}", caller.remote.ip())
        }
        Operator::DownstreamRemotePort => write!(out, "{}", caller.remote.port()),
        Operator::DownstreamLocalAddress => write!(out, "{}", caller.local),
        Operator::DownstreamLocalAddressWithoutPort => write!(out, "{}", caller.local.ip()),
        Operator::DownstreamLocalPort => write!(out, "{}", caller.local.port()),
        Operator::Protocol => write!(out, "{}", protocol_name(request.version)),
        Operator::Hostname => write!(out, "{}", crate::bootstrap::hostname()),
        Operator::Environment(name) => match crate::bootstrap::environment(name) {
            Some(value) => write!(out, "{value}"),
            None => return false,
        },
        _ => return false,
    };
    written.is_ok()
}

/// Envoy's `%PROTOCOL%`.
pub(crate) fn protocol_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// Edits a header map. A name or value that HTTP does not allow changes nothing.
pub(crate) struct Edit<'m>(pub(crate) &'m mut HeaderMap);

impl HeaderEdit for Edit<'_> {
    fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }
    fn set(&mut self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            self.0.insert(name, value);
        }
    }
    fn append(&mut self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            self.0.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("the test's request is one").into_parts().0
    }

    #[test]
    fn what_is_no_request_is_refused() {
        use BadRequest::*;
        #[rustfmt::skip]
        let table: &[(&str, &[(&str, &str)], Option<BadRequest>)] = &[
            ("/", &[("host", "a")], None),
            ("http://b/x", &[("host", "a")], None),
            ("/", &[], Some(MissingHost)),
            ("/", &[("host", "")], Some(MissingHost)),
            ("/", &[("host", "a"), ("host", "b")], Some(InvalidHost)),
            ("/", &[("host", "a b")], Some(InvalidHost)),
            ("/", &[("host", "u@a")], Some(InvalidHost)),
            ("/", &[("host", "a"), ("content-length", "1"), ("transfer-encoding", "chunked")], Some(AmbiguousLength)),
            ("/", &[("host", "a"), ("content-length", "1"), ("content-length", "1")], Some(AmbiguousLength)),
            ("/", &[("host", "a"), ("transfer-encoding", "gzip, chunked")], Some(UnknownCoding)),
            ("/", &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Some(UnknownCoding)),
            ("/a%00", &[("host", "a")], Some(InvalidTarget)),
            ("*", &[("host", "a")], Some(InvalidTarget)),
            ("/", &[("host", "a"), ("upgrade", "websocket")], None),
            ("/", &[("host", "a"), ("upgrade", "h2c")], None),
        ];
        for (target, headers, expected) in table {
            let refused = RequestHead::admit(parts(target, headers), false).err();
            assert_eq!(refused, *expected, "{target} {headers:?}");
        }
    }

    #[test]
    fn connection_headers_and_knobs_go_no_further() {
        let sent = [
            ("host", "a"),
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("expect", "100-continue"),
            ("te", "gzip, trailers"),
            ("x-envoy-retry-on", "5xx"),
            ("x-kept", "1"),
            ("authorization", "b"),
        ];
        let head = RequestHead::admit(parts("/", &sent), false).expect("a good request");
        let mut names: Vec<&str> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "te", "x-kept"]);
        assert_eq!(head.headers["te"], "trailers");
    }

    #[test]
    fn request_ids_are_version_4() {
        let mut head = RequestHead::admit(parts("/", &[("host", "a")]), false).expect("a good request");
        head.announce(Dice(1));
        let id = head.headers["x-request-id"].to_str().expect("ASCII");
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
        assert!("89ab".contains(&id[19..20]));
        assert_eq!(head.headers["x-forwarded-proto"], "http");
    }
}
