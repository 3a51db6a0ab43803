//! What a case may expect, and whether it holds of what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leeboard_policy::time::Span;
use leeboard_sim::Seen;

use crate::exchanges::Spec;
use crate::notation::{Misread, duration};
use crate::played::Played;
use crate::policies::Policy;

/// Something that must hold.
#[derive(Debug)]
pub(crate) enum Expectation {
    /// Of every exchange: this fact is that.
    Is(Fact, String),
    /// Of every exchange: it took a time within these bounds, both included.
    Took(Span, Span),
    /// Of every exchange, and of all of them together: so many different endpoints were tried.
    Distinct(usize),
    /// Of all exchanges: so many with each value of a fact.
    Tally(Fact, BTreeMap<String, usize>),
    /// Of all exchanges: so many reached their endpoint at once (or only after waiting).
    Started { at_once: bool, count: usize },
    /// Of the cluster, after them: these endpoints rest.
    Ejected(BTreeSet<String>),
    /// Of so many exchanges: a share has this fact.
    Share { fact: Fact, value: String, percent: f64, tolerance: f64, of: usize },
}

/// What can be known of an exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fact {
    /// The rule's name.
    Route,
    /// The cluster's name.
    Cluster,
    /// The cluster's subset.
    Subset,
    /// The latest endpoint.
    Endpoint,
    /// All endpoints, in order.
    Endpoints,
    /// Path and query as sent on.
    Path,
    /// Authority as sent on.
    Authority,
    /// A request header as sent on; empty and absent are told apart by [`Fact::NoHeader`].
    Header(String),
    /// That a request header was not sent on.
    NoHeader(String),
    /// The answer's status.
    Status,
    /// Response flags.
    Flag,
    /// Response code details.
    Details,
    /// The reason's code.
    Reason,
    /// The body of the proxy's own answer.
    Body,
    /// The gRPC status of the proxy's own answer.
    GrpcStatus,
    /// Where a redirect points.
    Location,
    /// A response header.
    ResponseHeader(String),
    /// That a response header is absent.
    NoResponseHeader(String),
    /// How many attempts were made.
    Attempts,
    /// Who received a copy.
    Mirror,
    /// The cluster's balancer.
    Balancer,
    /// A limit of the cluster.
    Limit(String),
    /// Whether the cluster ejects.
    Outlier,
    /// What the cluster's endpoints are spoken to in.
    Protocol,
    /// The cluster's endpoints, in order; or the names that DNS is asked for.
    Members,
}

/// Reads what stands behind `=>`.
pub(crate) fn read(line: usize, text: &str) -> Result<Expectation, Misread> {
    let misread = || (line, format!("nothing that can be expected: `{text}`"));
    let (word, rest) = text.split_once(' ').ok_or_else(misread)?;
    let is = |fact: Fact| Ok(Expectation::Is(fact, rest.into()));
    match word {
        "header" => named(rest, Fact::Header).ok_or_else(misread),
        "response" => rest.strip_prefix("header ").and_then(|h| named(h, Fact::ResponseHeader)).ok_or_else(misread),
        "limit" => {
            let (name, value) = rest.split_once(' ').ok_or_else(misread)?;
            Ok(Expectation::Is(Fact::Limit(name.into()), value.into()))
        }
        "no" => match rest.split(' ').collect::<Vec<_>>().as_slice() {
            ["header", name] => Ok(Expectation::Is(Fact::NoHeader((*name).into()), "true".into())),
            ["response", "header", name] => Ok(Expectation::Is(Fact::NoResponseHeader((*name).into()), "true".into())),
            ["mirror"] => Ok(Expectation::Is(Fact::Mirror, String::new())),
            _ => Err(misread()),
        },
        "took" => {
            let (from, to) = rest.split_once("..").unwrap_or((rest, rest));
            Ok(Expectation::Took(duration(from).ok_or_else(misread)?, duration(to).ok_or_else(misread)?))
        }
        "distinct" => rest.parse().map(Expectation::Distinct).map_err(|_| misread()),
        "running" => Ok(Expectation::Started { at_once: true, count: rest.parse().map_err(|_| misread())? }),
        "waiting" => Ok(Expectation::Started { at_once: false, count: rest.parse().map_err(|_| misread())? }),
        "statuses" => tally(rest).map(|tally| Expectation::Tally(Fact::Status, tally)).ok_or_else(misread),
        "flags" => tally(rest).map(|tally| Expectation::Tally(Fact::Flag, tally)).ok_or_else(misread),
        "ejected" => {
            let names = rest.split(' ').filter(|name| *name != "none");
            Ok(Expectation::Ejected(names.map(str::to_owned).collect()))
        }
        "share" => share(rest).ok_or_else(misread),
        _ => simple(word).map_or_else(|| Err(misread()), is),
    }
}

fn simple(word: &str) -> Option<Fact> {
    Some(match word {
        "route" => Fact::Route,
        "cluster" => Fact::Cluster,
        "subset" => Fact::Subset,
        "endpoint" => Fact::Endpoint,
        "endpoints" => Fact::Endpoints,
        "path" => Fact::Path,
        "authority" => Fact::Authority,
        "status" => Fact::Status,
        "flag" => Fact::Flag,
        "details" => Fact::Details,
        "reason" => Fact::Reason,
        "body" => Fact::Body,
        "grpc-status" => Fact::GrpcStatus,
        "location" => Fact::Location,
        "attempts" => Fact::Attempts,
        "mirror" => Fact::Mirror,
        "balancer" => Fact::Balancer,
        "outlier" => Fact::Outlier,
        "protocol" => Fact::Protocol,
        "members" => Fact::Members,
        _ => return None,
    })
}

fn named(rest: &str, fact: fn(String) -> Fact) -> Option<Expectation> {
    let (name, value) = rest.split_once(": ")?;
    Some(Expectation::Is(fact(name.into()), value.into()))
}

/// `200x2 503x3`
fn tally(rest: &str) -> Option<BTreeMap<String, usize>> {
    let one = |part: &str| part.rsplit_once('x').and_then(|(value, n)| Some((value.to_owned(), n.parse().ok()?)));
    rest.split(' ').map(one).collect()
}

/// `[FACT] VALUE P% [±T] of N`
fn share(rest: &str) -> Option<Expectation> {
    let (rest, of) = rest.rsplit_once(" of ")?;
    let (rest, tolerance) = rest.split_once(" ±").map_or((rest, "0"), |(rest, tolerance)| (rest, tolerance));
    let (what, percent) = rest.strip_suffix('%')?.rsplit_once(' ')?;
    let (fact, value) = match what.split_once(' ') {
        Some((fact, value)) => (simple(fact)?, value),
        None => (Fact::Subset, what),
    };
    let (percent, tolerance, of) = (percent.parse().ok()?, tolerance.parse().ok()?, of.parse().ok()?);
    Some(Expectation::Share { fact, value: value.into(), percent, tolerance, of })
}

/// What a fact is of an exchange.
fn value_of(fact: &Fact, seen: &Seen, policies: &BTreeMap<Arc<str>, Policy>) -> String {
    let joined = |headers: &BTreeMap<String, Vec<String>>, name: &String| {
        headers.get(name).map_or_else(|| "(absent)".to_owned(), |values| values.join(","))
    };
    let addresses = || seen.endpoints.iter().map(ToString::to_string);
    let policy = |ask: fn(&Policy) -> String| policies.get(&seen.cluster).map(ask).unwrap_or_default();
    match fact {
        Fact::Route => seen.route.to_string(),
        Fact::Cluster => seen.cluster.to_string(),
        Fact::Subset => seen.cluster.split('|').nth(2).unwrap_or("").to_owned(),
        Fact::Endpoint => addresses().next_back().unwrap_or_default(),
        Fact::Endpoints => addresses().collect::<Vec<_>>().join(" "),
        Fact::Path => seen.path.clone(),
        Fact::Authority => seen.authority.clone(),
        Fact::Header(name) => joined(&seen.request_headers, name),
        Fact::NoHeader(name) => (!seen.request_headers.contains_key(name)).to_string(),
        Fact::Status => seen.status.to_string(),
        Fact::Flag => seen.flags.clone(),
        Fact::Details => seen.details.clone(),
        Fact::Reason => seen.reason.clone(),
        Fact::Body => seen.body.clone(),
        Fact::GrpcStatus => seen.grpc_status.map_or_else(|| "(none)".to_owned(), |status| status.to_string()),
        Fact::Location => seen.location.clone(),
        Fact::ResponseHeader(name) => joined(&seen.response_headers, name),
        Fact::NoResponseHeader(name) => (!seen.response_headers.contains_key(name)).to_string(),
        Fact::Attempts => seen.attempts.to_string(),
        Fact::Mirror => seen.mirrors.join(" "),
        Fact::Balancer => policy(|policy| policy.balancer.into()),
        Fact::Limit(name) => {
            let limits = policies.get(&seen.cluster).map(|policy| &policy.limits);
            limits.and_then(|limits| limits.get(name.as_str())).cloned().unwrap_or_default()
        }
        Fact::Protocol => policy(|policy| policy.protocol.into()),
        Fact::Members => policy(|policy| policy.members.clone()),
        Fact::Outlier => {
            if policies.get(&seen.cluster).is_some_and(|policy| policy.outlier) { "on" } else { "off" }.into()
        }
    }
}

impl Expectation {
    /// How many exchanges must be played to tell, for a share.
    pub(crate) fn sample(&self) -> usize {
        match self {
            Self::Share { of, .. } => *of,
            _ => 0,
        }
    }

    /// What was seen instead, when it does not hold.
    pub(crate) fn missed(&self, spec: &Spec, played: &Played, sample: &[Seen]) -> Option<String> {
        let seen = &played.seen;
        let value_in = |one: &Seen, fact: &Fact| value_of(fact, one, &played.policies);
        match self {
            Self::Is(fact, value) => {
                let other = seen.iter().map(|one| value_in(one, fact)).find(|found| found != value)?;
                Some(format!("{fact:?} is `{other}`, not `{value}`"))
            }
            Self::Took(from, to) => {
                let other = seen.iter().map(|one| one.took).find(|took| took < from || took > to)?;
                Some(format!("it took {other}"))
            }
            Self::Distinct(count) => {
                let different =
                    |ones: &[Seen]| ones.iter().flat_map(|one| &one.endpoints).collect::<BTreeSet<_>>().len();
                let mut found = vec![different(seen)];
                found.extend(seen.iter().map(|one| different(std::slice::from_ref(one))));
                (found.iter().any(|n| n != count)).then(|| format!("in all, then for each: {found:?}"))
            }
            Self::Tally(fact, tally) => {
                let mut found = BTreeMap::new();
                seen.iter().for_each(|one| *found.entry(value_in(one, fact)).or_insert(0) += 1);
                (found != *tally).then(|| format!("there were {found:?}"))
            }
            Self::Started { at_once, count } => {
                let found =
                    seen.iter().filter(|one| one.started.is_some_and(|waited| (waited == Span(0)) == *at_once)).count();
                (found != *count).then(|| format!("there were {found} of {}", spec.count))
            }
            Self::Ejected(names) => (played.ejected != *names).then(|| format!("ejected are {:?}", played.ejected)),
            Self::Share { fact, value, percent, tolerance, of } => {
                // Of several mirrors each counts.
                let counts = |one: &&Seen| match fact {
                    Fact::Mirror => one.mirrors.iter().any(|mirror| **mirror == **value),
                    _ => value_in(one, fact) == *value,
                };
                let had = sample.iter().take(*of).filter(counts).count();
                let found = had as f64 * 100.0 / *of as f64;
                ((found - percent).abs() > *tolerance + 1e-9).then(|| format!("the share is {found:.3}%"))
            }
        }
    }
}
