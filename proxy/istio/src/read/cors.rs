//! Reads `corsPolicy`: which pages of other origins may call.

use std::sync::Arc;

use leeboard_policy::time::Span;

use super::string_match::{Form, pattern_of};
use crate::codes;
use crate::fields::{Field, Fields};
use crate::names;
use crate::resources::virtual_service::{CorsPolicy, StringMatch};
use crate::support::{CORS, STRING_MATCH};

/// Istio: the methods that may be named.
const METHODS: [&str; 10] = ["*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"];

pub(super) fn read(field: Field<'_>) -> Option<CorsPolicy> {
    let fields = field.block(&CORS)?;
    let methods = fields.get("allowMethods").checked_texts(codes::BAD_VALUE, |method| match method {
        known if METHODS.contains(&known) => Ok(()),
        other => Err(format!("`{other}` is no HTTP method")),
    });
    let header = |name: &str| if name == "*" { Ok(()) } else { names::match_header(name) };
    let headers = |name| texts(fields.get(name).checked_texts(codes::BAD_NAME, header));
    let unmatched = [("UNSPECIFIED", false), ("FORWARD", false), ("IGNORE", true)];
    Some(CorsPolicy {
        spot: fields.spot(),
        allow_origins: origins(&fields),
        allow_methods: texts(methods),
        allow_headers: headers("allowHeaders"),
        expose_headers: headers("exposeHeaders"),
        max_age: max_age(fields.get("maxAge")),
        allow_credentials: fields.get("allowCredentials").bool().unwrap_or(false),
        ignore_unmatched_preflights: fields.get("unmatchedPreflights").choice(&unmatched).unwrap_or(false),
    })
}

fn texts(all: Vec<crate::source::Located<Arc<str>>>) -> Vec<Arc<str>> {
    all.into_iter().map(|text| text.value).collect()
}

/// Istio: the old list counts only where the new one is empty.
fn origins(fields: &Fields<'_>) -> Vec<StringMatch> {
    let mut origins = Vec::new();
    for origin in fields.get("allowOrigins").items(&STRING_MATCH) {
        let pattern = pattern_of(&origin, Form::default());
        let empty = match &pattern {
            Some(StringMatch::Present) => true,
            Some(StringMatch::Exact(text)) => text.is_empty(),
            // An empty prefix has been complained of, as has a regular expression.
            Some(StringMatch::Prefix(_) | StringMatch::Regex(_)) | None => false,
        };
        if empty {
            origin.cx.error(codes::BAD_VALUE, origin.mark, "an origin is `exact`, `prefix` or `regex`, and not empty");
        }
        origins.extend(pattern);
    }
    let old = fields.get("allowOrigin");
    let exact = texts(old.texts());
    if old.node.is_some() {
        let message = "`allowOrigin` is deprecated; write `allowOrigins: [{exact: …}]`";
        fields.cx.warn(codes::DEPRECATED, old.key, message);
    }
    if origins.is_empty() { exact.into_iter().map(StringMatch::Exact).collect() } else { origins }
}

fn max_age(field: Field<'_>) -> Option<Span> {
    let age = field.duration()?;
    if !age.0.is_multiple_of(1_000_000_000) {
        field.cx.error(codes::BAD_DURATION, field.mark(), "`maxAge` is in whole seconds");
    }
    Some(age)
}
