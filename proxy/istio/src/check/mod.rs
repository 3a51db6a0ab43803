//! What is wrong between objects, and what settings will really do: the rules of `leeboard check`.
//!
//! A rule looks at one thing and says what is wrong with it through `Checking`; its code is its name. Each rule has a case that
//! fires and one that does not in `tests/check/`, and a page in `codes.rs`.

mod conflicts;
mod effects;
mod references;
pub(crate) mod shadowed;
mod suppress;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use leeboard_policy::cluster::Workload;

use crate::codes::{self, Code};
use crate::compile::report::view::{View, views};
use crate::compile::services::kubernetes;
use crate::compile::site::{Site, placed};
use crate::diagnostic::{self, Diagnostic, Severity};
use crate::fields::MOST_OF_A_KIND;
use crate::load::load_guessing;
use crate::locations::{Locations, Path};
use crate::names;
use crate::read::UnreadObject;
use crate::resources::{DestinationRule, Labels, Meta, ObjectId, Resources, Service, ServiceEntry, VirtualService};
use crate::source::{Source, Spot};

/// What came of checking.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Every complaint, in the order of the files and of the lines in them.
    pub diagnostics: Vec<Diagnostic>,
    /// How many objects were looked at, those with errors included.
    pub objects: usize,
}

/// Checks all documents of a configuration: each by itself, then what they say about one another, then what it comes to.
///
/// `site` gives the cluster's domain, the mesh's namespace, and as the workload's namespace that of objects which name none. Never
/// fails and never stops at a mistake; each mistake is told once, where it was made.
pub fn check(sources: &[Source], site: &Site) -> Checked {
    let loaded = load_guessing(sources, &site.workload.namespace);
    let mut resources = loaded.resources.clone();
    resources.append(&loaded.set_aside);
    let site = &placed(&resources, site);
    let sites = sites(&resources, site);
    let (views, of_services) = views(&resources, &sites);
    let half = loaded.diagnostics.iter().filter(|d| matches!(d.code, codes::SYNTAX | codes::TOO_DEEP));
    let cx = Checking {
        broken: half.map(|d| d.resource.clone()).collect(),
        resources: &resources,
        unread_objects: &loaded.unread_objects,
        views: views.into_iter().map(|view| (&*view.site.workload.namespace, view)).collect(),
        site,
        rejected: rejected(&loaded.rejected, &resources, &loaded.diagnostics),
        places: Locations::of(sources),
        found: RefCell::default(),
        counts: RefCell::default(),
        told: RefCell::default(),
        comparisons: Cell::new(MOST_COMPARISONS),
    };
    of_services.into_iter().for_each(|diagnostic| cx.tell(diagnostic));
    references::check(&cx);
    conflicts::check(&cx);
    shadowed::check(&cx);
    effects::check(&cx);
    let mut diagnostics = loaded.diagnostics.clone();
    // Istio: a running proxy reads over fields that it does not know, and `istioctl validate` refuses them.
    for diagnostic in diagnostics.iter_mut().filter(|diagnostic| diagnostic.code == codes::UNKNOWN_FIELD) {
        diagnostic.severity = Severity::Error;
    }
    // Of a template nothing is said but that it is one.
    let is_template = |diagnostic: &&Diagnostic| diagnostic.code == codes::TEMPLATE;
    let templates: BTreeSet<Arc<str>> =
        diagnostics.iter().filter(is_template).map(|diagnostic| diagnostic.primary.file.clone()).collect();
    let more = cx.more();
    let found = cx.found.into_inner().into_iter().chain(more);
    diagnostics.extend(found.filter(|diagnostic| !templates.contains(&diagnostic.primary.file)));
    suppress::apply(&resources, &loaded.unread_objects, &mut diagnostics);
    diagnostic::sort(&mut diagnostics, sources);
    Checked { diagnostics, objects: resources.len() }
}

/// An object with errors of its own.
#[derive(Default)]
struct Rejected<'r> {
    /// `None` when its name is not legible.
    meta: Option<&'r Meta>,
    /// Lines and columns of the errors.
    errors: Vec<(u32, u32)>,
    /// Found when there is something to say of it, which may be very often.
    shares: OnceCell<Shares>,
}

/// Which parts of an object have errors.
struct Shares {
    /// Where the parts of `spec` begin, in order, and whether they are entries of lists.
    parts: Vec<((u32, u32), bool)>,
    broken: BTreeSet<usize>,
    /// Whether the errors are all in entries, so that other entries are as they were meant.
    within_entries: bool,
}

impl Shares {
    fn of(parts: Vec<((u32, u32), bool)>, errors: &[(u32, u32)]) -> Self {
        let mut shares = Self { parts, broken: BTreeSet::new(), within_entries: true };
        for error in errors {
            let part = shares.part(*error);
            shares.broken.insert(part);
            // An entry that is no block at all is left out, and those behind it are counted otherwise.
            let entry = part.checked_sub(1).and_then(|before| shares.parts.get(before));
            shares.within_entries &= entry.is_some_and(|(start, is_entry)| *is_entry && start != error);
        }
        shares
    }

    /// The number of the part that a place is in, from 1; 0 is before all of them.
    fn part(&self, at: (u32, u32)) -> usize {
        self.parts.partition_point(|(start, _)| *start <= at)
    }
}

fn rejected<'r>(
    ids: &[ObjectId],
    resources: &'r Resources,
    diagnostics: &[Diagnostic],
) -> BTreeMap<String, Rejected<'r>> {
    let mut rejected: BTreeMap<String, Rejected<'r>> =
        ids.iter().map(|id| (id.to_string(), Rejected::default())).collect();
    if rejected.is_empty() {
        return rejected;
    }
    resources.each(|meta| {
        if let Some(object) = rejected.get_mut(&*meta.resource) {
            object.meta.get_or_insert(meta);
        }
    });
    for error in diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error) {
        if let Some(object) = rejected.get_mut(&*error.resource) {
            object.errors.push((error.primary.line, error.primary.column));
        }
    }
    rejected
}

/// A site in each namespace that has objects of Istio's.
fn sites(resources: &Resources, site: &Site) -> Vec<Site> {
    let mut namespaces: BTreeSet<&Arc<str>> = BTreeSet::new();
    namespaces.extend(resources.virtual_services.iter().map(|object| object.meta.namespace()));
    namespaces.extend(resources.destination_rules.iter().map(|object| object.meta.namespace()));
    namespaces.extend(resources.service_entries.iter().map(|object| object.meta.namespace()));
    namespaces.extend(resources.sidecars.iter().map(|object| object.meta.namespace()));
    let at = |namespace: &Arc<str>| Site {
        workload: Workload { namespace: namespace.clone(), ..Workload::default() },
        inbound: Vec::new(),
        ..site.clone()
    };
    namespaces.into_iter().map(at).collect()
}

/// What the rules look at, and where they complain.
pub(crate) struct Checking<'r> {
    /// Every object, those with errors included as far as they are legible.
    pub(crate) resources: &'r Resources,
    /// Objects of kinds that are not read.
    pub(crate) unread_objects: &'r [UnreadObject],
    views: BTreeMap<&'r str, View<'r>>,
    /// Where the mesh's settings are.
    site: &'r Site,
    rejected: BTreeMap<String, Rejected<'r>>,
    /// Objects of which only the beginning could be read.
    broken: BTreeSet<Arc<str>>,
    places: Locations<'r>,
    found: RefCell<Vec<Diagnostic>>,
    /// How much there was to say of each object, by kind.
    counts: RefCell<HashMap<(Arc<str>, Severity, Code), usize>>,
    /// The places of which something has been said.
    told: RefCell<HashSet<Spot>>,
    /// How many names may still be compared in search of one that is nearly another.
    comparisons: Cell<usize>,
}

/// So many names are compared. Each takes about a microsecond, and is of use where there are few.
const MOST_COMPARISONS: usize = 2_000_000;

impl<'r> Checking<'r> {
    /// The configuration as a namespace sees it; `None` for one without objects of Istio's.
    pub(crate) fn view(&self, namespace: &str) -> Option<&View<'r>> {
        self.views.get(namespace)
    }

    /// The labels of a namespace's pods, those among them that a Deployment or its like makes.
    pub(crate) fn pods<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'r Labels> + 'a {
        let pods = self.resources.pods.iter().filter(move |pod| **pod.meta.namespace() == *namespace);
        let made = self.unread_objects.iter().filter(move |object| *object.namespace == *namespace);
        pods.map(|pod| &pod.meta.labels).chain(made.filter_map(|object| object.pods.as_ref()))
    }

    /// The labels of a namespace's WorkloadEntries and pods.
    pub(crate) fn workloads<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'r Labels> + 'a {
        let entries = self.resources.workload_entries.iter();
        let entries =
            entries.filter(move |entry| **entry.meta.namespace() == *namespace).map(|entry| &entry.spec.labels);
        entries.chain(self.pods(namespace))
    }

    /// Whether an object has an error of its own, so that not all of it may be as it was meant.
    pub(crate) fn is_rejected(&self, id: &ObjectId) -> bool {
        self.rejected.contains_key(&id.to_string())
    }

    /// Whether only the beginning of an object could be read.
    pub(crate) fn is_broken(&self, meta: &Meta) -> bool {
        self.broken.contains(&meta.resource)
    }

    /// The place of a setting: the value if it is a scalar, else its key.
    pub(crate) fn spot(&self, meta: &Meta, path: &Path) -> Spot {
        self.places.spot(meta, path)
    }

    /// The place of a setting's key.
    pub(crate) fn key(&self, meta: &Meta, path: &Path) -> Spot {
        self.places.key(meta, path)
    }

    /// The end of every cluster service's name.
    pub(crate) fn domain(&self) -> &'r str {
        &self.site.cluster_domain
    }

    /// Whether the mesh gives outlier detection to rules that have none.
    pub(crate) fn has_default_detection(&self) -> bool {
        self.site.mesh.outlier_detection.is_some()
    }

    /// Whether a namespace sees a VirtualService.
    pub(crate) fn sees(&self, namespace: &str, document: &VirtualService) -> bool {
        self.site.mesh.reach_of_routes(document, namespace).is_some()
    }

    /// Whether a namespace sees a DestinationRule.
    pub(crate) fn sees_rule(&self, namespace: &str, document: &DestinationRule) -> bool {
        self.site.mesh.shows_rule(document, namespace)
    }

    /// Whether a namespace sees a ServiceEntry.
    pub(crate) fn sees_entry(&self, namespace: &str, document: &ServiceEntry) -> bool {
        self.site.mesh.shows_entry(document, namespace)
    }

    /// Whether a namespace sees a Service.
    pub(crate) fn sees_service(&self, namespace: &str, document: &Service) -> bool {
        kubernetes::reach_of(document, &self.site.mesh, namespace).is_some()
    }

    /// Whether a setting is written.
    pub(crate) fn is_written(&self, meta: &Meta, path: &Path) -> bool {
        self.places.is_written(meta, path)
    }

    /// Whether some document is of a kind, be it one that is passed over.
    pub(crate) fn has_kind(&self, kind: &str) -> bool {
        self.places.has_kind(kind)
    }

    /// A warning about a setting.
    pub(crate) fn warning(&self, code: Code, meta: &Meta, path: &Path, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(code, &meta.resource, &self.spot(meta, path), message)
    }

    /// Something good to know about a setting.
    pub(crate) fn info(&self, code: Code, meta: &Meta, path: &Path, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Info, code, &meta.resource, &self.spot(meta, path), message)
    }

    /// How far apart two names are, as long as not too many have been compared.
    pub(crate) fn distance(&self, a: &str, b: &str) -> usize {
        if self.may_compare(1) { names::distance(a, b) } else { usize::MAX }
    }

    /// Whether so many more names may be compared, which then counts.
    pub(crate) fn may_compare(&self, count: usize) -> bool {
        let left = self.comparisons.get();
        self.comparisons.set(left.saturating_sub(count));
        left >= count
    }

    /// How much has been said.
    pub(crate) fn told_so_far(&self) -> usize {
        self.found.borrow().len()
    }

    /// Whether a namespace is the mesh's own, whose objects are for all namespaces.
    pub(crate) fn is_root(&self, namespace: &str) -> bool {
        *self.site.root_namespace == *namespace
    }

    /// Whether something has been said of a place.
    pub(crate) fn has_told(&self, spot: &Spot) -> bool {
        self.told.borrow().contains(spot)
    }

    /// Complains. Of an object with errors only what it refers to is worth judging: the rest may not be as it was meant.
    pub(crate) fn tell(&self, mut diagnostic: Diagnostic) {
        const SURE: [Code; 4] =
            [codes::UNKNOWN_HOST, codes::UNKNOWN_SUBSET, codes::UNKNOWN_PORT, codes::UNKNOWN_GATEWAY];
        let rejected = self.rejected.get(&*diagnostic.resource);
        if !SURE.contains(&diagnostic.code) && rejected.is_some_and(|object| !self.is_apart(&diagnostic, object)) {
            return;
        }
        let key = (diagnostic.resource.clone(), diagnostic.severity, diagnostic.code);
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(key).or_default();
        *count += 1;
        if *count > MOST_OF_A_KIND {
            return;
        }
        // Messages quote what the user wrote, and are shown on terminals and in logs.
        if diagnostic.message.contains(char::is_control) {
            diagnostic.message = diagnostic.message.escape_debug().to_string();
        }
        self.told.borrow_mut().insert(diagnostic.primary.clone());
        self.found.borrow_mut().push(diagnostic);
    }

    /// For each kind of complaint of which an object has too many, how many more.
    fn more(&self) -> Vec<Diagnostic> {
        let found = self.found.borrow();
        let counts = self.counts.borrow();
        let beyond = counts.iter().filter(|(_, count)| **count > MOST_OF_A_KIND);
        let told = beyond.filter_map(|((resource, severity, code), count)| {
            let is_one = |one: &&Diagnostic| (&one.resource, one.severity, one.code) == (resource, *severity, *code);
            let last = found.iter().rfind(is_one)?;
            let message = format!("and {} more of this kind in this object", count - MOST_OF_A_KIND);
            Some(Diagnostic::new(*severity, *code, resource, &last.primary, message))
        });
        told.collect()
    }

    /// Whether what is complained of has nothing to do with the object's errors: these are all in entries of its lists, such as
    /// `http`, and the complaint is about other parts.
    fn is_apart(&self, diagnostic: &Diagnostic, object: &Rejected<'_>) -> bool {
        let Some(meta) = object.meta else { return false };
        let shares = object.shares.get_or_init(|| Shares::of(self.places.parts(meta), &object.errors));
        let others = diagnostic.labels.iter().map(|(spot, _)| spot).filter(|spot| spot.file == meta.spot.file);
        let mut places = std::iter::once(&diagnostic.primary).chain(others);
        shares.within_entries && places.all(|spot| !shares.broken.contains(&shares.part((spot.line, spot.column))))
    }
}

/// Durations as people write them.
pub(crate) fn duration(span: leeboard_policy::time::Span) -> String {
    let ms = span.0 / 1_000_000;
    match ms {
        0 => format!("{}us", span.0 / 1_000),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms if ms > 1_000 => format!("{}s", ms as f64 / 1_000.0),
        ms => format!("{ms}ms"),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    let Some(last) = items.pop() else { return "none".into() };
    if items.is_empty() { last } else { format!("{} and {last}", items.join(", ")) }
}
