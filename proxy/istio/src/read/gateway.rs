//! Reads Gateway, which is checked though a sidecar does not serve it.

use std::net::IpAddr;
use std::sync::Arc;

use super::service_entry::PROTOCOLS;
use super::{Object, server_tls};
use crate::codes;
use crate::diagnostic::Severity;
use crate::fields::{Field, Fields};
use crate::names;
use crate::resources::Gateway;
use crate::resources::gateway::{Server, ServerTls, ServerTlsMode};
use crate::source::Located;
use crate::support::{GATEWAY, SERVER, SERVER_PORT};

pub(super) fn read(object: Object<'_>) -> Option<Gateway> {
    let spec = object.spec(&GATEWAY)?;
    let selector = spec.get("selector").labels();
    let mut names: Vec<Located<Arc<str>>> = Vec::new();
    let list = spec.required("servers");
    let servers: Vec<_> = list.items(&SERVER).iter().map(|fields| server(fields, &mut names)).collect();
    if list.node.is_some() && servers.is_empty() && !object.cx.failed() {
        object.cx.error(codes::MISSING, list.key, "a gateway needs a server");
    }
    let message = "gateways are not served by this proxy, which stands beside an application";
    object.cx.warn(codes::NOT_ENFORCED, object.name_mark, message);
    Some(Gateway { meta: object.meta, selector, servers })
}

fn server(fields: &Fields<'_>, names: &mut Vec<Located<Arc<str>>>) -> Server {
    fields.get("name").text();
    fields.get("defaultEndpoint").text();
    let bind = fields.get("bind").checked(codes::BAD_VALUE, check_bind).filter(|bind| !bind.is_empty());
    let unix = bind.as_ref().is_some_and(|bind| bind.starts_with("unix://"));
    let (mut number, mut name, mut protocol) = (0, "".into(), Arc::from(""));
    if let Some(port) = fields.required("port").block(&SERVER_PORT) {
        number = port_number(port.required("number"), unix).map_or(0, |number| number.value);
        name = port_name(port.required("name"), names);
        protocol = self::protocol(port.required("protocol"));
        no_target_port(port.get("targetPort"));
    }
    let list = fields.required("hosts");
    let hosts = list.checked_texts(codes::BAD_HOST, check_host);
    if hosts.is_empty() && list.node.is_some() {
        fields.cx.error(codes::MISSING, list.key, "a server needs a host");
    }
    let tls = server_tls::read(fields.get("tls")).map(Box::new);
    check_tls(fields, &protocol, tls.as_deref());
    Server { spot: fields.spot(), port: number, port_name: name, protocol, bind: bind.map(|b| b.value), hosts, tls }
}

/// Istio: a port is 1 to 65535, and 0 with a Unix socket.
pub(super) fn port_number(field: Field<'_>, unix: bool) -> Option<Located<u16>> {
    let number = field.int(0..=65535).and_then(|n| u16::try_from(n).ok())?;
    if (number == 0) != unix {
        let message = match unix {
            true => "at a Unix socket the port's number is 0",
            false => "port 0 is for Unix sockets only",
        };
        field.cx.error(codes::OUT_OF_RANGE, field.mark(), message);
    }
    Some(Located::new(number, field.cx.spot(field.mark())))
}

fn port_name(field: Field<'_>, names: &mut Vec<Located<Arc<str>>>) -> Arc<str> {
    let Some(name) = field.located() else { return "".into() };
    if name.is_empty() {
        field.cx.error(codes::BAD_NAME, field.mark(), "a port's name cannot be empty");
    } else if let Some(before) = names.iter().find(|before| before.value == name.value) {
        let message = format!("the port name `{}` is used twice", name.value);
        let diagnostic = field.cx.at(Severity::Error, codes::DUPLICATE, field.mark(), message);
        field.cx.push(diagnostic.label(&before.spot, "it is first used here"));
    }
    names.push(name.clone());
    name.value
}

/// The word for what a port speaks, in upper case; empty when it is none.
pub(super) fn protocol(field: Field<'_>) -> Arc<str> {
    let upper = field.text().unwrap_or_default().to_ascii_uppercase();
    if field.node.is_none() || PROTOCOLS.contains(&&*upper) {
        return upper.into();
    }
    let diagnostic = field.cx.at(Severity::Error, codes::BAD_VALUE, field.mark(), format!("`{upper}` is no protocol"));
    field.cx.push(match names::nearest(&upper, PROTOCOLS.into_iter()) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic.help("among them are HTTP, HTTPS, HTTP2, GRPC, TLS and TCP"),
    });
    "".into()
}

/// Istio: the port of a listener has no `targetPort`.
pub(super) fn no_target_port(field: Field<'_>) {
    if field.uint().is_some_and(|port| port > 0) {
        field.cx.error(codes::REFUSED, field.key, "`targetPort` is not accepted here; leave it out");
    }
}

/// Istio: an IP address, or `unix://` with an absolute path or `@` and a name.
pub(super) fn check_bind(bind: &str) -> Result<(), String> {
    let Some(path) = bind.strip_prefix("unix://") else {
        return match bind.is_empty() || bind.parse::<IpAddr>().is_ok() {
            true => Ok(()),
            false => Err(format!("`{bind}` is neither an IP address nor `unix://` and a path")),
        };
    };
    let fits = path.starts_with(['/', '@']) && !path.ends_with('/') && path.len() > 1;
    if fits { Ok(()) } else { Err("a Unix socket is `unix:///absolute/path` or `unix://@name`".into()) }
}

/// Istio: `[namespace/]name`, where the name is full, `*` or an address.
fn check_host(host: &str) -> Result<(), String> {
    let (namespace, name) = host.split_once('/').map_or((None, host), |(ns, name)| (Some(ns), name));
    if let Some(namespace) = namespace.filter(|ns| *ns != "*" && *ns != ".") {
        names::dns_label(namespace)?;
    }
    if names::is_partial_wildcard(name) {
        return Err(format!("`{name}`: a wildcard is a whole label here"));
    }
    if name != "*" && !name.contains('.') && name.parse::<IpAddr>().is_err() {
        return Err(format!("`{name}` is a short name; a gateway's hosts are full names"));
    }
    names::host_or_ip(name)
}

/// Istio: HTTPS and TLS need settings; plain HTTP has them to redirect only, and nothing else has them at all.
fn check_tls(fields: &Fields<'_>, protocol: &str, tls: Option<&ServerTls>) {
    let say = |code, at: &str, message: &str| fields.cx.error(code, fields.place(at), message.to_owned());
    let Some(tls) = tls else {
        if matches!(protocol, "HTTPS" | "TLS") && !fields.has("tls") {
            let message = format!("a server of protocol {protocol} needs `tls`");
            fields.cx.error(codes::NEEDS, fields.mark, message);
        }
        return;
    };
    let passes = matches!(tls.mode, ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough);
    match protocol {
        "" | "HTTPS" | "TLS" => {}
        "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" | "GRPC-WEB-TEXT" | "HTTP_PROXY" => {
            if !passes || !tls.certificates.is_empty() {
                say(codes::CONFLICT, "tls", "a server of plain HTTP has `tls` for `httpsRedirect` only");
            }
        }
        _ => say(codes::CONFLICT, "tls", "only servers of HTTP, HTTPS and TLS have `tls`"),
    }
    if tls.https_redirect && matches!(protocol, "HTTPS" | "TLS") {
        let message = "`httpsRedirect` is for servers of plain HTTP";
        fields.cx.warn(codes::NO_EFFECT, fields.place("tls"), message);
    }
}
