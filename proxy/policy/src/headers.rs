//! Changes to headers, and the `%…%` operators their values may hold.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// Changes to a set of headers: removals first, then `set`, then `add`, each in order of name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeaderOps {
    /// Names to remove, in lower case.
    pub remove: Vec<Arc<str>>,
    /// Names to overwrite or create.
    pub set: Vec<(Arc<str>, Template)>,
    /// Names to append another value to.
    pub add: Vec<(Arc<str>, Template)>,
}

/// A value with operators in it, parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template(pub Vec<Part>);

/// A part of a [`Template`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// Text as it stands; `%%` has become `%`.
    Literal(Arc<str>),
    /// An operator that is worked out per request.
    Operator(Operator),
}

/// The operators that are understood. Envoy: "command operators".
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operator {
    /// `%REQ(name?alternative):limit%`.
    Request {
        /// The header, in lower case; `:path`, `:method`, `:authority` and `:scheme` too.
        name: Arc<str>,
        /// The header to take when the first is absent.
        alternative: Option<Arc<str>>,
        /// At most so many bytes.
        limit: Option<usize>,
    },
    /// `%RESP(name?alternative):limit%`.
    Response {
        /// The header, in lower case.
        name: Arc<str>,
        /// The header to take when the first is absent.
        alternative: Option<Arc<str>>,
        /// At most so many bytes.
        limit: Option<usize>,
    },
    /// `%DOWNSTREAM_REMOTE_ADDRESS%`: the caller's address and port.
    DownstreamRemoteAddress,
    /// `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`.
    DownstreamRemoteAddressWithoutPort,
    /// `%DOWNSTREAM_REMOTE_PORT%`.
    DownstreamRemotePort,
    /// `%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%` and its form without port are the connection's own peer.
    DownstreamDirectRemoteAddress,
    /// `%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%`.
    DownstreamDirectRemoteAddressWithoutPort,
    /// `%DOWNSTREAM_LOCAL_ADDRESS%`.
    DownstreamLocalAddress,
    /// `%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%`.
    DownstreamLocalAddressWithoutPort,
    /// `%DOWNSTREAM_LOCAL_PORT%`.
    DownstreamLocalPort,
    /// `%UPSTREAM_HOST%` and `%UPSTREAM_REMOTE_ADDRESS%`: the endpoint's address; known in response headers only.
    UpstreamHost,
    /// `%UPSTREAM_CLUSTER%` and `%UPSTREAM_CLUSTER_RAW%`.
    UpstreamCluster,
    /// `%UPSTREAM_REQUEST_ATTEMPT_COUNT%`.
    UpstreamRequestAttemptCount,
    /// `%ROUTE_NAME%`.
    RouteName,
    /// `%PROTOCOL%`: `HTTP/1.1`, `HTTP/2`.
    Protocol,
    /// `%RESPONSE_CODE%`.
    ResponseCode,
    /// `%RESPONSE_FLAGS%`.
    ResponseFlags,
    /// `%RESPONSE_CODE_DETAILS%`.
    ResponseCodeDetails,
    /// `%START_TIME%` in ISO 8601 with milliseconds.
    StartTime,
    /// `%HOSTNAME%`.
    Hostname,
    /// `%ENVIRONMENT(name)%` as it was when the process began.
    Environment(Arc<str>),
    /// `%BYTES_RECEIVED%`.
    BytesReceived,
    /// `%BYTES_SENT%`.
    BytesSent,
    /// `%DURATION%` in milliseconds.
    Duration,
    /// `%REQUESTED_SERVER_NAME%`.
    RequestedServerName,
    /// `%STREAM_ID%`.
    StreamId,
}
