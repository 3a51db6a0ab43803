//! Copies of requests to other destinations: which are made, and what each holds while it is under way.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::balance::Pick;
use crate::cluster::Discovery;
use crate::dice::{Dice, Purpose};
use crate::endpoints::{Active, Endpoint};
use crate::limits::{Limit, Slot};
use crate::live::{Live, LiveCluster};
use crate::outlier::{OutlierEvent, Score};
use crate::route::{Mirror, Target};
use crate::time::{Span, Time};

/// A copy of a request on its way to a mirror. Its response is thrown away; it is never retried.
#[derive(Debug)]
pub struct Copy {
    /// Where to.
    pub cluster: Arc<LiveCluster>,
    /// Which endpoint; `None` when the mirror had none, or no place left.
    pub endpoint: Option<Arc<Endpoint>>,
    /// How long it may take. Envoy: as long as the route.
    pub timeout: Option<Span>,
    _held: Option<(Active, Slot)>,
}

impl Copy {
    /// Says how it ended.
    pub fn ended(&self, score: Score, now: Time) -> Option<OutlierEvent> {
        self.cluster.score(self.endpoint.as_deref()?, score, now)
    }
}

/// The copies to make. Envoy: each mirror has a draw of its own, and a mirror that does not exist is passed over.
pub(crate) fn draw(mirrors: &[Mirror], live: &Live, hash: Option<u64>, timeout: Option<Span>, dice: Dice) -> Vec<Copy> {
    let drawn = |(turn, mirror): (usize, &Mirror)| {
        let turn = turn as u32;
        let Target::Cluster(id) = mirror.cluster else { return None };
        if !dice.chance(Purpose::Mirror, turn, mirror.share) {
            return None;
        }
        let cluster = live.cluster(id).clone();
        let pick = Pick { hash, tried: &[], avoid_tried: false, dice, turn: turn + 1_000 };
        let known = !matches!(live.snapshot().cluster(id).discovery, Discovery::Original);
        let slot = cluster.take(Limit::Requests);
        let endpoint = slot.as_ref().filter(|_| known).and_then(|_| cluster.pick(&pick));
        let held = endpoint.as_ref().zip(slot).map(|(endpoint, slot)| (endpoint.enter(), slot));
        Some(Copy { cluster, endpoint, timeout, _held: held })
    };
    mirrors.iter().enumerate().filter_map(drawn).collect()
}
