//! Short hosts of ServiceEntries: the same word means another host where it is completed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::super::Checking;
use super::destinations;
use super::hosts::Known;
use crate::codes;
use crate::compile::names::complete;
use crate::diagnostic::Diagnostic;
use crate::resources::service_entry::Resolution;
use crate::resources::{Meta, ServiceEntry};
use crate::source::Located;

/// Istio: a ServiceEntry's hosts are taken as they are written; everybody else's short names are completed.
pub(super) fn check(cx: &Checking<'_>, known: &Known<'_>) {
    let mut named: HashMap<String, (&Meta, &Located<Arc<str>>)> = HashMap::new();
    let mut name = |meta, host| {
        let host: &Located<Arc<str>> = host;
        if is_short(&host.value) {
            named.entry(host.value.to_ascii_lowercase()).or_insert((meta, host));
        }
    };
    for document in &cx.resources.virtual_services {
        document.hosts.iter().for_each(|host| name(&document.meta, host));
        destinations(document).for_each(|(_, destination)| name(&document.meta, &destination.host));
    }
    cx.resources.destination_rules.iter().for_each(|rule| name(&rule.meta, &rule.host));
    for entry in &cx.resources.service_entries {
        for host in entry.hosts.iter().filter(|host| is_short(&host.value)) {
            let Some((meta, user)) = named.get(&host.value.to_ascii_lowercase()) else { continue };
            let full = complete(&user.value, meta.namespace(), cx.domain());
            if known.has(&full) || !cx.sees_entry(meta.namespace(), entry) {
                continue;
            }
            let message = format!("`{}` is this very host, and {full} in {}", host.value, meta.resource);
            let complaint = Diagnostic::warning(codes::HOST_NOT_COMPLETED, &entry.meta.resource, &host.spot, message);
            let complaint = complaint.label(&user.spot, "a short name is completed here");
            cx.tell(complaint.help(advice(entry, &host.value, &full)));
        }
    }
}

fn is_short(host: &str) -> bool {
    !host.is_empty() && !host.contains(['.', '*']) && host.parse::<IpAddr>().is_err()
}

fn advice(entry: &ServiceEntry, host: &str, full: &str) -> String {
    let by_itself = matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
        && entry.endpoints.is_empty()
        && entry.workload_selector.is_none();
    match by_itself {
        true => format!(
            "write `hosts: [{full}]` and `endpoints: [{{address: {host}}}]` here; callers go on to call it `{host}`"
        ),
        false => format!("write `{full}` here; callers go on to call it `{host}`"),
    }
}
