//! Who hears the reasons of a decision while it is made.
//!
//! The decision is the same whoever listens. Reasons that cost something to find are sought only for those who do, so that
//! the proxy, to which nobody listens, runs the same code as if there were no narration.

use crate::cluster::HashKey;
use crate::dice::Share;
use crate::matching::Mismatch;
use crate::route::{Abort, Destination, FaultScope, Mirror, Route};
use crate::snapshot::{Inbound, VirtualHost};
use crate::time::Span;

/// Hears reasons in the order in which they count.
pub trait Narrator {
    /// Whether anybody listens.
    const HEARS: bool = true;

    /// Hears one.
    fn hear(&mut self, reason: Reason<'_>);
}

/// Nobody.
impl Narrator for () {
    const HEARS: bool = false;

    fn hear(&mut self, _: Reason<'_>) {}
}

/// Why a decision was made as it was.
#[derive(Clone, Copy, Debug)]
pub enum Reason<'r> {
    /// The request came in for the application, by this listener.
    Inbound(&'r Inbound),
    /// The application sent it, to this host and port.
    Outbound {
        /// In lower case and without port.
        host: &'r str,
        /// The port that it is looked up at.
        port: u16,
        /// Where that port is known from.
        from: PortFrom,
    },
    /// A virtual host claims that name at that port.
    Host {
        /// Which one.
        host: &'r VirtualHost,
        /// By which of its domains.
        domain: &'r str,
    },
    /// None does.
    UnknownHost {
        /// Whether such requests are sent where they ask to be.
        passes: bool,
    },
    /// A rule of the virtual host was tried, in order; the last is the one that was taken, or all were tried in vain.
    Rule {
        /// Its place in the list, from 0.
        place: usize,
        /// The rule.
        route: &'r Route,
        /// The first of its conditions that does not hold; `None` takes the rule.
        mismatch: Option<Mismatch<'r>>,
    },
    /// The rule makes trouble on purpose.
    Fault {
        /// Which.
        fault: InjectedFault,
        /// How many requests meet it.
        share: Share,
        /// What was drawn: it comes true below the share. `None` when each attempt draws for itself.
        drawn: Option<Share>,
        /// When it is drawn.
        scope: FaultScope,
    },
    /// The rule says which pages of other origins may call.
    Origin {
        /// Whose page calls, as it says itself; `None` for what is no page's call, which the rules leave alone.
        origin: Option<&'r [u8]>,
        /// The method that a preflight request asks leave for; `None` for other requests.
        preflight: Option<&'r [u8]>,
        /// Whether it may.
        allowed: bool,
        /// Whether it is answered here.
        answered: bool,
    },
    /// One of the rule's destinations was chosen.
    Destination {
        /// The chosen one's place among them.
        place: usize,
        /// All of them.
        among: &'r [Destination],
        /// How it was chosen.
        by: Choice<'r>,
    },
    /// How long all of it may take; `None` is for ever.
    Timeout {
        /// The result.
        allowed: Option<Span>,
        /// What the rule allows.
        route: Option<Span>,
        /// What a gRPC caller asks for.
        asked: Option<Span>,
    },
    /// The endpoint is chosen by a hash of the request.
    Hash {
        /// Of what.
        key: &'r HashKey,
        /// `None` when the request lacks that, and then it may go anywhere.
        hash: Option<u64>,
        /// Whether the caller is given a cookie for the next time.
        gives_cookie: bool,
    },
    /// A mirror was considered.
    Mirror {
        /// Which.
        mirror: &'r Mirror,
        /// What was drawn: a copy is made below the share.
        drawn: Share,
        /// Whether a copy is made.
        copied: bool,
    },
}

/// Where a request's port is known from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortFrom {
    /// The connection that was captured.
    Connection,
    /// The request's authority.
    Authority,
    /// Nothing says one: it is HTTP's own, 80.
    Default,
}

/// Faults that are injected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InjectedFault {
    /// A wait.
    Delay(Span),
    /// An answer instead of the destination's.
    Abort(Abort),
}

/// How a destination was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice<'r> {
    /// There is no other.
    Only,
    /// By a draw among the sum of the weights.
    Draw {
        /// What was drawn, from 0.
        point: u64,
        /// The sum.
        total: u64,
    },
    /// By who the caller is, so that it keeps its destination.
    Key(&'r HashKey),
}
