//! Request heads: validation, normalisation, the policy's view of them, and edits by routes.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::{Method, Version};
use leeboard_policy::dice::Dice;
use leeboard_policy::exchange::{Exchange, is_authority};
use leeboard_policy::headers::{Facts, HeaderEdit, Operator};
use leeboard_policy::request::{Entrance, Head, Secure, Tunnel};
use leeboard_policy::rewrite::normalise;
use leeboard_policy::verdict::BadRequest;

use super::downstream::DownstreamRequest;
use super::{peer_header, upgrade};
use crate::http::fields::{Fields, Name, Names};
use crate::http::hop_by_hop::strip;
use crate::http::target::{self, Path, Target};

/// A request's head, brought to one form whatever the caller spoke.
#[derive(Clone, Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) scheme: &'static str,
    /// How far the target asks for TLS.
    pub(crate) secure: Secure,
    /// Host or `:authority`, as it was sent.
    pub(crate) authority: String,
    /// The authority as it was sent, when a rewrite has changed it.
    sent_authority: Option<String>,
    /// How the caller spells `Host`.
    pub(crate) host_name: &'static str,
    /// Path and query after normalisation.
    pub(crate) path: Path,
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
    Name::OriginalUrl,
    Name::IpTags,
    // There is no certificate to speak of where there is no TLS. Envoy: SANITIZE, and of peers without one always.
    Name::ClientCert,
    // Istio's own word for `x-leeboard-peer`, which ends with the workload's proxy as well.
    Name::PeerMetadata,
    Name::PeerMetadataId,
]);

/// What a proxy says of a request that it has changed. Callers beside the proxy have none to tell of; the proxy of a caller has.
const ORIGINALS: Names = Names::of(&[Name::OriginalPath, Name::OriginalHost]);

/// Envoy: the most names that `Connection` may have.
const MOST_NAMED: usize = 10;

impl RequestHead {
    /// Takes the head of what has arrived, or says why it cannot be served.
    /// What is refused stays as it came.
    pub(crate) fn admit(request: &mut DownstreamRequest) -> Result<Self, BadRequest> {
        if let Some(bad) = request.bad {
            return Err(bad);
        }
        match request.target {
            Target::Asterisk => return Err(BadRequest::Asterisk),
            Target::Nothing(_) => return Err(BadRequest::InvalidTarget),
            Target::Path(_) | Target::Url { .. } | Target::Authority(_) => {}
        }
        let authority = check(request)?;
        let upgrade = upgrade::wanted_upgrade(&request.method, request.version, &request.fields);
        let DownstreamRequest { method, target, fields, version, expects, .. } = request;
        let (version, expects) = (*version, *expects);
        let peer = fields.text(Name::Peer).map(peer_header::told);
        let told = fields.text(Name::Hops).and_then(|hops| hops.parse().ok()).unwrap_or(0);
        let hops = peer.map_or(0, |(hops, _)| hops).max(told);
        if hops >= MOST_HOPS {
            return Err(BadRequest::Loop);
        }
        let (scheme, secure, path) = match target {
            Target::Path(path) => (None, Secure::No, plain(path)?),
            Target::Url { scheme, secure, path, .. } => (*scheme, *secure, plain(path)?),
            Target::Authority(_) | Target::Asterisk | Target::Nothing(_) => (None, Secure::No, Path::root()),
        };
        let peer = peer.map(|(_, peer)| peer.to_owned());
        let (method, mut fields) = (std::mem::take(method), std::mem::take(fields));
        let scheme = scheme.or_else(|| forwarded_scheme(&fields)).unwrap_or("http");
        let host_name = match fields.iter().find(|(known, ..)| *known == Name::Host) {
            Some((_, b"Host", _)) => "Host",
            _ => "host",
        };
        strip(&mut fields, NO_FURTHER);
        Ok(Self {
            method,
            scheme,
            secure,
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
    pub(crate) fn announce(&mut self, dice: Dice, entrance: Entrance) {
        if let Entrance::Outbound { .. } = entrance {
            self.fields.drop_all(ORIGINALS);
        }
        if !self.fields.has(Name::RequestId) {
            self.fields.put(Name::RequestId, &request_id(dice));
        }
        if !self.fields.has(Name::ForwardedProto) {
            self.fields.put(Name::ForwardedProto, b"http");
        }
    }

    /// What the chosen route makes of the head: rewrites, and the route's and destination's header operations.
    pub(crate) fn turn(&mut self, exchange: &Exchange, caller: &Caller) {
        exchange.edit_request(&mut RequestEdit { head: self, caller });
        if let Some(path) = exchange.path() {
            self.path = Path::read(path).expect("the policy lets no other path leave");
        }
        if let Some(authority) = exchange.authority() {
            self.sent_authority = Some(std::mem::replace(&mut self.authority, authority.to_owned()));
        }
    }

    /// The authority that the caller sent, whatever it was rewritten to.
    pub(crate) fn sent_authority(&self) -> &str {
        self.sent_authority.as_ref().unwrap_or(&self.authority)
    }
}

/// The authority, once it is sure what the request is and where it ends.
fn check(request: &DownstreamRequest) -> Result<String, BadRequest> {
    let fields = &request.fields;
    if request.version > Version::HTTP_11 && fields.all(Name::ContentLength).nth(1).is_some() {
        return Err(BadRequest::AmbiguousLength);
    }
    check_connection(fields)?;
    let authority = authority(request)?;
    if request.method == Method::CONNECT {
        upgrade::check_target(request)?;
    }
    Ok(authority)
}

/// Envoy: `Connection` may not take away what tells who called and whom, nor be a list without end.
fn check_connection(fields: &Fields) -> Result<(), BadRequest> {
    if !fields.has(Name::Connection) {
        return Ok(());
    }
    let named = fields.all(Name::Connection).flat_map(|value| value.split(|byte| *byte == b','));
    for (index, name) in named.map(<[u8]>::trim_ascii).enumerate() {
        const FORWARDED: &[u8] = b"x-forwarded-";
        let forwarded = name.get(..FORWARDED.len()).is_some_and(|start| start.eq_ignore_ascii_case(FORWARDED));
        if index >= MOST_NAMED || forwarded || name.starts_with(b":") || Name::of(name) == Name::Host {
            return Err(BadRequest::Connection);
        }
    }
    Ok(())
}

/// The path and query, in normal form.
fn plain(path: &mut Path) -> Result<Path, BadRequest> {
    match normalise(path.as_str()).map_err(|_| BadRequest::InvalidTarget)? {
        Cow::Borrowed(_) => Ok(std::mem::replace(path, Path::root())),
        Cow::Owned(plain) => Path::read(&plain).ok_or(BadRequest::InvalidTarget),
    }
}

/// What the proxy before says of the caller's side. Envoy: `:scheme`, where the target has none.
fn forwarded_scheme(fields: &Fields) -> Option<&'static str> {
    let mut said = fields.all(Name::ForwardedProto);
    let scheme = target::known(std::str::from_utf8(said.next()?).ok()?);
    scheme.filter(|_| said.next().is_none())
}

/// The target's authority if it has one (absolute form, HTTP/2), else Host. RFC 9112 §3.2. A port that is left empty is none.
fn authority(request: &DownstreamRequest) -> Result<String, BadRequest> {
    let mut hosts = request.fields.all(Name::Host);
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(BadRequest::InvalidHost);
    }
    let text = match (&request.target, host) {
        (Target::Url { authority: Some(authority), .. } | Target::Authority(authority), _) => authority.as_str(),
        (_, None | Some(b"")) => return Err(BadRequest::MissingHost),
        (_, Some(host)) => std::str::from_utf8(host).map_err(|_| BadRequest::InvalidHost)?,
    };
    if text.bytes().all(|byte| PLAIN[usize::from(byte)]) && !text.is_empty() || is_authority(text) {
        Ok(text.strip_suffix(':').unwrap_or(text).to_owned())
    } else {
        Err(BadRequest::InvalidHost)
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
    fn values<'h>(&'h self, name: &str, each: &mut dyn FnMut(&'h [u8])) {
        self.fields.each(name, each);
    }
    fn secure(&self) -> Secure {
        self.secure
    }
    fn is_http2(&self) -> bool {
        self.version == Version::HTTP_2
    }
    fn tunnel(&self) -> Option<Tunnel> {
        match &self.upgrade {
            Some(_) => Some(Tunnel::Upgrade),
            None => (self.method == Method::CONNECT).then_some(Tunnel::Connect),
        }
    }
}

/// Who calls, and the ends of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// Its end of the connection.
    pub(crate) peer: SocketAddr,
    /// Whom the request is from: the peer, unless that has forwarded it for somebody.
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// A request that is being edited on its way out.
struct RequestEdit<'a> {
    head: &'a mut RequestHead,
    caller: &'a Caller,
}

impl Facts for RequestEdit<'_> {
    fn request(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.head.header(name)
    }

    fn response(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn other(&self, operator: &Operator, out: &mut Vec<u8>) -> bool {
        connection_fact(operator, self.head, self.caller, out)
    }
}

impl HeaderEdit for RequestEdit<'_> {
    fn remove(&mut self, name: &str) {
        self.head.fields.remove(name.as_bytes());
    }
    fn set(&mut self, name: &str, value: &[u8]) {
        self.head.fields.set(name, value);
    }
    fn append(&mut self, name: &str, value: &[u8]) {
        self.head.fields.append(name, value);
    }
}

/// The operators that are known as soon as a request has come.
pub(crate) fn connection_fact(operator: &Operator, request: &RequestHead, caller: &Caller, out: &mut Vec<u8>) -> bool {
    use std::io::Write;
    let written = match operator {
        Operator::DownstreamRemoteAddress => write!(out, "{}", caller.client),
        Operator::DownstreamDirectRemoteAddress => write!(out, "{}", caller.peer),
        Operator::DownstreamRemoteAddressWithoutPort => write!(out, "{}", caller.client.ip()),
        Operator::DownstreamDirectRemoteAddressWithoutPort => write!(out, "{}", caller.peer.ip()),
        Operator::DownstreamRemotePort => write!(out, "{}", caller.client.port()),
        Operator::DownstreamLocalAddress => write!(out, "{}", caller.local),
        Operator::DownstreamLocalAddressWithoutPort => write!(out, "{}", caller.local.ip()),
        Operator::DownstreamLocalPort => write!(out, "{}", caller.local.port()),
        Operator::Protocol => write!(out, "{}", protocol_name(request.version)),
        Operator::Hostname => write!(out, "{}", crate::host::env::hostname()),
        Operator::Environment(name) => match crate::host::env::variable(name) {
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

    fn request(target: &str, headers: &[(&str, &str)]) -> DownstreamRequest {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("GET {target} HTTP/1.1\r\n{lines}\r\n");
        let rules = crate::http::http1::read::HeadRules::strict(4096, 50);
        let (request, _) =
            crate::http::http1::read::request(head.as_bytes(), &rules).expect("the test's request is one");
        DownstreamRequest::of_head(request, None, None)
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
            ("/a#b", &[("host", "a")], Some(InvalidTarget)),
            ("*", &[("host", "a")], Some(InvalidTarget)),
            ("a", &[("host", "a")], Some(InvalidTarget)),
            ("ftp://b/x", &[("host", "a")], Some(InvalidTarget)),
            ("http://u@b/x", &[("host", "a")], Some(InvalidHost)),
            ("http:///x", &[("host", "a")], Some(InvalidHost)),
            ("http://b:/x", &[("host", "a")], None),
            ("/", &[("host", "a:99999")], Some(InvalidHost)),
            ("/", &[("host", "a,b")], Some(InvalidHost)),
            ("/", &[("host", "a"), ("connection", "close, te, x-hop")], None),
            ("/", &[("host", "a"), ("connection", "X-Forwarded-For")], Some(Connection)),
            ("/", &[("host", "a"), ("connection", "x"), ("connection", "x-forwarded-port")], Some(Connection)),
            ("/", &[("host", "a"), ("connection", "Host")], Some(Connection)),
            ("/", &[("host", "a"), ("connection", ":path")], Some(Connection)),
            ("/", &[("host", "a"), ("connection", "a,b,c,d,e,f,g,h,i,j")], None),
            ("/", &[("host", "a"), ("connection", "a,b,c,d,e,f,g,h,i,j,k")], Some(Connection)),
            ("/", &[("host", "a"), ("upgrade", "websocket")], None),
            ("/", &[("host", "a"), ("upgrade", "h2c")], None),
        ];
        for (target, headers, expected) in table {
            let refused = RequestHead::admit(&mut request(target, headers)).err();
            assert_eq!(refused, *expected, "{target} {headers:?}");
        }
    }

    #[test]
    fn where_and_how_a_request_is_meant_to_go() {
        #[rustfmt::skip]
        let table: &[(&str, &[(&str, &str)], &str, &str, &str)] = &[
            // target, headers, authority, path, scheme
            ("/", &[("host", "app:")], "app", "/", "http"),
            ("/", &[("host", "[::1]:")], "[::1]", "/", "http"),
            ("http://b?q=1", &[("host", "a")], "b", "/?q=1", "http"),
            ("http://b:8/%61", &[("host", "a")], "b:8", "/a", "http"),
            ("HTTPS://b/", &[("host", "a")], "b", "/", "https"),
            ("http://b/", &[("host", "a"), ("x-forwarded-proto", "https")], "b", "/", "http"),
            ("/", &[("host", "a"), ("x-forwarded-proto", "HTTPS")], "a", "/", "https"),
            ("/", &[("host", "a"), ("x-forwarded-proto", "ftp")], "a", "/", "http"),
            ("/", &[("host", "a"), ("x-forwarded-proto", "https, http")], "a", "/", "http"),
            ("/", &[("host", "a"), ("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")], "a", "/", "http"),
            ("/a\"b`<>?<\"", &[("host", "a")], "a", "/a\"b`<>?<\"", "http"),
        ];
        for (target, headers, authority, path, scheme) in table {
            let head = RequestHead::admit(&mut request(target, headers)).expect("a good request");
            let found = (head.authority.as_str(), head.path.as_str(), head.scheme);
            assert_eq!(found, (*authority, *path, *scheme), "{target} {headers:?}");
        }
    }

    #[test]
    fn what_a_proxy_says_it_changed_is_believed_of_the_callers_proxy_only() {
        for (entrance, kept) in [(Entrance::Outbound { port: None }, false), (Entrance::Inbound(0), true)] {
            let sent = [("host", "a"), ("x-envoy-original-path", "/b"), ("x-envoy-original-host", "b")];
            let mut head = RequestHead::admit(&mut request("/", &sent)).expect("a good request");
            head.announce(Dice(1), entrance);
            assert_eq!((head.fields.has(Name::OriginalPath), head.fields.has(Name::OriginalHost)), (kept, kept));
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
        let head = RequestHead::admit(&mut request("/", &sent)).expect("a good request");
        let mut names: Vec<_> = head.fields.iter().map(|(_, name, _)| String::from_utf8_lossy(name)).collect();
        names.sort_unstable();
        // Whether an expectation goes on is for each attempt to say.
        assert_eq!(names, ["authorization", "expect", "te", "x-kept"]);
        assert_eq!(head.fields.text(Name::Te), Some("trailers"));
    }

    #[test]
    fn request_ids_are_version_4() {
        let mut head = RequestHead::admit(&mut request("/", &[("host", "a")])).expect("a good request");
        head.announce(Dice(1), Entrance::Outbound { port: None });
        let id = head.fields.text(Name::RequestId).expect("ASCII");
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
        assert!("89ab".contains(&id[19..20]));
        assert_eq!(head.fields.text(Name::ForwardedProto), Some("http"));
    }
}
