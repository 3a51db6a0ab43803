//! Plays exchanges in virtual time: the clock, the connections and the endpoints are played, every decision is the policy's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use leeboard_policy::cluster::{Balancer, Cluster, Discovery, DnsSpec, Protocol};
use leeboard_policy::dice::Dice;
use leeboard_policy::exchange::Exchange;
use leeboard_policy::limits::{Limit, Slot};
use leeboard_policy::live::Live;
use leeboard_policy::request::{Caller, Entrance};
use leeboard_policy::rewrite::normalise;
use leeboard_policy::step::{Attempt, End, Outcome, Reply, Step};
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::Failure;

use crate::exchanges::{Meet, Request, Spec};
use crate::message::{Message, by_name};

/// What a block of exchanges is played in.
#[derive(Debug)]
pub(crate) struct World {
    live: Arc<Live>,
    now: Time,
    seed: u64,
    endpoints: BTreeMap<String, Meet>,
}

/// What came of some exchanges.
#[derive(Debug)]
pub(crate) struct Played {
    /// Each of them, in the order in which they began.
    pub(crate) seen: Vec<Seen>,
    /// Which endpoints of their last cluster rest now.
    pub(crate) ejected: BTreeSet<String>,
}

/// What was seen of one exchange.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The rule's name; empty without one.
    pub(crate) route: String,
    /// The cluster's name; empty without one.
    pub(crate) cluster: String,
    /// What the cluster's policy is.
    pub(crate) policy: Policy,
    /// Where its attempts went, in order.
    pub(crate) endpoints: Vec<String>,
    /// Path and query as sent on.
    pub(crate) path: String,
    /// Authority as sent on.
    pub(crate) authority: String,
    /// Headers as sent on.
    pub(crate) request_headers: BTreeMap<String, Vec<String>>,
    /// The answer's status.
    pub(crate) status: u16,
    /// Response flags.
    pub(crate) flags: String,
    /// Response code details.
    pub(crate) details: String,
    /// The reason's code; empty when an endpoint answered.
    pub(crate) reason: String,
    /// The body of the proxy's own answer.
    pub(crate) body: String,
    /// The gRPC status of the proxy's own answer.
    pub(crate) grpc_status: Option<u16>,
    /// Where a redirect points; empty without one.
    pub(crate) location: String,
    /// The answer's headers as changed by the route.
    pub(crate) response_headers: BTreeMap<String, Vec<String>>,
    /// How many attempts were made.
    pub(crate) attempts: u32,
    /// Which clusters received a copy.
    pub(crate) mirrors: Vec<String>,
    /// How long its first attempt waited for a connection, if it got one.
    pub(crate) started: Option<Duration>,
    /// How long all of it took.
    pub(crate) took: Duration,
}

/// A cluster's policy in the words of the cases.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// The balancer.
    pub(crate) balancer: &'static str,
    /// Limits by name; `none` without one.
    pub(crate) limits: BTreeMap<&'static str, String>,
    /// Whether it ejects.
    pub(crate) outlier: bool,
    /// What its endpoints are spoken to in.
    pub(crate) protocol: &'static str,
    /// Its endpoints, or the names that DNS is asked for.
    pub(crate) members: String,
}

/// One exchange under way.
struct Actor<'s> {
    spec: &'s Spec,
    head: Message,
    exchange: Exchange,
    began: Time,
    next_meet: usize,
    doing: Doing,
    connection: Option<Slot>,
    seen: Seen,
}

/// What happens to an exchange besides its own ticks.
enum Doing {
    /// It waits for a tick only.
    Waiting,
    /// It queues for a connection, with a place among the pending.
    Queueing { _place: Slot, meet: Meet },
    /// An outcome comes at a time.
    Until(Time, Outcome, Option<Meet>),
    /// It is over.
    Over,
}

impl World {
    /// A quiet world at time zero.
    pub(crate) fn new(live: Live) -> Self {
        Self { live: Arc::new(live), now: Time(0), seed: 0, endpoints: BTreeMap::new() }
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.pass_until(self.now + span(time));
    }

    /// Makes an endpoint do this from now on.
    pub(crate) fn set_endpoint(&mut self, address: &str, meet: Meet) {
        self.endpoints.insert(address.into(), meet);
    }

    /// Plays `count` exchanges.
    pub(crate) fn play(&mut self, spec: &Spec, count: usize) -> Played {
        let mut seen = Vec::with_capacity(count);
        if spec.at_once {
            seen = self.together(spec, count);
        } else {
            (0..count).for_each(|_| seen.extend(self.together(spec, 1)));
        }
        let cluster = seen.last().and_then(|one| self.live.snapshot().cluster_named(&one.cluster));
        let endpoints = cluster.map_or(&[][..], |id| self.live.cluster(id).endpoints());
        let ejected = endpoints.iter().filter(|e| e.ejected()).map(|e| e.address().to_string()).collect();
        Played { seen, ejected }
    }

    fn pass_until(&mut self, then: Time) {
        while let Some(due) = self.live.next_sweep().filter(|due| *due <= then) {
            self.now = due;
            self.live.sweep(due);
        }
        self.now = then;
    }

    fn together(&mut self, spec: &Spec, count: usize) -> Vec<Seen> {
        let mut actors = Vec::with_capacity(count);
        let mut queue = VecDeque::new();
        for index in 0..count {
            let (actor, step) = self.begin(spec);
            actors.push(actor);
            self.perform(&mut actors[index], step, index, &mut queue);
            self.serve_queue(&mut actors, &mut queue);
        }
        while let Some((index, at)) = next_event(&actors) {
            self.pass_until(at);
            self.happen(&mut actors[index], index, &mut queue);
            self.serve_queue(&mut actors, &mut queue);
        }
        actors.into_iter().map(|actor| actor.seen).collect()
    }

    fn begin<'s>(&mut self, spec: &'s Spec) -> (Actor<'s>, Step) {
        self.seed += 1;
        let path = normalise(&spec.request.path).expect("cases have legal paths").into_owned();
        let head = Message::of_request(Request { path, ..spec.request.clone() });
        let caller = Caller { ip: Ipv4Addr::LOCALHOST.into() };
        let entrance = Entrance::Outbound { port: None };
        let (mut exchange, step) = Exchange::begin(&self.live, entrance, &head, caller, Dice(self.seed), self.now);
        exchange.received(self.now);
        let mut seen =
            Seen { route: exchange.route().map_or_else(String::new, |r| r.name.to_string()), ..Seen::default() };
        if let Some(cluster) = exchange.cluster() {
            seen.cluster = cluster.name.to_string();
            seen.policy = policy_of(self.live.snapshot().cluster(cluster.id));
        }
        let (began, doing) = (self.now, Doing::Waiting);
        (Actor { spec, head, exchange, began, next_meet: 0, doing, connection: None, seen }, step)
    }

    /// Does what the exchange asks for, and all that follows without time passing.
    fn perform(&mut self, actor: &mut Actor<'_>, first: Step, index: usize, queue: &mut VecDeque<usize>) {
        let mut next = Some(first);
        while let Some(step) = next {
            actor.connection = None;
            actor.doing = Doing::Waiting;
            next = match step {
                Step::Wait(_) => None,
                Step::Try(attempt) => self.attempt(actor, &attempt, index, queue),
                Step::Forward => {
                    actor.forwarded(self.now);
                    None
                }
                Step::Reply(reply) => {
                    actor.replied(reply, self.now);
                    None
                }
            };
        }
    }

    fn attempt(
        &mut self,
        actor: &mut Actor<'_>,
        attempt: &Attempt,
        index: usize,
        queue: &mut VecDeque<usize>,
    ) -> Option<Step> {
        let address = attempt.endpoint.as_ref().map(|endpoint| endpoint.address().to_string());
        let script = &actor.spec.upstream;
        let scripted = script[actor.next_meet.min(script.len() - 1)];
        actor.next_meet += 1;
        let meet = address.as_ref().and_then(|address| self.endpoints.get(address)).copied().unwrap_or(scripted);
        if !attempt.fresh {
            actor.seen.endpoints.extend(address);
            actor.seen.attempts = attempt.number;
        }
        if attempt.number == 1 && !attempt.fresh {
            actor.send_on();
        }
        let cluster = actor.exchange.cluster().expect("an attempt has a cluster").clone();
        if let Some(slot) = cluster.take(Limit::Connections) {
            actor.connection = Some(slot);
            return self.connected(actor, meet);
        }
        match cluster.take(Limit::Pending) {
            Some(place) => {
                actor.doing = Doing::Queueing { _place: place, meet };
                queue.push_back(index);
                None
            }
            None => {
                let outcome = Outcome::Failed { failure: Failure::Overflow, reused: false, written: false };
                Some(actor.exchange.after(outcome, true, self.now))
            }
        }
    }

    /// What an attempt with a place for its connection comes to.
    fn connected(&mut self, actor: &mut Actor<'_>, meet: Meet) -> Option<Step> {
        if actor.seen.started.is_none() {
            actor.seen.started = Some(duration(self.now - actor.began));
        }
        let id = actor.exchange.cluster().expect("an attempt has a cluster").id;
        let failed = |failure, written| Outcome::Failed { failure, reused: false, written };
        let (pause, outcome) = match meet {
            Meet::Unreachable => {
                let timeout = self.live.snapshot().cluster(id).connection.connect_timeout;
                (timeout, failed(Failure::ConnectTimeout, false))
            }
            Meet::Fails(Failure::ConnectRefused) => (Span(0), failed(Failure::ConnectRefused, false)),
            Meet::Fails(failure) => {
                actor.exchange.connected(self.now);
                (Span(0), failed(failure, true))
            }
            Meet::Never => {
                actor.exchange.connected(self.now);
                return None;
            }
            Meet::Answer(head, after) => {
                actor.exchange.connected(self.now);
                (span(after), Outcome::Response(head))
            }
        };
        if pause == Span(0) {
            actor.answered_by(meet);
            return Some(actor.exchange.after(outcome, true, self.now));
        }
        actor.doing = Doing::Until(self.now + pause, outcome, Some(meet));
        None
    }

    /// The earliest thing that happens to an exchange: an outcome, or a tick of its own.
    fn happen(&mut self, actor: &mut Actor<'_>, index: usize, queue: &mut VecDeque<usize>) {
        let outcome = match &actor.doing {
            Doing::Until(at, outcome, meet) if *at <= self.now => Some((*outcome, *meet)),
            _ => None,
        };
        let step = match outcome {
            Some((outcome, meet)) => {
                meet.into_iter().for_each(|meet| actor.answered_by(meet));
                actor.exchange.after(outcome, true, self.now)
            }
            None => {
                queue.retain(|waiting| *waiting != index);
                actor.exchange.woke(self.now)
            }
        };
        self.perform(actor, step, index, queue);
    }

    /// Gives connections that have become free to those who wait, first come first served.
    fn serve_queue(&mut self, actors: &mut [Actor<'_>], queue: &mut VecDeque<usize>) {
        while let Some(&index) = queue.front() {
            let actor = &mut actors[index];
            let cluster = actor.exchange.cluster().expect("an attempt has a cluster").clone();
            let Some(slot) = cluster.take(Limit::Connections) else { return };
            queue.pop_front();
            let Doing::Queueing { meet, .. } = std::mem::replace(&mut actor.doing, Doing::Waiting) else { continue };
            actor.connection = Some(slot);
            if let Some(step) = self.connected(actor, meet) {
                self.perform(actor, step, index, queue);
            }
        }
    }
}

/// Whose turn it is, and when: the earliest, and of several the one that began first.
fn next_event(actors: &[Actor<'_>]) -> Option<(usize, Time)> {
    let times = actors.iter().enumerate().filter_map(|(index, actor)| Some((index, actor.next_event()?)));
    times.min_by_key(|(index, at)| (*at, *index))
}

impl Actor<'_> {
    fn next_event(&self) -> Option<Time> {
        let outcome = match &self.doing {
            Doing::Over => return None,
            Doing::Until(at, ..) => Some(*at),
            Doing::Waiting | Doing::Queueing { .. } => None,
        };
        outcome.into_iter().chain(self.exchange.next_tick().map(|(at, _)| at)).min()
    }

    /// Makes the changes to the request's head, and the copies.
    fn send_on(&mut self) {
        let sent_path = self.exchange.path(&self.head.request.path);
        let authority = self.exchange.authority(&self.head);
        let mut sent = self.head.clone();
        self.exchange.edit_request(&mut sent);
        self.seen.path = sent_path.unwrap_or_else(|| self.head.request.path.clone());
        self.seen.authority = authority.unwrap_or_else(|| self.head.request.authority.clone());
        self.seen.request_headers = by_name(&sent.request.headers);
        self.seen.mirrors = self.exchange.copies().iter().map(|copy| copy.cluster.name.to_string()).collect();
    }

    fn answered_by(&mut self, meet: Meet) {
        if let Meet::Answer(head, _) = meet {
            self.seen.status = head.status;
            self.seen.grpc_status = head.grpc_status;
        }
    }

    fn forwarded(&mut self, now: Time) {
        self.exchange.ended(End::Complete { grpc_status: self.seen.grpc_status }, now);
        self.seen.details = "via_upstream".into();
        self.finish(now, Vec::new());
    }

    fn replied(&mut self, reply: Reply, now: Time) {
        self.seen.status = if reply.grpc_status.is_some() { 200 } else { reply.answer.status };
        self.seen.details = reply.answer.details.into_owned();
        self.seen.reason = reply.answer.reason.into();
        self.seen.body = match reply.body {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => reply.answer.body.into_owned(),
        };
        self.seen.grpc_status = reply.grpc_status;
        self.seen.location = reply.location.unwrap_or_default();
        let overloaded = reply.answer.overloaded.then(|| ("x-envoy-overloaded".to_owned(), "true".to_owned()));
        self.finish(now, overloaded.into_iter().collect());
    }

    fn finish(&mut self, now: Time, headers: Vec<(String, String)>) {
        let mut response = self.head.clone().answered(headers);
        self.exchange.edit_response(&mut response);
        self.seen.response_headers = by_name(response.response.as_deref().unwrap_or_default());
        self.seen.flags = self.exchange.flags().to_string();
        self.seen.took = duration(now - self.began);
        self.doing = Doing::Over;
    }
}

fn policy_of(cluster: &Cluster) -> Policy {
    let limits = &cluster.limits;
    let named = [
        ("connections", limits.connections),
        ("pending", limits.pending),
        ("requests", limits.requests),
        ("retries", limits.retries),
    ];
    Policy {
        balancer: match cluster.balancer {
            Balancer::LeastRequest => "least-request",
            Balancer::RoundRobin => "round-robin",
            Balancer::Random => "random",
            Balancer::RingHash { .. } => "ring-hash",
        },
        limits: named
            .into_iter()
            .map(|(name, most)| (name, most.map_or_else(|| "none".to_owned(), |most| most.to_string())))
            .collect(),
        outlier: cluster.outlier.is_some(),
        protocol: match cluster.protocol {
            Protocol::Http1 => "http1",
            Protocol::Http2 => "http2",
            Protocol::Client => "client",
        },
        members: members(&cluster.discovery),
    }
}

fn members(discovery: &Discovery) -> String {
    let name = |spec: &DnsSpec| format!("{}:{}", spec.name, spec.port);
    match discovery {
        Discovery::Static(specs) => specs.iter().map(|spec| spec.address.to_string()).collect::<Vec<_>>().join(" "),
        Discovery::Dns(specs) => specs.iter().map(name).collect::<Vec<_>>().join(" "),
        Discovery::DnsFirst(spec) => name(spec),
        Discovery::Original => "original".into(),
    }
}

fn span(time: Duration) -> Span {
    Span(u64::try_from(time.as_nanos()).expect("cases last less than five hundred years"))
}

fn duration(span: Span) -> Duration {
    Duration::from_nanos(span.0)
}
