//! Which of a route's destinations a request goes to: drawn, or found by who the caller is.

use xxhash_rust::xxh64::Xxh64;

use crate::balance::{known, ln};
use crate::dice::{Dice, Purpose, mix};
use crate::request::{Caller, Head};
use crate::route::{Destination, Forward, Target};
use crate::snapshot::Snapshot;

/// The index of a request's destination. Istio: a single one takes all, and the choice holds for all attempts.
///
/// With a key the same caller goes to the same destination for as long as no other one's weight grows against that one's.
/// A request that lacks what the key names is drawn.
pub(crate) fn choose(forward: &Forward, snapshot: &Snapshot, head: &impl Head, caller: Caller, dice: Dice) -> usize {
    let destinations = &forward.destinations[..];
    if destinations.len() < 2 {
        return 0;
    }
    match forward.split_key.as_deref().and_then(|key| known(key, head, caller)) {
        Some(hash) => keep(destinations, snapshot, hash),
        None => draw(destinations, dice),
    }
}

/// By weight and luck.
fn draw(destinations: &[Destination], dice: Dice) -> usize {
    let total: u64 = destinations.iter().map(|d| u64::from(d.weight)).sum();
    let mut point = dice.below(Purpose::Split, 0, total);
    for (index, destination) in destinations.iter().enumerate() {
        match point.checked_sub(u64::from(destination.weight)) {
            Some(rest) => point = rest,
            None => return index,
        }
    }
    0
}

/// By weight and the caller's hash: a race in which each destination needs a time drawn from the caller and its own name, the
/// shorter the greater its weight. The first to arrive takes the caller.
///
/// Who wins between two depends on these two and the ratio of their weights alone. So a caller moves from one to another only
/// if that one's weight has grown against the first one's: raising a canary from 5 to 25 % moves callers to it and none away
/// from it, wherever it is listed and however many destinations there are; the order of the list does not show; and one that
/// is added or taken away moves only the callers that it takes or had.
fn keep(destinations: &[Destination], snapshot: &Snapshot, hash: u64) -> usize {
    let time = |destination: &Destination| {
        -ln(unit(mix(hash ^ identity(destination, snapshot)))) / f64::from(destination.weight)
    };
    let racing = destinations.iter().enumerate().filter(|(_, destination)| destination.weight > 0);
    let times = racing.map(|(index, destination)| (index, time(destination)));
    times.reduce(|first, next| if next.1 < first.1 { next } else { first }).map_or(0, |(index, _)| index)
}

/// Who a destination is, whatever its port: the same caller is a canary's on each.
fn identity(destination: &Destination, snapshot: &Snapshot) -> u64 {
    let mut hash = Xxh64::new(0);
    match &destination.cluster {
        Target::Cluster(id) => {
            let service = &snapshot.cluster(*id).service;
            hash.update(service.host.as_bytes());
            hash.update(b"|");
            hash.update(service.subset.as_bytes());
        }
        Target::Unknown(name) => hash.update(name.as_bytes()),
    }
    hash.digest()
}

/// A number between 0 and 1, neither of them included.
fn unit(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ClusterId;
    use crate::cluster::{Balancer, Cluster, HashKey, Service};
    use crate::headers::HeaderOps;
    use crate::live::tests::cluster;
    use crate::request::tests::Sketch;
    use crate::snapshot::Draft;
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    const USERS: usize = 10_000;

    /// A snapshot of the subsets v0 to v3 of a service.
    fn snapshot() -> Snapshot {
        let of = |n: usize| {
            let plain = cluster(&format!("c{n}"), Balancer::Random, &[1]);
            let service = Service { host: "h".into(), subset: format!("v{n}").into(), ..plain.service.clone() };
            Cluster { service, ..plain }
        };
        Snapshot::new(Draft { clusters: (0..4).map(of).collect(), ..Draft::default() })
    }

    /// A route with a key and these destinations, each a cluster's index and a weight.
    fn route(list: &[(u32, u32)]) -> Forward {
        let destination = |(id, weight): &(u32, u32)| Destination {
            cluster: Target::Cluster(ClusterId(*id)),
            weight: *weight,
            authority: None,
            request_headers: HeaderOps::default(),
            response_headers: HeaderOps::default(),
        };
        let split_key = Some(HashKey::Header("user".into()).into());
        Forward { destinations: list.iter().map(destination).collect(), split_key, ..Forward::default() }
    }

    fn caller() -> Caller {
        let remote = "10.0.0.1:5000".parse().expect("an address");
        Caller { remote, local: remote }
    }

    /// The cluster of each user.
    fn taken(list: &[(u32, u32)]) -> Vec<u32> {
        let (forward, snapshot) = (route(list), snapshot());
        let cluster = |user: usize| {
            let head = Sketch::get("h", "/").with("user", user.to_string());
            list[choose(&forward, &snapshot, &head, caller(), Dice(user as u64))].0
        };
        (0..USERS).map(cluster).collect()
    }

    fn users_of(cluster: u32, taken: &[u32]) -> BTreeSet<usize> {
        taken.iter().enumerate().filter(|(_, of)| **of == cluster).map(|(user, _)| user).collect()
    }

    #[test]
    fn shares_are_those_of_the_weights() {
        for list in
            [&[(0, 95), (1, 5)][..], &[(0, 75), (1, 25)], &[(0, 1), (1, 1), (2, 2)], &[(0, 90), (1, 0), (2, 10)]]
        {
            let taken = taken(list);
            let sum: u32 = list.iter().map(|(_, weight)| weight).sum();
            for (cluster, weight) in list {
                let share = f64::from(*weight) / f64::from(sum);
                let (mean, deviation) = (USERS as f64 * share, f64::sqrt(USERS as f64 * share * (1.0 - share)));
                let found = users_of(*cluster, &taken).len() as f64;
                assert!((found - mean).abs() <= 4.0 * deviation, "{list:?}: {found} users of {cluster}, not {mean}");
            }
        }
    }

    #[test]
    fn raising_a_weight_only_moves_callers_to_it() {
        #[rustfmt::skip]
        let table: [(&[(u32, u32)], &[(u32, u32)], u32); 7] = [
            // before, after, whose weight was raised
            (&[(0, 95), (1, 5)], &[(0, 75), (1, 25)], 1),
            (&[(1, 5), (0, 95)], &[(1, 25), (0, 75)], 1),
            (&[(0, 95), (1, 5)], &[(0, 95), (1, 25)], 1),
            (&[(0, 90), (1, 5), (2, 5)], &[(0, 90), (1, 5), (2, 25)], 2),
            (&[(2, 5), (0, 90), (1, 5)], &[(1, 5), (2, 25), (0, 90)], 2),
            (&[(0, 90), (1, 10)], &[(0, 90), (1, 10), (3, 5)], 3),
            (&[(0, 50), (1, 25), (2, 25)], &[(0, 50), (1, 90), (2, 25)], 1),
        ];
        for (before, after, raised) in table {
            let (first, then) = (taken(before), taken(after));
            assert!(users_of(raised, &first).is_subset(&users_of(raised, &then)), "{before:?} to {after:?}");
            let moved = first.iter().zip(&then).filter(|(from, to)| from != to);
            assert!(moved.clone().count() > 0 && moved.clone().all(|(_, to)| *to == raised), "{before:?} to {after:?}");
        }
    }

    #[test]
    fn callers_move_only_towards_what_has_grown_against_theirs() {
        // v1 gains from v0 while v2 keeps its 10 %: nobody goes back to v0, and nobody leaves v1 for v2.
        let (first, then) = (taken(&[(0, 80), (1, 10), (2, 10)]), taken(&[(0, 60), (1, 30), (2, 10)]));
        for (user, (from, to)) in first.iter().zip(&then).enumerate() {
            assert!(from == to || [(0, 1), (0, 2), (2, 1)].contains(&(*from, *to)), "user {user}: {from} to {to}");
        }
    }

    #[test]
    fn whoever_lacks_the_key_is_drawn() {
        let (forward, snapshot) = (route(&[(0, 50), (1, 50)]), snapshot());
        let head = Sketch::get("h", "/");
        let drawn = (0..1_000).filter(|n| choose(&forward, &snapshot, &head, caller(), Dice(*n)) == 1).count();
        assert!((440..560).contains(&drawn), "{drawn}");
        let keyed = head.with("user", "7");
        let all: BTreeSet<_> = (0..50).map(|n| choose(&forward, &snapshot, &keyed, caller(), Dice(n))).collect();
        assert_eq!(all.len(), 1);
    }
}
