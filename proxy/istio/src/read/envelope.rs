//! What surrounds every object: `apiVersion`, `kind`, `metadata`.

use std::sync::Arc;

use super::{Object, fingerprint};
use crate::annotations;
use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::fields::{Cx, Fields};
use crate::names;
use crate::resources::{Created, Kind, Meta, ObjectId};
use crate::source::Source;
use crate::support::{ENVELOPE, METADATA, OWNER};
use crate::yaml::{Key, Node, Value};

pub(super) const ISTIO: &str = "networking.istio.io";
pub(super) const ISTIO_VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha3"];
/// Kinds of Istio's group that concern no sidecar of ours.
pub(super) const ISTIO_OTHERS: [&str; 3] = ["EnvoyFilter", "ProxyConfig", "WorkloadGroup"];

/// Which kind of object this is, or what to say about it instead.
pub(super) fn kind_of(node: &Node, file: &Arc<str>) -> Result<Kind, Box<Diagnostic>> {
    let word = |node: Option<&Node>| node.and_then(Node::raw).map(str::to_owned);
    let name = word(node.get("metadata").and_then(|metadata| metadata.get("name")));
    let resource = word(node.get("kind")).zip(name).map_or_else(String::new, |(kind, name)| format!("{kind} {name}"));
    let cx = Cx::new(file, resource.into(), true);
    let fail = |severity, code, node: &Node, message: String| Err(Box::new(cx.at(severity, code, node.mark, message)));
    if node.entries().is_none() {
        let severity = if matches!(node.value, Value::Seq(_)) { Severity::Info } else { Severity::Error };
        return fail(
            severity,
            codes::NOT_AN_OBJECT,
            node,
            format!("an object is wanted here, not {}", node.describe()),
        );
    }
    let version = node.get("apiVersion").and_then(Node::raw);
    let Some((kind_node, kind)) = node.get("kind").and_then(|kind| Some((kind, kind.raw()?))) else {
        let ours = version.is_some() || node.get("spec").is_some();
        let severity = if ours { Severity::Error } else { Severity::Info };
        let code = if ours { codes::ENVELOPE } else { codes::PASSED_OVER };
        return fail(severity, code, node, "a document without `kind` is no object".into());
    };
    let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
    let (group, version) = version.map_or((None, ""), |v| v.split_once('/').map_or((None, v), |(g, v)| (Some(g), v)));
    match (known, group) {
        (Some(kind), Some(ISTIO)) if kind.is_istio() => {
            if ISTIO_VERSIONS.contains(&version) {
                return Ok(kind);
            }
            let at = node.get("apiVersion").unwrap_or(kind_node);
            let wanted = ISTIO_VERSIONS.map(|v| format!("`{ISTIO}/{v}`")).join(", ");
            fail(Severity::Error, codes::ENVELOPE, at, format!("`{version}` is no version of {ISTIO}: {wanted} are"))
        }
        (Some(Kind::MeshConfig), None | Some("mesh.istio.io" | "install.istio.io")) => Ok(Kind::MeshConfig),
        (Some(Kind::EndpointSlice), Some("discovery.k8s.io")) if version == "v1" => Ok(Kind::EndpointSlice),
        (Some(kind), None) if version == "v1" && !kind.is_istio() && kind != Kind::EndpointSlice => Ok(kind),
        (Some(kind), None) if kind.is_istio() => {
            let message = format!("`apiVersion` of a {} is `{ISTIO}/v1`", kind.name());
            fail(Severity::Error, codes::ENVELOPE, node.get("apiVersion").unwrap_or(kind_node), message)
        }
        (None, Some(ISTIO)) if !ISTIO_OTHERS.contains(&kind) => {
            let at = cx.at(Severity::Error, codes::ENVELOPE, kind_node.mark, format!("{ISTIO} has no kind `{kind}`"));
            let near = names::nearest(kind, Kind::ALL.into_iter().filter(|k| k.is_istio()).map(Kind::name));
            Err(Box::new(match near {
                Some(near) => at.help(format!("did you mean `{near}`?")),
                None => at,
            }))
        }
        _ => fail(Severity::Info, codes::PASSED_OVER, kind_node, format!("`{kind}` is passed over")),
    }
}

/// The kind of a document that cannot be parsed to its end, if it is certain that it is none of ours. `broken` is the line of the
/// mistake, around which the text is searched for what is not legible.
pub(super) fn foreign(source: &Source, node: &Node, broken: Option<u32>, file: &Arc<str>) -> Option<String> {
    let legible = |key: &str| node.get(key).and_then(Node::raw).map(str::to_owned);
    let found = || {
        written_around(source, broken?).filter(|(kind, version)| {
            let agrees = |key: &str, value: &str| legible(key).is_none_or(|known| known == value);
            agrees("kind", kind) && agrees("apiVersion", version)
        })
    };
    let (kind, version) = match source.mesh {
        true => return None,
        false => legible("kind").zip(legible("apiVersion")).or_else(found)?,
    };
    let entry = |key: &str, value: &str| {
        let scalar = Value::Scalar { text: value.into(), plain: true };
        (Key { text: key.into(), mark: node.mark }, Node::of(scalar, node.mark))
    };
    let envelope = Node::of(Value::Map(vec![entry("apiVersion", &version), entry("kind", &kind)]), node.mark);
    let known = kind_of(&envelope, file).err().is_some_and(|told| told.severity != Severity::Error);
    known.then_some(kind)
}

/// `kind` and `apiVersion` as they stand at the beginning of lines of the document around a line, each once.
fn written_around(source: &Source, line: u32) -> Option<(String, String)> {
    let separates = |line: &&str| line.starts_with("---");
    let lines: Vec<&str> = source.text.lines().collect();
    let (before, behind) = lines.split_at((line as usize).min(lines.len()));
    let before = before.iter().rev().take_while(|line| !separates(line));
    let document: Vec<&str> = before.chain(behind.iter().take_while(|line| !separates(line))).copied().collect();
    let written = |key: &str| {
        let mut values = document.iter().filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let value = values.next()?.split('#').next()?.trim().trim_matches(['"', '\'']);
        // Two of them are two documents, or text.
        (values.next().is_none() && !value.is_empty()).then(|| value.to_owned())
    };
    written("kind").zip(written("apiVersion"))
}

/// The name that an object goes by, as far as it is legible. With `guessing` a misspelt key is taken for the one that is meant.
pub(super) fn id_of(node: &Node, kind: Kind, namespace: &str, guessing: bool) -> ObjectId {
    let metadata = node.get("metadata");
    let misspelt = |metadata: &'_ Node, key: &'static str| {
        let mut entries = metadata.entries().unwrap_or_default().iter().filter(|_| guessing);
        let near = entries.find(|(known, _)| {
            METADATA.row(&known.text).is_none()
                && names::nearest(&known.text, METADATA.rows.iter().map(|row| row.field)) == Some(key)
        });
        near.map(|(_, node)| node.clone())
    };
    let word = |key| {
        let written = metadata.and_then(|m| m.get(key).cloned().or_else(|| misspelt(m, key)));
        written.filter(|n| !n.is_null()).and_then(|n| n.raw().map(str::to_owned))
    };
    let namespace = word("namespace").filter(|ns| !ns.is_empty()).unwrap_or_else(|| namespace.to_owned());
    ObjectId { kind, namespace: namespace.into(), name: word("name").unwrap_or_default().into() }
}

/// Reads `metadata`, and finds `spec`.
pub(super) fn open<'a>(cx: &'a Cx, node: &'a Node, id: &ObjectId, order: u32) -> Option<Object<'a>> {
    let mut spec = None;
    if id.kind.is_istio() {
        let envelope = Fields::of(node, node.mark, &ENVELOPE, cx)?;
        envelope.get("apiVersion").text();
        envelope.get("kind").text();
        envelope.get("metadata");
        let field = envelope.get("spec");
        spec = field.node.map(|node| (node, field.key));
        if spec.is_none() && matches!(id.kind, Kind::ServiceEntry | Kind::WorkloadEntry) {
            cx.error(codes::MISSING, node.mark, format!("a {} needs `spec`", id.kind.name()));
        }
    }
    let Some((key, metadata)) = node.entries()?.iter().find(|(key, _)| &*key.text == "metadata") else {
        cx.error(codes::ENVELOPE, node.mark, "`metadata` with a `name` is missing");
        return None;
    };
    let fields = Fields::of(metadata, key.mark, &METADATA, cx)?;
    let name = fields.required("name");
    let name_mark = name.mark();
    name.checked(codes::BAD_NAME, names::object_name);
    if id.kind == Kind::Gateway {
        name.checked(codes::BAD_NAME, names::dns_label);
    }
    fields.get("namespace").filled(codes::BAD_NAME, names::dns_label);
    let meta = Meta {
        id: id.clone(),
        labels: fields.get("labels").labels(),
        annotations: fields.get("annotations").labels(),
        created: Created { stamp: fields.get("creationTimestamp").text(), order },
        resource: cx.resource.clone(),
        spot: cx.spot(name_mark),
        fingerprint: fingerprint::of(node),
    };
    annotations(&fields, &meta);
    let deleting = fields.get("deletionTimestamp").text().is_some();
    Some(Object { cx, node, owner: owner(&fields), meta, name_mark, spec, deleting })
}

/// Istio: annotations that no object of these kinds may carry.
fn annotations(fields: &Fields<'_>, meta: &Meta) {
    if matches!(meta.id.kind, Kind::Service | Kind::ServiceEntry)
        && let Some(value) = meta.annotations.get(annotations::TRAFFIC_DISTRIBUTION)
        && !value.is_empty()
        && annotations::distribution(&meta.annotations).is_none()
    {
        let members = fields.get("annotations").members();
        let key = members.iter().find(|(key, _)| &*key.text == annotations::TRAFFIC_DISTRIBUTION);
        annotations::no_distribution(fields.cx, key.map_or(fields.mark, |(key, _)| key.mark), value);
    }
    let refused = ["istio.io/dry-run", "internal.istio.io/parents", "internal.istio.io/parent-namespace"];
    if !meta.id.kind.is_istio() {
        return;
    }
    for (key, _) in fields.get("annotations").members() {
        if refused.contains(&&*key.text) {
            fields.cx.error(codes::REFUSED, key.mark, format!("the annotation `{}` is not accepted here", key.text));
        }
        if key.text.starts_with(annotations::PREFIX) {
            own(fields.cx, key, meta);
        }
    }
}

/// Leeboard's own annotations, which are for VirtualServices.
fn own(cx: &Cx, key: &Key, meta: &Meta) {
    let known = annotations::ALL.contains(&&*key.text);
    if !known {
        let diagnostic =
            cx.at(Severity::Warning, codes::UNKNOWN_FIELD, key.mark, format!("unknown annotation `{}`", key.text));
        cx.push(match names::nearest(&key.text, annotations::ALL.into_iter()) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    } else if meta.id.kind != Kind::VirtualService {
        cx.warn(codes::NO_EFFECT, key.mark, format!("the annotation `{}` is for VirtualServices", key.text));
    } else if let Some(Err(message)) =
        meta.annotations.get(&*key.text).map(|value| annotations::check(&key.text, value))
    {
        cx.error(codes::BAD_VALUE, key.mark, message);
    }
}

fn owner(fields: &Fields<'_>) -> Option<(Arc<str>, Arc<str>)> {
    let mut chosen = None;
    for owner in fields.get("ownerReferences").items(&OWNER) {
        let controls = owner.get("controller").bool().unwrap_or(false);
        let kind = owner.get("kind").text().unwrap_or_default();
        let name = owner.get("name").text().unwrap_or_default();
        if controls || chosen.is_none() {
            chosen = Some((kind, name));
        }
    }
    chosen
}
