//! Outlier detection that ejects nothing, or too early, or brings more than it says.

use std::collections::BTreeSet;

use super::super::Checking;
use super::Scope;
use crate::codes;
use crate::compile::services::service::{Backends, Service};
use crate::resources::destination_rule::{Algorithm, OutlierDetection};

/// Envoy: what `maxEjectionPercent` is when it is absent or 0.
const DEFAULT_PERCENT: u32 = 10;
/// Envoy: what `consecutive5xxErrors` is when it is absent.
const DEFAULT_ERRORS: u32 = 5;

pub(super) fn check(cx: &Checking<'_>, at: &Scope<'_, '_>) {
    failover(cx, at);
    let Some(detection) = &at.blocks.outlier_detection else { return };
    impossible(cx, at, detection);
    counters(cx, at, detection);
    panic(cx, at, detection);
    locality(cx, at);
}

fn percent(detection: &OutlierDetection) -> u32 {
    if detection.max_ejection_percent == 0 { DEFAULT_PERCENT } else { detection.max_ejection_percent }
}

/// Envoy: an endpoint is ejected only if no more than the percentage of all are ejected then.
fn impossible(cx: &Checking<'_>, at: &Scope<'_, '_>, detection: &OutlierDetection) {
    let Some(endpoints) = at.endpoints() else { return };
    let percent = percent(detection) as usize;
    if endpoints * percent >= 100 {
        return;
    }
    let path = at.path.to("outlierDetection").to("maxEjectionPercent");
    let written = if detection.max_ejection_percent == 0 { " (the default)" } else { "" };
    let noun = if endpoints == 1 { "endpoint" } else { "endpoints" };
    let message = format!("maxEjectionPercent {percent}{written} of {endpoints} {noun}: nothing can ever be ejected");
    let complaint = cx.warning(codes::EJECTION_IMPOSSIBLE, &at.rule.meta, &path, message);
    let least = 100usize.div_ceil(endpoints);
    let one = if endpoints == 1 { "the only one" } else { "one of them" };
    cx.tell(complaint.help(format!("write `maxEjectionPercent: {least}` so that {one} can be")));
}

fn counters(cx: &Checking<'_>, at: &Scope<'_, '_>, detection: &OutlierDetection) {
    let path = at.path.to("outlierDetection");
    let gateway = detection.consecutive_gateway.filter(|count| *count > 0);
    let errors = detection.consecutive_5xx.unwrap_or(DEFAULT_ERRORS);
    if errors == 0 && gateway.is_none() && !detection.split_local_origin {
        let message = "outlier detection counts nothing, and never ejects anything";
        let complaint =
            cx.warning(codes::EJECTION_UNTRIGGERED, &at.rule.meta, &path.to("consecutive5xxErrors"), message);
        return cx.tell(complaint.help("set `consecutiveGatewayErrors`, or leave `consecutive5xxErrors` out for 5"));
    }
    if let Some(gateway) = gateway.filter(|count| errors > 0 && *count > errors && detection.error_codes.is_empty()) {
        let default = if detection.consecutive_5xx.is_none() { ", the default," } else { "" };
        let message = format!(
            "consecutiveGatewayErrors {gateway} is never reached: consecutive5xxErrors {errors}{default} comes first"
        );
        let complaint = cx.warning(codes::COUNTER_OUTRUN, &at.rule.meta, &path.to("consecutiveGatewayErrors"), message);
        cx.tell(complaint.help("write `consecutive5xxErrors: 0` to count gateway errors alone"));
    }
}

/// Envoy: below the panic threshold all endpoints are used, ejected ones too.
fn panic(cx: &Checking<'_>, at: &Scope<'_, '_>, detection: &OutlierDetection) {
    let (least, most) = (detection.min_health_percent, percent(detection));
    if least == 0 || least + most <= 100 {
        return;
    }
    let message = format!(
        "when more than {} % are ejected, fewer than minHealthPercent {least} % are left and all are used again, before maxEjectionPercent {most}",
        100 - least
    );
    let path = at.path.to("outlierDetection").to("minHealthPercent");
    let complaint = cx.warning(codes::PANIC_BEFORE_CAP, &at.rule.meta, &path, message);
    cx.tell(complaint.help(format!("write `minHealthPercent: {}` or less", 100 - most.min(100))));
}

/// Istio: locality load balancing is on by default, and takes effect with outlier detection.
fn locality(cx: &Checking<'_>, at: &Scope<'_, '_>) {
    let balancer = at.blocks.load_balancer.as_deref();
    let aware = |balancer: &crate::resources::destination_rule::LoadBalancer| {
        balancer.locality.is_some() || balancer.zone_aware.is_some() || balancer.algorithm == Algorithm::Passthrough
    };
    let top = at.rule.traffic_policy.as_ref().and_then(|policy| policy.blocks.load_balancer.as_deref());
    if balancer.or(top).is_some_and(aware) {
        return;
    }
    let Some(service) = at.service else { return };
    let localities = localities(service);
    if localities.len() < 2 {
        return;
    }
    let names: Vec<String> = localities.into_iter().map(|name| format!("`{name}`")).collect();
    let message = format!("with outlierDetection requests also stay in the caller's locality, of {}", names.join(", "));
    let complaint = cx.info(codes::LOCALITY_PREFERRED, &at.rule.meta, &at.path.to("outlierDetection"), message);
    cx.tell(complaint.help("write `loadBalancer: {localityLbSetting: {enabled: false}}` to use all endpoints alike"));
}

/// Istio: without outlier detection no endpoint is unhealthy, and so none is failed over from.
fn failover(cx: &Checking<'_>, at: &Scope<'_, '_>) {
    let Some(locality) = at.blocks.load_balancer.as_ref().and_then(|balancer| balancer.locality.as_ref()) else {
        return;
    };
    let top = at.rule.traffic_policy.as_ref().filter(|_| at.port.is_none()).map(|policy| &policy.blocks);
    let detects = at.blocks.outlier_detection.is_some() || top.is_some_and(|top| top.outlier_detection.is_some());
    let below = || at.rule.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
    let refined = at.subset.is_none() && below().any(|policy| policy.blocks.outlier_detection.is_some());
    if detects || refined || locality.enabled == Some(false) || cx.has_default_detection() {
        return;
    }
    let name = match (locality.failover.is_empty(), locality.failover_priority.is_empty()) {
        (false, _) => "failover",
        (true, false) => "failoverPriority",
        (true, true) => return,
    };
    let message = format!("`{name}` never applies: without `outlierDetection` no endpoint is unhealthy");
    let path = at.path.to("loadBalancer").to("localityLbSetting").to(name);
    let complaint = cx.warning(codes::FAILOVER_NEEDS_DETECTION, &at.rule.meta, &path, message);
    cx.tell(complaint.help("add `outlierDetection`"));
}

fn localities(service: &Service) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for port in &service.ports {
        if let Backends::Written(all) = &port.backends {
            found.extend(all.iter().map(|spec| spec.workload.locality.to_string()).filter(|name| !name.is_empty()));
        }
    }
    found
}
