//! Reads what an entry of `http` does: rewrite, redirect, direct response, retries, fault, mirrors.

use std::sync::Arc;

use leeboard_policy::expression::Expression;
use leeboard_policy::retry::{RetryOn, TOKENS};

use super::destination::destination;
use super::percent;
use crate::codes;
use crate::diagnostic::Severity;
use crate::fields::{Field, Fields};
use crate::names;
use crate::resources::virtual_service::{
    Abort, DirectResponse, Fault, Mirror, Redirect, RedirectPath, RedirectPort, Retries, Rewrite, RewritePath,
};
use crate::support::{ABORT, BODY, DELAY, DIRECT_RESPONSE, FAULT, MIRROR, REDIRECT, REGEX_REWRITE, RETRIES, REWRITE};
use crate::yaml::{Mark, Node, Value};

pub(super) fn rewrite(field: Field<'_>) -> Option<Rewrite> {
    let fields = field.block(&REWRITE)?;
    fields.at_least_one(&["uri", "uriRegexRewrite", "authority"]);
    fields.at_most_one(&["uri", "uriRegexRewrite"]);
    let uri = fields.get("uri").text().map(RewritePath::Uri);
    let regex = fields.get("uriRegexRewrite").block(&REGEX_REWRITE).and_then(|regex| {
        let find = regex.required("match").regex(Expression::part);
        let with = regex.required("rewrite");
        if with.text().as_deref() == Some("") {
            regex.cx.error(codes::BAD_VALUE, with.mark(), "`rewrite` cannot be empty");
        }
        let with = with.text();
        Some(RewritePath::Regex { find: find?, with: with? })
    });
    Some(Rewrite { spot: fields.spot(), path: uri.or(regex), authority: fields.get("authority").text() })
}

pub(super) fn redirect(field: Field<'_>) -> Option<Redirect> {
    let fields = field.block(&REDIRECT)?;
    fields.at_least_one(&["uri", "prefixRewrite", "authority", "port", "derivePort", "scheme"]);
    fields.at_most_one(&["uri", "prefixRewrite"]);
    fields.at_most_one(&["port", "derivePort"]);
    let some = |text: Option<Arc<str>>| text.filter(|text| !text.is_empty());
    let uri = some(fields.get("uri").text()).map(RedirectPath::Uri);
    let prefix = some(fields.get("prefixRewrite").text()).map(RedirectPath::Prefix);
    let scheme = fields.get("scheme").choice(&[("http", "http"), ("https", "https")]);
    let port = fields.get("port").int(0..=65535).and_then(|n| u16::try_from(n).ok()).map(RedirectPort::Number);
    let derived =
        [("FROM_PROTOCOL_DEFAULT", RedirectPort::FromProtocol), ("FROM_REQUEST_PORT", RedirectPort::FromRequest)];
    let derived = fields.get("derivePort").choice(&derived);
    let code = fields.get("redirectCode");
    // Istio: 0 is as good as none.
    let number = if code.node.and_then(Node::raw) == Some("0") { 301 } else { code.int(300..=399).unwrap_or(301) };
    if !matches!(number, 301 | 302 | 303 | 307 | 308) {
        let message = format!("`redirectCode` {number} is no redirect; 301, 302, 303, 307 and 308 are");
        code.cx.error(codes::BAD_VALUE, code.mark(), message);
    }
    Some(Redirect {
        spot: fields.spot(),
        path: uri.or(prefix),
        authority: some(fields.get("authority").text()),
        scheme: scheme.map(Arc::from),
        port: port.or(derived),
        code: u16::try_from(number).unwrap_or(301),
    })
}

pub(super) fn direct_response(field: Field<'_>) -> Option<DirectResponse> {
    let fields = field.block(&DIRECT_RESPONSE)?;
    let status = fields.required("status").int(200..=600).and_then(|status| u16::try_from(status).ok());
    let body = fields.get("body");
    let bytes = body.block_of(&BODY, "string").map(|block| {
        block.at_most_one(&["string", "bytes"]);
        let text = block.get("string").text().map(|text| text.as_bytes().to_vec());
        let bytes = block.get("bytes");
        let decoded = bytes.text().and_then(|text| {
            let decoded = base64(&text);
            if decoded.is_none() {
                block.cx.error(codes::BAD_VALUE, bytes.mark(), "`bytes` is not base64");
            }
            decoded
        });
        text.or(decoded).unwrap_or_default()
    });
    let bytes = bytes.unwrap_or_default();
    if bytes.len() > 1 << 20 {
        fields.cx.error(codes::OUT_OF_RANGE, body.key, "the body is larger than 1 MiB");
    } else if bytes.len() > 100 << 10 {
        fields.cx.warn(codes::OUT_OF_RANGE, body.key, "the body is larger than 100 KiB");
    }
    Some(DirectResponse { status: status.unwrap_or(500), body: bytes.into() })
}

/// Base64 of the usual or the URL alphabet, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0u32, 0u32);
    for letter in text.bytes().filter(|b| !b.is_ascii_whitespace()) {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => continue,
            _ => return None,
        };
        held = (held << 6 | u32::from(value)) & 0xff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    (bits < 6).then_some(bytes)
}

pub(super) fn retries(field: Field<'_>) -> Option<Retries> {
    let fields = field.block(&RETRIES)?;
    let attempts = fields.get("attempts").count().unwrap_or(0);
    if attempts == 0 {
        for name in fields.present(&["perTryTimeout", "retryOn", "retryRemoteLocalities"]) {
            let message = format!("`{name}` needs `attempts` of at least 1; without it nothing is retried");
            fields.cx.error(codes::NEEDS, fields.place(name), message);
        }
    }
    let on = fields.get("retryOn");
    let tokens = on.text().filter(|text| !text.is_empty()).map(|text| retry_on(on, &text));
    Some(Retries {
        attempts,
        per_try_timeout: fields.get("perTryTimeout").duration(),
        retry_on: tokens,
        backoff: fields.get("backoff").duration(),
        ignore_previous_hosts: fields.get("retryIgnorePreviousHosts").bool(),
        remote_localities: fields.get("retryRemoteLocalities").bool(),
    })
}

/// Istio: tokens between commas, without blanks: policy names, and statuses that have a name of their own.
fn retry_on(field: Field<'_>, text: &str) -> Vec<Arc<str>> {
    let quoted = field.node.is_some_and(|node| matches!(node.value, Value::Scalar { plain: false, .. }));
    let start = field.mark();
    let one_line = start.len as usize == text.chars().count() + 2 * usize::from(quoted);
    let mut column = start.column + u32::from(quoted);
    let mut tokens = Vec::new();
    for token in text.split(',') {
        let len = token.chars().count() as u32;
        let mark = if one_line { Mark { column, len: len.max(1), ..start } } else { start };
        column += len + 1;
        tokens.push(token.trim().into());
        let status = token.parse::<u16>().is_ok_and(|code| token.len() == 3 && has_reason_phrase(code));
        if status || RetryOn::token(token).is_some() {
            continue;
        }
        let diagnostic =
            field.cx.at(Severity::Error, codes::BAD_VALUE, mark, format!("`{token}` is no `retryOn` condition"));
        let near = names::nearest(token.trim(), TOKENS.iter().map(|(name, _)| *name));
        field.cx.push(match near {
            Some(near) if token.trim() == near => diagnostic.help("write the list without blanks"),
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    }
    tokens
}

/// Statuses that Go's `http.StatusText` knows.
fn has_reason_phrase(code: u16) -> bool {
    matches!(code, 100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451)
        || matches!(code, 500..=508 | 510 | 511)
}

/// gRPC's names of its statuses, in order of number.
const GRPC: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(super) fn fault(field: Field<'_>) -> Option<Fault> {
    let fields = field.block(&FAULT)?;
    fields.at_least_one(&["delay", "abort"]);
    let delay = fields.get("delay").block(&DELAY).and_then(|delay| {
        let length = delay.get("fixedDelay").duration();
        let share = percent(delay.get("percentage"), 0.0001);
        let whole = delay.get("percent");
        let old = whole.int(0..=100);
        if old.is_some() {
            let message = "`percent` is deprecated; write `percentage: {value: …}`";
            delay.cx.push(delay.cx.at(Severity::Warning, codes::DEPRECATED, whole.key, message).ist("IST0002"));
        }
        if !delay.has("fixedDelay") && !delay.has("exponentialDelay") {
            delay.cx.warn(codes::NO_EFFECT, delay.mark, "a delay without `fixedDelay` does nothing");
        }
        never_fires(&delay, &["percentage", "percent"]);
        Some((length?, share.or(old.map(|n| n as f64)).unwrap_or(0.0)))
    });
    let abort = fields.get("abort").block(&ABORT).and_then(|abort| {
        abort.at_most_one(&["httpStatus", "grpcStatus", "http2Error"]);
        let http = abort.get("httpStatus").int(200..=600).and_then(|s| u16::try_from(s).ok()).map(Abort::Http);
        let words: Vec<_> = GRPC.iter().zip(0u16..).map(|(name, code)| (*name, code)).collect();
        let grpc = abort.get("grpcStatus").choice(&words).map(Abort::Grpc);
        let share = percent(abort.get("percentage"), 0.0001);
        if abort.present(&["httpStatus", "grpcStatus", "http2Error"]).is_empty() {
            abort.cx.warn(codes::NO_EFFECT, abort.mark, "an abort without `httpStatus` or `grpcStatus` does nothing");
        }
        never_fires(&abort, &["percentage"]);
        Some((http.or(grpc)?, share.unwrap_or(0.0)))
    });
    Some(Fault { delay, abort })
}

/// Istio: a fault without a percentage is one of 0 %.
fn never_fires(fields: &Fields<'_>, shares: &[&'static str]) {
    if fields.present(shares).is_empty() {
        let message = "without `percentage` this fault never happens";
        let diagnostic = fields.cx.at(Severity::Warning, codes::NO_EFFECT, fields.mark, message);
        fields.cx.push(diagnostic.help("write `percentage: {value: 100}` to have it on every request"));
    }
}

/// `mirror` with its percentage in three spellings, and `mirrors`.
pub(super) fn mirrors(route: &Fields<'_>) -> Vec<Mirror> {
    // Istio: an entry that delegates is looked at less closely.
    if !route.has("delegate") {
        route.at_most_one(&["mirror", "mirrors"]);
    }
    let mut found = Vec::new();
    let old = route.get("mirrorPercent");
    let old_value = old.int(0..=100);
    if old.node.is_some() {
        let message = "`mirrorPercent` is deprecated; write `mirrorPercentage: {value: …}`";
        route.cx.warn(codes::DEPRECATED, old.key, message);
    }
    let share = percent(route.get("mirrorPercentage"), 0.0);
    let single = route.get("mirror");
    if single.node.is_some() {
        let percentage = share.or(old_value.map(|n| n as f64)).unwrap_or(100.0);
        found.push(Mirror { destination: destination(single, route), percentage });
    } else if let [name, ..] = route.present(&["mirrorPercentage", "mirrorPercent"])[..] {
        route.cx.warn(codes::NO_EFFECT, route.place(name), format!("`{name}` without `mirror` does nothing"));
    }
    for entry in route.get("mirrors").items(&MIRROR) {
        let percentage = percent(entry.get("percentage"), 0.0).unwrap_or(100.0);
        found.push(Mirror { destination: destination(entry.required("destination"), &entry), percentage });
    }
    found.retain(|mirror| mirror.percentage > 0.0);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        let rows: &[(&str, Option<&[u8]>)] = &[
            ("", Some(b"")),
            ("aGVsbG8=", Some(b"hello")),
            ("aGVsbG8", Some(b"hello")),
            ("_-8=", Some(&[0xff, 0xef])),
            ("a", None),
            ("a*b=", None),
        ];
        for (text, wanted) in rows {
            assert_eq!(base64(text).as_deref(), *wanted, "{text}");
        }
    }
}
