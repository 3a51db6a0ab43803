//! What the workloads of one namespace see, and what its own rules say that cannot be done: for `check`, which looks at
//! the configuration from every namespace in turn.

use super::catalog::{self, Catalog};
use super::policy::{self, Policies};
use super::sidecar::Egress;
use super::{Site, clusters, hosts};
use crate::diagnostic::Diagnostic;
use crate::resources::Resources;

/// The configuration as one namespace sees it.
pub(crate) struct View<'r> {
    /// Where it is looked at from.
    pub(crate) site: &'r Site,
    /// The services that are visible.
    pub(crate) catalog: Catalog,
    /// The DestinationRules, by who uses them.
    pub(crate) policies: Policies<'r>,
    /// What compiling has to complain about, in objects of any namespace.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Looks at `resources` from `site`. `own` is the same with none but the VirtualServices of the site's own namespace, since
/// all that can be said about the others is said from theirs.
pub(crate) fn view<'r>(resources: &'r Resources, own: &Resources, site: &'r Site) -> View<'r> {
    let mut diagnostics = Vec::new();
    // A Sidecar narrows what some workloads see; what is there is there all the same.
    let everything = Egress::of(None, site);
    let catalog = catalog::gather(resources, site, &everything, &mut diagnostics);
    let policies = policy::gather(resources, site);
    let clusters = clusters::compile(&catalog, &policies, site);
    drop(hosts::compile(own, &catalog, &clusters, site, &everything, &mut diagnostics));
    View { site, catalog, policies, diagnostics }
}
