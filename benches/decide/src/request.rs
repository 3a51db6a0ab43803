//! A request's head as the proxy holds it: hyper's header map, and what is asked of it.

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use leeboard_policy::request::Head;

/// A request's head.
pub(crate) struct Request {
    method: Method,
    authority: HeaderValue,
    path: PathAndQuery,
    headers: HeaderMap,
}

impl Request {
    /// A GET with the headers that a browser or a client library sends.
    pub(crate) fn get(authority: &str, path: &str) -> Self {
        let request = Self {
            method: Method::GET,
            authority: HeaderValue::from_str(authority).expect("the bench writes good authorities"),
            path: PathAndQuery::try_from(path).expect("the bench writes good paths"),
            headers: HeaderMap::new(),
        };
        request
            .with("accept", "*/*")
            .with("accept-encoding", "gzip, deflate, br")
            .with("accept-language", "en-GB,en;q=0.9")
            .with("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
            .with("x-forwarded-proto", "http")
            .with("x-request-id", "0f7c1f9e-7f4b-4b8e-9d0a-3f6f0c2a9a11")
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("the bench writes good names");
        self.headers.append(name, HeaderValue::from_str(value).expect("the bench writes good values"));
        self
    }
}

impl Head for Request {
    fn method(&self) -> &str {
        self.method.as_str()
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn authority(&self) -> &str {
        text(&self.authority)
    }

    fn path_and_query(&self) -> &str {
        self.path.as_str()
    }

    fn values<'h>(&'h self, name: &str, each: &mut dyn FnMut(&'h [u8])) {
        self.headers.get_all(name).iter().for_each(|value| each(value.as_bytes()));
    }
}

fn text(value: &HeaderValue) -> &str {
    std::str::from_utf8(value.as_bytes()).unwrap_or("")
}
