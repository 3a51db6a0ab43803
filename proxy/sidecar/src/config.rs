//! Where configuration and addresses come from, and the one writer of what is in force. Whoever discovers something says it to
//! the store, and to nobody else.

pub(crate) mod dns;
pub(crate) mod files;
pub(crate) mod search;
pub(crate) mod store;
pub(crate) mod update;
