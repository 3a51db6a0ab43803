//! Heads of messages: how the policy sees them, how they are made safe, and how they are edited.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::uri::{Authority, PathAndQuery};
use http::{Method, Version};
use leeboard_policy::dice::Dice;
use leeboard_policy::exchange::Exchange;
use leeboard_policy::headers::{Facts, HeaderEdit, Operator};
use leeboard_policy::request::{Head, Tunnel};
use leeboard_policy::rewrite::normalise;
use leeboard_policy::verdict::BadRequest;

use super::arrival::Arrival;
use crate::fields::{Fields, Name, Names};
use crate::hops::strip;
use crate::http1::read::Target;
use crate::tunnel;

/// A request's head, brought to one form whatever the caller spoke.
#[derive(Clone, Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) scheme: &'static str,
    /// Host or `:authority`, as it was sent.
    pub(crate) authority: String,
    /// The authority as it was sent, when a rewrite has changed it.
    sent_authority: Option<String>,
    /// How the caller spells `Host`.
    pub(crate) host_name: &'static str,
    /// Path and query after normalisation.
    pub(crate) path: PathAndQuery,
    pub(crate) fields: Fields,
    /// What the proxy of the caller says of it; `None` when the caller has none.
    pub(crate) peer: Option<String>,
    /// The protocols that the caller wants to switch to.
    pub(crate) upgrade: Option<String>,
    /// Whether the caller waits to be told to send its body, and can be told by the endpoint.
    pub(crate) expects: bool,
    pub(crate) version: Version,
    /// How many proxies of this kind it has come through.
    pub(crate) hops: u8,
}

/// The most proxies of this kind that a request may come through: more than any chain of applications that hand on all headers,
/// and few enough that a circle holds few connections.
const MOST_HOPS: u8 = 16;

/// What goes no further: what belongs to the caller's connection; Host, which is kept apart; and Envoy's knobs and marks, which a caller outside the proxy must not set. Envoy:
/// removed from requests that are not internal.
const NO_FURTHER: Names = Names::of(&[
    Name::Connection,
    Name::KeepAlive,
    Name::ProxyConnection,
    Name::TransferEncoding,
    Name::Upgrade,
    Name::Te,
    Name::Host,
    Name::Peer,
    Name::Unprocessed,
    Name::Hops,
    Name::RetryOn,
    Name::RetryGrpcOn,
    Name::MaxRetries,
    Name::RetriableCodes,
    Name::RetriableHeaders,
    Name::Timeout,
    Name::PerTryTimeout,
    Name::TimeoutAnswer,
    Name::StreamDuration,
    Name::Hedge,
    Name::AltStat,
    Name::ExpectedTimeout,
    Name::Internal,
    Name::ForceTrace,
    Name::OriginalPath,
    Name::OriginalUrl,
    Name::IpTags,
    // There is no certificate to speak of where there is no TLS. Envoy: SANITIZE, and of peers without one always.
    Name::ClientCert,
    // Istio's own word for `x-leeboard-peer`, which ends with the workload's proxy as well.
    Name::PeerMetadata,
    Name::PeerMetadataId,
]);

impl RequestHead {
    /// Takes the head of what has arrived, or says why it cannot be served.
    pub(crate) fn admit(arrival: Arrival) -> Result<Self, BadRequest> {
        if let Some(bad) = arrival.bad {
            return Err(bad);
        }
        let authority = check(&arrival)?;
        let upgrade = tunnel::wanted_upgrade(&arrival.method, arrival.version, &arrival.fields);
        let Arrival { method, target, mut fields, version, expects, .. } = arrival;
        let path = if method == Method::CONNECT { PathAndQuery::from_static("/") } else { path(target)? };
        let hops = fields.text(Name::Hops).and_then(|hops| hops.parse().ok()).unwrap_or(0);
        if hops >= MOST_HOPS {
            return Err(BadRequest::Loop);
        }
        let peer = fields.text(Name::Peer).map(str::to_owned);
        let host_name = match fields.iter().find(|(known, ..)| *known == Name::Host) {
            Some((_, b"Host", _)) => "Host",
            _ => "host",
        };
        strip(&mut fields, NO_FURTHER);
        Ok(Self {
            method,
            scheme: "http",
            authority,
            sent_authority: None,
            host_name,
            path,
            fields,
            peer,
            upgrade,
            expects,
            version,
            hops,
        })
    }

    /// Envoy: what is added to every request before routing.
    pub(crate) fn announce(&mut self, dice: Dice) {
        if !self.fields.has(Name::RequestId) {
            self.fields.put(Name::RequestId, &request_id(dice));
        }
        if !self.fields.has(Name::ForwardedProto) {
            self.fields.put(Name::ForwardedProto, b"http");
        }
    }

    /// What the chosen route makes of the head: rewrites, and the route's and destination's header operations.
    pub(crate) fn turn(&mut self, exchange: &Exchange, caller: &Caller) {
        let authority = exchange.authority(&Outgoing { head: self, caller });
        if let Some(path) = exchange.path(self.path.as_str())
            && let Ok(new) = PathAndQuery::try_from(path)
        {
            self.fields.replace(Name::OriginalPath, self.path.as_str().as_bytes());
            self.path = new;
        }
        if let Some(new) = authority.filter(|text| http::HeaderValue::from_str(text).is_ok()) {
            self.sent_authority = Some(std::mem::replace(&mut self.authority, new));
        }
        exchange.edit_request(&mut Outgoing { head: self, caller });
    }

    /// The authority that the caller sent, whatever it was rewritten to.
    pub(crate) fn sent_authority(&self) -> &str {
        self.sent_authority.as_ref().unwrap_or(&self.authority)
    }
}

/// The authority, once it is sure what the request is and where it ends.
fn check(arrival: &Arrival) -> Result<String, BadRequest> {
    let fields = &arrival.fields;
    if arrival.version > Version::HTTP_11 && fields.all(Name::ContentLength).nth(1).is_some() {
        return Err(BadRequest::AmbiguousLength);
    }
    let authority = authority(arrival)?;
    if arrival.method == Method::CONNECT {
        tunnel::check_target(arrival)?;
    }
    Ok(authority)
}

/// The path and query, in normal form.
fn path(target: Target) -> Result<PathAndQuery, BadRequest> {
    let path = match target {
        Target::Path(path) => path,
        Target::Uri(uri) => match (uri.path_and_query().filter(|path| path.as_str().starts_with('/')), uri.authority())
        {
            (Some(path), _) => path.clone(),
            (None, Some(_)) => PathAndQuery::from_static("/"),
            (None, None) => return Err(BadRequest::InvalidTarget),
        },
    };
    match normalise(path.as_str()).map_err(|_| BadRequest::InvalidTarget)? {
        Cow::Borrowed(_) => Ok(path),
        Cow::Owned(plain) => PathAndQuery::try_from(plain).map_err(|_| BadRequest::InvalidTarget),
    }
}

/// The target's authority if it has one (absolute form, HTTP/2), else Host. RFC 9112 §3.2.
fn authority(arrival: &Arrival) -> Result<String, BadRequest> {
    let mut hosts = arrival.fields.all(Name::Host);
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(BadRequest::InvalidHost);
    }
    if let Target::Uri(uri) = &arrival.target
        && let Some(authority) = uri.authority()
    {
        return if authority.as_str().contains('@') {
            Err(BadRequest::InvalidHost)
        } else {
            Ok(authority.as_str().to_owned())
        };
    }
    let host = host.filter(|host| !host.is_empty()).ok_or(BadRequest::MissingHost)?;
    let name = host.iter().position(|byte| !PLAIN[usize::from(*byte)]).unwrap_or(host.len());
    let plain = match &host[name..] {
        [] => true,
        [b':', port @ ..] => name > 0 && port.len() < 6 && port.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    match std::str::from_utf8(host) {
        Ok(host) if plain => Ok(host.to_owned()),
        Ok(host) if !host.contains('@') && Authority::try_from(host).is_ok() => Ok(host.to_owned()),
        _ => Err(BadRequest::InvalidHost),
    }
}

/// The bytes of nearly all names of hosts.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        plain[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'.' | b'-' | b'_');
        byte += 1;
    }
    plain
};

/// A version 4 UUID. RFC 9562.
fn request_id(dice: Dice) -> [u8; 36] {
    let bits = Exchange::request_id(dice) & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let mut id = [0; 36];
    uuid::Uuid::from_u128(bits).hyphenated().encode_lower(&mut id);
    id
}

fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap_or("")
}

impl Head for RequestHead {
    fn method(&self) -> &str {
        self.method.as_str()
    }
    fn scheme(&self) -> &str {
        self.scheme
    }
    fn authority(&self) -> &str {
        &self.authority
    }
    fn path_and_query(&self) -> &str {
        self.path.as_str()
    }
    fn values<'h>(&'h self, name: &str, each: &mut dyn FnMut(&'h str)) {
        self.fields.each(name, &mut |value| each(text(value)));
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
        self.head.fields.remove(name.as_bytes());
    }
    fn set(&mut self, name: &str, value: &str) {
        self.head.fields.set(name, value);
    }
    fn append(&mut self, name: &str, value: &str) {
        self.head.fields.append(name, value);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(target: &str, headers: &[(&str, &str)]) -> Arrival {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("GET {target} HTTP/1.1\r\n{lines}\r\n");
        let rules = crate::http1::read::Rules::strict(4096, 50);
        let (request, _) = crate::http1::read::request(head.as_bytes(), &rules).expect("the test's request is one");
        Arrival::of_head(request, None, None)
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
            let refused = RequestHead::admit(arrival(target, headers)).err();
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
        let head = RequestHead::admit(arrival("/", &sent)).expect("a good request");
        let mut names: Vec<&str> = head.fields.iter().map(|(_, name, _)| text(name)).collect();
        names.sort_unstable();
        // Whether an expectation goes on is for each attempt to say.
        assert_eq!(names, ["authorization", "expect", "te", "x-kept"]);
        assert_eq!(head.fields.text(Name::Te), Some("trailers"));
    }

    #[test]
    fn request_ids_are_version_4() {
        let mut head = RequestHead::admit(arrival("/", &[("host", "a")])).expect("a good request");
        head.announce(Dice(1));
        let id = head.fields.text(Name::RequestId).expect("ASCII");
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
        assert!("89ab".contains(&id[19..20]));
        assert_eq!(head.fields.text(Name::ForwardedProto), Some("http"));
    }
}
