//! Why nobody claims a name at a port: the objects that bear it, or nearly, and what keeps each of them from it.

use std::sync::Arc;

use super::written::Unused;
use crate::compile::names::{cluster_parts, complete, domains, is_wildcard, within};
use crate::compile::protocol::PortProtocol;
use crate::compile::services::kubernetes;
use crate::compile::site::{Site, placed};
use crate::names;
use crate::resources::service_entry::ServicePort;
use crate::resources::{Meta, Resources, VirtualService};
use crate::source::Located;

/// The objects that bear a name which no virtual host claims at a port, and why each of them does not; without any, one of
/// nearly that name. A name is in lower case and without port.
pub fn unclaimed(resources: &Resources, site: &Site, name: &str, port: u16) -> Vec<Unused> {
    let site = &placed(resources, site);
    let asked = Asked { resources, site, name, port };
    let mut found = asked.defined();
    found.extend(asked.routes(found.is_empty()));
    if found.is_empty() {
        found.extend(asked.nearly());
    }
    found
}

/// A ServiceEntry to write, for a name for which a VirtualService has rules and which no object defines.
pub fn definition(resources: &Resources, site: &Site, name: &str, port: u16) -> Option<String> {
    let site = &placed(resources, site);
    let asked = Asked { resources, site, name, port };
    if !asked.defined().is_empty() {
        return None;
    }
    let seen = |document: &&Arc<VirtualService>| {
        document.applies_to_mesh() && site.mesh.reach_of_routes(document, &site.workload.namespace).is_some()
    };
    let documents = resources.virtual_services.iter().filter(seen);
    let (document, host) = documents.filter_map(|document| Some((document, asked.routed(document)?))).next()?;
    let host = if is_wildcard(&host) { name } else { &host };
    let text = match cluster_parts(host, &site.cluster_domain) {
        Some((name, namespace)) => format!(
            "metadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  hosts: [{host}]\n  location: MESH_INTERNAL\n  \
             resolution: STATIC\n  ports: [{{number: {port}, name: http, protocol: HTTP}}]\n  \
             endpoints: [{{address: 127.0.0.1, ports: {{http: 8080}}}}] # where it listens\n"
        ),
        None => format!(
            "metadata: {{name: {host}, namespace: {}}}\nspec:\n  hosts: [{host}]\n  resolution: DNS\n  \
             ports: [{{number: {port}, name: http, protocol: HTTP}}]\n",
            document.meta.namespace()
        ),
    };
    Some(format!("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n{text}"))
}

struct Asked<'r> {
    resources: &'r Resources,
    site: &'r Site,
    name: &'r str,
    port: u16,
}

fn tell(meta: &Meta, why: String) -> Unused {
    Unused { origin: meta.origin(&meta.spot), why }
}

impl Asked<'_> {
    /// The services that bear the name.
    fn defined(&self) -> Vec<Unused> {
        let mut found = self.services();
        found.extend(self.entries());
        found
    }

    fn services(&self) -> Vec<Unused> {
        let found = self.resources.services.iter().filter_map(|service| {
            let full = kubernetes::host(service, self.site);
            let seen = || kubernetes::visible(self.resources, self.site).any(|seen| std::ptr::eq(seen, &**service));
            let speaks = |port: &ServicePort| {
                let transport = if port.tcp { "TCP" } else { "UDP" };
                PortProtocol::of_service_port(transport, port.protocol.as_deref(), &port.name, port.number)
            };
            self.bearer(&full, service.headless, || self.why(seen(), &service.ports, speaks), &service.meta)
        });
        found.collect()
    }

    fn entries(&self) -> Vec<Unused> {
        let found = self.resources.service_entries.iter().filter_map(|entry| {
            let seen = self.site.mesh.shows_entry(entry, &self.site.workload.namespace);
            let speaks =
                |port: &ServicePort| PortProtocol::of_word(port.protocol.as_deref().unwrap_or(""), port.number);
            let why = || self.why(seen, &entry.ports, speaks);
            entry.hosts.iter().find_map(|host| self.bearer(&host.value.to_ascii_lowercase(), false, why, &entry.meta))
        });
        found.collect()
    }

    /// What is told of an object with a host, if that is the name or would be in the caller's namespace.
    fn bearer(&self, host: &str, headless: bool, why: impl Fn() -> String, meta: &Meta) -> Option<Unused> {
        let client = &*self.site.workload.namespace;
        if self.domains(host, headless).iter().any(|domain| within(self.name, domain)) {
            return Some(tell(meta, why()));
        }
        let (short, namespace) = cluster_parts(host, &self.site.cluster_domain)?;
        (short == self.name).then(|| tell(meta, format!("from namespace {client} it is called {short}.{namespace}")))
    }

    fn domains(&self, host: &str, headless: bool) -> Vec<String> {
        domains(host, &self.site.workload.namespace, &self.site.cluster_domain, headless)
    }

    /// The host of a VirtualService, in full, that stands for the name: itself, or a service's that would be called so.
    fn routed(&self, document: &VirtualService) -> Option<String> {
        let own = document.meta.namespace();
        let full = |host: &Located<Arc<str>>| complete(&host.value, own, &self.site.cluster_domain).into_owned();
        let bears = |host: &String| self.domains(host, false).iter().any(|domain| within(self.name, domain));
        document.hosts.iter().map(full).find(bears)
    }

    /// Istio: a host that no service bears is routed on port 80 alone, by its full name. `undefined` tells that none does.
    fn routes(&self, undefined: bool) -> Vec<Unused> {
        let namespace = &self.site.workload.namespace;
        let found = self.resources.virtual_services.iter().filter_map(|document| {
            let host = self.routed(document)?;
            let why = if !document.applies_to_mesh() {
                "its `gateways` are without `mesh`".to_owned()
            } else if self.site.mesh.reach_of_routes(document, namespace).is_none() {
                format!("it is not exported to namespace {namespace}")
            } else if undefined && !is_wildcard(&host) {
                format!("no service {host} is defined, without which its rules hold for that very name on port 80 only")
            } else if self.port != 80 {
                format!("it routes hosts of no service on port 80 only, and port {} is called", self.port)
            } else {
                "none of its rules is for this caller, or its Sidecar does not import it".to_owned()
            };
            Some(tell(&document.meta, why))
        });
        found.collect()
    }

    /// Why an object that bears the name does not serve it.
    fn why(&self, seen: bool, ports: &[ServicePort], speaks: impl Fn(&ServicePort) -> PortProtocol) -> String {
        if !seen {
            return format!("it is not exported to namespace {}", self.site.workload.namespace);
        }
        match ports.iter().find(|port| port.number == self.port) {
            None => {
                let numbers: Vec<String> = ports.iter().map(|port| port.number.to_string()).collect();
                format!("it has no port {}, but {}", self.port, numbers.join(", "))
            }
            Some(port) if !speaks(port).is_routed() => format!("its port {} is not HTTP", self.port),
            Some(_) => "the caller's Sidecar does not import it".to_owned(),
        }
    }

    fn nearly(&self) -> Option<Unused> {
        let services = self.resources.services.iter();
        let services = services.map(|service| (kubernetes::host(service, self.site), &service.meta));
        let entries = self.resources.service_entries.iter();
        let entries = entries.flat_map(|entry| entry.hosts.iter().map(move |host| (host.value.clone(), &entry.meta)));
        let all = services
            .chain(entries)
            .flat_map(|(host, meta)| self.domains(&host, false).into_iter().map(move |domain| (domain, meta)));
        let all: Vec<(String, &Meta)> = all.collect();
        let near = names::nearest(self.name, all.iter().map(|(name, _)| name.as_str()))?;
        let (name, meta) = all.iter().find(|(name, _)| name == near)?;
        Some(tell(meta, format!("{name} is nearly that name")))
    }
}
