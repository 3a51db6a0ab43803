//! Resources → snapshot: what one proxy, beside one workload, does with each request.
//!
//! Each folder uses only those above it in this list: `services` gathers what the workload sees; `clusters` makes one of each port
//! and subset, with its policy; `routes` translates rules; `listeners` decides which VirtualService owns which host, and
//! compiles the application's ports and gateways; `report` tells about the same configuration what a snapshot does not keep.

pub(crate) mod clusters;
pub(crate) mod delegates;
mod listeners;
pub(crate) mod names;
pub(crate) mod objects;
pub(crate) mod protocol;
pub(crate) mod report;
pub(crate) mod routes;
pub(crate) mod services;
pub(crate) mod site;
pub(crate) mod visibility;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use leeboard_policy::snapshot::{Draft, Snapshot};

use self::clusters::policy;
use self::listeners::{hosts, inbound, unknown_hosts};
use self::report::references;
use self::services::{catalog, egress};
use crate::diagnostic::Diagnostic;
use crate::resources::Resources;

pub use listeners::gateways::{Chain, Edge, EdgeListener, Served, Stream, gateways};
pub use report::provenance::{Provenance, Settings, provenance};
pub use report::references::{Dangling, Lack, Reference, Referent};
pub use report::unclaimed::{definition, unclaimed};
pub use report::written::{Lacking, Unused, WrittenRule, places, rules_as_written, unused};
pub use site::Site;

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
    let site = &site::placed(resources, site);
    let mut diagnostics = Vec::new();
    let sidecar = egress::chosen(resources, site);
    let egress = egress::Egress::of(sidecar, site);
    let catalog = catalog::gather(resources, site, &egress, &mut diagnostics);
    let policies = policy::gather(resources, site);
    let mut clusters = clusters::compile(&catalog, &policies, site);
    let dangling = references::check(resources, &catalog, &policies, site, &mut diagnostics);
    let hosts = hosts::compile(resources, &catalog, &clusters, site, &egress, &mut diagnostics);
    let inbound = inbound::compile(&catalog, &policies, &mut clusters, site, sidecar);
    let unknown = unknown_hosts::compile(sidecar, &mut clusters, site, &mut diagnostics);
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
    let site = &site::placed(resources, site);
    let egress = egress::Egress::of(egress::chosen(resources, site), site);
    let catalog = catalog::gather(resources, site, &egress, &mut Vec::new());
    let policies = policy::gather(resources, site);
    let mut found = BTreeMap::new();
    references::each(resources, &catalog, &policies, site, |seen| {
        let lack = found.entry(seen.reference(site)).or_insert(None);
        *lack = lack.or(seen.lack.map(|(lack, _)| lack));
    });
    found
}
