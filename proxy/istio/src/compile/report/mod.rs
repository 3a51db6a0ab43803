//! What is told of a configuration besides the snapshot: dangling references, where a setting is written, what has no effect.

pub(crate) mod provenance;
pub(crate) mod references;
pub(crate) mod unclaimed;
pub(crate) mod view;
pub(crate) mod written;
