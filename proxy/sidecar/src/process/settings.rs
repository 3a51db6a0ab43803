//! The settings of `leeboard run`: the flags with their defaults filled in.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::ValueEnum;
use leeboard_istio::resources::MeshConfig;
use leeboard_policy::time::Span;

use crate::config::search as files;
use crate::http::sensitive::SensitiveHeaders;
use crate::net::downstream_limits::DownstreamLimits;
use crate::telemetry::access_log;
use crate::telemetry::log_sink::Sink;
use crate::telemetry::program_log::Format;
use crate::worker::settings::Settings as WorkerSettings;

/// Descriptors that are for other things than callers and endpoints: listeners, files, the admin pages, DNS.
const OTHER_DESCRIPTORS: usize = 48;
/// The least number of callers, whatever the process is allowed.
const LEAST_CALLERS: usize = 16;

/// What `leeboard run` does, with every default filled in.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What is done with traffic.
    pub(crate) worker: WorkerSettings,
    /// Files and folders of configuration.
    pub(crate) config: Vec<PathBuf>,
    /// How much of them is read.
    pub(crate) config_most: files::FileLimits,
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
    /// The most bytes that all requests together keep for that.
    pub(crate) replay_memory: usize,
    /// The most connections of callers: in all, at one listener, from one address. `None` follows from what is possible.
    pub(crate) max_connections: [Option<NonZeroUsize>; 3],
    /// The most connections to endpoints: in all, and in use for one connection of a caller. `None` follows from what is possible.
    pub(crate) max_endpoint_connections: [Option<NonZeroUsize>; 2],
    /// From SIGTERM to the end at the latest.
    pub(crate) drain_time: Span,
    /// From SIGTERM to the end at the earliest.
    pub(crate) min_drain_time: Span,
    /// Names by which the admin port may be asked.
    pub(crate) admin_hosts: Vec<String>,
    /// Headers whose values admin pages do not show.
    pub(crate) redact: SensitiveHeaders,
    /// The DNS server, when it is not the system's.
    pub(crate) dns: Option<SocketAddr>,
    /// How long an answer of DNS is believed at most; `None` is as long as is usual for the name.
    pub(crate) dns_max_ttl: Option<Span>,
}

/// A port of the application and where the proxy answers for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InboundPort {
    /// Where the proxy listens.
    pub(crate) listen: SocketAddr,
    /// Where the application listens.
    pub(crate) app: SocketAddr,
}

/// What is done with hosts that the configuration does not know. Istio: `outboundTrafficPolicy.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum OutboundPolicy {
    /// They are called as the application asked. Istio: ALLOW_ANY.
    #[value(alias = "ALLOW_ANY")]
    AllowAny,
    /// They are refused with 502. Istio: REGISTRY_ONLY.
    #[value(alias = "REGISTRY_ONLY")]
    RegistryOnly,
}

impl Settings {
    /// How many callers may be connected when the process may have so many descriptors open. Each needs one, and mostly another to
    /// an endpoint; some are left for everything else. By default no listener has all places, and no address half of them.
    pub(crate) fn most_callers(&self, descriptors: usize) -> DownstreamLimits {
        let [all, listener, caller] = self.max_connections.map(|most| most.map(NonZeroUsize::get));
        let all = all.unwrap_or((descriptors / 2).saturating_sub(OTHER_DESCRIPTORS).max(LEAST_CALLERS));
        DownstreamLimits {
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
