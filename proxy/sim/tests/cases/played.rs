//! Plays the requests of a case in its world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leeboard_policy::time::Time;
use leeboard_sim::{Arrival, Seen, World};

use crate::exchanges::Spec;
use crate::policies::{Policy, policy_of};

/// What came of some exchanges.
#[derive(Debug)]
pub(crate) struct Played {
    /// Each of them, in the order in which they began.
    pub(crate) seen: Vec<Seen>,
    /// What the policies of their clusters are.
    pub(crate) policies: BTreeMap<Arc<str>, Policy>,
    /// Which endpoints of their last cluster rest now.
    pub(crate) ejected: BTreeSet<String>,
}

/// Plays `count` exchanges.
pub(crate) fn play(world: &mut World, spec: &Spec, count: usize) -> Played {
    let arrival = Arrival { at: Time(0), request: spec.request.clone(), script: spec.upstream.clone() };
    let seen: Vec<Seen> = if spec.at_once {
        world.play(&vec![arrival; count])
    } else {
        (0..count).flat_map(|_| world.play(std::slice::from_ref(&arrival))).collect()
    };
    world.take_trace();
    let live = world.live();
    let names: BTreeSet<&Arc<str>> = seen.iter().map(|one| &one.cluster).collect();
    let known = names.into_iter().filter_map(|name| Some((name, live.snapshot().cluster_named(name)?)));
    let policies = known.map(|(name, id)| (name.clone(), policy_of(live.snapshot().cluster(id)))).collect();
    let cluster = seen.last().and_then(|one| live.snapshot().cluster_named(&one.cluster));
    let endpoints = cluster.map_or(&[][..], |id| live.cluster(id).endpoints());
    let ejected = endpoints.iter().filter(|e| e.ejected()).map(|e| e.address().to_string()).collect();
    Played { seen, policies, ejected }
}
