//! Whether one match takes everything that another matches. When that cannot be told, it does not.

use std::sync::Arc;

use crate::resources::Labels;
use crate::resources::virtual_service::{HttpMatch, StringMatch};
use crate::source::Spot;

/// Whether every request that `inner` matches is matched by `outer`.
pub(in crate::check) fn covers(outer: &HttpMatch, inner: &HttpMatch) -> bool {
    path(outer, inner)
        && text(outer.method.as_ref(), inner.method.as_ref())
        && text(outer.scheme.as_ref(), inner.scheme.as_ref())
        && text(outer.authority.as_ref(), inner.authority.as_ref())
        && outer.port.is_none_or(|port| inner.port == Some(port))
        && named(&outer.headers, &inner.headers)
        && named(&outer.query_params, &inner.query_params)
        && without(outer, inner)
        && sources(outer, inner)
}

/// A match without any condition.
pub(in crate::check) fn everything(spot: &Spot) -> HttpMatch {
    HttpMatch {
        spot: spot.clone(),
        name: "".into(),
        uri: None,
        ignore_uri_case: false,
        scheme: None,
        method: None,
        authority: None,
        headers: Vec::new(),
        without_headers: Vec::new(),
        query_params: Vec::new(),
        port: None,
        source_labels: Labels::new(),
        source_namespace: None,
        gateways: Vec::new(),
    }
}

/// Whether both say the same.
pub(in crate::check) fn same(a: &HttpMatch, b: &HttpMatch) -> bool {
    covers(a, b) && covers(b, a)
}

/// Whether it takes every request.
pub(in crate::check) fn is_all(rule: &HttpMatch) -> bool {
    any_path(rule)
        && rule.method.is_none()
        && rule.scheme.is_none()
        && rule.authority.is_none()
        && rule.port.is_none()
        && rule.headers.is_empty()
        && rule.query_params.is_empty()
        && rule.without_headers.is_empty()
        && rule.source_labels.is_empty()
        && rule.source_namespace.is_none()
        && rule.gateways.is_empty()
}

/// Every path begins with `/`.
fn any_path(rule: &HttpMatch) -> bool {
    match &rule.uri {
        None | Some(StringMatch::Present) => true,
        Some(StringMatch::Prefix(prefix)) => matches!(&**prefix, "" | "/"),
        Some(StringMatch::Regex(regex)) => regex.as_str() == ".*",
        Some(StringMatch::Exact(_)) => false,
    }
}

fn path(outer: &HttpMatch, inner: &HttpMatch) -> bool {
    if any_path(outer) {
        return true;
    }
    let (Some(wide), Some(narrow)) = (&outer.uri, &inner.uri) else { return false };
    if inner.ignore_uri_case && !outer.ignore_uri_case && !matches!(narrow, StringMatch::Regex(_)) {
        return false;
    }
    let fold = |text: &Arc<str>| if outer.ignore_uri_case { text.to_ascii_lowercase() } else { text.to_string() };
    match (wide, narrow) {
        (StringMatch::Exact(wide), StringMatch::Exact(narrow)) => fold(wide) == fold(narrow),
        (StringMatch::Prefix(wide), StringMatch::Exact(narrow) | StringMatch::Prefix(narrow)) => {
            fold(narrow).starts_with(&fold(wide))
        }
        _ => pattern(wide, narrow),
    }
}

fn text(outer: Option<&StringMatch>, inner: Option<&StringMatch>) -> bool {
    match (outer, inner) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(outer), Some(inner)) => pattern(outer, inner),
    }
}

/// Whether every value that `inner` matches is matched by `outer`.
fn pattern(outer: &StringMatch, inner: &StringMatch) -> bool {
    match (outer, inner) {
        (StringMatch::Present, _) => true,
        (_, StringMatch::Present) => false,
        (outer, StringMatch::Exact(value)) => takes(outer, value),
        (StringMatch::Prefix(wide), StringMatch::Prefix(narrow)) => narrow.starts_with(&**wide),
        (StringMatch::Regex(a), StringMatch::Regex(b)) => a.as_str() == b.as_str() || a.as_str() == ".*",
        (StringMatch::Regex(regex), StringMatch::Prefix(_)) => regex.as_str() == ".*",
        (StringMatch::Exact(_), _) | (StringMatch::Prefix(_), StringMatch::Regex(_)) => false,
    }
}

/// Whether a pattern takes a value.
pub(in crate::check) fn takes(pattern: &StringMatch, value: &str) -> bool {
    match pattern {
        StringMatch::Present => true,
        StringMatch::Exact(text) => **text == *value,
        StringMatch::Prefix(prefix) => value.starts_with(&**prefix),
        StringMatch::Regex(regex) => regex.is_match(value.as_bytes()),
    }
}

/// Each condition of the wider match must follow from one of the narrower.
fn named(outer: &[(Arc<str>, StringMatch)], inner: &[(Arc<str>, StringMatch)]) -> bool {
    outer.iter().all(|(name, wide)| inner.iter().any(|(known, narrow)| known == name && pattern(wide, narrow)))
}

/// A header that the wider match rules out must be ruled out by the narrower, or have another value there.
fn without(outer: &HttpMatch, inner: &HttpMatch) -> bool {
    outer.without_headers.iter().all(|(name, unwanted)| {
        let ruled_out = inner.without_headers.iter().any(|(known, more)| known == name && pattern(more, unwanted));
        let differs = |wanted: &StringMatch| matches!(wanted, StringMatch::Exact(value) if !takes(unwanted, value));
        ruled_out || inner.headers.iter().any(|(known, wanted)| known == name && differs(wanted))
    })
}

/// Istio: when `gateways` is written it alone decides, and labels and namespace of the caller are not looked at.
fn sources(outer: &HttpMatch, inner: &HttpMatch) -> bool {
    if !outer.gateways.is_empty() {
        return !inner.gateways.is_empty() && inner.gateways.iter().all(|gateway| outer.gateways.contains(gateway));
    }
    if outer.source_labels.is_empty() && outer.source_namespace.is_none() {
        return true;
    }
    inner.gateways.is_empty()
        && outer.source_labels.iter().all(|(key, value)| inner.source_labels.get(key) == Some(value))
        && outer.source_namespace.as_ref().is_none_or(|namespace| inner.source_namespace.as_ref() == Some(namespace))
}
