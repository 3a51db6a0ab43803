//! VirtualService: how requests are routed.

use std::ops::Deref;
use std::sync::Arc;

use leeboard_policy::expression::Expression;
use leeboard_policy::time::Span;

use super::{Labels, Meta};
use crate::source::{Located, Spot};

/// Istio: VirtualService.
#[derive(Clone, Debug)]
pub struct VirtualService {
    /// What every object has.
    pub meta: Meta,
    /// Whose requests; unexpanded. Empty for a delegate.
    pub hosts: Vec<Located<Arc<str>>>,
    /// Where it applies; empty means `mesh`, all sidecars.
    pub gateways: Vec<Located<Arc<str>>>,
    /// Rules in order of priority.
    pub http: Vec<HttpRoute>,
    /// Rules for TLS that is passed through.
    pub tls: Vec<StreamRoute>,
    /// Rules for TCP.
    pub tcp: Vec<StreamRoute>,
    /// Who sees it; empty means everybody.
    pub export_to: Vec<Arc<str>>,
}

impl VirtualService {
    /// Whether it applies to sidecars.
    pub fn applies_to_mesh(&self) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|gateway| &*gateway.value == "mesh")
    }
}

/// One entry of `http`.
#[derive(Clone, Debug)]
pub struct HttpRoute {
    /// Where the entry begins.
    pub spot: Spot,
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// Alternatives; empty matches everything.
    pub matches: Vec<HttpMatch>,
    /// What is done.
    pub action: HttpAction,
    /// Istio: `rewrite`.
    pub rewrite: Option<Box<Rewrite>>,
    /// Istio: `timeout`; `None` is no limit.
    pub timeout: Option<Span>,
    /// Istio: `retries`; `None` takes the mesh's default.
    pub retries: Option<Box<Retries>>,
    /// Istio: `fault`.
    pub fault: Option<Box<Fault>>,
    /// Istio: `mirror` and `mirrors`, those of 0 % left out.
    pub mirrors: Vec<Mirror>,
    /// Istio: `corsPolicy`.
    pub cors: Option<Box<CorsPolicy>>,
    /// Istio: `headers`.
    pub headers: Headers,
}

/// What an entry of `http` does.
#[derive(Clone, Debug)]
pub enum HttpAction {
    /// Istio: `route`; at least one.
    Route(Vec<RouteDestination>),
    /// Istio: `redirect`.
    Redirect(Box<Redirect>),
    /// Istio: `directResponse`.
    Direct(DirectResponse),
    /// Istio: `delegate`: the rules of another VirtualService come in its place.
    Delegate(Box<Delegate>),
}

/// Istio: `delegate`.
#[derive(Clone, Debug)]
pub struct Delegate {
    /// The other's name.
    pub name: Located<Arc<str>>,
    /// Its namespace; `None` is the object's own.
    pub namespace: Option<Located<Arc<str>>>,
    /// `directResponse` beside it, which goes before a `route` of the other.
    pub direct: Option<Box<DirectResponse>>,
}

/// One entry of `tls` or `tcp`.
#[derive(Clone, Debug)]
pub struct StreamRoute {
    /// Where the entry begins.
    pub spot: Spot,
    /// Alternatives; empty matches everything, which only `tcp` can say.
    pub matches: Vec<StreamMatch>,
    /// Where to; at least one.
    pub route: Vec<StreamDestination>,
}

/// One alternative of an entry of `tls` or `tcp`. All of it must hold.
#[derive(Clone, Debug)]
pub struct StreamMatch {
    /// Where it begins.
    pub spot: Spot,
    /// Server names, at least one; empty for `tcp`.
    pub sni_hosts: Vec<Located<Arc<str>>>,
    /// Addresses that are dialled; empty is any.
    pub destination_subnets: Vec<Located<Arc<str>>>,
    /// The listener's port; `None` is any.
    pub port: Option<u16>,
    /// What the caller's workload must carry.
    pub source_labels: Labels,
    /// The caller's namespace.
    pub source_namespace: Option<Arc<str>>,
    /// Takes the place of the object's `gateways` when not empty.
    pub gateways: Vec<Arc<str>>,
}

/// One destination of a [`StreamRoute`].
#[derive(Clone, Debug)]
pub struct StreamDestination {
    /// Where to.
    pub destination: Destination,
    /// Its part of the sum; 0 when absent. A single entry takes all whatever its weight.
    pub weight: u32,
}

/// One alternative of `match`.
#[derive(Clone, Debug)]
pub struct HttpMatch {
    /// Where it begins.
    pub spot: Spot,
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// The path; `None` and `Present` are both everything.
    pub uri: Option<StringMatch>,
    /// Whether `uri` ignores case; never for a regex.
    pub ignore_uri_case: bool,
    /// The scheme.
    pub scheme: Option<StringMatch>,
    /// The method.
    pub method: Option<StringMatch>,
    /// The Host as sent, port included.
    pub authority: Option<StringMatch>,
    /// Headers that must match, by name in lower case, in order of name.
    pub headers: Vec<(Arc<str>, StringMatch)>,
    /// Headers that must not.
    pub without_headers: Vec<(Arc<str>, StringMatch)>,
    /// Query parameters that must match, in order of name.
    pub query_params: Vec<(Arc<str>, StringMatch)>,
    /// The listener's port; `None` is any.
    pub port: Option<u16>,
    /// What the caller's workload must carry; only when `gateways` is empty.
    pub source_labels: Labels,
    /// The caller's namespace; only when `gateways` is empty.
    pub source_namespace: Option<Arc<str>>,
    /// Takes the place of the object's `gateways` when not empty.
    pub gateways: Vec<Arc<str>>,
}

/// Istio: StringMatch.
#[derive(Clone, Debug)]
pub enum StringMatch {
    /// `{}`, or `regex: "*"` in `withoutHeaders`: it is there.
    Present,
    /// `exact`.
    Exact(Arc<str>),
    /// `prefix`.
    Prefix(Arc<str>),
    /// `regex`, compiled to match from end to end.
    Regex(Box<Expression>),
}

/// A host, and perhaps a subset and port of it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The host, unexpanded.
    pub host: Located<Arc<str>>,
    /// The subset.
    pub subset: Option<Located<Arc<str>>>,
    /// `port.number`.
    pub port: Option<Box<Located<u16>>>,
}

/// One entry of `route`.
#[derive(Clone, Debug)]
pub struct RouteDestination {
    /// Where to.
    pub destination: Destination,
    /// Its part of the sum; 0 when absent. A single entry takes all whatever its weight.
    pub weight: u32,
    /// Changes to headers on this way only.
    pub headers: Headers,
}

/// Istio: `rewrite`.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// Where it begins.
    pub spot: Spot,
    /// What becomes of the path.
    pub path: Option<RewritePath>,
    /// What Host becomes.
    pub authority: Option<Arc<str>>,
}

/// What a rewrite makes of the path.
#[derive(Clone, Debug)]
pub enum RewritePath {
    /// `uri`: in place of the matched prefix, or of the whole path.
    Uri(Arc<str>),
    /// `uriRegexRewrite`: every match gives way.
    Regex {
        /// What is looked for, anywhere in the path.
        find: Expression,
        /// The substitution, with `\1` and `\0`.
        with: Arc<str>,
    },
}

/// Istio: `redirect`.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// Where it begins.
    pub spot: Spot,
    /// What becomes of the path; `None` leaves it.
    pub path: Option<RedirectPath>,
    /// The new host.
    pub authority: Option<Arc<str>>,
    /// The new scheme.
    pub scheme: Option<Arc<str>>,
    /// The new port.
    pub port: Option<RedirectPort>,
    /// 301, 302, 303, 307 or 308; default 301.
    pub code: u16,
}

/// What a redirect makes of the path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RedirectPath {
    /// `uri`.
    Uri(Arc<str>),
    /// `prefixRewrite`.
    Prefix(Arc<str>),
}

/// A redirect's port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RedirectPort {
    /// `port`.
    Number(u16),
    /// `derivePort: FROM_PROTOCOL_DEFAULT`: none is added.
    FromProtocol,
    /// `derivePort: FROM_REQUEST_PORT`: the listener's.
    FromRequest,
}

/// Istio: `directResponse`.
#[derive(Clone, Debug)]
pub struct DirectResponse {
    /// 200 to 600.
    pub status: u16,
    /// The body; empty when absent.
    pub body: Arc<[u8]>,
}

/// Istio: `retries`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retries {
    /// Retries after the first attempt; 0 turns them off.
    pub attempts: u32,
    /// Istio: `perTryTimeout`.
    pub per_try_timeout: Option<Span>,
    /// Istio: `retryOn`, split at commas; `None` when absent or empty, which takes the default list.
    pub retry_on: Option<Vec<Arc<str>>>,
    /// The base of the back-off.
    pub backoff: Option<Span>,
    /// Istio: `retryIgnorePreviousHosts`.
    pub ignore_previous_hosts: Option<bool>,
    /// Istio: `retryRemoteLocalities`; `None` is false.
    pub remote_localities: Option<bool>,
}

/// Istio: `corsPolicy`.
#[derive(Clone, Debug)]
pub struct CorsPolicy {
    /// Where it begins.
    pub spot: Spot,
    /// `allowOrigins`, or the deprecated `allowOrigin` in its absence; `exact: "*"` is any.
    pub allow_origins: Vec<StringMatch>,
    /// `allowMethods`; `*` is the one that is asked for.
    pub allow_methods: Vec<Arc<str>>,
    /// `allowHeaders`; `*` is those that are asked for.
    pub allow_headers: Vec<Arc<str>>,
    /// `exposeHeaders`.
    pub expose_headers: Vec<Arc<str>>,
    /// `maxAge`, in whole seconds.
    pub max_age: Option<Span>,
    /// `allowCredentials`; absent is false.
    pub allow_credentials: bool,
    /// `unmatchedPreflights: IGNORE`: a preflight request of another origin is answered here, without leave. By default it is
    /// forwarded.
    pub ignore_unmatched_preflights: bool,
}

/// Istio: `fault`.
#[derive(Clone, Debug)]
pub struct Fault {
    /// `delay.fixedDelay` and percentage, 0 to 100.
    pub delay: Option<(Span, f64)>,
    /// `abort` and percentage, 0 to 100.
    pub abort: Option<(Abort, f64)>,
}

/// What an injected abort answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Abort {
    /// `httpStatus`.
    Http(u16),
    /// `grpcStatus` as its number.
    Grpc(u16),
}

/// One receiver of copies.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Where to.
    pub destination: Destination,
    /// Of how many requests, above 0 and up to 100.
    pub percentage: f64,
}

/// Istio: `headers`. Most entries have none, and then it takes the room of one pointer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Headers(Option<Box<BothWays>>);

impl From<BothWays> for Headers {
    fn from(both: BothWays) -> Self {
        Self((both != BothWays::default()).then(|| Box::new(both)))
    }
}

impl Deref for Headers {
    type Target = BothWays;
    fn deref(&self) -> &BothWays {
        const NONE: HeaderOperations = HeaderOperations { set: Vec::new(), add: Vec::new(), remove: Vec::new() };
        static NEITHER: BothWays = BothWays { request: NONE, response: NONE };
        self.0.as_deref().unwrap_or(&NEITHER)
    }
}

/// Changes to headers in both directions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BothWays {
    /// On the way there.
    pub request: HeaderOperations,
    /// On the way back.
    pub response: HeaderOperations,
}

/// Changes to headers, as written. Values are Envoy format strings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeaderOperations {
    /// Names and values to set, in order of name.
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// Names and values to add, in order of name.
    pub add: Vec<(Arc<str>, Arc<str>)>,
    /// Names to remove, in order of appearance.
    pub remove: Vec<Arc<str>>,
}
