//! `headers`: operations with their values parsed, and the Host among them taken out.

use std::sync::Arc;

use leeboard_policy::headers::{Changes, HeaderOps, Template, frames};

use super::context::Report;
use crate::codes;
use crate::resources::virtual_service::HeaderOperations;

/// Operations on a request: those on Host become a rewrite of it. Istio: `set` goes before `add`, and the value is literal.
pub(crate) fn request(written: &HeaderOperations, report: &mut Report<'_>) -> (HeaderOps, Option<Arc<str>>) {
    let host = [&written.set, &written.add].into_iter().find_map(|list| {
        let found = list.iter().find(|(name, _)| is_host(name));
        found.map(|(_, value)| value.clone())
    });
    (operations(written, report), host)
}

/// Operations on a response.
pub(crate) fn response(written: &HeaderOperations, report: &mut Report<'_>) -> HeaderOps {
    operations(written, report)
}

pub(crate) fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// Istio: other names with a colon are dropped. Envoy: an empty value is not added. Better than Envoy: what says where a
/// message ends, or what becomes of its connection, is nobody's to change.
fn operations(written: &HeaderOperations, report: &mut Report<'_>) -> HeaderOps {
    let changeable = |name: &str| !is_host(name) && !name.starts_with(':') && !frames(name);
    let mut values = |list: &[(Arc<str>, Arc<str>)]| {
        let plain = list.iter().filter(|(name, value)| changeable(name) && !value.is_empty());
        plain.filter_map(|(name, value)| Some((lower(name), parsed(name, value, report)?))).collect()
    };
    let changes = Changes {
        set: values(&written.set),
        add: values(&written.add),
        remove: written.remove.iter().filter(|name| !frames(name)).map(lower).collect(),
    };
    changes.into()
}

fn lower(name: &Arc<str>) -> Arc<str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.clone() }
}

fn parsed(name: &str, value: &str, report: &mut Report<'_>) -> Option<Template> {
    match Template::parse(value) {
        Ok(template) => {
            for operator in template.unfilled() {
                let message = format!("header {name}: nothing is known here for `%{operator}%`, which stays empty");
                report.warn(codes::NOT_FILLED, message);
            }
            Some(template)
        }
        Err(error) => {
            report.error(codes::BAD_VALUE, format!("header {name}: {error}"));
            None
        }
    }
}
