//! Reads `headers`: what is set, added and removed.

use std::sync::Arc;

use crate::codes;
use crate::fields::Field;
use crate::names;
use crate::resources::virtual_service::{BothWays, HeaderOperations, Headers};
use crate::support::{HEADER_OPERATIONS, HEADERS};

pub(super) fn read(field: Field<'_>) -> Headers {
    let Some(fields) = field.block(&HEADERS) else { return Headers::default() };
    let request = operations(fields.get("request"), true);
    BothWays { request, response: operations(fields.get("response"), false) }.into()
}

fn operations(field: Field<'_>, request: bool) -> HeaderOperations {
    let Some(fields) = field.block(&HEADER_OPERATIONS) else { return HeaderOperations::default() };
    let remove = fields.get("remove").checked_texts(codes::BAD_NAME, |name| names::mutation_header(name, false));
    HeaderOperations {
        set: values(fields.get("set"), request),
        add: values(fields.get("add"), request),
        remove: remove.into_iter().map(|name| name.value).collect(),
    }
}

fn values(field: Field<'_>, request: bool) -> Vec<(Arc<str>, Arc<str>)> {
    for (key, node) in field.members() {
        field.cx.check(codes::BAD_NAME, key.mark, names::mutation_header(&key.text, request));
        field.cx.check(codes::BAD_VALUE, node.mark, names::header_value(node.raw().unwrap_or("")));
    }
    field.labels().into_iter().collect()
}

/// Whether operations give Host a value.
pub(super) fn names_host(values: &[(Arc<str>, Arc<str>)]) -> bool {
    values.iter().any(|(name, _)| name.eq_ignore_ascii_case("host") || &**name == ":authority")
}
