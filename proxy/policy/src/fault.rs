//! Trouble made on purpose: whether, and which.

use crate::dice::{Dice, Purpose};
use crate::route::{Abort, Fault};
use crate::time::Span;
use crate::verdict::Verdict;

/// What was drawn for one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) delay: Option<Span>,
    pub(crate) abortion: Option<Abortion>,
}

/// An abort that will be answered instead of the destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Abortion(Abort);

impl Abortion {
    pub(crate) fn verdict(self) -> Verdict {
        match self.0 {
            Abort::Http(status) => Verdict::AbortHttp(status),
            Abort::Grpc(status) => Verdict::AbortGrpc(status),
        }
    }
}

/// Envoy: the two draws are independent, and a delay comes before an abort.
pub(crate) fn draw(fault: Option<&Fault>, dice: Dice) -> Trouble {
    let Some(fault) = fault else { return Trouble::default() };
    let delay = fault.delay.filter(|(_, share)| dice.chance(Purpose::FaultDelay, 0, *share));
    let abort = fault.abort.filter(|(_, share)| dice.chance(Purpose::FaultAbort, 0, *share));
    Trouble { delay: delay.map(|(span, _)| span), abortion: abort.map(|(abort, _)| Abortion(abort)) }
}
