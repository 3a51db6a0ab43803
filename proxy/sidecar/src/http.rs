//! HTTP as a proxy needs it: header fields, targets, and the codecs of HTTP/1 and HTTP/2. RFC 9110, 9112, 9113.

pub(crate) mod fields;
pub(crate) mod hop_by_hop;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod informational;
pub(crate) mod sensitive;
pub(crate) mod target;
