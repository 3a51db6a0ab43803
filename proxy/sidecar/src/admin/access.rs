//! Who may use a page. Requests from web sites in the browser of somebody near are refused (DNS rebinding, cross-site
//! requests). Pages that change the process refuse requests that came through a proxy, which may be this one.

use std::net::IpAddr;

use http::header::{FORWARDED, HOST, ORIGIN, VIA};
use http::{HeaderMap, Method, Uri};

use super::Scope;

/// Headers that proxies add, ours among them.
const PROXIED: [&str; 5] =
    ["x-envoy-attempt-count", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"];

/// A request, as far as it tells who asks.
pub(super) struct AccessCheck<'a> {
    pub(super) scope: Scope,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

impl AccessCheck<'_> {
    /// Why it is refused; `None` when it is welcome. `names` are ours.
    pub(super) fn refused(&self, names: &[String]) -> Option<String> {
        let host = match self.host() {
            Ok(host) => host,
            Err(why) => return Some(why.into()),
        };
        // A site whose name is made to lead here has that name for a host. Who scrapes or asks for readiness may use any name:
        // what is to be had there is no secret.
        if let Some(host) = host.filter(|host| self.scope == Scope::Admin && !is_ours(host, names)) {
            return Some(format!("not by the name {host}; --admin-hosts adds names"));
        }
        if self.headers.contains_key(ORIGIN) && !self.of_our_own_origin(host) {
            return Some("not from another site".into());
        }
        let word = |name| self.headers.get(name).map(|value| value.as_bytes());
        let foreign = matches!(word("sec-fetch-site"), Some(b"cross-site" | b"same-site"));
        // A link may lead here: nobody but its reader sees the page.
        if foreign && (word("sec-fetch-mode") != Some(b"navigate") || self.method != Method::GET) {
            return Some("not from another site".into());
        }
        let changes = self.method == Method::POST;
        let proxied = PROXIED.iter().any(|name| self.headers.contains_key(*name))
            || self.headers.keys().any(|name| name.as_str().starts_with("x-leeboard-"))
            || [FORWARDED, VIA].iter().any(|name| self.headers.contains_key(name));
        (changes && proxied).then(|| "not through a proxy".into())
    }

    /// The host and port that are asked for, if any.
    fn host(&self) -> Result<Option<&str>, &'static str> {
        let mut hosts = self.headers.get_all(HOST).iter();
        let (first, second) = (hosts.next(), hosts.next());
        if second.is_some() {
            return Err("not by two names");
        }
        match (self.uri.authority(), first) {
            (Some(authority), _) => Ok(Some(authority.as_str())),
            (None, Some(host)) => host.to_str().map(Some).map_err(|_| "not by such a name"),
            (None, None) => Ok(None),
        }
    }

    fn of_our_own_origin(&self, host: Option<&str>) -> bool {
        let mut origins = self.headers.get_all(ORIGIN).iter();
        let origin = origins.next().and_then(|origin| origin.to_str().ok());
        let own = origin.and_then(|origin| origin.strip_prefix("http://")).zip(host);
        origins.next().is_none() && own.is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
    }
}

/// Whether a host, with or without port, is an address or one of our names.
fn is_ours(host: &str, names: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || names.iter().any(|own| own.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(scope: Scope, line: &str, headers: &str) -> bool {
        let (method, uri) = line.split_once(' ').unwrap();
        let pairs = headers.split("; ").filter_map(|header| header.split_once(": "));
        let pairs = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut all = HeaderMap::new();
        for (name, value) in pairs {
            let name: http::HeaderName = name;
            all.append(name, value);
        }
        let (method, uri) = (method.parse().unwrap(), uri.parse().unwrap());
        let visit = AccessCheck { scope, method: &method, uri: &uri, headers: &all };
        visit.refused(&["node-7".into(), "ops.example.com".into()]).is_some()
    }

    #[test]
    fn web_sites_and_proxies_are_refused() {
        use Scope::{Admin, Metrics, Status};
        #[rustfmt::skip]
        let table = [
            (Admin, "GET /", "", false),
            (Admin, "GET /", "host: localhost:15000", false),
            (Admin, "GET /", "host: 127.0.0.1:15000", false),
            (Admin, "GET /", "host: [::1]:15000", false),
            (Admin, "GET /", "host: [::1]", false),
            (Admin, "GET /", "host: NODE-7:15000", false),
            (Admin, "GET /", "host: ops.example.com.", false),
            (Admin, "GET /config_dump", "host: evil.example:15000", true),
            (Admin, "GET /config_dump", "host: localhost.evil.example", true),
            (Admin, "GET /config_dump", "host: 127.0.0.1.evil.example", true),
            (Admin, "GET /config_dump", "host: [::1", false),
            (Admin, "GET /config_dump", "host: ", true),
            (Admin, "GET /config_dump", "host: localhost; host: evil.example", true),
            (Admin, "GET http://evil.example/config_dump", "host: localhost", true),
            (Admin, "GET /", "host: localhost:15000; origin: http://evil.example", true),
            (Admin, "GET /", "host: localhost:15000; origin: null", true),
            (Admin, "GET /", "host: localhost:15000; origin: http://localhost:8080", true),
            (Admin, "GET /", "host: localhost:15000; origin: http://localhost:15000", false),
            (Admin, "GET /", "host: localhost:15000; origin: http://localhost:15000; origin: null", true),
            (Admin, "GET /", "host: localhost; sec-fetch-site: cross-site; sec-fetch-mode: no-cors", true),
            (Admin, "GET /", "host: localhost; sec-fetch-site: cross-site; sec-fetch-mode: navigate", false),
            (Admin, "GET /", "host: localhost; sec-fetch-site: same-origin; sec-fetch-mode: cors", false),
            (Admin, "POST /quitquitquit", "host: localhost; sec-fetch-site: cross-site; sec-fetch-mode: navigate", true),
            (Admin, "POST /quitquitquit", "host: localhost", false),
            (Admin, "POST /quitquitquit", "host: localhost; x-request-id: 1; x-forwarded-proto: http", true),
            (Admin, "POST /quitquitquit", "host: localhost; via: 1.1 squid", true),
            (Admin, "POST /quitquitquit", "host: localhost; x-leeboard-peer: name=a", true),
            (Admin, "GET /ready", "host: localhost; x-request-id: 1", false),
            (Metrics, "GET /metrics", "host: shop.default.svc:15090", false),
            (Metrics, "GET /metrics", "host: shop:15090; origin: http://evil.example", true),
            (Status, "GET /ready", "host: shop", false),
            (Status, "GET /ready", "host: shop; sec-fetch-site: cross-site", true),
        ];
        for (scope, line, headers, expected) in table {
            assert_eq!(refused(scope, line, headers), expected, "{scope:?} {line} {headers}");
        }
    }
}
