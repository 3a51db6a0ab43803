//! The metrics that are read at the moment of a scrape: clusters, configuration, build and process.

use leeboard_istio::diagnostic::Severity;

use super::samples::{empty, gauge, labels, one, timestamp};
use super::status::{ClusterStatus, Moment, clusters};
use super::{AdminState, VERSION, process};
use crate::drain::Life;
use crate::telemetry::exposition::{Family, Value};
use crate::telemetry::families;

/// Everything that a scrape shows.
pub(super) fn families(state: &AdminState) -> Vec<Family> {
    let now = Moment { time: state.controls.now(), wall: state.controls.wall() };
    let live = state.live.load();
    let mut families = state.telemetry.families(now.wall);
    families.extend(of_clusters(&clusters(&live, now).collect::<Vec<_>>()));
    families.extend(of_configuration(state, live.snapshot().version()));
    families.extend(of_build(state));
    families.extend(process::families(state.started));
    families
}

fn of_clusters(clusters: &[ClusterStatus<'_>]) -> Vec<Family> {
    let mut ejected = empty(&families::EJECTED);
    let mut endpoints = empty(&families::ENDPOINTS);
    let mut active = empty(&families::ACTIVE);
    let mut open = empty(&families::BREAKER_OPEN);
    let mut remaining = empty(&families::BREAKER_REMAINING);
    let mut overflows = empty(&families::BREAKER_OVERFLOWS);
    for status in clusters {
        let name = &*status.cluster.name;
        let out = status.endpoints.iter().filter(|endpoint| endpoint.ejected).count();
        if !status.endpoints.is_empty() {
            endpoints.samples.push((labels(&[name, "available"]), gauge(status.endpoints.len() - out)));
            endpoints.samples.push((labels(&[name, "ejected"]), gauge(out)));
            let sum: u32 = status.endpoints.iter().map(|endpoint| endpoint.active).sum();
            active.samples.push((labels(&[name]), gauge(sum as usize)));
        }
        if status.cluster.outlier.is_some() {
            ejected.samples.extend(status.endpoints.iter().map(|endpoint| {
                (labels(&[name, &endpoint.spec.address.to_string()]), gauge(usize::from(endpoint.ejected)))
            }));
        }
        // Where there is no limit nothing can be said of it.
        for limit in status.limits {
            let Some(left) = limit.remaining() else { continue };
            let labels = labels(&[name, limit.name]);
            open.samples.push((labels.clone(), gauge(usize::from(left == 0))));
            remaining.samples.push((labels.clone(), gauge(left as usize)));
            overflows.samples.push((labels, Value::Counter(limit.overflows)));
        }
    }
    vec![ejected, endpoints, active, open, remaining, overflows]
}

fn of_configuration(state: &AdminState, version: &str) -> Vec<Family> {
    let config = state.config.load();
    let errors = config.count(Severity::Error);
    vec![
        one(&families::CONFIG_INFO, &[version], gauge(1)),
        one(&families::CONFIG_ERRORS, &[], gauge(errors)),
        one(&families::CONFIG_WARNINGS, &[], gauge(config.count(Severity::Warning))),
        one(&families::CONFIG_KEPT, &[], gauge(config.kept.len())),
        one(&families::CONFIG_LEFT_OUT, &[], gauge(config.left_out.len())),
        one(&families::CONFIG_WAITING, &[], gauge(config.waiting.len())),
        one(&families::CONFIG_RELOADED, &[], Value::Gauge(timestamp(config.read))),
        one(&families::CONFIG_SUCCESSFUL, &[], gauge(usize::from(errors == 0))),
    ]
}

fn of_build(state: &AdminState) -> Vec<Family> {
    let ready = state.controls.life() == Life::Live;
    vec![
        one(&families::READY, &[], gauge(usize::from(ready))),
        one(&families::BUILD_INFO, &[VERSION], gauge(1)),
        one(&families::ISTIO_BUILD, &["proxy", concat!("leeboard-", env!("CARGO_PKG_VERSION"))], gauge(1)),
    ]
}
