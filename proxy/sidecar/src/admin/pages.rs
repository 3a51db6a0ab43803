//! The smaller pages.

use std::fmt::Write;
use std::time::SystemTime;

use http::{Method, StatusCode};
use serde_json::json;

use super::page::{Content, PageRequest, PageResponse};
use super::{AdminState, DrainListeners, VERSION, gauges};
use crate::drain::Life;
use crate::telemetry::exposition::{CLASSIC_TYPE, Classic, OPENMETRICS_TYPE, openmetrics};

/// The most objects that readiness names.
const MOST_NAMED: usize = 10;

/// Envoy: `/ready`. A proxy that serves without some of its objects is ready, and says so behind the state's line.
pub(super) fn ready(state: &AdminState, _: &PageRequest) -> PageResponse {
    let life = state.controls.life();
    let status = if life == Life::Live { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = format!("{}\n", state_name(life));
    let left_out = &state.config.load().left_out;
    let named = left_out.iter().take(MOST_NAMED).map(|object| format!("left out, since it is broken: {object}\n"));
    text.extend(named);
    if left_out.len() > MOST_NAMED {
        let _ = writeln!(text, "and {} more", left_out.len() - MOST_NAMED);
    }
    PageResponse::refusal(status, text)
}

/// Envoy: the states of `/server_info`.
pub(super) fn state_name(life: Life) -> &'static str {
    match life {
        Life::Starting => "INITIALIZING",
        Life::Live => "LIVE",
        Life::Draining => "DRAINING",
    }
}

/// Classic text, or OpenMetrics for those who would rather have it.
pub(super) fn metrics(state: &AdminState, ask: &PageRequest) -> PageResponse {
    let families = gauges::families(state);
    if wants_openmetrics(&ask.accept) {
        return PageResponse::new(StatusCode::OK, OPENMETRICS_TYPE, openmetrics(families));
    }
    PageResponse {
        status: StatusCode::OK,
        content_type: CLASSIC_TYPE,
        content: Content::Pieces(Classic::new(families)),
    }
}

/// Whether an `accept` header prefers OpenMetrics to plain text. What is not named is not wanted.
fn wants_openmetrics(accept: &str) -> bool {
    let quality = |wanted: &str| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next()?.eq_ignore_ascii_case(wanted);
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
            quality.filter(|_| named)
        });
        ranges.fold(0.0, f32::max)
    };
    let openmetrics = quality("application/openmetrics-text");
    openmetrics > 0.0 && openmetrics >= quality("text/plain")
}

/// Envoy: `/listeners`, as text (`name::address`) or JSON.
pub(super) fn listeners(state: &AdminState, ask: &PageRequest) -> PageResponse {
    if !ask.json() {
        let lines = state.listening.iter().map(|socket| format!("{}::{}\n", socket.name, socket.address));
        return PageResponse::text(lines.collect::<String>());
    }
    let statuses = state.listening.iter().map(|socket| {
        let (address, port) = (socket.address.ip().to_string(), socket.address.port());
        json!({"name": &*socket.name, "local_address": {"socket_address": {"address": address, "port_value": port}}})
    });
    PageResponse::json(&json!({ "listener_statuses": statuses.collect::<Vec<_>>() }))
}

/// Envoy: `/server_info`.
pub(super) fn server_info(state: &AdminState, _: &PageRequest) -> PageResponse {
    let uptime = format!("{}s", uptime(state).as_secs());
    let live = state.live.load();
    PageResponse::json(&json!({
        "version": format!("leeboard/{VERSION}"),
        "state": state_name(state.controls.life()),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "command_line_options": {"concurrency": state.workers, "log_level": state.controls.log_level()},
        "node": node(live.snapshot().workload()),
        "leeboard": {"config_version": live.snapshot().version()},
    }))
}

/// Who we are, as Envoy's node.
pub(super) fn node(workload: &leeboard_policy::cluster::Workload) -> serde_json::Value {
    let mut locality = workload.locality.split('/').map(str::to_owned);
    let mut part = || locality.next().unwrap_or_default();
    let labels: serde_json::Map<_, _> = workload.labels.iter().map(|(k, v)| (k.to_string(), json!(**v))).collect();
    json!({
        "id": format!("sidecar~{}.{}", workload.name, workload.namespace),
        "cluster": format!("{}.{}", workload.canonical_name(), workload.namespace),
        "locality": {"region": part(), "zone": part(), "sub_zone": part()},
        "metadata": {"NAME": &*workload.name, "NAMESPACE": &*workload.namespace, "LABELS": labels},
    })
}

pub(super) fn uptime(state: &AdminState) -> std::time::Duration {
    let now: SystemTime = state.controls.wall();
    now.duration_since(state.started).unwrap_or_default()
}

/// Envoy: `/logging?level=`, `?paths=module:level,…` and `?module=level`. A GET shows the level.
pub(super) fn logging(state: &AdminState, ask: &PageRequest) -> PageResponse {
    if ask.method == Method::POST {
        let level = match ask.query.iter().next() {
            Some((word, levels)) if ask.query.len() == 1 && matches!(&**word, "level" | "paths") => levels.clone(),
            Some((module, level)) if ask.query.len() == 1 => format!("{module}={level}"),
            _ => {
                return PageResponse::refusal(
                    StatusCode::BAD_REQUEST,
                    "say which: ?level=debug, or ?level=leeboard=debug,info\n",
                );
            }
        };
        if let Err(complaint) = state.controls.set_log_level(&level) {
            return PageResponse::refusal(StatusCode::BAD_REQUEST, format!("{complaint}\n"));
        }
    }
    PageResponse::text(format!("active loggers:\n  leeboard: {}\n", state.controls.log_level()))
}

/// Envoy: `/drain_listeners`.
pub(super) fn drain_listeners(state: &AdminState, ask: &PageRequest) -> PageResponse {
    let asked = |name| ask.query.contains_key(name);
    state.controls.drain_listeners(DrainListeners { inbound_only: asked("inboundonly"), graceful: asked("graceful") });
    PageResponse::text("OK\n")
}

/// Parts the application from its callers when it is posted to, and tells how far that has come.
pub(super) fn drain(state: &AdminState, ask: &PageRequest) -> PageResponse {
    if ask.method == Method::POST {
        state.controls.drain();
    }
    let drained = state.controls.drained();
    PageResponse::json(&serde_json::json!({
        "state": state_name(state.controls.life()),
        "safe": drained.safe,
        "requests": drained.requests,
        "connections": drained.connections,
    }))
}

/// Envoy: `/quitquitquit`.
pub(super) fn quit(state: &AdminState, _: &PageRequest) -> PageResponse {
    state.controls.quit();
    PageResponse::text("OK\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_prefer_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        #[rustfmt::skip]
        let table = [
            ("", false),
            ("*/*", false),
            ("text/plain", false),
            (prometheus, true),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text; version=1.0.0; q=0.2, text/plain; q=0.3", false),
            ("application/openmetrics-text;q=0, */*", false),
        ];
        for (accept, wanted) in table {
            assert_eq!(wants_openmetrics(accept), wanted, "{accept}");
        }
    }
}
