//! Gateway: a load balancer at the edge. It is checked; a sidecar does not serve it.

use std::sync::Arc;

use super::{Labels, Meta};
use crate::source::Located;

/// Istio: Gateway, as far as references to it can be checked.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// What every object has.
    pub meta: Meta,
    /// Which workloads; empty is every gateway.
    pub selector: Labels,
    /// What is served.
    pub servers: Vec<Server>,
}

/// One entry of `servers`.
#[derive(Clone, Debug)]
pub struct Server {
    /// The port's number.
    pub port: u16,
    /// `[namespace/]name` of the hosts.
    pub hosts: Vec<Located<Arc<str>>>,
}
