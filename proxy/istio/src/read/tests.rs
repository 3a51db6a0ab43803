//! Holds the readers to the rows of `support.rs`, and shows what the documents of `tests/data/known` become.

use std::collections::BTreeSet;

use crate::load::{Loaded, load};
use crate::resources::service_entry::TargetPort;
use crate::source::Source;
use crate::support::{self, ALL, Status};

fn known(files: &[&str]) -> Loaded {
    load(&files.iter().map(|name| Source::new(*name, known_text(name))).collect::<Vec<_>>())
}

fn known_text(name: &str) -> String {
    let path = format!("{}/tests/data/known/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).expect("the file is part of the crate")
}

const FILES: [&str; 5] =
    ["virtual-service.yaml", "destination-rule.yaml", "services.yaml", "kubernetes.yaml", "mesh.yaml"];

#[test]
fn what_is_known_and_enforced_is_read_without_a_complaint() {
    let loaded = known(&FILES);
    assert_eq!(loaded.diagnostics, [], "{:#?}", loaded.diagnostics);
    let resources = &loaded.resources;
    assert_eq!((resources.virtual_services.len(), resources.destination_rules.len()), (1, 1));
    assert_eq!(
        (resources.service_entries.len(), resources.workload_entries.len(), resources.sidecars.len()),
        (2, 1, 1)
    );
    assert_eq!((resources.services.len(), resources.endpoints.len()), (2, 1));
    assert_eq!((resources.endpoint_slices.len(), resources.pods.len()), (1, 1));
}

#[test]
fn every_row_is_read_and_everything_read_has_a_row() {
    support::tests::take_asked();
    known(&FILES);
    known(&["not-enforced.yaml"]);
    let asked = support::tests::take_asked();
    let read: BTreeSet<_> = ALL
        .iter()
        .flat_map(|block| block.rows.iter().map(move |row| (block, row)))
        .filter(|(_, row)| !matches!(row.status, Status::Passed | Status::Refused(_)))
        .map(|(block, row)| (block.kind, block.path, row.field))
        .collect();
    let unread: Vec<_> = read.difference(&asked).collect();
    assert!(unread.is_empty(), "rows that no reader asks for: {unread:#?}");
}

#[test]
fn every_row_that_is_not_enforced_says_so() {
    let loaded = known(&["not-enforced.yaml"]);
    let said = |field: &str| loaded.diagnostics.iter().any(|d| d.message.starts_with(&format!("`{field}` ")));
    for block in ALL {
        for row in block.rows {
            if !matches!(row.status, Status::Enforced | Status::Passed) {
                assert!(said(row.field), "nothing is said about `{}` in `{}`", row.field, block.path);
            }
        }
    }
}

#[test]
fn the_original_spelling_of_every_field_is_read_too() {
    let snake = |field: &str| {
        let split =
            |c: char| if c.is_ascii_uppercase() { format!("_{}", c.to_ascii_lowercase()) } else { c.to_string() };
        field.chars().map(split).collect::<String>()
    };
    let camel: BTreeSet<&str> = ALL
        .iter()
        .filter(|block| ["VirtualService", "DestinationRule"].contains(&block.kind))
        .flat_map(|block| block.rows.iter().map(|row| row.field))
        .filter(|field| field.contains(|c: char| c.is_ascii_uppercase()))
        .collect();
    let mut text = known_text(FILES[0]) + "---\n" + &known_text(FILES[1]);
    let plain = load(&[Source::new("f.yaml", text.clone())]);
    for field in &camel {
        text = text.replace(&format!("{field}:"), &format!("{}:", snake(field)));
    }
    assert!(text.contains("per_try_timeout:") && text.contains("consecutive5xx_errors:"));
    let spelt = load(&[Source::new("f.yaml", text)]);
    assert_eq!(spelt.diagnostics, [], "{:#?}", spelt.diagnostics);
    let routes = |loaded: &Loaded| loaded.resources.virtual_services[0].http.len();
    assert_eq!(routes(&spelt), routes(&plain));
    let pools = |loaded: &Loaded| {
        let policy = loaded.resources.destination_rules[0].traffic_policy.clone().expect("there is one");
        (policy.blocks.connection_pool, policy.blocks.outlier_detection, policy.blocks.load_balancer)
    };
    assert_eq!(pools(&spelt), pools(&plain));
    assert!(pools(&plain).0.is_some_and(|pool| pool.max_connections == Some(10) && pool.http2_keepalive.is_some()));
}

#[test]
fn kubernetes_objects_become_what_routing_needs() {
    let resources = known(&[FILES[3]]).resources;
    let pod = &resources.pods[0];
    assert_eq!((&*pod.workload, &*pod.node, pod.ready, pod.terminating), ("reviews", "n1", false, true));
    assert_eq!(pod.ips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1", "fd00::1"]);
    assert_eq!(pod.ports.get("web"), Some(&8080));
    let service = &resources.services[0];
    assert_eq!(service.cluster_ips.len(), 2);
    assert_eq!(service.ports[0].target, Some(TargetPort::Name("web".into())));
    assert_eq!(service.ports[1].target, Some(TargetPort::Number(9091)));
    assert!(service.external_name.is_none() && !service.headless);
    assert_eq!(resources.services[1].external_name.as_deref(), Some("outside.example.com"));
    let endpoint = &resources.endpoints[0].subsets[0];
    assert_eq!(endpoint.addresses[0].pod.as_deref(), Some("reviews-5d-x"));
    assert_eq!((endpoint.not_ready.len(), endpoint.ports[0].number), (1, 8080));
    let slice = &resources.endpoint_slices[0];
    assert_eq!(
        (&*slice.service, &*slice.endpoints[0].address.zone, slice.endpoints[0].ready),
        ("reviews", "eu-1a", true)
    );
}

#[test]
fn the_workload_of_a_pod_is_what_made_it() {
    let rows = [
        ("{name: a-1-x}", "a-1-x"),
        ("{name: p, labels: {pod-template-hash: '1'}, ownerReferences: [{kind: ReplicaSet, name: a-1}]}", "a"),
        ("{name: p, ownerReferences: [{kind: ReplicaSet, name: a-1}]}", "a-1"),
        ("{name: p, ownerReferences: [{kind: StatefulSet, name: db}]}", "db"),
        ("{name: p, ownerReferences: [{kind: Job, name: nightly-28123456}]}", "nightly"),
        ("{name: p, ownerReferences: [{kind: Job, name: once}]}", "once"),
        ("{name: p, ownerReferences: [{kind: A, name: a}, {kind: B, name: b, controller: true}]}", "b"),
    ];
    for (metadata, wanted) in rows {
        let loaded = load(&[Source::new("f.yaml", format!("apiVersion: v1\nkind: Pod\nmetadata: {metadata}\n"))]);
        assert_eq!(loaded.diagnostics, []);
        assert_eq!(&*loaded.resources.pods[0].workload, wanted, "{metadata}");
    }
}
