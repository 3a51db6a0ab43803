//! Response heads: the endpoint's, made ready to be passed on, and the proxy's own.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::HeaderMap;
use leeboard_policy::exchange::Exchange;
use leeboard_policy::headers::{Facts, HeaderEdit, Operator};
use leeboard_policy::request::Head;
use leeboard_policy::retry::ResponseHead;
use leeboard_policy::step::Reply;
use leeboard_policy::time::Span;
use leeboard_policy::verdict::Verdict;

use crate::http::fields::{Fields, Name, Names};
use crate::http::hop_by_hop::strip_hop_by_hop;
use crate::http::http1::write::decimal;
use crate::request::head::{Caller, RequestHead, connection_fact};
use crate::upstream::connection_request::UpstreamResponse;

/// What the policy looks at in a response.
pub(crate) fn response_head(response: &UpstreamResponse) -> ResponseHead {
    ResponseHead {
        status: response.status,
        grpc_status: grpc_status(&response.fields),
        rate_limited: response.fields.has(Name::RateLimited),
    }
}

/// `grpc-status` in a head.
pub(crate) fn grpc_status(fields: &Fields) -> Option<u16> {
    fields.text(Name::GrpcStatus)?.parse().ok()
}

/// `grpc-status` in trailers.
pub(crate) fn grpc_status_of(trailers: &HeaderMap) -> Option<u16> {
    trailers.get(Name::GrpcStatus.text())?.to_str().ok()?.parse().ok()
}

/// How long the peer says that it keeps the connection, less a second for the way.
pub(crate) fn peer_keeps(fields: &Fields) -> Option<Span> {
    let hint = fields.text(Name::KeepAlive)?;
    let seconds = hint.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    Some(Span::from_secs(seconds.parse::<u64>().ok()?.saturating_sub(1)))
}

/// Makes an endpoint's response head fit to be passed on.
pub(crate) fn pass_on(
    response: &mut UpstreamResponse,
    service_time: Option<Span>,
    exchange: &Exchange,
    request: &RequestHead,
    caller: &Caller,
) {
    let UpstreamResponse { status, fields } = response;
    strip_hop_by_hop(fields);
    // What it says to a proxy it says to no application, and only a proxy may say it.
    fields.drop_all(const { Names::of(&[Name::Unprocessed]) });
    if let Some(time) = service_time {
        fields.drop_all(const { Names::of(&[Name::ServiceTime]) });
        let mut milliseconds = Vec::with_capacity(20);
        decimal(&mut milliseconds, time.as_millis());
        fields.put(Name::ServiceTime, &milliseconds);
    }
    exchange.edit_response(&mut Returning { fields, status: *status, exchange, request, caller });
}

/// The proxy's own answer, and its words. `host` is what the caller asked for.
pub(crate) fn own(
    reply: &Reply,
    exchange: &Exchange,
    request: &RequestHead,
    caller: &Caller,
) -> (UpstreamResponse, Bytes) {
    let answer = &reply.answer;
    let mut body = match &reply.body {
        Some(body) => Bytes::copy_from_slice(body),
        None => Bytes::copy_from_slice(answer.body.as_bytes()),
    };
    let mut status = answer.status;
    let mut fields = Fields::default();
    if let Some(grpc) = reply.grpc_status {
        fields.put(Name::ContentType, b"application/grpc");
        fields.put(Name::GrpcStatus, grpc.to_string().as_bytes());
        if !body.is_empty() {
            fields.put(Name::GrpcMessage, percent_encoded(&body).as_bytes());
        }
        body = Bytes::new();
        status = 200;
    } else if !body.is_empty() {
        fields.put(Name::ContentType, b"text/plain");
    }
    fields.put(Name::Server, b"leeboard");
    if answer.overloaded {
        fields.put(Name::Overloaded, b"true");
    }
    if let Some(location) = reply.location.as_deref() {
        fields.put(Name::Location, location.as_bytes());
    }
    if !matches!(reply.verdict, Verdict::Direct(_) | Verdict::Redirect(_) | Verdict::Preflight) {
        let reason = format!("{}; host={}; attempt={}", answer.reason, request.authority(), exchange.attempts());
        fields.put(Name::Reason, reason.as_bytes());
    }
    exchange.edit_response(&mut Returning { fields: &mut fields, status, exchange, request, caller });
    if request.method == http::Method::HEAD && !body.is_empty() {
        fields.replace(Name::ContentLength, body.len().to_string().as_bytes());
        body = Bytes::new();
    }
    (UpstreamResponse { status, fields }, body)
}

/// An answer to what could not be admitted, so that nothing is known of its route.
pub(crate) fn refusal(answer: &leeboard_policy::verdict::Answer) -> UpstreamResponse {
    let mut fields = Fields::default();
    fields.put(Name::Server, b"leeboard");
    fields.put(Name::Connection, b"close");
    fields.put(Name::Reason, answer.reason.as_bytes());
    if answer.overloaded {
        fields.put(Name::Overloaded, b"true");
    }
    if !answer.body.is_empty() {
        fields.put(Name::ContentType, b"text/plain");
    }
    UpstreamResponse { status: answer.status, fields }
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
    fields: &'a mut Fields,
    status: u16,
    exchange: &'a Exchange,
    request: &'a RequestHead,
    caller: &'a Caller,
}

impl Facts for Returning<'_> {
    fn request(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.request.header(name)
    }

    fn response(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut joined: Option<Cow<'_, [u8]>> = None;
        self.fields.each(name, &mut |value| {
            joined = Some(match joined.take() {
                None => Cow::Borrowed(value),
                Some(before) => Cow::Owned([&before, &b","[..], value].concat()),
            });
        });
        joined
    }

    fn other(&self, operator: &Operator, out: &mut Vec<u8>) -> bool {
        use std::io::Write;
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
            Operator::ResponseCode => write!(out, "{}", self.status),
            Operator::ResponseFlags => write!(out, "{}", self.exchange.flags()),
            _ => return connection_fact(operator, self.request, self.caller, out),
        };
        written.is_ok()
    }
}

impl HeaderEdit for Returning<'_> {
    fn remove(&mut self, name: &str) {
        self.fields.remove(name.as_bytes());
    }
    fn set(&mut self, name: &str, value: &[u8]) {
        self.fields.set(name, value);
    }
    fn append(&mut self, name: &str, value: &[u8]) {
        self.fields.append(name, value);
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
            let mut fields = Fields::default();
            fields.put(Name::KeepAlive, hint.as_bytes());
            assert_eq!(peer_keeps(&fields), seconds.map(Span::from_secs), "{hint}");
        }
    }

    #[test]
    fn grpc_messages_are_percent_encoded() {
        assert_eq!(percent_encoded("10% of ä".as_bytes()), "10%25 of %C3%A4");
    }
}
