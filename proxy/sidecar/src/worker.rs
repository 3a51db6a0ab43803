//! What one worker thread has, and what all workers share.

pub(crate) mod connection_state;
pub(crate) mod context;
pub(crate) mod peers;
pub(crate) mod settings;
pub(crate) mod shared;
