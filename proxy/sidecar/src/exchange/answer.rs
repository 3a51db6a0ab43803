//! Heads of responses: the endpoint's, made fit to be passed on, and the proxy's own.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};
use leeboard_policy::exchange::Exchange;
use leeboard_policy::headers::{Facts, HeaderEdit, Operator};
use leeboard_policy::request::Head;
use leeboard_policy::retry::ResponseHead;
use leeboard_policy::step::Reply;
use leeboard_policy::time::Span;
use leeboard_policy::verdict::Verdict;

use super::head::{Caller, Edit, RequestHead, connection_fact, strip_hop_by_hop};

const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
const RATE_LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");
const REASON: HeaderName = HeaderName::from_static("x-leeboard-reason");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What the policy looks at in a response.
pub(crate) fn response_head<B>(response: &Response<B>) -> ResponseHead {
    ResponseHead {
        status: response.status().as_u16(),
        grpc_status: grpc_status(response.headers()),
        rate_limited: response.headers().contains_key(RATE_LIMITED),
    }
}

/// `grpc-status` among headers or trailers.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// How long the peer says that it keeps the connection, less a second for the way.
pub(crate) fn peer_keeps(headers: &HeaderMap) -> Option<Span> {
    let hint = headers.get(KEEP_ALIVE)?.to_str().ok()?;
    let seconds = hint.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    Some(Span::from_secs(seconds.parse::<u64>().ok()?.saturating_sub(1)))
}

/// Makes an endpoint's response head fit to be passed on.
pub(crate) fn pass_on<B>(
    response: &mut Response<B>,
    service_time: Option<Span>,
    exchange: &Exchange,
    request: &RequestHead,
    caller: &Caller,
) {
    let status = response.status();
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers_mut();
    strip_hop_by_hop(headers);
    if let Some(time) = service_time {
        headers.insert(SERVICE_TIME, HeaderValue::from(time.as_millis()));
    }
    exchange.edit_response(&mut Returning { headers, status, exchange, request, caller });
}

/// The proxy's own answer. `host` is what the caller asked for.
pub(crate) fn own(reply: &Reply, exchange: &Exchange, request: &RequestHead, caller: &Caller) -> Response<Bytes> {
    let answer = &reply.answer;
    let mut body = match &reply.body {
        Some(body) => Bytes::copy_from_slice(body),
        None => Bytes::copy_from_slice(answer.body.as_bytes()),
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(status) = reply.grpc_status {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, HeaderValue::from(status));
        if !body.is_empty()
            && let Ok(message) = HeaderValue::try_from(percent_encoded(&body))
        {
            headers.insert(GRPC_MESSAGE, message);
        }
        body = Bytes::new();
        *response.status_mut() = StatusCode::OK;
    } else if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static("leeboard"));
    if answer.overloaded {
        headers.insert(OVERLOADED, HeaderValue::from_static("true"));
    }
    if let Some(location) = reply.location.as_deref().and_then(|to| HeaderValue::from_str(to).ok()) {
        headers.insert(header::LOCATION, location);
    }
    if !matches!(reply.verdict, Verdict::Direct(_) | Verdict::Redirect(_)) {
        let reason = format!("{}; host={}; attempt={}", answer.reason, request.authority(), exchange.attempts());
        headers.extend(HeaderValue::try_from(reason).ok().map(|reason| (REASON, reason)));
    }
    exchange.edit_response(&mut Returning { headers, status, exchange, request, caller });
    if request.method != http::Method::HEAD {
        *response.body_mut() = body;
    }
    response
}

/// An answer to what could not be admitted, so that nothing is known of its route.
pub(crate) fn refusal(answer: &leeboard_policy::verdict::Answer) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_REQUEST);
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static("leeboard"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(REASON, HeaderValue::from_static(answer.reason));
    response
}

/// gRPC over HTTP/2: printable ASCII but `%` stands for itself.
fn percent_encoded(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'%' => out.push_str("%25"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A response that is being edited on its way back.
struct Returning<'a> {
    headers: &'a mut HeaderMap,
    status: StatusCode,
    exchange: &'a Exchange,
    request: &'a RequestHead,
    caller: &'a Caller,
}

impl Facts for Returning<'_> {
    fn request(&self, name: &str) -> Option<Cow<'_, str>> {
        self.request.header(name)
    }

    fn response(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut values = self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let first = values.next()?;
        Some(values.fold(first, |joined, value| Cow::Owned(format!("{joined},{value}"))))
    }

    fn other(&self, operator: &Operator, out: &mut String) -> bool {
        use std::fmt::Write;
        let written = match operator {
            Operator::UpstreamHost => match self.exchange.endpoint() {
                Some(endpoint) => write!(out, "{}", endpoint.address()),
                None => return false,
            },
            Operator::UpstreamCluster => match self.exchange.cluster() {
                Some(cluster) => write!(out, "{}", cluster.name),
                None => return false,
            },
            Operator::UpstreamRequestAttemptCount => write!(out, "{}", self.exchange.attempts()),
            Operator::RouteName => match self.exchange.route() {
                Some(route) if !route.name.is_empty() => write!(out, "{}", route.name),
                _ => return false,
            },
            Operator::ResponseCode => write!(out, "{}", self.status.as_u16()),
            Operator::ResponseFlags => write!(out, "{}", self.exchange.flags()),
            _ => return connection_fact(operator, self.request, self.caller, out),
        };
        written.is_ok()
    }
}

impl HeaderEdit for Returning<'_> {
    fn remove(&mut self, name: &str) {
        Edit(self.headers).remove(name);
    }
    fn set(&mut self, name: &str, value: &str) {
        Edit(self.headers).set(name, value);
    }
    fn append(&mut self, name: &str, value: &str) {
        Edit(self.headers).append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alive_hints_are_heeded_a_second_early() {
        for (hint, seconds) in
            [("timeout=5, max=100", Some(4)), ("max=3", None), ("timeout=x", None), ("timeout=0", Some(0))]
        {
            let mut headers = HeaderMap::new();
            headers.insert(KEEP_ALIVE, HeaderValue::from_static(hint));
            assert_eq!(peer_keeps(&headers), seconds.map(Span::from_secs), "{hint}");
        }
    }

    #[test]
    fn grpc_messages_are_percent_encoded() {
        assert_eq!(percent_encoded("10% of ä".as_bytes()), "10%25 of %C3%A4");
    }
}
