//! Every metric: name, help, type and labels, one row each.

use super::exposition::{Kind, Metric};
use super::labels;

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, help, kind: Kind::Counter, labels }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, help, kind: Kind::Gauge, labels }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, help, kind: Kind::Histogram, labels }
}

// Istio's standard metrics.
pub(crate) static REQUESTS: Metric = counter("istio_requests_total", &labels::NAMES, "Requests handled by the proxy");
pub(crate) static DURATION: Metric = histogram(
    "istio_request_duration_milliseconds",
    &labels::NAMES,
    "Time from the first byte of a request to the last byte of its response",
);
pub(crate) static REQUEST_BYTES: Metric =
    histogram("istio_request_bytes", &labels::NAMES, "Sizes of requests with their headers");
pub(crate) static RESPONSE_BYTES: Metric =
    histogram("istio_response_bytes", &labels::NAMES, "Sizes of responses with their headers");
pub(crate) static ISTIO_BUILD: Metric =
    gauge("istio_build", &["component", "tag"], "Always 1; the labels say which build this is");

// What workers count.
pub(crate) static RETRIES: Metric = counter(
    "leeboard_retries_total",
    &["cluster", "outcome"],
    "Retries made, by success or failure, and retries wanted but not made, by why",
);
pub(crate) static MIRRORS: Metric =
    counter("leeboard_mirrors_total", &["cluster", "outcome"], "Mirrored requests, by what became of them");
pub(crate) static FAULTS: Metric = counter("leeboard_faults_total", &["route", "kind"], "Faults injected on purpose");
pub(crate) static STALE_REPLAYS: Metric = counter(
    "leeboard_stale_replays_total",
    &["cluster"],
    "Requests sent again since their reused connection had died unseen",
);
pub(crate) static REPLAY_ABANDONED: Metric = counter(
    "leeboard_replay_abandoned_total",
    &["cluster", "limit"],
    "Requests that could not be sent again any more, since their bodies outgrew what one request or the process may keep",
);
pub(crate) static STALLED: Metric = counter(
    "leeboard_stalled_total",
    &["reason"],
    "Exchanges that were ended since nothing moved: request-body, endpoint, reader",
);
pub(crate) static BAD_REQUESTS: Metric =
    counter("leeboard_bad_requests_total", &["reason"], "Requests that no exchange began for");
pub(crate) static DOWNSTREAM_OPENED: Metric =
    counter("leeboard_downstream_connections_total", &["listener"], "Connections accepted from callers");
pub(crate) static DOWNSTREAM_ACTIVE: Metric =
    gauge("leeboard_downstream_connections_active", &["listener"], "Connections from callers open now");
pub(crate) static DOWNSTREAM_CLOSED: Metric = counter(
    "leeboard_downstream_connections_closed_total",
    &["listener", "reason"],
    "Connections from callers that were closed by a limit, by which",
);
pub(crate) static UPSTREAM_OPENED: Metric =
    counter("leeboard_upstream_connections_opened_total", &["cluster", "endpoint"], "Connections made to endpoints");
pub(crate) static UPSTREAM_CLOSED: Metric = counter(
    "leeboard_upstream_connections_closed_total",
    &["cluster", "endpoint"],
    "Connections to endpoints that have ended",
);
pub(crate) static UPSTREAM_FAILED: Metric = counter(
    "leeboard_upstream_connections_failed_total",
    &["cluster", "endpoint", "cause"],
    "Connections to endpoints that could not be made",
);
pub(crate) static UPSTREAM_ACTIVE: Metric =
    gauge("leeboard_upstream_connections_active", &["cluster", "endpoint"], "Connections to endpoints open now");

// What the ejections' events add up to.
pub(crate) static EJECTIONS: Metric = counter(
    "leeboard_ejections_total",
    &["cluster", "endpoint", "cause", "enforced"],
    "Times an endpoint failed too often; enforced is false where too many were out already",
);
pub(crate) static RETURNS: Metric = counter(
    "leeboard_ejection_returns_total",
    &["cluster", "endpoint"],
    "Times an ejected endpoint took traffic again",
);

pub(crate) static CALLERS_DISMISSED: Metric = counter(
    "leeboard_admin_connections_dismissed_total",
    &["port", "reason"],
    "Connections closed since others came and these were silent for the longest, or since their callers took no answer",
);

// Read from the live state at the moment of a scrape.
pub(crate) static EJECTED: Metric =
    gauge("leeboard_endpoint_ejected", &["cluster", "endpoint"], "1 while the endpoint is set aside");
pub(crate) static ENDPOINTS: Metric =
    gauge("leeboard_cluster_endpoints", &["cluster", "state"], "Endpoints of the cluster, by state");
pub(crate) static ACTIVE: Metric =
    gauge("leeboard_upstream_requests_active", &["cluster"], "Requests to the cluster in flight now");
pub(crate) static BREAKER_OPEN: Metric =
    gauge("leeboard_breaker_open", &["cluster", "limit"], "1 while no place is left under the limit");
pub(crate) static BREAKER_REMAINING: Metric =
    gauge("leeboard_breaker_remaining", &["cluster", "limit"], "Places left under the limit");
pub(crate) static BREAKER_OVERFLOWS: Metric =
    counter("leeboard_breaker_overflows_total", &["cluster", "limit"], "Times nobody was let in under the limit");

// The proxy itself.
pub(crate) static CONFIG_INFO: Metric =
    gauge("leeboard_config_info", &["version"], "Always 1; the label is the version of the serving configuration");
pub(crate) static CONFIG_ERRORS: Metric =
    gauge("leeboard_config_errors", &[], "Errors in the configuration as last read");
pub(crate) static CONFIG_WARNINGS: Metric =
    gauge("leeboard_config_warnings", &[], "Warnings about the configuration as last read");
pub(crate) static CONFIG_KEPT: Metric = gauge(
    "leeboard_config_objects_kept",
    &[],
    "Objects that serve in their last good version since the present one has errors",
);
pub(crate) static CONFIG_LEFT_OUT: Metric = gauge(
    "leeboard_config_objects_left_out",
    &[],
    "Objects with errors that have no last good version, so that nothing of them serves",
);
pub(crate) static CONFIG_WAITING: Metric = gauge(
    "leeboard_config_objects_waiting",
    &[],
    "Objects that are as they were, since a route would lead to what is not there yet",
);
pub(crate) static CONFIG_RELOADED: Metric = gauge(
    "leeboard_config_last_reload_timestamp_seconds",
    &[],
    "When the configuration was last read, in seconds since 1970",
);
pub(crate) static CONFIG_SUCCESSFUL: Metric =
    gauge("leeboard_config_last_reload_successful", &[], "1 if the configuration as last read has no errors");
pub(crate) static CONFIG_RELOADS: Metric =
    counter("leeboard_config_reloads_total", &["outcome"], "Times the configuration was read");
pub(crate) static READY: Metric = gauge("leeboard_ready", &[], "1 while the proxy takes new requests");
pub(crate) static BUILD_INFO: Metric =
    gauge("leeboard_build_info", &["version"], "Always 1; the label says which build this is");
pub(crate) static LOG_DROPPED: Metric = counter(
    "leeboard_access_log_lines_dropped_total",
    &[],
    "Access log lines lost since their sink took them too slowly or not at all",
);
pub(crate) static OWN_LOG_DROPPED: Metric = counter(
    "leeboard_log_lines_dropped_total",
    &[],
    "Lines of the program's own log lost since standard error took them too slowly or not at all",
);
pub(crate) static SERIES: Metric = gauge("leeboard_telemetry_series", &["table"], "Label sets that are counted on now");
pub(crate) static SERIES_REFUSED: Metric = counter(
    "leeboard_telemetry_refused_total",
    &["table"],
    "Events counted in a series whose labels are all other, since there was no room for another label set",
);

// Prometheus' customary metrics of a process.
pub(crate) static PROCESS_START: Metric =
    gauge("process_start_time_seconds", &[], "When the process began, in seconds since 1970");
pub(crate) static PROCESS_CPU: Metric =
    counter("process_cpu_seconds_total", &[], "Time spent on a CPU, in user and system mode");
pub(crate) static PROCESS_RESIDENT: Metric = gauge("process_resident_memory_bytes", &[], "Memory that is resident");
pub(crate) static PROCESS_FDS: Metric = gauge("process_open_fds", &[], "Open file descriptors");
