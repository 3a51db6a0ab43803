//! The request of one attempt as it is sent upstream: the exchange's head, and what this attempt adds.

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Request, Uri, Version};
use leeboard_policy::time::Span;

use super::head::RequestHead;
use crate::http::fields::{Name, Names};
use crate::http::hop_by_hop::without_hop_by_hop;
use crate::http::http1::write;

/// A head for which HTTP/2 has no room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsendable;

/// What a request's length is to be told by, and its response's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    /// The head says itself how long the body is.
    pub(crate) names_length: bool,
    /// Where there is no body, that is said too.
    pub(crate) names_no_body: bool,
    /// The response has no body whatever its head says.
    pub(crate) to_head: bool,
}

/// One attempt's request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamRequest<'r> {
    /// What all attempts have in common.
    pub(crate) head: &'r RequestHead,
    /// Envoy: `x-envoy-attempt-count`; `None` leaves the word to the caller's proxy. Istio: as the application's does.
    pub(crate) number: Option<u32>,
    /// How long the endpoint has. Envoy: `x-envoy-expected-rq-timeout-ms`.
    pub(crate) expected: Option<Span>,
    /// Whether gRPC's own header says it as well.
    pub(crate) grpc: bool,
    /// Whether the endpoint decides that the caller may send its body.
    pub(crate) expects: bool,
}

impl UpstreamRequest<'_> {
    /// Whether the head says itself how long the body is.
    fn says_length(&self) -> bool {
        self.head.fields.has(Name::ContentLength)
    }

    /// RFC 9110 §8.6: only where a body has no meaning its absence needs no word. Envoy: the same methods.
    fn names_no_body(&self) -> bool {
        let bodiless = [Method::GET, Method::HEAD, Method::DELETE, Method::CONNECT, Method::TRACE];
        !bodiless.contains(&self.head.method)
    }

    /// How lengths are told over HTTP/1.
    pub(crate) fn framing(&self) -> Framing {
        Framing {
            names_length: self.says_length(),
            names_no_body: self.names_no_body(),
            to_head: self.head.method == Method::HEAD,
        }
    }

    /// What this attempt says in other words than the caller, or than the attempt before, or not at all.
    fn own(&self) -> Names {
        let said = self.said_otherwise();
        if self.expects { said } else { said.and(Name::Expect) }
    }

    fn said_otherwise(&self) -> Names {
        let due = match (self.expected, self.grpc) {
            (None, _) => const { Names::of(&[Name::Hops]) },
            (Some(_), false) => const { Names::of(&[Name::Hops, Name::ExpectedTimeout]) },
            (Some(_), true) => const { Names::of(&[Name::Hops, Name::ExpectedTimeout, Name::GrpcTimeout]) },
        };
        if self.number.is_some() { due.and(Name::AttemptCount) } else { due }
    }

    fn milliseconds(&self) -> Option<u64> {
        self.expected.map(|expected| expected.as_millis().max(1))
    }

    /// Writes the head for HTTP/1, all but its end. Where the peer is told who calls, that says how many proxies there were.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let head = self.head;
        let (path, host) = (head.path.as_str(), head.authority.as_bytes());
        out.reserve(head.fields.size() + path.len() + host.len() + 192);
        write::request_line(out, head.method.as_str(), path);
        write::field(out, head.host_name.as_bytes(), host);
        head.fields.write(out, self.own());
        if let Some(number) = self.number {
            write::number(out, Name::AttemptCount, number.into());
        }
        match head.hops {
            _ if head.fields.has(Name::Peer) => {}
            0 => out.extend_from_slice(b"x-leeboard-hops: 1\r\n"),
            hops => write::number(out, Name::Hops, u64::from(hops) + 1),
        }
        if let Some(milliseconds) = self.milliseconds() {
            write::number(out, Name::ExpectedTimeout, milliseconds);
            if self.grpc {
                write::field(out, Name::GrpcTimeout.text().as_bytes(), format!("{milliseconds}m").as_bytes());
            }
        }
        if let Some(protocols) = &head.upgrade {
            write::field(out, b"connection", b"Upgrade");
            write::field(out, Name::Upgrade.text().as_bytes(), protocols.as_bytes());
        }
    }

    /// The head for HTTP/2, before a body of this length if that is known.
    ///
    /// # Errors
    /// It has no room for the authority or the path. The policy has seen to it that it has: nothing is sent that is otherwise.
    pub(crate) fn http2(&self, length: Option<u64>) -> Result<Request<()>, Unsendable> {
        let head = self.head;
        let mut request = Request::new(());
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(if head.scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
        uri.authority = Some(Authority::try_from(head.authority.as_str()).map_err(|_| Unsendable)?);
        uri.path_and_query = Some(head.path.for_http2().ok_or(Unsendable)?);
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Unsendable)?;
        *request.method_mut() = head.method.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() =
            without_hop_by_hop(&head.fields).to_map(self.own(), self.said(length).into_iter().flatten());
        Ok(request)
    }

    /// What this attempt says of itself, for HTTP/2.
    fn said(&self, length: Option<u64>) -> [Option<(Name, HeaderValue)>; 5] {
        let milliseconds = self.milliseconds();
        let expected = milliseconds.map(|milliseconds| {
            let mut value = HeaderValue::from(milliseconds);
            // The rest of a caller's own deadline is hardly ever the same.
            value.set_sensitive(self.grpc);
            (Name::ExpectedTimeout, value)
        });
        let grpc = milliseconds.filter(|_| self.grpc).and_then(|milliseconds| {
            HeaderValue::try_from(format!("{milliseconds}m")).ok().map(|value| (Name::GrpcTimeout, value))
        });
        let length = length.filter(|length| (*length > 0 || self.names_no_body()) && !self.says_length());
        let length = length.map(|length| (Name::ContentLength, length.into()));
        let number = self.number.map(|number| match number {
            1 => (Name::AttemptCount, HeaderValue::from_static("1")),
            more => (Name::AttemptCount, more.into()),
        });
        let hops = (!self.head.fields.has(Name::Peer)).then(|| match self.head.hops {
            0 => (Name::Hops, HeaderValue::from_static("1")),
            hops => (Name::Hops, u16::from(hops + 1).into()),
        });
        [number, hops, expected, grpc, length]
    }
}
