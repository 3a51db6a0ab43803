//! Entries of `http` that no request can reach, and matches that repeat an earlier one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::fields::Cx;
use crate::resources::virtual_service::{HttpAction, HttpMatch, HttpRoute, StringMatch};
use crate::source::Spot;

/// Istio: the first entry that matches everything ends the list, and a match that was written before never decides.
pub(super) fn check(cx: &Cx, routes: &[HttpRoute]) {
    let mut end: Option<&HttpRoute> = None;
    let mut seen = Seen::default();
    for route in routes {
        if let Some(end) = end {
            let message = "no request reaches this entry: an earlier one matches everything";
            let diagnostic = Diagnostic::warning(codes::UNREACHABLE, &cx.resource, &route.spot, message);
            cx.push(diagnostic.ist("IST0130").label(&end.spot, "this one"));
            continue;
        }
        let repeated: Vec<_> = route.matches.iter().map(|one| (one, seen.find(one))).collect();
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
        route.matches.iter().for_each(|one| seen.add(one));
        if route.matches.is_empty() || route.matches.iter().any(is_everything) {
            end = Some(route);
        }
    }
}

/// Matches so far. Few are alike in all that a sketch tells, so that few are compared as a whole.
#[derive(Default)]
struct Seen<'m>(BTreeMap<Sketch<'m>, Vec<&'m HttpMatch>>);

/// What tells most matches from one another: the text of the path, and the first header and parameter with theirs.
type Sketch<'m> = (Option<&'m str>, [Option<(&'m str, Option<&'m str>)>; 2], Option<&'m str>);

impl<'m> Seen<'m> {
    /// Where a match was first written that decides the same.
    fn find(&self, one: &'m HttpMatch) -> Option<&'m Spot> {
        let alike = self.0.get(&sketch(one))?;
        let shape = shape(one);
        alike.iter().find(|before| self::shape(before) == shape).map(|before| &before.spot)
    }

    fn add(&mut self, one: &'m HttpMatch) {
        self.0.entry(sketch(one)).or_default().push(one);
    }
}

fn sketch(one: &HttpMatch) -> Sketch<'_> {
    let path = one.uri.as_ref().and_then(text);
    (path, [first(&one.headers), first(&one.query_params)], one.method.as_ref().and_then(text))
}

fn first(list: &[(Arc<str>, StringMatch)]) -> Option<(&str, Option<&str>)> {
    list.first().map(|(name, value)| (&**name, text(value)))
}

fn text(value: &StringMatch) -> Option<&str> {
    match value {
        StringMatch::Present => None,
        StringMatch::Exact(text) | StringMatch::Prefix(text) => Some(text),
        StringMatch::Regex(regex) => Some(regex.as_str()),
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
        Some(StringMatch::Regex(regex)) => matches!(regex.as_str(), ".*"),
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
