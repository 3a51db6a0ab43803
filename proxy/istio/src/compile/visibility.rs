//! Who sees what: `exportTo`.

use std::sync::Arc;

use crate::resources::{DestinationRule, MeshConfig, ServiceEntry, VirtualService};

/// How a namespace comes to see an object. The order is the one in which Istio tries VirtualServices.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Reach {
    /// It is of the same namespace, and says so.
    Private,
    /// It names the namespace.
    Exported,
    /// Everybody sees it.
    Public,
}

/// How an object of namespace `owner` is seen from `client`; `None` when it is not.
/// Istio: nothing written is `*`; `.` is the object's own namespace; `~` is nobody, whatever else is written.
pub(crate) fn reach<S: AsRef<str>>(export_to: &[S], owner: &str, client: &str) -> Option<Reach> {
    let mut entries = export_to.iter().map(AsRef::as_ref);
    if export_to.is_empty() || entries.clone().any(|entry| entry == "*") {
        return Some(Reach::Public);
    }
    if entries.clone().any(|entry| entry == "~") {
        return None;
    }
    let named = entries.any(|entry| entry == client || (entry == "." && owner == client));
    named.then_some(if owner == client { Reach::Private } else { Reach::Exported })
}

/// The entries of the annotation by which a Kubernetes Service says who sees it.
pub(crate) fn annotated(value: Option<&Arc<str>>) -> Vec<&str> {
    value.map_or_else(Vec::new, |list| list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect())
}

impl MeshConfig {
    /// How the workload's namespace comes to see a VirtualService.
    pub(crate) fn reach_of_routes(&self, document: &VirtualService, client: &str) -> Option<Reach> {
        let written = or(&document.export_to, &self.virtual_service_export_to);
        reach(written, document.meta.namespace(), client)
    }

    /// Whether a namespace sees a DestinationRule. Istio: one with a selector is of its own namespace only, whatever it says.
    pub(crate) fn shows_rule(&self, document: &DestinationRule, client: &str) -> bool {
        if document.workload_selector.is_some() {
            return **document.meta.namespace() == *client;
        }
        let written = or(&document.export_to, &self.destination_rule_export_to);
        reach(written, document.meta.namespace(), client).is_some()
    }

    /// Whether a namespace sees a ServiceEntry.
    pub(crate) fn shows_entry(&self, document: &ServiceEntry, client: &str) -> bool {
        self.reach_of_entry(document, client).is_some()
    }

    /// How a namespace comes to see a ServiceEntry.
    pub(crate) fn reach_of_entry(&self, document: &ServiceEntry, client: &str) -> Option<Reach> {
        reach(or(&document.export_to, &self.service_export_to), document.meta.namespace(), client)
    }
}

/// What is written, or else the default.
pub(crate) fn or<'e>(written: &'e [Arc<str>], default: &'e [Arc<str>]) -> &'e [Arc<str>] {
    if written.is_empty() { default } else { written }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn export_to() {
        use Reach::*;
        for (export_to, client, expected) in [
            (&[][..], "own", Some(Public)),
            (&[], "other", Some(Public)),
            (&["*"], "other", Some(Public)),
            (&["."], "own", Some(Private)),
            (&["."], "other", None),
            (&["own"], "own", Some(Private)),
            (&["other"], "other", Some(Exported)),
            (&["other"], "own", None),
            (&[".", "other"], "own", Some(Private)),
            (&[".", "other"], "third", None),
            (&["~"], "own", None),
        ] {
            assert_eq!(reach(export_to, "own", client), expected, "{export_to:?} from {client}");
        }
    }

    #[test]
    fn annotation_is_a_list() {
        assert_eq!(annotated(Some(&"., prod ,".into())), [".", "prod"]);
        assert!(annotated(None).is_empty());
    }
}
