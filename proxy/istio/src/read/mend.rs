//! Slips of the pen around an object, in `apiVersion`, `kind` and `metadata`, which would otherwise make it somebody else's.

use super::envelope::{ISTIO, ISTIO_OTHERS, ISTIO_VERSIONS};
use crate::codes::{self, Code};
use crate::names;
use crate::resources::Kind;
use crate::yaml::{Mark, Node, Value};

/// One slip, and what was meant.
pub(super) struct Slip {
    pub(super) code: Code,
    pub(super) mark: Mark,
    pub(super) message: String,
    pub(super) meant: String,
}

/// Puts right what is nearly right around an object. Documents of other tools have other words, which are far from ours.
pub(super) fn envelope(node: &Node) -> (Node, Vec<Slip>) {
    let mut node = node.clone();
    let mut slips = Vec::new();
    for wanted in ["apiVersion", "kind", "metadata"] {
        if node.get(wanted).is_none() {
            slips.extend(rename(&mut node, wanted));
        }
    }
    slips.extend(kind(&mut node));
    slips.extend(version(&mut node));
    (node, slips)
}

fn rename(node: &mut Node, wanted: &'static str) -> Option<Slip> {
    let Value::Map(entries) = &mut node.value else { return None };
    let known = ["apiVersion", "kind", "metadata", "spec", "status", "items", "data", "type"];
    let strangers = entries.iter().map(|(key, _)| &*key.text).filter(|key| !known.contains(key));
    let near = strangers.filter(|key| names::nearest(key, [wanted].into_iter()).is_some()).map(str::to_owned).next()?;
    let (key, _) = entries.iter_mut().find(|(key, _)| *key.text == near)?;
    key.text = wanted.into();
    let message = format!("unknown field `{near}` in `object`");
    Some(Slip { code: codes::UNKNOWN_FIELD, mark: key.mark, message, meant: wanted.into() })
}

/// A kind that is nearly one of the group that `apiVersion` names.
fn kind(node: &mut Node) -> Option<Slip> {
    let group = node.get("apiVersion").and_then(Node::raw)?.to_owned();
    let written = node.get("kind").and_then(Node::raw)?.to_owned();
    let istio = group.strip_prefix(ISTIO).is_some_and(|rest| rest.starts_with('/'));
    let fits = |kind: &Kind| match group.as_str() {
        "v1" => !kind.is_istio() && *kind != Kind::EndpointSlice,
        "discovery.k8s.io/v1" => *kind == Kind::EndpointSlice,
        _ => istio && kind.is_istio(),
    };
    let known: Vec<&str> = Kind::ALL.into_iter().filter(fits).map(Kind::name).collect();
    if known.contains(&&*written) || (istio && ISTIO_OTHERS.contains(&&*written)) {
        return None;
    }
    let meant = names::nearest(&written, known.into_iter())?;
    let mark = put(node, "kind", meant)?;
    let message = match istio {
        true => format!("{ISTIO} has no kind `{written}`"),
        false => format!("{group} has no kind `{written}`"),
    };
    Some(Slip { code: codes::ENVELOPE, mark, message, meant: meant.into() })
}

/// A group or version that is nearly the one of the kind.
fn version(node: &mut Node) -> Option<Slip> {
    let kind = node.get("kind").and_then(Node::raw)?;
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
    let written = node.get("apiVersion").and_then(Node::raw)?.to_owned();
    let candidates: Vec<String> = match kind {
        Kind::EndpointSlice => vec!["discovery.k8s.io/v1".into()],
        kind if kind.is_istio() => ISTIO_VERSIONS.map(|version| format!("{ISTIO}/{version}")).into(),
        _ => vec!["v1".into()],
    };
    if candidates.contains(&written) {
        return None;
    }
    let meant = names::nearest(&written, candidates.iter().map(String::as_str))?;
    let mark = put(node, "apiVersion", meant)?;
    let message = format!("`{written}` is no `apiVersion` of a {}", kind.name());
    Some(Slip { code: codes::ENVELOPE, mark, message, meant: meant.into() })
}

/// Replaces a scalar; where it is.
fn put(node: &mut Node, key: &str, text: &str) -> Option<Mark> {
    let Value::Map(entries) = &mut node.value else { return None };
    let (_, node) = entries.iter_mut().find(|(known, _)| *known.text == *key)?;
    node.value = Value::Scalar { text: text.into(), plain: true };
    Some(node.mark)
}
