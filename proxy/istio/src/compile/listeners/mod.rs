//! What a proxy listens for: virtual hosts towards the mesh, the application's own ports, and what a gateway serves.

pub(crate) mod gateways;
pub(crate) mod hosts;
pub(crate) mod inbound;
pub(crate) mod owners;
pub(crate) mod unknown_hosts;
