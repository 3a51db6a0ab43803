//! Who calls: a header in which one Leeboard tells the next which workload it stands beside, for the `source_*` labels.
//!
//! The header is `x-leeboard-peer`. An application never sees it, and what an application sends in it goes no further.
//! Istio's sidecars exchange the same by headers or by mTLS. It names, it does not prove: nothing is decided by it, and it is
//! believed only when it comes from inside the mesh: from an address of an endpoint that the configuration knows, or from one
//! that `--trusted-peers` has.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use leeboard_policy::cluster::{Address, Workload};
use leeboard_policy::live::Live;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::cli::values::Networks;

/// The most callers that a worker tells apart at a time. Those that come while it knows so many are called `other`.
const PEERS: usize = 512;

/// The longest description that is read.
const LONGEST: usize = 1024;

/// The labels that appear in metrics.
const LABELS: [&str; 7] = [
    "app",
    "version",
    "app.kubernetes.io/name",
    "app.kubernetes.io/version",
    "service.istio.io/canonical-name",
    "service.istio.io/canonical-revision",
    "topology.istio.io/cluster",
];

/// A workload as the header has it, behind the number of proxies that the request has come through by then, which is one:
/// `1;name=shop;namespace=demo;app=shop`. `None` when there is nothing to say.
pub(crate) fn describe(workload: &Workload) -> Option<String> {
    let known = LABELS.iter().map(|key| (*key, workload.label(key)));
    let all = [("name", &*workload.name), ("namespace", &*workload.namespace)].into_iter().chain(known);
    let pairs: Vec<String> = all
        .filter(|(_, value)| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';'))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Some(pairs.join(";")).filter(|text| !text.is_empty() && text.len() <= LONGEST).map(|text| format!("1;{text}"))
}

/// The same from a proxy that is not the first: how many a request has come through stands before what the last of them is.
pub(crate) fn come_through(hops: u8, introduction: &str) -> String {
    let (_, rest) = introduction.split_once(';').unwrap_or_default();
    format!("{hops};{rest}")
}

/// How many proxies a request has come through, and what the last of them says of its workload.
pub(crate) fn told(header: &str) -> (u8, &str) {
    match header.split_once(';') {
        Some((hops, rest)) if !hops.contains('=') => (hops.parse().unwrap_or(0), rest),
        _ => (0, header),
    }
}

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

/// Whether a value may be a label's: names of workloads and values of labels, as Kubernetes has them.
fn is_name(value: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    value.len() <= 253 && value.bytes().all(letters)
}

/// The workload that a header describes; what cannot be read is left out.
pub(crate) fn read(text: &str) -> Option<Workload> {
    if text.len() > LONGEST {
        return None;
    }
    let mut workload = Workload { labels: BTreeMap::new(), ..Workload::default() };
    let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    for (key, value) in pairs.filter(|(_, value)| is_name(value)) {
        let value: Arc<str> = value.into();
        match key {
            "name" => workload.name = value,
            "namespace" => workload.namespace = value,
            label if LABELS.contains(&label) => {
                workload.labels.insert(label.into(), value);
            }
            _ => {}
        }
    }
    Some(workload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_read_again() {
        let labels = [("app", "shop"), ("version", "v1"), ("tier", "front")];
        let shop = Workload {
            name: "shop-v1".into(),
            namespace: "demo".into(),
            labels: labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            locality: "".into(),
        };
        let value = describe(&shop).expect("something to say");
        assert_eq!(value, "1;name=shop-v1;namespace=demo;app=shop;version=v1");
        assert_eq!(come_through(3, &value), "3;name=shop-v1;namespace=demo;app=shop;version=v1");
        let read = read(told(&value).1).expect("a description");
        assert_eq!(
            (&*read.name, &*read.namespace, read.label("app"), read.label("tier")),
            ("shop-v1", "demo", "shop", "")
        );
    }

    #[test]
    fn how_many_proxies_a_request_has_come_through() {
        for (header, hops, peer) in [
            ("1;name=a", 1, "name=a"),
            ("255;name=a", 255, "name=a"),
            ("256;name=a", 0, "name=a"),
            ("name=a;app=b", 0, "name=a;app=b"),
            ("1", 0, "1"),
            ("", 0, ""),
            (";", 0, ""),
        ] {
            assert_eq!(told(header), (hops, peer), "{header}");
        }
    }

    #[test]
    fn what_is_no_description_names_nobody() {
        assert_eq!(describe(&Workload::default()), None);
        for text in ["", "-", "=;;x", "name", "other=1"] {
            assert_eq!(read(text), Some(Workload::default()), "{text}");
        }
        let long = format!("name={}", "x".repeat(LONGEST));
        assert_eq!(read(&long), None);
        for word in ["a b", "<b>", "\u{e4}", "a\"b", &"x".repeat(254)] {
            assert_eq!(read(&format!("name={word};app={word}")), Some(Workload::default()), "{word}");
        }
    }

    #[test]
    fn only_those_inside_the_mesh_are_believed_and_only_so_many_at_a_time() {
        let [inside, trusted, stranger] = ["10.0.0.1", "10.1.7.7", "10.2.0.1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let peers = Peers::new(crate::cli::values::networks("10.1.0.0/16").unwrap());
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
