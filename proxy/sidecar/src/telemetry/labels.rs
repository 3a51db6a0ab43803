//! The labels of Istio's standard HTTP metrics, and their values for a record.

use std::sync::Arc;

use leeboard_policy::cluster::Workload;

use super::record::{Record, Reporter, UNKNOWN_GRPC_STATUS};
use super::series::LabelValues;

/// Istio: the labels of `istio_requests_total` and its siblings, in the order in which Istio writes them.
pub(crate) const NAMES: [&str; 25] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
];

/// Istio writes this where it knows nothing.
const UNKNOWN: &str = "unknown";

/// The labels of what there is no room for.
pub(crate) const OTHER: &str = "other";

/// The label that Istio puts on a workload that it knows to live in another cluster.
const CLUSTER_LABEL: &str = "topology.istio.io/cluster";

/// What one side of a call is called.
struct Peer {
    workload: Arc<str>,
    namespace: Arc<str>,
    canonical_service: Arc<str>,
    canonical_revision: Arc<str>,
    app: Arc<str>,
    version: Arc<str>,
    cluster: Arc<str>,
}

impl Peer {
    fn of(workload: &Workload) -> Self {
        Self {
            workload: known(&workload.name),
            namespace: known(&workload.namespace),
            canonical_service: known(workload.canonical_name()),
            canonical_revision: known(workload.canonical_revision()),
            app: known(workload.label("app")),
            version: known(workload.label("version")),
            cluster: known(workload.label(CLUSTER_LABEL)),
        }
    }
}

/// The values for a record, made by the proxy of workload `own`. Without mTLS there are no principals.
pub(crate) fn values(own: &Workload, record: &Record) -> LabelValues {
    let nobody = Workload::default();
    let destination = &record.destination;
    let (reporter, source, target, security) = match record.reporter {
        Reporter::Source => ("source", own, destination.workload.as_deref().unwrap_or(&nobody), UNKNOWN),
        Reporter::Destination => ("destination", destination.caller.as_deref().unwrap_or(&nobody), own, "none"),
    };
    let (source, target) = (Peer::of(source), Peer::of(target));
    let service = destination.service.as_ref();
    let unknown = || Arc::from(UNKNOWN);
    let grpc_status = record.grpc_status.filter(|_| record.grpc).map(|status| match status {
        UNKNOWN_GRPC_STATUS => UNKNOWN.to_owned(),
        status => status.to_string(),
    });
    let values: [Arc<str>; NAMES.len()] = [
        reporter.into(),
        source.workload,
        source.canonical_service,
        source.canonical_revision,
        source.namespace,
        unknown(),
        source.app,
        source.version,
        source.cluster,
        target.workload,
        target.namespace,
        unknown(),
        target.app,
        target.version,
        service.map_or_else(unknown, |service| known(&service.host)),
        target.canonical_service,
        target.canonical_revision,
        service.map_or_else(unknown, |service| known(&service.name)),
        service.map_or_else(unknown, |service| known(&service.namespace)),
        target.cluster,
        if record.grpc { "grpc" } else { "http" }.into(),
        record.status.to_string().into(),
        grpc_status.unwrap_or_default().into(),
        record.flags.to_string().into(),
        security.into(),
    ];
    values.into()
}

/// The values for all records of a reporter that there is no room for.
pub(crate) fn other(reporter: Reporter) -> LabelValues {
    let reporter = match reporter {
        Reporter::Source => "source",
        Reporter::Destination => "destination",
    };
    std::iter::once(reporter).chain([OTHER; NAMES.len() - 1]).map(Arc::from).collect()
}

fn known(value: &str) -> Arc<str> {
    if value.is_empty() { UNKNOWN } else { value }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::record::{Destination, counted_grpc_status};
    use crate::telemetry::samples;
    use leeboard_policy::verdict::Flags;
    use std::rc::Rc;

    fn check(record: &Record, expected: &str) {
        let values = values(&samples::workload("web", "v1", "shop"), record);
        let pairs: Vec<String> =
            NAMES.iter().zip(values.iter()).map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(pairs.join(" "), expected.split_whitespace().collect::<Vec<_>>().join(" "));
    }

    #[test]
    fn the_source_reports_itself_and_the_endpoints_workload() {
        check(
            &samples::record(),
            "reporter=source source_workload=web source_canonical_service=web source_canonical_revision=v1
             source_workload_namespace=shop source_principal=unknown source_app=web source_version=v1 source_cluster=unknown
             destination_workload=reviews-v2 destination_workload_namespace=default destination_principal=unknown
             destination_app=reviews destination_version=v2 destination_service=reviews.default.svc.cluster.local
             destination_canonical_service=reviews destination_canonical_revision=v2 destination_service_name=reviews
             destination_service_namespace=default destination_cluster=unknown request_protocol=http response_code=200
             grpc_response_status= response_flags=- connection_security_policy=unknown",
        );
    }

    #[test]
    fn the_destination_reports_itself_and_nothing_of_its_caller() {
        let record = Record { reporter: Reporter::Destination, grpc: true, grpc_status: Some(14), ..samples::record() };
        check(
            &record,
            "reporter=destination source_workload=unknown source_canonical_service=unknown source_canonical_revision=latest
             source_workload_namespace=unknown source_principal=unknown source_app=unknown source_version=unknown
             source_cluster=unknown destination_workload=web destination_workload_namespace=shop
             destination_principal=unknown destination_app=web destination_version=v1
             destination_service=reviews.default.svc.cluster.local destination_canonical_service=web
             destination_canonical_revision=v1 destination_service_name=reviews destination_service_namespace=default
             destination_cluster=unknown request_protocol=grpc response_code=200 grpc_response_status=14 response_flags=-
             connection_security_policy=none",
        );
    }

    #[test]
    fn grpc_statuses_that_are_none_are_unknown() {
        for (sent, label) in [(0, "0"), (16, "16"), (17, "unknown"), (64_000, "unknown")] {
            let grpc_status = Some(counted_grpc_status(sent));
            let record = Record { grpc: true, grpc_status, ..samples::record() };
            assert_eq!(&*values(&samples::workload("web", "v1", "shop"), &record)[22], label, "{sent}");
        }
    }

    #[test]
    fn the_destination_reports_the_caller_whose_proxy_named_it() {
        let caller = Some(Arc::new(samples::workload("shop", "v3", "front")));
        let destination = Rc::new(Destination { caller, ..samples::destination() });
        let record = Record { reporter: Reporter::Destination, destination, ..samples::record() };
        let values = values(&samples::workload("web", "v1", "shop"), &record);
        assert_eq!(values[1..8].join(" "), "shop shop v3 front unknown shop v3");
    }

    #[test]
    fn where_nothing_was_chosen_all_is_unknown() {
        let record = Record {
            destination: Rc::new(samples::nowhere()),
            status: 404,
            flags: Flags::NO_ROUTE,
            grpc_status: Some(5),
            ..samples::record()
        };
        check(
            &record,
            "reporter=source source_workload=web source_canonical_service=web source_canonical_revision=v1
             source_workload_namespace=shop source_principal=unknown source_app=web source_version=v1 source_cluster=unknown
             destination_workload=unknown destination_workload_namespace=unknown destination_principal=unknown
             destination_app=unknown destination_version=unknown destination_service=unknown
             destination_canonical_service=unknown destination_canonical_revision=latest destination_service_name=unknown
             destination_service_namespace=unknown destination_cluster=unknown request_protocol=http response_code=404
             grpc_response_status= response_flags=NR connection_security_policy=unknown",
        );
    }
}
