//! Requests that leave HTTP: upgrades (RFC 9110 §7.8), as WebSocket uses them, and CONNECT (§9.3.6), as proxy clients
//! use it for https.

use http::{Method, Version};
use leeboard_policy::exchange::is_authority;
use leeboard_policy::request::Entrance;
use leeboard_policy::snapshot::split_authority;
use leeboard_policy::verdict::BadRequest;

use super::downstream::DownstreamRequest;
use crate::http::fields::{Fields, Name};
use crate::http::target::Target;

/// Whether a request means its connection to leave HTTP. What follows it may then be no HTTP, whatever the answer is.
pub(crate) fn is_wanted(method: &Method, version: Version, fields: &Fields) -> bool {
    method == Method::CONNECT || wanted_upgrade(method, version, fields).is_some()
}

/// The protocols that a caller wants to switch to. Envoy: an upgrade is one only when `Connection` says so too.
/// `h2c` is declined by silence, as RFC 9110 §7.8 allows.
pub(crate) fn wanted_upgrade(method: &Method, version: Version, fields: &Fields) -> Option<String> {
    if version != Version::HTTP_11 || method == Method::CONNECT || !fields.has(Name::Upgrade) {
        return None;
    }
    if !tokens(fields, Name::Connection).any(|name| name.eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    let wanted = tokens(fields, Name::Upgrade).filter(|protocol| !protocol.eq_ignore_ascii_case("h2c"));
    let wanted = wanted.collect::<Vec<_>>().join(", ");
    (!wanted.is_empty()).then_some(wanted)
}

fn tokens(fields: &Fields, name: Name) -> impl Iterator<Item = &str> {
    let values = fields.all(name).filter_map(|value| std::str::from_utf8(value).ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// A CONNECT names a host and a port, and is one connection's own: not an HTTP/2 stream's.
pub(crate) fn check_target(request: &DownstreamRequest) -> Result<(), BadRequest> {
    let port = match &request.target {
        Target::Authority(authority) if is_authority(authority) => split_authority(authority).1,
        _ => None,
    };
    match port {
        _ if request.version > Version::HTTP_11 => Err(BadRequest::Upgrade),
        None | Some(0) => Err(BadRequest::InvalidTarget),
        Some(_) => Ok(()),
    }
}

/// Whether a request that wants a tunnel may have one: the application itself is asked for upgrades only.
pub(crate) fn may_enter(method: &Method, entrance: Entrance) -> bool {
    matches!(entrance, Entrance::Outbound { .. }) || method != Method::CONNECT
}

/// Writes the pair of headers by which a connection switches protocols.
pub(crate) fn switch(fields: &mut Fields, protocols: &str) {
    fields.replace(Name::Connection, b"Upgrade");
    fields.replace(Name::Upgrade, protocols.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, target: &str, version: Version, headers: &[(&str, &str)]) -> DownstreamRequest {
        let mut fields = Fields::default();
        headers.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
        let target = Target::read(&method, target);
        DownstreamRequest {
            method,
            target,
            version,
            fields,
            bad: None,
            body: None,
            informational: None,
            budget: None,
            expects: false,
        }
    }

    #[test]
    fn an_upgrade_needs_both_headers_and_http_1_1() {
        let (connection, upgrade) = ("connection", "upgrade");
        #[rustfmt::skip]
        let table: &[(Version, &[(&str, &str)], Option<&str>)] = &[
            (Version::HTTP_11, &[(connection, "Upgrade"), (upgrade, "websocket")], Some("websocket")),
            (Version::HTTP_11, &[(connection, "keep-alive, upgrade"), (upgrade, "a/1"), (upgrade, "b")], Some("a/1, b")),
            (Version::HTTP_11, &[(connection, "upgrade, http2-settings"), (upgrade, "h2c")], None),
            (Version::HTTP_11, &[(connection, "upgrade"), (upgrade, "H2C, websocket")], Some("websocket")),
            (Version::HTTP_11, &[(upgrade, "websocket")], None),
            (Version::HTTP_11, &[(connection, "upgrade")], None),
            (Version::HTTP_10, &[(connection, "upgrade"), (upgrade, "websocket")], None),
        ];
        for (version, headers, expected) in table {
            let asked = request(Method::GET, "/", *version, headers);
            let wanted = wanted_upgrade(&asked.method, *version, &asked.fields);
            assert_eq!(wanted.as_deref(), *expected, "{headers:?}");
        }
    }

    #[test]
    fn connect_names_a_port() {
        for (target, version, refused) in [
            ("a.test:443", Version::HTTP_11, None),
            ("a.test:443", Version::HTTP_10, None),
            ("a.test", Version::HTTP_11, Some(BadRequest::InvalidTarget)),
            ("a.test:443", Version::HTTP_2, Some(BadRequest::Upgrade)),
        ] {
            assert_eq!(check_target(&request(Method::CONNECT, target, version, &[])).err(), refused, "{target}");
        }
    }
}
