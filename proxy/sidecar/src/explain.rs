//! Parts of explanations that need the proxy's own code: reading a request as the proxy does, and the text of the
//! configuration.

pub(crate) mod question;
pub(crate) mod sources;
