//! What one thread that carries traffic has, and what it shares with the others.

pub(crate) mod connection_state;
pub(crate) mod context;
pub(crate) mod peers;
pub(crate) mod settings;
pub(crate) mod shared;
