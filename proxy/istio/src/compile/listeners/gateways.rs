//! What a gateway serves: ports, certificates, virtual hosts. It is compiled, and not served yet: this proxy stands beside an
//! application.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leeboard_policy::cluster::Cluster;
use leeboard_policy::headers::HeaderOps;
use leeboard_policy::origin::Origin;
use leeboard_policy::route::{Action, Match, Redirect, Route, Target};
use leeboard_policy::snapshot::VirtualHost;

use super::owners::in_order;
use crate::compile::clusters::{self, Clusters, policy};
use crate::compile::delegates::Delegates;
use crate::compile::names::{complete, overlap, within};
use crate::compile::objects::{age, selects};
use crate::compile::routes::context::{Complaints, Report, Scope};
use crate::compile::routes::matches::{Place, full_gateway, is_catch_all};
use crate::compile::routes::translate;
use crate::compile::services::catalog::{self, Catalog};
use crate::compile::services::egress::Egress;
use crate::compile::site::{Site, placed};
use crate::diagnostic::Diagnostic;
use crate::resources::gateway::{Server, ServerTls, ServerTlsMode};
use crate::resources::virtual_service::{StreamMatch, StreamRoute};
use crate::resources::{Gateway, Resources, VirtualService};

/// What a gateway serves.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    /// Its ports, by number and address.
    pub listeners: Vec<EdgeListener>,
    /// Where its routes lead; a route's target is a place in this list.
    pub clusters: Vec<Cluster>,
}

/// One port of a gateway.
#[derive(Clone, Debug)]
pub struct EdgeListener {
    /// The port that is listened at: the Service's target port for the server's.
    pub port: u16,
    /// The address, or `unix://` and a path; `None` is all addresses.
    pub bind: Option<Arc<str>>,
    /// What is served there, told apart by the server name. A port without TLS has one.
    pub chains: Vec<Chain>,
}

/// What is served to callers that ask for certain server names.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The names, in lower case, which may be wildcards; empty without TLS.
    pub server_names: Vec<Arc<str>>,
    /// How connections are secured; `None` is not at all, or passed through.
    pub tls: Option<Box<ServerTls>>,
    /// What is served.
    pub served: Served,
    /// The Gateway it was made from; the first of several.
    pub origin: Origin,
}

/// What a chain carries.
#[derive(Clone, Debug)]
pub enum Served {
    /// Requests.
    Http(Vec<VirtualHost>),
    /// Bytes.
    Streams(Vec<Stream>),
    /// Bytes, to the cluster that the server name says (`outbound_.port_.subset_.host`).
    ByServerName,
}

/// Where connections lead.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Server names, in lower case; empty is any.
    pub server_names: Vec<Arc<str>>,
    /// Addresses that are dialled; empty is any.
    pub destination_subnets: Vec<Arc<str>>,
    /// Where to, by weight; a single one takes all.
    pub destinations: Vec<(Target, u32)>,
    /// The rule it was made from.
    pub origin: Origin,
}

/// Compiles what a gateway at `site` serves: all Gateways that select the workload, of any namespace, the oldest first.
pub fn gateways(resources: &Resources, site: &Site) -> (Edge, Vec<Diagnostic>) {
    let site = &placed(resources, site);
    let mut diagnostics = Vec::new();
    // Istio: a gateway sees every service that is visible; no Sidecar is for it.
    let catalog = catalog::gather(resources, site, &Egress::of(None, site), &mut diagnostics);
    let policies = policy::gather(resources, site);
    let clusters = clusters::compile(&catalog, &policies, site);
    let mut chosen: Vec<&Gateway> = resources.gateways.iter().map(|gateway| &**gateway).collect();
    chosen.retain(|gateway| selects(&gateway.selector, &site.workload.labels));
    chosen.sort_by_cached_key(|gateway| age(&gateway.meta));
    let names: BTreeSet<String> = chosen.iter().map(|gateway| name_of(gateway)).collect();
    let mut maker = Maker {
        resources,
        catalog: &catalog,
        clusters: &clusters,
        delegates: Delegates::gather(resources, site),
        site,
        names: &names,
        complaints: Complaints::default(),
    };
    let mut ports: BTreeMap<(u16, Option<Arc<str>>), Vec<Offer<'_>>> = BTreeMap::new();
    for gateway in chosen {
        for server in &gateway.servers {
            let place = (target_port(resources, site, server.port), server.bind.clone());
            ports.entry(place).or_default().push(Offer { gateway, server });
        }
    }
    let listeners = ports.into_iter().map(|((port, bind), offers)| {
        let chains = maker.chains(&offers);
        EdgeListener { port, bind, chains }
    });
    let listeners: Vec<_> = listeners.collect();
    diagnostics.append(&mut std::mem::take(&mut maker.complaints).into_list());
    diagnostics.sort_by(|a, b| a.primary.cmp(&b.primary));
    drop(maker);
    (Edge { listeners, clusters: clusters.into_list() }, diagnostics)
}

fn name_of(gateway: &Gateway) -> String {
    format!("{}/{}", gateway.meta.namespace(), gateway.meta.name())
}

/// Istio: a server's port is one of the Service in front of the gateway, whose target is listened at.
fn target_port(resources: &Resources, site: &Site, number: u16) -> u16 {
    use crate::resources::service_entry::TargetPort;
    let ours = resources.services.iter().filter(|service| {
        let local = *service.meta.namespace() == site.workload.namespace && !service.selector.is_empty();
        local && selects(&service.selector, &site.workload.labels)
    });
    let port = ours.flat_map(|service| &service.ports).find(|port| port.number == number);
    match port.and_then(|port| port.target.as_ref()) {
        Some(TargetPort::Number(target)) => *target,
        Some(TargetPort::Name(_)) | None => number,
    }
}

/// A server of a gateway.
#[derive(Clone, Copy)]
struct Offer<'r> {
    gateway: &'r Gateway,
    server: &'r Server,
}

/// What a server speaks, as far as servers of one port must agree on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http,
    Tls,
    Tcp,
}

impl Offer<'_> {
    fn speaks(self) -> Speaks {
        match &*self.server.protocol {
            "HTTPS" | "TLS" => Speaks::Tls,
            "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" | "GRPC-WEB-TEXT" | "HTTP_PROXY" => Speaks::Http,
            _ => Speaks::Tcp,
        }
    }

    fn mode(self) -> ServerTlsMode {
        self.server.tls.as_ref().map_or(ServerTlsMode::Passthrough, |tls| tls.mode)
    }

    fn redirects(self) -> bool {
        self.server.tls.as_ref().is_some_and(|tls| tls.https_redirect)
    }

    /// The hosts that a namespace may serve here, in lower case.
    fn hosts(self, namespace: &str) -> impl Iterator<Item = String> {
        let own = &**self.gateway.meta.namespace();
        self.server.hosts.iter().filter_map(move |host| {
            let (of, name) = host.split_once('/').unwrap_or(("*", host));
            let admitted = of == "*" || of == namespace || (of == "." && own == namespace);
            admitted.then(|| name.to_ascii_lowercase())
        })
    }

    /// All of its hosts.
    fn all_hosts(self) -> impl Iterator<Item = Arc<str>> {
        let name = |host: &str| host.rsplit('/').next().unwrap_or_default().to_ascii_lowercase().into();
        self.server.hosts.iter().map(move |host| name(&host.value))
    }

    fn origin(self) -> Origin {
        self.gateway.meta.origin(&self.server.spot)
    }
}

struct Maker<'r, 'c> {
    resources: &'r Resources,
    catalog: &'c Catalog,
    clusters: &'c Clusters,
    delegates: Delegates<'r, 'c>,
    site: &'c Site,
    names: &'c BTreeSet<String>,
    complaints: Complaints,
}

impl<'r> Maker<'r, '_> {
    /// Istio: servers of plain HTTP share their virtual hosts; of those with TLS each has its own, and a name that an earlier
    /// one has is left out; what speaks otherwise than the first server of the port is left out too.
    fn chains(&mut self, offers: &[Offer<'r>]) -> Vec<Chain> {
        let Some(first) = offers.first() else { return Vec::new() };
        let offers: Vec<Offer<'r>> = offers.iter().copied().filter(|offer| offer.speaks() == first.speaks()).collect();
        match first.speaks() {
            Speaks::Http => {
                let served = Served::Http(self.http(&offers));
                vec![Chain { server_names: Vec::new(), tls: None, served, origin: first.origin() }]
            }
            Speaks::Tcp => {
                let served = Served::Streams(self.streams(*first, |document| &document.tcp));
                vec![Chain { server_names: Vec::new(), tls: None, served, origin: first.origin() }]
            }
            Speaks::Tls => {
                let mut taken = BTreeSet::new();
                offers.into_iter().filter_map(|offer| self.secured(offer, &mut taken)).collect()
            }
        }
    }

    fn secured(&mut self, offer: Offer<'r>, taken: &mut BTreeSet<Arc<str>>) -> Option<Chain> {
        let server_names: Vec<Arc<str>> = offer.all_hosts().filter(|name| taken.insert(name.clone())).collect();
        if server_names.is_empty() {
            return None;
        }
        let http = &*offer.server.protocol == "HTTPS";
        let (tls, served) = match offer.mode() {
            ServerTlsMode::AutoPassthrough => (None, Served::ByServerName),
            ServerTlsMode::Passthrough => (None, Served::Streams(self.streams(offer, |document| &document.tls))),
            _ if http => (offer.server.tls.clone(), Served::Http(self.http(&[offer]))),
            _ => (offer.server.tls.clone(), Served::Streams(self.streams(offer, |document| &document.tcp))),
        };
        Some(Chain { server_names, tls, served, origin: offer.origin() })
    }

    /// VirtualServices that name a server's gateway, in order.
    fn attached(&self, offer: Offer<'r>) -> Vec<&'r VirtualService> {
        let gateway = name_of(offer.gateway);
        in_order(self.resources, self.site, |document| {
            let named = |name: &str| name != "mesh" && full_gateway(name, document.meta.namespace()) == gateway;
            document.gateways.iter().any(|name| named(&name.value))
        })
    }

    /// The virtual hosts of servers that share a port. Istio: rules of several VirtualServices for one host are put one after
    /// another, and those that match everything come last.
    fn http(&mut self, offers: &[Offer<'r>]) -> Vec<VirtualHost> {
        let mut hosts: Vec<(Arc<str>, Vec<&'r VirtualService>, Option<Offer<'r>>)> = Vec::new();
        for offer in offers {
            let redirect = offer.redirects().then_some(*offer);
            let mut add = |domain: Arc<str>, document: Option<&'r VirtualService>| {
                let known = hosts.iter().position(|(known, ..)| *known == domain);
                let at = known.unwrap_or_else(|| {
                    hosts.push((domain, Vec::new(), None));
                    hosts.len() - 1
                });
                hosts[at].2 = hosts[at].2.or(redirect);
                let new = |document: &&VirtualService| !hosts[at].1.iter().any(|known| std::ptr::eq(*known, *document));
                if let Some(document) = document.filter(new) {
                    hosts[at].1.push(document);
                }
            };
            for document in self.attached(*offer).into_iter().filter(|document| !document.http.is_empty()) {
                for domain in domains(*offer, document, self.site) {
                    add(domain, Some(document));
                }
            }
            if redirect.is_some() {
                offer.all_hosts().for_each(|domain| add(domain, None));
            }
        }
        let port = offers.first().map_or(0, |offer| offer.server.port);
        hosts
            .into_iter()
            .filter_map(|(domain, documents, redirect)| self.host(port, domain, &documents, redirect))
            .collect()
    }

    fn host(
        &mut self,
        port: u16,
        domain: Arc<str>,
        documents: &[&'r VirtualService],
        redirect: Option<Offer<'r>>,
    ) -> Option<VirtualHost> {
        let (routes, origin) = match redirect {
            Some(offer) => (vec![to_https(offer)], offer.origin()),
            None => {
                let first = documents.first()?;
                let mut routes = Vec::new();
                let mut complaints = std::mem::take(&mut self.complaints);
                for document in documents {
                    routes.append(&mut translate(&self.delegates.rules(document), &self.scope(port), &mut complaints));
                }
                self.complaints = complaints;
                (routes, first.meta.origin(&first.meta.spot))
            }
        };
        let (mut routes, last): (Vec<_>, Vec<_>) = routes.into_iter().partition(|route| !is_catch_all(&route.when));
        routes.extend(last);
        let name = format!("{domain}:{port}").into();
        (!routes.is_empty()).then(|| VirtualHost { name, port, domains: vec![domain], routes: routes.into(), origin })
    }

    fn scope(&self, port: u16) -> Scope<'_> {
        let place = Place::Edge(self.names);
        Scope {
            catalog: self.catalog,
            clusters: self.clusters,
            site: self.site,
            port,
            serves: false,
            place,
            member: None,
        }
    }

    /// Istio: of TCP the first VirtualService with a fitting rule is used, whatever its hosts; of TLS that is passed through
    /// every rule, by its server names.
    fn streams(&mut self, offer: Offer<'r>, rules: impl Fn(&'r VirtualService) -> &'r [StreamRoute]) -> Vec<Stream> {
        let mut streams = Vec::new();
        let mut taken: BTreeSet<Arc<str>> = BTreeSet::new();
        for document in self.attached(offer) {
            let before = streams.len();
            let namespace = document.meta.namespace();
            let hosts: Vec<String> = offer.hosts(namespace).collect();
            for route in rules(document) {
                let fitting = route.matches.iter().filter(|rule| self.fits(rule, offer.server.port, namespace));
                let fitting: Vec<Option<&StreamMatch>> =
                    if route.matches.is_empty() { vec![None] } else { fitting.map(Some).collect() };
                for rule in fitting {
                    let names = rule.map_or(&[][..], |rule| &rule.sni_hosts);
                    let lower = names.iter().map(|name| Arc::<str>::from(name.to_ascii_lowercase()));
                    let admitted = |name: &Arc<str>| hosts.iter().any(|host| within(name, host) || within(host, name));
                    let server_names: Vec<_> =
                        lower.filter(admitted).filter(|name| taken.insert(name.clone())).collect();
                    if names.is_empty() || !server_names.is_empty() {
                        streams.push(self.stream(document, route, rule, server_names, offer.server.port));
                    }
                }
            }
            let tcp = streams[before..].iter().any(|stream| stream.server_names.is_empty());
            if tcp {
                break;
            }
        }
        streams
    }

    fn fits(&self, rule: &StreamMatch, port: u16, namespace: &str) -> bool {
        let place = Place::Edge(self.names);
        rule.port.is_none_or(|wanted| wanted == port)
            && selects(&rule.source_labels, &self.site.workload.labels)
            && rule.source_namespace.as_ref().is_none_or(|wanted| *wanted == self.site.workload.namespace)
            && (rule.gateways.is_empty() || rule.gateways.iter().any(|gateway| place.is(gateway, namespace)))
    }

    fn stream(
        &mut self,
        document: &VirtualService,
        route: &StreamRoute,
        rule: Option<&StreamMatch>,
        server_names: Vec<Arc<str>>,
        port: u16,
    ) -> Stream {
        let mut complaints = std::mem::take(&mut self.complaints);
        let mut report = Report { meta: &document.meta, spot: &route.spot, complaints: &mut complaints };
        let scope = self.scope(port);
        let single = route.route.len() == 1;
        let drawn = route.route.iter().filter(|to| single || to.weight > 0);
        let destinations = drawn.map(|to| (scope.target(&to.destination, &mut report), to.weight)).collect();
        self.complaints = complaints;
        Stream {
            server_names,
            destination_subnets: rule
                .map(|rule| rule.destination_subnets.iter().map(|subnet| subnet.value.clone()).collect())
                .unwrap_or_default(),
            destinations,
            origin: document.meta.origin(&route.spot),
        }
    }
}

/// The domains that a VirtualService serves at a server: of each pair of hosts that overlap the more specific.
fn domains(offer: Offer<'_>, document: &VirtualService, site: &Site) -> Vec<Arc<str>> {
    let namespace = document.meta.namespace();
    let mut found: Vec<Arc<str>> = Vec::new();
    for written in &document.hosts {
        let own = complete(&written.value, namespace, &site.cluster_domain);
        for host in offer.hosts(namespace).filter(|host| overlap(&own, host)) {
            let domain: Arc<str> = if within(&own, &host) { Arc::from(&*own) } else { host.into() };
            if !found.contains(&domain) {
                found.push(domain);
            }
        }
    }
    found
}

/// Istio: `httpsRedirect` goes before every rule.
fn to_https(offer: Offer<'_>) -> Route {
    let redirect = Redirect {
        path: None,
        authority: None,
        scheme: Some("https".into()),
        port: None,
        status: 301,
        response_headers: HeaderOps::default(),
    };
    let action = Action::Redirect(Box::new(redirect));
    Route { name: "https".into(), origin: offer.origin(), when: Match::default(), cors: None, action }
}
