//! Reads Gateway, whose form is checked though a sidecar does not serve it.

use super::Object;
use super::service_entry::PROTOCOLS;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::names;
use crate::resources::Gateway;
use crate::resources::gateway::Server;
use crate::support::{GATEWAY, SERVER, SERVER_PORT};

pub(super) fn read(object: Object<'_>) -> Option<Gateway> {
    let spec = object.spec(&GATEWAY)?;
    let selector = spec.get("selector").labels();
    let mut names: Vec<std::sync::Arc<str>> = Vec::new();
    let mut servers = Vec::new();
    for fields in spec.required("servers").items(&SERVER) {
        servers.push(server(&fields, &mut names));
    }
    let message = "gateways are not served by this proxy, which stands beside an application";
    object.cx.warn(codes::NOT_ENFORCED, object.name_mark, message);
    Some(Gateway { meta: object.meta, selector, servers })
}

fn server(fields: &Fields<'_>, names: &mut Vec<std::sync::Arc<str>>) -> Server {
    let mut number = 0;
    if let Some(port) = fields.required("port").block(&SERVER_PORT) {
        number = port.required("number").int(0..=65535).and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
        if number == 0 && port.has("number") && !fields.has("bind") {
            port.cx.error(codes::OUT_OF_RANGE, port.get("number").mark(), "port 0 is for Unix sockets only");
        }
        let name = port.required("name");
        if let Some(text) = name.text() {
            if names.contains(&text) {
                port.cx.error(codes::DUPLICATE, name.mark(), format!("the port name `{text}` is used twice"));
            }
            names.push(text);
        }
        let protocol = port.required("protocol");
        let text = protocol.text().unwrap_or_default().to_ascii_uppercase();
        if !text.is_empty() && !PROTOCOLS.contains(&&*text) {
            port.cx.error(codes::BAD_VALUE, protocol.mark(), format!("`{text}` is no protocol"));
        }
        if matches!(&*text, "HTTPS" | "TLS") && !fields.has("tls") {
            fields.cx.error(codes::NEEDS, fields.mark, format!("a server of protocol {text} needs `tls`"));
        }
    }
    let hosts = fields.required("hosts").texts();
    if hosts.is_empty() && fields.has("hosts") {
        fields.cx.error(codes::MISSING, fields.place("hosts"), "a server needs a host");
    }
    for host in &hosts {
        if let Err(message) = check_host(host) {
            fields.cx.push(Diagnostic::error(codes::BAD_HOST, &fields.cx.resource, &host.spot, message));
        }
    }
    Server { port: number, hosts }
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
    if name != "*" && !name.contains('.') && name.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("`{name}` is a short name; a gateway's hosts are full names"));
    }
    names::host_or_ip(name)
}
