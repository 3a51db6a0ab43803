//! The way to endpoints: connections, pools and bodies.

mod connect;
pub(crate) mod connection;
pub(crate) mod copy;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod inflow;
pub(crate) mod kept;
pub(crate) mod lease;
pub(crate) mod pool;
pub(crate) mod request;
pub(crate) mod room;
pub(crate) mod shared;
pub(crate) mod shelf;
pub(crate) mod socket;
pub(crate) mod up_body;
pub(crate) mod upload;
