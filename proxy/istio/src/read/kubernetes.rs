//! Reads Kubernetes' Service and Pod, as far as routing needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::Object;
use crate::annotations;
use crate::codes;
use crate::fields::{Field, Fields};
use crate::resources::kubernetes::TrafficDistribution;
use crate::resources::service_entry::{ServicePort, TargetPort};
use crate::resources::{Kind, Pod, Service};
use crate::source::Spot;
use crate::support::{
    Block, CONTAINER, CONTAINER_PORT, KUBERNETES_PORT, POD, POD_CONDITION, POD_IP, POD_STATUS, SECURITY_CONTEXT,
    SERVICE,
};

/// Istio: the user that the proxy runs as, whose connections are not redirected to it.
pub(super) const PROXY_USER: &str = "1337";

/// A block at the top of an object.
pub(super) fn top<'a>(object: &Object<'a>, key: &str, block: &'static Block) -> Option<Fields<'a>> {
    let (key, node) = object.node.entries()?.iter().find(|(k, _)| &*k.text == key)?;
    Fields::of(node, key.mark, block, object.cx)
}

pub(super) fn read_service(object: Object<'_>) -> Option<Service> {
    let Some(spec) = top(&object, "spec", &SERVICE) else {
        object.cx.error(codes::MISSING, object.name_mark, "a Service needs `spec`");
        return None;
    };
    let types = [("ClusterIP", ()), ("NodePort", ()), ("LoadBalancer", ()), ("ExternalName", ())];
    let external =
        spec.get("type").choice(&types).is_some() && spec.get("type").text().as_deref() == Some("ExternalName");
    let external_name = spec.get("externalName").text();
    if external && external_name.is_none() {
        spec.cx.error(codes::MISSING, spec.mark, "a Service of type ExternalName needs `externalName`");
    }
    if spec.get("sessionAffinity").choice(&[("None", false), ("ClientIP", true)]) == Some(true) {
        let message =
            "`sessionAffinity` is not enforced; write `consistentHash: {useSourceIp: true}` in a DestinationRule";
        spec.cx.warn(codes::NOT_ENFORCED, spec.place("sessionAffinity"), message);
    }
    let single = spec.get("clusterIP");
    let headless = single.node.and_then(|node| node.raw()) == Some("None");
    let mut cluster_ips = Vec::new();
    for (spot, text) in ip_texts(single).into_iter().chain(ip_texts(spec.get("clusterIPs"))) {
        if &*text == "None" || text.is_empty() {
            continue;
        }
        let ip = ip(&text, spot, &spec);
        cluster_ips.extend(ip.filter(|ip| !cluster_ips.contains(ip)));
    }
    let ports: Vec<ServicePort> = spec.get("ports").items(&KUBERNETES_PORT).iter().map(port).collect();
    let mut seen = BTreeSet::new();
    for port in &ports {
        if !seen.insert((port.number, port.tcp)) {
            spec.cx.error(codes::DUPLICATE, spec.place("ports"), format!("port {} is listed twice", port.number));
        }
    }
    let distribution = distribution(spec.get("trafficDistribution"));
    Some(Service {
        distribution: distribution.or_else(|| annotations::distribution(&object.meta.annotations)),
        cluster_ips,
        headless,
        external_name: external_name.filter(|_| external),
        ports,
        selector: spec.get("selector").labels(),
        publish_not_ready: spec.get("publishNotReadyAddresses").bool().unwrap_or(false),
        meta: object.meta,
    })
}

/// A word that Kubernetes may come to know later is no reason to do without the service.
fn distribution(field: Field<'_>) -> Option<TrafficDistribution> {
    let word = field.text()?;
    let known = annotations::DISTRIBUTIONS.iter().find(|(known, _)| *known == &*word);
    if known.is_none() {
        annotations::no_distribution(field.cx, field.mark(), &word);
    }
    known.map(|(_, distribution)| *distribution)
}

fn ip_texts(field: Field<'_>) -> Vec<(crate::yaml::Mark, Arc<str>)> {
    match field.node.map(|node| &node.value) {
        Some(crate::yaml::Value::Seq(items)) => {
            items.iter().filter_map(|node| Some((node.mark, Arc::from(node.raw()?)))).collect()
        }
        Some(_) => field.text().map(|text| (field.mark(), text)).into_iter().collect(),
        None => Vec::new(),
    }
}

/// An address, or a complaint.
pub(super) fn ip(text: &str, mark: crate::yaml::Mark, fields: &Fields<'_>) -> Option<IpAddr> {
    let ip = text.parse().ok();
    if ip.is_none() {
        fields.cx.error(codes::BAD_VALUE, mark, format!("`{text}` is not an IP address"));
    }
    ip
}

fn port(fields: &Fields<'_>) -> ServicePort {
    let target = fields.get("targetPort");
    let by_name = target.node.and_then(|node| node.raw()).filter(|text| text.parse::<i64>().is_err());
    let target = match by_name {
        Some(name) => Some(TargetPort::Name(name.into())),
        None => target.port().map(TargetPort::Number),
    };
    let transport = fields.get("protocol").choice(&[("TCP", true), ("UDP", false), ("SCTP", false)]);
    ServicePort {
        spot: fields.spot(),
        number: fields.required("port").port().unwrap_or(0),
        name: fields.get("name").text().unwrap_or_default(),
        protocol: fields.get("appProtocol").text(),
        tcp: transport.unwrap_or(true),
        target,
    }
}

pub(super) fn read_pod(object: Object<'_>) -> Option<Pod> {
    let spec = top(&object, "spec", &POD);
    let status = top(&object, "status", &POD_STATUS);
    let (ips, ready, over) = status.as_ref().map_or((Vec::new(), true, false), pod_status);
    let node = spec.as_ref().and_then(|spec| spec.get("nodeName").text()).unwrap_or_default();
    let containers = spec.as_ref().map(containers).unwrap_or_default();
    let ports = container_ports(&containers);
    let of_pod = spec.as_ref().and_then(proxy_user);
    let of_containers = containers.iter().filter(|container| !is_proxy(container)).filter_map(proxy_user);
    let proxy_user = of_pod.into_iter().chain(of_containers).collect();
    Some(Pod {
        ips,
        ready,
        terminating: object.deleting || over,
        node,
        workload: workload(&object),
        ports,
        proxy_user,
        meta: object.meta,
    })
}

/// Addresses, readiness, and whether the pod is over.
fn pod_status(status: &Fields<'_>) -> (Vec<IpAddr>, bool, bool) {
    let mut ips = Vec::new();
    let single = status.get("podIP");
    ips.extend(single.text().and_then(|text| ip(&text, single.mark(), status)));
    for entry in status.get("podIPs").items(&POD_IP) {
        let field = entry.get("ip");
        let found = field.text().and_then(|text| ip(&text, field.mark(), &entry));
        ips.extend(found.filter(|ip| !ips.contains(ip)));
    }
    let mut ready = true;
    for condition in status.get("conditions").items(&POD_CONDITION) {
        let kind = condition.get("type").text();
        let holds = condition.get("status").text();
        if kind.as_deref() == Some("Ready") {
            ready = holds.as_deref() == Some("True");
        }
    }
    let phase = status.get("phase").text();
    (ips, ready, matches!(phase.as_deref(), Some("Succeeded" | "Failed")))
}

fn containers<'a>(spec: &Fields<'a>) -> Vec<Fields<'a>> {
    let mut all = spec.get("containers").items(&CONTAINER);
    all.append(&mut spec.get("initContainers").items(&CONTAINER));
    all
}

fn is_proxy(container: &Fields<'_>) -> bool {
    container.get("name").text().is_some_and(|name| matches!(&*name, "istio-proxy" | "leeboard"))
}

/// Where a pod or container says that it runs as the proxy's user.
fn proxy_user(fields: &Fields<'_>) -> Option<Spot> {
    let context = fields.get("securityContext").block(&SECURITY_CONTEXT)?;
    let user = context.get("runAsUser");
    let is_its = user.node.and_then(|node| node.raw()) == Some(PROXY_USER);
    is_its.then(|| fields.cx.spot(user.mark()))
}

fn container_ports(containers: &[Fields<'_>]) -> BTreeMap<Arc<str>, u16> {
    let mut ports = BTreeMap::new();
    for container in containers {
        for port in container.get("ports").items(&CONTAINER_PORT) {
            let number = port.get("containerPort").port();
            if let Some((name, number)) = port.get("name").text().zip(number) {
                ports.entry(name).or_insert(number);
            }
        }
    }
    ports
}

/// Istio: the owner's name, of a ReplicaSet without the hash that the Deployment gave it, of a Job without the CronJob's time.
fn workload(object: &Object<'_>) -> Arc<str> {
    debug_assert_eq!(object.meta.id.kind, Kind::Pod);
    let Some((kind, name)) = &object.owner else { return object.meta.name().clone() };
    let hash = object.meta.labels.get("pod-template-hash");
    match &**kind {
        "ReplicaSet" => {
            let suffix = hash.map(|hash| format!("-{hash}"));
            suffix.and_then(|suffix| name.strip_suffix(&*suffix)).map_or_else(|| name.clone(), Arc::from)
        }
        "Job" => match name.rsplit_once('-') {
            Some((cron, time)) if (8..=11).contains(&time.len()) && time.bytes().all(|b| b.is_ascii_digit()) => {
                cron.into()
            }
            _ => name.clone(),
        },
        _ => name.clone(),
    }
}
