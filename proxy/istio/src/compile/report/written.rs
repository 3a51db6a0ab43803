//! What only the text says of a virtual host: where each part of its rules is written, which of them are not for this proxy,
//! and which VirtualServices name the host in vain. A snapshot keeps none of it, for serving needs none of it.

use std::collections::HashMap;
use std::sync::Arc;

use leeboard_policy::cluster::Workload;
use leeboard_policy::origin::Origin;
use leeboard_policy::snapshot::VirtualHost;

use crate::compile::delegates::{Delegates, Rules};
use crate::compile::names::{complete, is_wildcard, within};
use crate::compile::routes;
use crate::compile::routes::matches::{self, Place, Unfit, is_catch_all};
use crate::compile::site::{Site, placed};
use crate::resources::virtual_service::{HttpAction, HttpMatch, HttpRoute};
use crate::resources::{Meta, Resources, VirtualService};
use crate::source::{Source, Spot};
use crate::support::HTTP_MATCH;
use crate::yaml::{self, Node, Value};

/// A rule of a virtual host, as it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrittenRule {
    /// Its place among the virtual host's routes, from 0, or that of the next one that is there.
    pub place: usize,
    /// Its name, as its route bears it.
    pub name: Arc<str>,
    /// Where its entry is written.
    pub origin: Origin,
    /// Where an entry is written that leads to it by `delegate`.
    pub root: Option<Origin>,
    /// Why this proxy does not have it; `None` when it does.
    pub lacking: Option<Lacking>,
    /// Where its match is written, and those that a delegate's match takes over from what leads to it.
    matches: Vec<(Arc<str>, Spot)>,
}

/// Why a proxy does not have a rule: what it asks of whoever calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lacking {
    /// Which part of the match, such as `sourceLabels[app]`.
    pub part: String,
    /// What that must be.
    pub wanted: String,
    /// What it is; `None` when there is none.
    pub is: Option<String>,
}

/// A VirtualService that names a host and has no say in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unused {
    /// Where it is written.
    pub origin: Origin,
    /// Why, in words.
    pub why: String,
}

/// Parts of rules that are wanted, by line and column of the blocks that may have them: which one, and how good that is.
type Wanted<'w> = HashMap<(u32, u32), Vec<(usize, usize, &'w Arc<str>)>>;

/// Where parts of rules' matches are written, such as `uri` or `headers[x-canary]`: their keys. `None` for one that `sources`
/// do not have. Each source is read once.
pub fn places(parts: &[(&WrittenRule, &str)], sources: &[Source]) -> Vec<Option<Origin>> {
    let mut wanted: HashMap<&Arc<str>, Wanted<'_>> = HashMap::new();
    for (number, (rule, _)) in parts.iter().enumerate() {
        for (rank, (resource, spot)) in rule.matches.iter().enumerate() {
            let of_file = wanted.entry(&spot.file).or_default();
            of_file.entry((spot.line, spot.column)).or_default().push((number, rank, resource));
        }
    }
    let mut found: Vec<Option<(usize, Origin)>> = vec![None; parts.len()];
    for source in sources {
        let Some(mut wanted) = wanted.remove(&source.name) else { continue };
        let mut see = |block: &Node, (number, rank, resource): (usize, usize, &Arc<str>)| {
            let found = &mut found[number];
            if found.as_ref().is_none_or(|(known, _)| rank < *known)
                && let Some((line, column)) = key_in(block, parts[number].1)
            {
                let (resource, file) = (resource.clone(), source.name.clone());
                *found = Some((rank, Origin { resource, file, line, column }));
            }
        };
        yaml::parse(&source.text, |document| walk(&document.root, &mut wanted, &mut see));
    }
    found.into_iter().map(|found| found.map(|(_, origin)| origin)).collect()
}

/// Shows the outermost block at each place.
fn walk<'w>(node: &Node, wanted: &mut Wanted<'w>, see: &mut impl FnMut(&Node, (usize, usize, &'w Arc<str>))) {
    match &node.value {
        Value::Scalar { .. } => {}
        Value::Seq(items) => items.iter().for_each(|node| walk(node, wanted, see)),
        Value::Map(entries) => {
            let here = wanted.remove(&(node.mark.line, node.mark.column)).unwrap_or_default();
            here.into_iter().for_each(|part| see(node, part));
            entries.iter().for_each(|(_, node)| walk(node, wanted, see));
        }
    }
}

/// Line and column of the key of a part of a match.
fn key_in(block: &Node, part: &str) -> Option<(u32, u32)> {
    let (field, name) = match part.strip_suffix(']').and_then(|part| part.split_once('[')) {
        Some((field, name)) => (field, Some(name)),
        None => (part, None),
    };
    let is_row = |key: &str| HTTP_MATCH.row(key).is_some_and(|row| row.field == field);
    let (key, node) = block.entries()?.iter().find(|(key, _)| is_row(&key.text))?;
    let Some(name) = name else { return Some((key.mark.line, key.mark.column)) };
    // Names of headers are kept in lower case, others as they are written.
    let same = |text: &str| text == name || (field.ends_with("eaders") && text.eq_ignore_ascii_case(name));
    let (key, _) = node.entries()?.iter().find(|(key, _)| same(&key.text))?;
    Some((key.mark.line, key.mark.column))
}

/// The rules of the VirtualService that a virtual host is made from, in order and as far as any can be reached, those that
/// are not for this proxy among them. None when the host is a service's own, or of other `resources` than these.
pub fn rules_as_written(resources: &Resources, site: &Site, host: &VirtualHost) -> Vec<WrittenRule> {
    let site = &placed(resources, site);
    let made_of = |document: &&Arc<VirtualService>| document.meta.resource == host.origin.resource;
    let Some(document) = resources.virtual_services.iter().find(made_of) else { return Vec::new() };
    let rules = Delegates::gather(resources, site).rules(document);
    list(&rules, host, site).unwrap_or_default()
}

/// `None` when the virtual host's routes are not made of these rules.
fn list(rules: &Rules<'_>, host: &VirtualHost, site: &Site) -> Option<Vec<WrittenRule>> {
    let mut found = Vec::new();
    let mut place = 0;
    for (meta, entry, root) in rules.with_roots() {
        if matches!(entry.action, HttpAction::Delegate(_)) {
            continue;
        }
        let of = |rule: Option<&HttpMatch>, place, lacking| WrittenRule {
            place,
            name: routes::name(entry, rule.map(|rule| &rule.name)),
            origin: meta.origin(&entry.spot),
            root: root.map(|(meta, entry)| meta.origin(&entry.spot)),
            lacking,
            matches: spots(meta, rule, root),
        };
        let alternatives = entry.matches.iter().map(Some).chain(entry.matches.is_empty().then_some(None));
        for rule in alternatives {
            let unfit = rule.and_then(|rule| matches::unfit(rule, host.port, Place::Mesh, meta.namespace(), site));
            if let Some(unfit) = unfit {
                found.push(of(rule, place, Some(lacking(unfit, host.port, &site.workload))));
                continue;
            }
            let Some(route) = host.routes.get(place) else { return Some(found) };
            let written = of(rule, place, None);
            if (&route.name, &route.origin) != (&written.name, &written.origin) {
                return None;
            }
            found.push(written);
            place += 1;
            if is_catch_all(&route.when) {
                return Some(found);
            }
        }
    }
    Some(found)
}

fn spots(meta: &Meta, rule: Option<&HttpMatch>, root: Option<(&Meta, &HttpRoute)>) -> Vec<(Arc<str>, Spot)> {
    let own = rule.map(|rule| (meta.resource.clone(), rule.spot.clone()));
    let taken_over = root
        .into_iter()
        .flat_map(|(meta, entry)| entry.matches.iter().map(|rule| (meta.resource.clone(), rule.spot.clone())));
    own.into_iter().chain(taken_over).collect()
}

fn lacking(unfit: Unfit<'_>, port: u16, workload: &Workload) -> Lacking {
    let (part, wanted, is) = match unfit {
        Unfit::Port(wanted) => ("port".into(), wanted.to_string(), Some(port.to_string())),
        Unfit::Gateways(wanted) => ("gateways".into(), wanted.join(" or "), Some("mesh".into())),
        Unfit::Label(key, wanted) => {
            (format!("sourceLabels[{key}]"), wanted.to_string(), workload.labels.get(key).map(ToString::to_string))
        }
        Unfit::Namespace(wanted) => {
            ("sourceNamespace".into(), wanted.to_string(), Some(workload.namespace.to_string()))
        }
    };
    Lacking { part, wanted, is }
}

/// The VirtualServices that name a virtual host and have no say in it, and why.
pub fn unused(resources: &Resources, site: &Site, host: &VirtualHost) -> Vec<Unused> {
    let site = &placed(resources, site);
    let name = host.name.rsplit_once(':').map_or(&*host.name, |(name, _)| name);
    let delegates = Delegates::gather(resources, site);
    let found = resources.virtual_services.iter().filter_map(|document| {
        let meta = &document.meta;
        let full = |pattern: &str| complete(pattern, meta.namespace(), &site.cluster_domain).into_owned();
        // A ServiceEntry's `reviews` is just that, and a VirtualService's another host.
        let nearly =
            document.hosts.iter().find(|host| host.value.eq_ignore_ascii_case(name) && full(&host.value) != name);
        if let Some(host) = nearly {
            let why =
                format!("its `{}` means {}, which is what the ServiceEntry has to say", host.value, full(&host.value));
            return Some(Unused { origin: meta.origin(&host.spot), why });
        }
        let own = |pattern: &&str| within(name, &full(pattern));
        let pattern = document.hosts.iter().map(|host| &*host.value).find(own)?;
        let why = reason(document, pattern, &delegates, host, site)?;
        Some(Unused { origin: meta.origin(&meta.spot), why })
    });
    found.collect()
}

fn reason<'r>(
    document: &'r VirtualService,
    pattern: &str,
    delegates: &Delegates<'r, '_>,
    host: &VirtualHost,
    site: &Site,
) -> Option<String> {
    let namespace = &site.workload.namespace;
    if document.meta.resource == host.origin.resource {
        return None;
    }
    if !document.applies_to_mesh() {
        let gateways: Vec<&str> = document.gateways.iter().map(|gateway| &*gateway.value).collect();
        return Some(format!("its `gateways` are {}, without `mesh`", gateways.join(", ")));
    }
    if site.mesh.reach_of_routes(document, namespace).is_none() {
        return Some(format!("it is not exported to namespace {namespace}"));
    }
    if host.origin.resource.starts_with("VirtualService ") {
        let winner = &host.origin.resource;
        let specific = is_wildcard(pattern);
        return Some(match specific {
            true => format!("{winner} names the host more precisely than by {pattern}, or comes first"),
            false => format!("{winner} comes first"),
        });
    }
    let rules = delegates.rules(document);
    let lacking = rules.iter().flat_map(|(meta, entry)| entry.matches.iter().map(move |rule| (meta, rule)));
    let mut lacking = lacking.map(|(meta, rule)| matches::unfit(rule, host.port, Place::Mesh, meta.namespace(), site));
    let always = rules.iter().any(|(_, entry)| entry.matches.is_empty());
    match lacking.next().flatten().filter(|_| !always && lacking.all(|unfit| unfit.is_some())) {
        Some(unfit) => {
            let first = self::lacking(unfit, host.port, &site.workload);
            Some(format!("none of its rules is for this proxy: the first wants {} {}", first.part, first.wanted))
        }
        None => Some(format!("the workload does not import it for port {}", host.port)),
    }
}
