//! Lists that name one thing twice. Where it is forbidden, that is found while reading.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use super::super::Checking;
use crate::codes;
use crate::locations::{Path, way};
use crate::resources::Meta;
use crate::resources::service_entry::WorkloadAddress;
use crate::resources::virtual_service::{HeaderOperations, StringMatch};

pub(super) fn check(cx: &Checking<'_>) {
    for document in &cx.resources.virtual_services {
        let meta = &document.meta;
        let gateways = document.gateways.iter().map(|gateway| &*gateway.value);
        twice(cx, meta, &way!["spec", "gateways"], gateways);
        for (at, entry) in document.http.iter().enumerate() {
            let path = way!["spec", "http", at];
            if let Some(tokens) = entry.retries.as_ref().and_then(|retries| retries.retry_on.as_ref()) {
                let mut seen = HashSet::new();
                if let Some(token) = tokens.iter().find(|token| !seen.insert(&***token)) {
                    tell(cx, meta, &path.to("retries").to("retryOn"), token);
                }
            }
            if let Some(cors) = &entry.cors {
                let path = path.to("corsPolicy");
                texts(cx, meta, &path.to("allowMethods"), &cors.allow_methods);
                texts(cx, meta, &path.to("allowHeaders"), &cors.allow_headers);
                texts(cx, meta, &path.to("exposeHeaders"), &cors.expose_headers);
                let exact = |origin: &'_ StringMatch| match origin {
                    StringMatch::Exact(text) => Some(text.clone()),
                    _ => None,
                };
                let origins: Vec<Option<Arc<str>>> = cors.allow_origins.iter().map(exact).collect();
                let mut seen = HashSet::new();
                for (at, origin) in origins.iter().enumerate() {
                    if let Some(origin) = origin.as_ref().filter(|origin| !seen.insert((*origin).clone())) {
                        tell(cx, meta, &path.to("allowOrigins").to(at), origin);
                    }
                }
            }
            removals(cx, meta, &path.to("headers").to("request"), &entry.headers.request);
            removals(cx, meta, &path.to("headers").to("response"), &entry.headers.response);
        }
    }
    for entry in &cx.resources.service_entries {
        texts(cx, &entry.meta, &way!["spec", "addresses"], &entry.addresses);
        let hosts = entry.hosts.iter().map(|host| &*host.value);
        twice(cx, &entry.meta, &way!["spec", "hosts"], hosts);
        let endpoints = entry.endpoints.iter().map(|endpoint| (&endpoint.address, &endpoint.ports));
        let mut seen = HashSet::new();
        for (at, (address, ports)) in endpoints.enumerate() {
            let Some(address) = address.as_ref().map(written) else { continue };
            if !seen.insert((address.clone(), ports)) {
                tell(cx, &entry.meta, &way!["spec", "endpoints", at, "address"], &address);
            }
        }
    }
}

/// An address as it is written.
fn written(address: &WorkloadAddress) -> String {
    match address {
        WorkloadAddress::Ip(ip) => ip.to_string(),
        WorkloadAddress::Name(name) => name.to_string(),
        WorkloadAddress::Unix(path) => format!("unix://{path}"),
    }
}

fn removals(cx: &Checking<'_>, meta: &Meta, path: &Path, operations: &HeaderOperations) {
    let lower = operations.remove.iter().map(|name| name.to_ascii_lowercase());
    twice(cx, meta, &path.to("remove"), lower);
}

fn texts(cx: &Checking<'_>, meta: &Meta, path: &Path, list: &[Arc<str>]) {
    twice(cx, meta, path, list.iter().map(|text| &**text));
}

/// Complains about the first entry of a list that is there before.
fn twice<T: Hash + Eq + Clone + AsRef<str>>(
    cx: &Checking<'_>,
    meta: &Meta,
    path: &Path,
    list: impl Iterator<Item = T>,
) {
    let mut seen = HashSet::new();
    for (at, text) in list.enumerate() {
        if !seen.insert(text.clone()) {
            return tell(cx, meta, &path.to(at), text.as_ref());
        }
    }
}

fn tell(cx: &Checking<'_>, meta: &Meta, path: &Path, text: &str) {
    if cx.is_rejected(&meta.id) {
        return;
    }
    let message = format!("`{text}` is in this list twice");
    cx.tell(cx.warning(codes::LISTED_TWICE, meta, path, message));
}
