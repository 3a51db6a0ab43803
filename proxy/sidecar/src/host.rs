//! What the process asks of the machine that it runs on. Everything else may use it, and it uses nothing of the rest.

pub(crate) mod background;
pub(crate) mod clock;
pub(crate) mod env;
pub(crate) mod exit;
pub(crate) mod limits;
pub(crate) mod memory;
