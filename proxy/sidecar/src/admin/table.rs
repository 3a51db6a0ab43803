//! The table of pages: path, methods, scopes, description, handler.

use super::page::{Methods, Page};
use super::{Scope, clusters, config_dump, explain, front, pages};

const ADMIN: &[Scope] = &[Scope::Admin];
const READINESS: &[Scope] = &[Scope::Admin, Scope::Status];
const SCRAPED: &[Scope] = &[Scope::Admin, Scope::Metrics];

/// All pages, in the order of the front page.
#[rustfmt::skip]
pub(super) const PAGES: &[Page] = &[
    Page { path: "/", methods: Methods::Get, scopes: ADMIN, about: "this page", answer: front::answer },
    Page { path: "/clusters", methods: Methods::Get, scopes: ADMIN, about: "destinations, their endpoints, ejections and limits; ?format=json", answer: clusters::answer },
    Page { path: "/config_dump", methods: Methods::Get, scopes: ADMIN, about: "the serving configuration and what was complained of, as JSON", answer: config_dump::answer },
    Page { path: "/explain", methods: Methods::Get, scopes: ADMIN, about: "where a request goes now, and why; ?url=, method=, header=, seed=, inbound=, format=json", answer: explain::answer },
    Page { path: "/listeners", methods: Methods::Get, scopes: ADMIN, about: "sockets; ?format=json", answer: pages::listeners },
    Page { path: "/metrics", methods: Methods::Get, scopes: SCRAPED, about: "metrics for Prometheus", answer: pages::metrics },
    Page { path: "/stats/prometheus", methods: Methods::Get, scopes: SCRAPED, about: "the same", answer: pages::metrics },
    Page { path: "/ready", methods: Methods::Get, scopes: READINESS, about: "200 while the proxy takes new requests", answer: pages::ready },
    Page { path: "/healthz/ready", methods: Methods::Get, scopes: READINESS, about: "the same", answer: pages::ready },
    Page { path: "/server_info", methods: Methods::Get, scopes: ADMIN, about: "version, state and identity, as JSON", answer: pages::server_info },
    Page { path: "/logging", methods: Methods::Both, scopes: ADMIN, about: "what the log tells; post ?level= to change it", answer: pages::logging },
    Page { path: "/drain", methods: Methods::Both, scopes: ADMIN, about: "post to part the application from its callers; whether it may end, as JSON", answer: pages::drain },
    Page { path: "/drain_listeners", methods: Methods::Post, scopes: ADMIN, about: "accept no more connections; ?graceful, ?inboundonly", answer: pages::drain_listeners },
    Page { path: "/quitquitquit", methods: Methods::Post, scopes: ADMIN, about: "end the process", answer: pages::quit },
];
