//! Entries of `http` that no request can reach, and matches that repeat an earlier one.

use std::collections::BTreeMap;

use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::fields::Cx;
use crate::resources::virtual_service::{HttpAction, HttpMatch, HttpRoute, StringMatch};
use crate::source::Spot;

/// Istio: the first entry that matches everything ends the list, and a match that was written before never decides.
pub(super) fn check(cx: &Cx, routes: &[HttpRoute]) {
    let mut end: Option<&HttpRoute> = None;
    let mut seen: BTreeMap<String, &Spot> = BTreeMap::new();
    for route in routes {
        if let Some(end) = end {
            let message = "no request reaches this entry: an earlier one matches everything";
            let diagnostic = Diagnostic::warning(codes::UNREACHABLE, &cx.resource, &route.spot, message);
            cx.push(diagnostic.ist("IST0130").label(&end.spot, "this one"));
            continue;
        }
        let repeated: Vec<_> = route.matches.iter().map(|one| (one, seen.get(&shape(one)).copied())).collect();
        let dead = !repeated.is_empty() && repeated.iter().all(|(_, before)| before.is_some());
        for (one, before) in repeated {
            let Some(before) = before else { continue };
            let (severity, ist, message) = if dead {
                (Severity::Warning, "IST0130", "no request reaches this entry: all it matches is matched before")
            } else {
                (Severity::Info, "IST0131", "this match decides nothing: it is written before")
            };
            let diagnostic = Diagnostic::new(severity, codes::UNREACHABLE, &cx.resource, &one.spot, message);
            cx.push(diagnostic.ist(ist).label(before, "here"));
        }
        // Whether the rules of a delegate take everything is not known here.
        if matches!(route.action, HttpAction::Delegate(_)) {
            continue;
        }
        for one in &route.matches {
            seen.entry(shape(one)).or_insert(&one.spot);
        }
        if route.matches.is_empty() || route.matches.iter().any(is_everything) {
            end = Some(route);
        }
    }
}

/// Everything that decides whether a request matches.
fn shape(one: &HttpMatch) -> String {
    format!(
        "{:?}",
        (
            (&one.uri, one.ignore_uri_case, &one.scheme, &one.method, &one.authority),
            (&one.headers, &one.without_headers, &one.query_params),
            (one.port, &one.source_labels, &one.source_namespace, &one.gateways),
        )
    )
}

/// Whether a match takes every request of every caller.
fn is_everything(one: &HttpMatch) -> bool {
    let any_path = match &one.uri {
        None | Some(StringMatch::Present) => true,
        Some(StringMatch::Prefix(prefix)) => matches!(&**prefix, "" | "/"),
        Some(StringMatch::Regex(regex)) => matches!(regex.as_str(), "^(?:.*)$"),
        Some(StringMatch::Exact(_)) => false,
    };
    any_path
        && one.scheme.is_none()
        && one.method.is_none()
        && one.authority.is_none()
        && one.headers.is_empty()
        && one.without_headers.is_empty()
        && one.query_params.is_empty()
        && one.port.is_none()
        && one.source_labels.is_empty()
        && one.source_namespace.is_none()
        && one.gateways.is_empty()
}
