//! What holds for objects of every kind: whether a selector chooses one, and which of two is older.

use std::sync::Arc;

use crate::resources::{Labels, Meta};

/// Whether labels carry everything that a selector asks for.
pub(crate) fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Sorts objects oldest first. Istio: by creation time, then name, then namespace; those without a time, as files usually
/// are, come first and in the order they are written in.
pub(crate) fn age(meta: &Meta) -> (Option<Arc<str>>, u32, Arc<str>, Arc<str>) {
    let order = if meta.created.stamp.is_none() { meta.created.order } else { 0 };
    (meta.created.stamp.clone(), order, meta.name().clone(), meta.namespace().clone())
}
