//! Requests: as they arrive from downstream, as the policy sees them, and as they are sent upstream.

pub(crate) mod budget;
pub(crate) mod downstream;
pub(crate) mod head;
pub(crate) mod peer_header;
pub(crate) mod upgrade;
pub(crate) mod upstream;
