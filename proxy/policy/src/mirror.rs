//! Copies of requests to other destinations: which are made, and what each holds while it is under way.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::allowance::Room;
use crate::balance::Pick;
use crate::cluster::Discovery;
use crate::dice::{Dice, Purpose, Share};
use crate::endpoints::{Active, Endpoint};
use crate::limits::{Limit, Slot};
use crate::live::{Live, LiveCluster};
use crate::narrate::{Narrator, Reason};
use crate::outlier::{OutlierEvent, Score};
use crate::route::{Mirror, Target};
use crate::time::{Span, Time};

/// A copy of a request on its way to a mirror. Its response is thrown away; it is never retried.
#[derive(Debug)]
pub struct Copy {
    /// Where to.
    pub cluster: Arc<LiveCluster>,
    /// Which endpoint; `None` when the mirror had none, no place left, owes too many answers, or needs TLS.
    pub endpoint: Option<Arc<Endpoint>>,
    /// How long it may take. Envoy: as long as the route.
    pub timeout: Option<Span>,
    held: Option<(Active, Slot, Room)>,
}

impl Copy {
    /// Says how it ended.
    pub fn ended(&self, score: Score, now: Time) -> Option<OutlierEvent> {
        if let Some((_, _, room)) = &self.held {
            room.learn(matches!(score, Score::Status(_)));
        }
        self.cluster.score(self.endpoint.as_deref()?, score, now)
    }
}

/// The copies to make. Envoy: each mirror has a draw of its own, and a mirror that does not exist is passed over.
pub(crate) fn draw<N: Narrator>(
    mirrors: &[Mirror],
    live: &Live,
    hash: Option<u64>,
    timeout: Option<Span>,
    dice: Dice,
    now: Time,
    narrator: &mut N,
) -> Vec<Copy> {
    let drawn = |(turn, mirror): (usize, &Mirror)| {
        let turn = turn as u32;
        let Target::Cluster(id) = mirror.cluster else { return None };
        let copied = dice.chance(Purpose::Mirror, turn, mirror.share);
        if N::HEARS {
            let drawn = Share(dice.below(Purpose::Mirror, turn, Share::ALL.0.into()) as u32);
            narrator.hear(Reason::Mirror { mirror, drawn, copied });
        }
        if !copied {
            return None;
        }
        let cluster = live.cluster(id).clone();
        let turn = turn + 1_000;
        let pick = Pick { hash, tried: &[], avoid_tried: false, leave_levels: false, dice, turn, now };
        let spec = live.snapshot().cluster(id);
        // What must be secured and cannot be is not copied either.
        let known = !matches!(spec.discovery, Discovery::Original) && !spec.needs_tls();
        let place = cluster.allowance().room().and_then(|room| Some((cluster.take(Limit::Requests)?, room)));
        let endpoint = place.as_ref().filter(|_| known).and_then(|_| cluster.pick(&pick));
        let held = endpoint.as_ref().zip(place).map(|(endpoint, (slot, room))| (endpoint.clone().enter(), slot, room));
        Some(Copy { cluster, endpoint, timeout, held })
    };
    mirrors.iter().enumerate().filter_map(drawn).collect()
}
