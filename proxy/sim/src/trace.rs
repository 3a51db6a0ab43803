//! Everything that happens in a world, in order.

use std::sync::Arc;

use leeboard_policy::cluster::Address;
use leeboard_policy::outlier::OutlierEvent;
use leeboard_policy::step::{End, Outcome};
use leeboard_policy::time::Time;
use leeboard_policy::verdict::Verdict;

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When.
    pub at: Time,
    /// In which exchange, counted from 1 in the order in which they began; `None` for what a sweep did.
    pub exchange: Option<u64>,
    /// What.
    pub what: Event,
}

/// What can happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A request came, and fell under a rule and a destination, if there is one.
    Began {
        /// The rule's name.
        route: Option<Arc<str>>,
        /// The cluster's name.
        cluster: Option<Arc<str>>,
    },
    /// It waits: for an injected delay to be over, or for a retry.
    Waits {
        /// Until when.
        until: Time,
    },
    /// An attempt is made. Unless `fresh`, it holds a place among the cluster's requests from now on.
    Tries {
        /// Where; `None` is wherever the caller was going.
        endpoint: Option<Address>,
        /// Which attempt, from 1.
        number: u32,
        /// Whether it is the same attempt once more, on a fresh connection.
        fresh: bool,
    },
    /// The attempt waits for a connection, with a place among the pending.
    Queues,
    /// The attempt has a place for its connection, and begins to make it.
    Connects,
    /// The connection is made, and the request written.
    Connected,
    /// The attempt comes to this. Unless its response is passed on, it gives its connection back.
    Meets(Outcome),
    /// The exchange's next tick came, for this reason. It ends an attempt under way.
    Wakes(&'static str),
    /// The response is passed on.
    Forwards {
        /// Its status.
        status: u16,
    },
    /// The response that was passed on ended like this, and the exchange is over.
    Ends(End),
    /// The proxy answers by itself, and the exchange is over.
    Replies(Verdict),
    /// Nothing was ever to happen to it again: the caller left.
    Abandoned,
    /// An endpoint was set aside, was not although it should be, or returned.
    Outlier(OutlierEvent),
}
