//! Resources → snapshot: what one proxy, beside one workload, does with each request.
//!
//! `catalog` gathers the services that the workload sees, `clusters` makes a destination of each port and subset with the
//! policy that `policy` finds for it, `hosts` decides which VirtualService owns which host, `routes` translates its rules.

pub(crate) mod actions;
pub(crate) mod catalog;
mod clusters;
mod cors;
pub(crate) mod delegates;
pub(crate) mod effective;
mod entries;
mod gateways;
pub(crate) mod headers;
mod hosts;
mod inbound;
pub(crate) mod kubernetes;
mod locality;
pub(crate) mod matches;
pub(crate) mod mesh;
pub(crate) mod names;
mod owners;
pub(crate) mod policy;
pub(crate) mod protocol;
mod provenance;
mod references;
mod retries;
mod routes;
mod shared;
mod sidecar;
pub(crate) mod traffic;
mod transport;
mod unclaimed;
pub(crate) mod view;
pub(crate) mod visibility;
mod workloads;
mod written;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use leeboard_policy::cluster::Workload;
use leeboard_policy::snapshot::{Draft, Snapshot};

pub use gateways::{Chain, Edge, EdgeListener, Served, Stream, gateways};
pub use provenance::{Provenance, Settings, provenance};
pub use references::{Dangling, Lack, Reference, Referent};
pub use unclaimed::{definition, unclaimed};
pub use written::{Lacking, Unused, WrittenRule, places, rules_as_written, unused};

use crate::diagnostic::Diagnostic;
use crate::resources::sidecar::OutboundTrafficPolicy;
use crate::resources::{Labels, MeshConfig, Meta, Resources};

/// Where a proxy stands: what the configuration itself does not say.
#[derive(Clone, Debug)]
pub struct Site {
    /// The workload beside it. Its namespace decides what it sees, its labels which rules are for it.
    pub workload: Workload,
    /// The application's ports: where the proxy listens, and where the application does.
    pub inbound: Vec<(SocketAddr, SocketAddr)>,
    /// The end of every cluster service's name; default `cluster.local`.
    pub cluster_domain: Arc<str>,
    /// The namespace whose objects are for the whole mesh; default `istio-system`.
    pub root_namespace: Arc<str>,
    /// What is done with unknown hosts unless a Sidecar says otherwise; `None` leaves it to the mesh, whose default is
    /// [`OutboundTrafficPolicy::AllowAny`].
    pub unknown: Option<OutboundTrafficPolicy>,
    /// Settings of the mesh, unless the configuration has its own; default: Istio's.
    pub mesh: Arc<MeshConfig>,
    /// What the snapshot calls itself in `/config_dump` and metrics.
    pub version: Arc<str>,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            workload: Workload { namespace: "default".into(), ..Workload::default() },
            inbound: Vec::new(),
            cluster_domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
            unknown: None,
            mesh: Arc::default(),
            version: "".into(),
        }
    }
}

/// Compiles what a proxy at `site` needs of `resources`.
///
/// Never fails and never stops early: what cannot be done as it is written is left out or answered with an error at run
/// time, as Istio does, and said in a diagnostic; these come by file and line. The same input always gives the same snapshot.
pub fn compile(resources: &Resources, site: &Site) -> (Snapshot, Vec<Diagnostic>) {
    let Compiled { snapshot, diagnostics, .. } = compiled(resources, site);
    (snapshot, diagnostics)
}

/// What comes of compiling.
#[derive(Debug)]
pub struct Compiled {
    /// What the proxy does.
    pub snapshot: Snapshot,
    /// Complaints, by file and line.
    pub diagnostics: Vec<Diagnostic>,
    /// What routes lead to and is not there.
    pub dangling: Vec<Dangling>,
}

/// As [`compile`], and says what is missing.
pub fn compiled(resources: &Resources, site: &Site) -> Compiled {
    let site = &mesh::placed(resources, site);
    let mut diagnostics = Vec::new();
    let sidecar = sidecar::chosen(resources, site);
    let egress = sidecar::Egress::of(sidecar, site);
    let catalog = catalog::gather(resources, site, &egress, &mut diagnostics);
    let policies = policy::gather(resources, site);
    let mut clusters = clusters::compile(&catalog, &policies, site);
    let dangling = references::check(resources, &catalog, &policies, site, &mut diagnostics);
    let hosts = hosts::compile(resources, &catalog, &clusters, site, &egress, &mut diagnostics);
    let inbound = inbound::compile(&catalog, &policies, &mut clusters, site, sidecar);
    let unknown = sidecar::unknown_hosts(sidecar, &mut clusters, site, &mut diagnostics);
    let draft = Draft {
        version: site.version.clone(),
        workload: site.workload.clone(),
        hosts,
        unknown,
        trusted_proxies: site.mesh.trusted_proxies,
        inbound,
        clusters: clusters.into_list(),
    };
    diagnostics.sort_by(|a, b| a.primary.cmp(&b.primary));
    Compiled { snapshot: Snapshot::new(draft), diagnostics, dangling }
}

/// Everything that routes lead to, and what of it is missing.
pub(crate) fn references(resources: &Resources, site: &Site) -> BTreeMap<Reference, Option<Lack>> {
    let site = &mesh::placed(resources, site);
    let egress = sidecar::Egress::of(sidecar::chosen(resources, site), site);
    let catalog = catalog::gather(resources, site, &egress, &mut Vec::new());
    let policies = policy::gather(resources, site);
    let mut found = BTreeMap::new();
    references::each(resources, &catalog, &policies, site, |seen| {
        let lack = found.entry(seen.reference(site)).or_insert(None);
        *lack = lack.or(seen.lack.map(|(lack, _)| lack));
    });
    found
}

/// Whether labels carry everything that a selector asks for.
pub(crate) fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Sorts objects oldest first. Istio: by creation time, then name, then namespace; those without a time, as files usually
/// are, come first and in the order they are written in.
pub(crate) fn age(meta: &Meta) -> (Option<Arc<str>>, u32, Arc<str>, Arc<str>) {
    let order = if meta.created.stamp.is_none() { meta.created.order } else { 0 };
    (meta.created.stamp.clone(), order, meta.name().clone(), meta.namespace().clone())
}
