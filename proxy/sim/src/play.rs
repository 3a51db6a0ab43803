//! The loop: whose turn it is, what the policy asks for, and what comes of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use leeboard_policy::exchange::Exchange;
use leeboard_policy::fairness::{PendingQueue, Ticket};
use leeboard_policy::limits::{Limit, Slot};
use leeboard_policy::request::{Caller, Entrance};
use leeboard_policy::rewrite::normalise;
use leeboard_policy::step::{Attempt, End, Outcome, Replay, Reply, Step};
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::Failure;

use crate::message::by_name;
use crate::{Arrival, Conduct, Event, Message, Request, Seen, World};

/// The application beside the proxy, and the connection that all its requests come on.
const CALLER: Caller = Caller { remote: local(40_000), local: local(15_001) };

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Exchanges under way in a world.
pub(crate) struct Play<'w> {
    world: &'w mut World,
    /// By their number, and so in the order in which they began.
    running: BTreeMap<u64, Actor<'w>>,
    /// Who waits for a connection, by cluster.
    queues: BTreeMap<Arc<str>, PendingQueue<u64>>,
    over: BTreeMap<u64, Seen>,
}

/// One exchange under way. Dropping it gives back all it holds.
struct Actor<'w> {
    number: u64,
    script: &'w [Conduct],
    head: Message,
    exchange: Exchange,
    met: usize,
    doing: Doing,
    connection: Option<Slot>,
    /// Whether the head has taken its form and the copies have left.
    sent: bool,
    /// How long the body of the response takes, and whether the endpoint then breaks off.
    body: (Span, Option<Failure>),
    seen: Seen,
}

/// What happens to an exchange besides its own ticks.
enum Doing {
    /// It waits for a tick only.
    Waiting,
    /// It queues for a connection, with a place among the pending.
    Queueing { _place: Slot, ticket: Ticket, conduct: Conduct },
    /// An outcome comes at a time.
    Until(Time, Outcome),
    /// The response is passed on and ends at a time, unless the route's timeout is over before.
    Streaming(Time, End),
}

impl<'w> Play<'w> {
    pub(crate) fn new(world: &'w mut World) -> Self {
        Self { world, running: BTreeMap::new(), queues: BTreeMap::new(), over: BTreeMap::new() }
    }

    pub(crate) fn run(mut self, arrivals: &'w [Arrival]) -> Vec<Seen> {
        let mut arrivals = arrivals.iter().peekable();
        loop {
            let next = self.next_event();
            let arrival = arrivals.next_if(|arrival| next.is_none_or(|(at, _)| arrival.at <= at));
            match (arrival, next) {
                (Some(arrival), _) => {
                    self.world.pass_until(arrival.at);
                    self.begin(arrival);
                }
                (None, Some((at, number))) => {
                    self.world.pass_until(at);
                    self.happen(number);
                }
                (None, None) => break,
            }
            self.serve_queues();
        }
        for (number, actor) in self.running {
            self.world.note(Some(number), Event::Abandoned);
            self.over.insert(number, actor.seen);
        }
        self.over.into_values().collect()
    }

    /// When the next thing happens to an exchange, and to which: of several the one that began first.
    fn next_event(&self) -> Option<(Time, u64)> {
        self.running.values().filter_map(|actor| Some((actor.next_event()?, actor.number))).min()
    }

    fn begin(&mut self, arrival: &'w Arrival) {
        let now = self.world.now();
        let (number, dice) = self.world.next_exchange();
        let path = normalise(&arrival.request.path).expect("the path is legal").into_owned();
        let head = Message::of_request(Request { path, ..arrival.request.clone() });
        let entrance = Entrance::Outbound { port: None };
        let (mut exchange, step) = Exchange::begin(self.world.live(), entrance, &head, CALLER, dice, now);
        exchange.received(now);
        let route = exchange.route().map(|route| route.name.clone());
        let cluster = exchange.cluster().map(|cluster| cluster.name.clone());
        let seen = Seen {
            route: route.clone().unwrap_or_default(),
            cluster: cluster.clone().unwrap_or_default(),
            began: now,
            ..Seen::default()
        };
        self.world.note(Some(number), Event::Began { route, cluster });
        let (script, doing, body) = (&arrival.script[..], Doing::Waiting, (Span(0), None));
        self.perform(
            Actor { number, script, head, exchange, met: 0, doing, connection: None, sent: false, body, seen },
            step,
        );
    }

    /// Does what the exchange asks for, and all that follows without time passing.
    fn perform(&mut self, mut actor: Actor<'w>, first: Step) {
        let mut next = Some(first);
        while let Some(step) = next {
            if !matches!(step, Step::Forward) {
                actor.connection = None;
            }
            actor.doing = Doing::Waiting;
            for event in actor.exchange.take_events() {
                self.world.note(Some(actor.number), Event::Outlier(event));
            }
            next = match step {
                Step::Wait(until) => {
                    self.world.note(Some(actor.number), Event::Waits { until });
                    None
                }
                Step::Try(attempt) => self.attempt(&mut actor, &attempt),
                Step::Forward => return self.forward(actor),
                Step::Reply(reply) => return self.reply(actor, *reply),
            };
        }
        self.running.insert(actor.number, actor);
    }

    fn attempt(&mut self, actor: &mut Actor<'w>, attempt: &Attempt) -> Option<Step> {
        let address = attempt.endpoint.as_ref().map(|endpoint| endpoint.address().clone());
        let scripted = actor.script.get(actor.met).or(actor.script.last()).copied();
        let told = address.as_ref().and_then(|address| self.world.conduct_of(address));
        let conduct = told.or(scripted).unwrap_or(Conduct::status(200));
        actor.met += 1;
        let (number, fresh) = (attempt.number, attempt.fresh);
        self.world.note(Some(actor.number), Event::Tries { endpoint: address.clone(), number, fresh });
        if !fresh {
            actor.seen.endpoints.extend(address);
            actor.seen.attempts = number;
        }
        if !std::mem::replace(&mut actor.sent, true) {
            actor.send_on();
        }
        let cluster = actor.exchange.cluster().expect("an attempt has a cluster").clone();
        let open = self.queues.entry(cluster.name.clone()).or_default().is_open();
        if !open {
            cluster.counts.turned_away(Limit::Connections);
        } else if let Some(slot) = cluster.take(Limit::Connections) {
            return self.connect(actor, slot, conduct);
        }
        match cluster.take(Limit::Pending) {
            Some(place) => {
                self.world.note(Some(actor.number), Event::Queues);
                let ticket = self.queues.entry(cluster.name.clone()).or_default().join(actor.number);
                actor.doing = Doing::Queueing { _place: place, ticket, conduct };
                None
            }
            None => Some(self.meet(actor, failed(Failure::Overflow, false))),
        }
    }

    /// What an attempt with a place for its connection comes to; `None` when time must pass.
    fn connect(&mut self, actor: &mut Actor<'w>, slot: Slot, conduct: Conduct) -> Option<Step> {
        let now = self.world.now();
        self.world.note(Some(actor.number), Event::Connects);
        actor.connection = Some(slot);
        actor.body = match conduct {
            Conduct::Streams { body, breaks, .. } => (body, breaks),
            _ => (Span(0), None),
        };
        actor.seen.started.get_or_insert(now - actor.seen.began);
        if !matches!(conduct, Conduct::Unreachable) && !matches!(conduct, Conduct::Fails(f) if f.is_connect()) {
            self.world.note(Some(actor.number), Event::Connected);
            actor.exchange.connected(now);
        }
        let (pause, outcome) = match conduct {
            Conduct::Unreachable => {
                let id = actor.exchange.cluster().expect("an attempt has a cluster").id;
                let timeout = self.world.live().snapshot().cluster(id).connection.connect_timeout;
                (timeout, failed(Failure::ConnectTimeout, false))
            }
            Conduct::Fails(failure) => (Span(0), failed(failure, !failure.is_connect())),
            Conduct::Answers(head, after) | Conduct::Streams { head, after, .. } => (after, Outcome::Response(head)),
            Conduct::Hangs => return None,
        };
        if pause == Span(0) {
            return Some(self.meet(actor, outcome));
        }
        actor.doing = Doing::Until(now + pause, outcome);
        None
    }

    /// Tells the policy how an attempt ended.
    fn meet(&mut self, actor: &mut Actor<'w>, outcome: Outcome) -> Step {
        self.world.note(Some(actor.number), Event::Meets(outcome));
        if let Outcome::Response(head) = outcome {
            actor.seen.status = head.status;
            actor.seen.grpc_status = head.grpc_status;
        }
        actor.exchange.after(outcome, Replay::Whole, self.world.now())
    }

    /// What is due with an exchange now: an outcome, or a tick of its own.
    fn happen(&mut self, number: u64) {
        let now = self.world.now();
        let Some(mut actor) = self.running.remove(&number) else { return };
        let step = match actor.doing {
            Doing::Until(at, outcome) if at <= now => self.meet(&mut actor, outcome),
            Doing::Streaming(at, end) => return self.end(actor, if at <= now { end } else { End::TimedOut }),
            _ => {
                if let (Doing::Queueing { ticket, .. }, Some(cluster)) = (&actor.doing, actor.exchange.cluster()) {
                    self.queues.entry(cluster.name.clone()).or_default().leave(*ticket);
                }
                let reason = actor.exchange.next_tick().map_or("", |(_, reason)| reason);
                self.world.note(Some(number), Event::Wakes(reason));
                actor.exchange.woke(Replay::Whole, now)
            }
        };
        self.perform(actor, step);
    }

    /// Gives connections that have become free to those who wait for one of that cluster.
    fn serve_queues(&mut self) {
        while let Some(number) = self.next_in_queue() {
            let Some(mut actor) = self.running.remove(&number) else { continue };
            let slot = actor.exchange.cluster().and_then(|cluster| cluster.take(Limit::Connections));
            match (std::mem::replace(&mut actor.doing, Doing::Waiting), slot) {
                (Doing::Queueing { conduct, .. }, Some(slot)) => match self.connect(&mut actor, slot, conduct) {
                    Some(step) => self.perform(actor, step),
                    None => drop(self.running.insert(number, actor)),
                },
                (doing, _) => drop(self.running.insert(number, Actor { doing, ..actor })),
            }
        }
    }

    /// Who waits and can have a connection now. It is looked for without asking, since a place that is refused counts as an
    /// overflow.
    fn next_in_queue(&mut self) -> Option<u64> {
        let running = &self.running;
        self.queues.values_mut().find_map(|queue| {
            let cluster = running.get(queue.first()?)?.exchange.cluster()?;
            let most = cluster.limits().most(Limit::Connections);
            let free = most.is_none_or(|most| cluster.counts.current(Limit::Connections) < most);
            let number = if free { queue.call() } else { None }?;
            queue.looked();
            Some(number)
        })
    }

    fn forward(&mut self, mut actor: Actor<'w>) {
        self.world.note(Some(actor.number), Event::Forwards { status: actor.seen.status });
        let (body, breaks) = actor.body;
        let end = breaks.map_or(End::Complete { grpc_status: actor.seen.grpc_status }, End::Broken);
        if body == Span(0) {
            return self.end(actor, end);
        }
        actor.doing = Doing::Streaming(self.world.now() + body, end);
        self.running.insert(actor.number, actor);
    }

    /// Tells the policy how a response that was passed on ended.
    fn end(&mut self, mut actor: Actor<'w>, end: End) {
        self.world.note(Some(actor.number), Event::Ends(end));
        actor.exchange.ended(end, self.world.now());
        for event in actor.exchange.take_events() {
            self.world.note(Some(actor.number), Event::Outlier(event));
        }
        actor.seen.details = end.details().unwrap_or("via_upstream".into()).into_owned();
        self.finish(actor, Vec::new());
    }

    fn reply(&mut self, mut actor: Actor<'w>, reply: Reply) {
        self.world.note(Some(actor.number), Event::Replies(reply.verdict));
        let seen = &mut actor.seen;
        seen.status = if reply.grpc_status.is_some() { 200 } else { reply.answer.status };
        seen.details = reply.answer.details.into_owned();
        seen.reason = reply.answer.reason.into();
        seen.body = match reply.body {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => reply.answer.body.into_owned(),
        };
        seen.grpc_status = reply.grpc_status;
        seen.location = reply.location.unwrap_or_default();
        let overloaded = reply.answer.overloaded.then(|| ("x-envoy-overloaded".to_owned(), b"true".to_vec()));
        self.finish(actor, overloaded.into_iter().collect());
    }

    fn finish(&mut self, mut actor: Actor<'w>, headers: crate::Headers) {
        let mut response = actor.head.answered(headers);
        actor.exchange.edit_response(&mut response);
        actor.seen.response_headers = by_name(response.response.as_deref().unwrap_or_default());
        actor.seen.flags = actor.exchange.flags().to_string();
        actor.seen.took = self.world.now() - actor.seen.began;
        self.over.insert(actor.number, actor.seen);
    }
}

impl Actor<'_> {
    fn next_event(&self) -> Option<Time> {
        let outcome = match &self.doing {
            Doing::Until(at, _) | Doing::Streaming(at, _) => Some(*at),
            Doing::Waiting | Doing::Queueing { .. } => None,
        };
        outcome.into_iter().chain(self.exchange.next_tick().map(|(at, _)| at)).min()
    }

    /// Makes the changes to the request's head, and the copies.
    fn send_on(&mut self) {
        let mut sent = self.head.clone();
        self.exchange.edit_request(&mut sent);
        self.seen.path = self.exchange.path().unwrap_or(&self.head.request.path).to_owned();
        self.seen.authority = self.exchange.authority().unwrap_or(&self.head.request.authority).to_owned();
        self.seen.request_headers = by_name(&sent.request.headers);
        self.seen.mirrors = self.exchange.copies().iter().map(|copy| copy.cluster.name.clone()).collect();
    }
}

fn failed(failure: Failure, written: bool) -> Outcome {
    Outcome::Failed { failure, reused: false, written }
}
