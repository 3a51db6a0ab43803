//! What `leeboard run` does, once its flags and what they leave out are known.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use leeboard_istio::resources::MeshConfig;
use leeboard_policy::cluster::Workload;
use leeboard_policy::time::Span;

use super::run::{Format, HalfClose, OutboundPolicy};
use super::values::{InboundPort, Networks};
use crate::discovery::search as files;
use crate::http1::read::Rules;
use crate::listener::crowd::Most;
use crate::listener::talk::Patience;
use crate::secrets::Secrets;
use crate::telemetry::access_log;
use crate::telemetry::log_sink::Sink;

/// Descriptors that are for other things than callers and endpoints: listeners, files, the admin pages, DNS.
const OTHER_DESCRIPTORS: usize = 48;
/// The least number of callers, whatever the process is allowed.
const LEAST_CALLERS: usize = 16;

/// What `leeboard run` does, with every default filled in.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Files and folders of configuration.
    pub(crate) config: Vec<PathBuf>,
    /// How much of them is read.
    pub(crate) config_most: files::Most,
    /// How long an edit waits for its other half.
    pub(crate) config_grace: Span,
    /// Whether a broken object ends the start.
    pub(crate) strict_config: bool,
    /// The outbound listener.
    pub(crate) outbound: Option<SocketAddr>,
    /// The application's ports.
    pub(crate) inbound: Vec<InboundPort>,
    /// The operator's listener.
    pub(crate) admin: Option<SocketAddr>,
    /// The readiness listener.
    pub(crate) status: Option<SocketAddr>,
    /// The Prometheus listener.
    pub(crate) metrics: Option<SocketAddr>,
    /// Threads that carry traffic.
    pub(crate) workers: usize,
    /// The workload that this proxy stands beside.
    pub(crate) workload: Workload,
    /// What is done with unknown hosts; `None` leaves it to the mesh.
    pub(crate) outbound_policy: Option<OutboundPolicy>,
    /// A file with settings of the mesh.
    pub(crate) mesh_config: Option<PathBuf>,
    /// Where the access log goes; `None` leaves it to the mesh.
    pub(crate) access_log: Option<Sink>,
    /// How the access log is written; `None` leaves it to the mesh.
    pub(crate) access_log_format: Option<access_log::Format>,
    /// What the program's own log tells, as a filter of `tracing`.
    pub(crate) log_level: String,
    /// How the program's own log is written.
    pub(crate) log_format: Format,
    /// The most bytes of a request's body that are kept to send it again.
    pub(crate) replay_buffer: usize,
    /// The most bytes that all requests together keep for that.
    pub(crate) replay_memory: usize,
    /// The most bytes in a request's head.
    pub(crate) max_header_bytes: usize,
    /// The most headers in a request.
    pub(crate) max_headers: usize,
    /// The most bytes in a response's head.
    pub(crate) max_response_header_bytes: usize,
    /// Whether a length beside chunks is passed over.
    pub(crate) allow_chunked_length: bool,
    /// Whether lines of HTTP/1 heads may end in LF alone.
    pub(crate) allow_bare_lf: bool,
    /// How long a request's head may take; `None` is no limit.
    pub(crate) header_timeout: Option<Span>,
    /// How long callers may do nothing.
    pub(crate) patience: Patience,
    /// The most connections of callers: in all, at one listener, from one address. `None` follows from what is possible.
    pub(crate) max_connections: [Option<NonZeroUsize>; 3],
    /// The most connections to endpoints: in all, and in use for one connection of a caller. `None` follows from what is possible.
    pub(crate) max_endpoint_connections: [Option<NonZeroUsize>; 2],
    /// After how long without a stream an HTTP/2 connection to an endpoint is asked for; `None` is never.
    pub(crate) ping_after: Option<Span>,
    /// The most bytes of answers that are held for callers who do not read.
    pub(crate) max_unread: usize,
    /// The most of them for one connection.
    pub(crate) max_caller_unread: usize,
    /// How long a request's body may stand still; `None` is no limit.
    pub(crate) stalled_body: Option<Span>,
    /// How long an answer may be left unread; `None` is no limit.
    pub(crate) stalled_reader: Option<Span>,
    /// What a caller means that has closed its own direction.
    pub(crate) half_close: HalfClose,
    /// From SIGTERM to the end at the latest.
    pub(crate) drain_time: Span,
    /// From SIGTERM to the end at the earliest.
    pub(crate) min_drain_time: Span,
    /// Whose proxies are believed besides those of known endpoints.
    pub(crate) trusted_peers: Networks,
    /// Names by which the admin port may be asked.
    pub(crate) admin_hosts: Vec<String>,
    /// Headers whose values admin pages do not show.
    pub(crate) redact: Secrets,
    /// The DNS server, when it is not the system's.
    pub(crate) dns: Option<SocketAddr>,
    /// How long an answer of DNS is believed at most; `None` is as long as is usual for the name.
    pub(crate) dns_max_ttl: Option<Span>,
}

impl Settings {
    /// What heads of callers may be.
    pub(crate) fn caller_heads(&self) -> Rules {
        Rules {
            bytes: self.max_header_bytes,
            fields: self.max_headers,
            chunked_length: self.allow_chunked_length,
            bare_lf: self.allow_bare_lf,
        }
    }

    /// What heads of endpoints may be.
    pub(crate) fn endpoint_heads(&self) -> Rules {
        Rules { bytes: self.max_response_header_bytes, ..self.caller_heads() }
    }

    /// How many callers may be connected when the process may have so many descriptors open. Each needs one, and mostly another to
    /// an endpoint; some are left for everything else. By default no listener has all places, and no address half of them.
    pub(crate) fn most_callers(&self, descriptors: usize) -> Most {
        let [all, listener, caller] = self.max_connections.map(|most| most.map(NonZeroUsize::get));
        let all = all.unwrap_or((descriptors / 2).saturating_sub(OTHER_DESCRIPTORS).max(LEAST_CALLERS));
        Most {
            all,
            listener: listener.unwrap_or((all - all / 4).max(1)).min(all),
            caller: caller.unwrap_or((all / 2).max(1)).min(all),
        }
    }

    /// How many connections to endpoints may be open, and how many in use for one connection of a caller, when the process may
    /// have so many descriptors open: as many as callers and everything else leave, and half of them.
    pub(crate) fn most_to_endpoints(&self, descriptors: usize) -> (usize, usize) {
        let [all, caller] = self.max_endpoint_connections.map(|most| most.map(NonZeroUsize::get));
        let left = descriptors.saturating_sub(self.most_callers(descriptors).all + OTHER_DESCRIPTORS);
        let all = all.unwrap_or(left.max(LEAST_CALLERS));
        (all, caller.unwrap_or((all / 2).max(1)))
    }

    /// Where the access log goes and how it is written: as the command line says, else as the mesh does.
    pub(crate) fn log_of_requests(&self, mesh: Option<&MeshConfig>) -> (Sink, access_log::Format) {
        let file = mesh.and_then(|mesh| mesh.access_log_file.as_deref());
        let json = mesh.is_some_and(|mesh| mesh.access_log_json == Some(true));
        let format = if json { access_log::Format::Json } else { access_log::Format::Text };
        let sink = self.access_log.clone().unwrap_or_else(|| Sink::parse(file.unwrap_or("off")));
        (sink, self.access_log_format.unwrap_or(format))
    }
}
