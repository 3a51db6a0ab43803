//! Hosts that nothing defines, hides, or completes. Whose slip it was is told by a vote: a service that nobody names, beside a
//! name nearly the same that several objects use, is itself misspelt.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::super::Checking;
use super::destinations;
use crate::compile::names::{cluster_parts, complete, is_wildcard, within};
use crate::compile::report::view::View;
use crate::diagnostic::Diagnostic;
use crate::resources::{DestinationRule, Meta, Service, ServiceEntry};
use crate::source::{Located, Spot};
use crate::{codes, names};

/// How many unknown hosts are compared with the known ones, for that takes a while.
const MOST_SUGGESTIONS: usize = 200;

/// Every host that is defined, seen or not, and where.
pub(super) struct Known<'r> {
    hosts: BTreeMap<String, (&'r Meta, Spot)>,
    /// Who defines each, for those who ask from several namespaces.
    definitions: OnceCell<HashMap<String, Vec<Definition<'r>>>>,
}

/// An object that defines a host.
enum Definition<'r> {
    Service(&'r Service),
    Entry(&'r ServiceEntry),
}

impl Definition<'_> {
    fn is_seen(&self, cx: &Checking<'_>, namespace: &str) -> bool {
        match self {
            Self::Service(service) => cx.sees_service(namespace, service),
            Self::Entry(entry) => cx.sees_entry(namespace, entry),
        }
    }
}

impl<'r> Known<'r> {
    pub(super) fn gather(cx: &Checking<'r>) -> Self {
        let domain = cx.domain();
        let mut hosts = BTreeMap::new();
        for service in &cx.resources.services {
            let host = format!("{}.{}.svc.{domain}", service.meta.name(), service.meta.namespace());
            hosts.entry(host).or_insert((&service.meta, service.meta.spot.clone()));
        }
        for entry in &cx.resources.service_entries {
            for host in &entry.hosts {
                hosts.entry(host.value.to_ascii_lowercase()).or_insert((&entry.meta, host.spot.clone()));
            }
        }
        Self { hosts, definitions: OnceCell::new() }
    }

    /// Whether a namespace sees a host, or nobody here defines it.
    fn is_seen(&self, cx: &Checking<'r>, namespace: &str, host: &str) -> bool {
        let definitions = self.definitions.get_or_init(|| {
            let mut found: HashMap<String, Vec<Definition<'r>>> = HashMap::new();
            for service in &cx.resources.services {
                let host = format!("{}.{}.svc.{}", service.meta.name(), service.meta.namespace(), cx.domain());
                found.entry(host).or_default().push(Definition::Service(service));
            }
            for entry in &cx.resources.service_entries {
                for host in &entry.hosts {
                    found.entry(host.value.to_ascii_lowercase()).or_default().push(Definition::Entry(entry));
                }
            }
            found
        });
        definitions.get(host).is_none_or(|all| all.iter().any(|one| one.is_seen(cx, namespace)))
    }

    /// Whether a host is defined.
    pub(super) fn has(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// The known host that a name most likely means. Cluster hosts are compared by name, within their namespace.
    fn nearest(&self, host: &str, domain: &str) -> Option<&str> {
        let same_kind = |known: &&str| match (cluster_parts(host, domain), cluster_parts(known, domain)) {
            (Some((_, namespace)), Some((_, other))) => namespace == other,
            (None, None) => true,
            _ => false,
        };
        let part = |host: &'_ str| cluster_parts(host, domain).map_or(host.to_owned(), |(name, _)| name.to_owned());
        let hosts: Vec<&str> = self.hosts.keys().map(String::as_str).filter(same_kind).collect();
        let parts: Vec<String> = hosts.iter().map(|known| part(known)).collect();
        let near = names::nearest(&part(host), parts.iter().map(String::as_str));
        let at = near.and_then(|near| parts.iter().position(|part| part == near));
        // Else the slip may be in the namespace, or in the end that all cluster hosts have.
        let whole = || self.hosts.keys().map(String::as_str).find(|known| names::distance(host, known) <= 1);
        at.and_then(|at| hosts.get(at).copied()).or_else(whole)
    }

    /// `reviews.prod` and `reviews.prod.svc` name a service as people do in Kubernetes.
    fn other_form(&self, host: &str, domain: &str) -> Option<&str> {
        let full = match host.strip_suffix(".svc") {
            Some(short) => format!("{short}.svc.{domain}"),
            None => format!("{host}.svc.{domain}"),
        };
        self.hosts.get_key_value(&full).map(|(known, _)| known.as_str())
    }
}

/// A host that is named and not there.
struct Unknown<'r> {
    meta: &'r Meta,
    written: &'r Located<Arc<str>>,
    host: String,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Destination,
    Imported,
    Rule,
    Routed,
}

/// DestinationRules whose host is misspelt, by the host that is meant: their subsets are there all the same.
#[derive(Default)]
pub(super) struct Lost<'r> {
    pub(super) rules: BTreeMap<String, Vec<&'r DestinationRule>>,
}

pub(super) fn check<'r>(cx: &Checking<'r>, known: &Known<'r>) -> Lost<'r> {
    let mut used = BTreeSet::new();
    let gathered = gather(cx, known, &mut used);
    readers(cx, known);
    let domain = cx.domain();
    let mut meant: BTreeMap<String, Option<&str>> = BTreeMap::new();
    for one in &gathered {
        let is_new = !meant.contains_key(&one.host);
        if is_new && meant.len() < MOST_SUGGESTIONS && cx.may_compare(2 * known.hosts.len()) {
            meant.entry(one.host.clone()).or_insert_with(|| known.nearest(&one.host, domain));
        }
    }
    // A service whose own name has been told to be wrong explains what is not found.
    let explained = |one: &Unknown<'_>| {
        let meant = meant.get(&*one.host).copied().flatten().and_then(|meant| known.hosts.get(meant));
        let itself = known.hosts.get(&one.written.value.to_ascii_lowercase());
        meant.into_iter().chain(itself).any(|(_, spot)| cx.has_told(spot))
    };
    let unknown: Vec<Unknown<'r>> = gathered.into_iter().filter(|one| !explained(one)).collect();
    let mut lost = Lost::default();
    let blamed = blame_services(cx, known, &unknown, &meant, &used);
    let mut told: BTreeSet<(&str, &str)> = BTreeSet::new();
    for one in &unknown {
        let meant = meant.get(&*one.host).copied().flatten();
        if blamed.contains(&*one.host) || !told.insert((&one.meta.resource, &one.host)) {
            continue;
        }
        if let (Role::Rule, Some(meant)) = (one.role, meant)
            && let Some(rule) = cx.resources.destination_rules.iter().find(|rule| rule.meta == *one.meta)
        {
            lost.rules.entry(meant.to_owned()).or_default().push(rule);
        }
        tell(cx, known, one, meant);
    }
    lost
}

/// Destinations come before the hosts of their VirtualService, so that a host which is both is told where it matters.
fn gather<'r>(cx: &Checking<'r>, known: &Known<'r>, used: &mut BTreeSet<String>) -> Vec<Unknown<'r>> {
    let mut unknown = Vec::new();
    let mut look = |meta: &'r Meta, export_to: &[Arc<str>], written: &'r Located<Arc<str>>, role: Role| {
        let Some(view) = cx.view(meta.namespace()) else { return };
        if written.value.is_empty() {
            return;
        }
        let host = complete(&written.value, meta.namespace(), cx.domain());
        // Rules that are for other namespaces only are asked from there.
        let others = named_readers(meta, export_to).filter(|_| !is_for_own(meta, export_to));
        let elsewhere = |host: &str| {
            let mut others = others.peekable();
            others.peek().is_some() && known.has(host) && others.all(|namespace| known.is_seen(cx, namespace, host))
        };
        if is_known(view, &host) || elsewhere(&host) {
            used.insert(view.catalog.resolve(&host).to_owned());
        } else {
            unknown.push(Unknown { meta, written, host: host.into_owned(), role });
        }
    };
    for document in &cx.resources.virtual_services {
        for (_, destination) in destinations(document) {
            look(&document.meta, &document.export_to, &destination.host, Role::Destination);
        }
        if document.applies_to_mesh() {
            let export_to = &document.export_to;
            document.hosts.iter().for_each(|host| look(&document.meta, export_to, host, Role::Routed));
        }
    }
    for rule in &cx.resources.destination_rules {
        look(&rule.meta, &rule.export_to, &rule.host, Role::Rule);
    }
    for sidecar in &cx.resources.sidecars {
        let Some(view) = cx.view(sidecar.meta.namespace()) else { continue };
        let named = sidecar.egress.iter().flat_map(|listener| &listener.hosts);
        for host in named.filter(|host| !host.excluded && &*host.namespace != "~" && !is_known(view, &host.host)) {
            let (written, host) = (&host.written, host.host.to_string());
            unknown.push(Unknown { meta: &sidecar.meta, written, host, role: Role::Imported });
        }
    }
    unknown
}

/// The namespaces besides its own that an object names in `exportTo`.
fn named_readers<'a>(meta: &'a Meta, export_to: &'a [Arc<str>]) -> impl Iterator<Item = &'a str> {
    let named = export_to.iter().map(|entry| &**entry);
    named.filter(|entry| !matches!(*entry, "." | "*" | "~") && *entry != &**meta.namespace())
}

/// Whether an object is for its own namespace, too.
fn is_for_own(meta: &Meta, export_to: &[Arc<str>]) -> bool {
    export_to.is_empty() || export_to.iter().any(|entry| matches!(&**entry, "." | "*") || **entry == **meta.namespace())
}

/// The most namespaces of one rule that are asked.
const MOST_READERS: usize = 50;

/// Destinations that some of the namespaces do not see that a rule is exported to.
fn readers<'r>(cx: &Checking<'r>, known: &Known<'r>) {
    for document in &cx.resources.virtual_services {
        let named: Vec<&str> = named_readers(&document.meta, &document.export_to).take(MOST_READERS).collect();
        if named.is_empty() {
            continue;
        }
        let mut told = BTreeSet::new();
        for (_, destination) in destinations(document) {
            let host = complete(&destination.host.value, document.meta.namespace(), cx.domain());
            let blind: Vec<&str> =
                named.iter().copied().filter(|namespace| !known.is_seen(cx, namespace, &host)).collect();
            let own = is_for_own(&document.meta, &document.export_to);
            // What no reader sees is told as a host that is not exported.
            if blind.is_empty() || (!own && blind.len() == named.len()) || !told.insert(host.clone()) {
                continue;
            }
            if own && !known.is_seen(cx, document.meta.namespace(), &host) {
                continue;
            }
            let message =
                format!("{host} is not exported to {}, where this rule is used, too", super::super::list(blind));
            let resource = &document.meta.resource;
            let spot = &destination.host.spot;
            let complaint = Diagnostic::warning(codes::READER_CANNOT_SEE, resource, spot, message).ist("IST0101");
            let complaint = match known.hosts.get(&*host) {
                Some((owner, defined)) => complaint.label(defined, format!("{} defines it", owner.resource)),
                None => complaint,
            };
            cx.tell(complaint.help("export both to the same namespaces"));
        }
    }
}

/// Whether a service of that name is visible. A wildcard is known when it covers one, and an address needs no service.
fn is_known(view: &View<'_>, host: &str) -> bool {
    if is_wildcard(host) {
        let services = view.catalog.services();
        return host == "*" || services.is_empty() || services.iter().any(|service| within(&service.host, host));
    }
    view.catalog.find(host).is_some() || host.parse::<IpAddr>().is_ok()
}

/// Services that nobody names, when several objects name one that is nearly the same and not there; the names so explained.
fn blame_services<'u>(
    cx: &Checking<'_>,
    known: &Known<'_>,
    unknown: &'u [Unknown<'_>],
    meant: &BTreeMap<String, Option<&str>>,
    used: &BTreeSet<String>,
) -> BTreeSet<&'u str> {
    let mut blamed = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for host in unknown.iter().map(|one| &*one.host).filter(|host| seen.insert(*host)) {
        let Some(service) = meant.get(host).copied().flatten().filter(|service| !used.contains(*service)) else {
            continue;
        };
        let users: Vec<&Unknown<'_>> = unknown.iter().filter(|one| one.host == host).collect();
        let objects: BTreeSet<&str> = users.iter().map(|one| &*one.meta.resource).collect();
        let Some((meta, spot)) = known.hosts.get(service).filter(|_| objects.len() > 1) else { continue };
        let message =
            format!("nothing refers to {service}, and {host}, which {} objects refer to, is not there", objects.len());
        let mut complaint = Diagnostic::warning(codes::UNKNOWN_HOST, &meta.resource, spot, message).ist("IST0101");
        for user in users.iter().take(2) {
            complaint = complaint.label(&user.written.spot, "it is called so here");
        }
        cx.tell(complaint.help(format!("did you mean `{}`?", users[0].written.value)));
        blamed.insert(host);
    }
    blamed
}

fn tell(cx: &Checking<'_>, known: &Known<'_>, one: &Unknown<'_>, meant: Option<&str>) {
    let domain = cx.domain();
    let (host, resource, spot) = (&one.host, &one.meta.resource, &one.written.spot);
    if let Some((owner, defined)) = known.hosts.get(host).filter(|_| !is_wildcard(host)) {
        let message = format!("{host} is not exported to namespace {}", one.meta.namespace());
        let complaint = Diagnostic::warning(codes::NOT_EXPORTED, resource, spot, message).ist("IST0101");
        let complaint = complaint.label(defined, format!("{} defines it", owner.resource));
        return cx.tell(complaint.help("add the namespace to `exportTo` there"));
    }
    if let Some(full) = known.other_form(host, domain) {
        let message = format!("`{}` is never completed to {full}: it has a dot", one.written.value);
        let complaint = Diagnostic::warning(codes::NEVER_EXPANDED, resource, spot, message).ist("IST0101");
        return cx.tell(complaint.help(format!("write `{full}`")));
    }
    let (code, ist, message) = match one.role {
        Role::Routed | Role::Imported if is_wildcard(host) => return,
        Role::Routed => {
            let message = format!("no service {host} is defined here: it is routed on port 80 only");
            (codes::ROUTED_ON_80_ONLY, None, message)
        }
        Role::Rule if is_wildcard(host) => {
            (codes::UNKNOWN_HOST, Some("IST0174"), format!("{host} covers no service that is defined here"))
        }
        Role::Rule => (codes::UNKNOWN_HOST, Some("IST0174"), format!("no service {host} is defined here")),
        Role::Destination | Role::Imported => {
            (codes::UNKNOWN_HOST, Some("IST0101"), format!("no service {host} is defined here"))
        }
    };
    let mut complaint = Diagnostic::warning(code, resource, spot, message);
    complaint.ist = ist;
    complaint.help = advice(known, one, meant, domain);
    if let Some((_, defined)) = meant.and_then(|near| known.hosts.get(near)) {
        complaint = complaint.label(defined, "this one is defined");
    }
    cx.tell(complaint);
}

/// What to write instead, in the form that the user writes.
fn advice(known: &Known<'_>, one: &Unknown<'_>, meant: Option<&str>, domain: &str) -> Option<String> {
    let (name, own) = (&*one.written.value, &**one.meta.namespace());
    if let Some(meant) = meant {
        let short = cluster_parts(meant, domain).filter(|(_, namespace)| !name.contains('.') && *namespace == own);
        return Some(format!("did you mean `{}`?", short.map_or(meant, |(short, _)| short)));
    }
    if name.contains('.') {
        return None;
    }
    let parts = known.hosts.keys().filter_map(|known| cluster_parts(known, domain));
    let elsewhere = parts.filter(|(known, _)| *known == name).map(|(_, namespace)| namespace).next();
    Some(match elsewhere {
        None => format!("a short name is completed with namespace {own}"),
        Some(there) => {
            format!(
                "a short name is completed with namespace {own}; for the one in {there} write `{name}.{there}.svc.{domain}`"
            )
        }
    })
}
