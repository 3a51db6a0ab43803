//! Trees → objects: one reader per kind, each of which says all that is wrong with its object.

mod actions;

mod client_tls;
mod cors;
mod destination;
mod destination_rule;
mod endpoints;
mod envelope;
mod fingerprint;
mod gateway;
mod headers;
mod http_match;
mod http_route;
mod kubernetes;
mod load_balancer;
mod mend;
mod mesh_config;
mod overlaps;
mod scope;
mod server_tls;
mod service_entry;
mod sidecar;
mod stream_route;
mod string_match;
#[cfg(test)]
mod tests;
mod traffic_policy;
mod unreachable;
mod unread;
mod virtual_service;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leeboard_policy::time::Span;

use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::expressions;
use crate::fields::{Cx, Field, Fields};
use crate::names;
use crate::resources::{Kind, Meta, ObjectId, Resources};
use crate::source::{Located, Source, Spot};
use crate::yaml::{self, Document, Node, Value};

pub(crate) use unread::{PassedOver, UnreadObject};
pub(crate) use virtual_service::overlap;

/// What is to be read of a file, and into what.
pub(crate) struct Reading<'n> {
    /// The namespace of objects that name none.
    pub(crate) namespace: &'n str,
    pub(crate) resources: Resources,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) rejected: Vec<ObjectId>,
    /// Files in which a document could not be parsed.
    pub(crate) broken: Vec<Arc<str>>,
    /// What aliases have unfolded to.
    unfolded: yaml::Size,
    /// What regular expressions weigh, and whether some were refused for that.
    expressions: (usize, bool),
    /// Whether misspelt keys are taken for what they mean, and rejected objects are set aside instead of dropped.
    guessing: bool,
    pub(crate) set_aside: Resources,
    /// Objects that are not read; only those who guess hold others against them.
    pub(crate) unread_objects: Vec<UnreadObject>,
    pub(crate) passed_over: PassedOver,
    /// How much text was searched for the kinds of broken documents.
    searched: usize,
    /// Where each object is defined.
    seen: BTreeMap<ObjectId, Spot>,
    order: u32,
}

impl<'n> Reading<'n> {
    pub(crate) fn new(namespace: &'n str, guessing: bool) -> Self {
        Self {
            namespace,
            resources: Resources::default(),
            diagnostics: Vec::new(),
            rejected: Vec::new(),
            broken: Vec::new(),
            unfolded: yaml::Size::default(),
            expressions: (0, false),
            guessing,
            set_aside: Resources::default(),
            unread_objects: Vec::new(),
            passed_over: PassedOver::default(),
            searched: 0,
            seen: BTreeMap::new(),
            order: 0,
        }
    }

    /// Reads everything in a file.
    pub(crate) fn file(&mut self, source: &Source) {
        let mut unfolded = self.unfolded;
        yaml::parse_after(&mut unfolded, &source.text, |document| self.document(source, &document));
        self.unfolded = unfolded;
    }

    /// This and what was read of the files behind it, as if it had been read in one go. `None` when both define the same object,
    /// or are too much together.
    pub(crate) fn and(mut self, behind: Self) -> Option<Self> {
        let meshes = |reading: &Self| reading.seen.keys().any(|id| id.kind == Kind::MeshConfig);
        self.unfolded = self.unfolded.and(behind.unfolded);
        let twice = behind.seen.keys().any(|id| self.seen.contains_key(id)) || (meshes(&self) && meshes(&behind));
        let (weight, overfull) =
            (self.expressions.0 + behind.expressions.0, self.expressions.1 || behind.expressions.1);
        self.expressions = (weight, overfull);
        if twice || !self.unfolded.is_bearable() || overfull || weight > expressions::MOST {
            return None;
        }
        self.resources.mesh = self.resources.mesh.or(behind.resources.mesh);
        macro_rules! append {
            ($($list:ident)*) => {$(
                for mut object in behind.resources.$list {
                    Arc::get_mut(&mut object)?.meta.created.order += self.order;
                    self.resources.$list.push(object);
                }
            )*};
        }
        append!(virtual_services destination_rules service_entries workload_entries gateways sidecars);
        append!(services endpoints endpoint_slices pods);
        self.order += behind.order;
        self.seen.extend(behind.seen);
        self.diagnostics.extend(behind.diagnostics);
        self.rejected.extend(behind.rejected);
        self.broken.extend(behind.broken);
        self.set_aside.append(&behind.set_aside);
        self.unread_objects.extend(behind.unread_objects);
        self.passed_over = self.passed_over.and(behind.passed_over);
        Some(self)
    }

    fn document(&mut self, source: &Source, document: &Document) {
        let file = &source.name;
        let Some(problem) = &document.broken else {
            return match source.mesh && !document.root.is_null() {
                true => self.object(file, &document.root, Kind::MeshConfig, &[]),
                false => self.node(file, &document.root),
            };
        };
        let may_search = self.searched < MOST_SEARCHED;
        self.searched = self.searched.saturating_add(source.text.len());
        if let Some(kind) = envelope::foreign(source, &document.root, may_search.then_some(problem.mark.line), file) {
            let cx = Cx::new(file, "".into(), true);
            let told = Diagnostic { severity: Severity::Warning, ..complaint(&cx, problem) };
            cx.push(told.help(format!("`{kind}` is not of the kinds that are read: nothing here depends on it")));
            return self.diagnostics.extend(cx.into_found());
        }
        if !self.broken.contains(file) {
            self.broken.push(file.clone());
        }
        let mut ids = Vec::new();
        identify(&document.root, self.namespace, &mut ids);
        let resource = ids.last().map_or_else(|| "".into(), |id: &ObjectId| id.to_string().into());
        let cx = Cx::new(file, resource, true);
        cx.push(complaint(&cx, problem));
        self.rejected.extend(ids);
        self.diagnostics.extend(cx.into_found());
        if self.guessing {
            self.half(file, &document.root);
        }
    }

    /// Sets aside what can be read of a document that could not be parsed to its end, without a further complaint.
    fn half(&mut self, file: &Arc<str>, node: &Node) {
        if let Some(items) = list_items(node) {
            return items.iter().for_each(|item| self.half(file, item));
        }
        if let Ok(kind) = envelope::kind_of(node, file) {
            let id = envelope::id_of(node, kind, self.namespace, self.guessing);
            let cx = Cx::new(file, id.to_string().into(), true).guessing(true);
            cx.error(codes::SYNTAX, node.mark, "");
            self.kind(&cx, node, &id);
        }
    }

    /// Reads an object, or a list of them.
    fn node(&mut self, file: &Arc<str>, node: &Node) {
        if let Some(items) = list_items(node) {
            return items.iter().for_each(|item| self.node(file, item));
        }
        let kind = envelope::kind_of(node, file);
        if kind.is_err() || node.get("metadata").is_none() {
            let (mended, wrong) = mend::envelope(node);
            if !wrong.is_empty()
                && let Ok(kind) = envelope::kind_of(&mended, file)
            {
                return self.object(file, &mended, kind, &wrong);
            }
        }
        match kind {
            Ok(kind) => self.object(file, node, kind, &[]),
            Err(diagnostic) if diagnostic.code == codes::PASSED_OVER => self.unread_object(file, node, *diagnostic),
            Err(diagnostic) => self.diagnostics.push(*diagnostic),
        }
    }

    /// Passes over an object, which may be worth a word.
    fn unread_object(&mut self, file: &Arc<str>, node: &Node, told: Diagnostic) {
        let word = |key: &str| node.get(key).and_then(Node::raw).unwrap_or("");
        let named = |key: &str| node.get("metadata").and_then(|metadata| metadata.get(key)?.raw());
        let (kind, group) = (word("kind"), word("apiVersion").split_once('/').map_or("", |(group, _)| group));
        let namespace = named("namespace").filter(|namespace| !namespace.is_empty()).unwrap_or(self.namespace);
        let resource: Arc<str> = format!("{kind} {namespace}/{}", named("name").unwrap_or("")).into();
        match unread::undone(node, group, kind) {
            Some((code, message)) => {
                self.diagnostics.push(Diagnostic::warning(code, &resource, &told.primary, message));
            }
            None => self.passed_over.add(if kind.is_empty() { "without a kind" } else { kind }, told),
        }
        if self.guessing {
            let cx = Cx::new(file, resource.clone(), false);
            self.unread_objects.push(unread::of(node, resource, namespace, |mark| cx.spot(mark)));
        }
    }

    /// Reads an object, in whose envelope something may have been wrong.
    fn object(&mut self, file: &Arc<str>, node: &Node, kind: Kind, wrong: &[mend::Slip]) {
        self.order += 1;
        let id = envelope::id_of(node, kind, self.namespace, self.guessing);
        let cx = Cx::new(file, id.to_string().into(), id.kind.is_istio()).guessing(self.guessing);
        let cx = cx.after_expressions(self.expressions.0);
        for slip in wrong {
            let diagnostic = cx.at(Severity::Error, slip.code, slip.mark, slip.message.clone());
            cx.push(diagnostic.help(format!("did you mean `{}`?", slip.meant)));
        }
        for problem in node.problems() {
            cx.push(complaint(&cx, problem));
        }
        self.kind(&cx, node, &id);
        let (weight, overfull) = cx.expressions();
        self.expressions = (self.expressions.0 + weight, self.expressions.1 || overfull);
        if cx.failed() {
            self.rejected.push(id);
        }
        self.diagnostics.extend(cx.into_found());
    }

    fn kind(&mut self, cx: &Cx, node: &Node, id: &ObjectId) {
        if id.kind == Kind::MeshConfig {
            return self.mesh(cx, node, id);
        }
        let Some(object) = envelope::open(cx, node, id, self.order) else { return };
        if !id.name.is_empty() {
            if let Some(first) = self.seen.get(id) {
                let message = format!("{id} is defined twice; the first one counts");
                let at = cx.at(Severity::Error, codes::DUPLICATE_OBJECT, object.name_mark, message);
                // The object is there, or rejected, by its first definition.
                return self.diagnostics.push(at.label(first, "it is first defined here"));
            }
            self.seen.insert(id.clone(), object.meta.spot.clone());
        }
        let resources = &mut self.resources;
        macro_rules! keep {
            ($list:ident, $object:expr) => {{
                let object = $object.map(Arc::new);
                if !cx.failed() {
                    resources.$list.extend(object);
                } else if self.guessing {
                    self.set_aside.$list.extend(object);
                }
            }};
        }
        match id.kind {
            Kind::VirtualService => keep!(virtual_services, virtual_service::read(object)),
            Kind::DestinationRule => keep!(destination_rules, destination_rule::read(object)),
            Kind::ServiceEntry => keep!(service_entries, service_entry::read(object)),
            Kind::WorkloadEntry => keep!(workload_entries, service_entry::read_workload(object)),
            Kind::Gateway => keep!(gateways, gateway::read(object)),
            Kind::Sidecar => keep!(sidecars, sidecar::read(object)),
            Kind::Service => keep!(services, kubernetes::read_service(object)),
            Kind::Pod => keep!(pods, kubernetes::read_pod(object)),
            Kind::Endpoints => keep!(endpoints, endpoints::read(object)),
            Kind::EndpointSlice => keep!(endpoint_slices, endpoints::read_slice(object)),
            Kind::MeshConfig => {}
        }
    }

    /// Settings of the mesh, of which there is one.
    fn mesh(&mut self, cx: &Cx, node: &Node, id: &ObjectId) {
        let Some((mesh, spot)) = mesh_config::read(cx, node, id) else { return };
        let first = self.seen.iter().find(|(known, _)| known.kind == Kind::MeshConfig);
        if let Some((_, first)) = first {
            let message = "the settings of the mesh are written twice; the first ones count";
            let at = Diagnostic::error(codes::DUPLICATE_OBJECT, &cx.resource, &spot, message);
            return self.diagnostics.push(at.label(first, "they are first written here"));
        }
        self.seen.insert(id.clone(), spot);
        if !cx.failed() {
            self.resources.mesh = Some(Arc::new(mesh));
        }
    }
}

/// So much text is searched for the kinds of broken documents, in bytes; those beyond are taken for ours.
const MOST_SEARCHED: usize = 64 << 20;

fn complaint(cx: &Cx, problem: &yaml::Problem) -> Diagnostic {
    let diagnostic = cx.at(Severity::Error, problem.code, problem.mark, problem.message.clone());
    match &problem.other {
        Some((mark, text)) => diagnostic.label(&cx.spot(*mark), text.clone()),
        None => diagnostic,
    }
}

/// An object whose envelope has been read.
pub(crate) struct Object<'a> {
    pub(crate) cx: &'a Cx,
    pub(crate) node: &'a Node,
    pub(crate) meta: Meta,
    /// Where the name is written.
    pub(crate) name_mark: yaml::Mark,
    /// The `spec` of an Istio object.
    pub(crate) spec: Option<(&'a Node, yaml::Mark)>,
    /// `metadata.deletionTimestamp` is there.
    pub(crate) deleting: bool,
    /// Kind and name of the controlling owner.
    pub(crate) owner: Option<(Arc<str>, Arc<str>)>,
}

impl<'a> Object<'a> {
    /// The fields of `spec`; an absent one has none.
    fn spec(&self, block: &'static crate::support::Block) -> Option<Fields<'a>> {
        match self.spec {
            Some((node, mark)) => Fields::of(node, mark, block, self.cx),
            None => Fields::of(&EMPTY, self.name_mark, block, self.cx),
        }
    }
}

/// Nothing, for a `spec` that is not written.
static EMPTY: std::sync::LazyLock<Node> = std::sync::LazyLock::new(Node::nothing);

fn list_items(node: &Node) -> Option<&[Node]> {
    let kind = node.get("kind")?.raw()?;
    match &node.get("items")?.value {
        Value::Seq(items) if kind.ends_with("List") => Some(items),
        _ => None,
    }
}

/// The legible names of the objects in a document that could not be parsed to its end.
fn identify(node: &Node, namespace: &str, into: &mut Vec<ObjectId>) {
    if let Some(items) = list_items(node) {
        return items.iter().for_each(|item| identify(item, namespace, into));
    }
    let kind =
        node.get("kind").and_then(Node::raw).and_then(|word| Kind::ALL.into_iter().find(|kind| kind.name() == word));
    if let Some(kind) = kind {
        let id = envelope::id_of(node, kind, namespace, false);
        if !id.name.is_empty() {
            into.push(id);
        }
    }
}

/// Istio: `exportTo`.
fn export_to(field: Field<'_>, own: &str, nowhere: bool) -> Vec<Arc<str>> {
    let entries = field.texts();
    let cx = field.cx;
    let complain = |entry: &Located<Arc<str>>, code, message: String| {
        cx.push(Diagnostic::error(code, &cx.resource, &entry.spot, message));
    };
    let canonical = |entry: &str| if entry == "." { own.to_owned() } else { entry.to_owned() };
    let mut seen = BTreeSet::new();
    for entry in &entries {
        match &*entry.value {
            "." | "*" => {}
            "~" if nowhere => {}
            name => {
                if let Err(message) = names::dns_label(name) {
                    complain(entry, codes::BAD_NAME, format!("`exportTo` takes `.`, `*` or a namespace: {message}"));
                }
            }
        }
        if !seen.insert(canonical(entry)) {
            complain(entry, codes::DUPLICATE, format!("`{}` is named twice in `exportTo`", entry.value));
        }
        if matches!(&*entry.value, "*" | "~") && entries.len() > 1 {
            complain(entry, codes::CONFLICT, format!("`{}` stands alone in `exportTo`", entry.value));
        }
    }
    entries.into_iter().map(|entry| entry.value).collect()
}

/// Labels by which workloads are chosen: no wildcards, no empty keys, values of at most 63 characters.
fn selector(field: Field<'_>) -> crate::resources::Labels {
    for (key, node) in field.members() {
        if key.text.is_empty() {
            field.cx.error(codes::BAD_NAME, key.mark, "a selector's key cannot be empty");
        }
        let value = node.raw().unwrap_or("");
        if value.contains('*') || key.text.contains('*') {
            field.cx.error(codes::BAD_NAME, node.mark, "a selector has no wildcards");
        } else if value.len() > 63 {
            field.cx.error(codes::BAD_NAME, node.mark, "a selector's value has at most 63 characters");
        }
    }
    field.labels()
}

/// A host for an object that is rejected anyway, since its own is missing.
fn or_blank(located: Option<Located<Arc<str>>>, fields: &Fields<'_>) -> Located<Arc<str>> {
    located.unwrap_or_else(|| Located::new("".into(), fields.spot()))
}

/// A limit in which 0 means none.
fn limit(field: Field<'_>) -> Option<u32> {
    field.count().filter(|n| *n > 0)
}

/// The same, of something that 0 seems to forbid.
fn ceiling(field: Field<'_>) -> Option<u32> {
    let count = field.count();
    if count == Some(0) {
        let message = format!("`{}: 0` is no limit; the least limit is 1", field.name);
        field.cx.warn(codes::ZERO_IS_NO_LIMIT, field.mark(), message);
    }
    count.filter(|n| *n > 0)
}

/// A percentage's `value`, 0 when the block is empty.
fn percent(field: Field<'_>, finest: f64) -> Option<f64> {
    let fields = field.block_of(&crate::support::PERCENT, "value")?;
    let field = fields.get("value");
    let value = field.double().unwrap_or(0.0);
    if !(0.0..=100.0).contains(&value) {
        field.cx.error(codes::OUT_OF_RANGE, field.mark(), format!("a percentage is 0 to 100, not {value}"));
    } else if value != 0.0 && value < finest {
        field.cx.error(
            codes::OUT_OF_RANGE,
            field.mark(),
            format!("a percentage is 0 or at least {finest}, not {value}"),
        );
    }
    Some(value)
}

/// Both of two durations that must come together.
fn both(fields: &Fields<'_>, first: &'static str, second: &'static str) -> Option<(Span, Span)> {
    let (first, second) = (fields.required(first).duration(), fields.required(second).duration());
    first.zip(second)
}
