//! Sockets and addresses, whatever protocol is spoken.

pub(crate) mod deadline;
pub(crate) mod downstream_limits;
pub(crate) mod listen;
pub(crate) mod networks;
pub(crate) mod own_addresses;
pub(crate) mod readable;
pub(crate) mod turn;
pub(crate) mod upstream_limits;
pub(crate) mod upstream_socket;
pub(crate) mod wake;
pub(crate) mod write_batch;
