//! Which callers are believed when their proxies name the workload that calls.
//!
//! A peer ([`crate::request::peer_header`]) is believed only from inside the mesh: from the address of a known
//! endpoint, or from one of `--trusted-peers`.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;

use leeboard_policy::cluster::{Address, Workload};
use leeboard_policy::live::Live;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::net::networks::Networks;
use crate::request::peer_header::{LABELS, read};

/// The most callers that a worker tells apart at a time. Those that come while it knows so many are called `other`.
const PEERS: usize = 512;

/// The callers that are believed, as one value for all calls of each.
#[derive(Debug)]
pub(crate) struct Peers {
    known: RefCell<FxHashMap<String, Known>>,
    /// Where endpoints are.
    inside: RefCell<FxHashSet<IpAddr>>,
    trusted: Networks,
    other: Arc<Workload>,
}

#[derive(Debug)]
struct Known {
    workload: Arc<Workload>,
    /// The last address that it called from.
    from: Cell<IpAddr>,
    used: Cell<bool>,
}

impl Peers {
    /// Nobody is known yet; `trusted` are the mesh's besides its endpoints.
    pub(crate) fn new(trusted: Networks) -> Self {
        let labels = LABELS.into_iter().map(|key| (key.into(), "other".into()));
        let other =
            Workload { name: "other".into(), namespace: "other".into(), labels: labels.collect(), locality: "".into() };
        Self { known: RefCell::default(), inside: RefCell::default(), trusted, other: Arc::new(other) }
    }

    /// The workload that a caller's proxy describes; `None` from a stranger.
    pub(crate) fn find(&self, description: String, from: IpAddr) -> Option<Arc<Workload>> {
        let mut known = self.known.borrow_mut();
        if let Some(peer) = known.get(&description) {
            if peer.from.get() != from {
                if !self.believes(from) {
                    return None;
                }
                peer.from.set(from);
            }
            peer.used.set(true);
            return Some(peer.workload.clone());
        }
        if !self.believes(from) {
            return None;
        }
        let workload = Arc::new(read(&description)?);
        if known.len() >= PEERS {
            return Some(self.other.clone());
        }
        let peer = Known { workload: workload.clone(), from: Cell::new(from), used: Cell::new(true) };
        known.insert(description, peer);
        Some(workload)
    }

    fn believes(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        self.inside.borrow().contains(&from) || self.trusted.contain(from)
    }

    /// Notes where the endpoints of a new configuration are; callers that have gone from there are forgotten.
    pub(crate) fn follow(&self, live: &Live) {
        let endpoints = live.clusters().iter().flat_map(|cluster| cluster.endpoints());
        let addresses = endpoints.filter_map(|endpoint| match endpoint.address() {
            Address::Socket(socket) => Some(socket.ip().to_canonical()),
            Address::Unix(_) => None,
        });
        *self.inside.borrow_mut() = addresses.collect();
        self.known.borrow_mut().retain(|_, peer| self.believes(peer.from.get()));
    }

    /// Forgets who has not called since the last time.
    pub(crate) fn forget(&self) {
        self.known.borrow_mut().retain(|_, peer| peer.used.replace(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_inside_the_mesh_are_believed_and_only_so_many_at_a_time() {
        let [inside, trusted, stranger] = ["10.0.0.1", "10.1.7.7", "10.2.0.1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let peers = Peers::new(crate::net::networks::read("10.1.0.0/16").unwrap());
        peers.inside.borrow_mut().insert(inside);
        let name = |text: &str, from| peers.find(format!("name={text}"), from).map(|peer| peer.name.to_string());
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(name("a", stranger), None);
        assert_eq!((name("a", inside), name("a", trusted), name("a", stranger)), (some("a"), some("a"), None));
        assert_eq!(name("a", "::ffff:10.0.0.1".parse().unwrap()), some("a"));
        for number in 0..3_000 {
            name(&format!("forged-{number}"), inside);
        }
        assert_eq!((name("a", inside), name("late", inside)), (some("a"), some("other")));
        assert!(peers.known.borrow().len() <= PEERS);
        peers.forget();
        name("a", inside);
        peers.forget();
        assert_eq!(peers.known.borrow().len(), 1);
        assert_eq!(name("late", inside), some("late"));
        let snapshot = Arc::new(leeboard_policy::snapshot::Snapshot::new(Default::default()));
        peers.follow(&Live::adopt(None, snapshot, &Default::default(), leeboard_policy::time::Time(0)));
        assert_eq!((name("a", inside), name("a", trusted)), (None, some("a")));
    }
}
