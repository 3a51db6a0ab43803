//! Reads DestinationRule.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Object, export_to, or_blank, selector, traffic_policy};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::{Field, Fields};
use crate::names;
use crate::resources::DestinationRule;
use crate::resources::destination_rule::Subset;
use crate::support::{DESTINATION_RULE, RULE_SELECTOR, SUBSET};

pub(super) fn read(object: Object<'_>) -> Option<DestinationRule> {
    let spec = object.spec(&DESTINATION_RULE)?;
    let host = or_blank(spec.required("host").checked(codes::BAD_HOST, names::wildcard_domain), &spec);
    let traffic_policy = traffic_policy::read(spec.get("trafficPolicy"));
    let subsets = subsets(spec.get("subsets"));
    let namespace = object.meta.namespace().clone();
    let export_to = export_to(spec.get("exportTo"), &namespace, false);
    let workload_selector = spec.get("workloadSelector").block(&RULE_SELECTOR).map(|f| selector(f.get("matchLabels")));
    let elsewhere = |entry: &Arc<str>| &**entry != "." && *entry != namespace;
    if workload_selector.is_some() && export_to.iter().any(elsewhere) {
        let message = "with a `workloadSelector` the rule can only be exported to its own namespace";
        object.cx.error(codes::CONFLICT, spec.place("exportTo"), message);
    }
    Some(DestinationRule { meta: object.meta, host, traffic_policy, subsets, export_to, workload_selector })
}

fn subsets(field: Field<'_>) -> Vec<Subset> {
    let mut found: Vec<Subset> = Vec::new();
    let mut known: HashMap<Arc<str>, usize> = HashMap::new();
    for fields in field.items(&SUBSET) {
        let subset = subset(&fields);
        let first = *known.entry(subset.name.value.clone()).or_insert(found.len());
        if let Some(before) = found.get(first).filter(|before| !before.name.is_empty()) {
            let message = format!("the subset `{}` is defined twice", subset.name.value);
            let diagnostic = Diagnostic::error(codes::DUPLICATE, &field.cx.resource, &subset.name.spot, message);
            field.cx.push(diagnostic.label(&before.name.spot, "it is first defined here"));
        }
        found.push(subset);
    }
    found
}

fn subset(fields: &Fields<'_>) -> Subset {
    let name = fields.required("name").checked(codes::BAD_NAME, names::dns_label);
    Subset {
        name: or_blank(name, fields),
        labels: fields.get("labels").checked_labels(),
        traffic_policy: traffic_policy::read(fields.get("trafficPolicy")),
    }
}
