//! Where the rules of a VirtualService hold: its kind, and the gateways that it or a match names.

use std::sync::Arc;

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Field;
use crate::names;
use crate::source::Located;

/// What the entries of `http` must know of their object.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    /// It applies to gateways and to nothing else.
    pub(super) gateway_only: bool,
    /// It has no hosts: others delegate to it.
    pub(super) delegate: bool,
}

/// Names of gateways, `mesh` among them.
pub(super) fn gateways(field: Field<'_>) -> Vec<Located<Arc<str>>> {
    let names = field.texts();
    for name in &names {
        let cx = field.cx;
        let wrong = |message: String| Diagnostic::error(codes::BAD_NAME, &cx.resource, &name.spot, message);
        match name.split_once('/') {
            Some((namespace, gateway)) => {
                let outcome = if namespace == "." { Ok(()) } else { names::dns_label(namespace) };
                if let Err(message) = outcome.and_then(|()| names::dns_label(gateway)) {
                    cx.push(wrong(message));
                }
            }
            None if name.contains('.') && names::fqdn(name).is_ok() => {
                let message = "a gateway is named `namespace/name`; a host name is the old way";
                cx.push(Diagnostic::warning(codes::DEPRECATED, &cx.resource, &name.spot, message));
            }
            None => {
                if let Err(message) = names::dns_label(name) {
                    cx.push(wrong(message));
                }
            }
        }
    }
    names
}
