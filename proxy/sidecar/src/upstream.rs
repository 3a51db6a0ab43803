//! Connections to endpoints: making, keeping, sharing and leasing them, and one request on one of them.

mod connect;
pub(crate) mod connection;
pub(crate) mod connection_request;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod idle;
pub(crate) mod lease;
pub(crate) mod pool;
pub(crate) mod shared_pool;
