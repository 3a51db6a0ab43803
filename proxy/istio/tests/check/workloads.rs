//! What objects say of workloads, and the ports of services: L03xx.

use leeboard_istio::codes::*;

use crate::references::{pod, service};
use crate::{Pair, entry, object};

pub(crate) fn pairs() -> Vec<Pair> {
    [workloads(), services()].concat()
}

fn workloads() -> Vec<Pair> {
    let selecting = |labels: &str| {
        pod("p-1", "{app: stock, version: v1}")
            + &object(
                "ServiceEntry",
                "s",
                &format!(
                    "{{hosts: [stock.example.com], resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP}}], workloadSelector: {{labels: {labels}}}}}"
                ),
            )
    };
    let written = |endpoint: &str| {
        let spec = format!(
            "{{hosts: [stock.example.com], resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP}}], endpoints: [{{address: {endpoint}}}]}}"
        );
        object("ServiceEntry", "s", &spec)
    };
    vec![
        (SELECTS_NOBODY, selecting("{app: «stok»}"), selecting("{app: stock}")),
        (
            SELECTS_NOBODY,
            pod("p-1", "{app: stock}") + &entry("match: [{sourceLabels: {app: «stokc»}}]"),
            pod("p-1", "{app: stock}") + &entry("match: [{sourceLabels: {app: stock}}]"),
        ),
        (
            LABEL_NAME,
            written("10.0.4.1, labels: {versoin: v1}").replace("versoin", "«versoin»"),
            written("10.0.4.1, labels: {tier: v1}"),
        ),
        (
            NEARLY_CLUSTER,
            object(
                "ServiceEntry",
                "s",
                "{hosts: [«stock.demo.svc.clustr.local»], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}",
            ),
            object(
                "ServiceEntry",
                "s",
                "{hosts: [stock.demo.svc.cluster.local], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}",
            ),
        ),
        (
            UNKNOWN_NAMESPACE,
            object(
                "ServiceEntry",
                "s",
                "{hosts: [«stock.deno.svc.cluster.local»], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}",
            ),
            object(
                "ServiceEntry",
                "s",
                "{hosts: [stock.other.svc.cluster.local], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}",
            ),
        ),
    ]
}

/// Ports of services.
fn services() -> Vec<Pair> {
    let tcp = |rest: &str| {
        object(
            "ServiceEntry",
            "t",
            &format!("{{hosts: [db.example.com], resolution: DNS, ports: [{{number: 6000, name: tcp, protocol: {rest}"),
        )
    };
    vec![
        (ADDRESSES_NEEDED, tcp("«TCP»}]}"), tcp("TCP}], addresses: [10.1.1.1]}")),
        (PORT_NAME, tcp("«''»}]}"), tcp("HTTP}]}")),
        (
            PORT_NAME,
            service("a", "demo", "{clusterIP: 10.0.0.9, ports: [{name: «web», port: 80}]}"),
            service("a", "demo", "{clusterIP: 10.0.0.9, ports: [{name: http-web, port: 80}]}"),
        ),
        (
            EXTERNAL_NAME_PORT,
            service("a", "demo", "{type: ExternalName, externalName: a.example.com, ports: [{name: «web», port: 80}]}"),
            service("a", "demo", "{type: ExternalName, externalName: a.example.com, ports: [{name: http, port: 80}]}"),
        ),
    ]
}
