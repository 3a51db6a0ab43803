//! What a rule does: forward, redirect or answer.

use std::sync::Arc;

use leeboard_policy::dice::Share;
use leeboard_policy::pattern::PathMatch;
use leeboard_policy::rewrite::own_port;
use leeboard_policy::route::{
    Abort, Action, Destination, Direct, Fault, FaultScope, Forward, Mirror, Redirect, RedirectPath, Rewrite,
    Substitution,
};

use super::context::{Report, Scope};
use super::{headers, retries};
use crate::annotations::{faults_in_attempts, split_key};
use crate::codes;
use crate::resources::virtual_service::{self as written, HttpAction, HttpRoute, RedirectPort, RewritePath};

/// What an entry does with requests that matched `path`; `None` for one that delegates to what is not there.
pub(crate) fn translate(
    entry: &HttpRoute,
    path: &PathMatch,
    scope: &Scope<'_>,
    report: &mut Report<'_>,
) -> Option<Action> {
    match &entry.action {
        HttpAction::Route(destinations) => {
            Some(Action::Forward(Box::new(forward(entry, destinations, path, scope, report))))
        }
        HttpAction::Redirect(redirect) => Some(Action::Redirect(Box::new(Redirect {
            path: redirect.path.as_ref().map(|new| redirect_path(new, path)),
            authority: redirect.authority.clone(),
            scheme: redirect.scheme.clone(),
            port: match redirect.port {
                Some(RedirectPort::Number(port)) => Some(port),
                // Istio: a scheme's own port is not written, and what the caller wrote stays.
                Some(RedirectPort::FromRequest) => Some(scope.port)
                    .filter(|port| own_port(redirect.scheme.as_deref().unwrap_or("http")) != Some(*port)),
                Some(RedirectPort::FromProtocol) | None => None,
            },
            status: redirect.code,
            response_headers: headers::response(&entry.headers.response, report),
        }))),
        HttpAction::Direct(direct) => Some(Action::Direct(Box::new(Direct {
            status: direct.status,
            body: direct.body.clone(),
            response_headers: headers::response(&entry.headers.response, report),
        }))),
        HttpAction::Delegate(_) => None,
    }
}

fn forward(
    entry: &HttpRoute,
    written: &[written::RouteDestination],
    path: &PathMatch,
    scope: &Scope<'_>,
    report: &mut Report<'_>,
) -> Forward {
    let destinations = destinations(written, scope, report);
    let hashes = matches!(&destinations[..], [only] if scope.clusters.is_hashed(&only.cluster));
    let (request_headers, host) = headers::request(&entry.headers.request, report);
    let rewrite = entry.rewrite.as_ref();
    let annotations = &report.meta.annotations;
    Forward {
        split_key: split_key(annotations).filter(|_| destinations.len() > 1).map(Box::new),
        fault: entry.fault.as_deref().map(|written| Box::new(fault(written, faults_in_attempts(annotations)))),
        destinations: scope.clusters.shared.destinations(destinations),
        rewrite: rewrite
            .and_then(|rewrite| rewrite.path.as_ref())
            .and_then(|new| rewrite_path(new, path, report))
            .map(Box::new),
        authority: rewrite.and_then(|rewrite| rewrite.authority.clone()).or(host),
        request_headers,
        response_headers: headers::response(&entry.headers.response, report),
        timeout: entry.timeout,
        retry: scope.clusters.shared.policy(retries::policy(scope.site.mesh.retries(entry.retries.as_deref()), hashes)),
        mirrors: entry.mirrors.iter().map(|mirror| self::mirror(mirror, scope, report)).collect(),
    }
}

/// Istio: of several destinations those of weight 0 get nothing; a single one takes all. If only one of several is left the
/// others stay beside it, for headers are changed in another order when there are several.
fn destinations(written: &[written::RouteDestination], scope: &Scope<'_>, report: &mut Report<'_>) -> Vec<Destination> {
    let drawn = written.iter().filter(|destination| destination.weight > 0).count();
    let weighed = written.iter().filter(|destination| drawn < 2 || destination.weight > 0);
    let mut destinations = Vec::with_capacity(if drawn < 2 { written.len() } else { drawn });
    destinations.extend(weighed.map(|destination| {
        let (request_headers, authority) = headers::request(&destination.headers.request, report);
        Destination {
            cluster: scope.target(&destination.destination, report),
            weight: destination.weight,
            authority,
            request_headers,
            response_headers: headers::response(&destination.headers.response, report),
        }
    }));
    destinations
}

fn fault(written: &written::Fault, in_attempts: bool) -> Fault {
    Fault {
        scope: if in_attempts { FaultScope::Attempt } else { FaultScope::Request },
        delay: written.delay.map(|(delay, percent)| (delay, Share::from_percent(percent))),
        abort: written.abort.map(|(abort, percent)| {
            let abort = match abort {
                written::Abort::Http(status) => Abort::Http(status),
                written::Abort::Grpc(status) => Abort::Grpc(status),
            };
            (abort, Share::from_percent(percent))
        }),
    }
}

fn mirror(written: &written::Mirror, scope: &Scope<'_>, report: &mut Report<'_>) -> Mirror {
    Mirror { cluster: scope.target(&written.destination, report), share: Share::from_percent(written.percentage) }
}

/// Istio: after a prefix match the prefix gives way, after none the leading `/`, after any other match the whole path.
fn rewrite_path(new: &RewritePath, path: &PathMatch, report: &mut Report<'_>) -> Option<Rewrite> {
    match new {
        RewritePath::Uri(with) if with.is_empty() => None,
        RewritePath::Uri(with) => Some(match cut(path) {
            Some(cut) => Rewrite::Prefix { cut, with: without_blanks(with) },
            None => Rewrite::Whole(without_blanks(with)),
        }),
        RewritePath::Regex { find, with } => {
            let with = substitution(with, find.captures_len());
            let with = with.map_err(|message| report.error(codes::BAD_VALUE, message)).ok()?;
            Some(Rewrite::Regex { find: find.clone(), with })
        }
    }
}

/// A path has no blanks around it. Many write `" "` to take a prefix away, since an empty text is no rewrite: servers pass over
/// the blank that Envoy sends them. Better than Envoy: it is not sent.
pub(crate) fn without_blanks(path: &Arc<str>) -> Arc<str> {
    let inner = path.trim_matches(' ');
    if inner.len() == path.len() { path.clone() } else { inner.into() }
}

fn redirect_path(new: &written::RedirectPath, path: &PathMatch) -> RedirectPath {
    match (new, cut(path)) {
        (written::RedirectPath::Prefix(with), Some(cut)) => RedirectPath::Prefix { cut, with: with.clone() },
        (written::RedirectPath::Prefix(with) | written::RedirectPath::Uri(with), _) => {
            RedirectPath::Whole(with.clone())
        }
    }
}

/// How many bytes of a path a match on its prefix stands for; `None` when the match is of all of it.
fn cut(path: &PathMatch) -> Option<usize> {
    match path {
        PathMatch::Any => Some(1),
        PathMatch::Prefix(prefix) | PathMatch::PrefixIgnoreCase(prefix) => Some(prefix.len()),
        PathMatch::Exact(_) | PathMatch::ExactIgnoreCase(_) | PathMatch::Regex(_) => None,
    }
}

/// RE2: `\1` is a group, `\0` the whole match, `\\` a backslash; anything else after a backslash, or a group that the
/// expression lacks, makes the whole substitution invalid.
pub(crate) fn substitution(with: &str, groups: usize) -> Result<Vec<Substitution>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut letters = with.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('\\') => text.push('\\'),
            Some(digit) if digit.to_digit(10).is_some_and(|group| (group as usize) < groups) => {
                if !text.is_empty() {
                    parts.push(Substitution::Literal(Arc::from(std::mem::take(&mut text))));
                }
                parts.extend(digit.to_digit(10).map(|group| Substitution::Group(group as usize)));
            }
            other => {
                let found: String = other.into_iter().collect();
                return Err(format!("uriRegexRewrite: `\\{found}` is neither a group of the expression nor `\\\\`"));
            }
        }
    }
    if !text.is_empty() || parts.is_empty() {
        parts.push(Substitution::Literal(text.into()));
    }
    Ok(parts)
}
