//! What the process uses of the machine: clock, environment, limits, memory, threads. It imports nothing of the other
//! folders.

pub(crate) mod background;
pub(crate) mod clock;
pub(crate) mod env;
pub(crate) mod exit;
pub(crate) mod limits;
pub(crate) mod memory;
