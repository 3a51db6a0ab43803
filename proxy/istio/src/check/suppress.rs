//! Complaints that an object asks to leave out.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Severity};
use crate::read::UnreadObject;
use crate::resources::{Meta, Resources};

/// Istio: codes between commas, or `*`.
const ANNOTATION: &str = "galley.istio.io/analyze-suppress";

/// Leaves out what objects ask to leave out: codes of Istio's or ours, or everything. What sets an object aside is always told.
pub(super) fn apply(resources: &Resources, unread_objects: &[UnreadObject], diagnostics: &mut Vec<Diagnostic>) {
    let mut asked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    resources.each(|meta: &Meta| {
        if let Some(list) = meta.annotations.get(ANNOTATION) {
            asked.insert(&meta.resource, list.split(',').map(str::trim).collect());
        }
    });
    for object in unread_objects {
        if let Some(list) = &object.suppressed {
            asked.insert(&object.resource, list.split(',').map(str::trim).collect());
        }
    }
    if asked.is_empty() {
        return;
    }
    diagnostics.retain(|diagnostic| {
        let Some(codes) = asked.get(&*diagnostic.resource) else { return true };
        let code = diagnostic.code.to_string();
        let named = codes.iter().any(|asked| *asked == "*" || *asked == code || Some(*asked) == diagnostic.ist);
        !named || (diagnostic.severity == Severity::Error && !diagnostic.code.is_checked())
    });
}
