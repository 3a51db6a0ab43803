//! Bodies of requests on their way from a caller to endpoints: streamed, kept for replay, and copied to mirrors.

pub(crate) mod downstream;
pub(crate) mod mirror;
pub(crate) mod replay;
pub(crate) mod upload;
pub(crate) mod upstream;
