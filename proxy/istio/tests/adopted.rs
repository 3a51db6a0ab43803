//! Documents as they are found in the wild load, do what they say, and what is written in the wrong place is told where it belongs.

use leeboard_istio::codes::{self, Code};
use leeboard_istio::compile::{Site, compile};
use leeboard_istio::source::Source;
use leeboard_istio::{Loaded, load, render};
use leeboard_policy::cluster::{Balancer, Cluster, Discovery, Workload};
use leeboard_policy::route::Action;
use leeboard_policy::snapshot::Snapshot;
use leeboard_policy::time::Span;

fn sources() -> [Source; 2] {
    ["services.yaml", "rules.yaml"].map(|name| {
        let path = format!("{}/tests/data/adopted/{name}", env!("CARGO_MANIFEST_DIR"));
        Source::new(name, std::fs::read_to_string(path).expect("a file of this crate"))
    })
}

fn loaded() -> Loaded {
    load(&sources())
}

fn snapshot() -> Snapshot {
    let workload = Workload { namespace: "library".into(), ..Workload::default() };
    let (snapshot, complaints) = compile(&loaded().resources, &Site { workload, ..Site::default() });
    // The copies of requests to port 9090 really have nowhere to go.
    let told: Vec<_> = complaints.iter().map(|complaint| (complaint.code, complaint.primary.line)).collect();
    assert_eq!(told, [(codes::UNKNOWN_PORT, 71)], "{}", render(&complaints, &sources(), false));
    snapshot
}

#[test]
fn what_is_misplaced_is_told_where_it_belongs() {
    let ejection = |key: &str| format!("`{key}` belongs in `trafficPolicy.outlierDetection`");
    let wanted: [(u32, Code, String); 7] = [
        (14, codes::UNKNOWN_FIELD, "did you mean `tcpKeepalive`?".into()),
        (19, codes::UNKNOWN_FIELD, ejection("consecutiveGatewayErrors")),
        (20, codes::UNKNOWN_FIELD, ejection("interval")),
        (21, codes::UNKNOWN_FIELD, ejection("baseEjectionTime")),
        (22, codes::UNKNOWN_FIELD, ejection("maxEjectionPercent")),
        (23, codes::UNKNOWN_FIELD, ejection("minHealthPercent")),
        (24, codes::UNKNOWN_FIELD, "what is in `circuitBreaker` belongs in `trafficPolicy.outlierDetection`".into()),
    ];
    let loaded = loaded();
    let found: Vec<_> = loaded.diagnostics.iter().filter(|d| d.code == codes::UNKNOWN_FIELD).collect();
    let shown: Vec<_> = found.iter().map(|d| (d.primary.line, d.code, d.help.clone().unwrap_or_default())).collect();
    assert_eq!(shown, wanted, "{}", render(&loaded.diagnostics, &sources(), false));
}

#[test]
fn nothing_else_is_blamed() {
    let loaded = loaded();
    assert_eq!((loaded.errors(), loaded.rejected.len()), (0, 0));
    let others: Vec<_> = loaded
        .diagnostics
        .iter()
        .filter(|d| d.code != codes::UNKNOWN_FIELD)
        .map(|d| (d.code, &*d.resource, d.primary.line))
        .collect();
    let wanted =
        [(codes::PASSED_OVER, "StatefulSet catalogue", 60), (codes::NOT_ENFORCED, "Gateway library/front", 76)];
    assert_eq!(others, wanted, "{}", render(&loaded.diagnostics, &sources(), false));
}

#[test]
fn the_rest_is_in_force() {
    let snapshot = snapshot();
    let cluster = |subset: &str| -> &Cluster {
        let name = format!("outbound|80|{subset}|catalogue.library.svc.cluster.local");
        snapshot.cluster(snapshot.cluster_named(&name).expect("there is such a cluster"))
    };
    let endpoints = |subset: &str| match &cluster(subset).discovery {
        Discovery::Static(all) => all.iter().map(|spec| spec.address.to_string()).collect::<Vec<_>>().join(" "),
        other => panic!("{other:?}"),
    };
    for (subset, addresses, pending, connections, eject) in [
        ("", "10.7.0.1:3000 10.7.0.2:3000", Some(40), Some(80), true),
        ("stable", "10.7.0.1:3000", None, None, false),
        ("next", "10.7.0.2:3000", Some(10), Some(20), true),
        ("canary", "10.7.0.2:3000", Some(40), Some(80), true),
    ] {
        let cluster = cluster(subset);
        assert_eq!(endpoints(subset), addresses, "{subset}");
        assert_eq!((cluster.limits.pending, cluster.limits.connections), (pending, connections), "{subset}");
        assert_eq!(cluster.outlier.is_some(), eject, "{subset}");
    }
    assert_eq!(cluster("stable").balancer, Balancer::RoundRobin);
    let outlier = cluster("").outlier.as_ref().expect("it ejects");
    assert_eq!((outlier.consecutive_5xx, outlier.consecutive_gateway), (6, 4));
    assert_eq!((outlier.interval, outlier.base_ejection), (Span::from_secs(20), Span::from_secs(40)));
}

#[test]
fn the_canary_the_group_and_the_rest() {
    let snapshot = snapshot();
    let host = snapshot.host(80, "catalogue").expect("it is routed");
    let shown: Vec<String> = host
        .routes
        .iter()
        .map(|route| {
            let Action::Forward(forward) = &route.action else { panic!("they all forward") };
            let to = forward.destinations.iter().map(|to| format!("{}", to.weight)).collect::<Vec<_>>().join("+");
            let seconds = forward.timeout.map_or(0, |timeout| timeout.0 / 1_000_000_000);
            let attempts = forward.retry.as_ref().map_or(0, |retry| retry.attempts);
            format!("{} {to} {seconds}s {attempts} {}", route.when.headers.len(), forward.mirrors.len())
        })
        .collect();
    assert_eq!(shown, ["1 100 20s 2 0", "1 100 0s 2 0", "0 95+5 0s 2 1"]);
}
