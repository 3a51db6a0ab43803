//! Hop-by-hop fields: they belong to one connection and are not forwarded. RFC 9110 §7.6.1.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::fields::{Fields, Name, Names};

/// The names of such fields.
const HOP_BY_HOP: &[Name] =
    &[Name::Connection, Name::KeepAlive, Name::ProxyConnection, Name::TransferEncoding, Name::Upgrade, Name::Te];

/// Takes away what belongs to the connection.
pub(crate) fn strip_hop_by_hop(fields: &mut Fields) {
    strip(fields, const { Names::of(HOP_BY_HOP) });
}

/// What HTTP/2 may carry of these fields: it has no such names, but for a `TE` of `trailers`. A route may have set one.
pub(crate) fn without_hop_by_hop(fields: &Fields) -> Cow<'_, Fields> {
    let te = fields.get(Name::Te).is_some_and(|te| te != b"trailers");
    if !te && !HOP_BY_HOP.iter().any(|name| *name != Name::Te && fields.has(*name)) {
        return Cow::Borrowed(fields);
    }
    let mut fields = fields.clone();
    strip_hop_by_hop(&mut fields);
    Cow::Owned(fields)
}

/// What nobody takes from trailers: what frames a message, routes it, says who sends it, controls how it is answered or kept,
/// or says what its body is. RFC 9110 §6.5.1. A proxy that merged these into the head would be told lies behind its back.
const NO_TRAILERS: &[&str] = &[
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "warning",
    "www-authenticate",
    "x-real-ip",
    "x-request-id",
];
/// The same, by how they begin.
const NO_TRAILERS_BEGINNING: &[&str] = &[":", "if-", "proxy-", "x-envoy-", "x-forwarded-", "x-leeboard-"];

/// A frame without the trailers that may not be any; `None` when that leaves nothing of it.
pub(crate) fn fit_to_pass<E>(frame: Option<Result<Frame<Bytes>, E>>) -> Option<Result<Frame<Bytes>, E>> {
    match frame {
        Some(Ok(frame)) if frame.is_trailers() => {
            let sent = frame.into_trailers().unwrap_or_default();
            let fit: HeaderMap = if sent.keys().all(|name| may_be_trailer(name.as_str())) {
                sent
            } else {
                let fit = sent.iter().filter(|(name, _)| may_be_trailer(name.as_str()));
                fit.map(|(name, value)| (name.clone(), value.clone())).collect()
            };
            (!fit.is_empty()).then(|| Ok(Frame::trailers(fit)))
        }
        frame => frame,
    }
}

fn may_be_trailer(name: &str) -> bool {
    NO_TRAILERS.binary_search(&name).is_err() && !NO_TRAILERS_BEGINNING.iter().any(|start| name.starts_with(start))
}

/// Takes these names away, what `Connection` names, and any `TE` but `trailers`.
pub(crate) fn strip(fields: &mut Fields, names: Names) {
    let trailers = fields.all(Name::Te).flat_map(|te| te.split(|byte| *byte == b',')).any(|coding| {
        let coding = coding.split(|byte| *byte == b';').next().unwrap_or(b"");
        coding.trim_ascii().eq_ignore_ascii_case(b"trailers")
    });
    if fields.all(Name::Connection).any(|value| !is_plain(value)) {
        let named = fields.all(Name::Connection).flat_map(|value| value.split(|byte| *byte == b','));
        let named: Vec<Vec<u8>> = named
            .map(<[u8]>::trim_ascii)
            .filter(|name| !matches!(Name::of(name), Name::Te | Name::ContentLength | Name::Host))
            .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive") && !name.eq_ignore_ascii_case(b"close"))
            .map(<[u8]>::to_vec)
            .collect();
        named.iter().for_each(|name| fields.remove(name));
    }
    fields.drop_all(names);
    if trailers {
        fields.put(Name::Te, b"trailers");
    }
}

/// What nearly every `Connection` says, which names no field.
fn is_plain(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_passes_only_if_it_may_be_one() {
        assert!(NO_TRAILERS.is_sorted());
        #[rustfmt::skip]
        let table = [
            ("grpc-status", true), ("x-checksum", true), ("etag", true), ("server-timing", true), ("content-digest", true),
            ("content-length", false), ("transfer-encoding", false), ("host", false), ("authorization", false),
            ("proxy-authorization", false), ("cookie", false), ("x-forwarded-for", false), ("x-envoy-retry-on", false),
            ("x-leeboard-peer", false), ("if-match", false), ("trailer", false), ("connection", false),
        ];
        for (name, passes) in table {
            let value = http::HeaderValue::from_static("1");
            let name = http::HeaderName::from_static(name);
            let sent: HeaderMap = [(name.clone(), value)].into_iter().collect();
            let passed = fit_to_pass::<()>(Some(Ok(Frame::trailers(sent))));
            assert_eq!(passed.is_some(), passes, "{name}");
        }
        let data = fit_to_pass::<()>(Some(Ok(Frame::data(Bytes::from_static(b"x")))));
        assert!(data.is_some_and(|frame| frame.is_ok_and(|frame| frame.is_data())));
    }
}
