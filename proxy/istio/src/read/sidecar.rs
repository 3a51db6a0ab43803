//! Reads Sidecar.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::destination::destination;
use super::gateway::{check_bind, no_target_port, port_number, protocol};
use super::{Object, selector, server_tls, traffic_policy};
use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::fields::{Cx, Field, Fields};
use crate::names;
use crate::resources::Sidecar;
use crate::resources::gateway::{ServerTls, ServerTlsMode};
use crate::resources::sidecar::{
    CaptureMode, EgressHost, EgressListener, IngressListener, ListenerPort, OutboundTrafficPolicy,
};
use crate::resources::virtual_service::Destination;
use crate::source::Located;
use crate::support::{EGRESS, INGRESS, LISTENER_PORT, OUTBOUND_POLICY, SIDECAR, SIDECAR_SELECTOR};

pub(super) fn read(object: Object<'_>) -> Option<Sidecar> {
    let spec = object.spec(&SIDECAR)?;
    let wanted = ["egress", "ingress", "outboundTrafficPolicy", "inboundConnectionPool"];
    if !wanted.into_iter().any(|name| spec.fills(name)) {
        let list = wanted.map(|name| format!("`{name}`")).join(", ");
        object.cx.error(codes::MISSING, spec.mark, format!("a Sidecar needs one of {list}"));
    }
    let workload_selector = spec.get("workloadSelector").block(&SIDECAR_SELECTOR).map(|fields| {
        let labels = selector(fields.get("labels"));
        if labels.is_empty() {
            let message =
                "a `workloadSelector` without labels is no selector: every workload of the namespace is meant";
            fields.cx.warn(codes::NO_EFFECT, fields.mark, message);
        }
        labels
    });
    let policy = spec.get("outboundTrafficPolicy").block(&OUTBOUND_POLICY);
    let (outbound_traffic_policy, egress_proxy) = policy.map(|policy| outbound(&policy)).unzip();
    Some(Sidecar {
        workload_selector: workload_selector.filter(|labels| !labels.is_empty()),
        egress: egress(spec.get("egress")),
        ingress: ingress(spec.get("ingress")),
        inbound_connection_pool: traffic_policy::pool(spec.get("inboundConnectionPool")).map(Box::new),
        outbound_traffic_policy,
        egress_proxy: egress_proxy.flatten().map(Box::new),
        meta: object.meta,
    })
}

fn outbound(policy: &Fields<'_>) -> (OutboundTrafficPolicy, Option<Destination>) {
    let modes =
        [("REGISTRY_ONLY", OutboundTrafficPolicy::RegistryOnly), ("ALLOW_ANY", OutboundTrafficPolicy::AllowAny)];
    let mode = policy.get("mode").choice(&modes).unwrap_or_default();
    let field = policy.get("egressProxy");
    if field.node.is_none() {
        return (mode, None);
    }
    if mode != OutboundTrafficPolicy::AllowAny {
        policy.cx.error(codes::NEEDS, field.key, "`egressProxy` needs `mode: ALLOW_ANY`");
    }
    let message = "`egressProxy` is deprecated";
    policy.cx.push(policy.cx.at(Severity::Warning, codes::DEPRECATED, field.key, message).ist("IST0002"));
    let proxy = destination(field, policy);
    let host = &proxy.host;
    if !host.is_empty()
        && let Err(message) = names::fqdn(host)
    {
        policy.cx.push(Diagnostic::error(codes::BAD_HOST, &policy.cx.resource, &host.spot, message));
    }
    if proxy.port.is_none() && !policy.cx.failed() {
        policy.cx.error(codes::MISSING, field.key, "`egressProxy` needs `port`");
    }
    (mode, Some(proxy))
}

fn egress(field: Field<'_>) -> Vec<EgressListener> {
    let entries = field.items(&EGRESS);
    let mut listeners: Vec<EgressListener> = Vec::new();
    for (i, fields) in entries.iter().enumerate() {
        let listener = egress_listener(fields);
        let number = listener.port.as_ref().map(|port| port.number.value);
        if number.is_none() && i + 1 < entries.len() {
            let message = "an entry of `egress` without `port` takes all ports that are left, so it comes last";
            fields.cx.error(codes::CONFLICT, fields.mark, message);
        }
        let same = |before: &&EgressListener| {
            let other = before.port.as_ref().map(|port| port.number.value);
            number.is_some_and(|number| number > 0) && other == number && before.bind == listener.bind
        };
        if let Some(before) = listeners.iter().find(same) {
            let message = format!("port {} is in two entries of `egress`", number.unwrap_or_default());
            let diagnostic = fields.cx.at(Severity::Error, codes::DUPLICATE, fields.mark, message);
            fields.cx.push(diagnostic.label(&before.spot, "the first one"));
        }
        listeners.push(listener);
    }
    listeners
}

fn egress_listener(fields: &Fields<'_>) -> EgressListener {
    let bind = fields.get("bind").checked(codes::BAD_VALUE, check_bind).filter(|bind| !bind.is_empty());
    let capture = capture(fields.get("captureMode"));
    if capture != CaptureMode::Default {
        fields.not_enforced("captureMode");
    }
    let unix = bind.as_ref().is_some_and(|bind| bind.starts_with("unix://"));
    if unix && capture == CaptureMode::Iptables {
        fields.cx.error(codes::CONFLICT, fields.place("captureMode"), "nothing is redirected to a Unix socket");
    }
    let port = port(fields.get("port"), unix);
    if port.is_none() && bind.is_some() {
        fields.cx.error(codes::NEEDS, fields.place("bind"), "`bind` needs `port`");
    }
    let list = fields.required("hosts");
    let written = list.texts();
    if list.node.is_some() && written.is_empty() {
        fields.cx.error(codes::MISSING, list.key, "`hosts` names no host; write `~/*` to see nothing");
    }
    check_hosts(fields.cx, &written);
    let hosts = written.into_iter().filter_map(host).collect();
    EgressListener { spot: fields.spot(), port, bind: bind.map(|bind| bind.value), capture, hosts }
}

fn capture(field: Field<'_>) -> CaptureMode {
    let modes = [("DEFAULT", CaptureMode::Default), ("IPTABLES", CaptureMode::Iptables), ("NONE", CaptureMode::None)];
    field.choice(&modes).unwrap_or_default()
}

fn port(field: Field<'_>, unix: bool) -> Option<ListenerPort> {
    let fields = field.block(&LISTENER_PORT)?;
    no_target_port(fields.get("targetPort"));
    Some(ListenerPort {
        protocol: protocol(fields.get("protocol")),
        name: fields.get("name").text().unwrap_or_default(),
        number: port_number(fields.required("number"), unix)?,
    })
}

/// Istio: `namespace/name`; what is said twice, or beside `*/*`, adds nothing.
fn check_hosts(cx: &Cx, hosts: &[Located<Arc<str>>]) {
    let all = hosts.iter().find(|host| &*host.value == "*/*");
    let mut known: HashMap<&str, &Located<Arc<str>>> = HashMap::new();
    for host in hosts {
        if let Err(message) = check_host(host) {
            cx.push(Diagnostic::error(codes::BAD_HOST, &cx.resource, &host.spot, message));
            continue;
        }
        let warn = |message: String| Diagnostic::warning(codes::NO_EFFECT, &cx.resource, &host.spot, message);
        if let Some(before) = known.insert(&host.value, host) {
            cx.push(warn(format!("`{}` is named twice", host.value)).label(&before.spot, "here"));
        } else if let Some(all) = all.filter(|all| all.value != host.value && !host.starts_with('~')) {
            cx.push(warn(format!("`{}` is in `*/*`", host.value)).label(&all.spot, "here"));
        }
    }
}

fn check_host(host: &str) -> Result<(), String> {
    let Some((namespace, name)) = host.split_once('/') else {
        return Err(format!("`{host}` is not `namespace/host`"));
    };
    if !matches!(namespace, "*" | "." | "~") {
        names::dns_label(namespace.strip_prefix('~').unwrap_or(namespace))?;
    }
    if name != "*" && !name.contains('.') {
        return Err(format!("`{name}` is a short name; these hosts are full names"));
    }
    names::wildcard_domain(name)
}

fn host(written: Located<Arc<str>>) -> Option<EgressHost> {
    let (namespace, host) = written.split_once('/')?;
    let excluded = namespace.len() > 1 && namespace.starts_with('~');
    let namespace = if excluded { &namespace[1..] } else { namespace };
    Some(EgressHost { namespace: namespace.into(), host: host.to_ascii_lowercase().into(), excluded, written })
}

fn ingress(field: Field<'_>) -> Vec<IngressListener> {
    let mut listeners: Vec<IngressListener> = Vec::new();
    for fields in field.items(&INGRESS) {
        let found = port(fields.required("port"), false);
        let bind = fields.get("bind").checked(codes::BAD_VALUE, check_bind).filter(|bind| !bind.is_empty());
        let endpoint = fields.get("defaultEndpoint").checked(codes::BAD_VALUE, check_endpoint);
        let tls = server_tls::read(fields.get("tls")).map(Box::new);
        if let Some(tls) = &tls {
            check_tls(&fields, tls, found.as_ref());
        }
        let (capture, connection_pool) =
            (capture(fields.get("captureMode")), traffic_policy::pool(fields.get("connectionPool")).map(Box::new));
        let Some(port) = found else { continue };
        if let Some(before) = listeners.iter().find(|before| before.port.number.value == port.number.value) {
            let message = format!("port {} is in two entries of `ingress`", port.number.value);
            let diagnostic = Diagnostic::error(codes::DUPLICATE, &fields.cx.resource, &port.number.spot, message);
            fields.cx.push(diagnostic.label(&before.port.number.spot, "the first one"));
        }
        listeners.push(IngressListener {
            spot: fields.spot(),
            port,
            bind: bind.map(|bind| bind.value),
            capture,
            default_endpoint: endpoint.map(|endpoint| endpoint.value).filter(|endpoint| !endpoint.is_empty()),
            tls,
            connection_pool,
        });
    }
    listeners
}

/// Istio: the loopback or wildcard address with a port, or a Unix socket.
fn check_endpoint(endpoint: &str) -> Result<(), String> {
    if endpoint.is_empty() {
        return Ok(());
    }
    if endpoint.starts_with("unix://") {
        return check_bind(endpoint);
    }
    let wanted =
        || format!("`{endpoint}` is not 127.0.0.1, [::1], 0.0.0.0 or [::] with a port, nor `unix://` and a path");
    let (address, port) = endpoint.rsplit_once(':').ok_or_else(wanted)?;
    let address: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| wanted())?;
    let port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let known = ["127.0.0.1", "::1", "0.0.0.0", "::"].iter().any(|known| known.parse() == Ok(address));
    if port && known { Ok(()) } else { Err(wanted()) }
}

/// Istio: what an inbound port's `tls` may not say.
fn check_tls(fields: &Fields<'_>, tls: &ServerTls, port: Option<&ListenerPort>) {
    let error = |message: &str| fields.cx.error(codes::CONFLICT, fields.place("tls"), message.to_owned());
    if port.is_some_and(|port| !matches!(&*port.protocol, "" | "HTTPS" | "TLS")) {
        error("`tls` goes with ports of protocol HTTPS or TLS");
    }
    if matches!(tls.mode, ServerTlsMode::IstioMutual | ServerTlsMode::AutoPassthrough) {
        error("`tls.mode` of an inbound port is neither ISTIO_MUTUAL nor AUTO_PASSTHROUGH");
    }
    if tls.https_redirect
        || !tls.subject_alt_names.is_empty()
        || !tls.credentials.is_empty()
        || tls.certificates.len() > 1
    {
        error(
            "`tls` of an inbound port has no `httpsRedirect`, `subjectAltNames`, `credentialName` or `tlsCertificates`",
        );
    }
}
