//! What a Sidecar lets its workload see of the mesh.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::compile::delegates::Delegates;
use crate::compile::names::{complete, overlap, within};
use crate::compile::objects::{age, selects};
use crate::compile::site::Site;
use crate::resources::sidecar::EgressListener;
use crate::resources::virtual_service::{Destination, HttpAction};
use crate::resources::{Resources, Sidecar, VirtualService};

/// Istio: a Sidecar that selects the workload, else the namespace's own, else the root namespace's; the oldest of several.
pub(crate) fn chosen<'r>(resources: &'r Resources, site: &Site) -> Option<&'r Sidecar> {
    let rank = |sidecar: &Sidecar| {
        let local = *sidecar.meta.namespace() == site.workload.namespace;
        match &sidecar.workload_selector {
            Some(selector) if local && selects(selector, &site.workload.labels) => Some(0),
            None if local => Some(1),
            None if *sidecar.meta.namespace() == site.root_namespace => Some(2),
            _ => None,
        }
    };
    let ranked = resources.sidecars.iter().filter_map(|sidecar| Some((rank(sidecar)?, age(&sidecar.meta), &**sidecar)));
    ranked.min_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1))).map(|(_, _, sidecar)| sidecar)
}

/// Ports of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ports {
    All,
    These(BTreeSet<u16>),
}

impl Ports {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Ports::These(ports) if ports.is_empty())
    }

    pub(crate) fn has(&self, port: u16) -> bool {
        match self {
            Ports::All => true,
            Ports::These(ports) => ports.contains(&port),
        }
    }

    pub(crate) fn join(&mut self, more: &Ports) {
        match (&mut *self, more) {
            (Ports::All, _) => {}
            (_, Ports::All) => *self = Ports::All,
            (Ports::These(ports), Ports::These(more)) => ports.extend(more),
        }
    }
}

/// What a workload sees of the mesh.
pub(crate) struct Egress<'r> {
    /// `None` sees everything.
    listeners: Option<&'r [EgressListener]>,
    /// The workload's namespace.
    pub(crate) own: Arc<str>,
}

impl<'r> Egress<'r> {
    pub(crate) fn of(sidecar: Option<&'r Sidecar>, site: &Site) -> Self {
        let listeners = sidecar.map(|sidecar| &sidecar.egress[..]).filter(|listeners| !listeners.is_empty());
        Self { listeners, own: site.workload.namespace.clone() }
    }

    /// Whether nothing is hidden.
    pub(crate) fn is_everything(&self) -> bool {
        self.listeners.is_none()
    }

    /// The ports of a service that are seen.
    pub(crate) fn ports(&self, namespace: &str, host: &str) -> Ports {
        let Some(listeners) = self.listeners else { return Ports::All };
        let mut seen = Ports::These(BTreeSet::new());
        for listener in listeners.iter().filter(|listener| self.imports(listener, namespace, host)) {
            seen.join(&match port_of(listener) {
                None => Ports::All,
                Some(port) => Ports::These([port].into()),
            });
        }
        seen
    }

    /// Whether requests to a port are routed to a service: the port's own entry decides, else those without a port.
    pub(crate) fn routes(&self, port: u16, namespace: &str, host: &str) -> bool {
        self.listeners.is_none() || self.listening(port).any(|listener| self.imports(listener, namespace, host))
    }

    /// Whether the rules of a VirtualService hold on a port. Istio: one of its hosts must overlap one that is seen.
    pub(crate) fn follows<'h>(
        &self,
        port: u16,
        namespace: &str,
        hosts: impl IntoIterator<Item = &'h Arc<str>>,
    ) -> bool {
        let hosts: Vec<&Arc<str>> = hosts.into_iter().collect();
        let seen = |listener: &EgressListener| {
            hosts.iter().any(|host| self.any(listener, namespace, |seen| overlap(host, seen), host))
        };
        self.listeners.is_none() || self.listening(port).any(seen)
    }

    /// What the VirtualServices that are seen lead to: those services are seen too, on the ports that are named.
    pub(crate) fn destinations(&self, resources: &Resources, site: &Site) -> HashMap<Arc<str>, Ports> {
        let mut found: HashMap<Arc<str>, Ports> = HashMap::new();
        let Some(listeners) = self.listeners else { return found };
        let delegates = Delegates::gather(resources, site);
        for root in resources.virtual_services.iter().filter(|root| root.applies_to_mesh()) {
            let namespace = root.meta.namespace();
            let full = |host: &str, of: &str| Arc::<str>::from(&*complete(host, of, &site.cluster_domain));
            let hosts: Vec<Arc<str>> = root.hosts.iter().map(|host| full(&host.value, namespace)).collect();
            let seen = site.mesh.reach_of_routes(root, &site.workload.namespace).is_some()
                && listeners.iter().any(|listener| {
                    hosts.iter().any(|host| self.any(listener, namespace, |seen| overlap(host, seen), host))
                });
            if !seen {
                continue;
            }
            // Delegates are seen by who delegates to them.
            for document in std::iter::once(&**root).chain(delegates.of(root)) {
                for destination in destinations(document) {
                    let ports = match &destination.port {
                        None => Ports::All,
                        Some(port) => Ports::These([port.value].into()),
                    };
                    let host = full(&destination.host.value, document.meta.namespace());
                    found.entry(host).or_insert(Ports::These(BTreeSet::new())).join(&ports);
                }
            }
        }
        found
    }

    /// The entries by which requests to a port go. An application that uses this proxy as its HTTP proxy does so at one
    /// address, so that an entry for HTTP proxies stands beside the others.
    fn listening(&self, port: u16) -> impl Iterator<Item = &'r EgressListener> {
        let listeners = self.listeners.unwrap_or_default();
        let own = listeners.iter().any(|one| port_of(one) == Some(port));
        listeners.iter().filter(move |one| match port_of(one) {
            None => !own || is_proxy(one),
            Some(known) => known == port,
        })
    }

    fn imports(&self, listener: &EgressListener, namespace: &str, host: &str) -> bool {
        self.any(listener, namespace, |seen| within(host, seen), host)
    }

    /// Whether an entry sees a host of a namespace by `fits`, and none leaves it out.
    fn any(&self, listener: &EgressListener, namespace: &str, fits: impl Fn(&str) -> bool, host: &str) -> bool {
        let of = |named: &str| match named {
            "*" => true,
            "." => *self.own == *namespace,
            named => named == namespace,
        };
        let mut entries = listener.hosts.iter().filter(|entry| of(&entry.namespace));
        entries.clone().any(|entry| !entry.excluded && fits(&entry.host))
            && !entries.any(|entry| entry.excluded && within(host, &entry.host))
    }
}

/// The only port that an entry is for. Istio: an `HTTP_PROXY` is asked for any port of any host.
fn port_of(listener: &EgressListener) -> Option<u16> {
    listener.port.as_ref().filter(|_| !is_proxy(listener)).map(|port| port.number.value)
}

fn is_proxy(listener: &EgressListener) -> bool {
    listener.port.as_ref().is_some_and(|port| &*port.protocol == "HTTP_PROXY")
}

/// Everything that a VirtualService leads to.
fn destinations(document: &VirtualService) -> impl Iterator<Item = &Destination> {
    let http = document.http.iter().flat_map(|entry| {
        let routed = match &entry.action {
            HttpAction::Route(destinations) => &destinations[..],
            HttpAction::Redirect(_) | HttpAction::Direct(_) | HttpAction::Delegate(_) => &[],
        };
        let mirrors = entry.mirrors.iter().map(|mirror| &mirror.destination);
        routed.iter().map(|routed| &routed.destination).chain(mirrors)
    });
    let streams = document.tls.iter().chain(&document.tcp).flat_map(|entry| &entry.route);
    http.chain(streams.map(|routed| &routed.destination))
}
