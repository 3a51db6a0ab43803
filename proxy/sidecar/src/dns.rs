//! Names to addresses, and what is done about addresses that cannot be reached.

pub(crate) mod on_demand;
pub(crate) mod resolver;
pub(crate) mod unreachable;
