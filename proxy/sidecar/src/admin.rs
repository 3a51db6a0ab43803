//! The admin pages: for operators, and on ports of their own for Prometheus and Kubernetes.

mod access;
mod clusters;
mod config_dump;
mod connections;
mod explain;
mod front;
mod gauges;
mod page;
mod pages;
mod process;
mod samples;
pub(crate) mod server;
mod service;
mod status;
mod table;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use leeboard_policy::live::Live;
use leeboard_policy::time::Time;

use crate::config::store::ConfigReport;
use crate::drain::Life;
use crate::http::sensitive::SensitiveHeaders;
use crate::telemetry::Telemetry;

/// Which pages a socket serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// All of them. For the machine's own people only: some pages change things.
    Admin,
    /// Readiness.
    Status,
    /// Metrics.
    Metrics,
}

impl Scope {
    /// Its port's name.
    fn port(self) -> &'static str {
        match self {
            Scope::Admin => "admin",
            Scope::Status => "status",
            Scope::Metrics => "metrics",
        }
    }
}

/// What the pages ask of the rest of the process.
pub(crate) trait Controls: Send + Sync + 'static {
    /// The time that the policy counts in.
    fn now(&self) -> Time;

    /// The wall time.
    fn wall(&self) -> SystemTime;

    /// Where the process is in its life.
    fn life(&self) -> Life;

    /// Makes listeners accept no more connections. Envoy: `/drain_listeners`.
    fn drain_listeners(&self, drain: DrainListeners);

    /// Parts the application from its callers; the process goes on.
    fn drain(&self);

    /// How far that has come.
    fn drained(&self) -> Drained;

    /// Ends the process as SIGTERM does: it drains first, and asking again ends it at once. Envoy's `/quitquitquit` does not
    /// drain; the one of Istio's agent does.
    fn quit(&self);

    /// What the program's own log tells.
    fn log_level(&self) -> String;

    /// Changes what the program's own log tells.
    ///
    /// # Errors
    /// In words, when the level is none.
    fn set_log_level(&self, level: &str) -> Result<(), String>;
}

/// Which listeners shall accept no more connections, and how they part from those they have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DrainListeners {
    /// Only those in front of the application.
    pub(crate) inbound_only: bool,
    /// Callers are asked to leave first.
    pub(crate) graceful: bool,
}

/// How far the application is parted from its callers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Drained {
    /// Whether nobody comes any more, so that the application may end.
    pub(crate) safe: bool,
    /// What it is asked at the moment.
    pub(crate) requests: usize,
    /// Who is connected.
    pub(crate) connections: usize,
}

/// A socket that the process listens on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listening {
    /// `outbound`, `inbound`, `admin`, `status` or `metrics`; with `|port|` for an inbound one.
    pub(crate) name: Arc<str>,
    /// Where, with the port that it was given.
    pub(crate) address: SocketAddr,
}

/// What the pages show.
pub(crate) struct AdminState {
    /// The configuration and its state.
    pub(crate) live: Arc<ArcSwap<Live>>,
    /// What came of reading the configuration.
    pub(crate) config: Arc<ArcSwap<ConfigReport>>,
    /// What is counted.
    pub(crate) telemetry: Telemetry,
    /// All sockets.
    pub(crate) listening: Vec<Listening>,
    /// Threads that carry traffic.
    pub(crate) workers: usize,
    /// When the process began, by the wall clock.
    pub(crate) started: SystemTime,
    /// Names by which the admin port may be asked, besides addresses and `localhost`.
    pub(crate) names: Vec<String>,
    /// Whose values are not shown.
    pub(crate) secrets: SensitiveHeaders,
    /// The rest of the process.
    pub(crate) controls: Box<dyn Controls>,
}

/// The version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
