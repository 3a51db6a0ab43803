//! Faults that are injected: whether, and which.

use crate::dice::{Dice, Purpose};
use crate::retry::ResponseHead;
use crate::route::{Abort, Fault};
use crate::time::Span;
use crate::verdict::Verdict;

/// What was drawn for one request, or for one attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct DrawnFault {
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

    /// What a retry policy is to make of it.
    pub(crate) fn response(self) -> ResponseHead {
        let (status, grpc_status) = match self.0 {
            Abort::Http(status) => (status, None),
            Abort::Grpc(status) => (200, Some(status)),
        };
        ResponseHead { status, grpc_status, rate_limited: false }
    }
}

/// Envoy: the two draws are independent, and a delay comes before an abort. `turn` is 0 for the whole request, else the attempt.
pub(crate) fn draw(fault: &Fault, dice: Dice, turn: u32) -> DrawnFault {
    let delay = fault.delay.filter(|(_, share)| dice.chance(Purpose::FaultDelay, turn, *share));
    let abort = fault.abort.filter(|(_, share)| dice.chance(Purpose::FaultAbort, turn, *share));
    DrawnFault { delay: delay.map(|(span, _)| span), abortion: abort.map(|(abort, _)| Abortion(abort)) }
}
