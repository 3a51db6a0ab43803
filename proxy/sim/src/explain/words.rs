//! How what the policy knows is said in words.

use leeboard_policy::cluster::{Balancer, HashKey, Workload};
use leeboard_policy::counted::counted;
use leeboard_policy::dice::Share;
use leeboard_policy::limits::Limit;
use leeboard_policy::matching::Mismatch;
use leeboard_policy::narrate::InjectedFault;
use leeboard_policy::pattern::{HeaderMatch, PathMatch};
use leeboard_policy::request::Head;
use leeboard_policy::retry::{RetryPolicy, TOKENS};
use leeboard_policy::route::{Abort, Action as Does, Match, Redirect, RedirectPath, Rewrite, Substitution, Target};
use leeboard_policy::snapshot::Snapshot;

use super::{Action, Retrying};

/// What a rule asks that a request does not have: which part, what it must be, what it is.
pub(super) fn mismatch(mismatch: Mismatch<'_>, head: &impl Head) -> (String, String, Option<String>) {
    let header = |wanted: &HeaderMatch| head.header(&wanted.name).map(|value| crate::text(&value));
    let (part, wanted, is) = match mismatch {
        Mismatch::Path(wanted) => ("uri".into(), path(wanted), Some(head.path().0.to_owned())),
        Mismatch::Method(wanted) => ("method".into(), wanted.to_string(), Some(head.method().to_owned())),
        Mismatch::Scheme(wanted) => ("scheme".into(), wanted.to_string(), Some(head.scheme().to_owned())),
        Mismatch::Authority(wanted) => ("authority".into(), wanted.to_string(), Some(head.authority().to_owned())),
        Mismatch::Header(wanted) => (format!("headers[{}]", wanted.name), wanted.value.to_string(), header(wanted)),
        Mismatch::Without(unwanted) => {
            (format!("withoutHeaders[{}]", unwanted.name), format!("not {}", unwanted.value), header(unwanted))
        }
        Mismatch::Query(wanted) => {
            let value = head.path().1.and_then(|query| leeboard_policy::pattern::first_value(query, &wanted.name));
            (format!("queryParams[{}]", wanted.name), wanted.value.to_string(), value.map(str::to_owned))
        }
    };
    (part, wanted, is)
}

/// What a rule asks that a request has, each as [`mismatch`] tells it.
pub(super) fn held(when: &Match, head: &impl Head) -> Vec<(String, String, Option<String>)> {
    let path = (!matches!(when.path, PathMatch::Any)).then_some(Mismatch::Path(&when.path));
    let each = [
        path,
        when.method.as_deref().map(Mismatch::Method),
        when.scheme.as_deref().map(Mismatch::Scheme),
        when.authority.as_deref().map(Mismatch::Authority),
    ];
    let headers = when.headers.iter().map(Mismatch::Header);
    let without = when.without_headers.iter().map(Mismatch::Without);
    let query = when.query.iter().map(Mismatch::Query);
    let all = each.into_iter().flatten().chain(headers).chain(without).chain(query);
    all.map(|part| mismatch(part, head)).collect()
}

fn path(wanted: &PathMatch) -> String {
    match wanted {
        PathMatch::Any => "present".into(),
        PathMatch::Exact(text) => format!("exact {text}"),
        PathMatch::ExactIgnoreCase(text) => format!("exact {text}, case aside"),
        PathMatch::Prefix(text) => format!("prefix {text}"),
        PathMatch::PrefixIgnoreCase(text) => format!("prefix {text}, case aside"),
        PathMatch::Regex(regex) => format!("regex {}", regex.as_str()),
    }
}

/// What a rule does.
pub(super) fn action(action: &Does, path: &str) -> Action {
    let (what, how) = match action {
        Does::Forward(forward) => {
            ("forward", forward.rewrite.as_deref().map_or_else(String::new, |how| rewrite(how, path)))
        }
        Does::Redirect(redirect) => ("redirect", redirected(redirect, path)),
        Does::Direct(direct) => {
            ("direct response", format!("{} with {}", direct.status, counted(direct.body.len(), "byte")))
        }
    };
    Action { what, how }
}

fn rewrite(rewrite: &Rewrite, path: &str) -> String {
    match rewrite {
        Rewrite::Prefix { cut, with } => prefix(path, *cut, with),
        Rewrite::Whole(with) => format!("the whole path becomes {with}"),
        Rewrite::Regex { find, with } => format!("in the path each match of {} becomes {}", find.as_str(), parts(with)),
    }
}

fn prefix(path: &str, cut: usize, with: &str) -> String {
    format!("{} at the path's beginning becomes {with}", path.get(..cut).unwrap_or(path))
}

/// A substitution as it is written.
fn parts(with: &[Substitution]) -> String {
    let part = |part: &Substitution| match part {
        Substitution::Literal(text) => text.to_string(),
        Substitution::Group(number) => format!("\\{number}"),
    };
    with.iter().map(part).collect()
}

fn redirected(redirect: &Redirect, asked: &str) -> String {
    let path = redirect.path.as_ref().map(|path| match path {
        RedirectPath::Whole(new) => format!("the path becomes {new}"),
        RedirectPath::Prefix { cut, with } => prefix(asked, *cut, with),
    });
    let host = redirect.authority.as_ref().map(|authority| format!("the host becomes {authority}"));
    let scheme = redirect.scheme.as_ref().map(|scheme| format!("the scheme becomes {scheme}"));
    let port = redirect.port.map(|port| format!("the port becomes {port}"));
    let changes = [Some(redirect.status.to_string()), path, host, scheme, port];
    changes.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A share in per cent.
pub(super) fn percent(share: Share) -> f64 {
    f64::from(share.0) / 10_000.0
}

pub(super) fn injected_fault(injected_fault: InjectedFault) -> (&'static str, String) {
    match injected_fault {
        InjectedFault::Delay(span) => ("delay", span.to_string()),
        InjectedFault::Abort(Abort::Http(status)) => ("abort", format!("{status}")),
        InjectedFault::Abort(Abort::Grpc(status)) => ("abort", format!("grpc {status}")),
    }
}

pub(super) fn hash_key(key: &HashKey) -> String {
    match key {
        HashKey::Header(name) => format!("header {name}"),
        HashKey::Cookie(cookie) => format!("cookie {}", cookie.name),
        HashKey::Query(name) => format!("query parameter {name}"),
        HashKey::SourceIp => "source address".into(),
    }
}

pub(super) fn balancer(balancer: &Balancer) -> String {
    match balancer {
        Balancer::LeastRequest => "LEAST_REQUEST".into(),
        Balancer::RoundRobin => "ROUND_ROBIN".into(),
        Balancer::Random => "RANDOM".into(),
        Balancer::RingHash { key, .. } => format!("consistentHash, ring, by {}", hash_key(key)),
        Balancer::Maglev { key, .. } => format!("consistentHash, Maglev, by {}", hash_key(key)),
    }
}

pub(super) fn limit(limit: Limit) -> &'static str {
    match limit {
        Limit::Connections => "connections",
        Limit::Pending => "pending",
        Limit::Requests => "requests",
        Limit::Retries => "retries",
    }
}

pub(super) fn labels(workload: &Workload) -> String {
    let labels = workload.labels.iter().map(|(key, value)| format!("{key}={value}"));
    labels.collect::<Vec<_>>().join(",")
}

pub(super) fn target(target: &Target, snapshot: &Snapshot) -> String {
    match target {
        Target::Cluster(id) => snapshot.cluster(*id).name.to_string(),
        Target::Unknown(name) => name.to_string(),
    }
}

pub(super) fn retrying(policy: &RetryPolicy) -> Retrying {
    let tokens = TOKENS.iter().filter(|(_, on)| policy.on.any(*on)).map(|(token, _)| (*token).to_owned());
    let statuses = policy.status_codes.iter().map(u16::to_string);
    Retrying { attempts: policy.attempts, per_try: policy.per_try_timeout, on: tokens.chain(statuses).collect() }
}
