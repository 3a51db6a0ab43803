//! Records and workloads for tests.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use leeboard_policy::cluster::{Address, Service, Workload};
use leeboard_policy::origin::Origin;
use leeboard_policy::time::Span;
use leeboard_policy::verdict::Flags;

use super::record::{Destination, LoggedHead, Record, Reporter};

pub(crate) fn workload(app: &str, version: &str, namespace: &str) -> Workload {
    let labels = [("app", app), ("version", version)].map(|(key, value)| (key.into(), value.into()));
    Workload { name: app.into(), namespace: namespace.into(), labels: labels.into(), locality: "".into() }
}

pub(crate) fn nowhere() -> Destination {
    Destination { cluster: None, service: None, caller: None, workload: None, endpoint: None }
}

pub(crate) fn destination() -> Destination {
    Destination {
        cluster: Some("outbound|9080|v2|reviews.default.svc.cluster.local".into()),
        service: Some(Service {
            host: "reviews.default.svc.cluster.local".into(),
            name: "reviews".into(),
            namespace: "default".into(),
            port: 9080,
            subset: "v2".into(),
            external: false,
        }),
        caller: None,
        workload: Some(Arc::new(Workload { name: "reviews-v2".into(), ..workload("reviews", "v2", "default") })),
        endpoint: Some(Address::Socket(([10, 0, 0, 7], 9080).into())),
    }
}

/// A GET of 2.5 ms that was answered 200, of 120 + 0 bytes in and 80 + 512 bytes out.
pub(crate) fn record() -> Record {
    Record {
        reporter: Reporter::Source,
        started: UNIX_EPOCH + Duration::from_millis(1_709_210_096_007),
        duration: Span(2_500_000),
        protocol: http::Version::HTTP_11,
        status: 200,
        grpc_status: None,
        grpc: false,
        flags: Flags::NONE,
        details: "via_upstream".into(),
        request_head_bytes: 120,
        bytes_received: 0,
        response_head_bytes: 80,
        bytes_sent: 512,
        upstream_service_time: Some(Span(1_900_000)),
        destination: Rc::new(destination()),
        transport_failure: None,
        upstream_local: Some(([10, 0, 0, 1], 40_000).into()),
        downstream_local: ([127, 0, 0, 1], 15_001).into(),
        downstream_remote: ([127, 0, 0, 1], 51_000).into(),
        seed: 0x1f,
        head: Some(Box::new(LoggedHead {
            method: http::Method::GET,
            path: "/reviews/1?full=\"yes\"".into(),
            authority: "reviews:9080".into(),
            user_agent: Some("curl/7.88.1".into()),
            forwarded_for: None,
            request_id: Some("4e1b5c0e-0000-4000-8000-000000000001".into()),
            route: Some("default".into()),
            rule: Some(Origin {
                resource: "VirtualService default/reviews".into(),
                file: "config/routes.yaml".into(),
                line: 12,
                column: 5,
            }),
        })),
    }
}
