//! A request, and later its response, as the policy wants to see and change them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use leeboard_policy::headers::{Facts, HeaderEdit, Operator};
use leeboard_policy::request::{Head, Secure, Tunnel};

/// Headers in the order in which they came, names in lower case. Values need not be text.
pub type Headers = Vec<(String, Vec<u8>)>;

/// A header's value as it is shown: bytes that are no text are written as `\xff`.
pub fn text(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// A request as it is sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// The method, as `GET`.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host and port as they are sent.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: Headers,
    /// How far the target itself asks for TLS.
    pub secure: Secure,
}

impl Request {
    /// A plain GET of a path.
    pub fn get(authority: &str, path: &str) -> Self {
        Self {
            method: "GET".into(),
            scheme: "http".into(),
            authority: authority.into(),
            path: path.into(),
            headers: Headers::new(),
            secure: Secure::No,
        }
    }
}

/// A request and, once there is one, the headers of its response. Changes are made to the latter when it is there.
#[derive(Clone, Debug)]
pub struct Message {
    /// The request.
    pub request: Request,
    /// The response's headers.
    pub response: Option<Headers>,
    /// Whom it is from, where that is known.
    pub client: Option<SocketAddr>,
}

impl Message {
    /// A request without a response.
    pub fn of_request(request: Request) -> Self {
        Self { request, response: None, client: None }
    }

    /// The same with a response.
    pub fn answered(self, headers: Headers) -> Self {
        Self { response: Some(headers), ..self }
    }

    fn edited(&mut self) -> &mut Headers {
        self.response.as_mut().unwrap_or(&mut self.request.headers)
    }
}

/// Headers by name, values in order.
pub(crate) fn by_name(headers: &[(String, Vec<u8>)]) -> BTreeMap<String, Vec<String>> {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        map.entry(name.clone()).or_default().push(text(value));
    }
    map
}

impl Head for Message {
    fn method(&self) -> &str {
        &self.request.method
    }
    fn scheme(&self) -> &str {
        &self.request.scheme
    }
    fn authority(&self) -> &str {
        &self.request.authority
    }
    fn path_and_query(&self) -> &str {
        &self.request.path
    }
    fn values<'h>(&'h self, name: &str, each: &mut dyn FnMut(&'h [u8])) {
        self.request.headers.iter().filter(|(n, _)| n == name).for_each(|(_, value)| each(value));
    }
    fn secure(&self) -> Secure {
        self.request.secure
    }
    fn tunnel(&self) -> Option<Tunnel> {
        let upgrades = || self.request.headers.iter().any(|(name, _)| name == "upgrade");
        match self.request.method.as_str() {
            "CONNECT" => Some(Tunnel::Connect),
            _ => upgrades().then_some(Tunnel::Upgrade),
        }
    }
}

impl Facts for Message {
    fn request(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.header(name)
    }
    fn response(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let named = self.response.as_ref()?.iter().filter(|(known, _)| known == name);
        let values: Vec<&[u8]> = named.map(|(_, value)| &**value).collect();
        (!values.is_empty()).then(|| values.join(&b',').into())
    }
    fn other(&self, operator: &Operator, out: &mut Vec<u8>) -> bool {
        use std::io::Write;
        let Some(client) = self.client else { return false };
        let written = match operator {
            Operator::DownstreamRemoteAddress => write!(out, "{client}"),
            Operator::DownstreamRemoteAddressWithoutPort => write!(out, "{}", client.ip()),
            Operator::DownstreamRemotePort => write!(out, "{}", client.port()),
            _ => return false,
        };
        written.is_ok()
    }
}

impl HeaderEdit for Message {
    fn remove(&mut self, name: &str) {
        self.edited().retain(|(n, _)| n != name);
    }
    fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.append(name, value);
    }
    fn append(&mut self, name: &str, value: &[u8]) {
        self.edited().push((name.to_owned(), value.to_owned()));
    }
}
