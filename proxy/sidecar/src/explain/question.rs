//! A request to explain. It is parsed as if it had come from a connection, so that the explanation is about what would
//! happen.

use std::net::{Ipv4Addr, SocketAddr};

use leeboard_policy::dice::Dice;
use leeboard_policy::request::{Caller, Entrance};
use leeboard_policy::verdict::Verdict;
use leeboard_sim::Request;
use leeboard_sim::explain::Question;

use crate::http::http1::read::{self, HeadRules};
use crate::request::downstream::DownstreamRequest;
use crate::request::head::RequestHead;
use crate::request::upgrade;

/// What a head may be, as `leeboard run` has it by default.
const RULES: HeadRules = HeadRules::strict(60 * 1024, 100);

/// A request in words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct RequestText {
    /// The method, as `GET`.
    pub(crate) method: String,
    /// `http://host:port/path?query`; the scheme may be left out.
    pub(crate) url: String,
    /// Names and values.
    pub(crate) headers: leeboard_sim::Headers,
    /// Its luck.
    pub(crate) seed: u64,
}

impl RequestText {
    /// What the policy is asked.
    ///
    /// # Errors
    /// In words, when it is no request that the proxy would let in.
    pub(crate) fn question(&self) -> Result<Question, String> {
        let (secure, authority, path) = parts(&self.url)?;
        let target = match self.method.as_str() {
            "CONNECT" => authority.to_owned(),
            // Only a whole URL asks for TLS.
            _ if secure => format!("https://{authority}{path}"),
            _ => path.to_owned(),
        };
        let own_host = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        let mut text = format!("{} {target} HTTP/1.1\r\n", self.method).into_bytes();
        if !own_host {
            text.extend_from_slice(format!("Host: {authority}\r\n").as_bytes());
        }
        for (name, value) in &self.headers {
            text.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        text.extend_from_slice(b"\r\n");
        let bad = |bad| {
            let answer = Verdict::Bad(bad).answer(false);
            format!("the proxy refuses this request: {} ({})", answer.status, answer.reason)
        };
        let (read, rest) =
            read::request(&text, &RULES).map_err(|_| "the method, the URL or a header cannot be sent".to_owned())?;
        if rest != text.len() {
            return Err("a header has more than one line".to_owned());
        }
        let entrance = Entrance::Outbound { port: None };
        let mut head = RequestHead::admit(&mut DownstreamRequest::of_head(read, None, None)).map_err(bad)?;
        if !upgrade::may_enter(&head.method, entrance) {
            return Err("the proxy opens no such tunnel".to_owned());
        }
        head.announce(Dice(self.seed), entrance);
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let caller = Caller { remote: local, local };
        Ok(Question { request: plain(&head), entrance, caller, seed: self.seed })
    }
}

fn plain(head: &RequestHead) -> Request {
    let lower = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase();
    let fields = head.fields.iter().map(|(_, name, value)| (lower(name), value.to_vec()));
    let upgrade = head.upgrade.iter().map(|protocols| ("upgrade".to_owned(), protocols.clone().into_bytes()));
    Request {
        method: head.method.to_string(),
        scheme: head.scheme.to_owned(),
        authority: head.authority.clone(),
        path: head.path.as_str().to_owned(),
        headers: fields.chain(upgrade).collect(),
        secure: head.secure,
    }
}

/// Whether TLS is asked for, the authority, and the path and query.
fn parts(url: &str) -> Result<(bool, &str, &str), String> {
    let (secure, rest) = match url.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some((scheme, _)) => return Err(format!("'{scheme}' is not carried: a URL begins with http:// or https://")),
        None => (false, url),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match path {
        _ if authority.is_empty() => Err(format!("'{url}' names no host")),
        "" => Ok((secure, authority, "/")),
        _ if path.starts_with('?') => Err(format!("'{url}' has no path before its query")),
        _ => Ok((secure, authority, path)),
    }
}

/// Reads `name: value`.
///
/// # Errors
/// In words, when there is no name.
pub(crate) fn header(text: &str) -> Result<(String, Vec<u8>), String> {
    field(text.as_bytes())
}

/// The same, of bytes that need not be text.
///
/// # Errors
/// In words, when there is no name.
pub(crate) fn field(line: &[u8]) -> Result<(String, Vec<u8>), String> {
    let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(line.len()));
    match (std::str::from_utf8(name.trim_ascii()), value) {
        (Ok(name), [_, value @ ..]) if !name.is_empty() => Ok((name.to_owned(), value.trim_ascii().to_vec())),
        _ => Err(format!("'{}' is not 'name: value'", leeboard_sim::text(line))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, url: &str, headers: &[&str]) -> Result<Request, String> {
        let headers = headers.iter().map(|text| header(text)).collect::<Result<_, _>>()?;
        let inquiry = RequestText { method: method.into(), url: url.into(), headers, seed: 1 };
        inquiry.question().map(|question| question.request)
    }

    #[test]
    fn requests_are_read_as_the_proxy_reads_them() {
        #[rustfmt::skip]
        let table: &[(&str, &str, &[&str], &str, &str)] = &[
            // method, URL, headers, authority, path
            ("GET", "http://shop:8080/a?b=1", &[], "shop:8080", "/a?b=1"),
            ("GET", "shop", &[], "shop", "/"),
            ("GET", "http://Shop/a/../b", &[], "Shop", "/b"),
            ("POST", "http://shop/", &["Host: other"], "other", "/"),
            ("CONNECT", "http://shop:443", &[], "shop:443", "/"),
            ("GET", "https://shop:8443/%61", &[], "shop:8443", "/a"),
            ("GET", "http://shop/a<\"`>?|{}^[]<", &[], "shop", "/a<\"`>?|{}^[]<"),
        ];
        for (method, url, headers, authority, path) in table {
            let request = asked(method, url, headers).unwrap();
            assert_eq!((request.authority.as_str(), request.path.as_str()), (*authority, *path), "{url}");
        }
        let request =
            asked("GET", "shop", &["X-Canary: v2", "connection: x-gone", "x-gone: 1", "x-envoy-max-retries: 9"]);
        let headers = request.unwrap().headers;
        let has = |name: &str| headers.iter().any(|(known, _)| known == name);
        assert!(has("x-canary") && has("x-request-id") && has("x-forwarded-proto"), "{headers:?}");
        let odd = RequestText { method: "GET".into(), url: "shop".into(), seed: 1, ..RequestText::default() };
        let odd = RequestText { headers: vec![field(b"x: admin\xff ").unwrap()], ..odd }.question().unwrap();
        assert!(odd.request.headers.contains(&("x".into(), b"admin\xff".to_vec())));
        assert!(!has("x-gone") && !has("x-envoy-max-retries") && !has("connection"), "{headers:?}");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        #[rustfmt::skip]
        let table: &[(&str, &str, &[&str], &str)] = &[
            ("GET", "ftp://shop/", &[], "begins with http://"),
            ("GET", "http://shop/a#b", &[], "400 (invalid-target)"),
            ("GET", "http:///a", &[], "names no host"),
            ("GET", "shop?q", &[], "no path"),
            ("GET", "http://shop/a%00", &[], "400"),
            ("GET", "http://shop/ /", &[], "cannot be sent"),
            ("GET", "shop", &["x"], "not 'name: value'"),
            ("GET", "shop", &["x: a\r\n\r\nGET / HTTP/1.1"], "more than one line"),
        ];
        for (method, url, headers, words) in table {
            let complaint = asked(method, url, headers).unwrap_err();
            assert!(complaint.contains(words), "{url}: {complaint}");
        }
    }
}
