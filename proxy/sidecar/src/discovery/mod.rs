//! Where configuration and addresses come from. Whoever discovers something says it to the store, and to nobody else.

pub(crate) mod dns;
pub(crate) mod doubts;
pub(crate) mod files;
pub(crate) mod on_demand;
pub(crate) mod resolver;
pub(crate) mod search;
pub(crate) mod update;
