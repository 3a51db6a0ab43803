//! Sources of configuration and addresses, and the store that applies them. Sources send updates to the store and to
//! nobody else.

pub(crate) mod dns;
pub(crate) mod files;
pub(crate) mod search;
pub(crate) mod store;
pub(crate) mod update;
