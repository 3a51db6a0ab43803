//! What explanations need beside the policy: a request in words, and the text that the configuration was read from.

pub(crate) mod question;
pub(crate) mod sources;
