//! The application's own ports.

use std::net::SocketAddr;
use std::sync::Arc;

use leeboard_policy::cluster::{
    Address, Balancer, Cluster, Discovery, EndpointSpec, LocalityPolicy, Protocol, Service as Named,
};
use leeboard_policy::origin::Origin;
use leeboard_policy::route::{Action, Forward, Match, Route, Target};
use leeboard_policy::snapshot::Inbound;

use crate::compile::clusters::effective::Effective;
use crate::compile::clusters::policy::Policies;
use crate::compile::clusters::{Clusters, named, traffic};
use crate::compile::objects::selects;
use crate::compile::protocol::PortProtocol;
use crate::compile::routes::only;
use crate::compile::services::catalog::Catalog;
use crate::compile::services::service::{Backends, Port, Service};
use crate::compile::services::workloads::is_ours;
use crate::compile::site::Site;
use crate::resources::Sidecar;
use crate::resources::destination_rule::ConnectionPool;

/// Makes a route and a cluster for each of the application's ports, and finds out which service it serves.
pub(crate) fn compile(
    catalog: &Catalog,
    policies: &Policies<'_>,
    clusters: &mut Clusters,
    site: &Site,
    sidecar: Option<&Sidecar>,
) -> Vec<Inbound> {
    let pool = |listen, app| connection_pool(sidecar, listen, app);
    let each = site.inbound.iter();
    each.map(|&(listen, app)| one((listen, app), pool(listen, app), catalog, policies, clusters, site)).collect()
}

/// How much the application may be given at a port. Istio: the port's own pool, else the Sidecar's, before any
/// DestinationRule's.
fn connection_pool(sidecar: Option<&Sidecar>, listen: SocketAddr, app: SocketAddr) -> Option<&ConnectionPool> {
    let sidecar = sidecar?;
    let of = |number: u16| sidecar.ingress.iter().find(|ingress| ingress.port.number.value == number);
    let own = of(listen.port()).or_else(|| of(app.port())).and_then(|ingress| ingress.connection_pool.as_deref());
    own.or(sidecar.inbound_connection_pool.as_deref())
}

fn one(
    (listen, app): (SocketAddr, SocketAddr),
    pool: Option<&ConnectionPool>,
    catalog: &Catalog,
    policies: &Policies<'_>,
    clusters: &mut Clusters,
    site: &Site,
) -> Inbound {
    let served = served(listen, app, catalog, site);
    let rule = served.and_then(|(service, _)| policies.inbound(&service.host, &service.namespace));
    let of_rule = || served.and_then(|(_, port)| Effective::of(rule, port.number, None).connection_pool);
    let pool = pool.or_else(of_rule);
    let protocol = served.map_or(PortProtocol::Auto, |(_, port)| port.protocol);
    let upstream = if protocol.is_routed() { protocol.upstream() } else { Protocol::Client };
    let origin = served.map_or_else(Origin::built_in, |(service, _)| service.origin.clone());
    let cluster = clusters.add(Cluster {
        name: cluster_name(app, clusters),
        service: served
            .map_or_else(|| unknown(app.port(), site), |(service, port)| named(service, port.number, &"".into())),
        discovery: Discovery::Static(vec![EndpointSpec {
            address: Address::Socket(app),
            weight: 1,
            workload: Arc::new(site.workload.clone()),
        }]),
        protocol: upstream,
        balancer: Balancer::LeastRequest,
        locality_policy: LocalityPolicy::default(),
        warmup: None,
        limits: traffic::limits(pool, None),
        connection: site.mesh.connection(pool, upstream),
        transport: None,
        outlier: None,
        panic_percent: traffic::DEFAULT_PANIC_PERCENT,
        origin: origin.clone(),
        policy_origin: rule.map(|rule| rule.document.meta.origin(&rule.document.meta.spot)),
    });
    let forward = Forward {
        destinations: [only(Target::Cluster(cluster))].into(),
        // Istio: gRPC callers are left to their own retries.
        retry: (!protocol.is_grpc()).then(|| site.mesh.inbound_retries()).flatten().map(Arc::new),
        ..Forward::default()
    };
    let action = Action::Forward(Box::new(forward));
    Inbound { listen, route: Route { name: "default".into(), origin, when: Match::default(), cors: None, action } }
}

/// Istio: `inbound|port||`, by the application's port. Two ports of one number on different addresses are told apart.
fn cluster_name(app: SocketAddr, clusters: &Clusters) -> Arc<str> {
    let name = format!("inbound|{}||", app.port());
    if clusters.is_taken(&name) { format!("{name}{}", app.ip()).into() } else { name.into() }
}

/// The service that is served here: one with an endpoint at the very address, else one of this workload's with an endpoint
/// of the port, else one that selects the workload and sends to the port.
fn served<'c>(
    listen: SocketAddr,
    app: SocketAddr,
    catalog: &'c Catalog,
    site: &Site,
) -> Option<(&'c Service, &'c Port)> {
    let find = |fits: &dyn Fn(&Service, &Port) -> bool| {
        let all = catalog.services().iter().flat_map(|service| service.ports.iter().map(move |port| (service, port)));
        all.into_iter().find(|(service, port)| fits(service, port))
    };
    let at = |address: SocketAddr| {
        let address = Address::Socket(address);
        find(
            &|_, port: &Port| matches!(&port.backends, Backends::Written(all) if all.iter().any(|spec| spec.address == address)),
        )
    };
    let ours = |number: u16| {
        find(&|_, port: &Port| port.backends.any(|at, workload| at == Some(number) && is_ours(workload, site)))
    };
    let selecting = |number: u16| {
        find(&|service: &Service, port: &Port| {
            let chosen = !service.selector.is_empty() && selects(&service.selector, &site.workload.labels);
            chosen && service.namespace == site.workload.namespace && port.target == Some(number)
        })
    };
    at(listen)
        .or_else(|| ours(listen.port()))
        .or_else(|| ours(app.port()))
        .or_else(|| selecting(listen.port()))
        .or_else(|| selecting(app.port()))
}

/// A port that no service is known to have: it goes by the workload's name.
fn unknown(port: u16, site: &Site) -> Named {
    let workload = &site.workload;
    let host = match workload.name.is_empty() {
        true => "unknown".into(),
        false => Arc::from(format!("{}.{}.svc.{}", workload.name, workload.namespace, site.cluster_domain)),
    };
    Named {
        name: if workload.name.is_empty() { "unknown".into() } else { workload.name.clone() },
        namespace: workload.namespace.clone(),
        host,
        port,
        subset: "".into(),
        external: false,
    }
}
