//! What an attempt under way holds.

use alloc::sync::Arc;

use crate::endpoints::{Active, Endpoint};
use crate::limits::Slot;
use crate::time::Time;

/// What an attempt under way holds.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) connected: Option<Time>,
    /// Whether the request was sent again unasked in this attempt, which is done once.
    pub(super) replayed: bool,
    /// Whether the endpoint's part in this attempt has been judged.
    pub(super) scored: bool,
    /// The endpoint, busy with it; `None` while that is not known.
    pub(super) active: Option<Active>,
    pub(super) _slot: Slot,
}

impl Running {
    pub(super) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.active.as_ref().map(Active::endpoint)
    }
}
