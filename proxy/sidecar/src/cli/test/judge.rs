//! Compares what a test expects with what is explained.

use std::collections::BTreeMap;
use std::fmt::Display;

use leeboard_istio::Expect;
use leeboard_policy::time::Span;
use leeboard_sim::explain::Explanation;

/// What does not hold, a line each.
pub(super) fn missed(expect: &Expect, told: &Explanation) -> Vec<String> {
    let mut missed = Vec::new();
    let rule = told.rule.as_ref().map(|rule| rule.name.as_str());
    same("rule", expect.rule.as_deref(), rule, &mut missed);
    destination(expect, told, &mut missed);
    let sent = told.sent.as_ref();
    same("path", expect.path.as_deref(), sent.map(|sent| sent.path.as_str()), &mut missed);
    same("authority", expect.authority.as_deref(), sent.map(|sent| sent.authority.as_str()), &mut missed);
    headers(expect, told, &mut missed);
    if let Some(timeout) = expect.timeout {
        same("timeout", Some(span(timeout)), told.sent.is_some().then(|| span(told.timeout)), &mut missed);
    }
    let retries = told.sent.as_ref().map(|_| told.retries.as_ref().map_or(0, |retries| retries.attempts));
    same("retries", expect.retries, retries, &mut missed);
    let per_try = told.retries.as_ref().and_then(|retries| retries.per_try);
    same("perTryTimeout", expect.per_try_timeout, per_try, &mut missed);
    let answer = told.answer.as_ref();
    same("status", expect.status, answer.map(|answer| answer.status), &mut missed);
    let location = answer.and_then(|answer| answer.location.as_deref());
    same("location", expect.location.as_deref(), location, &mut missed);
    mirrors(expect, told, &mut missed);
    missed
}

fn same<T: PartialEq + Display>(what: &str, wanted: Option<T>, found: Option<T>, missed: &mut Vec<String>) {
    let Some(wanted) = wanted else { return };
    match found {
        Some(found) if found == wanted => {}
        Some(found) => missed.push(format!("{what} is {found}, not {wanted}")),
        None => missed.push(format!("there is no {what}, and {wanted} is expected")),
    }
}

fn span(span: Option<Span>) -> String {
    span.map_or_else(|| "none".to_owned(), |span| span.to_string())
}

/// Host and subset of a cluster's name. Istio: `outbound|port|subset|host`.
fn parts(cluster: &str) -> (&str, &str) {
    let mut parts = cluster.split('|').skip(2);
    let subset = parts.next().unwrap_or_default();
    (parts.next().unwrap_or(cluster), subset)
}

/// Istio: a short name stands for the complete one that begins with it.
fn names(wanted: &str, host: &str) -> bool {
    host.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn destination(expect: &Expect, told: &Explanation, missed: &mut Vec<String>) {
    let chosen = told.chosen.as_ref().filter(|_| told.answer.is_none());
    let (host, subset) = match chosen.and_then(|chosen| chosen.among.get(chosen.place)) {
        Some((cluster, _)) => (Some(parts(cluster).0), Some(parts(cluster).1)),
        None => (None, None),
    };
    let known = expect.host.as_deref().zip(host).is_some_and(|(wanted, host)| names(wanted, host));
    same("host", expect.host.as_deref().filter(|_| !known), host, missed);
    same("subset", expect.subset.as_deref(), subset, missed);
    if expect.weights.is_empty() {
        return;
    }
    let among = told.chosen.iter().flat_map(|chosen| &chosen.among);
    let found: BTreeMap<&str, u32> = among
        .map(|(cluster, weight)| match parts(cluster) {
            (host, "") => (host, *weight),
            (_, subset) => (subset, *weight),
        })
        .collect();
    for (name, weight) in &expect.weights {
        let of = |(known, _): &(&&str, &u32)| names(name, known);
        same(&format!("weight of {name}"), Some(*weight), found.iter().find(of).map(|(_, weight)| *weight), missed);
    }
    for name in found.keys().filter(|known| !expect.weights.keys().any(|name| names(name, known))) {
        missed.push(format!("{name} is a destination, too"));
    }
}

fn headers(expect: &Expect, told: &Explanation, missed: &mut Vec<String>) {
    let sent = told.sent.as_ref().map_or(&[][..], |sent| &sent.headers);
    for (name, wanted) in &expect.headers {
        same(&format!("header {name}"), Some(wanted.to_string()), value(sent, name), missed);
    }
    for name in &expect.no_headers {
        missed.extend(value(sent, name).map(|value| format!("header {name} is sent: {value}")));
    }
    let answered = &told.response_headers;
    for (name, wanted) in &expect.response_headers {
        same(&format!("response header {name}"), Some(wanted.to_string()), value(answered, name), missed);
    }
    for name in &expect.no_response_headers {
        let removed =
            told.response_edits.iter().any(|edit| edit.verb == "remove" && edit.name.eq_ignore_ascii_case(name));
        match value(answered, name) {
            Some(value) => missed.push(format!("response header {name} is given: {value}")),
            None if removed || told.answer.is_some() => {}
            None => missed.push(format!("response header {name} is not removed from what an endpoint gives")),
        }
    }
}

/// All values of a header, as one.
fn value(headers: &[(String, Vec<u8>)], name: &str) -> Option<String> {
    let values = headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    let values: Vec<String> = values.map(|(_, value)| leeboard_sim::text(value)).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn mirrors(expect: &Expect, told: &Explanation, missed: &mut Vec<String>) {
    let Some(wanted) = &expect.mirrors else { return };
    let found: Vec<&str> = told.mirrors.iter().map(|mirror| parts(&mirror.cluster).0).collect();
    for name in wanted.iter().filter(|name| !found.iter().any(|host| names(name, host))) {
        missed.push(format!("{name} is no mirror; there are: {}", found.join(", ")));
    }
    for host in found.iter().filter(|host| !wanted.iter().any(|name| names(name, host))) {
        missed.push(format!("{host} is a mirror, too"));
    }
}
