//! The configurations and requests that are decided on.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use leeboard_istio::compile::{Site, compile};
use leeboard_istio::load;
use leeboard_istio::source::Source;
use leeboard_policy::dice::Dice;
use leeboard_policy::exchange::Exchange;
use leeboard_policy::live::{Live, Resolved};
use leeboard_policy::request::{Caller, Entrance};
use leeboard_policy::retry::ResponseHead;
use leeboard_policy::step::{End, Outcome, Replay, Step};
use leeboard_policy::time::Time;

use crate::request::Request;

/// One row.
pub(crate) struct Case {
    pub(crate) name: String,
    config: Box<dyn Fn() -> String>,
    request: Box<dyn Fn() -> Request>,
}

impl Case {
    fn new(
        name: impl Into<String>,
        config: impl Fn() -> String + 'static,
        request: impl Fn() -> Request + 'static,
    ) -> Self {
        Self { name: name.into(), config: Box::new(config), request: Box::new(request) }
    }

    /// Makes the configuration; what is returned decides on the request once per call.
    pub(crate) fn prepare(&self) -> impl FnMut(u64) + use<> {
        let loaded = load(&[Source::new("bench.yaml", (self.config)())]);
        assert_eq!(loaded.errors(), 0, "{}: {:?}", self.name, loaded.diagnostics);
        let (snapshot, _) = compile(&loaded.resources, &Site::default());
        let live = Arc::new(Live::adopt(None, Arc::new(snapshot), &Resolved::default(), Time(0)));
        let request = (self.request)();
        let (exchange, step) = decide(&live, &request, 0);
        assert!(matches!(step, Step::Forward), "{}: {step:?}", self.name);
        assert_eq!(exchange.route().map(|route| &*route.name), Some("wanted"), "{}", self.name);
        drop(exchange);
        move |seed| drop(decide(&live, &request, seed))
    }
}

/// A whole exchange of one attempt that goes well; the step after its response came.
fn decide(live: &Arc<Live>, request: &Request, seed: u64) -> (Exchange, Step) {
    const RESPONSE: ResponseHead = ResponseHead { status: 200, grpc_status: None, rate_limited: false };
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
    let caller = Caller { remote: here, local: here };
    let now = Time(1_000_000);
    let entrance = Entrance::Outbound { port: None };
    let (mut exchange, step) = Exchange::begin(live, entrance, request, caller, Dice(seed), now);
    debug_assert!(matches!(step, Step::Try(_)));
    drop(step);
    exchange.received(now);
    exchange.connected(now);
    let step = exchange.after(Outcome::Response(RESPONSE), Replay::Whole, now);
    exchange.ended(End::Complete { grpc_status: None }, now);
    (exchange, step)
}

/// All rows, in the order of the table.
pub(crate) fn all() -> Vec<Case> {
    let mut all = Vec::new();
    let ten = || Request::get(HOST, "/api/v1/products/7");
    for endpoints in [1, 3, 100] {
        let config = move || service(HOST, endpoints, 1) + &rule("LEAST_REQUEST") + &ten_rules();
        all.push(Case::new(format!("ten rules, {endpoints} endpoints"), config, ten));
    }
    let balancers = ["LEAST_REQUEST", "ROUND_ROBIN", "RANDOM", "consistentHash"];
    for (balancer, endpoints) in balancers.into_iter().flat_map(|balancer| [3, 100].map(|n| (balancer, n))) {
        let config = move || service(HOST, endpoints, 1) + &rule(balancer) + &routes(1, Kind::Exact);
        let request = || Kind::Exact.request(0).with("x-user", "jason");
        all.push(Case::new(format!("balancer {balancer}, {endpoints} endpoints"), config, request));
    }
    let config = || service(HOST, 3, 5) + &rule("LEAST_REQUEST") + &routes(1, Kind::Exact);
    all.push(Case::new("balancer LEAST_REQUEST, 3 endpoints of other weights", config, || Kind::Exact.request(0)));
    for kind in [Kind::Exact, Kind::Prefix, Kind::Header, Kind::Query, Kind::Mixed, Kind::Regex] {
        for count in [1, 10, 100, 1_000, 10_000] {
            let config = move || service(HOST, 3, 1) + &routes(count, kind);
            all.push(Case::new(format!("{count} {kind:?} routes, the last"), config, move || kind.request(count - 1)));
        }
    }
    for count in [1, 1_000] {
        let config = move || {
            let others: String = (1..count).map(|n| service(&format!("other-{n}.test"), 1, 1)).collect();
            service(HOST, 3, 1) + &others + &routes(1, Kind::Exact)
        };
        all.push(Case::new(format!("{count} hosts"), config, || Kind::Exact.request(0)));
    }
    all
}

const HOST: &str = "shop.test";

/// A service with so many endpoints, whose weights are 1 and go up to `heaviest`.
fn service(host: &str, endpoints: usize, heaviest: usize) -> String {
    let mut text = format!(
        "
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host}}}
spec:
  hosts: [{host}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints:
"
    );
    for n in 0..endpoints {
        let weight = 1 + n * heaviest.saturating_sub(1) / endpoints.max(2);
        let _ = writeln!(
            text,
            "  - {{address: 10.0.{}.{}, weight: {weight}, labels: {{version: v1}}}}",
            n / 250,
            n % 250 + 1
        );
    }
    text
}

/// A DestinationRule with everything that a decision looks at.
fn rule(balancer: &str) -> String {
    let balancer = match balancer {
        "consistentHash" => "consistentHash: {httpHeaderName: x-user}".to_owned(),
        simple => format!("simple: {simple}"),
    };
    format!(
        "
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shop}}
spec:
  host: {HOST}
  trafficPolicy:
    loadBalancer: {{{balancer}}}
    connectionPool: {{http: {{http2MaxRequests: 10000, maxRetries: 100}}}}
    outlierDetection: {{consecutive5xxErrors: 5, consecutiveGatewayErrors: 5}}
  subsets:
  - {{name: v1, labels: {{version: v1}}}}
"
    )
}

fn virtual_service(entries: &str) -> String {
    format!(
        "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop}}
spec:
  hosts: [{HOST}]
  http:
{entries}"
    )
}

/// Nine rules of all kinds that do not match, and a tenth with every feature that takes the request.
fn ten_rules() -> String {
    let other = format!("name: other, route: [{{destination: {{host: {HOST}, subset: v1}}}}]");
    virtual_service(&format!(
        "  - {{match: [{{headers: {{x-canary: {{exact: v2}}}}}}], {other}}}
  - {{match: [{{uri: {{exact: /healthz}}}}], {other}}}
  - {{match: [{{uri: {{prefix: /admin}}}}], {other}}}
  - {{match: [{{uri: {{prefix: /api/v2/}}}}], {other}}}
  - {{match: [{{uri: {{regex: '/files/[0-9]+'}}}}], {other}}}
  - {{match: [{{method: {{exact: DELETE}}}}], {other}}}
  - {{match: [{{headers: {{end-user: {{prefix: test-}}}}}}], {other}}}
  - {{match: [{{queryParams: {{debug: {{exact: '1'}}}}}}], {other}}}
  - {{match: [{{uri: {{prefix: /api/v1/orders}}, headers: {{x-tenant: {{exact: acme}}}}}}], {other}}}
  - name: wanted
    route:
    - destination: {{host: {HOST}, subset: v1}}
    timeout: 15s
    retries: {{attempts: 3, perTryTimeout: 5s, retryOn: '5xx,connect-failure,reset'}}
    fault:
      delay: {{percentage: {{value: 0}}, fixedDelay: 1s}}
      abort: {{percentage: {{value: 0}}, httpStatus: 503}}
    mirror: {{host: {HOST}, subset: v1}}
    mirrorPercentage: {{value: 0}}
"
    ))
}

/// What the routes of a long list look at.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Exact,
    Prefix,
    Header,
    Query,
    /// Exact paths, prefixes and headers in turn.
    Mixed,
    Regex,
}

impl Kind {
    fn of_route(self, n: usize) -> Self {
        match (self, n % 3) {
            (Kind::Mixed, 0) => Kind::Exact,
            (Kind::Mixed, 1) => Kind::Prefix,
            (Kind::Mixed, _) => Kind::Header,
            (kind, _) => kind,
        }
    }

    /// The match of the n-th route.
    fn condition(self, n: usize) -> String {
        match self.of_route(n) {
            Kind::Exact => format!("uri: {{exact: /api/v1/items/{n}}}"),
            Kind::Prefix => format!("uri: {{prefix: /api/v1/groups/{n}/}}"),
            Kind::Header => format!("uri: {{prefix: /api/}}, headers: {{x-user: {{exact: user-{n}}}}}"),
            Kind::Query => format!("queryParams: {{item: {{exact: '{n}'}}}}"),
            Kind::Regex | Kind::Mixed => format!("uri: {{regex: '/api/v[0-9]+/files/{n}(/.*)?'}}"),
        }
    }

    /// A request that the n-th route takes, and no other.
    fn request(self, n: usize) -> Request {
        match self.of_route(n) {
            Kind::Exact => Request::get(HOST, &format!("/api/v1/items/{n}")),
            Kind::Prefix => Request::get(HOST, &format!("/api/v1/groups/{n}/7?page=1")),
            Kind::Header => Request::get(HOST, "/api/v1/items/7").with("x-user", &format!("user-{n}")),
            Kind::Query => Request::get(HOST, &format!("/api/v1/items?page=1&item={n}")),
            Kind::Regex | Kind::Mixed => Request::get(HOST, &format!("/api/v1/files/{n}/x")),
        }
    }
}

/// So many routes of a kind, the last of which is wanted.
fn routes(count: usize, kind: Kind) -> String {
    let mut entries = String::new();
    for n in 0..count {
        let name = if n + 1 == count { "wanted" } else { "other" };
        let condition = kind.condition(n);
        let _ = writeln!(
            entries,
            "  - {{name: {name}, match: [{{{condition}}}], route: [{{destination: {{host: {HOST}}}}}]}}"
        );
    }
    virtual_service(&entries)
}
