//! A request as it arrives from downstream, over HTTP/1 or HTTP/2.

use std::rc::Rc;

use h2::RecvStream;
use http::{Method, Version};
use leeboard_policy::verdict::BadRequest;

use super::budget::ConnectionBudget;
use crate::body::downstream::DownstreamBody;
use crate::http::fields::{Fields, Name};
use crate::http::http1::read;
use crate::http::http1::request_body::RequestBody;
use crate::http::http2::incoming::Incoming;
use crate::http::informational::InformationalResponses;
use crate::http::target::Target;

/// A request that nobody has looked at yet.
#[derive(Debug)]
pub(crate) struct DownstreamRequest {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) version: Version,
    pub(crate) fields: Fields,
    /// Why its connection cannot make sense of it.
    pub(crate) bad: Option<BadRequest>,
    pub(crate) body: Option<DownstreamBody>,
    pub(crate) informational: Option<InformationalResponses>,
    /// What its connection may use of connections to endpoints; `None` where requests come one after the other.
    pub(crate) budget: Option<Rc<ConnectionBudget>>,
    /// Whether its caller waits to be told to send the body, and can be told by the endpoint.
    pub(crate) expects: bool,
}

impl DownstreamRequest {
    /// A request on an HTTP/2 stream.
    pub(crate) fn of_stream(request: http::Request<RecvStream>) -> Self {
        let (parts, stream) = request.into_parts();
        let target = Target::of_stream(&parts.method, &parts.uri);
        let fields = joined(Fields::from_map(&parts.headers));
        let incoming = Incoming::new(stream, &fields);
        Self {
            method: parts.method,
            target,
            version: parts.version,
            fields,
            bad: None,
            body: (!incoming.is_end_stream()).then_some(DownstreamBody::Stream(incoming)),
            informational: None,
            budget: None,
            expects: false,
        }
    }

    /// A request on an HTTP/1 connection.
    pub(crate) fn of_head(
        request: read::Request,
        body: Option<RequestBody>,
        informational: Option<InformationalResponses>,
    ) -> Self {
        let read::Request { method, target, version, fields, length, .. } = request;
        let (body, bad) = (body.map(DownstreamBody::Wire), length.err());
        let told = informational.is_some() && version == Version::HTTP_11;
        let expects = body.is_some() && told && expects_leave(&fields);
        Self { method, target, version, fields, bad, body, informational, budget: None, expects }
    }

    /// How long the head is, about as HTTP/1 would write it.
    pub(crate) fn head_bytes(&self) -> usize {
        self.fields.size() + self.target.path().len() + self.target.authority().map_or(0, str::len)
    }

    /// A request on an HTTP/2 stream that nobody here has seen.
    pub(crate) fn unknown() -> Self {
        Self { method: unknown_method(), version: Version::HTTP_2, ..Self::unreadable(BadRequest::Malformed, &[]) }
    }

    /// Something that is no request, or not yet. What of it can be made out is for the log.
    pub(crate) fn unreadable(bad: BadRequest, seen: &[u8]) -> Self {
        let line = seen.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let line = &line[..line.len().min(MOST_SEEN)];
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let method = words.next().and_then(|word| Method::from_bytes(word).ok());
        let (method, target) = match (method, words.next()) {
            (Some(method), target) => (method, target.unwrap_or_default()),
            (None, _) => (unknown_method(), line),
        };
        Self {
            method,
            target: Target::Nothing(String::from_utf8_lossy(target).into()),
            version: Version::HTTP_11,
            fields: Fields::default(),
            bad: Some(bad),
            body: None,
            informational: None,
            budget: None,
            expects: false,
        }
    }
}

/// How much is noted of the first line of what is no request.
const MOST_SEEN: usize = 1_024;

/// The method of what has none: what logs write for nothing.
fn unknown_method() -> Method {
    Method::from_bytes(b"-").expect("a dash is a token")
}

/// Whether a caller waits to be told to send its body. RFC 9110 §10.1.1.
pub(crate) fn expects_leave(fields: &Fields) -> bool {
    fields.get(Name::Expect).is_some_and(|expected| expected.eq_ignore_ascii_case(b"100-continue"))
}

/// HTTP/2 may cut a cookie into crumbs, which HTTP/1 and the policy know as one field. RFC 9113 §8.2.3.
fn joined(mut fields: Fields) -> Fields {
    if fields.all(Name::Cookie).nth(1).is_some() {
        let crumbs: Vec<&[u8]> = fields.all(Name::Cookie).collect();
        let cookie = crumbs.join(&b"; "[..]);
        fields.replace(Name::Cookie, &cookie);
    }
    fields
}
