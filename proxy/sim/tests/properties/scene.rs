//! Worlds to check properties in: one host, its destinations and their endpoints, most of it drawn from a seed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use leeboard_policy::cluster::{
    Address, Balancer, Cluster, ClusterId, Connection, Discovery, EndpointSpec, HashKey, Limits, LocalityPolicy,
    Protocol, Service,
};
use leeboard_policy::dice::{Dice, Purpose};
use leeboard_policy::headers::HeaderOps;
use leeboard_policy::limits::Limit;
use leeboard_policy::live::Live;
use leeboard_policy::origin::Origin;
use leeboard_policy::retry::ResponseHead;
use leeboard_policy::route::{Action, Destination, Forward, Match, Route, Target};
use leeboard_policy::snapshot::{Draft, Snapshot, VirtualHost};
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::Failure;
use leeboard_sim::{Arrival, Conduct, Entry, Request, World};

/// A test's own luck, apart from that of the exchanges.
pub(crate) struct Luck {
    dice: Dice,
    turn: u32,
}

impl Luck {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: Dice(!seed), turn: 0 }
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        self.turn += 1;
        least + self.dice.below(Purpose::RequestId, self.turn, most - least + 1)
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }

    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.between(0, choices.len() as u64 - 1) as usize].clone()
    }

    /// So many milliseconds, and some nanoseconds that keep events from coinciding.
    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Span {
        Span(Span::from_millis(self.between(least, most)).0 + self.between(1, 999))
    }

    pub(crate) fn balancer(&mut self) -> Balancer {
        let key = HashKey::Header("x-user".into());
        let ring = Balancer::RingHash { key: key.clone(), minimum_size: 64 };
        let table = Balancer::Maglev { key, table_size: 101 };
        self.one_of(&[Balancer::LeastRequest, Balancer::RoundRobin, Balancer::Random, ring, table])
    }

    pub(crate) fn request(&mut self) -> Request {
        let mut request = Request::get("a", "/");
        if self.percent(70) {
            request.headers.push(("x-user".into(), self.between(1, 20).to_string().into_bytes()));
        }
        request
    }

    /// What an attempt may meet. It comes to an end, if only by the connect timeout or a route's.
    pub(crate) fn conduct(&mut self) -> Conduct {
        let pause = self.millis(1, 400);
        match self.between(1, 12) {
            1..=3 => Conduct::after(200, pause),
            4 => Conduct::status(200),
            5 => Conduct::after(503, pause),
            6 => Conduct::status(500),
            7 => Conduct::after(404, pause),
            8 => Conduct::Fails(Failure::ConnectRefused),
            9 => Conduct::Fails(Failure::Terminated),
            10 | 11 => {
                let head = ResponseHead { status: self.one_of(&[200, 500]), grpc_status: None, rate_limited: false };
                let breaks = self.percent(40).then_some(Failure::Terminated);
                Conduct::Streams { head, after: pause, body: self.millis(1, 400), breaks }
            }
            _ => self.one_of(&[Conduct::Unreachable, Conduct::Hangs]),
        }
    }

    /// Requests over a while, each with a script of its own.
    pub(crate) fn arrivals(&mut self, count: usize, begin: Time, over: Span) -> Vec<Arrival> {
        let mut times: Vec<Time> = (0..count).map(|_| begin + Span(self.between(0, over.0))).collect();
        times.sort_unstable();
        let mut arrival = |at| {
            let script = (0..self.between(1, 5)).map(|_| self.conduct()).collect();
            Arrival { at, request: self.request(), script }
        };
        times.into_iter().map(&mut arrival).collect()
    }
}

/// One host `a` on port 80 with one route.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) weights: Vec<u32>,
    /// The route, without its destinations.
    pub(crate) forward: Forward,
}

impl Scene {
    /// As many clusters as numbers of endpoints.
    pub(crate) fn new(endpoints: &[usize]) -> Self {
        let clusters = endpoints.iter().enumerate().map(|(index, count)| cluster(index, *count)).collect();
        Self { clusters, weights: vec![1; endpoints.len()], forward: Forward::default() }
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        let destination = |(index, weight): (u32, &u32)| Destination {
            cluster: Target::Cluster(ClusterId(index)),
            weight: *weight,
            authority: None,
            request_headers: HeaderOps::default(),
            response_headers: HeaderOps::default(),
        };
        let destinations = (0u32..).zip(&self.weights).map(destination).collect();
        let route = Route {
            name: "r".into(),
            origin: Origin::built_in(),
            when: Match::default(),
            cors: None,
            action: Action::Forward(Box::new(Forward { destinations, ..self.forward.clone() })),
        };
        let host = VirtualHost {
            name: "a:80".into(),
            port: 80,
            domains: vec!["a".into()],
            routes: vec![route].into(),
            origin: Origin::built_in(),
        };
        Arc::new(Snapshot::new(Draft { hosts: vec![host], clusters: self.clusters.clone(), ..Draft::default() }))
    }

    pub(crate) fn world(&self, seed: u64) -> World {
        World::new(Live::adopt(None, self.snapshot(), &BTreeMap::new(), Time(0)), seed)
    }
}

fn cluster(index: usize, endpoints: usize) -> Cluster {
    let name: Arc<str> = format!("c{index}").into();
    let spec = |host: usize| EndpointSpec { address: address(index, host), weight: 1, workload: Arc::default() };
    Cluster {
        service: Service {
            host: name.clone(),
            name: name.clone(),
            namespace: "n".into(),
            port: 80,
            subset: "".into(),
            external: false,
        },
        name,
        discovery: Discovery::Static((0..endpoints).map(spec).collect()),
        protocol: Protocol::Http1,
        balancer: Balancer::LeastRequest,
        locality_policy: LocalityPolicy::default(),
        warmup: None,
        limits: Limits::default(),
        connection: Connection { connect_timeout: Span::from_millis(300), ..Connection::default() },
        outlier: None,
        panic_percent: 0,
        origin: Origin::built_in(),
        transport: None,
        policy_origin: None,
    }
}

pub(crate) fn address(cluster: usize, host: usize) -> Address {
    Address::Socket(SocketAddr::from((Ipv4Addr::new(10, 0, cluster as u8, host as u8), 80)))
}

/// What happened in each exchange, in order.
pub(crate) fn by_exchange(trace: &[Entry]) -> BTreeMap<u64, Vec<&Entry>> {
    let mut each: BTreeMap<u64, Vec<&Entry>> = BTreeMap::new();
    for entry in trace {
        each.entry(entry.exchange.unwrap_or(0)).or_default().push(entry);
    }
    each.remove(&0);
    each
}

/// Every place has been given back and no request is under way.
pub(crate) fn assert_quiet(world: &World) {
    for cluster in world.live().clusters() {
        for limit in Limit::ALL {
            assert_eq!(cluster.counts.current(limit), 0, "{limit:?} of {}", cluster.name);
        }
        for endpoint in cluster.endpoints() {
            assert_eq!(endpoint.active(), 0, "requests to {}", endpoint.address());
        }
    }
}
