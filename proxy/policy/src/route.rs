//! Routes: what a request must look like, and what is then done with it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cluster::{ClusterId, HashKey};
use crate::cors::Cors;
use crate::dice::Share;
use crate::expression::Expression;
use crate::headers::HeaderOps;
use crate::origin::Origin;
use crate::pattern::{HeaderMatch, PathMatch, Pattern, QueryMatch};
use crate::request::Head;
use crate::retry::RetryPolicy;
use crate::time::Span;

/// One rule of a virtual host. The first whose `when` holds is taken.
#[derive(Clone, Debug)]
pub struct Route {
    /// Istio: the http entry's name, with `.` and the match's name when it has one; `default` for a generated route.
    pub name: Arc<str>,
    /// Where it was written.
    pub origin: Origin,
    /// What a request must look like.
    pub when: Match,
    /// What pages of other origins may do; `None` leaves that to the destination.
    pub cors: Option<Box<Cors>>,
    /// What is then done.
    pub action: Action,
}

/// What a request must look like; all parts must hold.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// The path without its query.
    pub path: PathMatch,
    /// The `:method`.
    pub method: Option<Box<Pattern>>,
    /// The `:scheme`.
    pub scheme: Option<Box<Pattern>>,
    /// The `:authority` as it was sent, port included.
    pub authority: Option<Box<Pattern>>,
    /// Headers that must match.
    pub headers: Vec<HeaderMatch>,
    /// Headers that must not. A missing header counts as the empty string here, save for presence.
    pub without_headers: Vec<HeaderMatch>,
    /// Query parameters that must match.
    pub query: Vec<QueryMatch>,
}

/// What is done with a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// It goes to a destination.
    Forward(Box<Forward>),
    /// The caller is sent elsewhere.
    Redirect(Box<Redirect>),
    /// The proxy answers itself.
    Direct(Box<Direct>),
}

/// Everything about sending a request on.
#[derive(Clone, Debug, Default)]
pub struct Forward {
    /// Where to, by weight, shared by routes with the same; at least one. A single one takes all, whatever its weight.
    pub destinations: Arc<[Destination]>,
    /// By what a caller is known, so that it keeps its destination while weights change; `None` draws for each request.
    pub split_key: Option<Box<HashKey>>,
    /// How the path changes.
    pub rewrite: Option<Box<Rewrite>>,
    /// What Host becomes. Istio: `rewrite.authority`, else a `Host` among the header operations.
    pub authority: Option<Arc<str>>,
    /// Changes to the request's headers, common to all destinations.
    pub request_headers: HeaderOps,
    /// Changes to the response's headers, common to all destinations.
    pub response_headers: HeaderOps,
    /// The whole time allowed once the request is received; `None` for ever.
    pub timeout: Option<Span>,
    /// When to try again; `None` is never.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Faults that are injected.
    pub fault: Option<Box<Fault>>,
    /// Who else receives a copy.
    pub mirrors: Vec<Mirror>,
}

impl Forward {
    /// How long all of it may take; `None` is for ever. Istio: a gRPC request is allowed what it asks for, at most the route's
    /// timeout; any other the route's timeout.
    pub fn time_allowed(&self, head: &impl Head, grpc: bool) -> Option<Span> {
        if !grpc {
            return self.timeout;
        }
        match (head.grpc_timeout(), self.timeout) {
            (Some(asked), Some(most)) => Some(asked.min(most)),
            (asked, most) => asked.or(most),
        }
    }
}

/// One of the destinations that a route's requests are split over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// Where to.
    pub cluster: Target,
    /// Its part of the sum of weights.
    pub weight: u32,
    /// What Host becomes when the route itself does not say.
    pub authority: Option<Arc<str>>,
    /// Changes to the request's headers. Istio: after the route's own with one destination, before them with several.
    pub request_headers: HeaderOps,
    /// Changes to the response's headers.
    pub response_headers: HeaderOps,
}

/// A destination that exists, or the name of one that does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A cluster of this snapshot.
    Cluster(ClusterId),
    /// Nothing is known by this cluster name: 503 `NC`.
    Unknown(Arc<str>),
}

/// How a path changes on its way; the query string stays. Better than Envoy: what does not begin with `/` then is given one.
#[derive(Clone, Debug)]
pub enum Rewrite {
    /// The first `cut` bytes of the path give way to `with`. Istio: `rewrite.uri` after a prefix match, or (`cut` 1) no match.
    Prefix {
        /// Bytes that are cut off.
        cut: usize,
        /// What stands there instead.
        with: Arc<str>,
    },
    /// The whole path becomes this. Istio: `rewrite.uri` after an exact or regex match.
    Whole(Arc<str>),
    /// Every match gives way to the substitution, in which `\1` is the first group and `\0` the whole match.
    Regex {
        /// What is looked for, anywhere in the path.
        find: Expression,
        /// What replaces it, in parts.
        with: Vec<Substitution>,
    },
}

/// A part of a regex rewrite's substitution.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Substitution {
    /// Text as it stands.
    Literal(Arc<str>),
    /// A group of the match; 0 is all of it.
    Group(usize),
}

/// Where the caller is sent. Istio: `redirect`.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// What the path becomes; `None` leaves it.
    pub path: Option<RedirectPath>,
    /// The host, with a port if it carries one; `None` is the request's.
    pub authority: Option<Arc<str>>,
    /// The scheme; `None` is the request's.
    pub scheme: Option<Arc<str>>,
    /// An explicit port; not shown when it is the scheme's own.
    pub port: Option<u16>,
    /// The status: 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Changes to the answer's headers.
    pub response_headers: HeaderOps,
}

/// What a redirect makes of the path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RedirectPath {
    /// All of it, the query kept unless this has one.
    Whole(Arc<str>),
    /// Its first `cut` bytes.
    Prefix {
        /// Bytes that are cut off.
        cut: usize,
        /// What stands there instead.
        with: Arc<str>,
    },
}

/// An answer that the proxy gives itself. Istio: `directResponse`.
#[derive(Clone, Debug)]
pub struct Direct {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Arc<[u8]>,
    /// Changes to the answer's headers.
    pub response_headers: HeaderOps,
}

/// Faults that are injected. Istio: `fault`.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// A wait before anything else.
    pub delay: Option<(Span, Share)>,
    /// An answer instead of the destination's.
    pub abort: Option<(Abort, Share)>,
    /// When these are drawn.
    pub scope: FaultScope,
}

/// When faults are drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FaultScope {
    /// Once, before the request is sent anywhere. Istio: neither retries nor timeouts see them.
    #[default]
    Request,
    /// In each attempt: retries and timeouts answer them as they would an endpoint's.
    Attempt,
}

/// What an injected abort answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Abort {
    /// An HTTP status.
    Http(u16),
    /// A gRPC status.
    Grpc(u16),
}

/// Who receives a copy of how many requests.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Where the copy goes. A copy to nowhere is not made.
    pub cluster: Target,
    /// How many requests are copied.
    pub share: Share,
}
