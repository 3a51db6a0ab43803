//! The process from start to end.

pub(crate) mod run;
pub(crate) mod settings;
