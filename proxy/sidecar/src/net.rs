//! What the proxy needs of sockets and addresses, whatever passes through them.

pub(crate) mod networks;
pub(crate) mod readable;
