//! Headers that are changed to no effect, and names that nobody sends.

use std::collections::BTreeMap;
use std::sync::Arc;

use leeboard_policy::headers::{Template, frames};

use super::super::Checking;
use super::Entry;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::locations::{Path, way};
use crate::names;
use crate::resources::Meta;
use crate::resources::virtual_service::{HeaderOperations, HttpAction};

/// Headers that proxies and browsers send, and Istio's examples use.
const WELL_KNOWN: [&str; 47] = [
    ":authority",
    ":method",
    ":path",
    ":scheme",
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "baggage",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "end-user",
    "expect",
    "forwarded",
    "from",
    "grpc-timeout",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "origin",
    "pragma",
    "range",
    "referer",
    "te",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-api-key",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-envoy-original-path",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

pub(super) fn check(cx: &Checking<'_>, at: &Entry<'_>) {
    let path = at.path.to("headers");
    operations(cx, at, &at.entry.headers.request, &path.to("request"));
    operations(cx, at, &at.entry.headers.response, &path.to("response"));
    if let HttpAction::Route(destinations) = &at.entry.action {
        for (number, destination) in destinations.iter().enumerate() {
            let path = at.path.to("route").to(number).to("headers");
            operations(cx, at, &destination.headers.request, &path.to("request"));
            operations(cx, at, &destination.headers.response, &path.to("response"));
        }
    }
}

fn operations(cx: &Checking<'_>, at: &Entry<'_>, operations: &HeaderOperations, path: &Path) {
    let meta = &at.document.meta;
    framing(cx, at, operations, path);
    for (number, removed) in operations.remove.iter().enumerate() {
        let written = [("set", &operations.set), ("add", &operations.add)];
        let again =
            written.into_iter().find(|(_, list)| list.iter().any(|(name, _)| name.eq_ignore_ascii_case(removed)));
        if let Some((verb, _)) = again {
            let message = format!("`{removed}` is removed and then {verb} again: removals come first");
            cx.tell(cx.warning(codes::REMOVED_THEN_SET, meta, &path.to("remove").to(number), message));
        }
    }
    for (verb, list) in [("set", &operations.set), ("add", &operations.add)] {
        for (name, _) in list.iter().filter(|(_, value)| value.is_empty()) {
            let message = format!("`{name}` is not sent: its value is empty");
            let complaint = cx.warning(codes::EMPTY_HEADER, meta, &path.to(verb).to(name.to_string()), message);
            cx.tell(complaint.help("to take a header away, name it in `remove`"));
        }
        for (name, value) in list {
            let path = path.to(verb).to(name.to_string());
            match Template::parse(value) {
                Err(error) => {
                    let message = format!("header {name}: {error}");
                    let spot = cx.spot(meta, &path);
                    cx.tell(Diagnostic::error(codes::BAD_VALUE, &meta.resource, &spot, message));
                }
                Ok(template) => {
                    if let Some(operator) = template.unfilled().next() {
                        let message = format!("nothing is known here for `%{operator}%`, which stays empty");
                        cx.tell(cx.warning(codes::NOT_FILLED, meta, &path, message));
                    }
                }
            }
        }
    }
}

/// Operations that are never carried out.
fn framing(cx: &Checking<'_>, at: &Entry<'_>, operations: &HeaderOperations, path: &Path) {
    let meta = &at.document.meta;
    let removed = operations.remove.iter().enumerate().map(|(at, name)| (name, path.to("remove").to(at), "removed"));
    let given = [("set", &operations.set, "set"), ("add", &operations.add, "added")];
    let given = given.into_iter().flat_map(|(verb, list, done)| {
        list.iter().map(move |(name, _)| (name, path.to(verb).to(name.to_string()), done))
    });
    for (name, place, done) in removed.chain(given).filter(|(name, ..)| frames(name)) {
        let message = format!("`{name}` is never {done}: the proxy writes it itself");
        cx.tell(cx.warning(codes::FRAMING_HEADER, meta, &place, message).help("take it away"));
    }
}

/// Names of matched headers that are nearly well known, or nearly one that other rules use more.
pub(super) fn names(cx: &Checking<'_>) {
    let mut used: BTreeMap<Arc<str>, Vec<(&Meta, usize, usize, &'static str)>> = BTreeMap::new();
    for document in &cx.resources.virtual_services {
        for (entry, route) in document.http.iter().enumerate() {
            for (number, rule) in route.matches.iter().enumerate() {
                let headers = rule.headers.iter().map(|(name, _)| (name, "headers"));
                for (name, field) in
                    headers.chain(rule.without_headers.iter().map(|(name, _)| (name, "withoutHeaders")))
                {
                    used.entry(name.clone()).or_default().push((&document.meta, entry, number, field));
                }
            }
        }
    }
    for (name, places) in &used {
        if WELL_KNOWN.contains(&&**name) || name.starts_with('@') {
            continue;
        }
        let common =
            used.iter().filter(|(other, more)| more.len() > places.len() && *other != name).map(|(other, _)| &**other);
        let Some(near) = nearly(name, WELL_KNOWN.into_iter()).or_else(|| nearly(name, common)) else { continue };
        for (meta, entry, number, field) in places {
            let spot = cx.key(meta, &way!["spec", "http", *entry, "match", *number, *field, name.to_string()]);
            let message = format!("header `{name}` is nearly `{near}`");
            let complaint = Diagnostic::warning(codes::HEADER_NAME, &meta.resource, &spot, message);
            cx.tell(complaint.help(format!("did you mean `{near}`?")));
        }
    }
}

/// A name that differs in one letter, or by two neighbours swapped; numbered names such as `x-v1` and `x-v2` are all meant.
fn nearly<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let mut near = candidates.filter(|other| name.len() > 4 && names::distance(name, other) == 1);
    near.find(|other| letters(name) != letters(other) && digits(name) == digits(other))
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}
