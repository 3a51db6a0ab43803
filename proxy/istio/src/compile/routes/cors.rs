//! `corsPolicy`: Istio's words to a route's rules for pages of other origins.

use std::sync::Arc;

use leeboard_policy::cors::Cors;

use super::matches::pattern;
use crate::resources::virtual_service::CorsPolicy;

/// What a policy means. Istio: lists are told as they are written, joined with commas.
pub(crate) fn translate(written: &CorsPolicy) -> Cors {
    Cors {
        origins: written.allow_origins.iter().map(pattern).collect(),
        methods: joined(&written.allow_methods),
        headers: joined(&written.allow_headers),
        exposed: joined(&written.expose_headers),
        max_age: written.max_age.map(|age| age.0 / 1_000_000_000),
        credentials: written.allow_credentials,
        ignores_unmatched: written.ignore_unmatched_preflights,
    }
}

fn joined(list: &[Arc<str>]) -> Arc<str> {
    list.join(",").into()
}
