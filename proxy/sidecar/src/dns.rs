//! DNS: the resolver, names that only requests know, and endpoints that cannot be reached.

pub(crate) mod on_demand;
pub(crate) mod resolver;
pub(crate) mod unreachable;
