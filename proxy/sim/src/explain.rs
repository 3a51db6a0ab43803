//! Why one request goes where it goes: what the policy decides, with every reason that it gives.
//!
//! Nothing is decided here. The question is put to [`Exchange`] on a detached copy of the live state, and what it tells is
//! written down. With the seed of an access log's line the decision is that of its request.

mod json;
mod listening;
mod redact;
mod text;
mod timeline;
mod words;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use leeboard_policy::cluster::{Cluster, Discovery};
use leeboard_policy::dice::Dice;
use leeboard_policy::exchange::Exchange;
use leeboard_policy::headers::{Facts, HeaderOps};
use leeboard_policy::limits::Limit;
use leeboard_policy::live::{Live, LiveCluster, Resolved};
use leeboard_policy::origin::Origin;
use leeboard_policy::request::{Caller, Entrance, Head};
use leeboard_policy::retry::ResponseHead;
use leeboard_policy::route::{Action as Does, Route};
use leeboard_policy::snapshot::Snapshot;
use leeboard_policy::step::{Outcome, Replay, Reply, Step};
use leeboard_policy::time::{Span, Time};

pub use self::listening::{Came, Chosen, ChosenBy, Drawn, Found, MirrorTold, OriginTold, Tried};
pub use self::timeline::Stretch;
use crate::{Message, Request};

/// A request to explain.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is asked, as the proxy has made it plain: a normalised path, header names in lower case.
    pub request: Request,
    /// By which listener it comes.
    pub entrance: Entrance,
    /// Who sends it.
    pub caller: Caller,
    /// Its luck: the seed of an access log's line, or any number.
    pub seed: u64,
}

/// What is done with a request, and why.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Explanation {
    /// The request.
    pub request: Request,
    /// Its luck.
    pub seed: u64,
    /// The listener, and the host and port that are looked for.
    pub came: Came,
    /// The virtual host; `None` when none claims the name.
    pub host: Option<Found>,
    /// Objects that name the host and have no say in it, and why, where whoever asks knows it.
    pub unused: Vec<(Origin, String)>,
    /// The rules tried, in order.
    pub tried: Vec<Tried>,
    /// Rules among them that the proxy does not have, where whoever asks knows it: each with the place of the next that it has.
    pub absent: Vec<Tried>,
    /// The rule that was taken.
    pub rule: Option<Found>,
    /// What the rule does.
    pub action: Option<Action>,
    /// What is made of a page's call, when the rule says which pages may call.
    pub origin: Option<OriginTold>,
    /// Faults that are injected, and what was drawn.
    pub faults: Vec<Drawn>,
    /// The destinations of the rule and the one that was chosen.
    pub chosen: Option<Chosen>,
    /// How long all of it may take; `None` is for ever.
    pub timeout: Option<Span>,
    /// What the rule says of retries.
    pub retries: Option<Retrying>,
    /// The cluster, with its endpoints as they are.
    pub cluster: Option<ClusterTold>,
    /// Which header, cookie or address an endpoint is chosen by, and its hash if the request has it.
    pub hash: Option<(String, Option<u64>)>,
    /// What leaves for the endpoint.
    pub sent: Option<Sent>,
    /// Changes to the answer's headers, in order.
    pub response_edits: Vec<Edit>,
    /// What these changes, and those for pages of other origins and for cookies, make of an answer that has no headers.
    pub response_headers: crate::Headers,
    /// Who else may receive a copy.
    pub mirrors: Vec<MirrorTold>,
    /// What happens when, if no endpoint ever answers.
    pub timeline: Vec<Stretch>,
    /// The proxy's own answer, when nothing is sent anywhere.
    pub answer: Option<Answered>,
    /// The answer when every attempt fails as the timeline says.
    pub at_worst: Option<Answered>,
    /// Which block of which DestinationRule is in force, where whoever asks knows it.
    pub settings: Vec<Setting>,
    /// An object that would define the host, where rules are written for it and nothing else: as text, ready to be pasted.
    pub definition: Option<String>,
    /// What else is to be known, such as which address stands in for a name.
    pub notes: Vec<String>,
}

/// A block of settings that is in force, and where it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Such as `connectionPool`.
    pub block: String,
    /// Where in its object it stands, such as `subsets[v1].trafficPolicy`.
    pub part: String,
    /// The object and the place.
    pub origin: Origin,
}

/// What a rule does with a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// `forward`, `redirect` or `direct response`.
    pub what: &'static str,
    /// What it changes on the way, or answers; empty when there is nothing to say.
    pub how: String,
}

/// What a rule says of retries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retrying {
    /// Retries after the first attempt.
    pub attempts: u32,
    /// How long an attempt may take.
    pub per_try: Option<Span>,
    /// `retryOn`, statuses included.
    pub on: Vec<String>,
}

/// A cluster at a moment.
#[derive(Clone, PartialEq, Debug)]
pub struct ClusterTold {
    /// Istio's name for it.
    pub name: String,
    /// The service's host, without port.
    pub host: String,
    /// The subset, or empty.
    pub subset: String,
    /// The service that it was made from.
    pub origin: Origin,
    /// The DestinationRule whose policy it carries.
    pub policy: Option<Origin>,
    /// How an endpoint is chosen.
    pub balancer: String,
    /// Connections, pending, requests, retries: how many there are now, and how many there may be.
    pub limits: Vec<(String, u32, Option<u32>)>,
    /// Whether so few endpoints are healthy that all are used.
    pub panics: bool,
    /// In the configuration's order.
    pub endpoints: Vec<EndpointTold>,
    /// Why there is none, where whoever asks knows it.
    pub why_empty: Option<String>,
}

/// An endpoint at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointTold {
    /// Where it listens.
    pub address: String,
    /// Its labels, as `k=v,k=v`.
    pub labels: String,
    /// Its share of the traffic.
    pub weight: u32,
    /// 0 is the nearest; `None` takes nothing for where it is.
    pub level: Option<u32>,
    /// Requests under way to it.
    pub active: u32,
    /// Whether it is set aside.
    pub ejected: bool,
    /// In how long it may return, when it is.
    pub returns_in: Option<Span>,
    /// Whether the first attempt goes there.
    pub picked: bool,
}

/// What leaves for the endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// Path and query.
    pub path: String,
    /// Host.
    pub authority: String,
    /// All headers.
    pub headers: crate::Headers,
    /// How they were changed, in order.
    pub edits: Vec<Edit>,
}

/// A change to headers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// `remove`, `set` or `add`.
    pub verb: &'static str,
    /// The header.
    pub name: String,
    /// The value; empty for `remove`.
    pub value: String,
    /// Whether it is the destination's own change or the route's.
    pub of_destination: bool,
}

/// An answer of the proxy's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// Envoy's response flags.
    pub flags: String,
    /// Envoy's response code details.
    pub details: String,
    /// The code in `x-leeboard-reason`.
    pub reason: &'static str,
    /// Where a redirect points.
    pub location: Option<String>,
    /// The body, of a direct response.
    pub body: Option<String>,
}

/// Addresses for the names of a configuration where nobody can be asked for them, each with a note that says so: one for each
/// name, out of the block that RFC 2544 sets aside for measurements.
pub fn stand_ins(snapshot: &Snapshot) -> (Resolved, Vec<String>) {
    let names = snapshot.clusters().iter().flat_map(|cluster| match &cluster.discovery {
        Discovery::Dns(names) => names.as_slice(),
        Discovery::DnsFirst(name) => std::slice::from_ref(name),
        Discovery::Static(_) | Discovery::Original => &[],
    });
    let names: BTreeSet<&Arc<str>> =
        names.map(|name| &name.name).filter(|name| name.parse::<IpAddr>().is_err()).collect();
    let address = |index: u32| IpAddr::from(Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 1).to_bits() + index));
    let resolved: Resolved =
        (0u32..).zip(names).map(|(index, name)| (name.clone(), vec![address(index % (1 << 17))])).collect();
    let notes = resolved.iter().map(|(name, ips)| format!("{} stands for {name}, which is not resolved here", ips[0]));
    let notes = notes.collect();
    (resolved, notes)
}

/// Explains what the policy decides at `now`. What `live` holds is left as it is.
pub fn explain(live: &Live, question: &Question, now: Time) -> Explanation {
    let copy = Arc::new(live.detached());
    let head = Message::of_request(question.request.clone());
    let mut told = listening::Told::new(&copy, &head);
    let dice = Dice(question.seed);
    let (mut exchange, step) =
        Exchange::begin_narrated(&copy, question.entrance, &head, question.caller, dice, now, &mut told);
    exchange.received(now);
    let head = Message { client: Some(exchange.client()), ..head.clone() };
    let (sent, response_edits) = (sent(&exchange, &head), response_edits(&exchange, &head));
    let played = timeline::run(&mut exchange, step, now);
    if played.tried() {
        exchange.copies_narrated(&mut told);
    }
    let first = played.timeline.iter().find(|stretch| stretch.attempt == Some(1));
    let picked = first.and_then(|stretch| stretch.endpoint.as_deref());
    let described = exchange.cluster().zip(exchange.described());
    let found = |rule: &Route| Found { name: rule.name.to_string(), by: String::new(), origin: rule.origin.clone() };
    Explanation {
        request: question.request.clone(),
        seed: question.seed,
        rule: exchange.route().map(found),
        action: exchange.route().map(|route| words::action(&route.action, head.path().0)),
        retries: exchange.retry_policy().map(words::retrying),
        cluster: described.map(|(copy, cluster)| told_of(live.cluster(copy.id), cluster, picked, now)),
        sent: sent.filter(|_| played.tried()),
        response_edits,
        response_headers: response_headers(live, question, &head, now),
        timeline: played.timeline,
        answer: played.answer,
        at_worst: played.at_worst,
        ..told.into_explanation()
    }
}

fn told_of(live: &LiveCluster, cluster: &Cluster, picked: Option<&str>, now: Time) -> ClusterTold {
    let endpoints = live.endpoints().iter().enumerate().map(|(index, endpoint)| EndpointTold {
        address: endpoint.address().to_string(),
        labels: words::labels(&endpoint.spec.workload),
        weight: endpoint.weight(),
        level: live.level(index),
        active: endpoint.active(),
        ejected: endpoint.ejected(),
        returns_in: live.returns(endpoint).map(|at| at - now),
        picked: picked.is_some_and(|picked| endpoint.address().to_string() == picked),
    });
    let endpoints: Vec<_> = endpoints.collect();
    let healthy = endpoints.iter().filter(|endpoint| !endpoint.ejected).count();
    let limits = Limit::ALL.map(|limit| {
        let most = match limit {
            Limit::Retries => live.most_retries(now),
            _ => live.limits().most(limit),
        };
        (words::limit(limit).to_owned(), live.counts.current(limit), most)
    });
    ClusterTold {
        name: cluster.name.to_string(),
        host: cluster.service.host.to_string(),
        subset: cluster.service.subset.to_string(),
        origin: cluster.origin.clone(),
        policy: cluster.policy_origin.clone(),
        balancer: words::balancer(&cluster.balancer),
        limits: limits.into(),
        panics: leeboard_policy::balance::panics(healthy, endpoints.len(), cluster.panic_percent),
        endpoints,
        why_empty: None,
    }
}

/// What would leave for an endpoint; `None` when the rule sends nothing anywhere.
fn sent(exchange: &Exchange, head: &Message) -> Option<Sent> {
    let forward = exchange.forwarding()?;
    let mut edited = head.clone();
    exchange.edit_request(&mut edited);
    let several = forward.destinations.len() > 1;
    let own = exchange.chosen().map(|destination| &destination.request_headers);
    Some(Sent {
        path: exchange.path().unwrap_or(&head.request.path).to_owned(),
        authority: exchange.authority().unwrap_or(&head.request.authority).to_owned(),
        headers: edited.request.headers,
        edits: edits(Some(&forward.request_headers), own, several, head),
    })
}

/// Plays the exchange to an answer, an endpoint's if there is one, and sees what becomes of its headers.
fn response_headers(live: &Live, question: &Question, head: &Message, now: Time) -> crate::Headers {
    let copy = Arc::new(live.detached());
    let dice = Dice(question.seed);
    let (mut exchange, mut step) = Exchange::begin(&copy, question.entrance, head, question.caller, dice, now);
    exchange.received(now);
    let ok = ResponseHead { status: 200, grpc_status: None, rate_limited: false };
    for _ in 0..timeline::MOST {
        step = match step {
            Step::Wait(until) => exchange.woke(Replay::Whole, until),
            Step::Try(_) => exchange.after(Outcome::Response(ok), Replay::Whole, now),
            Step::Forward | Step::Reply(_) => break,
        };
    }
    let mut head = head.clone();
    if exchange.attempts() > 0 {
        exchange.edit_request(&mut head);
        let request = &mut head.request;
        if let Some(path) = exchange.path() {
            path.clone_into(&mut request.path);
        }
        if let Some(authority) = exchange.authority() {
            authority.clone_into(&mut request.authority);
        }
    }
    let mut answered = head.answered(crate::Headers::new());
    exchange.edit_response(&mut answered);
    answered.response.unwrap_or_default()
}

fn response_edits(exchange: &Exchange, head: &Message) -> Vec<Edit> {
    match exchange.route().map(|route| &route.action) {
        Some(Does::Forward(forward)) => {
            let own = exchange.chosen().map(|destination| &destination.response_headers);
            edits(Some(&forward.response_headers), own, forward.destinations.len() > 1, head)
        }
        Some(Does::Redirect(redirect)) => edits(Some(&redirect.response_headers), None, false, head),
        Some(Does::Direct(direct)) => edits(Some(&direct.response_headers), None, false, head),
        None => Vec::new(),
    }
}

/// The changes in the order in which they are made: with several destinations the destination's own come first.
fn edits(route: Option<&HeaderOps>, own: Option<&HeaderOps>, several: bool, facts: &impl Facts) -> Vec<Edit> {
    let mut all = Vec::new();
    let (first, second) = if several { ((own, true), (route, false)) } else { ((route, false), (own, true)) };
    for (ops, of_destination) in [first, second] {
        let Some(changes) = ops else { continue };
        let edit = |verb, name: &Arc<str>, value: String| Edit { verb, name: name.to_string(), value, of_destination };
        all.extend(changes.remove.iter().map(|name| edit("remove", name, String::new())));
        for (verb, list) in [("set", &changes.set), ("add", &changes.add)] {
            all.extend(list.iter().map(|(name, template)| {
                let mut value = Vec::new();
                template.render(facts, &mut value);
                edit(verb, name, crate::text(&value))
            }));
        }
    }
    all
}

impl Answered {
    fn of(reply: &Reply, flags: String) -> Self {
        Self {
            status: reply.answer.status,
            flags,
            details: reply.answer.details.to_string(),
            reason: reply.answer.reason,
            location: reply.location.clone(),
            body: reply.body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned()),
        }
    }
}
